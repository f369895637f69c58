/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A job as a record of the journal and back, and as clients see it. The record holds everything that a
 * restarted daemon needs; the view holds what the API promises. No locks, no state.
 */
#include "control/job_priv.h"

#include "common/format.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *const ctl_job_state_names[JOB_STATES] = {
	[JOB_SCHEDULED] = "scheduled", [JOB_STARTING] = "starting",   [JOB_RUNNING] = "running",
	[JOB_PAUSED] = "paused",       [JOB_DRAINING] = "draining",   [JOB_DONE] = "done",
	[JOB_FAILED] = "failed",       [JOB_CANCELLED] = "cancelled",
};
static const char *const link_state_names[] = { "waiting", "running", "ended" };

static json_t *count(uint64_t n)
{
	return json_integer((json_int_t)SKEP_MIN(n, (uint64_t)INT64_MAX));
}

static uint64_t number(const json_t *object, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(object, name));

	return n > 0 ? (uint64_t)n : 0;
}

static void copy_text(const json_t *object, const char *name, char *buf, size_t room)
{
	const char *text = json_string_value(json_object_get(object, name));

	(void)snprintf(buf, room, "%s", text ? text : "");
}

struct job *ctl_job_free(struct job *job)
{
	if (!job)
		return NULL;
	json_decref(job->spec);
	json_decref(job->reasons);
	free(job->saved_filter);
	job->sift = ctl_job_sift_free(job->sift);
	free(job);
	return NULL;
}

static json_t *link_record(const struct job_link *link)
{
	return json_pack("{s:s,s:i,s:i,s:I,s:I,s:o,s:o,s:s}", "name", link->name, "state", (int)link->state,
			 "life", (int)link->life, "engine_ns", (json_int_t)link->engine_ns, "looked_ns",
			 (json_int_t)link->looked_ns, "before", ctl_account_json(&link->before), "now",
			 ctl_account_json(&link->now), "why", link->why);
}

json_t *ctl_job_record(const struct job *job)
{
	json_t *record = json_object(), *links = json_array(), *gaps = json_array();

	for (uint32_t i = 0; i < job->n_links; i++)
		json_array_append_new(links, link_record(&job->links[i]));
	for (uint32_t i = 0; i < job->n_gaps; i++)
		json_array_append_new(gaps, json_pack("{s:s,s:I,s:I}", "link", job->gaps[i].link, "from_ns",
						      (json_int_t)job->gaps[i].from_ns, "to_ns",
						      (json_int_t)job->gaps[i].to_ns));
	json_object_set_new(record, "id", json_string(job->id));
	json_object_set_new(record, "name", json_string(job->name));
	json_object_set_new(record, "key", json_string(job->key));
	json_object_set_new(record, "key_digest", json_string(job->key_digest));
	json_object_set_new(record, "state", json_integer(job->state));
	json_object_set_new(record, "stop_wanted", json_boolean(job->stop_wanted));
	json_object_set_new(record, "incomplete", json_boolean(job->incomplete));
	json_object_set_new(record, "budget", json_boolean(job->budget));
	if (job->owes)
		json_object_set_new(record, "owes", json_true());
	if (job->temporary)
		json_object_set_new(record, "temporary", json_true());
	json_object_set(record, "spec", job->spec);
	json_object_set_new(record, "limit_packets", count(job->limit_packets));
	json_object_set_new(record, "limit_bytes", count(job->limit_bytes));
	json_object_set_new(record, "limit_duration_ns", count(job->limit_duration_ns));
	json_object_set_new(record, "start_at_ns", count(job->start_at_ns));
	json_object_set_new(record, "end_at_ns", count(job->end_at_ns));
	json_object_set_new(record, "created_ns", count(job->created_ns));
	json_object_set_new(record, "started_ns", count(job->started_ns));
	json_object_set_new(record, "ended_ns", count(job->ended_ns));
	json_object_set_new(record, "paused_ns", count(job->paused_ns));
	json_object_set_new(record, "paused_sum_ns", count(job->paused_sum_ns));
	json_object_set_new(record, "ring_bytes", count(job->ring_bytes));
	json_object_set_new(record, "ring_ns", count(job->ring_ns));
	json_object_set_new(record, "saved_of", json_string(job->saved_of));
	if (job->saved_filter)
		json_object_set_new(record, "saved_filter", json_string(job->saved_filter));
	json_object_set_new(record, "from_ns", count(job->from_ns));
	json_object_set_new(record, "to_ns", count(job->to_ns));
	json_object_set_new(record, "links", links);
	json_object_set_new(record, "gaps", gaps);
	json_object_set(record, "reasons", job->reasons);
	return json_pack("{s:o}", "job", record);
}

static void parse_link(const json_t *json, struct job_link *link)
{
	copy_text(json, "name", link->name, sizeof(link->name));
	copy_text(json, "why", link->why, sizeof(link->why));
	link->state = (enum link_state)SKEP_MIN(number(json, "state"), (uint64_t)LINK_ENDED);
	link->life = (uint32_t)number(json, "life");
	link->engine_ns = number(json, "engine_ns");
	link->looked_ns = number(json, "looked_ns");
	link->unsure = true;
	ctl_account_parse(json_object_get(json, "before"), &link->before);
	ctl_account_parse(json_object_get(json, "now"), &link->now);
}

static void parse_lists(const json_t *json, struct job *job)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(json, "links"), i, item) if (job->n_links < CTL_LINKS_MAX)
		parse_link(item, &job->links[job->n_links++]);
	json_array_foreach(json_object_get(json, "gaps"), i, item)
	{
		struct job_gap *gap = &job->gaps[job->n_gaps];

		if (job->n_gaps == GAPS_MAX)
			break;
		copy_text(item, "link", gap->link, sizeof(gap->link));
		gap->from_ns = number(item, "from_ns");
		gap->to_ns = number(item, "to_ns");
		job->n_gaps++;
	}
}

int ctl_job_of_record(const json_t *record, struct job **ret)
{
	const json_t *json = json_object_get(record, "job");
	struct job *job = calloc(1, sizeof(*job));
	const char *filter;

	if (!job)
		return -ENOMEM;
	copy_text(json, "id", job->id, sizeof(job->id));
	copy_text(json, "name", job->name, sizeof(job->name));
	copy_text(json, "key", job->key, sizeof(job->key));
	copy_text(json, "key_digest", job->key_digest, sizeof(job->key_digest));
	job->state = (enum job_state)SKEP_MIN(number(json, "state"), (uint64_t)JOB_CANCELLED);
	job->stop_wanted = json_is_true(json_object_get(json, "stop_wanted"));
	job->incomplete = json_is_true(json_object_get(json, "incomplete"));
	job->budget = json_is_true(json_object_get(json, "budget"));
	job->owes = json_is_true(json_object_get(json, "owes"));
	job->temporary = json_is_true(json_object_get(json, "temporary"));
	job->released = job->temporary; /* whoever wanted it was a client of the daemon before us */
	job->limit_packets = number(json, "limit_packets");
	job->limit_bytes = number(json, "limit_bytes");
	job->limit_duration_ns = number(json, "limit_duration_ns");
	job->start_at_ns = number(json, "start_at_ns");
	job->end_at_ns = number(json, "end_at_ns");
	job->created_ns = number(json, "created_ns");
	job->started_ns = number(json, "started_ns");
	job->ended_ns = number(json, "ended_ns");
	job->paused_ns = number(json, "paused_ns");
	job->paused_sum_ns = number(json, "paused_sum_ns");
	job->ring_bytes = number(json, "ring_bytes");
	job->ring_ns = number(json, "ring_ns");
	copy_text(json, "saved_of", job->saved_of, sizeof(job->saved_of));
	filter = json_string_value(json_object_get(json, "saved_filter"));
	job->saved_filter = filter ? strdup(filter) : NULL;
	job->undigested = job->saved_of[0];
	job->from_ns = number(json, "from_ns");
	job->to_ns = number(json, "to_ns");
	job->spec = json_deep_copy(json_object_get(json, "spec"));
	job->reasons = json_deep_copy(json_object_get(json, "reasons"));
	parse_lists(json, job);
	if (!job->id[0] || !job->n_links || !json_is_object(job->spec) || !json_is_array(job->reasons)) {
		(void)ctl_job_free(job);
		return SKEP_E_BAD_DATA;
	}
	*ret = job;
	return 0;
}

static json_t *time_json(uint64_t ns)
{
	char text[SKEP_FORMAT_MAX];

	return ns ? json_string(skep_format_time(text, ns)) : json_null();
}

static json_t *limit_json(uint64_t limit)
{
	return limit ? count(limit) : json_null();
}

static void link_total(const struct job_link *link, struct ctl_account *ret)
{
	*ret = link->before;
	ctl_account_add(ret, &link->now);
}

void ctl_job_total(const struct job *job, struct ctl_account *ret)
{
	*ret = (struct ctl_account){ 0 };
	for (uint32_t i = 0; i < job->n_links; i++) {
		struct ctl_account link;

		link_total(&job->links[i], &link);
		ctl_account_add(ret, &link);
	}
}

static json_t *links_view(const struct job *job)
{
	json_t *links = json_array();

	for (uint32_t i = 0; i < job->n_links; i++) {
		const struct job_link *link = &job->links[i];
		struct ctl_account total;

		link_total(link, &total);
		json_array_append_new(links,
				      json_pack("{s:s,s:s,s:s,s:i,s:o}", "name", link->name, "state",
						link_state_names[link->state], "why", link->why, "lives",
						(int)link->life, "account", ctl_account_json(&total)));
	}
	return links;
}

static json_t *gaps_view(const struct job *job)
{
	json_t *gaps = json_array();

	for (uint32_t i = 0; i < job->n_gaps; i++)
		json_array_append_new(gaps, json_pack("{s:s,s:o,s:o}", "link", job->gaps[i].link, "from",
						      time_json(job->gaps[i].from_ns), "to",
						      time_json(job->gaps[i].to_ns)));
	return gaps;
}

uint64_t ctl_job_paused_ns(const struct job *job)
{
	uint64_t now = ctl_job_now_ns(), since = job->state == JOB_PAUSED ? job->paused_ns : now;

	return job->paused_sum_ns + now - SKEP_MIN(since, now);
}

static double part(uint64_t of, uint64_t limit)
{
	return limit ? SKEP_MIN((double)of / (double)limit, 1.0) : 0;
}

/* How much of the limit that is nearest; of a trigger, of its time. */
static json_t *progress_json(const struct job *job, const struct ctl_account *total)
{
	uint64_t now = job->ended_ns ? job->ended_ns : ctl_job_now_ns();
	uint64_t past = job->started_ns ? now - SKEP_MIN(job->started_ns, now) : 0;
	uint64_t end = job->saved_of[0] ? job->to_ns : job->end_at_ns;
	double done = part(past - SKEP_MIN(past, ctl_job_paused_ns(job)), job->limit_duration_ns);

	if (job_ended(job))
		return json_real(1);
	if (end)
		done = SKEP_MAX(done, job->started_ns < end ? part(past, end - job->started_ns) : 1);
	done = SKEP_MAX(done, part(total->stored, job->limit_packets));
	done = SKEP_MAX(done, part(total->bytes_raw, job->limit_bytes));
	return end || job->limit_duration_ns || job->limit_packets || job->limit_bytes ? json_real(done)
										       : json_null();
}

json_t *ctl_job_view(const struct job *job)
{
	json_t *view = json_object();
	struct ctl_account total;

	ctl_job_total(job, &total);
	json_object_set_new(view, "id", json_string(job->id));
	json_object_set_new(view, "name", json_string(job->name));
	json_object_set_new(view, "state", json_string(ctl_job_state_names[job->state]));
	json_object_set_new(view, "progress", progress_json(job, &total));
	json_object_set_new(view, "outcome",
			    !job_ended(job) ? json_null()
					    : json_string(job->incomplete ? "incomplete" : "complete"));
	json_object_set_new(view, "reasons", json_copy(job->reasons));
	json_object_set_new(view, "gaps", gaps_view(job));
	json_object_set_new(view, "kind",
			    json_string(job->temporary			  ? "temporary"
					: job->saved_of[0]		  ? "saved"
					: job->ring_bytes || job->ring_ns ? "ring"
									  : "capture"));
	if (job->ring_bytes || job->ring_ns)
		json_object_set_new(view, "ring",
				    json_pack("{s:o,s:o}", "bytes", limit_json(job->ring_bytes),
					      "duration_ns", limit_json(job->ring_ns)));
	if (job->saved_of[0])
		json_object_set_new(view, "saved",
				    json_pack("{s:s,s:o,s:o,s:s?}", "ring", job->saved_of, "from",
					      time_json(job->from_ns), "to", time_json(job->to_ns), "filter",
					      job->saved_filter));
	json_object_set_new(view, "capture", json_deep_copy(job->spec));
	json_object_set_new(view, "limits",
			    json_pack("{s:o,s:o,s:o}", "packets", limit_json(job->limit_packets), "bytes",
				      limit_json(job->limit_bytes), "duration_ns",
				      limit_json(job->limit_duration_ns)));
	json_object_set_new(view, "created_at", time_json(job->created_ns));
	json_object_set_new(view, "start_at", time_json(job->start_at_ns));
	json_object_set_new(view, "end_at", time_json(job->end_at_ns));
	json_object_set_new(view, "started_at", time_json(job->started_ns));
	json_object_set_new(view, "ended_at", time_json(job->ended_ns));
	json_object_set_new(view, "links", links_view(job));
	json_object_set_new(view, "account", ctl_account_json(&total));
	return view;
}
