/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_FIGURES_H
#define HIVE_SVC_FIGURES_H
/*
 * The hive in numbers.
 */
#include "hive/db/plans.h"
#include "hive/svc/hive.h"

struct hive_figures {
	int64_t jobs[HIVE_JOB_CANCELLED + 1]; /* by state */
	int64_t jobs_held; /* in memory: those that have not ended, or that a probe still knows */
	struct hive_counts counts;
	int64_t dataset_bytes, database_bytes, resident_bytes;
	int64_t probes_up, probes_away, probes_unknown;
};

int hive_figures_read(struct hive *hive, struct hive_figures *ret);
/* Can the database be written? 0 or -errno. */
int hive_figures_ready(struct hive *hive);

/* The room for datasets. */
struct hive_store_figures {
	int64_t total_bytes, free_bytes, reserve_bytes; /* free: what may still be used, less the reserve */
	int64_t dataset_bytes;
	int64_t growth_bytes_s; /* mean of the last day, or since the first file if that is later */
	int64_t full_in_s;	/* if it goes on like that; -1: never */
};

/* -ENOENT: this hive has no store. */
int hive_figures_store(struct hive *hive, struct hive_store_figures *ret);

#endif
