/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is a filter right, and how much would it match? Asked of the probes (hive/svc/filters.c); an answer may
 * take half a minute, and holds one of the server's threads so long. Any number at once, of which the service
 * lets few estimate.
 */
#include "hive/svc/filters.h"

#include "hive/http/call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct question {
	struct hive_filter_wish wish;
	const char *links[HIVE_JOB_LINKS_MAX];
};

/* Reads filter, links and, if estimate, seconds. 0; SKEP_E_USAGE: the answer is set. */
static int read_question(struct hive_call *call, const json_t *body, bool estimate, struct question *ret)
{
	const json_t *filter = json_object_get(body, "filter"), *seconds = json_object_get(body, "seconds");
	struct skep_problems problems = { 0 };
	char pointer[80];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)body, key, value) {
		if (strcmp(key, "filter") == 0 || strcmp(key, "links") == 0 || (estimate && strcmp(key, "seconds") == 0))
			continue;
		snprintf(pointer, sizeof(pointer), "/%.64s", key);
		skep_problems_add(&problems, "unknown-field", pointer, "%.64s: is no field of this", key);
	}
	ret->wish.filter = json_string_value(filter);
	if (!(json_is_string(filter) || (estimate && (!filter || json_is_null(filter)))))
		skep_problems_add(&problems, "bad-value", "/filter", "filter: must be a text");
	ret->wish.seconds = seconds ? json_integer_value(seconds) : 5;
	if (seconds && !json_is_integer(seconds))
		skep_problems_add(&problems, "bad-value", "/seconds", "seconds: must be an integer");
	ret->wish.links.names = ret->links;
	if (json_object_get(body, "links"))
		ret->wish.links.n = hive_http_take_links(body, ret->links, &problems);
	if (!problems.n)
		return 0;
	return skep_http_answer_problems(call->req, &problems) < 0 ? -ENOMEM : SKEP_E_USAGE;
}

int hive_http_filter_check(struct hive_call *call)
{
	struct hive_complaints complaints = { 0 };
	_skep_json_ json_t *body = NULL;
	struct question question = { 0 };
	struct hive_checked checked;
	char probe[HIVE_NAME_MAX + 1];
	json_t *answer;
	int r = skep_http_body_json(call->req, &body);

	if (r == 0)
		r = read_question(call, body, false, &question);
	if (r != 0)
		return r < 0 ? r : 0;
	r = hive_filter_check(call->hive, &call->actor, &question.wish, &checked, probe, &complaints);
	if (r != 0)
		return hive_http_complain(call, r, &complaints);
	answer = json_pack("{s:b, s:s}", "ok", checked.ok, "probe", probe);
	if (checked.column)
		(void)json_object_set_new(answer, "column", json_integer(checked.column));
	if (checked.error[0])
		(void)json_object_set_new(answer, "error", json_string(checked.error));
	if (checked.hint[0])
		(void)json_object_set_new(answer, "hint", json_string(checked.hint));
	if (checked.ok) {
		(void)json_object_set_new(answer, "cbpf_insns", json_integer(checked.cbpf_insns));
		(void)json_object_set_new(answer, "ebpf_insns", json_integer(checked.ebpf_insns));
		(void)json_object_set_new(answer, "verified", json_boolean(checked.verified));
	}
	return skep_http_answer_json(call->req, 200, answer);
}

static json_t *estimated_json(const struct hive_estimated *one)
{
	if (one->problem[0])
		return json_pack("{s:I, s:s, s:s}", "link_id", (json_int_t)one->link_id, "link", one->link, "problem", one->problem);
	return json_pack("{s:I, s:s, s:f, s:f, s:f, s:f}", "link_id", (json_int_t)one->link_id, "link", one->link, "pkts",
			 one->rate.pkts, "pkts_per_s", one->rate.pkts_per_s, "bits_per_s", one->rate.bits_per_s, "bytes_per_hour",
			 one->rate.bytes_per_hour);
}

int hive_http_filter_estimate(struct hive_call *call)
{
	struct hive_complaints complaints = { 0 };
	_skep_json_ json_t *body = NULL;
	_skep_free_ struct hive_estimated *results = NULL;
	struct question question = { 0 };
	struct hive_rate total = { 0 };
	uint32_t n = 0;
	json_t *links;
	int r = skep_http_body_json(call->req, &body);

	if (r == 0)
		r = read_question(call, body, true, &question);
	if (r != 0)
		return r < 0 ? r : 0;
	r = hive_filter_estimate(call->hive, &call->actor, &question.wish, &results, &n, &complaints);
	if (r != 0)
		return hive_http_complain(call, r, &complaints);
	links = json_array();
	for (uint32_t i = 0; i < n; i++) {
		(void)json_array_append_new(links, estimated_json(&results[i]));
		total.pkts += results[i].rate.pkts;
		total.pkts_per_s += results[i].rate.pkts_per_s;
		total.bits_per_s += results[i].rate.bits_per_s;
		total.bytes_per_hour += results[i].rate.bytes_per_hour;
	}
	return skep_http_answer_json(call->req, 200,
				     json_pack("{s:I, s:{s:f, s:f, s:f, s:f}, s:o}", "seconds", (json_int_t)question.wish.seconds,
					       "total", "pkts", total.pkts, "pkts_per_s", total.pkts_per_s, "bits_per_s",
					       total.bits_per_s, "bytes_per_hour", total.bytes_per_hour, "links", links));
}
