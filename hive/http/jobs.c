/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jobs over HTTP: make one, look at one with its links, steer it, read what happened to it. Processing is not
 * there yet, and a job that asks for it is refused rather than run without. Any number at once.
 */
#include "hive/http/call.h"

#include "hive/svc/jobs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const create_fields[] = {
	"name",	   "filter",  "description", "priority", "start_mode",	 "missing",	   "limit_duration_s", "limit_bytes",
	"limit_pkts", "link_limit_bytes", "link_limit_pkts", "snaplen", "sample_every", "sample_by_flow", "format",
	"expected_bps", "start", NULL,
};
static const char *const own_members[] = { "links", "script_name", "script_args", NULL };

/* "*", or a list of names; the pointers live as long as the body. */
static uint32_t take_links(const json_t *body, const char *ret[static HIVE_JOB_LINKS_MAX],
			   struct skep_problems *problems)
{
	const json_t *links = json_object_get(body, "links"), *item;
	uint32_t n = 0;
	size_t i;

	if (json_is_string(links) && strcmp(json_string_value(links), "*") == 0) {
		ret[0] = "*";
		return 1;
	}
	if (!json_is_array(links) || json_array_size(links) > HIVE_JOB_LINKS_MAX) {
		skep_problems_add(problems, "bad-value", "/links", "links: must be a list of at most %d names, or \"*\"",
				  HIVE_JOB_LINKS_MAX);
		return 0;
	}
	json_array_foreach(links, i, item) {
		if (!json_is_string(item)) {
			skep_problems_add(problems, "bad-value", "/links", "links: must be a list of names");
			return 0;
		}
		ret[n++] = json_string_value(item);
	}
	return n;
}

static int answer_job(struct hive_call *call, unsigned int status, int64_t id)
{
	_hive_rows_ struct hive_rows parts = { .table = &hive_job_links };
	_hive_job_ struct hive_job job = { 0 };
	struct hive_complaints complaints = { 0 };
	json_t *object, *links = NULL;
	char etag[32];
	int r = hive_thing_get(call->hive, &call->actor, HIVE_JOB, id, &job, &complaints);

	if (r == 0)
		r = hive_job_parts(call->hive, &call->actor, id, &parts, &complaints);
	if (r != 0)
		return hive_http_complain(call, r, &complaints);
	object = hive_http_row_json(&hive_jobs_table, &job);
	links = json_array();
	for (uint32_t i = 0; links && i < parts.n; i++)
		(void)json_array_append_new(links,
					    hive_http_row_json(&hive_job_links, hive_rows_at(&parts, i)));
	if (!object || !links || json_array_size(links) != parts.n || json_object_set_new(object, "links", links) < 0) {
		json_decref(object);
		return -ENOMEM;
	}
	snprintf(etag, sizeof(etag), "\"%" PRId64 "\"", job.head.version);
	(void)skep_http_add_header(call->req, "ETag", etag);
	return skep_http_answer_json(call->req, status, object);
}

static int create(struct hive_call *call, struct hive_job_wish *wish)
{
	struct hive_http_take take = { .table = &hive_jobs_table,
				       .fields = create_fields,
				       .also = own_members };
	const char *links[HIVE_JOB_LINKS_MAX];
	struct hive_complaints complaints = { 0 };
	struct skep_problems problems = { 0 };
	_skep_json_ json_t *body = NULL;
	char digest[HIVE_DIGEST_TEXT], location[64];
	int r = skep_http_body_json(call->req, &body);

	if (r == 0)
		r = hive_http_key(call, &wish->key, digest);
	if (r != 0)
		return r < 0 ? r : 0;
	wish->request = digest;
	hive_http_take_row(&take, body, &wish->row, &problems);
	wish->links = links;
	wish->n_links = take_links(body, links, &problems);
	if (json_object_get(body, "script_name") || json_object_get(body, "script_args"))
		skep_problems_add(&problems, "no-processing", "/script_name", "script_name: this hive cannot process datasets yet");
	if (problems.n)
		return skep_http_answer_problems(call->req, &problems);
	r = hive_job_create(call->hive, &call->actor, wish, &complaints);
	if (r != 0)
		return hive_http_complain(call, r, &complaints);
	snprintf(location, sizeof(location), "/api/v1/jobs/%" PRId64, wish->row.head.id);
	(void)skep_http_add_header(call->req, "Location", location);
	return answer_job(call, wish->again ? 200 : 201, wish->row.head.id);
}

int hive_http_job_create(struct hive_call *call)
{
	struct hive_job_wish wish = { .row = { .priority = HIVE_NORMAL } };
	int r;

	wish.row.format = strdup("pcap");
	r = wish.row.format ? create(call, &wish) : -ENOMEM;
	hive_job_clear(&wish.row);
	return r;
}

int hive_http_job(struct hive_call *call)
{
	int64_t id = hive_http_id(call, "id");

	return id < 0 ? 0 : answer_job(call, 200, id);
}

int hive_http_job_act(struct hive_call *call)
{
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	int r;

	if (id < 0)
		return 0;
	r = hive_job_act(call->hive, &call->actor, id, (enum hive_job_action)call->route->value, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : answer_job(call, 200, id);
}

int hive_http_job_events(struct hive_call *call)
{
	_hive_rows_ struct hive_rows rows = { .table = &hive_job_events };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	struct hive_list list;
	int r = id < 0 ? SKEP_E_NOT_FOUND : hive_http_list(call, &hive_job_events, &list);

	if (r != 0)
		return r < 0 ? r : 0;
	r = hive_job_history(call->hive, &call->actor, id, &list, &rows, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_answer_rows(call, &rows);
}
