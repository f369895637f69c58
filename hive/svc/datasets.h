/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_DATASETS_H
#define HIVE_SVC_DATASETS_H
/*
 * Datasets as people use them: their files, their manifest, and their end.
 */
#include "hive/svc/things.h"

int hive_dataset_files(struct hive *hive, const struct hive_actor *actor, int64_t dataset_id,
		       struct hive_list *list, struct hive_rows *ret, struct hive_complaints *complaints);
struct hive_file_of {
	int64_t dataset_id, file_id;
};
/*
 * A file of a dataset that the actor may see, for reading; the download is in the audit log. *ret_fd is the
 * caller's.
 */
int hive_dataset_open(struct hive *hive, const struct hive_actor *actor, const struct hive_file_of *of,
		      struct hive_file *ret, int *ret_fd, struct hive_complaints *complaints);
/* The text of its manifest, the caller's. SKEP_E_BUSY: it is not complete yet. */
int hive_dataset_manifest(struct hive *hive, const struct hive_actor *actor, int64_t dataset_id, char **ret,
			  struct hive_complaints *complaints);
/* Names and links as hive/export/merge.h takes them, the caller's. NULL: no memory. */
char *hive_dataset_list(const struct hive_file *files, uint32_t n);
int hive_dataset_note_download(struct hive *hive, const struct hive_actor *actor, int64_t dataset_id,
			       const char *what);

#endif
