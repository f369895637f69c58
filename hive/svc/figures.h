/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_FIGURES_H
#define HIVE_SVC_FIGURES_H
/*
 * The hive in numbers.
 */
#include "hive/svc/hive.h"

struct hive_figures {
	int64_t jobs[HIVE_JOB_CANCELLED + 1]; /* by state */
	int64_t dataset_bytes;
};

int hive_figures_read(struct hive *hive, struct hive_figures *ret);
/* Can the database be written? 0 or -errno. */
int hive_figures_ready(struct hive *hive);

#endif
