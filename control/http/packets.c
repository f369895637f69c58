/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GET /v1/jobs/{id}/packets: the packets of a job that match, as one pcap. What is wrong is said before the
 * first byte; later the connection is cut, so a stream that ends properly is whole. A job that goes on
 * completes its current files first, so that what it has taken until now is in the answer.
 */
#include "control/packets.h"

#include "common/json.h"
#include "common/parse.h"
#include "control/http/handlers.h"
#include "control/segment.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * A search may find nothing for a long time: then the answer begins before it is known whether it goes
 * well.
 */
#define FIRST_BYTE_MS 10000
#define AGAIN_S "5"

struct query {
	uint64_t from_ns, to_ns, max_bytes;
	const char *filter;
	bool pcapng;
};

static int bad_value(struct skep_http_req *req, const struct skep_err *err)
{
	struct skep_problems problems = { .status = 422 };

	skep_problems_add_err(&problems, "bad-value", NULL, err);
	(void)skep_http_answer_problems(req, &problems);
	return SKEP_E_USAGE;
}

/* 0, or the answer is set. */
static int read_query(struct skep_http_req *req, struct query *ret)
{
	static const char *const known[] = { "filter", "format", "from", "max_bytes", "to", NULL };
	const char *from = skep_http_query(req, "from"), *to = skep_http_query(req, "to");
	const char *max = skep_http_query(req, "max_bytes"), *format = skep_http_query(req, "format");
	struct skep_err err = SKEP_ERR_NULL;
	int r = skep_http_query_only(req, known);

	if (r)
		return r;
	*ret = (struct query){ .to_ns = UINT64_MAX, .filter = skep_http_query(req, "filter") };
	if (from && from[0])
		r = skep_parse_time("from", from, &ret->from_ns, &err);
	if (r == 0 && to && to[0])
		r = skep_parse_time("to", to, &ret->to_ns, &err);
	if (r == 0 && ret->from_ns > ret->to_ns)
		r = skep_err_set(&err, SKEP_E_USAGE, "from: is later than to");
	if (r == 0 && max && max[0])
		r = skep_parse_uint("max_bytes", max, 1, INT64_MAX, &ret->max_bytes, &err);
	ret->pcapng = format && !strcmp(format, "pcapng");
	if (r == 0 && format && !ret->pcapng && strcmp(format, "pcap") != 0)
		r = skep_err_set(&err, SKEP_E_USAGE, "format: must be pcap or pcapng");
	if (r == 0 && ret->pcapng && ret->max_bytes)
		r = skep_err_set(&err, SKEP_E_USAGE, "max_bytes: only of a pcap, not of a pcapng");
	return r ? bad_value(req, &err) : 0;
}

/* Rings of old files must not lose them to this; they are completed by themselves soon. */
static void complete_files(struct ctl *ctl, const json_t *job)
{
	const char *kind = json_string_value(json_object_get(job, "kind"));

	if (json_is_null(json_object_get(job, "outcome")) && kind && !strcmp(kind, "capture"))
		(void)ctl_jobs_rotate(ctl->jobs, json_string_value(json_object_get(job, "id")), NULL);
}

static int refuse_end(struct skep_http_req *req, const struct skep_err *err)
{
	struct skep_problems problems = { .status = err->code == SKEP_E_USAGE
							    ? 422
							    : skep_problem_status(err->code) };

	skep_problems_add_err(&problems, err->code == SKEP_E_USAGE ? "bad-value" : NULL, NULL, err);
	return skep_http_answer_problems(req, &problems);
}

/* What was removed is not in the answer: how many segments of the time. */
static void say_removed(struct skep_http_req *req, struct ctl *ctl, const struct ctl_packets_ask *ask)
{
	const struct ctl_segments_of of = {
		.job = ask->job,
		.lives = ask->lives,
		.from_ns = ask->from_ns,
		.to_ns = ask->to_ns,
	};
	uint32_t n = ctl_segment_removed(&ctl->cfg, &of);
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", n);
	if (n)
		(void)skep_http_add_header(req, "Skep-Segments-Removed", text);
}

static int answer(struct skep_http_req *req, struct ctl_relay *relay, int fd, const char *id, bool pcapng)
{
	struct skep_err err = SKEP_ERR_NULL;
	char name[80];

	if (ctl_relay_wait(relay, FIRST_BYTE_MS, &err) == CTL_RELAY_ENDED) {
		close(fd);
		ctl_relay_release(relay);
		return refuse_end(req, &err);
	}
	(void)snprintf(name, sizeof(name), "attachment; filename=\"%.40s.pcap%s\"", id, pcapng ? "ng" : "");
	(void)skep_http_add_header(req, "Content-Disposition", name);
	return skep_http_answer_stream(req, &(struct skep_http_stream){
						    .type = "application/vnd.tcpdump.pcap",
						    .fd = fd,
						    .closed = ctl_relay_release,
						    .whole = ctl_relay_whole,
						    .arg = relay,
					    });
}

int ctl_http_packets(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	const char *id = skep_http_param(req, "id");
	_skep_json_ json_t *job = ctl_jobs_get(ctl->jobs, id);
	struct ctl_packets_ask ask = { .lives = ctl_http_job_lives(job) };
	struct skep_err err = SKEP_ERR_NULL;
	struct ctl_relay *relay;
	struct query query;
	int fd;

	if (!job)
		return skep_http_refuse(req, 404, "no-such-job", NULL, "this probe has no such job");
	if (read_query(req, &query))
		return 0;
	if (query.filter && query.filter[0] && !ctl_http_filter_is_right(req, ctl, query.filter, NULL))
		return 0;
	complete_files(ctl, job);
	(void)snprintf(ask.job, sizeof(ask.job), "%s", id);
	ask.filter = query.filter ? strdup(query.filter) : NULL;
	ask.from_ns = query.from_ns;
	ask.to_ns = query.to_ns;
	ask.max_bytes = query.max_bytes;
	ask.pcapng = query.pcapng;
	if (query.filter && !ask.filter)
		return -ENOMEM;
	say_removed(req, ctl, &ask);
	if (ctl_packets_start(&ctl->cfg, ctl->relays, &ask, &relay, &fd, &err) == 0)
		return answer(req, relay, fd, id, query.pcapng);
	if (err.code != SKEP_E_BUSY)
		return skep_http_answer_err(req, &err);
	(void)skep_http_add_header(req, "Retry-After", AGAIN_S);
	return skep_http_refuse(req, 503, "busy", NULL, "%s", err.text);
}
