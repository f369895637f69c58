/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Probes over HTTP, beyond what all things have: enrolment with one pasted line, discovery of links, and
 * whether a probe is there. Any number at once.
 */
#include "hive/http/call.h"

#include "common/format.h"
#include "hive/svc/probes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const enrol_fields[] = { "name", "description", "disabled", NULL };
static const char *const enrol_also[] = { "enrol", NULL };

static int enrol(struct hive_call *call, const json_t *body, struct hive_change *change)
{
	struct hive_http_take take = { .table = &hive_probes, .fields = enrol_fields, .also = enrol_also };
	const json_t *line = json_object_get(body, "enrol");
	struct hive_complaints complaints = { 0 };
	struct skep_problems problems = { 0 };
	char digest[HIVE_DIGEST_TEXT];
	int r = hive_http_key(call, &change->key, digest);

	if (r != 0)
		return r < 0 ? r : 0;
	change->request = digest;
	hive_http_take_row(&take, body, change->row, &problems);
	if (!json_is_string(line))
		skep_problems_add(&problems, "bad-value", "/enrol", "enrol: must be a text");
	if (problems.n)
		return skep_http_answer_problems(call->req, &problems);
	r = hive_enrol_parse(json_string_value(line), change->row, &complaints);
	if (r == 0)
		r = hive_probe_enrol(call->hive, &call->actor, change, &complaints);
	if (r == SKEP_E_NOT_FOUND) { /* not the route, but what it leads to */
		(void)skep_problems_add_err(&problems, "probe-unreachable", "/enrol", &complaints.items[0].err);
		problems.status = 502;
		return skep_http_answer_problems(call->req, &problems);
	}
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_answer_created(call, change);
}

int hive_http_probe_create(struct hive_call *call)
{
	struct hive_probe probe = { 0 };
	struct hive_change change = { .kind = HIVE_PROBE, .row = &probe };
	_skep_json_ json_t *body = NULL;
	int r = skep_http_body_json(call->req, &body);

	if (r != 0)
		return r < 0 ? r : 0;
	if (!json_object_get(body, "enrol"))
		return hive_http_thing_create(call);
	r = enrol(call, body, &change);
	hive_probe_clear(&probe);
	return r;
}

int hive_http_probe_discover(struct hive_call *call)
{
	struct hive_complaints complaints = { 0 };
	struct skep_problems problems = { 0 };
	int64_t id = hive_http_id(call, "id");
	uint32_t n = 0;
	int r;

	if (id < 0)
		return 0;
	r = hive_probe_discover(call->hive, &call->actor, id, &n, &complaints);
	if (r == SKEP_E_NOT_FOUND && complaints.n && complaints.items[0].err.hint[0]) {
		(void)skep_problems_add_err(&problems, "probe-unreachable", NULL, &complaints.items[0].err);
		problems.status = 502;
		return skep_http_answer_problems(call->req, &problems);
	}
	return r != 0 ? hive_http_complain(call, r, &complaints)
		      : skep_http_answer_json(call->req, 200, json_pack("{s:I}", "links_made", (json_int_t)n));
}

void hive_http_probe_state(struct hive *hive, const struct hive_probe *probe, json_t *object)
{
	struct hive_probe_state state;
	char time[SKEP_FORMAT_MAX];

	hive_probe_state(hive, probe->head.id, &state);
	(void)json_object_set_new(object, "up", state.known ? json_boolean(state.up) : json_null());
	(void)json_object_set_new(object, "since",
				  state.known ? json_string(skep_format_time(time, (uint64_t)state.since_ns))
					      : json_null());
	(void)json_object_set_new(object, "problem", state.problem[0] ? json_string(state.problem) : json_null());
}
