/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SQLite behind a small border; the only file that includes its header. Opens the file so that what was
 * committed survives a loss of power (WAL, synchronous=FULL), hands out one writer and a few readers, caches
 * prepared statements per connection, and turns SQLite's codes into -errno. Knows no table. Never lets two
 * writers of this process meet: they wait for a mutex, in the order in which the system wakes them, and other
 * processes are waited for BUSY_MS. Any thread; a transaction stays on the thread that began it.
 */
#include "hive/db/sql.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

#define BUSY_MS 10000
#define CACHE_SIZE 256 /* statements of one connection; a power of two; more are prepared anew each time */

struct hive_stmt {
	struct hive_tx *tx;
	sqlite3_stmt *handle;
	char *sql;
	bool busy;
	bool cached;
};

/* A connection, and the transaction that is open on it. */
struct hive_tx {
	struct hive_db *db;
	sqlite3 *handle;
	bool writer;
	bool taken; /* under db->lock */
	struct hive_stmt *cache[CACHE_SIZE];
};

struct hive_db {
	char *path;
	pthread_mutex_t write_lock;
	pthread_mutex_t lock; /* readers[].taken */
	pthread_cond_t freed;
	unsigned int n_readers;
	struct hive_tx writer;
	struct hive_tx readers[HIVE_DB_READERS_MAX];
};

static int error_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_CONSTRAINT:
		if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ||
		    rc == SQLITE_CONSTRAINT_ROWID)
			return -EEXIST;
		return rc == SQLITE_CONSTRAINT_FOREIGNKEY ? -ENOENT : -EINVAL;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_TOOBIG:
		return -E2BIG;
	default:
		return -EIO;
	}
}

static int refuse(struct skep_err *err, sqlite3 *handle, int rc, const char *path, const char *what)
{
	int r = error_of(rc);

	skep_err_set(err, r, "%s: %s: %s", path, what, handle ? sqlite3_errmsg(handle) : sqlite3_errstr(rc));
	if (r == -EBADMSG)
		skep_err_hint(err, "this is not a database, or it is damaged; restore a backup with: skep-hive restore");
	else if (r == -EBUSY)
		skep_err_hint(err, "another program holds the database; end it, or wait until it is done");
	return r;
}

/* ---- connections ---- */

static int connect_to(struct hive_db *db, struct hive_tx *tx, bool writer, struct skep_err *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
		    (writer ? SQLITE_OPEN_CREATE : 0);
	int rc = sqlite3_open_v2(db->path, &tx->handle, flags, NULL);

	tx->db = db;
	tx->writer = writer;
	if (rc != SQLITE_OK)
		return refuse(err, tx->handle, rc, db->path, "cannot be opened");
	sqlite3_busy_timeout(tx->handle, BUSY_MS);
	rc = sqlite3_exec(tx->handle,
			  "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
			  "PRAGMA trusted_schema=OFF; PRAGMA cache_size=-2000; PRAGMA temp_store=MEMORY;",
			  NULL, NULL, NULL);
	if (rc == SQLITE_OK && !writer)
		rc = sqlite3_exec(tx->handle, "PRAGMA query_only=ON", NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : refuse(err, tx->handle, rc, db->path, "cannot be set up");
}

static struct hive_stmt *stmt_free(struct hive_stmt *stmt)
{
	if (!stmt)
		return NULL;
	sqlite3_finalize(stmt->handle);
	free(stmt->sql);
	free(stmt);
	return NULL;
}

static void disconnect(struct hive_tx *tx)
{
	for (uint32_t i = 0; i < CACHE_SIZE; i++)
		tx->cache[i] = stmt_free(tx->cache[i]);
	if (tx->handle) {
		int rc = sqlite3_close(tx->handle);

		assert(rc == SQLITE_OK); /* a statement or a transaction was left open */
		(void)rc;
	}
	tx->handle = NULL;
}

struct hive_db *hive_db_close(struct hive_db *db)
{
	if (!db)
		return NULL;
	for (unsigned int i = 0; i < db->n_readers; i++)
		disconnect(&db->readers[i]);
	disconnect(&db->writer); /* last: it folds the WAL back into the file */
	pthread_mutex_destroy(&db->write_lock);
	pthread_mutex_destroy(&db->lock);
	pthread_cond_destroy(&db->freed);
	free(db->path);
	free(db);
	return NULL;
}

/* SQLite would create it with the umask's mode; it holds password hashes. */
static int create_private(const char *path, struct skep_err *err)
{
	_skep_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	return fd >= 0 ? 0 : skep_err_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
}

int hive_db_open(const char *path, unsigned int n_readers, struct hive_db **ret, struct skep_err *err)
{
	struct hive_db *db;
	int r = create_private(path, err);

	if (r < 0)
		return r;
	db = calloc(1, sizeof(*db));
	if (!db)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", path);
	pthread_mutex_init(&db->write_lock, NULL);
	pthread_mutex_init(&db->lock, NULL);
	pthread_cond_init(&db->freed, NULL);
	db->path = strdup(path);
	r = db->path ? connect_to(db, &db->writer, true, err) : -ENOMEM;
	n_readers = SKEP_MIN(SKEP_MAX(n_readers, 1u), (unsigned int)HIVE_DB_READERS_MAX);
	while (r == 0 && db->n_readers < n_readers) {
		r = connect_to(db, &db->readers[db->n_readers], false, err);
		db->n_readers++;
	}
	if (r < 0) {
		hive_db_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

const char *hive_db_path(const struct hive_db *db)
{
	return db->path;
}

/* ---- transactions ---- */

const char *hive_tx_error(struct hive_tx *tx)
{
	return sqlite3_errmsg(tx->handle);
}

static struct hive_tx *take_reader(struct hive_db *db)
{
	struct hive_tx *found = NULL;

	pthread_mutex_lock(&db->lock);
	while (!found) {
		for (unsigned int i = 0; i < db->n_readers && !found; i++)
			found = db->readers[i].taken ? NULL : &db->readers[i];
		if (!found)
			pthread_cond_wait(&db->freed, &db->lock);
	}
	found->taken = true;
	pthread_mutex_unlock(&db->lock);
	return found;
}

static void give_back(struct hive_tx *tx)
{
	struct hive_db *db = tx->db;

	if (tx->writer) {
		pthread_mutex_unlock(&db->write_lock);
		return;
	}
	pthread_mutex_lock(&db->lock);
	tx->taken = false;
	pthread_cond_signal(&db->freed);
	pthread_mutex_unlock(&db->lock);
}

static int begin(struct hive_tx *tx, const char *sql, struct hive_tx **ret)
{
	int rc = sqlite3_exec(tx->handle, sql, NULL, NULL, NULL);

	if (rc != SQLITE_OK) {
		give_back(tx);
		return error_of(rc);
	}
	*ret = tx;
	return 0;
}

int hive_db_read(struct hive_db *db, struct hive_tx **ret)
{
	return begin(take_reader(db), "BEGIN", ret);
}

int hive_db_write(struct hive_db *db, struct hive_tx **ret)
{
	pthread_mutex_lock(&db->write_lock);
	return begin(&db->writer, "BEGIN IMMEDIATE", ret);
}

/* Some failures (disk full) have rolled back already; a second ROLLBACK only says so. */
static void end(struct hive_tx *tx)
{
	if (!sqlite3_get_autocommit(tx->handle))
		sqlite3_exec(tx->handle, "ROLLBACK", NULL, NULL, NULL);
	assert(sqlite3_get_autocommit(tx->handle));
	give_back(tx);
}

int hive_tx_commit(struct hive_tx **tx)
{
	struct hive_tx *taken = TAKE_PTR(*tx);
	int rc = sqlite3_exec(taken->handle, "COMMIT", NULL, NULL, NULL);

	end(taken);
	return error_of(rc);
}

void hive_tx_abortp(struct hive_tx **tx)
{
	if (*tx)
		end(TAKE_PTR(*tx));
}

/* ---- statements ---- */

static uint32_t hash_of(const char *sql)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *sql; sql++)
		hash = (hash ^ (uint8_t)*sql) * 16777619u;
	return hash;
}

static int stmt_new(struct hive_tx *tx, const char *sql, bool keep, struct hive_stmt **ret)
{
	struct hive_stmt *stmt = calloc(1, sizeof(*stmt));
	int rc;

	if (!stmt)
		return -ENOMEM;
	rc = sqlite3_prepare_v3(tx->handle, sql, -1, keep ? SQLITE_PREPARE_PERSISTENT : 0, &stmt->handle,
				NULL);
	stmt->sql = strdup(sql);
	if (rc != SQLITE_OK || !stmt->sql) {
		stmt_free(stmt);
		return rc != SQLITE_OK ? error_of(rc) : -ENOMEM;
	}
	stmt->tx = tx;
	stmt->cached = keep;
	*ret = stmt;
	return 0;
}

int hive_stmt_prepare(struct hive_tx *tx, const char *sql, struct hive_stmt **ret)
{
	uint32_t slot = hash_of(sql) & (CACHE_SIZE - 1);
	struct hive_stmt *stmt = tx->cache[slot];
	bool mine = stmt && strcmp(stmt->sql, sql) == 0;
	int r;

	/*
	 * Another text in the slot, or a walk over the same one is going on: one that lives until it is done.
	 */
	if (stmt && (!mine || stmt->busy)) {
		r = stmt_new(tx, sql, false, &stmt);
	} else if (!stmt) {
		r = stmt_new(tx, sql, true, &stmt);
		if (r == 0)
			tx->cache[slot] = stmt;
	} else {
		r = 0;
	}
	if (r < 0)
		return r;
	stmt->busy = true;
	*ret = stmt;
	return 0;
}

void hive_stmt_donep(struct hive_stmt **p)
{
	struct hive_stmt *stmt = TAKE_PTR(*p);

	if (!stmt)
		return;
	if (!stmt->cached) {
		stmt_free(stmt);
		return;
	}
	sqlite3_reset(stmt->handle);
	sqlite3_clear_bindings(stmt->handle);
	stmt->busy = false;
}

int hive_stmt_bind_int(struct hive_stmt *stmt, int i, int64_t value)
{
	return error_of(sqlite3_bind_int64(stmt->handle, i, value));
}

int hive_stmt_bind_text(struct hive_stmt *stmt, int i, const char *value)
{
	return error_of(value ? sqlite3_bind_text(stmt->handle, i, value, -1, SQLITE_TRANSIENT)
			      : sqlite3_bind_null(stmt->handle, i));
}

int hive_stmt_next(struct hive_stmt *stmt)
{
	int rc = sqlite3_step(stmt->handle);

	return rc == SQLITE_ROW ? 1 : error_of(rc);
}

int64_t hive_stmt_int(struct hive_stmt *stmt, int column)
{
	return sqlite3_column_int64(stmt->handle, column);
}

const char *hive_stmt_text(struct hive_stmt *stmt, int column)
{
	return (const char *)sqlite3_column_text(stmt->handle, column);
}

int hive_stmt_dup(struct hive_stmt *stmt, int column, char **ret)
{
	const char *text = hive_stmt_text(stmt, column);
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

static int bind_all(struct hive_stmt *stmt, const char *types, va_list ap)
{
	int r = 0;

	for (int i = 1; r == 0 && types[i - 1]; i++) {
		int64_t number;

		switch (types[i - 1]) {
		case 't':
			r = hive_stmt_bind_text(stmt, i, va_arg(ap, const char *));
			break;
		case 'n':
			number = va_arg(ap, int64_t);
			r = number ? hive_stmt_bind_int(stmt, i, number) : hive_stmt_bind_text(stmt, i, NULL);
			break;
		default:
			assert(types[i - 1] == 'i');
			r = hive_stmt_bind_int(stmt, i, va_arg(ap, int64_t));
		}
	}
	return r;
}

static int query(struct hive_tx *tx, struct hive_stmt **ret, const char *sql, const char *types, va_list ap)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_stmt_prepare(tx, sql, &stmt);

	if (r == 0)
		r = bind_all(stmt, types, ap);
	if (r == 0)
		*ret = TAKE_PTR(stmt);
	return r;
}

int hive_sql_query(struct hive_tx *tx, struct hive_stmt **ret, const char *sql, const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = query(tx, ret, sql, types, ap);
	va_end(ap);
	return r;
}

static int run(struct hive_tx *tx, const char *sql, const char *types, va_list ap)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = query(tx, &stmt, sql, types, ap);

	while (r == 0) {
		r = hive_stmt_next(stmt);
		if (r == 0)
			return 0;
		if (r > 0)
			r = 0;
	}
	return r;
}

int hive_sql_run(struct hive_tx *tx, const char *sql, const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = run(tx, sql, types, ap);
	va_end(ap);
	return r;
}

int64_t hive_sql_change(struct hive_tx *tx, const char *sql, const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = run(tx, sql, types, ap);
	va_end(ap);
	return r < 0 ? r : sqlite3_changes64(tx->handle);
}

int hive_sql_int(struct hive_tx *tx, int64_t *ret, const char *sql, const char *types, ...)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	r = query(tx, &stmt, sql, types, ap);
	va_end(ap);
	if (r == 0)
		r = hive_stmt_next(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	*ret = hive_stmt_int(stmt, 0);
	return 0;
}

int hive_stmt_ints(struct hive_stmt *stmt, int64_t **ret, uint32_t *ret_n)
{
	_skep_free_ int64_t *ints = NULL;
	uint32_t n = 0, room = 0;
	int r;

	while ((r = hive_stmt_next(stmt)) > 0) {
		if (n == room) {
			int64_t *more = reallocarray(ints, room + 256, sizeof(*ints));

			if (!more)
				return -ENOMEM;
			ints = more;
			room += 256;
		}
		ints[n++] = hive_stmt_int(stmt, 0);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(ints);
	*ret_n = n;
	return 0;
}

int64_t hive_sql_last_id(struct hive_tx *tx)
{
	return sqlite3_last_insert_rowid(tx->handle);
}

/* ---- the whole file ---- */

int hive_db_copy(struct hive_db *db, const char *path, struct skep_err *err)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r;

	if (access(path, F_OK) == 0) {
		skep_err_set(err, SKEP_E_BUSY, "%s: is there already", path);
		skep_err_hint(err, "name a new file; a backup is never overwritten");
		return SKEP_E_BUSY;
	}
	r = create_private(path, err);
	if (r < 0)
		return r;
	/* VACUUM INTO wants no transaction, and accepts an empty file. */
	pthread_mutex_lock(&db->write_lock);
	r = stmt_new(&db->writer, "VACUUM INTO ?", false, &stmt);
	if (r == 0)
		r = hive_stmt_bind_text(stmt, 1, path);
	if (r == 0)
		r = hive_stmt_next(stmt);
	if (r < 0) {
		skep_err_set(err, r, "%s: the copy failed: %s", path, sqlite3_errmsg(db->writer.handle));
		unlink(path);
	}
	hive_stmt_donep(&stmt);
	pthread_mutex_unlock(&db->write_lock);
	return r;
}

/* A WAL that stayed behind would be taken for the new file's. */
int hive_db_replace(const char *path, const char *part, const char *old, struct skep_err *err)
{
	_skep_free_ char *wal = NULL, *shm = NULL;
	struct hive_db *db = NULL;
	int r = 0;

	if (asprintf(&wal, "%s-wal", path) < 0 || asprintf(&shm, "%s-shm", path) < 0)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", path);
	if (access(path, F_OK) == 0)
		r = hive_db_open(path, 1, &db, err); /* closing it folds the WAL into the file */
	hive_db_close(db);
	if (r == -EBADMSG)
		r = 0; /* damaged: that is why it is replaced */
	if (r == 0 && access(path, F_OK) == 0 && rename(path, old) < 0)
		r = skep_err_set(err, -errno, "%s: cannot be renamed: %s", path, strerror(errno));
	if (r < 0)
		return r;
	unlink(wal);
	unlink(shm);
	return rename(part, path) == 0 ? 0 : skep_err_set(err, -errno, "%s: cannot be renamed: %s", part, strerror(errno));
}

static int first_complaint(struct hive_tx *tx, const char *sql, const char *fine, struct skep_err *err)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt, sql, "");

	if (r == 0)
		r = hive_stmt_next(stmt);
	if (r == 0 || (r > 0 && fine && strcmp(hive_stmt_text(stmt, 0), fine) == 0))
		return 0;
	return skep_err_set(err, -EBADMSG, "%s: %s: %s", tx->db->path, sql,
			    r < 0 ? hive_tx_error(tx) : hive_stmt_text(stmt, 0));
}

int hive_db_check(struct hive_db *db, struct skep_err *err)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(db, &tx);

	if (r < 0)
		return skep_err_set(err, r, "%s: cannot be read: %s", db->path, strerror(-r));
	r = first_complaint(tx, "PRAGMA integrity_check(1)", "ok", err);
	return r < 0 ? r : first_complaint(tx, "PRAGMA foreign_key_check", NULL, err);
}
