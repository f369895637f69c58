/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /v1/jobs: translates between HTTP and control/job.h, and nothing else.
 */
#include "control/job.h"

#include "common/json.h"
#include "control/http/handlers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int ctl_http_jobs_create(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	_skep_json_ json_t *body = NULL;
	struct ctl_job_request request = { .key = skep_http_header(req, "Idempotency-Key") };
	struct skep_problems problems = { 0 };
	json_t *job = NULL;
	char location[64];
	bool known;

	if (skep_http_body_json(req, &body))
		return 0;
	request.body = body;
	if (ctl_jobs_create(ctl->jobs, &request, &job, &known, &problems))
		return skep_http_answer_problems(req, &problems);
	(void)snprintf(location, sizeof(location), "/v1/jobs/%s",
		       json_string_value(json_object_get(job, "id")));
	(void)skep_http_add_header(req, "Location", location);
	return skep_http_answer_json(req, known ? 200 : 201, job);
}

int ctl_http_jobs(struct skep_http_req *req, void *app)
{
	static const char *const known[] = { "state", NULL };
	struct ctl *ctl = app;
	const char *state = skep_http_query(req, "state");
	json_t *list;

	if (skep_http_query_only(req, known))
		return 0;
	list = ctl_jobs_list(ctl->jobs);
	for (size_t i = json_array_size(list); state && i-- > 0;) {
		const char *this_state = json_string_value(json_object_get(json_array_get(list, i), "state"));

		if (!this_state || strcmp(this_state, state) != 0)
			json_array_remove(list, i);
	}
	return skep_http_answer_json(req, 200, json_pack("{s:o}", "jobs", list));
}

static int no_such_job(struct skep_http_req *req)
{
	return skep_http_refuse(req, 404, "no-such-job", NULL, "this probe has no such job");
}

int ctl_http_job(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	json_t *job = ctl_jobs_get(ctl->jobs, skep_http_param(req, "id"));

	return job ? skep_http_answer_json(req, 200, job) : no_such_job(req);
}

static int answer_verb(struct skep_http_req *req, struct ctl *ctl, enum ctl_job_verb verb)
{
	const char *id = skep_http_param(req, "id");
	struct skep_err err = SKEP_ERR_NULL;
	json_t *job;

	if (ctl_jobs_do(ctl->jobs, id, verb, &err))
		return err.code == SKEP_E_NOT_FOUND ? no_such_job(req) : skep_http_answer_err(req, &err);
	job = ctl_jobs_get(ctl->jobs, id);
	return job ? skep_http_answer_json(req, 200, job) : no_such_job(req);
}

int ctl_http_job_stop(struct skep_http_req *req, void *app)
{
	return answer_verb(req, app, CTL_JOB_STOP);
}

int ctl_http_job_pause(struct skep_http_req *req, void *app)
{
	return answer_verb(req, app, CTL_JOB_PAUSE);
}

int ctl_http_job_resume(struct skep_http_req *req, void *app)
{
	return answer_verb(req, app, CTL_JOB_RESUME);
}

/* Completes the current files of a running job, so that what was taken so far can be fetched. */
int ctl_http_job_rotate(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	struct skep_err err = SKEP_ERR_NULL;

	if (ctl_jobs_rotate(ctl->jobs, skep_http_param(req, "id"), &err))
		return err.code == SKEP_E_NOT_FOUND ? no_such_job(req) : skep_http_answer_err(req, &err);
	return skep_http_answer_empty(req, 204);
}

/* false: refused, and the answer is set. */
static bool read_ns(struct skep_http_req *req, const json_t *body, const char *field, uint64_t *ret)
{
	const json_t *value = json_object_get(body, field);
	char pointer[32];

	if (!value || (json_is_integer(value) && json_integer_value(value) >= 0)) {
		*ret = (uint64_t)json_integer_value(value);
		return true;
	}
	(void)snprintf(pointer, sizeof(pointer), "/%s", field);
	(void)skep_http_refuse(req, 422, "bad-value", pointer, "%s: must be a whole number of nanoseconds",
			       field);
	return false;
}

/* false: refused, and the answer is set. */
static bool read_trigger(struct skep_http_req *req, struct ctl *ctl, const json_t *body,
			 struct ctl_trigger *ret)
{
	static const char *const known[] = { "after_ns", "before_ns", "filter", "name" };
	const json_t *name = json_object_get(body, "name"), *filter = json_object_get(body, "filter");
	const char *field;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)body, field, value)
	{
		size_t i = 0;

		while (i < ARRAY_LEN(known) && strcmp(known[i], field) != 0)
			i++;
		if (i < ARRAY_LEN(known))
			continue;
		(void)skep_http_refuse(req, 422, "unknown-field", NULL, "%.40s: a trigger has no such field",
				       field);
		return false;
	}
	ret->name = json_string_value(name);
	if (name && (!ret->name || !ret->name[0] || strlen(ret->name) != json_string_length(name) ||
		     strlen(ret->name) > 120)) {
		(void)skep_http_refuse(req, 422, "bad-value", "/name",
				       "name: must be a text of 1 to 120 bytes");
		return false;
	}
	if (!read_ns(req, body, "before_ns", &ret->before_ns) ||
	    !read_ns(req, body, "after_ns", &ret->after_ns))
		return false;
	if (!filter || json_is_null(filter))
		return true;
	ret->filter = json_string_value(filter);
	if (ret->filter && strlen(ret->filter) == json_string_length(filter))
		return !ret->filter[0] || ctl_http_filter_is_right(req, ctl, ret->filter, "/filter");
	(void)skep_http_refuse(req, 422, "bad-value", "/filter", "filter: must be a text without NUL");
	return false;
}

int ctl_http_ring_trigger(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	_skep_json_ json_t *body = NULL;
	struct ctl_trigger what = { .ring = skep_http_param(req, "id") };
	struct skep_err err = SKEP_ERR_NULL;
	json_t *job = NULL;
	bool known;

	if (skep_http_body_json(req, &body) || !read_trigger(req, ctl, body, &what))
		return 0;
	if (ctl_jobs_trigger(ctl->jobs, &what, &job, &known, &err))
		return err.code == SKEP_E_NOT_FOUND ? no_such_job(req) : skep_http_answer_err(req, &err);
	return skep_http_answer_json(req, known ? 200 : 201, job);
}

int ctl_http_job_remove(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	struct skep_err err = SKEP_ERR_NULL;

	if (ctl_jobs_remove(ctl->jobs, skep_http_param(req, "id"), &err))
		return err.code == SKEP_E_NOT_FOUND ? no_such_job(req) : skep_http_answer_err(req, &err);
	return skep_http_answer_empty(req, 204);
}
