/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_DB_ACCOUNTS_H
#define HIVE_DB_ACCOUNTS_H
/*
 * Rows of people: users, groups, tokens, sessions; and the audit log.
 */
#include "hive/db/row.h"

struct hive_user {
	struct hive_row head;
	char *name;
	char *full_name;
	char *email;
	char *source; /* "local" or "ldap" */
	char *password; /* Argon2id text; NULL: no local password */
	char *ldap_dn;
	int64_t disabled;
	int64_t created_ns;
	int64_t last_login_ns;
	int64_t checked_ns; /* LDAP groups were last read */
};

struct hive_group {
	struct hive_row head;
	char *name;
	char *description;
	int64_t rights; /* HIVE_RIGHT_* bits */
	int64_t all_links;
	int64_t quota_bytes; /* the quotas: 0 is no limit, but for priority */
	int64_t quota_jobs;
	int64_t quota_duration_s;
	int64_t quota_priority; /* highest that members may ask for */
	char *forced_filter;
	char *ldap_group; /* DN whose members are members */
	int64_t created_ns;
	int64_t retention_s; /* datasets of members are kept so long; 0: for ever */
};

struct hive_member {
	struct hive_row head;
	int64_t group_id;
	int64_t user_id;
	char *source;
};

struct hive_token {
	struct hive_row head;
	int64_t user_id;
	char *name;
	char *digest;
	int64_t rights; /* at most these, and never more than the user's */
	int64_t created_ns;
	int64_t expires_ns;
	int64_t used_ns;
	char *used_from;
	int64_t revoked_ns;
};

struct hive_session {
	struct hive_row head;
	int64_t user_id;
	char *digest;
	char *csrf;
	int64_t created_ns;
	int64_t seen_ns;
	char *address;
	char *agent;
};

struct hive_audit {
	struct hive_row head;
	int64_t time_ns;
	char *actor;
	char *address;
	char *action;
	char *object;
	char *detail;
	char *hash;
};

extern const struct hive_table hive_users;
extern const struct hive_table hive_groups;
extern const struct hive_table hive_members;
extern const struct hive_table hive_tokens;
extern const struct hive_table hive_sessions;
extern const struct hive_table hive_audits;

void hive_user_clear(struct hive_user *user);
void hive_group_clear(struct hive_group *group);
void hive_token_clear(struct hive_token *token);
void hive_session_clear(struct hive_session *session);
void hive_audit_clear(struct hive_audit *audit);

#define _hive_user_ SKEP_CLEANUP(hive_user_clear)
#define _hive_group_ SKEP_CLEANUP(hive_group_clear)
#define _hive_token_ SKEP_CLEANUP(hive_token_clear)
#define _hive_session_ SKEP_CLEANUP(hive_session_clear)
#define _hive_audit_ SKEP_CLEANUP(hive_audit_clear)

/* The groups whose ids the query yields. */
int hive_groups_by(struct hive_tx *tx, struct hive_stmt *ids, struct hive_rows *ret);
/* The groups of a user, whichever source says so; each once. */
int hive_groups_of(struct hive_tx *tx, int64_t user_id, struct hive_rows *ret);
int hive_member_add(struct hive_tx *tx, int64_t group_id, int64_t user_id, const char *source);
/* -ENOENT: was no member by that source. */
int hive_member_remove(struct hive_tx *tx, int64_t group_id, int64_t user_id, const char *source);
int hive_is_member(struct hive_tx *tx, int64_t group_id, int64_t user_id, bool *ret);
int hive_share_a_group(struct hive_tx *tx, int64_t user_id, int64_t other_id, int64_t *ret); /* 0 or 1 */
/* Those with whom the user shares a group, and the user. *ret is the caller's. */
int hive_peers_of(struct hive_tx *tx, int64_t user_id, int64_t **ret, uint32_t *ret_n);
/* All groups that have an ldap_group. */
int hive_groups_of_ldap(struct hive_tx *tx, struct hive_rows *ret);
/*
 * How many users who are not disabled have all of these rights, without the user `except` (0: nobody left
 * out).
 */
int hive_users_with_rights(struct hive_tx *tx, int64_t rights, int64_t except, int64_t *ret);
/* Ends them; the number that ended, or -errno. */
int64_t hive_sessions_end_of(struct hive_tx *tx, int64_t user_id);
int64_t hive_sessions_end_old(struct hive_tx *tx, int64_t seen_before_ns, int64_t created_before_ns);

/* Writes down that it was used just now. */
int hive_session_used(struct hive_tx *tx, int64_t id, int64_t now_ns, const char *address);
int hive_token_used(struct hive_tx *tx, int64_t id, int64_t now_ns, const char *address);

/* The id that the next entry will have: they have no gaps. */
int hive_audit_next_id(struct hive_tx *tx, int64_t *ret);
/* The newest entry's hash; "" before the first. The caller frees it. */
int hive_audit_last_hash(struct hive_tx *tx, char **ret);

/* *ret is the caller's; -ENOENT. */
int hive_setting_get(struct hive_tx *tx, const char *name, char **ret);
int hive_setting_set(struct hive_tx *tx, const char *name, const char *value); /* NULL removes it */

/*
 * Idempotency: what the actor's key made. *ret_object is 0 if the key is new; -EEXIST: the key was used for
 * another request (`request` is its digest).
 */
int hive_answer_find(struct hive_tx *tx, const char *actor, const char *key, const char *request,
		     int64_t *ret_object);
int hive_answer_keep(struct hive_tx *tx, const char *actor, const char *key, const char *request,
		     int64_t object, int64_t now_ns);
int hive_answers_forget(struct hive_tx *tx, int64_t before_ns);

#endif
