/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logins. Passwords are looked at in the same time whether the user exists or not, by the same number of
 * steps, also when a directory is asked; the answer does not tell why it is no. Sessions and tokens are 256
 * random bits, stored as digests. Rights are read anew at each request, so a group that somebody lost is lost
 * at once. Any thread.
 */
#include "hive/svc/login.h"

#include "hive/svc/audit.h"
#include "hive/svc/directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SEEN_STEP_NS (60 * SKEP_NSEC_PER_SEC) /* a session's or token's last use is written down that often */
#define FIRST_SECRET "first_secret"           /* setting: "EXPIRY_NS DIGEST" */
#define FIRST_VALID_NS (24 * 3600 * SKEP_NSEC_PER_SEC)

bool hive_name_fine(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= HIVE_NAME_MAX &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@") == n;
}

int hive_rights_of(struct hive_tx *tx, int64_t user_id, int64_t *ret)
{
	_hive_rows_ struct hive_rows groups = { .table = &hive_groups };
	int r = hive_groups_of(tx, user_id, &groups);

	if (r < 0)
		return r;
	*ret = 0;
	for (uint32_t i = 0; i < groups.n; i++)
		*ret |= ((struct hive_group *)hive_rows_at(&groups, i))->rights;
	return 0;
}

static int fill_actor(struct hive_tx *tx, const struct hive_user *user, const struct hive_origin *origin,
		      struct hive_actor *ret)
{
	*ret = (struct hive_actor){ .user_id = user->head.id };
	snprintf(ret->name, sizeof(ret->name), "%s", user->name);
	snprintf(ret->address, sizeof(ret->address), "%s", origin->address);
	return hive_rights_of(tx, user->head.id, &ret->rights);
}

/* ---- by password ---- */

static int wrong(struct hive *hive, const char *name, const struct hive_origin *origin, struct skep_err *err)
{
	struct hive_actor actor = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;

	hive_delay_failed(hive->delay, name, origin->address, (uint64_t)hive_now_ns(hive));
	snprintf(actor.name, sizeof(actor.name), "%s", hive_name_fine(name) ? name : "(no name)");
	snprintf(actor.address, sizeof(actor.address), "%s", origin->address);
	if (hive_db_write(hive->db, &tx) == 0 && hive_audit_add(hive, tx, &actor, "login.refused", NULL, NULL) == 0)
		(void)hive_tx_commit(&tx);
	return skep_err_set(err, SKEP_E_PRIVILEGE, "the name or the password is wrong");
}

static int find_user(struct hive *hive, const char *name, struct hive_user *ret)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	if (r == 0 && hive_name_fine(name))
		r = hive_row_find(tx, &hive_users, "name", name, ret);
	return r == -ENOENT ? 0 : r;
}

/*
 * Is it the right password? Each step is taken by all: the hash of the local password or of nobody's, then
 * the directory, with a password of ours that cannot be right where the user is not one of the directory's.
 */
static int check_password(struct hive *hive, const char *name, const char *password,
			  const struct hive_user *user, struct hive_ldap_person *ret_person,
			  struct skep_err *err)
{
	bool is_local = user->head.id && strcmp(user->source, "local") == 0, old = false;
	bool fine = hive_password_matches(is_local ? user->password : NULL, password, &old);
	char nonsense[HIVE_SECRET_TEXT];
	int r;

	if (fine || !hive->cfg.ldap)
		return fine && !user->disabled ? 0 : SKEP_E_PRIVILEGE;
	hive_secret_make("", nonsense);
	r = hive_ldap_login(hive->cfg.ldap, hive_name_fine(name) ? name : "-", is_local ? nonsense : password, ret_person, err);
	return r == 0 && (is_local || user->disabled) ? SKEP_E_PRIVILEGE : r;
}

static int open_session(struct hive *hive, struct hive_tx *tx, struct hive_user *user,
			const struct hive_origin *origin, struct hive_login *ret)
{
	char digest[HIVE_DIGEST_TEXT];
	struct hive_session session = {
		.user_id = user->head.id,
		.digest = digest,
		.csrf = ret->actor.csrf,
		.created_ns = hive_now_ns(hive),
		.seen_ns = hive_now_ns(hive),
		.address = (char *)origin->address,
		.agent = (char *)origin->agent,
	};
	int r = fill_actor(tx, user, origin, &ret->actor);

	if (r < 0)
		return r;
	hive_secret_make("skep_s_", ret->session);
	hive_secret_make("", ret->actor.csrf);
	hive_secret_digest(ret->session, digest);
	r = hive_row_insert(tx, &hive_sessions, &session);
	ret->actor.session_id = session.head.id;
	user->last_login_ns = hive_now_ns(hive);
	if (r == 0)
		r = hive_row_update(tx, &hive_users, user);
	return r < 0 ? r : hive_audit_add(hive, tx, &ret->actor, "login", NULL, NULL);
}

/*
 * The user as they are now, inside the transaction: others may have logged in as them, or changed or disabled
 * them, while the password was looked at.
 */
static int read_again(struct hive_tx *tx, const char *name, struct hive_user *user)
{
	_hive_user_ struct hive_user now = { 0 };
	int r = hive_name_fine(name) ? hive_row_find(tx, &hive_users, "name", name, &now) : SKEP_E_PRIVILEGE;
	bool same;

	if (r == -ENOENT)
		return user->head.id ? SKEP_E_PRIVILEGE : 0;
	if (r != 0)
		return r;
	same = !user->head.id || (strcmp(user->source, now.source) == 0 &&
				  strcmp(user->password ? user->password : "", now.password ? now.password : "") == 0);
	if (now.disabled || !same || (!user->head.id && strcmp(now.source, "ldap") != 0))
		return SKEP_E_PRIVILEGE;
	hive_user_clear(user);
	*user = now;
	now = (struct hive_user){ 0 };
	return 0;
}

int hive_login(struct hive *hive, const char *name, const char *password, const struct hive_origin *origin,
	       struct hive_login *ret, struct skep_err *err)
{
	_hive_ldap_person_ struct hive_ldap_person person = { 0 };
	_hive_user_ struct hive_user user = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	uint64_t wait_ns = hive_delay_left(hive->delay, name, origin->address, (uint64_t)hive_now_ns(hive));
	int r;

	if (wait_ns) {
		ret->wait_s = wait_ns / SKEP_NSEC_PER_SEC + 1;
		return skep_err_set(err, SKEP_E_BUSY, "too many wrong passwords; the next one is looked at in %" PRIu64 " s",
				    ret->wait_s);
	}
	r = find_user(hive, name, &user);
	if (r == 0)
		r = check_password(hive, name, password, &user, &person, err);
	if (r == SKEP_E_PRIVILEGE)
		return wrong(hive, name, origin, err);
	if (r == 0)
		r = hive_db_write(hive->db, &tx);
	if (r == 0)
		r = read_again(tx, name, &user);
	if (r == SKEP_E_PRIVILEGE) {
		hive_tx_abortp(&tx);
		return wrong(hive, name, origin, err);
	}
	if (r == 0 && person.dn)
		r = hive_directory_take(hive, tx, name, &person, &user);
	if (r == 0)
		r = open_session(hive, tx, &user, origin, ret);
	if (r == 0)
		r = hive_tx_commit(&tx);
	if (r != 0)
		return err && err->code == r ? r : skep_err_set(err, r, "the login failed: %s", strerror(r < 0 ? -r : EIO));
	hive_delay_passed(hive->delay, name, origin->address);
	return 0;
}

int hive_logout(struct hive *hive, const struct hive_actor *actor)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_row_delete(tx, &hive_sessions, actor->session_id, 0);
	if (r == 0)
		r = hive_audit_add(hive, tx, actor, "logout", NULL, NULL);
	return r < 0 ? r : hive_tx_commit(&tx);
}

int hive_logout_everywhere(struct hive *hive, const struct hive_actor *actor)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int64_t n;
	int r = hive_db_write(hive->db, &tx);

	if (r < 0)
		return r;
	n = hive_sessions_end_of(tx, actor->user_id);
	r = n < 0 ? (int)n : hive_audit_add(hive, tx, actor, "logout.everywhere", NULL, NULL);
	return r < 0 ? r : hive_tx_commit(&tx);
}

int hive_sessions_clean(struct hive *hive)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int64_t now = hive_now_ns(hive), n;
	int r = hive_db_write(hive->db, &tx);

	if (r < 0)
		return r;
	n = hive_sessions_end_old(tx, now - (int64_t)hive->cfg.session_idle_ns,
				  now - (int64_t)hive->cfg.session_max_ns);
	return n < 0 ? (int)n : hive_tx_commit(&tx);
}

/* ---- by session and token ---- */

/* A user of the session or the token, if they may still act at all. */
static int load_user(struct hive_tx *tx, int64_t user_id, const struct hive_origin *origin,
		     struct hive_actor *ret)
{
	_hive_user_ struct hive_user user = { 0 };
	int r = hive_row_get(tx, &hive_users, user_id, &user);

	if (r < 0)
		return r == -ENOENT ? SKEP_E_PRIVILEGE : r;
	return user.disabled ? SKEP_E_PRIVILEGE : fill_actor(tx, &user, origin, ret);
}

/* Written down now and then, in a transaction of its own; nobody waits for it to succeed. */
static void write_use(struct hive *hive, int (*used)(struct hive_tx *, int64_t, int64_t, const char *),
		      int64_t id, const char *address)
{
	_hive_tx_ struct hive_tx *tx = NULL;

	if (hive_db_write(hive->db, &tx) == 0 && used(tx, id, hive_now_ns(hive), address) == 0)
		(void)hive_tx_commit(&tx);
}

static int session_fine(const struct hive *hive, const struct hive_session *session)
{
	int64_t now = hive_now_ns(hive);

	return now - session->seen_ns > (int64_t)hive->cfg.session_idle_ns ||
			       now - session->created_ns > (int64_t)hive->cfg.session_max_ns
		       ? SKEP_E_PRIVILEGE
		       : 0;
}

static int token_fine(const struct hive *hive, const struct hive_token *token)
{
	return token->revoked_ns || (token->expires_ns && token->expires_ns <= hive_now_ns(hive))
		       ? SKEP_E_PRIVILEGE
		       : 0;
}

/* The row with the digest of the text; SKEP_E_PRIVILEGE: there is none. tx is the caller's to end. */
static int find_secret(struct hive *hive, const struct hive_table *table, const char *text,
		       struct hive_tx **tx, void *ret)
{
	char digest[HIVE_DIGEST_TEXT];
	int r = hive_db_read(hive->db, tx);

	hive_secret_digest(text, digest);
	if (r == 0)
		r = hive_row_find(*tx, table, "digest", digest, ret);
	return r == -ENOENT ? SKEP_E_PRIVILEGE : r;
}

int hive_actor_by_session(struct hive *hive, const char *text, const struct hive_origin *origin,
			  struct hive_actor *ret)
{
	_hive_session_ struct hive_session session = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = find_secret(hive, &hive_sessions, text, &tx, &session);

	if (r == 0)
		r = session_fine(hive, &session);
	if (r == 0)
		r = load_user(tx, session.user_id, origin, ret);
	hive_tx_abortp(&tx);
	if (r != 0)
		return r;
	ret->session_id = session.head.id;
	snprintf(ret->csrf, sizeof(ret->csrf), "%s", session.csrf);
	if (hive_now_ns(hive) - session.seen_ns > (int64_t)SEEN_STEP_NS)
		write_use(hive, hive_session_used, session.head.id, origin->address);
	return 0;
}

int hive_actor_by_token(struct hive *hive, const char *text, const struct hive_origin *origin,
			struct hive_actor *ret)
{
	_hive_token_ struct hive_token token = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = find_secret(hive, &hive_tokens, text, &tx, &token);

	if (r == 0)
		r = token_fine(hive, &token);
	if (r == 0)
		r = load_user(tx, token.user_id, origin, ret);
	hive_tx_abortp(&tx);
	if (r != 0)
		return r;
	ret->token_id = token.head.id;
	ret->rights &= token.rights;
	if (hive_now_ns(hive) - token.used_ns > (int64_t)SEEN_STEP_NS)
		write_use(hive, hive_token_used, token.head.id, origin->address);
	return 0;
}

int hive_actor_again(struct hive *hive, struct hive_actor *actor)
{
	const struct hive_origin origin = { .address = actor->address };
	_hive_session_ struct hive_session session = { 0 };
	_hive_token_ struct hive_token token = { .rights = HIVE_RIGHTS_ALL };
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_actor now = { 0 };
	int r = hive_db_read(hive->db, &tx);

	if (r == 0 && actor->session_id)
		r = hive_row_get(tx, &hive_sessions, actor->session_id, &session);
	if (r == 0 && actor->session_id)
		r = session_fine(hive, &session);
	if (r == 0 && actor->token_id)
		r = hive_row_get(tx, &hive_tokens, actor->token_id, &token);
	if (r == 0 && actor->token_id)
		r = token_fine(hive, &token);
	if (r == 0)
		r = load_user(tx, actor->user_id, &origin, &now);
	if (r == 0)
		actor->rights = now.rights & token.rights;
	return r == -ENOENT ? SKEP_E_PRIVILEGE : r;
}

int hive_actor_of_user(struct hive *hive, int64_t user_id, const char *by, struct hive_actor *ret)
{
	const struct hive_origin origin = { .address = by };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	return r < 0 ? r : load_user(tx, user_id, &origin, ret);
}

/* ---- the first administrator ---- */

int hive_first_secret(struct hive *hive, bool anyway, char ret[static HIVE_SECRET_TEXT])
{
	_hive_tx_ struct hive_tx *tx = NULL;
	char digest[HIVE_DIGEST_TEXT], value[128];
	int64_t n = 0;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_users_with_rights(tx, HIVE_RIGHTS_ALL, 0, &n);
	if (r < 0)
		return r;
	if (n && !anyway)
		return SKEP_E_BUSY;
	hive_secret_make("skep_first_", ret);
	hive_secret_digest(ret, digest);
	snprintf(value, sizeof(value), "%" PRId64 " %s", hive_now_ns(hive) + (int64_t)FIRST_VALID_NS, digest);
	r = hive_setting_set(tx, FIRST_SECRET, value);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int check_first(struct hive *hive, struct hive_tx *tx, const char *secret, struct skep_err *err)
{
	_skep_free_ char *value = NULL;
	char digest[HIVE_DIGEST_TEXT], *space;
	int r = hive_setting_get(tx, FIRST_SECRET, &value);

	hive_secret_digest(secret, digest);
	space = value ? strchr(value, ' ') : NULL;
	if (r < 0 && r != -ENOENT)
		return r;
	if (space && hive_secret_equal(space + 1, digest) && strtoll(value, NULL, 10) > hive_now_ns(hive))
		return 0;
	skep_err_set(err, SKEP_E_PRIVILEGE, "this link is not valid, was used already, or is older than a day");
	skep_err_hint(err, "on the hive: skep-hive admin-link");
	return SKEP_E_PRIVILEGE;
}

static int make_admin(struct hive *hive, struct hive_tx *tx, const char *name, const char *hash,
		      struct hive_user *ret)
{
	_hive_group_ struct hive_group group = { 0 };
	int r = hive_row_find(tx, &hive_groups, "name", "administrators", &group);

	if (r == -ENOENT) {
		group = (struct hive_group){ .name = strdup("administrators"),
					     .description = strdup("may do everything"),
					     .rights = HIVE_RIGHTS_ALL,
					     .all_links = 1,
					     .quota_priority = HIVE_CRITICAL,
					     .created_ns = hive_now_ns(hive) };
		r = hive_row_insert(tx, &hive_groups, &group);
	}
	*ret = (struct hive_user){ .name = strdup(name), .source = strdup("local"), .password = strdup(hash),
				   .created_ns = hive_now_ns(hive) };
	if (r == 0)
		r = hive_row_insert(tx, &hive_users, ret);
	return r < 0 ? r : hive_member_add(tx, group.head.id, ret->head.id, "local");
}

int hive_first_claim(struct hive *hive, const struct hive_claim *claim, const struct hive_origin *origin,
		     struct hive_login *ret, struct skep_err *err)
{
	_hive_user_ struct hive_user user = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	char hash[HIVE_PASSWORD_TEXT];
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = check_first(hive, tx, claim->secret, err);
	if (r != 0)
		return r;
	if (!hive_name_fine(claim->name))
		return skep_err_set(err, SKEP_E_USAGE, "a name has 1 to %d letters, digits, '.', '_', '-' or '@'", HIVE_NAME_MAX);
	r = hive_password_acceptable(claim->password, claim->name, err);
	if (r == 0)
		r = hive_password_hash(claim->password, hash);
	if (r == 0)
		r = make_admin(hive, tx, claim->name, hash, &user);
	if (r == -EEXIST)
		return skep_err_set(err, SKEP_E_USAGE, "there is a user \"%s\" already", claim->name);
	if (r == 0)
		r = hive_setting_set(tx, FIRST_SECRET, NULL);
	if (r == 0)
		r = open_session(hive, tx, &user, origin, ret);
	return r != 0 ? r : hive_tx_commit(&tx);
}
