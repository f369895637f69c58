/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The dispatcher. One thread turns the job logic (five times a second, and at once after news) and hands its
 * effects to WORKERS threads; each probe is asked each second for all captures of this hive, which also tells
 * whether it is there. A task holds no lock while it waits for a probe or for the disk. A slow probe holds up
 * only the worker that waits for it. Whatever a task finds goes back into the logic under hive->jobs_lock.
 */
#include "hive/svc/dispatch.h"

#include "common/log.h"
#include "hive/probe/client.h"
#include "hive/svc/build.h"
#include "hive/svc/collect.h"
#include "hive/svc/jobs_links.h"
#include "hive/svc/news.h"
#include "hive/svc/prefetch.h"
#include "hive/svc/probes.h"
#include "hive/svc/schedules.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WORKERS 16
#define TURN_NS (200 * SKEP_NSEC_PER_MSEC)
#define POLL_NS (1 * SKEP_NSEC_PER_SEC)
#define REFRESH_NS (60 * SKEP_NSEC_PER_SEC) /* what a probe says of itself is asked again */
#define POLL_AWAY_NS (5 * SKEP_NSEC_PER_SEC) /* a probe that does not answer */
#define STACK_BYTES (512u * 1024)

struct task {
	struct task *next;
	struct hive_effect effect;
	bool poll;    /* of effect.probe_id */
	bool refresh; /* and what it says of itself */
};

struct polled {
	int64_t probe_id;
	uint64_t due_ns, refresh_ns;
	bool under_way, seen;
};

struct hive_dispatch {
	struct hive *hive;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t work, news;
	struct task *first, **last;
	struct polled *polls;
	uint32_t n_polls;
	bool stop, has_news;
	uint64_t turned_ns; /* the last turn that was saved */
	uint32_t n_threads;
	pthread_t threads[WORKERS + 1];
};

static uint64_t mono_ns(const struct hive *hive)
{
	return skep_clock_now_ns(hive->clock, CLOCK_MONOTONIC);
}

static void put(struct hive_dispatch *d, const struct task *task)
{
	struct task *copy = malloc(sizeof(*copy));

	if (!copy)
		/*
		 * a request without memory is one that was lost: the logic asks again when it hears nothing
		 */
		return;
	*copy = *task;
	copy->next = NULL;
	*d->last = copy;
	d->last = &copy->next;
	pthread_cond_signal(&d->work);
}

/* ---- tasks ---- */

static struct hive_status status_of(const struct hive_capture *capture)
{
	static const enum hive_at_probe at[] = {
		[HIVE_CAPTURE_ABSENT] = HIVE_AT_ABSENT, [HIVE_CAPTURE_BUSY] = HIVE_AT_PENDING,
		[HIVE_CAPTURE_RUNNING] = HIVE_AT_RUNNING, [HIVE_CAPTURE_PAUSED] = HIVE_AT_PAUSED,
		[HIVE_CAPTURE_OVER] = HIVE_AT_ENDED,
	};

	return (struct hive_status){
		.at = at[capture->at],
		.seen_pkts = capture->seen_pkts,
		.stored_pkts = capture->stored_pkts,
		.rejected_pkts = capture->rejected_pkts,
		.dropped_pkts = capture->dropped_pkts,
		.stored_bytes = capture->stored_bytes,
		.gap = capture->gap,
		.failed = capture->failed,
		.text = capture->text[0] ? capture->text : NULL,
	};
}

static int64_t until(int64_t now_ns, int64_t then_ns)
{
	return then_ns > now_ns ? then_ns - now_ns : 0;
}

/* What the ring's capture on the same link has. An attempt that comes later looks further back. */
static int trigger(struct hive *hive, struct hive_client *client, const struct hive_job *job, int64_t link_id,
		   struct hive_capture *ret, struct skep_err *err)
{
	char name[HIVE_CAPTURE_NAME], ring[HIVE_CAPTURE_NAME];
	int64_t now = hive_now_ns(hive);

	hive_capture_name(hive, job->head.id, link_id, name);
	hive_capture_name(hive, job->ring_id, link_id, ring);
	return hive_client_trigger(client,
				   &(struct hive_trigger_wish){ .ring = ring,
								.name = name,
								.filter = job->filter,
								.before_ns = until(job->from_ns, now),
								.after_ns = until(now, job->to_ns) },
				   ret, err);
}

static int create(struct hive *hive, struct hive_client *client, const struct hive_effect *effect,
		  struct hive_capture *ret, struct skep_err *err)
{
	_hive_job_ struct hive_job job = { 0 };
	_hive_link_ struct hive_link link = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	_skep_free_ char *filter = NULL;
	char name[HIVE_CAPTURE_NAME];
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_jobs_table, effect->job_id, &job);
	if (r == 0)
		r = hive_row_get(tx, &hive_links, effect->link_id, &link);
	hive_tx_abortp(&tx);
	if (r == 0 && job.kind == HIVE_KIND_SAVED)
		return trigger(hive, client, &job, effect->link_id, ret, err);
	if (r == 0)
		r = hive_filter_both(job.filter, job.forced_filter, &filter);
	if (r < 0)
		return r;
	hive_capture_name(hive, effect->job_id, effect->link_id, name);
	return hive_client_create(
		client,
		&(struct hive_capture_wish){
			.name = name,
			.interface = link.interface,
			.filter = filter,
			.limit_pkts = effect->limit_pkts,
			.limit_bytes = effect->limit_bytes,
			.limit_duration_ns = job.limit_duration_s * (int64_t)SKEP_NSEC_PER_SEC,
			.snaplen = job.snaplen,
			.sample_every = job.sample_every,
			.sample_by_flow = job.sample_by_flow != 0,
			.trim = job.trim,
			.format = job.format,
			.ring_bytes = job.ring_bytes,
			.ring_duration_ns = job.ring_duration_s * (int64_t)SKEP_NSEC_PER_SEC,
		},
		ret, err);
}

static int ask(struct hive *hive, const struct hive_effect *effect, struct hive_capture *ret,
	       struct skep_err *err)
{
	static const enum hive_capture_verb verbs[] = {
		[HIVE_REQUEST_PAUSE] = HIVE_CAPTURE_PAUSE, [HIVE_REQUEST_RESUME] = HIVE_CAPTURE_RESUME,
		[HIVE_REQUEST_STOP] = HIVE_CAPTURE_STOP, [HIVE_REQUEST_DELETE] = HIVE_CAPTURE_DELETE,
	};
	_hive_client_ struct hive_client *client = NULL;
	char name[HIVE_CAPTURE_NAME];
	int r = hive_probe_client(hive, effect->probe_id, &client);

	hive_capture_name(hive, effect->job_id, effect->link_id, name);
	if (r < 0)
		return r;
	if (effect->request == HIVE_REQUEST_CREATE)
		return create(hive, client, effect, ret, err);
	if (effect->request == HIVE_REQUEST_QUERY)
		return hive_client_get(client, name, ret, err);
	return hive_client_do(client, name, verbs[effect->request], ret, err);
}

static void do_request(struct hive *hive, const struct hive_effect *effect)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct hive_capture capture = { 0 };
	struct hive_reply reply = { .job_id = effect->job_id,
				    .link_id = effect->link_id,
				    .serial = effect->serial };
	int r = ask(hive, effect, &capture, &err);

	if (r == 0) {
		reply.status = status_of(&capture);
	} else if (r < 0) {
		reply.kind = HIVE_REPLY_LOST;
		skep_log(SKEP_LOG_INFO, "job=%" PRId64 " link=%" PRId64 " not answered, trying again: %s", effect->job_id,
			 effect->link_id, err.text);
	} else {
		reply.kind = HIVE_REPLY_REFUSED;
		reply.text = err.text;
	}
	pthread_mutex_lock(&hive->jobs_lock);
	hive_jobs_reply(hive->jobs, &reply);
	pthread_mutex_unlock(&hive->jobs_lock);
}

static void do_collect(struct hive *hive, const struct hive_effect *effect)
{
	_hive_client_ struct hive_client *client = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	struct hive_collected collected;

	(void)hive_probe_client(hive, effect->probe_id, &client);
	if (hive_prefetch_hold(hive, effect->job_id, effect->link_id)) {
		hive_collect(hive, client, effect, &collected, &err);
		hive_prefetch_release(hive, effect->job_id, effect->link_id);
	} else {
		collected = (struct hive_collected){ .job_id = effect->job_id,
						     .link_id = effect->link_id,
						     .done = HIVE_DONE_RETRY };
		(void)skep_err_set(&err, -EAGAIN, "a segment is still being fetched");
	}
	if (collected.done != HIVE_DONE_OK)
		skep_log(SKEP_LOG_INFO, "job=%" PRId64 " link=%" PRId64 " not collected: %s", effect->job_id, effect->link_id, err.text);
	pthread_mutex_lock(&hive->jobs_lock);
	hive_jobs_collected(hive->jobs, &collected);
	pthread_mutex_unlock(&hive->jobs_lock);
}

static void do_build(struct hive *hive, const struct hive_effect *effect)
{
	_skep_free_ char *text = NULL;
	int64_t pkts = 0, bytes = 0;
	int r = hive_build(hive, effect, &pkts, &bytes, &text);

	pthread_mutex_lock(&hive->jobs_lock);
	hive_jobs_built(hive->jobs, effect->job_id, r == 0 ? HIVE_DONE_OK : HIVE_DONE_RETRY, pkts, bytes,
			text);
	pthread_mutex_unlock(&hive->jobs_lock);
}

static void sample_of(const struct hive_capture *capture, uint64_t now_ns, struct hive_sample *ret)
{
	*ret = (struct hive_sample){ .time_ns = now_ns,
				     .seen_pkts = capture->seen_pkts,
				     .stored_pkts = capture->stored_pkts,
				     .rejected_pkts = capture->rejected_pkts,
				     .dropped_pkts = capture->dropped_pkts,
				     .stored_bytes = capture->stored_bytes };
	for (uint32_t i = 0; i < capture->n_drops && i < HIVE_DROPS_MAX; i++) {
		snprintf(ret->drops[i].reason, sizeof(ret->drops[0].reason), "%s", capture->drops[i].reason);
		ret->drops[ret->n_drops++].pkts = capture->drops[i].pkts;
	}
}

/* With hive->jobs_lock. */
static void tell_progress(struct hive *hive, int64_t job_id, int64_t link_id,
			  const struct hive_capture *capture)
{
	const struct hive_job *job = hive_jobs_get(hive->jobs, job_id);
	const struct hive_job_link *part = hive_jobs_get_part(hive->jobs, job_id, link_id);
	struct hive_news news = {
		.kind = HIVE_NEWS_PROGRESS, .time_ns = hive_now_ns(hive), .job_id = job_id, .link_id = link_id
	};
	struct hive_forecast forecast = {
		.job = job, .part = part, .progress = &news.progress, .now_ns = news.time_ns
	};
	struct hive_sample sample;

	if (!job || !part || part->state == HIVE_PART_ENDED)
		return;
	sample_of(capture, (uint64_t)news.time_ns, &sample);
	if (!hive_progress_take(hive->progresses, job_id, link_id, &sample, &news.progress) ||
	    !hive_news_heard(hive))
		return;
	hive_progress_rates(hive->progresses, job_id, &forecast.all_pkts_per_s, &forecast.all_bytes_per_s);
	news.progress.end_ns = hive_progress_end(&forecast);
	news.owner_id = job->owner_id;
	news.state = part->state;
	snprintf(news.name, sizeof(news.name), "%s", part->link_name ? part->link_name : "");
	hive_news_add(hive, &news);
}

static bool do_poll(struct hive *hive, const struct task *task)
{
	int64_t probe_id = task->effect.probe_id;
	_hive_client_ struct hive_client *client = NULL;
	_skep_free_ struct hive_capture *captures = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	uint64_t asked_ns = (uint64_t)hive_now_ns(hive);
	char prefix[32];
	uint32_t n = 0;
	int r = hive_probe_client(hive, probe_id, &client);

	snprintf(prefix, sizeof(prefix), "hive-%s-", hive->id);
	if (r == -EHOSTDOWN)
		(void)skep_err_set(&err, r, "it is disabled");
	if (r == 0)
		r = hive_client_list(client, prefix, &captures, &n, &err);
	pthread_mutex_lock(&hive->jobs_lock);
	hive_jobs_probe(hive->jobs, probe_id, r == 0);
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		struct hive_status status = status_of(&captures[i]);
		int64_t job_id, link_id;

		if (!hive_capture_of(hive, captures[i].name, &job_id, &link_id))
			continue;
		hive_jobs_status(hive->jobs, job_id, link_id, &status, asked_ns);
		if (status.at == HIVE_AT_RUNNING && status.stored_pkts && !captures[i].ring)
			hive_prefetch_want(hive, probe_id, job_id, link_id);
		tell_progress(hive, job_id, link_id, &captures[i]);
	}
	pthread_mutex_unlock(&hive->jobs_lock);
	hive_probe_heard(hive, probe_id, r == 0 ? NULL : &err);
	if (r == 0 && task->refresh)
		hive_probe_refresh(hive, client, probe_id);
	return r == 0;
}

/* ---- threads ---- */

static void poll_done(struct hive_dispatch *d, const struct task *task, bool up)
{
	for (uint32_t i = 0; i < d->n_polls; i++)
		if (d->polls[i].probe_id == task->effect.probe_id) {
			d->polls[i].under_way = false;
			d->polls[i].due_ns = mono_ns(d->hive) + (up ? POLL_NS : POLL_AWAY_NS);
			if (up && task->refresh)
				d->polls[i].refresh_ns = mono_ns(d->hive) + REFRESH_NS;
		}
}

static void *work(void *arg)
{
	struct hive_dispatch *d = arg;

	pthread_mutex_lock(&d->lock);
	while (!d->stop) {
		struct task *task = d->first;
		bool up = false;

		if (!task) {
			pthread_cond_wait(&d->work, &d->lock);
			continue;
		}
		d->first = task->next;
		if (!d->first)
			d->last = &d->first;
		pthread_mutex_unlock(&d->lock);
		if (task->poll)
			up = do_poll(d->hive, task);
		else if (task->effect.kind == HIVE_EFFECT_REQUEST)
			do_request(d->hive, &task->effect);
		else if (task->effect.kind == HIVE_EFFECT_COLLECT)
			do_collect(d->hive, &task->effect);
		else
			do_build(d->hive, &task->effect);
		pthread_mutex_lock(&d->lock);
		if (task->poll)
			poll_done(d, task, up);
		d->has_news = true;
		pthread_cond_signal(&d->news);
		free(task);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

static int see_probe(void *arg, void *row)
{
	struct hive_dispatch *d = arg;
	struct polled *more;
	int64_t id = ((struct hive_probe *)row)->head.id;

	for (uint32_t i = 0; i < d->n_polls; i++)
		if (d->polls[i].probe_id == id) {
			d->polls[i].seen = true;
			return 0;
		}
	more = reallocarray(d->polls, d->n_polls + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	d->polls = more;
	d->polls[d->n_polls++] = (struct polled){ .probe_id = id, .seen = true };
	return 0;
}

/* Called with the lock. */
static void poll_who_is_due(struct hive_dispatch *d)
{
	struct hive_tx *tx = NULL;
	uint64_t now = mono_ns(d->hive);

	for (uint32_t i = 0; i < d->n_polls; i++)
		d->polls[i].seen = false;
	if (hive_db_read(d->hive->db, &tx) == 0)
		(void)hive_row_each(tx, &hive_probes, see_probe, d);
	hive_tx_abortp(&tx);
	for (uint32_t i = 0; i < d->n_polls; i++) {
		struct polled *polled = &d->polls[i];

		if (!polled->seen || polled->under_way || now < polled->due_ns)
			continue;
		polled->under_way = true;
		put(d, &(struct task){ .poll = true,
				       .refresh = now >= polled->refresh_ns,
				       .effect = { .probe_id = polled->probe_id } });
	}
}

static void turn(struct hive_dispatch *d)
{
	struct hive_effect *effects = NULL;
	uint32_t n = 0;
	int r;

	hive_schedules_run(d->hive);
	r = hive_jobs_turn(d->hive, &effects, &n);
	hive_news_tell(d->hive);

	if (r < 0)
		skep_log(SKEP_LOG_ERROR, "jobs cannot be saved: %s; trying again", strerror(-r));
	pthread_mutex_lock(&d->lock);
	if (r == 0)
		d->turned_ns = mono_ns(d->hive);
	for (uint32_t i = 0; i < n; i++)
		put(d, &(struct task){ .effect = effects[i] });
	poll_who_is_due(d);
	pthread_mutex_unlock(&d->lock);
	free(effects);
}

static void *lead(void *arg)
{
	struct hive_dispatch *d = arg;
	struct timespec until;
	bool stop = false;

	while (!stop) {
		uint64_t ns;

		turn(d);
		pthread_mutex_lock(&d->lock);
		ns = mono_ns(d->hive) + TURN_NS;
		until = (struct timespec){ .tv_sec = (time_t)(ns / SKEP_NSEC_PER_SEC),
					   .tv_nsec = (long)(ns % SKEP_NSEC_PER_SEC) };
		while (!d->stop && !d->has_news &&
		       pthread_cond_timedwait(&d->news, &d->lock, &until) != ETIMEDOUT)
			;
		d->has_news = false;
		stop = d->stop;
		pthread_mutex_unlock(&d->lock);
	}
	return NULL;
}

void hive_dispatch_poke(struct hive *hive)
{
	struct hive_dispatch *d = hive->dispatch;

	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->has_news = true;
	pthread_cond_signal(&d->news);
	pthread_mutex_unlock(&d->lock);
}

bool hive_dispatch_alive(struct hive_dispatch *d, uint64_t within_ns)
{
	bool alive;

	pthread_mutex_lock(&d->lock);
	alive = mono_ns(d->hive) - d->turned_ns < within_ns;
	pthread_mutex_unlock(&d->lock);
	return alive;
}

struct hive_dispatch *hive_dispatch_stop(struct hive_dispatch *d)
{
	if (!d)
		return NULL;
	d->hive->dispatch = NULL; /* who would poke it has ended before */
	atomic_store(&d->hive->stopping, true);
	pthread_mutex_lock(&d->lock);
	d->stop = true;
	pthread_cond_broadcast(&d->work);
	pthread_cond_broadcast(&d->news);
	pthread_mutex_unlock(&d->lock);
	for (uint32_t i = 0; i < d->n_threads; i++)
		pthread_join(d->threads[i], NULL);
	hive_prefetch_stop(d->hive); /* last: the threads above use it */
	while (d->first) {
		struct task *task = d->first;

		d->first = task->next;
		free(task);
	}
	pthread_cond_destroy(&d->work);
	pthread_cond_destroy(&d->news);
	pthread_mutex_destroy(&d->lock);
	free(d->polls);
	free(d);
	return NULL;
}

int hive_dispatch_start(struct hive *hive, struct hive_dispatch **ret, struct skep_err *err)
{
	struct hive_dispatch *d = calloc(1, sizeof(*d));
	pthread_condattr_t monotonic;
	pthread_attr_t small;
	int r = 0;

	if (!d)
		return skep_err_set(err, -ENOMEM, "out of memory");
	d->hive = hive;
	d->last = &d->first;
	d->turned_ns = mono_ns(hive);
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&d->work, &monotonic);
	pthread_cond_init(&d->news, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	r = hive_prefetch_start(hive, err);
	for (int i = 0; r == 0 && i < WORKERS + 1; i++) {
		r = -pthread_create(&d->threads[i], &small, i ? work : lead, d);
		d->n_threads += r == 0;
	}
	pthread_attr_destroy(&small);
	if (r < 0) {
		hive_dispatch_stop(d);
		return skep_err_set(err, r, "no thread: %s", strerror(-r));
	}
	hive->dispatch = d;
	*ret = d;
	return 0;
}
