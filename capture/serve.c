/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The job socket: one JSON object a line in, one a line out, in order; a connection that asks for events gets
 * a line for each. Nobody who is slow or silent keeps the engine from anything: requests are bounded, answers
 * wait in a bounded buffer, and who lets it fill up is cut off. A job that has ended is remembered, with its
 * account, until somebody says `forget` or KEEP_ENDED newer ones have ended.
 *
 * Everything here is the control thread's but for cap_serve_kept and cap_serve_say, which hand a message over
 * through a socket pair.
 */
#include "capture/serve.h"

#include "common/clock.h"
#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MAX_CLIENTS 32u
_Static_assert(MAX_CLIENTS + 2 <= CAP_ENGINE_EXTRA_FDS, "descriptors to poll");
/* A filter of 64 KiB, every byte of it written as \u00XX, and the rest of a job. */
#define REQUEST_MAX_BYTES (512u * CAP_KIB)
#define ANSWERS_MAX_BYTES (4u * CAP_MIB)
#define KEEP_ENDED 256u
#define TICK_MS 200

struct serve_job {
	struct cap_jobspec spec;
	bool ended;
	struct cap_engine_totals totals; /* when ended */
	struct serve_job *next;
};

struct client {
	int fd; /* -1: free */
	bool events;
	bool dying;
	char *in;
	size_t n_in, room_in;
	char *out;
	size_t n_out, room_out;
	/* an answer that has to wait: no further request is read meanwhile */
	struct serve_job *waits_for;
	bool waits_rotated; /* else: ended */
};

/* From other threads. */
struct news {
	bool kept;
	bool complete;
	char job[64];
	char text[512]; /* the file's name, or a sentence */
	uint64_t bytes, pkts;
};

struct cap_serve {
	struct cap_serve_cfg cfg;
	struct cap_engine *engine;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int listen_fd;
	int root_fd;
	int news_in, news_out; /* written by any thread, read by ours */
	uint64_t started_ns;
	struct serve_job *jobs; /* newest first */
	struct client clients[MAX_CLIENTS];
};

/* ---- answers ---- */

static bool make_space(char **buffer, size_t *room, size_t need, size_t max)
{
	size_t more = *room ? *room : 4096;
	char *p;

	if (need <= *room)
		return true;
	if (need > max)
		return false;
	while (more < need)
		more *= 2;
	p = realloc(*buffer, more);
	if (!p)
		return false;
	*buffer = p;
	*room = more;
	return true;
}

static void flush(struct client *c)
{
	while (c->n_out > 0) {
		ssize_t n = send(c->fd, c->out, c->n_out, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			c->dying = true;
			return;
		}
		memmove(c->out, c->out + n, c->n_out - (size_t)n);
		c->n_out -= (size_t)n;
	}
}

/* Takes the object. */
static void answer(struct client *c, json_t *object)
{
	_skep_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;

	json_decref(object);
	if (!text || !make_space(&c->out, &c->room_out, c->n_out + n + 1, ANSWERS_MAX_BYTES)) {
		c->dying = true;
		return;
	}
	memcpy(c->out + c->n_out, text, n);
	c->out[c->n_out + n] = '\n';
	c->n_out += n + 1;
	flush(c);
}

static void answer_ok(struct client *c)
{
	answer(c, json_pack("{s:b}", "ok", 1));
}

static const char *code_name(int code)
{
	static const char *const names[] = {
		[SKEP_E_USAGE] = "usage",	  [SKEP_E_PRIVILEGE] = "privilege",
		[SKEP_E_NOT_FOUND] = "not_found", [SKEP_E_BUSY] = "busy",
		[SKEP_E_UNSUPPORTED] = "unsupported", [SKEP_E_UNSAFE] = "unsafe",
		[SKEP_E_NO_SPACE] = "no_space",	  [SKEP_E_BAD_DATA] = "bad_data",
	};

	return code > 0 && code < (int)ARRAY_LEN(names) && names[code] ? names[code] : "system";
}

/* Text from outside may be no UTF-8. */
static json_t *text_of(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_string("(not UTF-8)");
}

static void answer_error(struct client *c, const struct skep_err *err)
{
	json_t *e = json_object();

	json_object_set_new(e, "code", json_string(code_name(err->code)));
	json_object_set_new(e, "text", text_of(err->text));
	json_object_set_new(e, "hint", text_of(err->hint));
	if (err->column)
		json_object_set_new(e, "column", json_integer(err->column));
	answer(c, json_pack("{s:b,s:o}", "ok", 0, "error", e));
}

static void tell_all(struct cap_serve *s, json_t *event)
{
	for (uint32_t i = 0; i < MAX_CLIENTS; i++)
		if (s->clients[i].fd >= 0 && s->clients[i].events)
			answer(&s->clients[i], json_incref(event));
	json_decref(event);
}

static json_t *count(uint64_t n)
{
	return json_integer((json_int_t)SKEP_MIN(n, (uint64_t)INT64_MAX));
}

static const char *why_name(enum cap_job_end why)
{
	static const char *const names[] = {
		[CAP_JOB_RUNS] = "",
		[CAP_JOB_END_PKTS] = "packets",
		[CAP_JOB_END_BYTES] = "bytes",
		[CAP_JOB_END_DURATION] = "duration",
		[CAP_JOB_END_INPUT] = "input",
		[CAP_JOB_END_DISK_FULL] = "disk_full",
		[CAP_JOB_END_LOST] = "link_lost",
		[CAP_JOB_END_WRITE] = "write",
		[CAP_JOB_END_STOPPED] = "stopped",
	};

	return names[why];
}

static const char *state_name(const struct serve_job *j)
{
	static const char *const names[] = {
		[CAP_ENGINE_JOB_NEW] = "starting",   [CAP_ENGINE_JOB_RUNS] = "running",
		[CAP_ENGINE_JOB_PAUSED] = "paused",  [CAP_ENGINE_JOB_LEAVING] = "draining",
		[CAP_ENGINE_JOB_PARTING] = "draining",
		[CAP_ENGINE_JOB_FILING] = "draining", [CAP_ENGINE_JOB_ENDED] = "ended",
	};

	return j->ended ? "ended" : names[j->spec.ej.state];
}

static json_t *account_of(const struct cap_account *a)
{
	json_t *dropped = json_object(), *o = json_object();

	for (unsigned i = 0; i < CAP_DROP_N; i++)
		if (a->dropped[i])
			json_object_set_new(dropped, cap_drop_name((enum cap_drop)i), count(a->dropped[i]));
	json_object_set_new(o, "seen", count(a->seen));
	json_object_set_new(o, "stored", count(a->stored));
	json_object_set_new(o, "rejected", count(a->rejected));
	json_object_set_new(o, "sampled_out", count(a->sampled_out));
	json_object_set_new(o, "cut_off", count(a->cut_off));
	json_object_set_new(o, "dropped", dropped);
	json_object_set_new(o, "pending", count(a->pending));
	json_object_set_new(o, "bytes_wire", count(a->bytes_wire));
	json_object_set_new(o, "bytes_raw", count(a->bytes_raw));
	json_object_set_new(o, "bytes_disk", count(a->bytes_disk));
	return o;
}

static json_t *describe_job(struct cap_serve *s, struct serve_job *j)
{
	struct cap_engine_totals t = j->totals;
	json_t *o = json_object(), *reasons = json_array();

	if (!j->ended)
		cap_engine_totals(s->engine, &j->spec.ej, &t);
	for (uint32_t i = 0; i < t.n_reasons; i++)
		json_array_append_new(reasons, text_of(t.reasons[i]));
	json_object_set_new(o, "name", json_string(j->spec.ej.job.name));
	json_object_set_new(o, "state", json_string(state_name(j)));
	json_object_set_new(o, "why", json_string(j->ended ? why_name(j->spec.ej.why) : ""));
	json_object_set_new(o, "dir", json_string(j->spec.dir));
	json_object_set_new(o, "filter", text_of(j->spec.filter ? j->spec.filter : ""));
	json_object_set_new(o, "started_ns", count(j->spec.ej.started_utc_ns));
	json_object_set_new(o, "duration_ns", count(t.duration_ns));
	json_object_set_new(o, "account", account_of(&t.account));
	json_object_set_new(o, "complete", json_boolean(t.complete));
	json_object_set_new(o, "reasons", reasons);
	return o;
}

static json_t *describe_links(struct cap_serve *s)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < s->engine->n_taps; i++) {
		struct cap_tap *tap = s->engine->taps[i];
		struct cap_kernel_account k = { 0 };
		json_t *o = json_object();

		tap->ops->account(tap, &k);
		json_object_set_new(o, "name", text_of(tap->link));
		json_object_set_new(o, "how", text_of(tap->how));
		json_object_set_new(o, "driver", text_of(tap->driver));
		json_object_set_new(o, "queues", json_integer(tap->n_sources));
		json_object_set_new(o, "numa_node", json_integer(tap->numa_node));
		json_object_set_new(o, "filters_in_kernel", json_boolean(tap->filters_jobs));
		json_object_set_new(o, "hw_timestamps", json_boolean(tap->hw_timestamps));
		json_object_set_new(o, "zero_copy", json_boolean(tap->zero_copy));
		json_object_set_new(o, "lost", json_boolean(s->engine->gone[i]));
		json_object_set_new(o, "delivered", count(k.offered));
		json_object_set_new(o, "ring_full", count(k.rx_ring_full + k.mirror_ring_full + k.afpacket_ring_full));
		json_object_set_new(o, "fill_ring_empty", count(k.fill_ring_empty));
		json_object_set_new(o, "oversize", count(k.rx_oversize + k.mirror_too_long));
		json_object_set_new(o, "nic_missed", count(k.nic_missed));
		json_array_append_new(list, o);
	}
	return list;
}

/* ---- jobs ---- */

static struct serve_job *find_job(struct cap_serve *s, const char *name)
{
	for (struct serve_job *j = s->jobs; j; j = j->next)
		if (strcmp(j->spec.ej.job.name, name) == 0)
			return j;
	return NULL;
}

static void free_job(struct serve_job *j)
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
	free_job(j);
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
	for (uint32_t i = 0; i < MAX_CLIENTS; i++) {
		struct client *c = &s->clients[i];

		if (c->fd < 0 || c->waits_for != j || (c->waits_rotated && !rotated))
			continue;
		if (!c->waits_rotated && !j->ended)
			continue;
		c->waits_for = NULL;
		answer(c, json_pack("{s:b,s:o}", "ok", 1, "job", describe_job(s, j)));
	}
}

static void end_job(struct cap_serve *s, struct serve_job *j)
{
	bool failed = j->spec.ej.failed;

	j->totals = j->spec.ej.totals;
	if (s->engine->running)
		cap_engine_forget(s->engine, &j->spec.ej);
	j->ended = true;
	cap_output_close(&j->spec.ej.output);
	if (failed) {
		unlist_job(s, j);
		return;
	}
	tell_all(s, json_pack("{s:s,s:o}", "event", "ended", "job", describe_job(s, j)));
	answer_waiting(s, j, true);
	forget_oldest(s);
}

static void look_after_jobs(struct cap_serve *s)
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
			end_job(s, j);
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
	same = r ? NULL : find_job(s, j->spec.ej.job.name);
	if (same && !same->ended)
		r = skep_err_set(err, SKEP_E_BUSY, "a job %s runs already", same->spec.ej.job.name);
	if (r == 0)
		r = cap_jobspec_open(&j->spec, s->root_fd, s->cfg.root, err);
	if (r == 0)
		r = cap_engine_add(s->engine, &j->spec.ej, err);
	if (r && !j->spec.ej.failed) {
		free_job(j);
		return r;
	}
	if (same)
		unlist_job(s, same);
	j->next = s->jobs;
	s->jobs = j;
	if (r == 0)
		answer(c, json_pack("{s:b,s:o}", "ok", 1, "job", describe_job(s, j)));
	return r;
}

static int need_job(struct cap_serve *s, const json_t *request, struct serve_job **ret, struct skep_err *err)
{
	const char *name = json_string_value(json_object_get(request, "name"));

	*ret = name ? find_job(s, name) : NULL;
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
	answer(c, json_pack("{s:b,s:o}", "ok", 1, "job", describe_job(s, j)));
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
		answer_ok(c);
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
		answer_ok(c);
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
		answer(c, json_pack("{s:b,s:o}", "ok", 1, "job", describe_job(s, j)));
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
	answer_ok(c);
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
		json_array_append_new(jobs, describe_job(s, j));
	} else {
		for (struct serve_job *j = s->jobs; j; j = j->next)
			json_array_append_new(jobs, describe_job(s, j));
	}
	answer(c, json_pack("{s:b,s:o,s:o}", "ok", 1, "links", describe_links(s), "jobs", jobs));
	return 0;
}

static int do_hello(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	(void)request;
	(void)err;
	answer(c, json_pack("{s:b,s:i,s:s,s:i,s:o,s:i,s:o}", "ok", 1, "protocol", 1, "version", SKEP_VERSION, "pid",
			    (int)getpid(), "started_ns", count(s->started_ns), "max_jobs", (int)CAP_MAX_JOBS,
			    "links", describe_links(s)));
	return 0;
}

static int do_events(struct cap_serve *s, struct client *c, const json_t *request, struct skep_err *err)
{
	(void)s;
	(void)request;
	(void)err;
	c->events = true;
	answer_ok(c);
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

static int dispatch(struct cap_serve *s, struct client *c, const char *line, size_t n, struct skep_err *err)
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

/* Whole lines, one after the other; stops where an answer has to wait. */
static void take_lines(struct cap_serve *s, struct client *c)
{
	char *end;

	while (!c->dying && !c->waits_for && (end = memchr(c->in, '\n', c->n_in))) {
		struct skep_err err = SKEP_ERR_NULL;
		size_t n = (size_t)(end - c->in);

		if (dispatch(s, c, c->in, n, &err))
			answer_error(c, &err);
		memmove(c->in, end + 1, c->n_in - n - 1);
		c->n_in -= n + 1;
	}
}

static void drop_client(struct client *c)
{
	skep_closep(&c->fd);
	free(c->in);
	free(c->out);
	*c = (struct client){ .fd = -1 };
}

static void read_client(struct cap_serve *s, struct client *c)
{
	ssize_t n;

	if (!make_space(&c->in, &c->room_in, c->n_in + 4096, REQUEST_MAX_BYTES)) {
		struct skep_err err = SKEP_ERR_NULL;

		skep_err_set(&err, SKEP_E_USAGE, "request: longer than %u bytes", REQUEST_MAX_BYTES);
		answer_error(c, &err);
		c->dying = true;
		return;
	}
	n = recv(c->fd, c->in + c->n_in, c->room_in - c->n_in, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
		c->dying = true;
		return;
	}
	if (n > 0)
		c->n_in += (size_t)n;
	take_lines(s, c);
}

static void accept_client(struct cap_serve *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (uint32_t i = 0; fd >= 0 && i < MAX_CLIENTS; i++)
		if (s->clients[i].fd < 0) {
			s->clients[i].fd = TAKE_FD(fd);
			return;
		}
	skep_closep(&fd); /* too many: who asks again later is served */
}

/* ---- news from other threads ---- */

static void send_news(struct cap_serve *s, const struct news *news)
{
	/* Full: who listens misses it, and finds the files all the same. */
	if (send(s->news_in, news, sizeof(*news), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

void cap_serve_kept(void *arg, const struct cap_kept *kept)
{
	struct news news = {
		.kept = true, .complete = kept->complete, .bytes = kept->bytes, .pkts = kept->pkts
	};

	(void)snprintf(news.job, sizeof(news.job), "%s", kept->lane->job->name);
	(void)snprintf(news.text, sizeof(news.text), "%s", kept->name);
	send_news(arg, &news);
}

void cap_serve_say(struct cap_serve *s, const char *sentence)
{
	struct news news = { 0 };

	(void)snprintf(news.text, sizeof(news.text), "%s", sentence);
	send_news(s, &news);
}

static void take_news(struct cap_serve *s)
{
	struct news n;

	while (recv(s->news_out, &n, sizeof(n), MSG_DONTWAIT) == (ssize_t)sizeof(n)) {
		struct serve_job *j = n.kept ? find_job(s, n.job) : NULL;

		if (!n.kept)
			tell_all(s, json_pack("{s:s,s:o}", "event", "said", "text", text_of(n.text)));
		else if (j)
			tell_all(s, json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:b}", "event", "segment", "job", n.job, "dir",
					      j->spec.dir, "name", n.text, "bytes", count(n.bytes), "packets",
					      count(n.pkts), "complete", n.complete));
	}
}

/* ---- life ---- */

static bool answers(const struct sockaddr_un *addr)
{
	_skep_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0;
}

static int listen_on(struct cap_serve *s, struct skep_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;

	memcpy(addr.sun_path, s->path, sizeof(addr.sun_path));
	if (lstat(s->path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return skep_err_set(err, SKEP_E_BUSY, "--serve %s: there is a file of that name", s->path);
		if (answers(&addr)) {
			skep_err_set(err, SKEP_E_BUSY, "--serve %s: another engine serves there", s->path);
			skep_err_hint(err, "stop it, or give another name");
			return SKEP_E_BUSY;
		}
		(void)unlink(s->path);
	}
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0 || bind(s->listen_fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    chmod(s->path, 0660) < 0 || listen(s->listen_fd, 16) < 0)
		return skep_err_set(err, -errno, "--serve %s: cannot listen: %s", s->path, strerror(errno));
	return 0;
}

int cap_serve_open(const struct cap_serve_cfg *cfg, struct cap_serve **ret, struct skep_err *err)
{
	struct cap_serve *s = calloc(1, sizeof(*s));
	int pair[2], r;

	if (!s)
		return skep_err_set(err, -ENOMEM, "no memory to serve");
	s->cfg = *cfg;
	s->listen_fd = s->root_fd = s->news_in = s->news_out = -1;
	for (uint32_t i = 0; i < MAX_CLIENTS; i++)
		s->clients[i].fd = -1;
	if ((size_t)snprintf(s->path, sizeof(s->path), "%s", cfg->socket) >= sizeof(s->path)) {
		r = skep_err_set(err, SKEP_E_USAGE, "--serve: the name is longer than %zu bytes",
				 sizeof(s->path) - 1);
	} else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		r = skep_err_set(err, -errno, "--serve: %s", strerror(errno));
	} else {
		s->news_in = pair[0];
		s->news_out = pair[1];
		r = listen_on(s, err);
	}
	if (r) {
		s->path[0] = '\0'; /* not ours */
		(void)cap_serve_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

int cap_serve_start(struct cap_serve *s, struct cap_engine *engine, struct skep_err *err)
{
	s->engine = engine;
	s->started_ns = skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME);
	s->root_fd = open(s->cfg.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0)
		return skep_err_set(err, -errno, "cannot open %s: %s", s->cfg.root, strerror(errno));
	return 0;
}

static bool all_lost(const struct cap_serve *s)
{
	for (uint32_t i = 0; i < s->engine->n_taps; i++)
		if (!s->engine->gone[i])
			return false;
	for (const struct serve_job *j = s->jobs; j; j = j->next)
		if (!j->ended)
			return false;
	return true;
}

static void serve_clients(struct cap_serve *s, const struct pollfd *pfd)
{
	for (uint32_t i = 0; i < MAX_CLIENTS; i++) {
		struct client *c = &s->clients[i];

		if (c->fd < 0)
			continue;
		if (pfd[i].fd == c->fd && (pfd[i].revents & POLLOUT))
			flush(c);
		if (pfd[i].fd == c->fd && (pfd[i].revents & (POLLIN | POLLHUP | POLLERR)))
			read_client(s, c);
		else if (!c->waits_for)
			take_lines(s, c); /* what was left while an answer had to wait */
		if (c->dying)
			drop_client(c);
	}
}

int cap_serve_run(struct cap_serve *s)
{
	for (;;) {
		struct pollfd pfd[2 + MAX_CLIENTS] = {
			{ .fd = s->listen_fd, .events = POLLIN },
			{ .fd = s->news_out, .events = POLLIN },
		};

		for (uint32_t i = 0; i < MAX_CLIENTS; i++) {
			struct client *c = &s->clients[i];

			pfd[2 + i].fd = c->fd;
			pfd[2 + i].events = (short)((c->waits_for ? 0 : POLLIN) | (c->n_out ? POLLOUT : 0));
		}
		if (cap_engine_wait(s->engine, TICK_MS, pfd, 2 + MAX_CLIENTS))
			return 0;
		take_news(s);
		serve_clients(s, pfd + 2);
		if (pfd[0].revents & POLLIN)
			accept_client(s);
		look_after_jobs(s);
		if (all_lost(s))
			return 1;
	}
}

struct cap_serve *cap_serve_close(struct cap_serve *s)
{
	if (!s)
		return NULL;
	for (struct serve_job *j = s->jobs, *next; j; j = next) {
		next = j->next;
		if (!j->ended && j->spec.ej.state == CAP_ENGINE_JOB_ENDED)
			end_job(s, j);
	}
	if (s->news_out >= 0)
		take_news(s);
	for (uint32_t i = 0; i < MAX_CLIENTS; i++)
		if (s->clients[i].fd >= 0)
			drop_client(&s->clients[i]);
	if (s->path[0])
		(void)unlink(s->path); /* or the next engine replaces it, where we may not */
	skep_closep(&s->listen_fd);
	skep_closep(&s->root_fd);
	skep_closep(&s->news_in);
	skep_closep(&s->news_out);
	while (s->jobs) {
		struct serve_job *j = s->jobs;

		s->jobs = j->next;
		free_job(j);
	}
	free(s);
	return NULL;
}
