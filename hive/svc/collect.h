/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_COLLECT_H
#define HIVE_SVC_COLLECT_H
/*
 * Segments from a probe into the store.
 */
#include "hive/svc/hive.h"
#include "hive/svc/jobs_logic.h"

struct hive_client;

/* The name of a capture at its probe: prefix of this hive, job, link. */
#define HIVE_CAPTURE_NAME 64
void hive_capture_name(const struct hive *hive, int64_t job_id, int64_t link_id,
		       char ret[static HIVE_CAPTURE_NAME]);
/* The other way round; false: it is none of this hive. */
bool hive_capture_of(const struct hive *hive, const char *name, int64_t *ret_job, int64_t *ret_link);

/*
 * Fetches what is not here yet. client NULL: the probe cannot be asked; what is here is counted. ret->text
 * points to err's text. Minutes; no lock is held.
 */
void hive_collect(struct hive *hive, struct hive_client *client, const struct hive_effect *effect,
		  struct hive_collected *ret, struct skep_err *err);
/*
 * While the capture runs: what is complete by now. Not for a part that hive_collect() is at. 0, or as it is
 * for a fetch; whatever it is, it is tried again.
 */
int hive_collect_early(struct hive *hive, struct hive_client *client, int64_t job_id, int64_t link_id,
		       struct skep_err *err);

#endif
