/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_PROBLEM_H
#define SKEP_PROBLEM_H
/*
 * Refusals over HTTP: RFC 9457 problem details, one or several at once.
 *
 *	{ "type": "urn:skep:problem:bad-value", "title": "Unprocessable Content", "status": 422,
 *	  "code": "bad-value", "detail": "limits.packets: must be at least 1", "pointer": "/limits/packets",
 *	  "hint": "…", "errors": [ { "code", "detail", "pointer", "hint" }, … ] }
 *
 * code is stable: programs may act on it. pointer is a JSON pointer (RFC 6901) into the request's body.
 * The first problem is also spelled at the top, so a client that knows only RFC 9457 shows it.
 */
#include "common/err.h"

#include <jansson.h>

#define SKEP_PROBLEMS_MAX 8

struct skep_problem {
	char code[48];
	char pointer[128]; /* "": the problem is with no single field */
	char text[512];
	char hint[512]; /* "": none */
	int column;	/* 1-based, in the field's text; 0: none */
};

struct skep_problems {
	unsigned status; /* of the answer; 0: 422 */
	uint32_t n;	 /* those beyond SKEP_PROBLEMS_MAX are counted, not kept */
	struct skep_problem items[SKEP_PROBLEMS_MAX];
};

/* Adds one; pointer NULL: none. Never fails; too long texts are cut. */
void skep_problems_add(struct skep_problems *problems, const char *code, const char *pointer, const char *fmt,
		       ...) SKEP_PRINTF(4, 5);
/* Hint of the problem added last. */
void skep_problems_hint(struct skep_problems *problems, const char *fmt, ...) SKEP_PRINTF(2, 3);
/* Adds what a function refused: text, hint, column; code NULL: skep_problem_code(err->code). */
void skep_problems_add_err(struct skep_problems *problems, const char *code, const char *pointer,
			   const struct skep_err *err);
/* The object above, the caller's; NULL: no memory. */
json_t *skep_problems_json(const struct skep_problems *problems);

/* The one table from return values to HTTP: status and stable code of a skep_refusal or -errno. */
unsigned skep_problem_status(int r);
const char *skep_problem_code(int r);
/* "Not Found"; "Error" for a status that has no entry. */
const char *skep_problem_title(unsigned status);

#endif
