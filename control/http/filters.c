/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * POST /v1/filters/check: what `skep-filter check --json` says. A filter of a stranger is compiled in a child
 * with bounded time and memory, never here.
 */
#include "common/json.h"
#include "control/http/handlers.h"
#include "control/process.h"

#include <errno.h>
#include <string.h>

#define CHECK_MS 5000
#define CHECK_CPU_S 5
#define ANSWER_MAX_BYTES (1u << 20)

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
	if (json_string_length(filter) > 65536)
		return skep_http_refuse(req, 422, "bad-value", "/filter", "filter: longer than 65536 bytes");
	if (check(&ctl->cfg, json_string_value(filter), &answer, &err))
		return skep_http_answer_err(req, &err);
	return skep_http_answer_json(req, 200, answer);
}
