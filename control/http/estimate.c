/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * POST /v1/estimate: how much would this filter match? A job of a few seconds that keeps nothing but the
 * first bytes of packets in one small file, which is removed with it; so what is measured is what a job
 * would get, with the same filter in the same place. One at a time; the handler's thread waits meanwhile.
 */
#include "common/json.h"
#include "control/http/handlers.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define SECONDS_MAX 30
#define SNAPLEN 64
#define RECORD_HEADER_BYTES 16 /* of a pcap file */
#define POLL_US 20000
#define END_MS 15000

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static json_t *job_of(const json_t *body, json_int_t seconds)
{
	json_t *job = json_pack("{s:s,s:i,s:i,s:{s:i},s:{s:I}}", "name", "estimate", "snaplen", SNAPLEN,
				"keep_files", 1, "rotate", "bytes", 1 << 20, "limits", "duration_ns",
				seconds * (json_int_t)SKEP_NSEC_PER_SEC);

	json_object_set(job, "links", json_object_get(body, "links"));
	json_object_set(job, "filter", json_object_get(body, "filter"));
	return job;
}

static json_t *rates(const char *name, const json_t *account, double seconds)
{
	double packets = (double)json_integer_value(json_object_get(account, "stored"));
	double bytes = (double)json_integer_value(json_object_get(account, "bytes_wire"));
	json_t *rates = json_pack("{s:f,s:f,s:f,s:f}", "packets", packets, "pps", packets / seconds, "bps",
				  8 * bytes / seconds, "bytes_per_hour",
				  (bytes + RECORD_HEADER_BYTES * packets) / seconds * 3600);

	if (name)
		json_object_set_new(rates, "link", json_string(name));
	return rates;
}

/* Waits until the job has ended. NULL: it did not. */
static json_t *wait_end(struct ctl *ctl, const char *id, uint64_t wait_ms)
{
	for (uint64_t waited = 0; waited < wait_ms * 1000; waited += POLL_US) {
		json_t *job = ctl_jobs_get(ctl->jobs, id);

		if (!job || !json_is_null(json_object_get(job, "outcome")))
			return job;
		json_decref(job);
		(void)usleep(POLL_US);
	}
	return NULL;
}

static int measure(struct skep_http_req *req, struct ctl *ctl, const json_t *body, json_int_t seconds)
{
	_skep_json_ json_t *spec = job_of(body, seconds), *job = NULL, *ended = NULL;
	struct ctl_job_request request = { .body = spec, .temporary = true };
	struct skep_problems problems = { 0 };
	json_t *links, *link;
	const char *id;
	size_t i;
	bool known;

	if (ctl_jobs_create(ctl->jobs, &request, &job, &known, &problems))
		return skep_http_answer_problems(req, &problems);
	id = json_string_value(json_object_get(job, "id"));
	ended = wait_end(ctl, id, (uint64_t)seconds * 1000 + END_MS);
	if (ended)
		(void)ctl_jobs_remove(ctl->jobs, id, NULL);
	ctl_jobs_release(ctl->jobs, id); /* if it is still there */
	if (!ended)
		return skep_http_refuse(req, 504, "too-slow", NULL,
					"the measuring job %s did not end in time", id);
	links = json_array();
	json_array_foreach(json_object_get(ended, "links"), i, link)
		json_array_append_new(links, rates(json_string_value(json_object_get(link, "name")),
						   json_object_get(link, "account"), (double)seconds));
	return skep_http_answer_json(
		req, 200,
		json_pack("{s:I,s:o,s:o,s:O}", "seconds", seconds, "total",
			  rates(NULL, json_object_get(ended, "account"), (double)seconds), "links", links,
			  "account", json_object_get(ended, "account")));
}

int ctl_http_estimate(struct skep_http_req *req, void *app)
{
	_skep_json_ json_t *body = NULL;
	const json_t *seconds;
	const char *field;
	json_t *value;
	int r;

	if (skep_http_body_json(req, &body))
		return 0;
	json_object_foreach(
		body, field,
		value) if (strcmp(field, "links") != 0 && strcmp(field, "filter") != 0 &&
			   strcmp(field, "seconds") !=
				   0) return skep_http_refuse(req, 422, "unknown-field", NULL,
							      "%.40s: an estimate has no such field", field);
	seconds = json_object_get(body, "seconds");
	if (seconds && (!json_is_integer(seconds) || json_integer_value(seconds) < 1 ||
			json_integer_value(seconds) > SECONDS_MAX))
		return skep_http_refuse(req, 422, "bad-value", "/seconds",
					"seconds: must be a whole number from 1 to %d", SECONDS_MAX);
	if (pthread_mutex_trylock(&one_at_a_time) != 0)
		return skep_http_refuse(req, 409, "busy", NULL, "another estimate is under way");
	r = measure(req, app, body, seconds ? json_integer_value(seconds) : 5);
	pthread_mutex_unlock(&one_at_a_time);
	return r;
}
