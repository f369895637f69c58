/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a wish to a job on disk and in the queue: everything that is wrong with it is said at once, then the
 * rows, the audit entry and what else belongs to it are one transaction. hive->jobs_lock is held around it,
 * so what is in the queue is on disk and the other way round. Any thread.
 */
#include "hive/svc/jobs_links.h"

#include "hive/db/plans.h"
#include "hive/db/transfers.h"
#include "hive/svc/audit.h"
#include "hive/svc/dispatch.h"
#include "hive/svc/news.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILTER_MAX 65536
#define RING_BYTES_MIN (16 << 20) /* of a probe */

/* ---- what somebody's groups allow ---- */

struct allowance {
	int64_t duration_s, jobs, bytes, priority; /* 0: no limit, but for priority */
	int64_t n_groups;
};

/* The most generous group decides. */
static int allowance_of(struct hive_tx *tx, int64_t user_id, struct allowance *ret)
{
	_hive_rows_ struct hive_rows groups = { .table = &hive_groups };
	int r = hive_groups_of(tx, user_id, &groups);

	*ret = (struct allowance){ .n_groups = groups.n };
	for (uint32_t i = 0; r == 0 && i < groups.n; i++) {
		const struct hive_group *group = hive_rows_at(&groups, i);
		const struct {
			int64_t *most, mine;
		} quotas[] = { { &ret->duration_s, group->quota_duration_s },
			       { &ret->jobs, group->quota_jobs },
			       { &ret->bytes, group->quota_bytes } };

		for (size_t q = 0; q < ARRAY_LEN(quotas); q++)
			if (i == 0 || !quotas[q].mine)
				*quotas[q].most = quotas[q].mine;
			else if (*quotas[q].most && *quotas[q].most < quotas[q].mine)
				*quotas[q].most = quotas[q].mine;
		ret->priority = SKEP_MAX(ret->priority, group->quota_priority);
	}
	return r;
}

static int check_allowance(struct hive_tx *tx, const struct hive_actor *actor, const struct hive_job *job,
			   struct hive_complaints *complaints)
{
	struct allowance may;
	int64_t unfinished = 0, stored = 0;
	int r = allowance_of(tx, actor->user_id, &may);

	if (r == 0)
		r = hive_jobs_unfinished_of(tx, actor->user_id, &unfinished);
	if (r == 0)
		r = hive_storage_used(tx, actor->user_id, &stored);
	if (r < 0)
		return r;
	if (job->priority > may.priority)
		(void)hive_complain(complaints, "priority", "priority: your groups may ask for at most \"%s\"",
				    hive_priority_names[may.priority]);
	if (job->kind != HIVE_KIND_SAVED && may.duration_s &&
	    (!job->limit_duration_s || job->limit_duration_s > may.duration_s))
		(void)hive_complain(complaints, "limit_duration_s", "limit_duration_s: your groups allow at most %" PRId64 " s",
				    may.duration_s);
	if (job->kind == HIVE_KIND_SAVED && may.duration_s &&
	    job->to_ns - job->from_ns > may.duration_s * (int64_t)SKEP_NSEC_PER_SEC)
		(void)hive_complain(complaints, "before_s", "before_s: your groups allow jobs of at most %" PRId64 " s", may.duration_s);
	if (may.jobs && unfinished >= may.jobs)
		(void)hive_complain(complaints, NULL, "you have %" PRId64 " jobs that have not ended; your groups allow %" PRId64,
				    unfinished, may.jobs);
	if (may.bytes && stored + job->limit_bytes > may.bytes)
		(void)hive_complain(complaints, "limit_bytes",
				    "limit_bytes: with what you store already, and may yet, that is more than the %" PRId64 " bytes of your groups",
				    may.bytes);
	else if (may.bytes && !job->limit_bytes && job->kind == HIVE_KIND_CAPTURE)
		(void)hive_complain(complaints, "limit_bytes", "limit_bytes: your groups have a quota of bytes, so a limit is needed");
	return 0;
}

/* ---- is it right? ---- */

static void check_numbers(const struct hive_job *job, struct hive_complaints *complaints)
{
	const struct {
		const char *field;
		int64_t value, max;
	} numbers[] = {
		{ "limit_duration_s", job->limit_duration_s, 366 * 86400 },
		{ "limit_bytes", job->limit_bytes, INT64_MAX },
		{ "limit_pkts", job->limit_pkts, INT64_MAX },
		{ "link_limit_bytes", job->link_limit_bytes, INT64_MAX },
		{ "link_limit_pkts", job->link_limit_pkts, INT64_MAX },
		{ "snaplen", job->snaplen, 262144 },
		{ "sample_every", job->sample_every, 1000000 },
		{ "expected_bps", job->expected_bps, INT64_C(10000000000000) },
		{ "ring_duration_s", job->ring_duration_s, 7 * 86400 },
		{ "ring_bytes", job->ring_bytes, INT64_C(1) << 50 },
	};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (numbers[i].value < 0 || numbers[i].value > numbers[i].max)
			(void)hive_complain(complaints, numbers[i].field, "%s: must be between 0 and %" PRId64, numbers[i].field,
					    numbers[i].max);
}

/* A ring goes on until it is stopped; what it keeps is its size. */
static void check_kind(const struct hive_job *job, struct hive_complaints *complaints)
{
	bool limited = job->limit_bytes || job->limit_pkts || job->link_limit_bytes || job->link_limit_pkts;

	if (job->kind == HIVE_KIND_SAVED)
		(void)hive_complain(complaints, "kind", "kind: what a ring has is saved by its trigger");
	if (job->kind == HIVE_KIND_CAPTURE && (job->ring_bytes || job->ring_duration_s))
		(void)hive_complain(complaints, job->ring_bytes ? "ring_bytes" : "ring_duration_s",
				    "ring: only a job of kind \"ring\" has a size");
	if (job->kind == HIVE_KIND_CAPTURE && !limited && !job->limit_duration_s && !job->end_ns)
		(void)hive_complain(complaints, "limit_duration_s",
				    "limit_duration_s: a job needs a limit: duration, bytes, packets, or an end");
	if (job->kind != HIVE_KIND_RING)
		return;
	if (!job->ring_bytes == !job->ring_duration_s)
		(void)hive_complain(complaints, "ring_duration_s",
				    "ring_duration_s: a ring keeps either a time (ring_duration_s) or an amount (ring_bytes)");
	if (job->ring_bytes && job->ring_bytes < RING_BYTES_MIN)
		(void)hive_complain(complaints, "ring_bytes", "ring_bytes: must be at least %d", RING_BYTES_MIN);
	if (limited)
		(void)hive_complain(complaints, "limit_bytes", "limit_bytes: a ring has no limit of packets or bytes; it keeps the last");
}

static void check_values(const struct hive *hive, const struct hive_job *job,
			 struct hive_complaints *complaints)
{
	int64_t now = hive_now_ns(hive);

	(void)hive_check_name(complaints, "name", job->name);
	check_numbers(job, complaints);
	check_kind(job, complaints);
	if (job->filter && strlen(job->filter) > FILTER_MAX)
		(void)hive_complain(complaints, "filter", "filter: longer than %d bytes", FILTER_MAX);
	if (job->trim && strlen(job->trim) > 64)
		(void)hive_complain(complaints, "trim", "trim: longer than 64 bytes");
	if (!job->format || (strcmp(job->format, "pcap") != 0 && strcmp(job->format, "pcapng") != 0))
		(void)hive_complain(complaints, "format", "format: must be pcap or pcapng");
	if (job->start_ns && job->start_ns < now - (int64_t)(60 * SKEP_NSEC_PER_SEC))
		(void)hive_complain(complaints, "start", "start: has passed already");
	if (job->end_ns && job->end_ns <= SKEP_MAX(now, job->start_ns))
		(void)hive_complain(complaints, "end", "end: is before the start, or has passed already");
}

/* ---- what a ring had ---- */

static int choose_part(struct hive_tx *tx, const struct hive_actor *actor, const struct hive_job_link *part,
		       struct hive_chosen *chosen, struct hive_complaints *complaints)
{
	_hive_link_ struct hive_link link = { 0 };
	int r = hive_row_get(tx, &hive_links, part->link_id, &link);

	return r < 0 ? r : hive_choose_link(tx, actor, &link, chosen, complaints);
}

static int not_running(struct hive_complaints *complaints, const struct hive_job *ring)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, SKEP_E_BUSY, "job %" PRId64 " is %s that is %s: only a ring that runs can be triggered", ring->head.id,
			   ring->kind == HIVE_KIND_RING ? "a ring" : "no ring but a job", hive_job_state_names[ring->state]);
	return hive_complain_err(complaints, NULL, &err);
}

static int no_such_ring(struct hive_complaints *complaints)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, SKEP_E_NOT_FOUND, "there is no such ring");
	return hive_complain_err(complaints, NULL, &err);
}

/*
 * The links of the ring that run, with what the ring's job says of packets. Who pulls the trigger must be
 * allowed the links themselves, and as much of them as the ring's owner was.
 */
static int choose_ring(struct hive_tx *tx, const struct hive_actor *actor, struct hive_job *job,
		       struct hive_chosen *chosen, struct hive_complaints *complaints)
{
	_hive_rows_ struct hive_rows parts = { .table = &hive_job_links };
	_hive_job_ struct hive_job ring = { 0 };
	int r = hive_row_get(tx, &hive_jobs_table, job->ring_id, &ring);

	if (r == 0)
		r = hive_may_owned(tx, actor, ring.owner_id);
	if (r == 0 && ring.kind != HIVE_KIND_RING)
		return not_running(complaints, &ring);
	if (r == 0)
		r = hive_job_links_of(tx, ring.head.id, &parts);
	for (uint32_t i = 0; r == 0 && i < parts.n; i++) {
		const struct hive_job_link *part = hive_rows_at(&parts, i);

		if (part->state == HIVE_PART_RUNNING || part->state == HIVE_PART_PAUSING ||
		    part->state == HIVE_PART_PAUSED || part->state == HIVE_PART_RESUMING)
			r = choose_part(tx, actor, part, chosen, complaints);
	}
	if (r == -ENOENT || r == SKEP_E_NOT_FOUND)
		return no_such_ring(complaints);
	if (r != 0)
		return r;
	if (!chosen->n)
		return not_running(complaints, &ring);
	if (chosen->forced_filter && strcmp(chosen->forced_filter, ring.forced_filter ? ring.forced_filter : "") != 0)
		return hive_complain(complaints, NULL, "the ring keeps more of the links than your groups allow you");
	free(chosen->forced_filter);
	chosen->forced_filter = ring.forced_filter ? strdup(ring.forced_filter) : NULL;
	free(job->format);
	job->format = strdup(ring.format);
	job->snaplen = ring.snaplen;
	return job->format ? 0 : -ENOMEM;
}

/* ---- making one ---- */

static int insert_job(struct hive *hive, struct hive_tx *tx, const struct hive_actor *actor,
		      struct hive_job_wish *wish, struct hive_chosen *chosen)
{
	struct hive_job *job = &wish->row;
	char object[64];
	int r;

	job->owner_id = actor->user_id;
	job->created_ns = hive_now_ns(hive);
	job->state = job->start_ns > job->created_ns ? HIVE_JOB_SCHEDULED : HIVE_JOB_QUEUED;
	r = hive_row_insert(tx, &hive_jobs_table, job);
	for (uint32_t i = 0; r == 0 && i < chosen->n; i++) {
		chosen->parts[i].job_id = job->head.id;
		r = hive_row_insert(tx, &hive_job_links, &chosen->parts[i]);
	}
	snprintf(object, sizeof(object), "job %" PRId64, job->head.id);
	if (r == 0)
		r = hive_audit_add(hive, tx, actor, job->kind == HIVE_KIND_SAVED ? "ring.trigger" : "job.create", object, job->name);
	if (r == 0)
		r = hive_deliveries_add(tx, job->owner_id, HIVE_HOOK_CREATED, job->head.id, job->created_ns);
	if (r == 0 && wish->key)
		r = hive_answer_keep(tx, actor->name, wish->key, wish->request, job->head.id,
				     job->created_ns);
	if (r == 0 && wish->with)
		r = wish->with(tx, job->head.id, wish->with_arg);
	return r;
}

/* The logic gets the rows as they are on disk now: the same way as after a restart. */
static int take_up(struct hive *hive, struct hive_tx *tx, int64_t job_id)
{
	_hive_job_ struct hive_job job = { 0 };
	_hive_rows_ struct hive_rows parts = { .table = &hive_job_links };
	int r = hive_row_get(tx, &hive_jobs_table, job_id, &job);

	if (r == 0)
		r = hive_job_links_of(tx, job_id, &parts);
	return r < 0 ? r : hive_jobs_add(hive->jobs, &job, parts.items, parts.n);
}

static int check(struct hive *hive, struct hive_tx *tx, const struct hive_actor *actor,
		 struct hive_job_wish *wish, struct hive_chosen *chosen, struct hive_complaints *complaints)
{
	const struct hive_link_names names = { wish->links, wish->n_links };
	int r;

	if (wish->row.ring_id) {
		r = choose_ring(tx, actor, &wish->row, chosen, complaints);
		(void)hive_check_name(complaints, "name", wish->row.name);
	} else {
		r = hive_choose_links(tx, actor, &names, chosen, complaints);
		check_values(hive, &wish->row, complaints);
	}
	if (r < 0 || r == SKEP_E_NOT_FOUND || r == SKEP_E_BUSY)
		return r;
	wish->row.forced_filter = TAKE_PTR(chosen->forced_filter);
	r = check_allowance(tx, actor, &wish->row, complaints);
	return r < 0 ? r : complaints->n ? complaints->items[0].err.code : 0;
}

static int create_locked(struct hive *hive, const struct hive_actor *actor, struct hive_job_wish *wish,
			 struct hive_chosen *chosen, struct hive_complaints *complaints)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int64_t made = 0;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0 && wish->key)
		r = hive_answer_find(tx, actor->name, wish->key, wish->request, &made);
	if (r == -EEXIST)
		return hive_complain(complaints, "Idempotency-Key", "the key was used for another request");
	if (r == 0 && made) {
		wish->row.head.id = made;
		wish->again = true;
		return 0;
	}
	if (r == 0)
		r = check(hive, tx, actor, wish, chosen, complaints);
	if (r == 0)
		r = insert_job(hive, tx, actor, wish, chosen);
	if (r == 0)
		r = take_up(hive, tx, wish->row.head.id);
	if (r == 0) {
		r = hive_tx_commit(&tx);
		/*
		 * what is not on disk must not be in the queue; it has not been looked at yet, for the lock
		 * is held
		 */
		if (r < 0)
			hive_jobs_forget(hive->jobs, wish->row.head.id);
	}
	return r;
}

static void tell(struct hive *hive, const struct hive_job *job)
{
	struct hive_news news = { .kind = HIVE_NEWS_JOB,
				  .time_ns = job->created_ns,
				  .owner_id = job->owner_id,
				  .job_id = job->head.id,
				  .state = job->state };

	snprintf(news.name, sizeof(news.name), "%s", job->name);
	hive_news_add(hive, &news);
}

int hive_job_create(struct hive *hive, const struct hive_actor *actor, struct hive_job_wish *wish,
		    struct hive_complaints *complaints)
{
	_hive_chosen_ struct hive_chosen *chosen = calloc(1, sizeof(*chosen));
	int r;

	if (!chosen)
		return -ENOMEM;
	if (!hive_actor_can(actor, HIVE_RIGHT_JOBS))
		return SKEP_E_PRIVILEGE;
	pthread_mutex_lock(&hive->jobs_lock);
	r = create_locked(hive, actor, wish, chosen, complaints);
	if (r == 0 && !wish->again)
		tell(hive, &wish->row);
	pthread_mutex_unlock(&hive->jobs_lock);
	hive_dispatch_poke(hive);
	free(TAKE_PTR(wish->row.forced_filter));
	return r;
}

int hive_ring_trigger(struct hive *hive, const struct hive_actor *actor, const struct hive_trigger *trigger,
		      struct hive_job_wish *wish, struct hive_complaints *complaints)
{
	struct hive_job *job = &wish->row;
	int64_t now = hive_now_ns(hive);

	if (trigger->before_s < 0 || trigger->before_s > 366 * 86400)
		(void)hive_complain(complaints, "before_s", "before_s: must be between 0 and a year");
	if (trigger->after_s < 0 || trigger->after_s > 366 * 86400)
		(void)hive_complain(complaints, "after_s", "after_s: must be between 0 and a year");
	if (complaints->n)
		return complaints->items[0].err.code;
	job->kind = HIVE_KIND_SAVED;
	job->ring_id = trigger->ring_id;
	job->from_ns = now - trigger->before_s * (int64_t)SKEP_NSEC_PER_SEC;
	job->to_ns = now + trigger->after_s * (int64_t)SKEP_NSEC_PER_SEC;
	job->missing = HIVE_MISSING_WAIT;
	return hive_job_create(hive, actor, wish, complaints);
}
