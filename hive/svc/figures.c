/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts what there is, when somebody asks; keeps nothing. Any thread.
 */
#include "hive/svc/figures.h"

#include "hive/db/transfers.h"
#include "hive/store/store.h"
#include "hive/svc/jobs_logic.h"
#include "hive/svc/probes.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define DAY_S INT64_C(86400)

static int64_t size_of(const char *path, const char *suffix)
{
	char name[512];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	return stat(name, &st) == 0 ? (int64_t)st.st_size : 0;
}

static int64_t resident(void)
{
	FILE *statm = fopen("/proc/self/statm", "re");
	long long pages = 0;

	if (statm && fscanf(statm, "%*s %lld", &pages) != 1)
		pages = 0;
	if (statm)
		fclose(statm);
	return pages * sysconf(_SC_PAGESIZE);
}

static int count_probe(void *arg, void *row)
{
	struct hive_figures *ret = ((void **)arg)[1];
	struct hive_probe_state state;

	hive_probe_state(((void **)arg)[0], ((struct hive_probe *)row)->head.id, &state);
	*(!state.known ? &ret->probes_unknown : state.up ? &ret->probes_up : &ret->probes_away) += 1;
	return 0;
}

int hive_figures_read(struct hive *hive, struct hive_figures *ret)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	void *both[] = { hive, ret };
	int r;

	*ret = (struct hive_figures){ 0 };
	pthread_mutex_lock(&hive->jobs_lock);
	ret->jobs_held = hive_jobs_count(hive->jobs);
	pthread_mutex_unlock(&hive->jobs_lock);
	r = hive_db_read(hive->db, &tx);
	if (r == 0)
		r = hive_jobs_by_state(tx, ret->jobs);
	if (r == 0)
		r = hive_counts_read(tx, &ret->counts);
	if (r == 0)
		r = hive_row_each(tx, &hive_probes, count_probe, both);
	if (r == 0)
		r = hive_datasets_bytes(tx, 0, &ret->dataset_bytes);
	if (r < 0)
		return r;
	ret->database_bytes = size_of(hive_db_path(hive->db), "") + size_of(hive_db_path(hive->db), "-wal");
	ret->resident_bytes = resident();
	return 0;
}

int hive_figures_ready(struct hive *hive)
{
	_hive_tx_ struct hive_tx *tx = NULL;

	return hive_db_write(hive->db, &tx);
}

/* The mean is over at least an hour, so that the first segment does not frighten anybody. */
static int growth(struct hive *hive, struct hive_tx *tx, int64_t *ret_bytes_s)
{
	int64_t now = hive_now_ns(hive), since = now - DAY_S * (int64_t)SKEP_NSEC_PER_SEC, first = 0,
		bytes = 0, seconds;
	int r = hive_files_since(tx, since, &bytes);

	if (r == 0)
		r = hive_files_first(tx, since, &first);
	if (r < 0)
		return r;
	seconds = first ? (now - first) / (int64_t)SKEP_NSEC_PER_SEC : DAY_S;
	*ret_bytes_s = bytes / SKEP_MAX(seconds, INT64_C(3600));
	return 0;
}

int hive_figures_store(struct hive *hive, struct hive_store_figures *ret)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_store_space space;
	int r = hive->store ? hive_store_space(hive->store, &space) : -ENOENT;

	if (r == 0)
		r = hive_db_read(hive->db, &tx);
	if (r < 0)
		return r;
	*ret = (struct hive_store_figures){ .total_bytes = (int64_t)space.total_bytes,
					    .free_bytes = (int64_t)space.free_bytes,
					    .reserve_bytes = (int64_t)space.reserve_bytes };
	r = hive_datasets_bytes(tx, 0, &ret->dataset_bytes);
	if (r == 0)
		r = growth(hive, tx, &ret->growth_bytes_s);
	ret->full_in_s = ret->growth_bytes_s ? ret->free_bytes / ret->growth_bytes_s : -1;
	return r;
}
