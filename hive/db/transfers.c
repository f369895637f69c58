/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of notes, imports, destinations, copies and of what is to be removed. They know names of
 * folders, never what is in them. Any thread that holds a transaction.
 */
#include "hive/db/transfers.h"

#include "hive/db/captures.h"

#include <errno.h>
#include <string.h>

const char *const hive_destination_names[] = { "directory", "s3", "sftp", NULL };

static const struct hive_field note_fields[] = {
	HIVE_FIELD(hive_note, dataset_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_note, author_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_note, author, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_FIELD(hive_note, text, HIVE_TEXT, 0),
	HIVE_FIELD(hive_note, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_note, changed_ns, HIVE_TIME, 0),
};

static const struct hive_field import_fields[] = {
	HIVE_FIELD(hive_import, owner_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_import, name, HIVE_TEXT, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_import, bytes, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_import, sha256, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_FIELD(hive_import, received_bytes, HIVE_INT, 0),
	HIVE_FIELD(hive_import, state, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_import, reason, HIVE_TEXT, 0),
	HIVE_FIELD(hive_import, dataset_id, HIVE_REF, HIVE_F_QUERY),
	HIVE_FIELD(hive_import, folder, HIVE_TEXT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_import, file, HIVE_TEXT, HIVE_F_SECRET),
	HIVE_FIELD(hive_import, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_import, changed_ns, HIVE_TIME, 0),
};

static const struct hive_field destination_fields[] = {
	HIVE_FIELD(hive_destination, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_NAMED(hive_destination, kind, hive_destination_names, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_destination, url, HIVE_TEXT, 0),
	HIVE_FIELD(hive_destination, user, HIVE_TEXT, 0),
	HIVE_FIELD(hive_destination, secret, HIVE_TEXT, HIVE_F_SECRET),
	HIVE_FIELD(hive_destination, region, HIVE_TEXT, 0),
	HIVE_FIELD(hive_destination, host_key, HIVE_TEXT, 0),
	HIVE_FIELD(hive_destination, description, HIVE_TEXT, 0),
	HIVE_FIELD(hive_destination, disabled, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_destination, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
};

static const struct hive_field copy_fields[] = {
	HIVE_FIELD(hive_copy, dataset_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_copy, destination_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_copy, owner_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_copy, state, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_copy, bytes, HIVE_INT, 0),
	HIVE_FIELD(hive_copy, done_bytes, HIVE_INT, 0),
	HIVE_FIELD(hive_copy, reason, HIVE_TEXT, 0),
	HIVE_FIELD(hive_copy, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_copy, ended_ns, HIVE_TIME, 0),
};

const struct hive_table hive_notes = HIVE_TABLE("notes", note_fields, hive_note);
const struct hive_table hive_imports = HIVE_TABLE("imports", import_fields, hive_import);
const struct hive_table hive_destinations = HIVE_TABLE("destinations", destination_fields, hive_destination);
const struct hive_table hive_copies = HIVE_TABLE("copies", copy_fields, hive_copy);

void hive_note_clear(struct hive_note *note)
{
	hive_row_clear(&hive_notes, note);
}

void hive_import_clear(struct hive_import *import)
{
	hive_row_clear(&hive_imports, import);
}

void hive_destination_clear(struct hive_destination *destination)
{
	hive_row_clear(&hive_destinations, destination);
}

void hive_copy_clear(struct hive_copy *copy)
{
	hive_row_clear(&hive_copies, copy);
}

static int first_in(struct hive_tx *tx, const struct hive_table *table, const char *state, void *ret)
{
	_hive_rows_ struct hive_rows rows = { .table = table };
	struct hive_list list = {
		.conds = { { .field = hive_field_find(table, "state"), .op = HIVE_EQ, .text = state } },
		.n_conds = 1,
		.limit = 1,
	};
	int r = hive_row_list(tx, table, &list, &rows);

	if (r < 0 || !rows.n)
		return r < 0 ? r : -ENOENT;
	memcpy(ret, rows.items, table->row_bytes);
	memset(rows.items, 0, table->row_bytes); /* its texts have moved */
	return 0;
}

int hive_import_in(struct hive_tx *tx, const char *state, struct hive_import *ret)
{
	return first_in(tx, &hive_imports, state, ret);
}

int hive_copy_in(struct hive_tx *tx, const char *state, struct hive_copy *ret)
{
	return first_in(tx, &hive_copies, state, ret);
}

int hive_copies_requeue(struct hive_tx *tx)
{
	return hive_sql_run(
		tx, "UPDATE copies SET state = 'waiting', version = version + 1 WHERE state = 'running'", "");
}

static int read_ids(struct hive_stmt *stmt, int64_t **ret, uint32_t *ret_n)
{
	_skep_free_ int64_t *ids = NULL;
	uint32_t n = 0;
	int r;

	while ((r = hive_stmt_next(stmt)) > 0) {
		int64_t *more = reallocarray(ids, n + 1, sizeof(*ids));

		if (!more)
			return -ENOMEM;
		ids = more;
		ids[n++] = hive_stmt_int(stmt, 0);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(ids);
	*ret_n = n;
	return 0;
}

int hive_imports_stale(struct hive_tx *tx, int64_t before_ns, int64_t **ret, uint32_t *ret_n)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(
		tx, &stmt, "SELECT id FROM imports WHERE state <> 'checking' AND changed_ns < ? LIMIT 100",
		"i", before_ns);

	return r < 0 ? r : read_ids(stmt, ret, ret_n);
}

int hive_storage_rule_of(struct hive_tx *tx, int64_t user_id, struct hive_storage_rule *ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(
		tx, &stmt,
		"SELECT CASE WHEN min(quota_bytes) > 0 THEN max(quota_bytes) ELSE 0 END,"
		" CASE WHEN min(retention_s) > 0 THEN max(retention_s) ELSE 0 END"
		" FROM groups WHERE id IN (SELECT group_id FROM group_members WHERE user_id = ?)",
		"i", user_id);

	if (r == 0)
		r = hive_stmt_next(stmt);
	if (r < 0)
		return r;
	*ret = (struct hive_storage_rule){ .quota_bytes = hive_stmt_int(stmt, 0),
					   .retention_s = hive_stmt_int(stmt, 1) };
	return 0;
}

int hive_storage_used(struct hive_tx *tx, int64_t user_id, int64_t *ret)
{
	return hive_sql_int(
		tx, ret,
		"SELECT (SELECT coalesce(sum(stored_bytes), 0) FROM datasets WHERE owner_id = ?1)"
		" + (SELECT coalesce(sum(limit_bytes), 0) FROM jobs WHERE owner_id = ?1 AND state < ?2)"
		" + (SELECT coalesce(sum(bytes), 0) FROM imports WHERE owner_id = ?1 AND state IN ('open', "
		"'checking'))",
		"ii", user_id, (int64_t)HIVE_JOB_DONE);
}

int hive_files_since(struct hive_tx *tx, int64_t since_ns, int64_t *ret)
{
	return hive_sql_int(tx, ret,
			    "SELECT coalesce(sum(bytes + side_bytes), 0) FROM files WHERE created_ns >= ?",
			    "i", since_ns);
}

int hive_files_first(struct hive_tx *tx, int64_t since_ns, int64_t *ret)
{
	return hive_sql_int(tx, ret, "SELECT coalesce(min(created_ns), 0) FROM files WHERE created_ns >= ?",
			    "i", since_ns);
}

int hive_trash_add(struct hive_tx *tx, const char *folder)
{
	return hive_sql_run(tx, "INSERT INTO trash (folder) VALUES (?) ON CONFLICT DO NOTHING", "t", folder);
}

int hive_trash_next(struct hive_tx *tx, char **ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt, "SELECT folder FROM trash LIMIT 1", "");

	if (r == 0)
		r = hive_stmt_next(stmt);
	return r <= 0 ? (r < 0 ? r : -ENOENT) : hive_stmt_dup(stmt, 0, ret);
}

int hive_trash_done(struct hive_tx *tx, const char *folder)
{
	return hive_sql_run(tx, "DELETE FROM trash WHERE folder = ?", "t", folder);
}

int hive_datasets_over(struct hive_tx *tx, int64_t now_ns, int64_t **ret, uint32_t *ret_n)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(
		tx, &stmt,
		"SELECT id FROM datasets WHERE expires_ns < ? AND NOT pinned AND state <> 'open' UNION"
		" SELECT d.id FROM datasets d JOIN jobs j ON j.id = d.job_id WHERE d.state = 'open' AND "
		"j.state >= ?"
		" AND j.ended_ns < ? LIMIT 100",
		"iii", now_ns, (int64_t)HIVE_JOB_DONE, now_ns - 10 * (int64_t)SKEP_NSEC_PER_SEC);

	return r < 0 ? r : read_ids(stmt, ret, ret_n);
}
