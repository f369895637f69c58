/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, on real SQLite files: migrations go forward only and leave a copy; what was committed survives kill
 * -9, what was not leaves nothing; a struct comes back as it was stored, in each table; versions catch lost
 * updates; pages of any order join to the whole list while rows come and go; the audit log refuses to be
 * changed.
 */
#include "tests/hive/db.h"

#include "hive/db/accounts.h"
#include "hive/db/captures.h"
#include "hive/db/plans.h"
#include "hive/db/results.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const struct hive_table *const all_tables[] = {
	&hive_users,	  &hive_groups,	 &hive_members,	 &hive_tokens, &hive_sessions,
	&hive_audits,	  &hive_probes,	 &hive_links,	 &hive_jobs_table,   &hive_job_links,
	&hive_job_events, &hive_filters, &hive_datasets, &hive_files,  &hive_shares,
	&hive_templates, &hive_schedules, &hive_webhooks, &hive_deliveries,
};

static int setup(void **state)
{
	struct temp_db *temp = calloc(1, sizeof(*temp));

	temp_db_open(temp, true);
	*state = temp;
	return 0;
}

static int teardown(void **state)
{
	temp_db_close(*state);
	free(*state);
	return 0;
}

static struct hive_db *db_of(void **state)
{
	return ((struct temp_db *)*state)->db;
}

static int64_t add_user(struct hive_tx *tx, const char *name, const char *full_name, int64_t last_login_ns)
{
	struct hive_user user = { .name = (char *)name, .full_name = (char *)full_name, .source = (char *)"local",
				  .last_login_ns = last_login_ns };

	assert_int_equal(hive_row_insert(tx, &hive_users, &user), 0);
	assert_int_equal(user.head.version, 1);
	return user.head.id;
}

/* ---- the file ---- */

static void file_is_private_and_migrated_once(void **state)
{
	struct temp_db *temp = *state;
	struct skep_err err = SKEP_ERR_NULL;
	struct stat st;
	int64_t version = 0;

	assert_int_equal(stat(temp->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(hive_schema_version(temp->db, &version), 0);
	assert_int_equal(version, hive_schema_newest());
	assert_int_equal(hive_schema_migrate(temp->db, &err), 0);
	assert_int_equal(hive_db_check(temp->db, &err), 0);
}

static void migration_leaves_a_copy_of_what_was(void **state)
{
	struct temp_db temp;
	struct hive_db *copy = NULL;
	struct hive_tx *tx = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	char path[128];
	int64_t n = 0;

	(void)state;
	temp_db_open(&temp, false);
	assert_int_equal(hive_schema_migrate_to(temp.db, 2, &err), 0);
	assert_int_equal(hive_db_write(temp.db, &tx), 0);
	add_user(tx, "ada", NULL, 0);
	assert_int_equal(hive_tx_commit(&tx), 0);
	assert_int_equal(hive_schema_migrate(temp.db, &err), 0);
	snprintf(path, sizeof(path), "%s.before-v3", temp.path);
	assert_int_equal(hive_db_open(path, 1, &copy, &err), 0);
	assert_int_equal(hive_schema_version(copy, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(hive_db_read(copy, &tx), 0);
	assert_int_equal(hive_sql_int(tx, &n, "SELECT count(*) FROM users", ""), 0);
	assert_int_equal(n, 1);
	hive_tx_abortp(&tx);
	hive_db_close(copy);
	temp_db_close(&temp);
}

static void newer_file_is_refused(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;

	assert_int_equal(hive_schema_migrate_to(db_of(state), 1, &err), SKEP_E_UNSUPPORTED);
	assert_non_null(strstr(err.text, "is of version"));
	assert_non_null(strstr(err.hint, "newer skep-hive"));
}

static void not_a_database_is_refused(void **state)
{
	struct temp_db *temp = *state;
	struct hive_db *db = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/text", temp->folder);
	file = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		fputs("this is no database\n", file);
	fclose(file);
	assert_int_equal(hive_db_open(path, 1, &db, &err), -EBADMSG);
	assert_null(db);
	assert_non_null(strstr(err.hint, "restore"));
}

static void copy_is_whole_and_never_overwrites(void **state)
{
	struct temp_db *temp = *state;
	struct hive_db *copy = NULL;
	struct hive_tx *tx = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	char path[128];
	int64_t n = 0;

	assert_int_equal(hive_db_write(temp->db, &tx), 0);
	add_user(tx, "ada", NULL, 0);
	assert_int_equal(hive_tx_commit(&tx), 0);
	snprintf(path, sizeof(path), "%s/copy.db", temp->folder);
	assert_int_equal(hive_db_copy(temp->db, path, &err), 0);
	assert_int_equal(hive_db_copy(temp->db, path, &err), SKEP_E_BUSY);
	assert_int_equal(hive_db_open(path, 1, &copy, &err), 0);
	assert_int_equal(hive_db_check(copy, &err), 0);
	assert_int_equal(hive_db_read(copy, &tx), 0);
	assert_int_equal(hive_sql_int(tx, &n, "SELECT count(*) FROM users WHERE name = 'ada'", ""), 0);
	assert_int_equal(n, 1);
	hive_tx_abortp(&tx);
	hive_db_close(copy);
}

/* The child commits users one by one and tells each through a pipe; it is killed in the middle, 20 times. */
static void committed_survives_kill_9(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		struct temp_db temp;
		struct hive_tx *tx = NULL;
		struct skep_err err = SKEP_ERR_NULL;
		int64_t told = 0, stored = 0;
		int fds[2], status;
		char byte;
		pid_t pid;

		temp_db_open(&temp, true);
		temp.db = hive_db_close(temp.db);
		assert_int_equal(pipe(fds), 0);
		pid = fork();
		if (pid == 0) {
			char name[32];

			if (hive_db_open(temp.path, 1, &temp.db, &err))
				_exit(1);
			for (int i = 0;; i++) {
				struct hive_user user = { .name = name, .source = (char *)"local" };

				snprintf(name, sizeof(name), "user%d", i);
				if (hive_db_write(temp.db, &tx) || hive_row_insert(tx, &hive_users, &user) ||
				    hive_tx_commit(&tx) || write(fds[1], "", 1) != 1)
					_exit(1);
			}
		}
		close(fds[1]);
		while (told < 3 + round && read(fds[0], &byte, 1) == 1)
			told++;
		usleep((useconds_t)(round * 211));
		kill(pid, SIGKILL);
		while (read(fds[0], &byte, 1) == 1)
			told++;
		close(fds[0]);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(hive_db_open(temp.path, 1, &temp.db, &err), 0);
		assert_int_equal(hive_db_check(temp.db, &err), 0);
		assert_int_equal(hive_db_read(temp.db, &tx), 0);
		assert_int_equal(hive_sql_int(tx, &stored, "SELECT count(*) FROM users", ""), 0);
		hive_tx_abortp(&tx);
		assert_true(told >= 3 && stored >= told && stored <= told + 1);
		temp_db_close(&temp);
	}
}

/* ---- transactions ---- */

static void without_commit_nothing_happened(void **state)
{
	struct hive_tx *tx = NULL;
	int64_t n = 1;

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	add_user(tx, "ada", NULL, 0);
	hive_tx_abortp(&tx);
	assert_null(tx);
	assert_int_equal(hive_db_read(db_of(state), &tx), 0);
	assert_int_equal(hive_sql_int(tx, &n, "SELECT count(*) FROM users", ""), 0);
	assert_int_equal(n, 0);
	assert_int_equal(hive_sql_run(tx, "DELETE FROM users", ""), -EROFS);
	hive_tx_abortp(&tx);
}

static void reader_keeps_its_state_while_another_writes(void **state)
{
	struct hive_tx *reader = NULL, *writer = NULL;
	int64_t n = 1;

	assert_int_equal(hive_db_read(db_of(state), &reader), 0);
	assert_int_equal(hive_sql_int(reader, &n, "SELECT count(*) FROM users", ""), 0);
	assert_int_equal(hive_db_write(db_of(state), &writer), 0);
	add_user(writer, "ada", NULL, 0);
	assert_int_equal(hive_tx_commit(&writer), 0);
	assert_int_equal(hive_sql_int(reader, &n, "SELECT count(*) FROM users", ""), 0);
	assert_int_equal(n, 0);
	hive_tx_abortp(&reader);
	assert_int_equal(hive_db_read(db_of(state), &reader), 0);
	assert_int_equal(hive_sql_int(reader, &n, "SELECT count(*) FROM users", ""), 0);
	assert_int_equal(n, 1);
	hive_tx_abortp(&reader);
}

/* ---- rows ---- */

/* Every field of every table gets a value of its own and must come back in its own place. */
static void each_table_returns_what_it_was_given(void **state)
{
	struct hive_tx *tx = NULL;

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	/* values are not real ids here */
	assert_int_equal(hive_sql_run(tx, "PRAGMA defer_foreign_keys = ON", ""), 0);
	for (size_t t = 0; t < ARRAY_LEN(all_tables); t++) {
		const struct hive_table *table = all_tables[t];
		char *row = calloc(1, table->row_bytes), *again = calloc(1, table->row_bytes);

		for (uint32_t i = 0; i < table->n_fields; i++) {
			const struct hive_field *field = &table->fields[i];

			if (field->kind == HIVE_TEXT && strcmp(field->name, "source") == 0)
				*hive_field_text(field, row) = strdup("ldap");
			else if (field->kind == HIVE_TEXT && strcmp(field->name, "state") == 0)
				*hive_field_text(field, row) = strdup("whole");
			else if (field->kind == HIVE_TEXT)
				assert_true(asprintf(hive_field_text(field, row), "%s ' \" ü", field->name) > 0);
			else
				*hive_field_int(field, row) = field->kind == HIVE_BOOL ? 1 :
							      strstr(field->name, "priority") ? 3 : INT64_C(1) << (40 - i % 40);
		}
		if (hive_row_insert(tx, table, row))
			fail_msg("%s: %s", table->name, hive_tx_error(tx));
		assert_int_equal(hive_row_get(tx, table, ((struct hive_row *)row)->id, again), 0);
		for (uint32_t i = 0; i < table->n_fields; i++) {
			const struct hive_field *field = &table->fields[i];

			if (field->kind == HIVE_TEXT)
				assert_string_equal(*hive_field_text(field, row),
						    *hive_field_text(field, again));
			else
				assert_int_equal(*hive_field_int(field, row), *hive_field_int(field, again));
		}
		hive_row_clear(table, row);
		hive_row_clear(table, again);
		free(row);
		free(again);
	}
	hive_tx_abortp(&tx);
}

static void versions_catch_lost_updates(void **state)
{
	_hive_user_ struct hive_user mine = { 0 }, theirs = { 0 };
	struct hive_tx *tx = NULL;
	int64_t id;

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	id = add_user(tx, "ada", "Ada", 0);
	assert_int_equal(hive_row_get(tx, &hive_users, id, &mine), 0);
	assert_int_equal(hive_row_get(tx, &hive_users, id, &theirs), 0);
	theirs.disabled = 1;
	assert_int_equal(hive_row_update(tx, &hive_users, &theirs), 0);
	assert_int_equal(theirs.head.version, 2);
	assert_int_equal(hive_row_update(tx, &hive_users, &mine), -ESTALE);
	assert_int_equal(hive_row_delete(tx, &hive_users, id, 1), -ESTALE);
	assert_int_equal(hive_row_delete(tx, &hive_users, id, 2), 0);
	assert_int_equal(hive_row_update(tx, &hive_users, &theirs), -ENOENT);
	assert_int_equal(hive_row_delete(tx, &hive_users, id, 0), -ENOENT);
	hive_tx_abortp(&tx);
}

static void constraints_have_their_own_errors(void **state)
{
	struct hive_user twin = { .name = (char *)"ADA", .source = (char *)"local" };
	struct hive_user odd = { .name = (char *)"bob", .source = (char *)"telepathy" };
	struct hive_job job = { .owner_id = 999, .name = (char *)"x", .format = (char *)"pcap", .created_ns = 1 };
	struct hive_probe probe = { .name = (char *)"p", .address = (char *)"a", .token = (char *)"t" };
	struct hive_tx *tx = NULL;
	int64_t id;

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	id = add_user(tx, "ada", NULL, 0);
	assert_int_equal(hive_row_insert(tx, &hive_users, &twin), -EEXIST);
	assert_int_equal(hive_row_insert(tx, &hive_users, &odd), -EINVAL);
	assert_int_equal(hive_row_insert(tx, &hive_jobs_table, &job), -ENOENT);
	job.owner_id = id;
	assert_int_equal(hive_row_insert(tx, &hive_jobs_table, &job), 0);
	assert_int_equal(hive_row_delete(tx, &hive_users, id, 0), -EBUSY);
	assert_int_equal(hive_row_insert(tx, &hive_probes, &probe), 0);
	hive_tx_abortp(&tx);
}

/* ---- lists ---- */

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Walks the list in pages; the ids in ret; n of them. */
static uint32_t walk(struct hive_tx *tx, struct hive_list *list, int64_t *ret, uint32_t room)
{
	char *after = NULL;
	uint32_t n = 0;

	do {
		_hive_rows_ struct hive_rows rows = { .table = &hive_users };

		list->after = after;
		assert_int_equal(hive_row_list(tx, &hive_users, list, &rows), 0);
		assert_true(rows.n <= list->limit && n + rows.n <= room);
		for (uint32_t i = 0; i < rows.n; i++)
			ret[n++] = ((struct hive_row *)hive_rows_at(&rows, i))->id;
		free(after);
		after = TAKE_PTR(rows.next);
	} while (after);
	return n;
}

static void pages_join_to_the_list_in_any_order(void **state)
{
	static const char *const sorts[] = { NULL, "name", "full_name", "last_login_ns", "disabled" };
	struct hive_tx *tx = NULL;
	uint32_t seed = 1;
	int64_t whole[64], paged[64];

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	for (int i = 0; i < 50; i++) {
		char name[32], full[32];

		snprintf(name, sizeof(name), "u%02u'%%_%d", next_random(&seed) % 100, i);
		snprintf(full, sizeof(full), "ü%u", next_random(&seed) % 5);
		add_user(tx, name, i % 4 ? full : NULL, i % 3 ? (int64_t)(next_random(&seed) % 4) : 0);
	}
	for (size_t s = 0; s < ARRAY_LEN(sorts); s++)
		for (uint32_t limit = 1; limit <= 51; limit += 7)
			for (int descending = 0; descending < 2; descending++) {
				struct hive_list list = {
					.sort = sorts[s] ? hive_field_find(&hive_users, sorts[s]) : NULL,
					.descending = descending,
					.limit = HIVE_PAGE_MAX
				};

				assert_int_equal(walk(tx, &list, whole, 64), 50);
				list.limit = limit;
				assert_int_equal(walk(tx, &list, paged, 64), 50);
				assert_memory_equal(whole, paged, 50 * sizeof(*whole));
			}
	hive_tx_abortp(&tx);
}

/* Rows that were there all the time appear exactly once, though others come and go between the pages. */
static void pages_stay_right_while_rows_come_and_go(void **state)
{
	struct hive_list list = { .sort = hive_field_find(&hive_users, "name"), .limit = 3 };
	struct hive_tx *tx = NULL;
	char *after = NULL;
	uint32_t seen = 0, round = 0;

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	for (int i = 0; i < 30; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%c%02d", i % 2 ? 's' : 'g', i); /* s stays, g goes */
		add_user(tx, name, NULL, 0);
	}
	do {
		_hive_rows_ struct hive_rows rows = { .table = &hive_users };
		char name[32];

		list.after = after;
		assert_int_equal(hive_row_list(tx, &hive_users, &list, &rows), 0);
		for (uint32_t i = 0; i < rows.n; i++)
			seen += ((struct hive_user *)hive_rows_at(&rows, i))->name[0] == 's';
		free(after);
		after = TAKE_PTR(rows.next);
		snprintf(name, sizeof(name), "g%02u", 2 * round);
		assert_int_equal(hive_sql_run(tx, "DELETE FROM users WHERE name = ?", "t", name), 0);
		snprintf(name, sizeof(name), "a%02u", round++);
		add_user(tx, name, NULL, 0);
	} while (after);
	assert_int_equal(seen, 15);
	hive_tx_abortp(&tx);
}

static void filters_select_and_odd_cursors_are_refused(void **state)
{
	static const char *const odd[] = { "", "x", "i", "i.", "i.1", "i.1.", "i..1", "i.1.x", "t.zz.1", "t.0.1", "t.00.1", "n.1",
					   "i.1.99999999999999999999", "i.1x.2", "t.61.1" };
	struct hive_list list = { .limit = 10, .n_conds = 1 };
	struct hive_rows rows = { .table = &hive_users };
	struct hive_tx *tx = NULL;

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	add_user(tx, "ada", "Ada Lovelace", 5);
	add_user(tx, "bob", NULL, 7);
	list.conds[0] = (struct hive_cond){ .field = hive_field_find(&hive_users, "full_name"), .op = HIVE_HAS, .text = "LOVE" };
	assert_int_equal(hive_row_list(tx, &hive_users, &list, &rows), 0);
	assert_int_equal(rows.n, 1);
	hive_rows_clear(&rows);
	list.conds[0] = (struct hive_cond){ .field = hive_field_find(&hive_users, "full_name"), .op = HIVE_EQ, .text = NULL };
	assert_int_equal(hive_row_list(tx, &hive_users, &list, &rows), 0);
	assert_int_equal(rows.n, 1);
	assert_string_equal(((struct hive_user *)rows.items)->name, "bob");
	hive_rows_clear(&rows);
	list.conds[0] = (struct hive_cond){ .field = hive_field_find(&hive_users, "last_login_ns"), .op = HIVE_GE, .number = 6 };
	assert_int_equal(hive_row_list(tx, &hive_users, &list, &rows), 0);
	assert_int_equal(rows.n, 1);
	hive_rows_clear(&rows);
	list.n_conds = 0;
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		list.after = odd[i];
		if (hive_row_list(tx, &hive_users, &list, &rows) != -EINVAL)
			fail_msg("the cursor \"%s\" was accepted", odd[i]);
	}
	hive_tx_abortp(&tx);
}

/* ---- special questions ---- */

static void rights_are_found_across_groups(void **state)
{
	struct hive_group a = { .name = (char *)"a", .rights = 1 | 4 }, b = { .name = (char *)"b", .rights = 2 };
	struct hive_tx *tx = NULL;
	int64_t ada, bob, n = 0;

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	ada = add_user(tx, "ada", NULL, 0);
	bob = add_user(tx, "bob", NULL, 0);
	assert_int_equal(hive_row_insert(tx, &hive_groups, &a), 0);
	assert_int_equal(hive_row_insert(tx, &hive_groups, &b), 0);
	assert_int_equal(hive_member_add(tx, a.head.id, ada, "local"), 0);
	assert_int_equal(hive_member_add(tx, a.head.id, ada, "ldap"), 0);
	assert_int_equal(hive_member_add(tx, b.head.id, ada, "local"), 0);
	assert_int_equal(hive_member_add(tx, a.head.id, bob, "local"), 0);
	assert_int_equal(hive_users_with_rights(tx, 5, 0, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(hive_users_with_rights(tx, 7, 0, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(hive_users_with_rights(tx, 7, ada, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(hive_member_remove(tx, b.head.id, ada, "ldap"), -ENOENT);
	assert_int_equal(hive_member_remove(tx, b.head.id, ada, "local"), 0);
	assert_int_equal(hive_users_with_rights(tx, 7, 0, &n), 0);
	assert_int_equal(n, 0);
	hive_tx_abortp(&tx);
}

static void audit_rows_cannot_be_changed(void **state)
{
	struct hive_audit entry = { .time_ns = 1, .actor = (char *)"ada", .action = (char *)"job.create", .hash = (char *)"h" };
	struct hive_tx *tx = NULL;

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	assert_int_equal(hive_row_insert(tx, &hive_audits, &entry), 0);
	assert_true(hive_sql_run(tx, "UPDATE audit SET actor = 'eve'", "") < 0);
	assert_non_null(strstr(hive_tx_error(tx), "append-only"));
	assert_true(hive_sql_run(tx, "DELETE FROM audit", "") < 0);
	hive_tx_abortp(&tx);
}

static void a_key_answers_only_its_own_request(void **state)
{
	struct hive_tx *tx = NULL;
	int64_t object = 1;

	assert_int_equal(hive_db_write(db_of(state), &tx), 0);
	assert_int_equal(hive_answer_find(tx, "ada", "k", "digest", &object), 0);
	assert_int_equal(object, 0);
	assert_int_equal(hive_answer_keep(tx, "ada", "k", "digest", 7, 100), 0);
	assert_int_equal(hive_answer_keep(tx, "ada", "k", "digest", 8, 100), -EEXIST);
	assert_int_equal(hive_answer_find(tx, "ada", "k", "digest", &object), 0);
	assert_int_equal(object, 7);
	assert_int_equal(hive_answer_find(tx, "ada", "k", "other", &object), -EEXIST);
	assert_int_equal(hive_answer_find(tx, "bob", "k", "other", &object), 0);
	assert_int_equal(object, 0);
	assert_int_equal(hive_answers_forget(tx, 101), 0);
	assert_int_equal(hive_answer_find(tx, "ada", "k", "other", &object), 0);
	hive_tx_abortp(&tx);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(file_is_private_and_migrated_once),
		CASE(migration_leaves_a_copy_of_what_was),
		CASE(newer_file_is_refused),
		CASE(not_a_database_is_refused),
		CASE(copy_is_whole_and_never_overwrites),
		CASE(committed_survives_kill_9),
		CASE(without_commit_nothing_happened),
		CASE(reader_keeps_its_state_while_another_writes),
		CASE(each_table_returns_what_it_was_given),
		CASE(versions_catch_lost_updates),
		CASE(constraints_have_their_own_errors),
		CASE(pages_join_to_the_list_in_any_order),
		CASE(pages_stay_right_while_rows_come_and_go),
		CASE(filters_select_and_odd_cursors_are_refused),
		CASE(rights_are_found_across_groups),
		CASE(audit_rows_cannot_be_changed),
		CASE(a_key_answers_only_its_own_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
