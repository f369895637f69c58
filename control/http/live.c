/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GET /v1/live/{link}: reads what is asked for, makes the temporary job, and lets the relay answer. The
 * answer begins at once, with a pcap header.
 */
#include "control/live.h"

#include "common/json.h"
#include "common/parse.h"
#include "control/http/handlers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DURATION_NS (3600 * SKEP_NSEC_PER_SEC) /* unless it is said */
#define DURATION_MAX_NS (24 * DURATION_NS)
#define AGAIN_S "10"

struct query {
	const char *filter, *job;
	uint64_t snaplen, duration_ns;
};

static int read_query(struct skep_http_req *req, struct query *ret)
{
	static const char *const known[] = { "duration", "filter", "job", "snaplen", NULL };
	const char *snaplen = skep_http_query(req, "snaplen"), *duration = skep_http_query(req, "duration");
	struct skep_problems problems = { .status = 422 };
	struct skep_err err = SKEP_ERR_NULL;
	int r = skep_http_query_only(req, known);

	if (r)
		return r;
	*ret = (struct query){
		.filter = skep_http_query(req, "filter"),
		.job = skep_http_query(req, "job"),
		.duration_ns = DURATION_NS,
	};
	if (snaplen && snaplen[0])
		r = skep_parse_uint("snaplen", snaplen, 1, 262144, &ret->snaplen, &err);
	if (r == 0 && duration && duration[0])
		r = skep_parse_duration("duration", duration, &ret->duration_ns, &err);
	if (r == 0 && (ret->duration_ns < SKEP_NSEC_PER_SEC || ret->duration_ns > DURATION_MAX_NS))
		r = skep_err_set(&err, SKEP_E_USAGE, "duration: must be from 1s to 24h");
	if (r == 0)
		return 0;
	skep_problems_add_err(&problems, "bad-value", NULL, &err);
	(void)skep_http_answer_problems(req, &problems);
	return r;
}

static bool runs_on(const json_t *job, const char *name)
{
	const json_t *link;
	size_t i;

	json_array_foreach(json_object_get(job, "links"), i, link)
	{
		const char *this_name = json_string_value(json_object_get(link, "name"));

		if (this_name && !strcmp(this_name, name))
			return true;
	}
	return false;
}

/* What the job chooses, and how much of it; its files and limits are its own affair. */
static void follow(const json_t *job, json_t *body)
{
	static const char *const fields[] = { "cutoff", "decap",   "filter", "inside",
					      "sample", "snaplen", "trim" };
	const json_t *capture = json_object_get(job, "capture");

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (json_object_get(capture, fields[i]))
			json_object_set(body, fields[i], json_object_get(capture, fields[i]));
}

/* A job and a filter: both must match. */
static void narrow(json_t *body, const char *filter)
{
	const char *before = json_string_value(json_object_get(body, "filter"));

	if (!filter || !filter[0])
		return;
	json_object_set_new(body, "filter",
			    before && before[0] ? json_sprintf("(%s) and (%s)", before, filter)
						: json_string(filter));
}

/* The job's body, the caller's; NULL: the answer is set. */
static json_t *body_of(struct skep_http_req *req, struct ctl *ctl, const char *link,
		       const struct query *query)
{
	_skep_json_ json_t *job = query->job ? ctl_jobs_get(ctl->jobs, query->job) : NULL;
	json_t *body;

	if (query->job && !job) {
		(void)skep_http_refuse(req, 404, "no-such-job", NULL, "this probe has no such job");
		return NULL;
	}
	if (job && !runs_on(job, link)) {
		(void)skep_http_refuse(req, 422, "bad-value", NULL, "job: it is not one of this link");
		return NULL;
	}
	body = ctl_live_job(link, query->duration_ns);
	if (job)
		follow(job, body);
	narrow(body, query->filter);
	if (query->snaplen)
		json_object_set_new(body, "snaplen", json_integer((json_int_t)query->snaplen));
	return body;
}

/* Pointers into a body that the client did not write say nothing to him. */
static int refuse(struct skep_http_req *req, struct skep_problems *problems)
{
	for (uint32_t i = 0; i < SKEP_MIN(problems->n, (uint32_t)SKEP_PROBLEMS_MAX); i++) {
		problems->items[i].pointer[0] = '\0';
		if (!strcmp(problems->items[i].code, "no-such-link"))
			problems->status = 404;
	}
	return skep_http_answer_problems(req, problems);
}

static int busy(struct skep_http_req *req, const char *why)
{
	(void)skep_http_add_header(req, "Retry-After", AGAIN_S);
	return skep_http_refuse(req, 503, "busy", NULL, "%s", why);
}

static int start(struct skep_http_req *req, struct ctl *ctl, const char *link, const char *id)
{
	struct ctl_live_ask ask = {
		.cfg = &ctl->cfg,
		.jobs = ctl->jobs,
		.events = ctl->events,
		.totals = &ctl->live_totals,
	};
	struct skep_err err = SKEP_ERR_NULL;
	struct ctl_relay *relay;
	int fd;

	(void)snprintf(ask.job, sizeof(ask.job), "%s", id);
	(void)snprintf(ask.link, sizeof(ask.link), "%s", link);
	if (ctl_live_start(ctl->relays, &ask, &relay, &fd, &err))
		return err.code == SKEP_E_BUSY ? busy(req, err.text) : skep_http_answer_err(req, &err);
	(void)skep_http_add_header(req, "Skep-Live", id);
	return skep_http_answer_stream(req,
				       &(struct skep_http_stream){ .type = "application/vnd.tcpdump.pcap",
								   .fd = fd,
								   .closed = ctl_relay_release,
								   .whole = ctl_relay_whole,
								   .arg = relay });
}

int ctl_http_live(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	const char *link = skep_http_param(req, "link");
	_skep_json_ json_t *body = NULL, *job = NULL;
	struct ctl_job_request request = { .temporary = true };
	struct skep_problems problems = { 0 };
	struct query query;
	bool known;

	if (read_query(req, &query))
		return 0;
	body = body_of(req, ctl, link, &query);
	if (!body)
		return 0;
	if (ctl_relays_count(ctl->relays, CTL_RELAY_LIVE) >= ctl->cfg.live_max)
		return busy(req, "as many live streams as may be are open");
	request.body = body;
	if (ctl_jobs_create(ctl->jobs, &request, &job, &known, &problems))
		return refuse(req, &problems);
	return start(req, ctl, link, json_string_value(json_object_get(job, "id")));
}
