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
	char *description;
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
	int64_t merged_bytes; /* of the pcap that all files make together; 0: not known */
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
	int64_t raw_bytes; /* of the capture inside; 0: not known */
	int64_t crc32; /* of the file, made when the dataset is built */
	int64_t side_bytes; /* its sidecar, NAME.json; 0: it has none */
	char *side_sha256;
	int64_t side_crc32;
};

/* What a probe said of its capture when it was over, for the manifest. */
struct hive_data_origin {
	struct hive_row head;
	int64_t dataset_id;
	int64_t job_link_id;
	char *capture; /* JSON */
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
	char *name; /* what, or whom, it is for */
	int64_t max_downloads; /* 0: no limit */
};

extern const struct hive_table hive_datasets;
extern const struct hive_table hive_files;
extern const struct hive_table hive_data_origins;
extern const struct hive_table hive_shares;

void hive_dataset_clear(struct hive_dataset *dataset);
void hive_file_clear(struct hive_file *file);
void hive_share_clear(struct hive_share *share);

#define _hive_dataset_ SKEP_CLEANUP(hive_dataset_clear)
#define _hive_file_ SKEP_CLEANUP(hive_file_clear)
#define _hive_share_ SKEP_CLEANUP(hive_share_clear)

/* One download more, if it is still allowed one; -EDQUOT: it is not. */
int hive_share_used(struct hive_tx *tx, int64_t share_id, int64_t now_ns);
/* Notes it, or puts it in place of what was noted. */
int hive_data_origin_put(struct hive_tx *tx, struct hive_data_origin *origin);
/* Of the dataset, by id; at most HIVE_PAGE_MAX. */
int hive_data_origins_of(struct hive_tx *tx, int64_t dataset_id, struct hive_rows *ret);
/* All files of the dataset, by name; the caller's, with `ret_n` rows of hive_files. */
int hive_files_of(struct hive_tx *tx, int64_t dataset_id, struct hive_file **ret, uint32_t *ret_n);
/* Notes what was computed of it: crc32 and side_crc32. */
int hive_file_note_sums(struct hive_tx *tx, const struct hive_file *file);
void hive_files_free(struct hive_file *files, uint32_t n);

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
