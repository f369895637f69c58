/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A few threads that go round the captures that run. The polls of the dispatcher say which; each is looked at
 * every PAUSE. One thread at a time is at a part, the final collection included: two writers of one .part
 * file would spoil it. Decides nothing: what the job logic then finds collected is simply there already.
 */
#include "hive/svc/prefetch.h"

#include "common/log.h"
#include "hive/probe/client.h"
#include "hive/svc/collect.h"
#include "hive/svc/probes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define THREADS 4
#define PAUSE_NS (3 * SKEP_NSEC_PER_SEC)
#define FORGET_NS (60 * SKEP_NSEC_PER_SEC) /* nobody has wanted it for so long */
#define HOLD_NS (5 * SKEP_NSEC_PER_SEC)
#define STACK_BYTES (512u * 1024)

enum state { IDLE, FETCHING, HELD };

struct part {
	struct part *next;
	int64_t probe_id, job_id, link_id;
	enum state state;
	uint64_t due_ns, wanted_ns; /* CLOCK_MONOTONIC */
};

struct hive_prefetch {
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t changed;
	struct part *parts;
	bool stop;
	uint32_t n_threads;
	pthread_t threads[THREADS];
};

static uint64_t now_ns(const struct hive *hive)
{
	return skep_clock_now_ns(hive->clock, CLOCK_MONOTONIC);
}

/* ---- under the lock ---- */

static struct part *find(struct hive_prefetch *p, int64_t job_id, int64_t link_id, bool make)
{
	struct part *part = p->parts;

	while (part && (part->job_id != job_id || part->link_id != link_id))
		part = part->next;
	if (part || !make)
		return part;
	part = calloc(1, sizeof(*part));
	if (!part)
		return NULL;
	*part = (struct part){ .next = p->parts, .job_id = job_id, .link_id = link_id };
	p->parts = part;
	return part;
}

static void forget_old(struct hive_prefetch *p, uint64_t now)
{
	struct part **at = &p->parts;

	while (*at) {
		struct part *part = *at;

		if (part->state != IDLE || now - part->wanted_ns < FORGET_NS) {
			at = &part->next;
			continue;
		}
		*at = part->next;
		free(part);
	}
}

/* What is to be done now; NULL: nothing before *ret_until_ns. */
static struct part *next_due(struct hive_prefetch *p, uint64_t now, uint64_t *ret_until_ns)
{
	*ret_until_ns = now + PAUSE_NS;
	for (struct part *part = p->parts; part; part = part->next) {
		if (part->state != IDLE || !part->probe_id || part->wanted_ns + PAUSE_NS < part->due_ns)
			continue;
		if (part->due_ns <= now)
			return part;
		*ret_until_ns = SKEP_MIN(*ret_until_ns, part->due_ns);
	}
	return NULL;
}

static void wait_until(struct hive_prefetch *p, uint64_t ns)
{
	const struct timespec at = { .tv_sec = (time_t)(ns / SKEP_NSEC_PER_SEC),
				     .tv_nsec = (long)(ns % SKEP_NSEC_PER_SEC) };

	(void)pthread_cond_timedwait(&p->changed, &p->lock, &at);
}

/* ---- the threads ---- */

static void fetch(struct hive *hive, int64_t probe_id, int64_t job_id, int64_t link_id)
{
	struct hive_client *client = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	int r = hive_probe_client(hive, probe_id, &client);

	if (r == 0)
		r = hive_collect_early(hive, client, job_id, link_id, &err);
	if (r != 0)
		skep_log(SKEP_LOG_DEBUG,
			 "job=%" PRId64 " link=%" PRId64 " not all that is there was fetched: %s", job_id,
			 link_id, err.text);
	hive_client_free(client);
}

static void *work(void *arg)
{
	struct hive *hive = arg;
	struct hive_prefetch *p = hive->prefetch;
	uint64_t until;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct part *part = next_due(p, now_ns(hive), &until);

		if (!part) {
			wait_until(p, until);
			continue;
		}
		part->state = FETCHING;
		pthread_mutex_unlock(&p->lock);
		fetch(hive, part->probe_id, part->job_id, part->link_id);
		pthread_mutex_lock(&p->lock);
		part->state = IDLE;
		part->due_ns = now_ns(hive) + PAUSE_NS;
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- for others ---- */

void hive_prefetch_want(struct hive *hive, int64_t probe_id, int64_t job_id, int64_t link_id)
{
	struct hive_prefetch *p = hive->prefetch;
	uint64_t now = now_ns(hive);
	struct part *part;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	forget_old(p, now);
	part = find(p, job_id, link_id, true);
	if (part) { /* without memory it is fetched when the capture is over */
		part->probe_id = probe_id;
		part->wanted_ns = now;
		if (part->due_ns <= now)
			pthread_cond_signal(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
}

bool hive_prefetch_hold(struct hive *hive, int64_t job_id, int64_t link_id)
{
	struct hive_prefetch *p = hive->prefetch;
	uint64_t until = now_ns(hive) + HOLD_NS;
	struct part *part;
	bool held;

	if (!p)
		return true;
	pthread_mutex_lock(&p->lock);
	while ((part = find(p, job_id, link_id, true)) && part->state != IDLE && now_ns(hive) < until)
		wait_until(p, until);
	held = part && part->state == IDLE;
	if (held)
		part->state = HELD;
	pthread_mutex_unlock(&p->lock);
	return held;
}

void hive_prefetch_release(struct hive *hive, int64_t job_id, int64_t link_id)
{
	struct hive_prefetch *p = hive->prefetch;
	struct part *part;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	part = find(p, job_id, link_id, false);
	if (part)
		part->state = IDLE;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

void hive_prefetch_stop(struct hive *hive)
{
	struct hive_prefetch *p = hive->prefetch;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	for (uint32_t i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	hive->prefetch = NULL;
	while (p->parts) {
		struct part *part = p->parts;

		p->parts = part->next;
		free(part);
	}
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int hive_prefetch_start(struct hive *hive, struct skep_err *err)
{
	struct hive_prefetch *p = calloc(1, sizeof(*p));
	pthread_condattr_t monotonic;
	pthread_attr_t small;
	int r = 0;

	if (!p)
		return skep_err_set(err, -ENOMEM, "out of memory");
	hive->prefetch = p;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	for (int i = 0; r == 0 && i < THREADS; i++) {
		r = -pthread_create(&p->threads[i], &small, work, hive);
		p->n_threads += r == 0;
	}
	pthread_attr_destroy(&small);
	if (r < 0) {
		hive_prefetch_stop(hive);
		return skep_err_set(err, r, "no thread: %s", strerror(-r));
	}
	return 0;
}
