/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of datasets. They say what there is and what it should be (size, SHA-256); the bytes are
 * hive/store's. Any thread that holds a transaction.
 */
#include "hive/db/results.h"

#include <errno.h>
#include <string.h>

static const struct hive_field dataset_fields[] = {
	HIVE_FIELD(hive_dataset, owner_id, HIVE_REF, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, job_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_dataset, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, description, HIVE_TEXT, 0),
	HIVE_FIELD(hive_dataset, folder, HIVE_TEXT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_dataset, state, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, pinned, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_dataset, expires_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, first_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, last_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, pkts, HIVE_INT, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, bytes, HIVE_INT, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, stored_bytes, HIVE_INT, HIVE_F_QUERY),
	HIVE_FIELD(hive_dataset, reasons, HIVE_TEXT, 0),
	HIVE_FIELD(hive_dataset, merged_bytes, HIVE_INT, HIVE_F_SECRET),
};

static const struct hive_field file_fields[] = {
	HIVE_FIELD(hive_file, dataset_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, job_link_id, HIVE_REF, HIVE_F_FIXED),
	HIVE_FIELD(hive_file, link_name, HIVE_TEXT, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, name, HIVE_TEXT, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, bytes, HIVE_INT, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, sha256, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_FIELD(hive_file, first_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, last_ns, HIVE_TIME, HIVE_F_FIXED),
	HIVE_FIELD(hive_file, pkts, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_file, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, raw_bytes, HIVE_INT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, crc32, HIVE_INT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, side_bytes, HIVE_INT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, side_sha256, HIVE_TEXT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_file, side_crc32, HIVE_INT, HIVE_F_SECRET | HIVE_F_FIXED),
};

static const struct hive_field origin_fields[] = {
	HIVE_FIELD(hive_data_origin, dataset_id, HIVE_REF, HIVE_F_FIXED),
	HIVE_FIELD(hive_data_origin, job_link_id, HIVE_REF, HIVE_F_FIXED),
	HIVE_FIELD(hive_data_origin, capture, HIVE_TEXT, 0),
};

static const struct hive_field share_fields[] = {
	HIVE_FIELD(hive_share, dataset_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_share, owner_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_share, digest, HIVE_TEXT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_share, password, HIVE_TEXT, HIVE_F_SECRET),
	HIVE_FIELD(hive_share, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_share, expires_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_share, revoked_ns, HIVE_TIME, HIVE_F_SECRET), /* one that is revoked is gone */
	HIVE_FIELD(hive_share, downloads, HIVE_INT, 0),
	HIVE_FIELD(hive_share, used_ns, HIVE_TIME, 0),
	HIVE_FIELD(hive_share, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_share, max_downloads, HIVE_INT, 0),
};

const struct hive_table hive_datasets = HIVE_TABLE("datasets", dataset_fields, hive_dataset);
const struct hive_table hive_files = HIVE_TABLE("files", file_fields, hive_file);
const struct hive_table hive_data_origins = HIVE_TABLE("origins", origin_fields, hive_data_origin);
const struct hive_table hive_shares = HIVE_TABLE("shares", share_fields, hive_share);

void hive_dataset_clear(struct hive_dataset *dataset)
{
	hive_row_clear(&hive_datasets, dataset);
}

void hive_file_clear(struct hive_file *file)
{
	hive_row_clear(&hive_files, file);
}

void hive_share_clear(struct hive_share *share)
{
	hive_row_clear(&hive_shares, share);
}

int hive_datasets_bytes(struct hive_tx *tx, int64_t user_id, int64_t *ret)
{
	return hive_sql_int(tx, ret, "SELECT coalesce(sum(stored_bytes), 0) FROM datasets WHERE ?1 = 0 OR owner_id = ?1", "i", user_id);
}

/* The only row of a list of at most one. */
static int only_row(const struct hive_table *table, struct hive_rows *rows, void *ret)
{
	if (!rows->n)
		return -ENOENT;
	memcpy(ret, rows->items, table->row_bytes);
	memset(rows->items, 0, table->row_bytes); /* its texts have moved */
	return 0;
}

int hive_dataset_of_job(struct hive_tx *tx, int64_t job_id, struct hive_dataset *ret)
{
	_hive_rows_ struct hive_rows rows = { .table = &hive_datasets };
	struct hive_list list = {
		.conds = { { .field = hive_field_find(&hive_datasets, "job_id"), .op = HIVE_EQ, .number = job_id } },
		.n_conds = 1,
		.limit = 1,
	};
	int r = hive_row_list(tx, &hive_datasets, &list, &rows);

	return r < 0 ? r : only_row(&hive_datasets, &rows, ret);
}

int hive_file_find(struct hive_tx *tx, int64_t dataset_id, const char *name, struct hive_file *ret)
{
	_hive_rows_ struct hive_rows rows = { .table = &hive_files };
	struct hive_list list = {
		.conds = { { .field = hive_field_find(&hive_files, "dataset_id"), .op = HIVE_EQ, .number = dataset_id },
			   { .field = hive_field_find(&hive_files, "name"), .op = HIVE_EQ, .text = name } },
		.n_conds = 2,
		.limit = 1,
	};
	int r = hive_row_list(tx, &hive_files, &list, &rows);

	return r < 0 ? r : only_row(&hive_files, &rows, ret);
}

int hive_files_sum(struct hive_tx *tx, int64_t dataset_id, int64_t job_link_id, struct hive_files_sum *ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt,
			       "SELECT count(*), coalesce(sum(pkts), 0), coalesce(sum(bytes), 0), min(first_ns), max(last_ns)"
			       " FROM files WHERE dataset_id = ?1 AND (?2 = 0 OR job_link_id = ?2)",
			       "ii", dataset_id, job_link_id);

	if (r == 0)
		r = hive_stmt_next(stmt);
	if (r < 0)
		return r;
	*ret = (struct hive_files_sum){ .n = hive_stmt_int(stmt, 0), .pkts = hive_stmt_int(stmt, 1),
					.bytes = hive_stmt_int(stmt, 2), .first_ns = hive_stmt_int(stmt, 3),
					.last_ns = hive_stmt_int(stmt, 4) };
	return 0;
}

int hive_share_used(struct hive_tx *tx, int64_t share_id, int64_t now_ns)
{
	int64_t n = hive_sql_change(tx,
				    "UPDATE shares SET downloads = downloads + 1, used_ns = ?, version = version + 1"
				    " WHERE id = ? AND (max_downloads = 0 OR downloads < max_downloads)",
				    "ii", now_ns, share_id);

	return n < 0 ? (int)n : n == 0 ? -EDQUOT : 0;
}

int hive_data_origin_put(struct hive_tx *tx, struct hive_data_origin *origin)
{
	int r = hive_sql_run(tx, "DELETE FROM origins WHERE dataset_id = ? AND job_link_id = ?", "ii", origin->dataset_id,
			     origin->job_link_id);

	return r < 0 ? r : hive_row_insert(tx, &hive_data_origins, origin);
}

static struct hive_list all_of(const struct hive_table *table, int64_t dataset_id)
{
	return (struct hive_list){
		.conds = { { .field = hive_field_find(table, "dataset_id"), .op = HIVE_EQ, .number = dataset_id } },
		.n_conds = 1,
		.limit = HIVE_PAGE_MAX,
	};
}

int hive_data_origins_of(struct hive_tx *tx, int64_t dataset_id, struct hive_rows *ret)
{
	struct hive_list list = all_of(&hive_data_origins, dataset_id);

	return hive_row_list(tx, &hive_data_origins, &list, ret);
}

int hive_file_note_sums(struct hive_tx *tx, const struct hive_file *file)
{
	return hive_sql_run(tx, "UPDATE files SET crc32 = ?, side_crc32 = ? WHERE id = ?", "iii", file->crc32, file->side_crc32,
			    file->head.id);
}

void hive_files_free(struct hive_file *files, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		hive_file_clear(&files[i]);
	free(files);
}

/* Moves the page's rows behind those that are there. */
static int append_files(struct hive_file **files, uint32_t *n, struct hive_rows *page)
{
	struct hive_file *more = reallocarray(*files, *n + page->n + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	*files = more;
	if (page->n)
		memcpy(more + *n, page->items, page->n * sizeof(*more));
	*n += page->n;
	page->n = 0;
	return 0;
}

int hive_files_of(struct hive_tx *tx, int64_t dataset_id, struct hive_file **ret, uint32_t *ret_n)
{
	struct hive_list list = all_of(&hive_files, dataset_id);
	_skep_free_ char *after = NULL;
	struct hive_file *files = NULL;
	uint32_t n = 0;
	int r;

	list.sort = hive_field_find(&hive_files, "name");
	do {
		_hive_rows_ struct hive_rows page = { .table = &hive_files };

		list.after = after;
		r = hive_row_list(tx, &hive_files, &list, &page);
		if (r == 0)
			r = append_files(&files, &n, &page);
		free(after);
		after = TAKE_PTR(page.next);
	} while (r == 0 && after);
	if (r < 0) {
		hive_files_free(files, n);
		return r;
	}
	*ret = files;
	*ret_n = n;
	return 0;
}
