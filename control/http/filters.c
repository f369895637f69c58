/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * POST /v1/filters/check: what `skep-filter check --json` says. A filter of a stranger is compiled in a
 * child with bounded time and memory, never here.
 */
#include "common/json.h"
#include "control/http/handlers.h"
#include "control/process.h"

#include <errno.h>
#include <string.h>

#define CHECK_MS 5000
#define CHECK_CPU_S 5
#define ANSWER_MAX_BYTES (1u << 20)
#define FILTER_MAX_BYTES 65536u

/* The child's JSON, the caller's. */
static int check(const struct ctl_config *cfg, const char *filter, json_t **ret, struct skep_err *err)
{
	struct ctl_run run = {
		.dir = cfg->program_dir,
		.args = { "skep-filter", "check", "--json", "--", filter },
		.wall_ms = CHECK_MS,
		.cpu_s = CHECK_CPU_S,
		.answer_max_bytes = ANSWER_MAX_BYTES,
	};
	struct ctl_answer answer;
	int r;

	r = ctl_process_run(&run, &answer, err);
	if (r)
		return r;
	r = skep_json_load("skep-filter check", answer.out ? answer.out : "", answer.out_len, ret, err);
	if (r && answer.said[0])
		r = skep_err_set(err, -EIO, "skep-filter check failed: %s", answer.said);
	free(answer.out);
	return r;
}

bool ctl_http_filter_is_right(struct skep_http_req *req, struct ctl *ctl, const char *filter,
			      const char *pointer)
{
	struct skep_problems problems = { .status = 422 };
	struct skep_err err = SKEP_ERR_NULL;
	_skep_json_ json_t *answer = NULL;
	const char *hint;

	if (strlen(filter) > FILTER_MAX_BYTES) {
		(void)skep_http_refuse(req, 422, "bad-value", pointer, "filter: longer than %u bytes", FILTER_MAX_BYTES);
		return false;
	}
	if (check(&ctl->cfg, filter, &answer, &err)) {
		(void)skep_http_answer_err(req, &err);
		return false;
	}
	if (json_is_true(json_object_get(answer, "ok")))
		return true;
	skep_problems_add(&problems, "bad-filter", pointer, "filter: %s",
			  json_string_value(json_object_get(answer, "error")) ?: "is refused");
	hint = json_string_value(json_object_get(answer, "hint"));
	if (hint && hint[0])
		skep_problems_hint(&problems, "%s", hint);
	problems.items[0].column = (int)json_integer_value(json_object_get(answer, "column"));
	(void)skep_http_answer_problems(req, &problems);
	return false;
}

int ctl_http_filter_check(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	_skep_json_ json_t *body = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	const json_t *filter;
	json_t *answer;

	if (skep_http_body_json(req, &body))
		return 0;
	filter = json_object_get(body, "filter");
	if (!json_is_string(filter) || strlen(json_string_value(filter)) != json_string_length(filter))
		return skep_http_refuse(req, 422, "bad-value", "/filter",
					"filter: must be a text without NUL");
	if (json_object_size(body) != 1)
		return skep_http_refuse(req, 422, "unknown-field", NULL, "only \"filter\" is known here");
	if (json_string_length(filter) > FILTER_MAX_BYTES)
		return skep_http_refuse(req, 422, "bad-value", "/filter", "filter: longer than %u bytes",
					FILTER_MAX_BYTES);
	if (check(&ctl->cfg, json_string_value(filter), &answer, &err))
		return skep_http_answer_err(req, &err);
	return skep_http_answer_json(req, 200, answer);
}
