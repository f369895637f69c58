/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The jobs of a serving engine and the requests about them, a table of verbs. A job that has ended is
 * remembered, with its account, until somebody says `forget` or KEEP_ENDED newer ones have ended.
 */
#include "capture/serve_priv.h"

#include "common/clock.h"
#include "common/json.h"

#include <errno.h>
#include <string.h>

#define KEEP_ENDED 256u

/* ---- jobs ---- */

struct serve_job *cap_serve_find(struct cap_serve *s, const char *name)
{
	for (struct serve_job *j = s->jobs; j; j = j->next)
		if (strcmp(j->spec.ej.job.name, name) == 0)
			return j;
	return NULL;
}

void cap_serve_free_job(struct serve_job *j)
{
	cap_jobspec_fini(&j->spec);
	free(j);
}

static void unlist_job(struct cap_serve *s, struct serve_job *j)
{
	struct serve_job **p = &s->jobs;

	while (*p != j)
		p = &(*p)->next;
	*p = j->next;
	cap_serve_free_job(j);
}

static void forget_oldest(struct cap_serve *s)
{
	struct serve_job *oldest = NULL;
	uint32_t n = 0;

	for (struct serve_job *j = s->jobs; j; j = j->next)
		if (j->ended) {
			oldest = j;
			n++;
		}
	if (n > KEEP_ENDED)
		unlist_job(s, oldest);
}

/* Answers to requests that waited for this job. */
static void answer_waiting(struct cap_serve *s, struct serve_job *j, bool rotated)
{
	for (uint32_t i = 0; i < CAP_SERVE_CLIENTS; i++) {
		struct client *c = &s->clients[i];

		if (c->fd < 0 || c->waits_for != j || (c->waits_rotated && !rotated))
			continue;
		if (!c->waits_rotated && !j->ended)
			continue;
		c->waits_for = NULL;
		cap_serve_answer(c, json_pack("{s:b,s:o}", "ok", 1, "job", cap_serve_describe(s, j)));
	}
}

void cap_serve_end_job(struct cap_serve *s, struct serve_job *j)
{
	bool failed = j->spec.ej.failed;

	j->totals = j->spec.ej.totals;
	cap_engine_forget(s->engine, &j->spec.ej);
	j->ended = true;
	cap_output_close(&j->spec.ej.output);
	if (failed) {
		unlist_job(s, j);
		return;
	}
	cap_serve_tell(s, json_pack("{s:s,s:o}", "event", "ended", "job", cap_serve_describe(s, j)));
	answer_waiting(s, j, true);
	forget_oldest(s);
}

void cap_serve_look(struct cap_serve *s)
{
	uint64_t now_ns = skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME);

	for (struct serve_job *j = s->jobs, *next; j; j = next) {
		struct cap_engine_job *ej = &j->spec.ej;
		bool over = atomic_load(&ej->job.done), late = now_ns >= atomic_load(&ej->job.end_ns);

		next = j->next;
		if (j->ended)
			continue;
		if ((ej->state == CAP_ENGINE_JOB_RUNS || ej->state == CAP_ENGINE_JOB_PAUSED) &&
		    (over || late))
			cap_engine_leave(s->engine, ej,
					 over ? (enum cap_job_end)atomic_load(&ej->job.done_why)
					      : CAP_JOB_END_DURATION);
		if (ej->state == CAP_ENGINE_JOB_ENDED)
			cap_serve_end_job(s, j);
		else if (ej->channels && cap_engine_rotated(s->engine, ej))
			answer_waiting(s, j, true);
	}
}

/* ---- requests ---- */

static int do_add(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	struct serve_job *j = calloc(1, sizeof(*j)), *same;
	int r;

	if (!j)
		return skep_err_set(err, -ENOMEM, "no memory for a job");
	r = cap_jobspec_parse(json_object_get(request, "job"), &s->cfg.defaults, &j->spec, err);
	same = r ? NULL : cap_serve_find(s, j->spec.ej.job.name);
	if (same && !same->ended)
		r = skep_err_set(err, SKEP_E_BUSY, "a job %s runs already", same->spec.ej.job.name);
	if (r == 0)
		r = cap_jobspec_open(&j->spec, s->root_fd, s->cfg.root, err);
	if (r == 0)
		r = cap_engine_add(s->engine, &j->spec.ej, err);
	if (r && !j->spec.ej.failed) {
		cap_serve_free_job(j);
		return r;
	}
	if (same)
		unlist_job(s, same);
	j->next = s->jobs;
	s->jobs = j;
	if (r == 0)
		cap_serve_answer(c, json_pack("{s:b,s:o}", "ok", 1, "job", cap_serve_describe(s, j)));
	return r;
}

static int need_job(struct cap_serve *s, const json_t *request, struct serve_job **ret, struct skep_err *err)
{
	const char *name = json_string_value(json_object_get(request, "name"));

	*ret = name ? cap_serve_find(s, name) : NULL;
	if (*ret)
		return 0;
	skep_err_set(err, name ? SKEP_E_NOT_FOUND : SKEP_E_USAGE, name ? "there is no job %.63s" : "name: missing",
		     name);
	skep_err_hint(err, "{\"do\":\"status\"} lists the jobs");
	return err->code;
}

static bool runs(const struct serve_job *j)
{
	return !j->ended &&
	       (j->spec.ej.state == CAP_ENGINE_JOB_RUNS || j->spec.ej.state == CAP_ENGINE_JOB_PAUSED);
}

/* With "wait": answered when it has ended. */
static int do_stop(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	struct serve_job *j;
	int r = need_job(s, request, &j, err);

	if (r)
		return r;
	if (runs(j))
		cap_engine_leave(s->engine, &j->spec.ej, CAP_JOB_END_STOPPED);
	if (json_is_true(json_object_get(request, "wait")) && !j->ended) {
		c->waits_for = j;
		c->waits_rotated = false;
		return 0;
	}
	cap_serve_answer(c, json_pack("{s:b,s:o}", "ok", 1, "job", cap_serve_describe(s, j)));
	return 0;
}

static int do_pause(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	struct serve_job *j;
	int r = need_job(s, request, &j, err);

	if (r == 0)
		r = j->ended ? skep_err_set(err, SKEP_E_USAGE, "the job has ended")
			     : cap_engine_pause(s->engine, &j->spec.ej, err);
	if (r == 0)
		cap_serve_ok(c);
	return r;
}

static int do_resume(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	struct serve_job *j;
	int r = need_job(s, request, &j, err);

	if (r == 0)
		r = j->ended ? skep_err_set(err, SKEP_E_USAGE, "the job has ended")
			     : cap_engine_resume(s->engine, &j->spec.ej, err);
	if (r == 0)
		cap_serve_ok(c);
	return r;
}

/* Answered when everything the job has taken so far is in completed files. */
static int do_rotate(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	struct serve_job *j;
	int r = need_job(s, request, &j, err);

	if (r)
		return r;
	if (!runs(j)) {
		cap_serve_answer(c, json_pack("{s:b,s:o}", "ok", 1, "job", cap_serve_describe(s, j)));
		return 0;
	}
	cap_engine_rotate(s->engine, &j->spec.ej);
	c->waits_for = j;
	c->waits_rotated = true;
	return 0;
}

static int do_forget(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	struct serve_job *j;
	int r = need_job(s, request, &j, err);

	if (r == 0 && !j->ended)
		r = skep_err_set(err, SKEP_E_BUSY, "the job has not ended");
	if (r)
		return r;
	unlist_job(s, j);
	cap_serve_ok(c);
	return 0;
}

static int do_status(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	json_t *jobs = json_array();

	if (json_object_get(request, "name")) {
		struct serve_job *j;
		int r = need_job(s, request, &j, err);

		if (r) {
			json_decref(jobs);
			return r;
		}
		json_array_append_new(jobs, cap_serve_describe(s, j));
	} else {
		for (struct serve_job *j = s->jobs; j; j = j->next)
			json_array_append_new(jobs, cap_serve_describe(s, j));
	}
	cap_serve_answer(c, json_pack("{s:b,s:o,s:o}", "ok", 1, "links", cap_serve_links(s), "jobs", jobs));
	return 0;
}

static int do_hello(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	(void)request;
	(void)err;
	cap_serve_answer(c, json_pack("{s:b,s:i,s:s,s:i,s:o,s:i,s:o}", "ok", 1, "protocol", 1, "version", SKEP_VERSION, "pid",
			    (int)getpid(), "started_ns", cap_serve_count(s->started_ns), "max_jobs", (int)CAP_MAX_JOBS,
			    "links", cap_serve_links(s)));
	return 0;
}

static int do_events(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	(void)s;
	(void)request;
	(void)err;
	c->events = true;
	cap_serve_ok(c);
	return 0;
}

static const struct verb {
	const char *name;
	int (*run)(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err);
} verbs[] = {
	{ "add", do_add },     { "events", do_events }, { "forget", do_forget }, { "hello", do_hello },
	{ "pause", do_pause }, { "resume", do_resume }, { "rotate", do_rotate }, { "status", do_status },
	{ "stop", do_stop },
};

int cap_serve_dispatch(struct cap_serve *s, struct client *c, const char *line, size_t n,
		       struct skep_err *err)
{
	_skep_json_ json_t *request = NULL;
	const char *name;
	int r = skep_json_load("request", line, n, &request, err);

	if (r)
		return r;
	name = json_string_value(json_object_get(request, "do"));
	for (size_t i = 0; name && i < ARRAY_LEN(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return verbs[i].run(s, c, request, err);
	skep_err_set(err, SKEP_E_USAGE, "do: %s%.40s", name ? "there is no " : "missing", name ? name : "");
	skep_err_hint(err, "add, events, forget, hello, pause, resume, rotate, status, stop");
	return SKEP_E_USAGE;
}
