/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_BUILD_H
#define HIVE_SVC_BUILD_H
/*
 * What was collected becomes a dataset: sums, manifest, README.
 */
#include "hive/svc/hive.h"
#include "hive/svc/jobs_logic.h"

/* The dataset's rows and texts; *ret_text (may stay NULL) is the caller's. Reads all files once; no lock is
 * held. */
int hive_build(struct hive *hive, const struct hive_effect *effect, int64_t *ret_pkts, int64_t *ret_bytes,
	       char **ret_text);
/*
 * The same for a dataset that was imported: its one file was looked at already, and has its row. reason NULL:
 * nothing is wrong with it.
 */
int hive_build_import(struct hive *hive, int64_t dataset_id, const char *reason, struct skep_err *err);

#endif
