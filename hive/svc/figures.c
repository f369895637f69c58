/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts what there is, when somebody asks; keeps nothing. Any thread.
 */
#include "hive/svc/figures.h"

#include "hive/db/transfers.h"
#include "hive/store/store.h"

#include <errno.h>

#define DAY_S INT64_C(86400)

int hive_figures_read(struct hive *hive, struct hive_figures *ret)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = hive_jobs_by_state(tx, ret->jobs);
	return r < 0 ? r : hive_datasets_bytes(tx, 0, &ret->dataset_bytes);
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
