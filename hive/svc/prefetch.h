/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_PREFETCH_H
#define HIVE_SVC_PREFETCH_H
/*
 * Segments are fetched while their capture runs, so that little is left to do when it ends, and little is
 * lost with a probe.
 */
#include "hive/svc/hive.h"

/* hive->prefetch. */
int hive_prefetch_start(struct hive *hive, struct skep_err *err);
void hive_prefetch_stop(struct hive *hive);
/* The capture of this part runs and has something. Cheap; may be called each second. */
void hive_prefetch_want(struct hive *hive, int64_t probe_id, int64_t job_id, int64_t link_id);
/*
 * Waits until nobody fetches the part, some seconds at most; then nobody does until it is given back. false:
 * somebody still does, and it is not held.
 */
bool hive_prefetch_hold(struct hive *hive, int64_t job_id, int64_t link_id);
void hive_prefetch_release(struct hive *hive, int64_t job_id, int64_t link_id);

#endif
