/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The schema. Every table has id and version (the API's ETag); times are nanoseconds since 1970 in UTC, NULL
 * for never; secrets are stored as digests, except what the hive itself must show to others (a probe's
 * token). Reads and writes no rows. Called at the start of the program, before any other thread is there.
 */
#include "hive/db/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEAD "id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, "

static const char *const accounts[] = {
	"CREATE TABLE users (" HEAD
	"name TEXT NOT NULL UNIQUE COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 64), full_name TEXT, email TEXT,"
	"source TEXT NOT NULL CHECK (source IN ('local', 'ldap')), password TEXT, ldap_dn TEXT,"
	"disabled INTEGER NOT NULL, created_ns INTEGER, last_login_ns INTEGER,"
	"checked_ns INTEGER) STRICT",

	"CREATE TABLE groups (" HEAD
	"name TEXT NOT NULL UNIQUE COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 64), description TEXT,"
	"rights INTEGER NOT NULL, all_links INTEGER NOT NULL, quota_bytes INTEGER NOT NULL CHECK (quota_bytes >= 0),"
	"quota_jobs INTEGER NOT NULL CHECK (quota_jobs >= 0), quota_duration_s INTEGER NOT NULL CHECK (quota_duration_s >= 0),"
	"quota_priority INTEGER NOT NULL CHECK (quota_priority BETWEEN 0 AND 3), forced_filter TEXT, ldap_group TEXT,"
	"created_ns INTEGER) STRICT",

	"CREATE TABLE group_members (" HEAD
	"group_id INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,"
	"user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,"
	"source TEXT NOT NULL CHECK (source IN ('local', 'ldap')), UNIQUE (group_id, user_id, source)) STRICT",
	"CREATE INDEX group_members_user ON group_members (user_id)",

	"CREATE TABLE tokens (" HEAD
	"user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, name TEXT NOT NULL, digest TEXT NOT NULL UNIQUE,"
	"rights INTEGER NOT NULL, created_ns INTEGER, expires_ns INTEGER, used_ns INTEGER, used_from TEXT,"
	"revoked_ns INTEGER) STRICT",
	"CREATE INDEX tokens_user ON tokens (user_id)",

	"CREATE TABLE sessions (" HEAD
	"user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, digest TEXT NOT NULL UNIQUE, csrf TEXT NOT NULL,"
	"created_ns INTEGER NOT NULL, seen_ns INTEGER NOT NULL, address TEXT, agent TEXT) STRICT",
	"CREATE INDEX sessions_user ON sessions (user_id)",

	"CREATE TABLE audit (" HEAD
	"time_ns INTEGER NOT NULL, actor TEXT NOT NULL, address TEXT, action TEXT NOT NULL, object TEXT, detail TEXT,"
	"hash TEXT NOT NULL) STRICT",
	/*
	 * Append-only for every statement of ours; who opens the file with another program is found by the
	 * chain.
	 */
	"CREATE TRIGGER audit_no_change BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
	"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",

	"CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",

	"CREATE TABLE answers (actor TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL, object INTEGER NOT NULL,"
	"created_ns INTEGER NOT NULL, PRIMARY KEY (actor, key)) STRICT, WITHOUT ROWID",
	NULL,
};

static const char *const captures[] = {
	"CREATE TABLE probes (" HEAD
	"name TEXT NOT NULL UNIQUE COLLATE NOCASE CHECK (length(name) BETWEEN 1 AND 64), address TEXT NOT NULL,"
	"key_pin TEXT, token TEXT NOT NULL, description TEXT, disabled INTEGER NOT NULL, created_ns INTEGER, seen_ns INTEGER,"
	"info TEXT) STRICT",

	"CREATE TABLE links (" HEAD
	"probe_id INTEGER NOT NULL REFERENCES probes ON DELETE CASCADE, name TEXT NOT NULL UNIQUE COLLATE NOCASE,"
	"interface TEXT NOT NULL, description TEXT, speed_bps INTEGER NOT NULL, max_jobs INTEGER NOT NULL CHECK (max_jobs >= 0),"
	"max_bps INTEGER NOT NULL CHECK (max_bps >= 0), disabled INTEGER NOT NULL, created_ns INTEGER, info TEXT,"
	"UNIQUE (probe_id, interface)) STRICT",

	"CREATE TABLE group_links (" HEAD
	"group_id INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,"
	"link_id INTEGER NOT NULL REFERENCES links ON DELETE CASCADE, UNIQUE (group_id, link_id)) STRICT",

	"CREATE TABLE jobs (" HEAD
	"owner_id INTEGER NOT NULL REFERENCES users, name TEXT NOT NULL, filter TEXT, forced_filter TEXT, description TEXT,"
	"priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3), start_mode INTEGER NOT NULL, missing INTEGER NOT NULL,"
	"limit_duration_s INTEGER NOT NULL, limit_bytes INTEGER NOT NULL, limit_pkts INTEGER NOT NULL,"
	"link_limit_bytes INTEGER NOT NULL, link_limit_pkts INTEGER NOT NULL,"
	"snaplen INTEGER NOT NULL, trim TEXT, sample_every INTEGER NOT NULL, sample_by_flow INTEGER NOT NULL,"
	"format TEXT NOT NULL, expected_bps INTEGER NOT NULL, start_ns INTEGER, created_ns INTEGER NOT NULL,"
	"state INTEGER NOT NULL, outcome INTEGER NOT NULL, reasons TEXT, held INTEGER NOT NULL, finish INTEGER NOT NULL,"
	"finish_by TEXT, started_ns INTEGER, ended_ns INTEGER, archived_ns INTEGER, cloned_from INTEGER,"
	"seen_pkts INTEGER NOT NULL, stored_pkts INTEGER NOT NULL, rejected_pkts INTEGER NOT NULL, dropped_pkts INTEGER NOT NULL,"
	"stored_bytes INTEGER NOT NULL, kept_pkts INTEGER NOT NULL, kept_bytes INTEGER NOT NULL) STRICT",
	"CREATE INDEX jobs_owner ON jobs (owner_id)",
	"CREATE INDEX jobs_state ON jobs (state)",
	"CREATE INDEX jobs_created ON jobs (created_ns)",
	"CREATE INDEX jobs_name ON jobs (name)",

	"CREATE TABLE job_links (" HEAD
	"job_id INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, link_id INTEGER NOT NULL, probe_id INTEGER NOT NULL,"
	"link_name TEXT NOT NULL, probe_name TEXT NOT NULL,"
	"state INTEGER NOT NULL, result INTEGER NOT NULL, on_probe INTEGER NOT NULL, capturing INTEGER NOT NULL,"
	"alive INTEGER NOT NULL, preempted INTEGER NOT NULL, hot_ns INTEGER, reason TEXT, started_ns INTEGER, ended_ns INTEGER,"
	"seen_pkts INTEGER NOT NULL, stored_pkts INTEGER NOT NULL, rejected_pkts INTEGER NOT NULL,"
	"dropped_pkts INTEGER NOT NULL, stored_bytes INTEGER NOT NULL, captured_ns INTEGER, gap INTEGER NOT NULL,"
	"collected_pkts INTEGER NOT NULL, collected_bytes INTEGER NOT NULL, UNIQUE (job_id, link_id)) STRICT",
	"CREATE INDEX job_links_link ON job_links (link_id, job_id)",
	"CREATE INDEX job_links_on_probe ON job_links (on_probe) WHERE on_probe",

	"CREATE TABLE job_events (" HEAD
	"job_id INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE, time_ns INTEGER NOT NULL, link_id INTEGER, text TEXT NOT NULL)"
	" STRICT",
	"CREATE INDEX job_events_job ON job_events (job_id, id)",

	"CREATE TABLE filters (" HEAD
	"owner_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, name TEXT NOT NULL, expression TEXT NOT NULL,"
	"description TEXT, shared INTEGER NOT NULL, created_ns INTEGER NOT NULL, UNIQUE (owner_id, name)) STRICT",
	NULL,
};

static const char *const results[] = {
	"CREATE TABLE datasets (" HEAD
	"owner_id INTEGER NOT NULL REFERENCES users, job_id INTEGER REFERENCES jobs, name TEXT NOT NULL, notes TEXT,"
	"folder TEXT NOT NULL UNIQUE, state TEXT NOT NULL CHECK (state IN ('open', 'whole', 'incomplete', 'deleted')),"
	"pinned INTEGER NOT NULL, created_ns INTEGER NOT NULL, expires_ns INTEGER, first_ns INTEGER, last_ns INTEGER,"
	"pkts INTEGER NOT NULL, bytes INTEGER NOT NULL, stored_bytes INTEGER NOT NULL, reasons TEXT) STRICT",
	"CREATE INDEX datasets_owner ON datasets (owner_id)",
	"CREATE INDEX datasets_job ON datasets (job_id)",

	"CREATE TABLE files (" HEAD
	"dataset_id INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE, job_link_id INTEGER, link_name TEXT,"
	"name TEXT NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, first_ns INTEGER, last_ns INTEGER,"
	"pkts INTEGER NOT NULL, created_ns INTEGER NOT NULL, UNIQUE (dataset_id, name)) STRICT",

	"CREATE TABLE shares (" HEAD
	"dataset_id INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE, owner_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,"
	"digest TEXT NOT NULL UNIQUE, password TEXT, created_ns INTEGER NOT NULL, expires_ns INTEGER, revoked_ns INTEGER,"
	"downloads INTEGER NOT NULL, used_ns INTEGER) STRICT",
	NULL,
};

static const char *const exports[] = {
	"ALTER TABLE datasets RENAME COLUMN notes TO description",
	/* of the pcap that all files make together, once it was made; 0: not known */
	"ALTER TABLE datasets ADD COLUMN merged_bytes INTEGER NOT NULL DEFAULT 0",
	/* of the capture inside the file; of the file; of its sidecar, 0: it has none */
	"ALTER TABLE files ADD COLUMN raw_bytes INTEGER NOT NULL DEFAULT 0",
	"ALTER TABLE files ADD COLUMN crc32 INTEGER NOT NULL DEFAULT 0",
	"ALTER TABLE files ADD COLUMN side_bytes INTEGER NOT NULL DEFAULT 0",
	"ALTER TABLE files ADD COLUMN side_sha256 TEXT",
	"ALTER TABLE files ADD COLUMN side_crc32 INTEGER NOT NULL DEFAULT 0",

	"CREATE TABLE origins (" HEAD
	"dataset_id INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE, job_link_id INTEGER NOT NULL, capture TEXT NOT NULL,"
	"UNIQUE (dataset_id, job_link_id)) STRICT",
	NULL,
};

static const char *const plans[] = {
	"ALTER TABLE jobs ADD COLUMN kind INTEGER NOT NULL DEFAULT 0",
	"ALTER TABLE jobs ADD COLUMN ring_duration_s INTEGER NOT NULL DEFAULT 0",
	"ALTER TABLE jobs ADD COLUMN ring_bytes INTEGER NOT NULL DEFAULT 0",
	"ALTER TABLE jobs ADD COLUMN ring_id INTEGER",
	"ALTER TABLE jobs ADD COLUMN from_ns INTEGER",
	"ALTER TABLE jobs ADD COLUMN to_ns INTEGER",
	"ALTER TABLE jobs ADD COLUMN end_ns INTEGER",
	"ALTER TABLE jobs ADD COLUMN schedule_id INTEGER",
	"CREATE INDEX jobs_ring ON jobs (ring_id) WHERE ring_id IS NOT NULL",
	"CREATE INDEX jobs_schedule ON jobs (schedule_id) WHERE schedule_id IS NOT NULL",
	"CREATE INDEX jobs_kind ON jobs (kind) WHERE kind <> 0",

	"CREATE TABLE templates (" HEAD
	"owner_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, name TEXT NOT NULL, description TEXT,"
	"shared INTEGER NOT NULL, job TEXT NOT NULL, created_ns INTEGER NOT NULL, UNIQUE (owner_id, name)) STRICT",

	"CREATE TABLE schedules (" HEAD
	"owner_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, name TEXT NOT NULL, description TEXT,"
	"disabled INTEGER NOT NULL, cron TEXT NOT NULL, from_ns INTEGER, until_ns INTEGER, window_s INTEGER NOT NULL,"
	"repeat INTEGER NOT NULL, missed_runs INTEGER NOT NULL, job TEXT NOT NULL, created_ns INTEGER NOT NULL, next_ns INTEGER,"
	"last_ns INTEGER, last_job_id INTEGER, runs INTEGER NOT NULL, missed INTEGER NOT NULL, reason TEXT,"
	"UNIQUE (owner_id, name)) STRICT",
	"CREATE INDEX schedules_next ON schedules (next_ns) WHERE next_ns IS NOT NULL",

	"CREATE TABLE webhooks (" HEAD
	"owner_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, name TEXT NOT NULL, url TEXT NOT NULL,"
	"events INTEGER NOT NULL, secret TEXT NOT NULL, disabled INTEGER NOT NULL, created_ns INTEGER NOT NULL,"
	"UNIQUE (owner_id, name)) STRICT",

	"CREATE TABLE deliveries (" HEAD
	"webhook_id INTEGER NOT NULL REFERENCES webhooks ON DELETE CASCADE, event INTEGER NOT NULL, job_id INTEGER,"
	"created_ns INTEGER NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL, next_ns INTEGER, done_ns INTEGER,"
	"status INTEGER NOT NULL, answer TEXT) STRICT",
	"CREATE INDEX deliveries_next ON deliveries (next_ns) WHERE next_ns IS NOT NULL",
	"CREATE INDEX deliveries_webhook ON deliveries (webhook_id, id)",
	NULL,
};

static const char *const transfers[] = {
	"ALTER TABLE groups ADD COLUMN retention_s INTEGER NOT NULL DEFAULT 0 CHECK (retention_s >= 0)",
	"ALTER TABLE shares ADD COLUMN name TEXT NOT NULL DEFAULT ''",
	"ALTER TABLE shares ADD COLUMN max_downloads INTEGER NOT NULL DEFAULT 0 CHECK (max_downloads >= 0)",
	"CREATE INDEX shares_dataset ON shares (dataset_id)",

	"CREATE TABLE notes (" HEAD
	"dataset_id INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE,"
	"author_id INTEGER REFERENCES users ON DELETE SET NULL, author TEXT NOT NULL, text TEXT NOT NULL,"
	"created_ns INTEGER NOT NULL, changed_ns INTEGER) STRICT",
	"CREATE INDEX notes_dataset ON notes (dataset_id)",

	"CREATE TABLE imports (" HEAD
	"owner_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, name TEXT NOT NULL, bytes INTEGER NOT NULL CHECK (bytes > 0),"
	"sha256 TEXT, received_bytes INTEGER NOT NULL, state TEXT NOT NULL CHECK (state IN ('open', 'checking', 'done', 'failed')),"
	"reason TEXT, dataset_id INTEGER REFERENCES datasets ON DELETE SET NULL, folder TEXT NOT NULL UNIQUE, file TEXT NOT NULL,"
	"created_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL) STRICT",
	"CREATE INDEX imports_owner ON imports (owner_id)",

	"CREATE TABLE destinations (" HEAD
	"name TEXT NOT NULL UNIQUE COLLATE NOCASE, kind INTEGER NOT NULL, url TEXT NOT NULL, user TEXT, secret TEXT, region TEXT,"
	"host_key TEXT, description TEXT, disabled INTEGER NOT NULL, created_ns INTEGER NOT NULL) STRICT",

	"CREATE TABLE copies (" HEAD
	"dataset_id INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE,"
	"destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE, owner_id INTEGER NOT NULL,"
	"state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')), bytes INTEGER NOT NULL,"
	"done_bytes INTEGER NOT NULL, reason TEXT, created_ns INTEGER NOT NULL, ended_ns INTEGER) STRICT",
	"CREATE INDEX copies_dataset ON copies (dataset_id)",
	"CREATE INDEX copies_state ON copies (state)",

	"CREATE TABLE trash (folder TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
	NULL,
};

static const struct {
	const char *about;
	const char *const *statements;
} migrations[] = {
	{ "accounts, sessions, audit log", accounts },
	{ "probes, links, jobs", captures },
	{ "datasets", results },
	{ "manifests and merged downloads of datasets", exports },
	{ "rings, templates, schedules, webhooks", plans },
	{ "shares, notes, imports, copies", transfers },
};

int64_t hive_schema_newest(void)
{
	return ARRAY_LEN(migrations);
}

int hive_schema_version(struct hive_db *db, int64_t *ret)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(db, &tx);

	return r < 0 ? r : hive_sql_int(tx, ret, "PRAGMA user_version", "");
}

static int migrate_one(struct hive_db *db, int64_t version, struct skep_err *err)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	char pragma[64];
	int r = hive_db_write(db, &tx);

	if (r < 0)
		return skep_err_set(err, r, "%s: cannot be written: %s", hive_db_path(db), strerror(-r));
	for (const char *const *sql = migrations[version - 1].statements; r == 0 && *sql; sql++)
		r = hive_sql_run(tx, *sql, "");
	snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %" PRId64, version);
	if (r == 0)
		r = hive_sql_run(tx, pragma, "");
	if (r < 0)
		return skep_err_set(err, r, "%s: migration %" PRId64 " (%s) failed: %s", hive_db_path(db), version,
				    migrations[version - 1].about, hive_tx_error(tx));
	r = hive_tx_commit(&tx);
	return r == 0 ? 0 : skep_err_set(err, r, "%s: migration %" PRId64 ": %s", hive_db_path(db), version, strerror(-r));
}

static int copy_first(struct hive_db *db, int64_t version, struct skep_err *err)
{
	_skep_free_ char *path = NULL;

	if (asprintf(&path, "%s.before-v%" PRId64, hive_db_path(db), version) < 0) {
		path = NULL;
		return skep_err_set(err, -ENOMEM, "%s: out of memory", hive_db_path(db));
	}
	/* From a migration that failed before: it holds the same, for nothing was changed since. */
	if (access(path, F_OK) == 0)
		unlink(path);
	return hive_db_copy(db, path, err);
}

int hive_schema_migrate_to(struct hive_db *db, int64_t newest, struct skep_err *err)
{
	int64_t version = 0;
	int r = hive_schema_version(db, &version);

	if (r < 0)
		return skep_err_set(err, r, "%s: cannot be read: %s", hive_db_path(db), strerror(-r));
	if (version > newest) {
		skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: is of version %" PRId64 ", this program knows up to %" PRId64,
			     hive_db_path(db), version, newest);
		skep_err_hint(err, "start the newer skep-hive, or restore the copy %s.before-v%" PRId64, hive_db_path(db),
			      newest + 1);
		return SKEP_E_UNSUPPORTED;
	}
	if (version > 0 && version < newest)
		r = copy_first(db, version + 1, err);
	while (r == 0 && version < newest)
		r = migrate_one(db, ++version, err);
	return r;
}

int hive_schema_migrate(struct hive_db *db, struct skep_err *err)
{
	return hive_schema_migrate_to(db, hive_schema_newest(), err);
}
