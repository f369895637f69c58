/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_DB_SQL_H
#define HIVE_DB_SQL_H
/*
 * One SQLite file: a writer's connection and some readers' ones, transactions, cached statements.
 *
 *	_hive_tx_ struct hive_tx *tx = NULL;
 *	r = hive_db_write(db, &tx);
 *	if (r < 0) return r;
 *	r = hive_sql_run(tx, "UPDATE users SET disabled = ? WHERE id = ?", "ii", INT64_C(1), id);
 *	if (r < 0) return r;         // the transaction is rolled back as tx goes out of scope
 *	return hive_tx_commit(&tx);
 *
 * Errors are -errno: -EEXIST a unique value is taken, -ENOENT a row that is referred to is not there,
 * -EINVAL a value breaks a CHECK or NOT NULL, -EBUSY another process holds the file, -ENOSPC, -EBADMSG the
 * file is damaged, -EROFS a write in a reader's transaction, -EIO everything else (hive_tx_error() has
 * words).
 */
#include "common/err.h"

#include <stdbool.h>

struct hive_db;
struct hive_tx;
struct hive_stmt;

#define HIVE_DB_READERS_MAX 8

/*
 * Creates the file (mode 0600) if it is not there; WAL, foreign keys, synchronous=FULL. path "…" must be on a
 * local file system. Does not migrate: hive_schema_migrate().
 */
int hive_db_open(const char *path, unsigned int n_readers, struct hive_db **ret, struct skep_err *err);
struct hive_db *hive_db_close(struct hive_db *db); /* no transaction may be open */
const char *hive_db_path(const struct hive_db *db);
/* A whole, consistent copy into a new file while others read and write; refuses to overwrite. */
int hive_db_copy(struct hive_db *db, const char *path, struct skep_err *err);
/*
 * Puts the database file `part` in place of `path`, which becomes `old` (NULL: there was none) with what its
 * WAL holds. Nobody may have either open.
 */
int hive_db_replace(const char *path, const char *part, const char *old, struct skep_err *err);
/* PRAGMA integrity_check and foreign_key_check; 0 or -EBADMSG with the first complaint. */
int hive_db_check(struct hive_db *db, struct skep_err *err);

/*
 * A transaction belongs to the thread that began it. Readers see one state of the database; there is one
 * writer at a time, others wait. Never begin one while holding one: readers run out, writers deadlock.
 */
int hive_db_read(struct hive_db *db, struct hive_tx **ret);
int hive_db_write(struct hive_db *db, struct hive_tx **ret);
int hive_tx_commit(struct hive_tx **tx); /* ends it also on failure; *tx is NULL then */
void hive_tx_abortp(struct hive_tx **tx);
const char *hive_tx_error(struct hive_tx *tx); /* SQLite's own words for the last failure */

#define _hive_tx_ SKEP_CLEANUP(hive_tx_abortp)

/*
 * types: one letter per '?': 'i' int64_t, 't' const char * (NULL is SQL's NULL), 'n' int64_t where 0 is NULL.
 * Texts are copied.
 */
int hive_sql_run(struct hive_tx *tx, const char *sql, const char *types, ...);
/* As hive_sql_run(); the number of rows changed. */
int64_t hive_sql_change(struct hive_tx *tx, const char *sql, const char *types, ...);
int hive_sql_query(struct hive_tx *tx, struct hive_stmt **ret, const char *sql, const char *types, ...);
/* One integer from one row; -ENOENT if there is none. */
int hive_sql_int(struct hive_tx *tx, int64_t *ret, const char *sql, const char *types, ...);
/* The integers of the first column; *ret is the caller's. */
int hive_stmt_ints(struct hive_stmt *stmt, int64_t **ret, uint32_t *ret_n);
int64_t hive_sql_last_id(struct hive_tx *tx);

/* For statements whose values are not known at compile time: prepare, bind 1..n, step. */
int hive_stmt_prepare(struct hive_tx *tx, const char *sql, struct hive_stmt **ret);
int hive_stmt_bind_int(struct hive_stmt *stmt, int i, int64_t value);
int hive_stmt_bind_text(struct hive_stmt *stmt, int i, const char *value);
int hive_stmt_next(struct hive_stmt *stmt); /* 1: a row, 0: no more, or -errno */
int64_t hive_stmt_int(struct hive_stmt *stmt, int column);
/* Until the next step; NULL is NULL. */
const char *hive_stmt_text(struct hive_stmt *stmt, int column);
int hive_stmt_dup(struct hive_stmt *stmt, int column, char **ret); /* *ret is the caller's; NULL stays NULL */
void hive_stmt_donep(struct hive_stmt **stmt);

#define _hive_stmt_ SKEP_CLEANUP(hive_stmt_donep)

#endif
