/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opens and closes the hive: database, delays, the jobs that have not ended. Starts no thread. Decides
 * nothing.
 */
#include "hive/svc/hive.h"

#include "hive/db/schema.h"
#include "hive/store/store.h"
#include "hive/svc/jobs.h"
#include "hive/svc/news.h"
#include "hive/svc/probes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define READERS 4
#define HOUR_NS (3600 * SKEP_NSEC_PER_SEC)

int64_t hive_now_ns(const struct hive *hive)
{
	return (int64_t)skep_clock_now_ns(hive->clock, CLOCK_REALTIME);
}

struct hive *hive_close(struct hive *hive)
{
	if (!hive)
		return NULL;
	hive->jobs = hive_jobs_free(hive->jobs);
	hive->delay = hive_delay_free(hive->delay);
	hive->store = hive_store_close(hive->store);
	hive->news = hive_news_free(hive->news);
	hive->probe_states = hive_probe_states_free(hive->probe_states);
	hive->progresses = hive_progresses_free(hive->progresses);
	hive->db = hive_db_close(hive->db);
	pthread_mutex_destroy(&hive->jobs_lock);
	free(hive->programs);
	free(hive);
	return NULL;
}

/* Made once: a probe that serves two hives tells them apart by it. */
static int take_id(struct hive *hive, struct skep_err *err)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	_skep_free_ char *id = NULL;
	char random[HIVE_SECRET_TEXT];
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_setting_get(tx, "hive_id", &id);
	if (r == 0)
		snprintf(hive->id, sizeof(hive->id), "%s", id);
	if (r == -ENOENT) {
		hive_secret_make("", random);
		snprintf(hive->id, sizeof(hive->id), "%.8s", random);
		r = hive_setting_set(tx, "hive_id", hive->id);
	}
	if (r == 0)
		r = hive_tx_commit(&tx);
	return r == 0 ? 0 : skep_err_set(err, r, "%s: cannot be written", hive->cfg.db_path);
}

int hive_open(const struct hive_config *cfg, const struct skep_clock *clock, struct hive **ret,
	      struct skep_err *err)
{
	struct hive *hive = calloc(1, sizeof(*hive));
	int r;

	if (!hive)
		return skep_err_set(err, -ENOMEM, "out of memory");
	hive->cfg = *cfg;
	hive->clock = clock;
	hive->cfg.programs = hive->programs = cfg->programs ? strdup(cfg->programs) : NULL;
	hive->cfg.session_idle_ns = cfg->session_idle_ns ? cfg->session_idle_ns : 12 * HOUR_NS;
	hive->cfg.session_max_ns = cfg->session_max_ns ? cfg->session_max_ns : 7 * 24 * HOUR_NS;
	pthread_mutex_init(&hive->jobs_lock, NULL);
	r = hive_secret_init();
	if (r < 0)
		skep_err_set(err, r, "no random numbers, or too little memory for passwords");
	hive->delay = hive_delay_new();
	hive->news = hive_news_new();
	hive->probe_states = hive_probe_states_new();
	hive->progresses = hive_progresses_new();
	if (r == 0 && !(hive->delay && hive->news && hive->probe_states && hive->progresses))
		r = skep_err_set(err, -ENOMEM, "out of memory");
	if (r == 0 && cfg->ldap)
		r = hive_ldap_check(cfg->ldap, err);
	if (r == 0)
		r = hive_db_open(cfg->db_path, READERS, &hive->db, err);
	if (r == 0)
		r = hive_schema_migrate(hive->db, err);
	if (r == 0)
		r = take_id(hive, err);
	if (r == 0 && cfg->store_path)
		r = hive_store_open(cfg->store_path, cfg->store_reserve_bytes, &hive->store, err);
	if (r == 0)
		r = hive_jobs_load(hive, err);
	if (r != 0) {
		hive_close(hive);
		return r;
	}
	*ret = hive;
	return 0;
}

int hive_complain_err(struct hive_complaints *complaints, const char *field, const struct skep_err *err)
{
	if (complaints->n < HIVE_COMPLAINTS_MAX) {
		snprintf(complaints->items[complaints->n].field, sizeof(complaints->items[0].field), "%s", field ? field : "");
		complaints->items[complaints->n++].err = *err;
	}
	return err->code;
}

int hive_complain(struct hive_complaints *complaints, const char *field, const char *fmt, ...)
{
	struct skep_err err = { .code = SKEP_E_USAGE };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err.text, sizeof(err.text), fmt, ap);
	va_end(ap);
	return hive_complain_err(complaints, field, &err);
}
