/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The job logic and the disk: takes up what has not ended, and saves what the logic decides in one
 * transaction before any effect of it is handed out. Who needs both hive->jobs_lock and a transaction takes
 * the lock first. Any thread.
 */
#include "hive/svc/jobs.h"

#include "common/log.h"
#include "hive/db/plans.h"
#include "hive/svc/news.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- taking up ---- */

static int load_probe(void *arg, void *row)
{
	return hive_jobs_put_probe(((struct hive *)arg)->jobs, ((struct hive_probe *)row)->head.id);
}

static int put_link(struct hive *hive, const struct hive_link *link)
{
	struct hive_jobs_link cfg = { .id = link->head.id,
				      .probe_id = link->probe_id,
				      .max_jobs = link->max_jobs,
				      .max_bps = link->max_bps,
				      .disabled = link->disabled != 0 };

	return hive_jobs_put_link(hive->jobs, &cfg);
}

static int load_link(void *arg, void *row)
{
	return put_link(arg, row);
}

static int load_job(struct hive *hive, struct hive_tx *tx, int64_t id)
{
	_hive_job_ struct hive_job job = { 0 };
	_hive_rows_ struct hive_rows parts = { .table = &hive_job_links };
	int r = hive_row_get(tx, &hive_jobs_table, id, &job);

	if (r == 0)
		r = hive_job_links_of(tx, id, &parts);
	return r < 0 ? r : hive_jobs_add(hive->jobs, &job, parts.items, parts.n);
}

int hive_jobs_load(struct hive *hive, struct skep_err *err)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_jobs_settings settings = hive_jobs_defaults;
	_skep_free_ int64_t *ids = NULL;
	uint32_t n = 0;
	int r;

	if (hive->cfg.missing_after_ns)
		settings.grace_ns = hive->cfg.missing_after_ns;
	if (hive->cfg.lost_after_ns)
		settings.lost_ns = hive->cfg.lost_after_ns;
	if (hive->cfg.patience_ns)
		settings.patience_ns = hive->cfg.patience_ns;
	hive->jobs = hive_jobs_new(&settings, (uint64_t)hive_now_ns(hive));
	r = hive->jobs ? hive_db_read(hive->db, &tx) : -ENOMEM;
	if (r == 0)
		r = hive_row_each(tx, &hive_probes, load_probe, hive);
	if (r == 0)
		r = hive_row_each(tx, &hive_links, load_link, hive);
	if (r == 0)
		r = hive_jobs_open(tx, &ids, &n);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = load_job(hive, tx, ids[i]);
	return r == 0 ? 0 : skep_err_set(err, r, "the jobs cannot be taken up: %s", strerror(-r));
}

/* A restart would find it in the database; without memory it must wait for that. */
void hive_jobs_link_changed(struct hive *hive, const struct hive_link *link)
{
	if (put_link(hive, link) < 0)
		skep_log(SKEP_LOG_ERROR, "link=%s not taken up: out of memory; restart the hive", link->name);
}

bool hive_jobs_link_used(struct hive *hive, int64_t link_id)
{
	return hive_jobs_uses_link(hive->jobs, link_id);
}

/* ---- saving ---- */

/* One transaction of saving, and what is to be told once it is committed. */
struct saving {
	struct hive *hive;
	struct hive_tx *tx;
	struct hive_news *news;
	uint32_t n_news, room;
};

/* Without memory nobody is told; the job does not depend on it. */
static struct hive_news *add_news(struct saving *saving, enum hive_news_kind kind, const char *name)
{
	struct hive_news *more;

	if (saving->n_news == saving->room) {
		more = reallocarray(saving->news, saving->room + 64, sizeof(*more));
		if (!more)
			return NULL;
		saving->news = more;
		saving->room += 64;
	}
	more = &saving->news[saving->n_news++];
	*more = (struct hive_news){ .kind = kind, .time_ns = hive_now_ns(saving->hive) };
	snprintf(more->name, sizeof(more->name), "%s", name ? name : "");
	return more;
}

static int save_job(void *arg, struct hive_job *row, bool moved)
{
	struct saving *saving = arg;
	struct hive_news *news = moved ? add_news(saving, HIVE_NEWS_JOB, row->name) : NULL;
	int r = hive_row_store(saving->tx, &hive_jobs_table, row);

	if (news) {
		news->owner_id = row->owner_id;
		news->job_id = row->head.id;
		news->state = row->state;
		news->outcome = row->outcome;
	}
	if (r == 0 && moved && row->state == HIVE_JOB_RUNNING)
		r = hive_deliveries_add(saving->tx, row->owner_id, HIVE_HOOK_STARTED, row->head.id,
					hive_now_ns(saving->hive));
	if (r == 0 && moved && row->state >= HIVE_JOB_DONE)
		r = hive_deliveries_add(saving->tx, row->owner_id, HIVE_HOOK_ENDED, row->head.id,
					hive_now_ns(saving->hive));
	return r;
}

static int save_part(void *arg, struct hive_job_link *row, bool moved)
{
	struct saving *saving = arg;
	const struct hive_job *job = moved ? hive_jobs_get(saving->hive->jobs, row->job_id) : NULL;
	struct hive_news *news = job ? add_news(saving, HIVE_NEWS_LINK, row->link_name) : NULL;

	if (news) {
		news->owner_id = job->owner_id;
		news->job_id = row->job_id;
		news->link_id = row->link_id;
		news->state = row->state;
		news->outcome = row->result;
	}
	return hive_row_store(saving->tx, &hive_job_links, row);
}

static int save_event(void *arg, int64_t job_id, int64_t link_id, uint64_t time_ns, const char *text)
{
	struct saving *saving = arg;
	struct hive_job_event event = {
		.job_id = job_id, .link_id = link_id, .time_ns = (int64_t)time_ns, .text = (char *)text
	};

	return hive_row_insert(saving->tx, &hive_job_events, &event);
}

static int save_all(struct hive *hive)
{
	struct saving saving = { .hive = hive };
	const struct hive_jobs_saver saver = {
		.job = save_job, .part = save_part, .event = save_event, .arg = &saving
	};
	int r = hive_db_write(hive->db, &saving.tx);

	if (r == 0)
		r = hive_jobs_save(hive->jobs, &saver);
	if (r == 0)
		r = hive_tx_commit(&saving.tx);
	else
		hive_tx_abortp(&saving.tx);
	for (uint32_t i = 0; r == 0 && i < saving.n_news; i++) {
		hive_news_add(hive, &saving.news[i]);
		if (saving.news[i].kind == HIVE_NEWS_JOB && saving.news[i].state >= HIVE_JOB_DONE)
			hive_progress_forget(hive->progresses, saving.news[i].job_id);
	}
	free(saving.news);
	return r;
}

int hive_jobs_decide(struct hive *hive)
{
	int r = 0;

	hive_jobs_run(hive->jobs, (uint64_t)hive_now_ns(hive));
	if (hive_jobs_unsaved(hive->jobs))
		r = save_all(hive);
	if (r == 0)
		hive_jobs_saved(hive->jobs);
	return r;
}

int hive_jobs_turn(struct hive *hive, struct hive_effect **ret, uint32_t *ret_n)
{
	struct hive_effect *copy = NULL;
	const struct hive_effect *due;
	uint32_t n = 0;
	int r;

	pthread_mutex_lock(&hive->jobs_lock);
	r = hive_jobs_decide(hive);
	if (r == 0)
		copy = malloc((hive_jobs_due(hive->jobs) + 1) * sizeof(*copy));
	if (copy) { /* without memory they stay due */
		due = hive_jobs_effects(hive->jobs, &n);
		if (n)
			memcpy(copy, due, n * sizeof(*copy));
	}
	pthread_mutex_unlock(&hive->jobs_lock);
	*ret = copy;
	*ret_n = n;
	return r;
}
