/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_COLLECT_H
#define HIVE_SVC_COLLECT_H
/*
 * Segments from a probe into the store, and what they make: a dataset.
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
/* Sums up what was collected. The dataset's rows; *ret_text (may stay NULL) is the caller's. */
int hive_build(struct hive *hive, const struct hive_effect *effect, int64_t *ret_pkts, int64_t *ret_bytes,
	       char **ret_text);

/*
 * A file of a dataset that the actor may see, for reading; the download is in the audit log. *ret_fd is the
 * caller's.
 */
int hive_dataset_files(struct hive *hive, const struct hive_actor *actor, int64_t dataset_id,
		       struct hive_list *list, struct hive_rows *ret, struct hive_complaints *complaints);
struct hive_file_of {
	int64_t dataset_id, file_id;
};

int hive_dataset_open(struct hive *hive, const struct hive_actor *actor, const struct hive_file_of *of,
		      struct hive_file *ret, int *ret_fd, struct hive_complaints *complaints);

#endif
