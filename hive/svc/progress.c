/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rates and forecasts of captures. A rate is over the last two samples that are at least half a second apart,
 * smoothed by a half, so a burst shows at once and is forgotten within seconds. One lock; holds nothing of
 * jobs that were forgotten, and no more than ENTRIES_MAX captures: beyond that they go without.
 */
#include "hive/svc/progress.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define BUCKETS 1024u
#define ENTRIES_MAX 65536u /* of about 400 bytes */
#define STEP_NS (SKEP_NSEC_PER_SEC / 2)

struct entry {
	struct entry *next;
	struct hive_progress progress;
	bool rated;
};

struct hive_progresses {
	pthread_mutex_t lock;
	struct entry *buckets[BUCKETS]; /* by job */
	uint32_t n;
};

struct hive_progresses *hive_progresses_new(void)
{
	struct hive_progresses *all = calloc(1, sizeof(*all));

	if (all)
		pthread_mutex_init(&all->lock, NULL);
	return all;
}

struct hive_progresses *hive_progresses_free(struct hive_progresses *all)
{
	if (!all)
		return NULL;
	for (uint32_t i = 0; i < BUCKETS; i++)
		while (all->buckets[i]) {
			struct entry *entry = all->buckets[i];

			all->buckets[i] = entry->next;
			free(entry);
		}
	pthread_mutex_destroy(&all->lock);
	free(all);
	return NULL;
}

static struct entry **bucket_of(struct hive_progresses *all, int64_t job_id)
{
	return &all->buckets[(uint64_t)job_id % BUCKETS];
}

static struct entry *find(struct hive_progresses *all, int64_t job_id, int64_t link_id)
{
	struct entry *entry = *bucket_of(all, job_id);

	while (entry && (entry->progress.job_id != job_id || entry->progress.link_id != link_id))
		entry = entry->next;
	return entry;
}

static struct entry *add(struct hive_progresses *all, int64_t job_id, int64_t link_id)
{
	struct entry **bucket = bucket_of(all, job_id), *entry;

	if (all->n >= ENTRIES_MAX)
		return NULL;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->progress.job_id = job_id;
	entry->progress.link_id = link_id;
	entry->next = *bucket;
	*bucket = entry;
	all->n++;
	return entry;
}

static void rate(struct entry *entry, const struct hive_sample *sample)
{
	struct hive_progress *p = &entry->progress;
	double seconds = (double)(sample->time_ns - p->sample.time_ns) / (double)SKEP_NSEC_PER_SEC;
	double pkts = (double)(sample->stored_pkts - p->sample.stored_pkts) / seconds;
	double bytes = (double)(sample->stored_bytes - p->sample.stored_bytes) / seconds;

	p->pkts_per_s = entry->rated ? (p->pkts_per_s + pkts) / 2 : pkts;
	p->bytes_per_s = entry->rated ? (p->bytes_per_s + bytes) / 2 : bytes;
	entry->rated = true;
}

int hive_progress_take(struct hive_progresses *all, int64_t job_id, int64_t link_id,
		       const struct hive_sample *sample, struct hive_progress *ret)
{
	struct entry *entry;
	int moved = 1;

	pthread_mutex_lock(&all->lock);
	entry = find(all, job_id, link_id);
	if (entry) {
		moved = sample->seen_pkts != entry->progress.sample.seen_pkts ||
			entry->progress.pkts_per_s >= 0.5;
		if (sample->time_ns >= entry->progress.sample.time_ns + STEP_NS &&
		    sample->stored_pkts >= entry->progress.sample.stored_pkts) {
			rate(entry, sample);
			entry->progress.sample = *sample;
		}
	} else {
		entry = add(all, job_id, link_id);
		if (entry)
			entry->progress.sample = *sample;
	}
	*ret = entry ? entry->progress : (struct hive_progress){ .job_id = job_id, .link_id = link_id };
	ret->sample = *sample;
	pthread_mutex_unlock(&all->lock);
	return moved;
}

int hive_progress_get(struct hive_progresses *all, int64_t job_id, int64_t link_id,
		      struct hive_progress *ret)
{
	struct entry *entry;

	pthread_mutex_lock(&all->lock);
	entry = find(all, job_id, link_id);
	if (entry)
		*ret = entry->progress;
	pthread_mutex_unlock(&all->lock);
	return entry ? 0 : -ENOENT;
}

void hive_progress_forget(struct hive_progresses *all, int64_t job_id)
{
	struct entry **at;

	pthread_mutex_lock(&all->lock);
	at = bucket_of(all, job_id);
	while (*at) {
		struct entry *entry = *at;

		if (entry->progress.job_id != job_id) {
			at = &entry->next;
			continue;
		}
		*at = entry->next;
		free(entry);
		all->n--;
	}
	pthread_mutex_unlock(&all->lock);
}

void hive_progress_rates(struct hive_progresses *all, int64_t job_id, double *ret_pkts_per_s,
			 double *ret_bytes_per_s)
{
	*ret_pkts_per_s = *ret_bytes_per_s = 0;
	pthread_mutex_lock(&all->lock);
	for (struct entry *entry = *bucket_of(all, job_id); entry; entry = entry->next)
		if (entry->progress.job_id == job_id) {
			*ret_pkts_per_s += entry->progress.pkts_per_s;
			*ret_bytes_per_s += entry->progress.bytes_per_s;
		}
	pthread_mutex_unlock(&all->lock);
}

/* Seconds until there is `limit`; negative: never. */
static double seconds_to(int64_t limit, int64_t there, double per_s)
{
	if (!limit)
		return -1;
	if (there >= limit)
		return 0;
	return per_s > 0 ? (double)(limit - there) / per_s : -1;
}

int64_t hive_progress_end(const struct hive_forecast *f)
{
	const struct hive_job *job = f->job;
	const struct hive_sample *sample = &f->progress->sample;
	const double ways[] = {
		seconds_to(job->link_limit_pkts, sample->stored_pkts, f->progress->pkts_per_s),
		seconds_to(job->link_limit_bytes, sample->stored_bytes, f->progress->bytes_per_s),
		seconds_to(job->limit_pkts, job->stored_pkts, f->all_pkts_per_s),
		seconds_to(job->limit_bytes, job->stored_bytes, f->all_bytes_per_s),
	};
	int64_t end_ns = job->end_ns, by_time;

	if (job->limit_duration_s && f->part->started_ns) {
		by_time = f->part->started_ns + job->limit_duration_s * (int64_t)SKEP_NSEC_PER_SEC;
		end_ns = end_ns ? SKEP_MIN(end_ns, by_time) : by_time;
	}
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		/* further away than a hundred years is never */
		if (ways[i] < 0 || ways[i] > 3e9)
			continue;
		by_time = f->now_ns + (int64_t)(ways[i] * 1e9);
		end_ns = end_ns ? SKEP_MIN(end_ns, by_time) : by_time;
	}
	return end_ns;
}
