/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_DB_TRANSFERS_H
#define HIVE_DB_TRANSFERS_H
/*
 * Rows of what people do with datasets: notes on them, captures that are brought in, copies that are taken
 * elsewhere; and folders that are to be removed.
 */
#include "hive/db/results.h"

struct hive_note {
	struct hive_row head;
	int64_t dataset_id;
	int64_t author_id;
	char *author; /* as they were called then */
	char *text;
	int64_t created_ns;
	int64_t changed_ns;
};

/* A capture on its way in. state: "open", "checking", "done", "failed". */
struct hive_import {
	struct hive_row head;
	int64_t owner_id;
	char *name;
	int64_t bytes;
	char *sha256; /* as announced; NULL: it was not */
	int64_t received_bytes;
	char *state;
	char *reason;
	int64_t dataset_id; /* what it has become */
	char *folder;
	char *file;
	int64_t created_ns;
	int64_t changed_ns;
};

enum hive_destination_kind { HIVE_TO_DIRECTORY, HIVE_TO_S3, HIVE_TO_SFTP };

extern const char *const hive_destination_names[];

struct hive_destination {
	struct hive_row head;
	char *name;
	int64_t kind;
	char *url;	/* a directory; https://HOST/BUCKET/PREFIX; sftp://HOST/PATH */
	char *user;	/* access key, or login */
	char *secret;	/* secret key or password; the hive must send it, so it is stored as it is */
	char *region;	/* S3 */
	char *host_key; /* SFTP: SHA-256 of the host's key in base64 */
	char *description;
	int64_t disabled;
	int64_t created_ns;
};

/* state: "waiting", "running", "done", "failed". */
struct hive_copy {
	struct hive_row head;
	int64_t dataset_id;
	int64_t destination_id;
	int64_t owner_id;
	char *state;
	int64_t bytes; /* of its files, and how many of them are there, verified */
	int64_t done_bytes;
	char *reason;
	int64_t created_ns;
	int64_t ended_ns;
};

extern const struct hive_table hive_notes;
extern const struct hive_table hive_imports;
extern const struct hive_table hive_destinations;
extern const struct hive_table hive_copies;

void hive_note_clear(struct hive_note *note);
void hive_import_clear(struct hive_import *import);
void hive_destination_clear(struct hive_destination *destination);
void hive_copy_clear(struct hive_copy *copy);

#define _hive_note_ SKEP_CLEANUP(hive_note_clear)
#define _hive_import_ SKEP_CLEANUP(hive_import_clear)
#define _hive_destination_ SKEP_CLEANUP(hive_destination_clear)
#define _hive_copy_ SKEP_CLEANUP(hive_copy_clear)

/* The first by id in that state; -ENOENT. */
int hive_import_in(struct hive_tx *tx, const char *state, struct hive_import *ret);
int hive_copy_in(struct hive_tx *tx, const char *state, struct hive_copy *ret);
/* What is not over after a restart begins again. */
int hive_copies_requeue(struct hive_tx *tx);
/* Ids of those that nobody has changed since then; *ret is the caller's. */
int hive_imports_stale(struct hive_tx *tx, int64_t before_ns, int64_t **ret, uint32_t *ret_n);
/* What the user's groups allow, the most generous of them: 0 is no limit. */
struct hive_storage_rule {
	int64_t quota_bytes, retention_s;
};
int hive_storage_rule_of(struct hive_tx *tx, int64_t user_id, struct hive_storage_rule *ret);
/* What counts against the quota: datasets, and what unfinished jobs and imports may still bring. */
int hive_storage_used(struct hive_tx *tx, int64_t user_id, int64_t *ret);
/* Bytes of files that came into the store since then. */
int hive_files_since(struct hive_tx *tx, int64_t since_ns, int64_t *ret);
/* When the first of them came; 0: there is none. */
int hive_files_first(struct hive_tx *tx, int64_t since_ns, int64_t *ret);

/* The folder is removed from the store, later, whatever happens. */
int hive_trash_add(struct hive_tx *tx, const char *folder);
/* One of them, the caller's; -ENOENT. */
int hive_trash_next(struct hive_tx *tx, char **ret);
int hive_trash_done(struct hive_tx *tx, const char *folder);

/* Ids of datasets to be removed: expired and not pinned, or of jobs that ended without one. */
int hive_datasets_over(struct hive_tx *tx, int64_t now_ns, int64_t **ret, uint32_t *ret_n);

#endif
