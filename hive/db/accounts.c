/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of people, and the few questions about them that are no plain row. Holds digests of secrets,
 * never a secret, and does not know how they are made. Decides nothing: rights are bits to it. Any thread
 * that holds a transaction.
 */
#include "hive/db/accounts.h"

#include "hive/db/captures.h"

#include <errno.h>
#include <string.h>

static const struct hive_field user_fields[] = {
	HIVE_FIELD(hive_user, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_user, full_name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_user, email, HIVE_TEXT, 0),
	HIVE_FIELD(hive_user, source, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_user, password, HIVE_TEXT, HIVE_F_SECRET),
	HIVE_FIELD(hive_user, ldap_dn, HIVE_TEXT, HIVE_F_SECRET),
	HIVE_FIELD(hive_user, disabled, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_user, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_user, last_login_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_user, checked_ns, HIVE_TIME, HIVE_F_SECRET),
};

static const struct hive_field group_fields[] = {
	HIVE_FIELD(hive_group, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_group, description, HIVE_TEXT, 0),
	HIVE_FIELD(hive_group, rights, HIVE_INT, 0),
	HIVE_FIELD(hive_group, all_links, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_group, quota_bytes, HIVE_INT, 0),
	HIVE_FIELD(hive_group, quota_jobs, HIVE_INT, 0),
	HIVE_FIELD(hive_group, quota_duration_s, HIVE_INT, 0),
	HIVE_NAMED(hive_group, quota_priority, hive_priority_names, 0),
	HIVE_FIELD(hive_group, forced_filter, HIVE_TEXT, 0),
	HIVE_FIELD(hive_group, ldap_group, HIVE_TEXT, 0),
	HIVE_FIELD(hive_group, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_group, retention_s, HIVE_INT, 0),
};

static const struct hive_field member_fields[] = {
	HIVE_FIELD(hive_member, group_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_member, user_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_member, source, HIVE_TEXT, HIVE_F_QUERY | HIVE_F_FIXED),
};

static const struct hive_field token_fields[] = {
	HIVE_FIELD(hive_token, user_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_token, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_token, digest, HIVE_TEXT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_token, rights, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_token, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_token, expires_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_token, used_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_token, used_from, HIVE_TEXT, 0),
	HIVE_FIELD(hive_token, revoked_ns, HIVE_TIME, HIVE_F_QUERY),
};

static const struct hive_field session_fields[] = {
	HIVE_FIELD(hive_session, user_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_session, digest, HIVE_TEXT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_session, csrf, HIVE_TEXT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_session, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_session, seen_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_session, address, HIVE_TEXT, 0),
	HIVE_FIELD(hive_session, agent, HIVE_TEXT, HIVE_F_FIXED),
};

static const struct hive_field audit_fields[] = {
	HIVE_FIELD(hive_audit, time_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_audit, actor, HIVE_TEXT, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_audit, address, HIVE_TEXT, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_audit, action, HIVE_TEXT, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_audit, object, HIVE_TEXT, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_audit, detail, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_FIELD(hive_audit, hash, HIVE_TEXT, HIVE_F_FIXED),
};

const struct hive_table hive_users = HIVE_TABLE("users", user_fields, hive_user);
const struct hive_table hive_groups = HIVE_TABLE("groups", group_fields, hive_group);
const struct hive_table hive_members = HIVE_TABLE("group_members", member_fields, hive_member);
const struct hive_table hive_tokens = HIVE_TABLE("tokens", token_fields, hive_token);
const struct hive_table hive_sessions = HIVE_TABLE("sessions", session_fields, hive_session);
const struct hive_table hive_audits = HIVE_TABLE("audit", audit_fields, hive_audit);

void hive_user_clear(struct hive_user *user)
{
	hive_row_clear(&hive_users, user);
}

void hive_group_clear(struct hive_group *group)
{
	hive_row_clear(&hive_groups, group);
}

void hive_token_clear(struct hive_token *token)
{
	hive_row_clear(&hive_tokens, token);
}

void hive_session_clear(struct hive_session *session)
{
	hive_row_clear(&hive_sessions, session);
}

void hive_audit_clear(struct hive_audit *audit)
{
	hive_row_clear(&hive_audits, audit);
}

int hive_groups_by(struct hive_tx *tx, struct hive_stmt *ids, struct hive_rows *ret)
{
	_hive_rows_ struct hive_rows rows = { .table = &hive_groups };
	uint32_t room = 0;
	int r;

	while ((r = hive_stmt_next(ids)) > 0) {
		if (rows.n == room) {
			void *items = reallocarray(rows.items, room + 16, sizeof(struct hive_group));

			if (!items)
				return -ENOMEM;
			rows.items = items;
			room += 16;
		}
		memset(hive_rows_at(&rows, rows.n), 0, sizeof(struct hive_group));
		r = hive_row_get(tx, &hive_groups, hive_stmt_int(ids, 0), hive_rows_at(&rows, rows.n));
		if (r < 0)
			return r;
		rows.n++;
	}
	if (r < 0)
		return r;
	*ret = rows;
	rows = (struct hive_rows){ .table = &hive_groups };
	return 0;
}

int hive_groups_of(struct hive_tx *tx, int64_t user_id, struct hive_rows *ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt, "SELECT DISTINCT group_id FROM group_members WHERE user_id = ? ORDER BY group_id",
			       "i", user_id);

	return r < 0 ? r : hive_groups_by(tx, stmt, ret);
}

int hive_groups_of_ldap(struct hive_tx *tx, struct hive_rows *ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt, "SELECT id FROM groups WHERE ldap_group IS NOT NULL ORDER BY id", "");

	return r < 0 ? r : hive_groups_by(tx, stmt, ret);
}

int hive_member_add(struct hive_tx *tx, int64_t group_id, int64_t user_id, const char *source)
{
	return hive_sql_run(tx,
			    "INSERT INTO group_members (version, group_id, user_id, source) VALUES (1, ?, ?, ?)"
			    " ON CONFLICT DO NOTHING",
			    "iit", group_id, user_id, source);
}

int hive_member_remove(struct hive_tx *tx, int64_t group_id, int64_t user_id, const char *source)
{
	int64_t n = hive_sql_change(tx, "DELETE FROM group_members WHERE group_id = ? AND user_id = ? AND source = ?", "iit",
				    group_id, user_id, source);

	return n < 0 ? (int)n : n == 0 ? -ENOENT : 0;
}

int hive_is_member(struct hive_tx *tx, int64_t group_id, int64_t user_id, bool *ret)
{
	int64_t n = 0;
	int r = hive_sql_int(tx, &n, "SELECT EXISTS (SELECT 1 FROM group_members WHERE group_id = ? AND user_id = ?)", "ii",
			     group_id, user_id);

	*ret = n != 0;
	return r;
}

int hive_share_a_group(struct hive_tx *tx, int64_t user_id, int64_t other_id, int64_t *ret)
{
	return hive_sql_int(tx, ret,
			    "SELECT EXISTS (SELECT 1 FROM group_members a JOIN group_members b ON a.group_id = b.group_id"
			    " WHERE a.user_id = ? AND b.user_id = ?)",
			    "ii", user_id, other_id);
}

int hive_peers_of(struct hive_tx *tx, int64_t user_id, int64_t **ret, uint32_t *ret_n)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt,
			       "SELECT ?1 UNION SELECT b.user_id FROM group_members a JOIN group_members b ON a.group_id = b.group_id"
			       " WHERE a.user_id = ?1",
			       "i", user_id);

	return r < 0 ? r : hive_stmt_ints(stmt, ret, ret_n);
}

/*
 * A user's rights are the union of the groups' bits, and SQLite has no bitwise sum: one test per bit of the
 * question instead.
 */
int hive_users_with_rights(struct hive_tx *tx, int64_t rights, int64_t except, int64_t *ret)
{
	return hive_sql_int(tx, ret,
			    "WITH RECURSIVE bits(bit) AS (SELECT 1 UNION ALL SELECT bit << 1 FROM bits WHERE bit < 1 << 40)"
			    "SELECT count(*) FROM users u WHERE NOT u.disabled AND u.id <> ?2 AND NOT EXISTS ("
			    "  SELECT 1 FROM bits WHERE (bit & ?1) <> 0 AND NOT EXISTS ("
			    "    SELECT 1 FROM group_members m JOIN groups g ON g.id = m.group_id"
			    "    WHERE m.user_id = u.id AND (g.rights & bit) <> 0))",
			    "ii", rights, except);
}

int64_t hive_sessions_end_of(struct hive_tx *tx, int64_t user_id)
{
	return hive_sql_change(tx, "DELETE FROM sessions WHERE user_id = ?", "i", user_id);
}

int64_t hive_sessions_end_old(struct hive_tx *tx, int64_t seen_before_ns, int64_t created_before_ns)
{
	return hive_sql_change(tx, "DELETE FROM sessions WHERE seen_ns < ? OR created_ns < ?", "ii", seen_before_ns,
			       created_before_ns);
}

int hive_session_used(struct hive_tx *tx, int64_t id, int64_t now_ns, const char *address)
{
	return hive_sql_run(tx, "UPDATE sessions SET seen_ns = ?, address = ? WHERE id = ?", "iti", now_ns, address, id);
}

int hive_token_used(struct hive_tx *tx, int64_t id, int64_t now_ns, const char *address)
{
	return hive_sql_run(tx, "UPDATE tokens SET used_ns = ?, used_from = ? WHERE id = ?", "iti", now_ns, address, id);
}

int hive_audit_next_id(struct hive_tx *tx, int64_t *ret)
{
	return hive_sql_int(tx, ret, "SELECT coalesce(max(id), 0) + 1 FROM audit", "");
}

int hive_audit_last_hash(struct hive_tx *tx, char **ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt, "SELECT hash FROM audit ORDER BY id DESC LIMIT 1", "");

	if (r == 0)
		r = hive_stmt_next(stmt);
	if (r < 0)
		return r;
	if (r > 0)
		return hive_stmt_dup(stmt, 0, ret);
	*ret = strdup("");
	return *ret ? 0 : -ENOMEM;
}

/* ---- settings and idempotency ---- */

int hive_setting_get(struct hive_tx *tx, const char *name, char **ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt, "SELECT value FROM settings WHERE name = ?", "t", name);

	if (r == 0)
		r = hive_stmt_next(stmt);
	return r < 0 ? r : r == 0 ? -ENOENT : hive_stmt_dup(stmt, 0, ret);
}

int hive_setting_set(struct hive_tx *tx, const char *name, const char *value)
{
	if (!value)
		return hive_sql_run(tx, "DELETE FROM settings WHERE name = ?", "t", name);
	return hive_sql_run(tx, "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", "tt",
			    name, value);
}

int hive_answer_find(struct hive_tx *tx, const char *actor, const char *key, const char *request,
		     int64_t *ret_object)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt, "SELECT object, request = ? FROM answers WHERE actor = ? AND key = ?", "ttt", request, actor,
			       key);

	if (r == 0)
		r = hive_stmt_next(stmt);
	if (r < 0)
		return r;
	if (r > 0 && !hive_stmt_int(stmt, 1))
		return -EEXIST;
	*ret_object = r > 0 ? hive_stmt_int(stmt, 0) : 0;
	return 0;
}

int hive_answer_keep(struct hive_tx *tx, const char *actor, const char *key, const char *request,
		     int64_t object, int64_t now_ns)
{
	return hive_sql_run(tx, "INSERT INTO answers VALUES (?, ?, ?, ?, ?)", "tttii", actor, key, request, object, now_ns);
}

int hive_answers_forget(struct hive_tx *tx, int64_t before_ns)
{
	return hive_sql_run(tx, "DELETE FROM answers WHERE created_ns < ?", "i", before_ns);
}
