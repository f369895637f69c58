/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Collects refusals in the caller's struct and spells them as RFC 9457. Never allocates before
 * skep_problems_json, never loses the first problem; texts that are no UTF-8 (they may quote what a client
 * sent) are spelled with '?' for each byte that jansson would not take. No state: any thread.
 */
#include "common/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int r;
	unsigned status;
	const char *code;
} refusals[] = {
	{ SKEP_E_USAGE, 422, "bad-value" },	    { SKEP_E_PRIVILEGE, 403, "not-allowed" },
	{ SKEP_E_NOT_FOUND, 404, "not-found" },	    { SKEP_E_BUSY, 409, "busy" },
	{ SKEP_E_UNSUPPORTED, 422, "unsupported" }, { SKEP_E_UNSAFE, 409, "unsafe" },
	{ SKEP_E_NO_SPACE, 507, "no-space" },	    { SKEP_E_BAD_DATA, 422, "bad-data" },
};

/* RFC 9110 and, for 429, 431, 507: RFC 6585, RFC 4918. */
static const struct {
	unsigned status;
	const char *title;
} titles[] = {
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" },
	{ 422, "Unprocessable Content" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 507, "Insufficient Storage" },
};

unsigned skep_problem_status(int r)
{
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
		if (refusals[i].r == r)
			return refusals[i].status;
	return 500;
}

const char *skep_problem_code(int r)
{
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
		if (refusals[i].r == r)
			return refusals[i].code;
	return "internal";
}

const char *skep_problem_title(unsigned status)
{
	for (size_t i = 0; i < ARRAY_LEN(titles); i++)
		if (titles[i].status == status)
			return titles[i].title;
	return "Error";
}

static struct skep_problem *next_problem(struct skep_problems *problems)
{
	if (problems->n++ >= SKEP_PROBLEMS_MAX)
		return NULL;
	return memset(&problems->items[problems->n - 1], 0, sizeof(problems->items[0]));
}

void skep_problems_add(struct skep_problems *problems, const char *code, const char *pointer, const char *fmt,
		       ...)
{
	struct skep_problem *p = next_problem(problems);
	va_list ap;

	if (!p)
		return;
	(void)snprintf(p->code, sizeof(p->code), "%s", code);
	(void)snprintf(p->pointer, sizeof(p->pointer), "%s", pointer ? pointer : "");
	va_start(ap, fmt);
	(void)vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
}

void skep_problems_hint(struct skep_problems *problems, const char *fmt, ...)
{
	va_list ap;

	if (!problems->n || problems->n > SKEP_PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(problems->items[problems->n - 1].hint, sizeof(problems->items[0].hint), fmt, ap);
	va_end(ap);
}

void skep_problems_add_err(struct skep_problems *problems, const char *code, const char *pointer,
			   const struct skep_err *err)
{
	skep_problems_add(problems, code ? code : skep_problem_code(err->code), pointer, "%s", err->text);
	if (problems->n > SKEP_PROBLEMS_MAX)
		return;
	if (err->hint[0])
		skep_problems_hint(problems, "%s", err->hint);
	problems->items[problems->n - 1].column = err->column;
}

/* json_string() of a text that may be cut in the middle of a character or hold a client's bytes. */
static json_t *text_json(const char *text)
{
	json_t *json = json_string(text);
	char clean[sizeof(((struct skep_problem *)0)->text)];

	if (json)
		return json;
	(void)snprintf(clean, sizeof(clean), "%s", text);
	for (char *p = clean; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(clean);
}

static int spell(json_t *to, const struct skep_problem *p)
{
	int r = 0;

	r |= json_object_set_new(to, "code", text_json(p->code));
	r |= json_object_set_new(to, "detail", text_json(p->text));
	if (p->pointer[0])
		r |= json_object_set_new(to, "pointer", text_json(p->pointer));
	if (p->hint[0])
		r |= json_object_set_new(to, "hint", text_json(p->hint));
	if (p->column > 0)
		r |= json_object_set_new(to, "column", json_integer(p->column));
	return r;
}

json_t *skep_problems_json(const struct skep_problems *problems)
{
	static const struct skep_problem unknown = { .code = "internal",
						     .text = "the request could not be answered" };
	const struct skep_problem *first = problems->n ? &problems->items[0] : &unknown;
	unsigned status = problems->status ? problems->status : 422;
	uint32_t kept = SKEP_MIN(problems->n, (uint32_t)SKEP_PROBLEMS_MAX);
	json_t *root = json_object(), *errors = json_array();
	int r = 0;

	r |= json_object_set_new(root, "type", json_sprintf("urn:skep:problem:%s", first->code));
	r |= json_object_set_new(root, "title", json_string(skep_problem_title(status)));
	r |= json_object_set_new(root, "status", json_integer(status));
	r |= spell(root, first);
	for (uint32_t i = 0; i < kept; i++) {
		json_t *item = json_object();

		r |= spell(item, &problems->items[i]);
		r |= json_array_append_new(errors, item);
	}
	r |= json_object_set_new(root, "errors", errors);
	if (problems->n > kept)
		r |= json_object_set_new(root, "more_errors", json_integer(problems->n - kept));
	if (r == 0)
		return root;
	json_decref(root);
	return NULL;
}
