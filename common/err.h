/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_ERR_H
#define SKEP_ERR_H
/*
 * Errors to programs and to people.
 *
 * Functions return 0, or -errno (the system failed), or a positive skep_refusal (refused for a documented
 * reason). Where a person will read it, a struct skep_err travels along and is filled exactly once, at the
 * place that knows best: what was refused, where, why, and what to do. Functions that take one accept NULL.
 */
#include "common/util.h"

#include <stdio.h>

enum skep_refusal {
	SKEP_E_USAGE = 1,    /* the words of the call are wrong: exit code 2 */
	SKEP_E_PRIVILEGE,    /* not allowed to */
	SKEP_E_NOT_FOUND,    /* no such interface, file, queue, user */
	SKEP_E_BUSY,         /* somebody else holds it: another XDP program, another socket on the queue */
	SKEP_E_UNSUPPORTED,  /* the kernel, the driver or the file system cannot do it */
	SKEP_E_UNSAFE,       /* it would surprise somebody: default route, control connection */
	SKEP_E_NO_SPACE,     /* not enough disk or memory */
	SKEP_E_BAD_DATA,     /* a file or a stream from outside is malformed */
};

struct skep_err {
	int code;         /* what the function returned: -errno or a skep_refusal */
	int column;       /* 1-based column in the text that was refused (a filter, an option), 0 if none */
	char text[512];   /* "WHAT: WHY", one sentence, no full stop at the end, no newline */
	char hint[512];   /* what to do, one sentence; empty if there is nothing to say */
};

#define SKEP_ERR_NULL { 0 }

/*
 * Fills err (if not NULL) with the sentence and returns code, so that `return skep_err_set(err, …)` reads
 * well.
 */
int skep_err_set(struct skep_err *err, int code, const char *fmt, ...) SKEP_PRINTF(3, 4);
/* Adds the hint to an error that was just set; returns err's code (0 if err is NULL). */
int skep_err_hint(struct skep_err *err, const char *fmt, ...) SKEP_PRINTF(2, 3);
/* Exit code for a return value: 0 ok, 2 usage, 1 everything else. */
int skep_err_exit_code(int r);
/*
 * Two lines for a person: "PROGRAM: TEXT." and, if there is a hint, "PROGRAM: HINT."; control characters
 * become '?'.
 */
void skep_err_print(FILE *out, const char *program, const struct skep_err *err);

#endif
