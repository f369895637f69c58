/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jobs over HTTP: make one (from nothing, from a template, from another job, or by the trigger of a ring),
 * look at one with its links, steer it, read what happened to it. Any number at once.
 */
#include "hive/http/call.h"

#include "hive/svc/schedules.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A link of the job, with how fast it goes while it runs. */
static json_t *part_json(struct hive *hive, const struct hive_job_link *part)
{
	json_t *object = hive_http_row_json(&hive_job_links, part);
	struct hive_progress progress;

	if (object && part->state != HIVE_PART_ENDED &&
	    hive_progress_get(hive->progresses, part->job_id, part->link_id, &progress) == 0)
		(void)json_object_set_new(object, "progress", hive_http_progress_json(&progress));
	return object;
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
		(void)json_array_append_new(links, part_json(call->hive, hive_rows_at(&parts, i)));
	if (!object || !links || json_array_size(links) != parts.n || json_object_set_new(object, "links", links) < 0) {
		json_decref(object);
		return -ENOMEM;
	}
	snprintf(etag, sizeof(etag), "\"%" PRId64 "\"", job.head.version);
	(void)skep_http_add_header(call->req, "ETag", etag);
	return skep_http_answer_json(call->req, status, object);
}

/* The body, or an empty object where a body need not be sent. */
static int take_body(struct hive_call *call, bool needed, json_t **ret)
{
	size_t n = 0;

	(void)skep_http_body(call->req, &n);
	if (n || needed)
		return skep_http_body_json(call->req, ret);
	*ret = json_object();
	return *ret ? 0 : -ENOMEM;
}

static int answer_made(struct hive_call *call, int r, const struct hive_job_wish *wish,
		       const struct hive_complaints *complaints)
{
	char location[64];

	if (r != 0)
		return hive_http_complain(call, r, complaints);
	snprintf(location, sizeof(location), "/api/v1/jobs/%" PRId64, wish->row.head.id);
	(void)skep_http_add_header(call->req, "Location", location);
	return answer_job(call, wish->again ? 200 : 201, wish->row.head.id);
}

/* A job of the fields; `job` may have some already. */
static int make_job(struct hive_call *call, const json_t *fields, struct hive_http_job *job)
{
	struct hive_complaints complaints = { 0 };
	struct skep_problems problems = { 0 };
	char digest[HIVE_DIGEST_TEXT];
	int r = hive_http_key(call, &job->wish.key, digest);

	if (r == 0)
		r = hive_http_take_job(fields, job, &problems);
	if (r != 0)
		return r < 0 ? r : 0;
	if (problems.n)
		return skep_http_answer_problems(call->req, &problems);
	job->wish.request = digest;
	r = hive_job_create(call->hive, &call->actor, &job->wish, &complaints);
	return answer_made(call, r, &job->wish, &complaints);
}

int hive_http_job_create(struct hive_call *call)
{
	struct hive_http_job job = { 0 };
	_skep_json_ json_t *body = NULL;
	int r = skep_http_body_json(call->req, &body);

	if (r != 0)
		return r < 0 ? r : 0;
	if (call->route->value == HIVE_KIND_RING && !json_object_get(body, "kind"))
		(void)json_object_set_new(body, "kind", json_string(hive_job_kind_names[HIVE_KIND_RING]));
	r = make_job(call, body, &job);
	hive_job_clear(&job.wish.row);
	return r;
}

/* What the body says goes over what was there. */
static int make_over(struct hive_call *call, json_t *fields, struct hive_http_job *job)
{
	_skep_json_ json_t *body = NULL;
	int r = fields ? take_body(call, false, &body) : -ENOMEM;

	if (r == 0)
		r = json_object_update(fields, body) < 0 ? -ENOMEM : 0;
	return r == 0 ? make_job(call, fields, job) : r < 0 ? r : 0;
}

int hive_http_job_clone(struct hive_call *call)
{
	_hive_rows_ struct hive_rows parts = { .table = &hive_job_links };
	_hive_job_ struct hive_job other = { 0 };
	struct hive_complaints complaints = { 0 };
	struct hive_http_job job = { 0 };
	_skep_json_ json_t *fields = NULL;
	int64_t id = hive_http_id(call, "id");
	int r;

	if (id < 0)
		return 0;
	r = hive_thing_get(call->hive, &call->actor, HIVE_JOB, id, &other, &complaints);
	if (r == 0)
		r = hive_job_parts(call->hive, &call->actor, id, &parts, &complaints);
	if (r != 0)
		return hive_http_complain(call, r, &complaints);
	if (other.kind == HIVE_KIND_SAVED)
		return skep_http_refuse(call->req, 409, "conflict", NULL, "what a ring had cannot be had again; trigger the ring");
	job.wish.row.cloned_from = id;
	fields = hive_http_job_fields(&other, &parts);
	r = make_over(call, fields, &job);
	hive_job_clear(&job.wish.row);
	return r;
}

int hive_http_template_use(struct hive_call *call)
{
	_hive_template_ struct hive_template template = { 0 };
	struct hive_complaints complaints = { 0 };
	struct hive_http_job job = { 0 };
	_skep_json_ json_t *fields = NULL;
	int64_t id = hive_http_id(call, "id");
	int r;

	if (id < 0)
		return 0;
	r = hive_thing_get(call->hive, &call->actor, HIVE_TEMPLATE, id, &template, &complaints);
	if (r != 0)
		return hive_http_complain(call, r, &complaints);
	fields = json_loads(template.job, 0, NULL);
	r = make_over(call, fields, &job);
	hive_job_clear(&job.wish.row);
	return r;
}

/* ---- rings ---- */

static void take_second(const json_t *body, const char *name, int64_t *ret, struct skep_problems *problems)
{
	const json_t *value = json_object_get(body, name);
	char pointer[24];

	*ret = json_integer_value(value);
	if (!value || json_is_integer(value))
		return;
	snprintf(pointer, sizeof(pointer), "/%s", name);
	skep_problems_add(problems, "bad-value", pointer, "%s: must be an integer: seconds", name);
}

static int trigger(struct hive_call *call, struct hive_trigger *trigger, struct hive_job_wish *wish)
{
	static const char *const fields[] = { "name", "filter", "description", NULL };
	static const char *const also[] = { "before_s", "after_s", NULL };
	struct hive_http_take take = { .table = &hive_jobs_table, .fields = fields, .also = also };
	struct hive_complaints complaints = { 0 };
	struct skep_problems problems = { 0 };
	_skep_json_ json_t *body = NULL;
	char digest[HIVE_DIGEST_TEXT], name[40];
	int r = take_body(call, false, &body);

	if (r == 0)
		r = hive_http_key(call, &wish->key, digest);
	if (r != 0)
		return r < 0 ? r : 0;
	wish->request = digest;
	hive_http_take_row(&take, body, &wish->row, &problems);
	take_second(body, "before_s", &trigger->before_s, &problems);
	take_second(body, "after_s", &trigger->after_s, &problems);
	if (problems.n)
		return skep_http_answer_problems(call->req, &problems);
	if (!wish->row.name) {
		snprintf(name, sizeof(name), "ring %" PRId64 " triggered", trigger->ring_id);
		wish->row.name = strdup(name);
	}
	r = hive_ring_trigger(call->hive, &call->actor, trigger, wish, &complaints);
	return answer_made(call, r, wish, &complaints);
}

int hive_http_ring_trigger(struct hive_call *call)
{
	struct hive_trigger what = { .ring_id = hive_http_id(call, "id") };
	_hive_job_ struct hive_job ring = { 0 };
	struct hive_complaints complaints = { 0 };
	struct hive_job_wish wish = { 0 };
	int r;

	if (what.ring_id < 0)
		return 0;
	r = hive_thing_get(call->hive, &call->actor, HIVE_JOB, what.ring_id, &ring, &complaints);
	if (r != 0)
		return skep_http_refuse(call->req, 404, "not-found", NULL, "there is no such ring");
	r = trigger(call, &what, &wish);
	hive_job_clear(&wish.row);
	return r;
}

int hive_http_rings(struct hive_call *call)
{
	_hive_rows_ struct hive_rows rows = { .table = &hive_jobs_table };
	struct hive_complaints complaints = { 0 };
	struct hive_list list;
	int r = hive_http_list(call, &hive_jobs_table, &list);

	if (r != 0)
		return r < 0 ? r : 0;
	if (list.n_conds >= HIVE_CONDS_MAX - 2)
		return skep_http_refuse(call->req, 400, "bad-query", NULL, "too many conditions");
	list.conds[list.n_conds++] = (struct hive_cond){ .field = hive_field_find(&hive_jobs_table, "kind"),
							 .op = HIVE_EQ,
							 .number = HIVE_KIND_RING };
	r = hive_thing_list(call->hive, &call->actor, HIVE_JOB, &list, &rows, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_answer_rows(call, &rows);
}

int hive_http_ring(struct hive_call *call)
{
	_hive_job_ struct hive_job job = { 0 };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	int r;

	if (id < 0)
		return 0;
	r = hive_thing_get(call->hive, &call->actor, HIVE_JOB, id, &job, &complaints);
	if (r != 0 || job.kind != HIVE_KIND_RING)
		return skep_http_refuse(call->req, 404, "not-found", NULL, "there is no such ring");
	return answer_job(call, 200, id);
}

/* ---- one job ---- */

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

static bool wants_stream(const struct hive_call *call)
{
	const char *accept = skep_http_header(call->req, "Accept");

	return accept && strncmp(accept, "text/event-stream", 17) == 0;
}

/* What was, as a list; what is, as a stream of events for who accepts that. */
int hive_http_job_events(struct hive_call *call)
{
	_hive_rows_ struct hive_rows rows = { .table = &hive_job_events };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	_hive_job_ struct hive_job job = { 0 };
	struct hive_list list;
	int r;

	if (id < 0)
		return 0;
	if (wants_stream(call)) {
		r = hive_thing_get(call->hive, &call->actor, HIVE_JOB, id, &job, &complaints);
		return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_stream(call, id);
	}
	r = hive_http_list(call, &hive_job_events, &list);
	if (r != 0)
		return r < 0 ? r : 0;
	r = hive_job_history(call->hive, &call->actor, id, &list, &rows, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_answer_rows(call, &rows);
}
