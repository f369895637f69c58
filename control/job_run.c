/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeps jobs and engines together: gives jobs to engines, asks the engines how their jobs are, ends what
 * has ended, and brings back what was lost. An engine that has died, or that came up again without the job,
 * costs a gap: its torn files are ended, what they hold is counted, and the job goes on in a new life with
 * what is left of its limits. Called with `ops` held; on the main thread but for the first start of a job.
 *
 * Invariant: the name of a life (ID, then ID.2, …) is given to an engine once. After a doubt (a restart of
 * ours, a lost connection) the engine is asked for the name before it is given the job again.
 */
#include "control/job_priv.h"

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRIES_MAX 6u
#define LATE_NS (2 * SKEP_NSEC_PER_SEC)

uint64_t ctl_job_now_ns(void)
{
	return skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME);
}

static uint64_t mono_ns(void)
{
	return skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC);
}

void ctl_job_engine_name(const struct job *job, const struct job_link *link, char buf[static 64])
{
	ctl_job_dir(job, link->life, buf);
}

struct ctl_engine *ctl_job_engine(struct ctl_jobs *jobs, const char *link)
{
	for (uint32_t i = 0; i < jobs->n_engines; i++)
		if (!strcmp(jobs->engines[i].link, link))
			return &jobs->engines[i];
	if (jobs->n_engines == CTL_LINKS_MAX)
		return NULL;
	ctl_engine_init(&jobs->engines[jobs->n_engines], jobs->cfg, link);
	return &jobs->engines[jobs->n_engines++];
}

/* What is left of a limit; 0: nothing. */
static uint64_t left(uint64_t limit, uint64_t used)
{
	return limit > used ? limit - used : 0;
}

/* false: a limit is used up. */
static bool remaining(const struct job *job, const struct job_link *link, json_t *limits)
{
	uint64_t now = ctl_job_now_ns(), n;

	if (job->limit_packets) {
		n = job->budget ? job->limit_packets : left(job->limit_packets, link->before.stored);
		if (!n)
			return false;
		json_object_set_new(limits, "packets", json_integer((json_int_t)n));
	}
	if (job->limit_bytes) {
		n = job->budget ? job->limit_bytes : left(job->limit_bytes, link->before.bytes_raw);
		if (!n)
			return false;
		json_object_set_new(limits, "bytes", json_integer((json_int_t)n));
	}
	if (job->limit_duration_ns) {
		uint64_t past = job->started_ns ? left(now, job->started_ns) : 0;

		n = left(job->limit_duration_ns, left(past, ctl_job_paused_ns(job)));
		if (!n)
			return false;
		json_object_set_new(limits, "duration_ns", json_integer((json_int_t)n));
	}
	if (job->end_at_ns) {
		if (job->end_at_ns <= now)
			return false;
		json_object_set_new(limits, "end_ns", json_integer((json_int_t)job->end_at_ns));
	}
	return true;
}

static json_t *add_request(const struct job *job, const struct job_link *link, const char *name)
{
	json_t *spec = json_deep_copy(job->spec), *limits = json_object();
	char budget[64];

	if (!remaining(job, link, limits)) {
		json_decref(spec);
		json_decref(limits);
		return NULL;
	}
	ctl_job_ring_spec(job, link, spec);
	json_object_set_new(spec, "name", json_string(name));
	json_object_set_new(spec, "dir", json_string(name));
	json_object_set_new(spec, "limits", limits);
	if (job->budget) {
		(void)snprintf(budget, sizeof(budget), "%s.budget", job->id);
		json_object_set_new(spec, "budget", json_string(budget));
	}
	return json_pack("{s:s,s:o}", "do", "add", "job", spec);
}

/* Does the engine have this life already? */
static bool has_it(struct ctl_engine *engine, const char *name)
{
	json_t *answer = NULL;
	int r = ctl_engine_call(engine, json_pack("{s:s,s:s}", "do", "status", "name", name), &answer, NULL);

	json_decref(answer);
	return r == 0;
}

static void close_gap(struct job *job, const struct job_link *link)
{
	for (uint32_t i = 0; i < job->n_gaps; i++)
		if (!job->gaps[i].to_ns && !strcmp(job->gaps[i].link, link->name))
			job->gaps[i].to_ns = ctl_job_now_ns();
}

static void end_link(struct job_link *link, const char *why)
{
	ctl_account_add(&link->before, &link->now);
	link->now = (struct ctl_account){ 0 };
	link->state = LINK_ENDED;
	(void)snprintf(link->why, sizeof(link->why), "%s", why);
}

void ctl_job_stop(struct ctl_jobs *jobs, struct job *job)
{
	job->stop_wanted = true;
	if (job->state == JOB_SCHEDULED) {
		for (uint32_t i = 0; i < job->n_links; i++)
			end_link(&job->links[i], "stopped");
		job->ended_ns = ctl_job_now_ns();
		ctl_job_set_state(jobs, job, JOB_CANCELLED);
		return;
	}
	if (job->saved_of[0]) { /* what is there by now is what was wanted */
		job->to_ns = SKEP_MIN(job->to_ns, ctl_job_now_ns());
		ctl_job_save(jobs, job);
		return;
	}
	for (uint32_t i = 0; i < job->n_links; i++) {
		struct job_link *link = &job->links[i];
		struct ctl_engine *engine = ctl_job_engine(jobs, link->name);
		json_t *answer = NULL;
		char name[64];

		if (link->state == LINK_WAITS)
			end_link(link, "stopped");
		if (link->state != LINK_RUNS || !engine)
			continue;
		ctl_job_engine_name(job, link, name);
		(void)ctl_engine_call(engine, json_pack("{s:s,s:s}", "do", "stop", "name", name), &answer,
				      NULL);
		json_decref(answer);
	}
	if (job->state != JOB_DRAINING)
		ctl_job_set_state(jobs, job, JOB_DRAINING);
}

/* The engine that had it is gone, or does not know it. */
static void lost(struct ctl_jobs *jobs, struct job *job, struct job_link *link)
{
	uint64_t last_ns;

	ctl_job_recover(jobs, job, link, &last_ns);
	ctl_job_add_reason(job, "the engine of %s died; packets are missing (see gaps)", link->name);
	if (job->n_gaps < GAPS_MAX) {
		struct job_gap *gap = &job->gaps[job->n_gaps++];

		*gap = (struct job_gap){ .from_ns = last_ns ? last_ns : link->looked_ns };
		memcpy(gap->link, link->name, sizeof(gap->link));
	}
	job->owes = job->budget;
	link->state = LINK_WAITS;
	link->life++;
	link->engine_ns = 0;
	link->unsure = false;
	link->retry_ns = 0;
	if (job->stop_wanted)
		end_link(link, "engine_died");
	(void)ctl_job_keep(jobs, job);
	skep_log(SKEP_LOG_WARNING, "job=%s link=%s engine died; stored=%llu", job->id, link->name,
		 (unsigned long long)link->before.stored);
}

/*
 * Gives this life to the engine, or finds that it has it. A life that an engine had begun, and that this
 * one does not know, is lost, and the next one begins. 0 with the link ended: nothing is left to capture.
 */
static int hand_over(struct ctl_jobs *jobs, struct ctl_engine *engine, struct job *job, struct job_link *link,
		     struct skep_err *err)
{
	json_t *request, *answer = NULL;
	char name[64];
	int r;

	ctl_job_engine_name(job, link, name);
	if (link->unsure && has_it(engine, name))
		return 0;
	if (link->unsure && ctl_job_has_files(jobs, job, link)) {
		lost(jobs, job, link);
		if (job->owes)
			ctl_job_give_back(jobs, job);
	}
	if (link->state == LINK_ENDED)
		return 0;
	ctl_job_engine_name(job, link, name);
	request = add_request(job, link, name);
	if (!request) {
		end_link(link, "limit");
		return 0;
	}
	link->unsure = true; /* until the answer is there */
	r = ctl_engine_call(engine, request, &answer, err);
	json_decref(answer);
	return r;
}

int ctl_job_begin_link(struct ctl_jobs *jobs, struct job *job, struct job_link *link, struct skep_err *err)
{
	struct ctl_engine *engine = ctl_job_engine(jobs, link->name);
	json_t *answer = NULL;
	char name[64];
	int r;

	if (!engine)
		return skep_err_set(err, SKEP_E_BUSY, "%s: this probe serves %d links already", link->name,
				    CTL_LINKS_MAX);
	r = ctl_engine_ensure(engine, err);
	r = r ?: hand_over(jobs, engine, job, link, err);
	if (r == -EPIPE) { /* it had died, and nobody had noticed yet */
		r = ctl_engine_ensure(engine, err);
		r = r ?: hand_over(jobs, engine, job, link, err);
	}
	if (r || link->state == LINK_ENDED)
		return r;
	ctl_job_engine_name(job, link, name);
	if (job->state == JOB_PAUSED) {
		(void)ctl_engine_call(engine, json_pack("{s:s,s:s}", "do", "pause", "name", name), &answer,
				      NULL);
		json_decref(answer);
	}
	engine->idle_since_ns = 0;
	link->unsure = false;
	link->state = LINK_RUNS;
	link->engine_ns = engine->started_ns;
	link->looked_ns = ctl_job_now_ns();
	link->tries = 0;
	close_gap(job, link);
	return 0;
}

static const json_t *job_in(const json_t *status, const char *name)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(status, "jobs"), i, item)
	{
		const char *this_name = json_string_value(json_object_get(item, "name"));

		if (this_name && !strcmp(this_name, name))
			return item;
	}
	return NULL;
}

bool ctl_job_ask(struct ctl_jobs *jobs, const struct job *job, const struct job_link *link,
		 struct ctl_account *ret)
{
	struct ctl_engine *engine = ctl_job_engine(jobs, link->name);
	_skep_json_ json_t *status = NULL;
	const json_t *said;
	char name[64];

	if (!engine || engine->started_ns != link->engine_ns ||
	    ctl_engine_call(engine, json_pack("{s:s}", "do", "status"), &status, NULL))
		return false;
	ctl_job_engine_name(job, link, name);
	said = job_in(status, name);
	if (said)
		ctl_account_parse(json_object_get(said, "account"), ret);
	return said != NULL;
}

static bool is_text(const json_t *object, const char *field, const char *text)
{
	const char *value = json_string_value(json_object_get(object, field));

	return value && !strcmp(value, text);
}

/* The engine says that this life has ended. */
static void finished(struct ctl_jobs *jobs, struct job *job, struct job_link *link, const json_t *said)
{
	struct ctl_engine *engine = ctl_job_engine(jobs, link->name);
	const char *why = json_string_value(json_object_get(said, "why"));
	json_t *reason, *answer = NULL;
	char name[64];
	size_t i;

	if (!json_is_true(json_object_get(said, "complete"))) {
		job->incomplete = true;
		json_array_foreach(json_object_get(said, "reasons"), i, reason)
			ctl_job_add_reason(job, "%s: %s", link->name, json_string_value(reason));
	}
	end_link(link, why ? why : "");
	(void)ctl_job_keep(jobs, job);
	ctl_job_engine_name(job, link, name);
	(void)ctl_engine_call(engine, json_pack("{s:s,s:s}", "do", "forget", "name", name), &answer, NULL);
	json_decref(answer);
}

/* What the engine says of one life of a job. */
static void look_at(struct ctl_jobs *jobs, struct ctl_engine *engine, struct job *job, struct job_link *link,
		    const json_t *status)
{
	char name[64];
	const json_t *said;
	json_t *answer = NULL;

	ctl_job_engine_name(job, link, name);
	said = job_in(status, name);
	if (!said || link->engine_ns != engine->started_ns) {
		lost(jobs, job, link);
		return;
	}
	link->looked_ns = ctl_job_now_ns();
	ctl_account_parse(json_object_get(said, "account"), &link->now);
	/* An engine says "ended" a moment before it has summed up, and why only then. */
	if (is_text(said, "state", "ended") && !is_text(said, "why", "")) {
		finished(jobs, job, link, said);
	} else if (job->stop_wanted &&
		   (is_text(said, "state", "running") || is_text(said, "state", "paused"))) {
		(void)ctl_engine_call(engine, json_pack("{s:s,s:s}", "do", "stop", "name", name), &answer,
				      NULL);
		json_decref(answer);
	}
}

static bool runs_on(const struct job *job, const char *link)
{
	for (uint32_t i = 0; i < job->n_links; i++)
		if (job->links[i].state == LINK_RUNS && !strcmp(job->links[i].name, link))
			return true;
	return false;
}

static bool has_jobs(const struct ctl_jobs *jobs, const struct ctl_engine *engine)
{
	for (const struct job *job = jobs->head; job; job = job->next)
		if (runs_on(job, engine->link))
			return true;
	return false;
}

/* An engine that has nothing to do gives its link back after a while. */
static void look_idle(struct ctl_jobs *jobs, struct ctl_engine *engine)
{
	uint64_t now = mono_ns();

	if (engine->fd < 0)
		return;
	if (!engine->idle_since_ns)
		engine->idle_since_ns = now;
	if (now - engine->idle_since_ns > jobs->cfg->engine_idle_ns)
		ctl_engine_stop(engine);
}

static void look(struct ctl_jobs *jobs, struct ctl_engine *engine)
{
	json_t *status = NULL;

	ctl_engine_reap(engine);
	if (!has_jobs(jobs, engine)) {
		look_idle(jobs, engine);
		return;
	}
	if (ctl_engine_connect(engine, NULL) == 0)
		(void)ctl_engine_call(engine, json_pack("{s:s}", "do", "status"), &status, NULL);
	for (struct job *job = jobs->head; job; job = job->next)
		for (uint32_t i = 0; i < job->n_links; i++) {
			struct job_link *link = &job->links[i];

			if (link->state == LINK_RUNS && !strcmp(link->name, engine->link))
				look_at(jobs, engine, job, link, status);
		}
	json_decref(status);
}

/* Gives what waits to its engine, again and again with longer pauses. */
static void begin_waiting(struct ctl_jobs *jobs, struct job *job)
{
	for (uint32_t i = 0; i < job->n_links; i++) {
		struct job_link *link = &job->links[i];
		struct skep_err err = SKEP_ERR_NULL;

		if (link->state != LINK_WAITS || mono_ns() < link->retry_ns)
			continue;
		if (job->stop_wanted) {
			end_link(link, "stopped");
			continue;
		}
		if (ctl_job_begin_link(jobs, job, link, &err) == 0) {
			(void)ctl_job_keep(jobs, job);
			continue;
		}
		link->retry_ns = mono_ns() + (SKEP_NSEC_PER_SEC << link->tries);
		skep_log(SKEP_LOG_WARNING, "job=%s link=%s: %s", job->id, link->name, err.text);
		if (++link->tries < TRIES_MAX && err.code != SKEP_E_USAGE)
			continue;
		ctl_job_add_reason(job, "%s: %s", link->name, err.text);
		end_link(link, "failed");
		(void)ctl_job_keep(jobs, job);
	}
}

static bool limit_reached(const struct job *job)
{
	for (uint32_t i = 0; i < job->n_links; i++)
		if (job->links[i].state == LINK_ENDED &&
		    (!strcmp(job->links[i].why, "packets") || !strcmp(job->links[i].why, "bytes")))
			return true;
	return false;
}

/* Where is it now, seen as a whole? */
static void evaluate(struct ctl_jobs *jobs, struct job *job)
{
	uint32_t waiting = 0, ended = 0, failed = 0;

	for (uint32_t i = 0; i < job->n_links; i++) {
		waiting += job->links[i].state == LINK_WAITS;
		ended += job->links[i].state == LINK_ENDED;
		failed += !strcmp(job->links[i].why, "failed");
	}
	if (ended == job->n_links) {
		struct ctl_account total;

		ctl_job_total(job, &total);
		job->ended_ns = ctl_job_now_ns();
		for (uint32_t i = 0; i < job->n_links; i++)
			close_gap(job, &job->links[i]);
		ctl_job_set_state(jobs, job, failed == job->n_links && !total.stored ? JOB_FAILED : JOB_DONE);
	} else if (limit_reached(job) && !job->stop_wanted) {
		ctl_job_stop(jobs, job);
	} else if (job->state == JOB_STARTING && !waiting) {
		job->started_ns = job->started_ns ? job->started_ns : ctl_job_now_ns();
		ctl_job_set_state(jobs, job, job->stop_wanted ? JOB_DRAINING : JOB_RUNNING);
	}
}

void ctl_job_finish_all(struct ctl_jobs *jobs, struct job *job, const char *why)
{
	for (uint32_t i = 0; i < job->n_links; i++)
		end_link(&job->links[i], why);
	job->ended_ns = ctl_job_now_ns();
	ctl_job_set_state(jobs, job, JOB_DONE);
}

int ctl_job_rotate(struct ctl_jobs *jobs, struct job *job, struct skep_err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < job->n_links; i++) {
		struct ctl_engine *engine = ctl_job_engine(jobs, job->links[i].name);
		json_t *answer = NULL;
		char name[64];

		if (job->links[i].state != LINK_RUNS || !engine)
			continue;
		ctl_job_engine_name(job, &job->links[i], name);
		r = ctl_engine_call(engine, json_pack("{s:s,s:s}", "do", "rotate", "name", name), &answer,
				    err);
		json_decref(answer);
	}
	return r;
}

static void begin_scheduled(struct ctl_jobs *jobs, struct job *job)
{
	uint64_t now = ctl_job_now_ns();
	struct skep_err err = SKEP_ERR_NULL;

	if (now < job->start_at_ns)
		return;
	if (now - job->start_at_ns > LATE_NS)
		ctl_job_add_reason(job, "it began %llu s late: the daemon did not run",
				   (unsigned long long)((now - job->start_at_ns) / SKEP_NSEC_PER_SEC));
	if (job->budget && ctl_job_make_budget(jobs, job, &err))
		skep_log(SKEP_LOG_ERROR, "job=%s: %s", job->id, err.text);
	ctl_job_set_state(jobs, job, JOB_STARTING);
}

static void publish_progress(struct ctl_jobs *jobs, const struct job *job)
{
	struct ctl_account total;
	_skep_free_ char *text = NULL;
	json_t *json;

	ctl_job_total(job, &total);
	json = json_pack("{s:s,s:s,s:o}", "id", job->id, "state", ctl_job_state_names[job->state], "account",
			 ctl_account_json(&total));
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	if (text)
		(void)skep_events_publish(jobs->events, "progress", text);
}

/* What an engine says by itself, for whoever listens to us. */
static void on_event(const json_t *event, void *arg)
{
	struct ctl_jobs *jobs = arg;
	const char *name = json_string_value(json_object_get(event, "job"));
	_skep_free_ char *text = NULL;
	json_t *json = NULL;

	if (is_text(event, "event", "segment") && name) {
		size_t n = strcspn(name, ".");
		const char *life = name[n] ? name + n + 1 : NULL;
		const char *file = json_string_value(json_object_get(event, "name"));

		json = json_pack("{s:s%,s:o,s:O?,s:O?,s:O?}", "id", name, n, "segment",
				 json_sprintf("%s%s%s%s", life ? "r" : "", life ? life : "", life ? "." : "",
					      file ? file : ""),
				 "bytes", json_object_get(event, "bytes"), "packets",
				 json_object_get(event, "packets"), "complete",
				 json_object_get(event, "complete"));
	} else if (is_text(event, "event", "said")) {
		json = json_pack("{s:O?}", "text", json_object_get(event, "text"));
	}
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (text)
		(void)skep_events_publish(jobs->events, is_text(event, "event", "said") ? "alarm" : "segment",
					  text);
}

void ctl_job_run(struct ctl_jobs *jobs)
{
	uint64_t now = mono_ns();
	bool second = now - jobs->progress_ns >= SKEP_NSEC_PER_SEC;

	for (uint32_t i = 0; i < jobs->n_engines; i++)
		if (jobs->engines[i].events_fd >= 0)
			(void)ctl_engine_events(&jobs->engines[i], on_event, jobs);
	for (struct job *job = jobs->head; job; job = job->next)
		for (uint32_t i = 0; i < job->n_links && !job_ended(job); i++)
			(void)ctl_job_engine(jobs, job->links[i].name); /* so that it is looked at */
	for (uint32_t i = 0; i < jobs->n_engines; i++)
		look(jobs, &jobs->engines[i]);
	for (struct job *job = jobs->head; job; job = job->next) {
		if (second && job->undigested)
			ctl_job_save_digests(jobs, job);
		if (job_ended(job))
			continue;
		ctl_job_ring_prune(jobs, job);
		if (job->state == JOB_SCHEDULED) {
			begin_scheduled(jobs, job);
			continue;
		}
		if (job->saved_of[0]) {
			ctl_job_save(jobs, job);
			continue;
		}
		if (job->owes)
			ctl_job_give_back(jobs, job);
		if (!job->owes)
			begin_waiting(jobs, job);
		evaluate(jobs, job);
		ctl_job_show(jobs, job);
		if (second)
			publish_progress(jobs, job);
	}
	if (second)
		jobs->progress_ns = now;
}
