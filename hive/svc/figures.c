/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts what there is, when somebody asks; keeps nothing. Any thread.
 */
#include "hive/svc/figures.h"

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
