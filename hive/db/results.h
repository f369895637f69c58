/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_DB_RESULTS_H
#define HIVE_DB_RESULTS_H
/*
 * Rows of what captures leave: datasets, their files, links to share them.
 */
#include "hive/db/row.h"

struct hive_dataset {
	struct hive_row head;
	int64_t owner_id;
	int64_t job_id;
	char *name;
	char *notes;
	char *folder; /* below the store's root */
	char *state;
	int64_t pinned;
	int64_t created_ns;
	int64_t expires_ns;
	int64_t first_ns; /* of its packets */
	int64_t last_ns;
	int64_t pkts;
	int64_t bytes; /* of the packets */
	int64_t stored_bytes; /* of the files */
	char *reasons;
};

struct hive_file {
	struct hive_row head;
	int64_t dataset_id;
	int64_t job_link_id;
	char *link_name;
	char *name;
	int64_t bytes;
	char *sha256;
	int64_t first_ns;
	int64_t last_ns;
	int64_t pkts;
	int64_t created_ns;
};

struct hive_share {
	struct hive_row head;
	int64_t dataset_id;
	int64_t owner_id;
	char *digest;
	char *password; /* Argon2id text; NULL: none */
	int64_t created_ns;
	int64_t expires_ns;
	int64_t revoked_ns;
	int64_t downloads;
	int64_t used_ns;
};

extern const struct hive_table hive_datasets;
extern const struct hive_table hive_files;
extern const struct hive_table hive_shares;

void hive_dataset_clear(struct hive_dataset *dataset);
void hive_file_clear(struct hive_file *file);
void hive_share_clear(struct hive_share *share);

#define _hive_dataset_ SKEP_CLEANUP(hive_dataset_clear)
#define _hive_file_ SKEP_CLEANUP(hive_file_clear)
#define _hive_share_ SKEP_CLEANUP(hive_share_clear)

/* -ENOENT */
int hive_dataset_of_job(struct hive_tx *tx, int64_t job_id, struct hive_dataset *ret);
int hive_file_find(struct hive_tx *tx, int64_t dataset_id, const char *name, struct hive_file *ret);
struct hive_files_sum {
	int64_t n, pkts, bytes, first_ns, last_ns;
};
/* Of the dataset; of one link of its job, if job_link_id is not 0. */
int hive_files_sum(struct hive_tx *tx, int64_t dataset_id, int64_t job_link_id, struct hive_files_sum *ret);
/* What a user's datasets take, or (user_id 0) all of them. */
int hive_datasets_bytes(struct hive_tx *tx, int64_t user_id, int64_t *ret);

#endif
