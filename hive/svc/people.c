/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of users, groups, tokens and sessions. Nobody raises their own rights: not by a group (that they
 * are in, or that has more than they), not by another user's password, not by a token; and somebody who may
 * do everything always remains. See hive/auth/rights.h. Any thread.
 */
#include "hive/svc/things_priv.h"

#include "hive/svc/audit.h"
#include "hive/svc/login.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TOKEN_MAX_NS (366ll * 24 * 3600 * 1000000000)

static int complain_privilege(struct hive_complaints *complaints, const char *field, const char *text)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, SKEP_E_PRIVILEGE, "%s", text);
	return hive_complain_err(complaints, field, &err);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* ---- users ---- */

static int user_scope(const struct hive_actor *actor, struct hive_list *list)
{
	if (!hive_actor_can(actor, HIVE_RIGHT_USERS))
		hive_narrow(list, &hive_users, "id", HIVE_EQ, actor->user_id);
	return 0;
}

/* Who could change somebody with more rights (their password!) would have those rights. */
static int user_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	const struct hive_user *user = row;
	int64_t rights = 0;
	int r;

	if (user->head.id == actor->user_id)
		return verb == HIVE_REMOVE ? SKEP_E_PRIVILEGE : 0;
	if (!hive_actor_can(actor, HIVE_RIGHT_USERS))
		return SKEP_E_NOT_FOUND;
	if (verb == HIVE_SEE)
		return 0;
	r = hive_rights_of(tx, user->head.id, &rights);
	return r < 0 ? r : rights & ~actor->rights ? SKEP_E_PRIVILEGE : 0;
}

static int take_password(struct hive_wish *wish, struct hive_user *user)
{
	char hash[HIVE_PASSWORD_TEXT];
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	if (wish->actor->token_id)
		return complain_privilege(wish->complaints, "password", "a token cannot set passwords; log in");
	if (strcmp(user->source, "local") != 0)
		return hive_complain(wish->complaints, "password", "the password of this user is the directory's");
	r = hive_password_acceptable(wish->change->password, user->name, &err);
	if (r != 0)
		return hive_complain_err(wish->complaints, "password", &err);
	r = hive_password_hash(wish->change->password, hash);
	if (r < 0)
		return r;
	free(user->password);
	user->password = strdup(hash);
	return user->password ? 0 : -ENOMEM;
}

static int user_check(struct hive_wish *wish)
{
	struct hive_user *user = wish->change->row;
	const struct hive_user *before = wish->before;
	bool others = hive_actor_can(wish->actor, HIVE_RIGHT_USERS);

	if (!before && !others)
		return SKEP_E_PRIVILEGE;
	if (!user->name || !hive_name_fine(user->name))
		(void)hive_complain(wish->complaints, "name", "name: must have 1 to %d letters, digits, '.', '_', '-' or '@'",
				    HIVE_NAME_MAX);
	if (!before) {
		user->source = strdup("local");
		user->created_ns = hive_now_ns(wish->hive);
		if (!user->source)
			return -ENOMEM;
	} else if (!others && (!same(user->name, before->name) || user->disabled != before->disabled)) {
		(void)complain_privilege(wish->complaints, "name", "only somebody with the right \"users\" changes names and accounts");
	}
	if (before && user->disabled && before->head.id == wish->actor->user_id)
		(void)hive_complain(wish->complaints, "disabled", "disabled: nobody can disable themselves");
	if (!wish->complaints->n && wish->change->password)
		return take_password(wish, user);
	return wish->complaints->n ? wish->complaints->items[0].err.code : 0;
}

static int user_after(struct hive_wish *wish)
{
	const struct hive_user *user = wish->change->row, *before = wish->before;
	int64_t n = 0;

	/* A new password or none any more: whoever used the old one is out. */
	if (before && user && (user->disabled || wish->change->password))
		n = hive_sessions_end_of(wish->tx, user->head.id);
	return n < 0 ? (int)n : before ? hive_keep_an_admin(wish) : 0;
}

const struct hive_rules hive_user_rules = {
	.table = &hive_users, .word = "user", .scope = user_scope, .may = user_may, .check = user_check, .after = user_after,
};

/* ---- groups ---- */

static int group_scope(const struct hive_actor *actor, struct hive_list *list)
{
	if (!hive_actor_can(actor, HIVE_RIGHT_GROUPS))
		hive_narrow(list, &hive_groups, "id", HIVE_MY_GROUPS, actor->user_id);
	return 0;
}

static int group_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	const struct hive_group *group = row;
	bool member = false;
	int r = hive_is_member(tx, group->head.id, actor->user_id, &member);

	if (r < 0)
		return r;
	if (verb == HIVE_SEE)
		return member || hive_actor_can(actor, HIVE_RIGHT_GROUPS) ? 0 : SKEP_E_NOT_FOUND;
	if (!hive_actor_can(actor, HIVE_RIGHT_GROUPS))
		return SKEP_E_PRIVILEGE;
	if (hive_actor_can(actor, HIVE_RIGHTS_ALL))
		return 0;
	/* Its quotas and links would be their own; and who may change a group that can do more, can do it. */
	return member || (group->rights & ~actor->rights) ? SKEP_E_PRIVILEGE : 0;
}

static int group_check(struct hive_wish *wish)
{
	struct hive_group *group = wish->change->row;
	const struct hive_group *before = wish->before;
	struct skep_err err = SKEP_ERR_NULL;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_GROUPS))
		return SKEP_E_PRIVILEGE;
	(void)hive_check_name(wish->complaints, "name", group->name);
	if (hive_rights_may_change(wish->actor->rights, before ? before->rights : 0, group->rights, &err))
		(void)hive_complain_err(wish->complaints, "rights", &err);
	if (group->quota_bytes < 0 || group->quota_jobs < 0 || group->quota_duration_s < 0 ||
	    group->retention_s < 0)
		(void)hive_complain(wish->complaints, "quota_bytes", "quotas: must not be negative; 0 is no limit");
	if (group->quota_priority < HIVE_LOW || group->quota_priority > HIVE_CRITICAL)
		(void)hive_complain(wish->complaints, "quota_priority", "quota_priority: must be low, normal, high or critical");
	if (!before)
		group->created_ns = hive_now_ns(wish->hive);
	return wish->complaints->n ? wish->complaints->items[0].err.code : 0;
}

static int group_after(struct hive_wish *wish)
{
	return wish->before ? hive_keep_an_admin(wish) : 0;
}

const struct hive_rules hive_group_rules = {
	.table = &hive_groups, .word = "group", .scope = group_scope, .may = group_may, .check = group_check,
	.after = group_after,
};

/* The group, if the actor may change who and what is in it. */
static int group_to_change(struct hive_wish *wish, int64_t group_id, struct hive_group *ret)
{
	int r = hive_row_get(wish->tx, &hive_groups, group_id, ret);

	if (r == 0)
		r = group_may(wish->tx, wish->actor, ret, HIVE_SEE);
	if (r == -ENOENT || r == SKEP_E_NOT_FOUND) {
		struct skep_err err = SKEP_ERR_NULL;

		(void)skep_err_set(&err, SKEP_E_NOT_FOUND, "there is no such group");
		return hive_complain_err(wish->complaints, NULL, &err);
	}
	if (r == 0)
		r = group_may(wish->tx, wish->actor, ret, HIVE_ALTER);
	return r == SKEP_E_PRIVILEGE ? complain_privilege(wish->complaints, NULL, "you may not change this group") : r;
}

static int relation_done(struct hive_wish *wish, const char *action, int64_t group_id, const char *what,
			 int64_t id)
{
	char object[64], detail[64];
	int r;

	snprintf(object, sizeof(object), "group %" PRId64, group_id);
	snprintf(detail, sizeof(detail), "%s %" PRId64, what, id);
	r = hive_audit_add(wish->hive, wish->tx, wish->actor, action, object, detail);
	return r < 0 ? r : hive_tx_commit(&wish->tx);
}

static int no_such(struct hive_complaints *complaints, const char *text)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, SKEP_E_NOT_FOUND, "%s", text);
	return hive_complain_err(complaints, NULL, &err);
}

int hive_group_join(struct hive *hive, const struct hive_actor *actor, int64_t group_id, int64_t user_id,
		    bool in, struct hive_complaints *complaints)
{
	_hive_group_ struct hive_group group = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_wish wish = { .hive = hive, .actor = actor, .complaints = complaints };
	int r = hive_db_write(hive->db, &tx);

	wish.tx = tx;
	if (r == 0)
		r = group_to_change(&wish, group_id, &group);
	if (r == 0 && user_id == actor->user_id && !hive_actor_can(actor, HIVE_RIGHTS_ALL))
		r = complain_privilege(complaints, NULL, "nobody puts themselves into a group");
	if (r == 0)
		r = in ? hive_member_add(tx, group_id, user_id, "local") : hive_member_remove(tx, group_id, user_id, "local");
	if (r == -ENOENT)
		r = no_such(complaints, in ? "there is no such user" : "the user is not a member, or the directory says so");
	if (r == 0)
		r = hive_keep_an_admin(&wish);
	if (r != 0)
		return r;
	r = relation_done(&wish, in ? "group.join" : "group.leave", group_id, "user", user_id);
	tx = wish.tx;
	return r;
}

int hive_group_use_link(struct hive *hive, const struct hive_actor *actor, int64_t group_id, int64_t link_id,
			bool in, struct hive_complaints *complaints)
{
	_hive_group_ struct hive_group group = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_wish wish = { .hive = hive, .actor = actor, .complaints = complaints };
	int r = hive_db_write(hive->db, &tx);

	wish.tx = tx;
	if (r == 0)
		r = group_to_change(&wish, group_id, &group);
	if (r == 0)
		r = in ? hive_group_link_add(tx, group_id, link_id)
		       : hive_group_link_remove(tx, group_id, link_id);
	if (r == -ENOENT)
		r = no_such(complaints, in ? "there is no such link" : "the group does not have this link");
	if (r != 0)
		return r;
	r = relation_done(&wish, in ? "group.link" : "group.unlink", group_id, "link", link_id);
	tx = wish.tx;
	return r;
}

int hive_group_members(struct hive *hive, const struct hive_actor *actor, int64_t group_id,
		       struct hive_rows *ret, struct hive_complaints *complaints)
{
	_hive_group_ struct hive_group group = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_list list = { .limit = HIVE_PAGE_MAX };
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_groups, group_id, &group);
	if (r == 0)
		r = group_may(tx, actor, &group, HIVE_SEE);
	if (r == -ENOENT || r == SKEP_E_NOT_FOUND)
		return no_such(complaints, "there is no such group");
	hive_narrow(&list, &hive_members, "group_id", HIVE_EQ, group_id);
	return r < 0 ? r : hive_row_list(tx, &hive_members, &list, ret);
}

/* ---- tokens and sessions ---- */

static int token_scope(const struct hive_actor *actor, struct hive_list *list)
{
	if (!hive_actor_can(actor, HIVE_RIGHT_USERS))
		hive_narrow(list, &hive_tokens, "user_id", HIVE_EQ, actor->user_id);
	return 0;
}

static int token_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	const struct hive_token *token = row;

	(void)tx;
	if (token->user_id != actor->user_id && !hive_actor_can(actor, HIVE_RIGHT_USERS))
		return SKEP_E_NOT_FOUND;
	return verb == HIVE_ALTER ? SKEP_E_PRIVILEGE : 0; /* a token is made and revoked, never changed */
}

static int token_check(struct hive_wish *wish)
{
	struct hive_token *token = wish->change->row;
	int64_t now = hive_now_ns(wish->hive), more = token->rights & ~wish->actor->rights;
	char digest[HIVE_DIGEST_TEXT];

	if (wish->actor->token_id)
		return complain_privilege(wish->complaints, NULL, "a token cannot make tokens; log in");
	(void)hive_check_name(wish->complaints, "name", token->name);
	for (unsigned int i = 0; i < HIVE_RIGHTS_N; i++)
		if (more >> i & 1)
			(void)hive_complain(wish->complaints, "rights", "rights: you do not have \"%s\" yourself", hive_right_name(i));
	if (!token->rights)
		(void)hive_complain(wish->complaints, "rights", "rights: a token without any is no use");
	if (token->expires_ns <= now || token->expires_ns > now + TOKEN_MAX_NS)
		(void)hive_complain(wish->complaints, "expires", "expires: must be a time within the next 366 days");
	if (wish->complaints->n)
		return wish->complaints->items[0].err.code;
	hive_secret_make("skep_t_", wish->change->secret);
	hive_secret_digest(wish->change->secret, digest);
	token->digest = strdup(digest);
	token->user_id = wish->actor->user_id;
	token->created_ns = now;
	return token->digest ? 0 : -ENOMEM;
}

const struct hive_rules hive_token_rules = {
	.table = &hive_tokens, .word = "token", .scope = token_scope, .may = token_may, .check = token_check,
};

static int session_scope(const struct hive_actor *actor, struct hive_list *list)
{
	hive_narrow(list, &hive_sessions, "user_id", HIVE_EQ, actor->user_id);
	return 0;
}

static int session_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row,
		       enum hive_verb verb)
{
	const struct hive_session *session = row;

	(void)tx;
	return session->user_id != actor->user_id ? SKEP_E_NOT_FOUND
	       : verb == HIVE_ALTER		  ? SKEP_E_PRIVILEGE
						  : 0;
}

const struct hive_rules hive_session_rules = {
	.table = &hive_sessions, .word = "session", .fixed = true, .scope = session_scope, .may = session_may,
};

/* ---- audit ---- */

static int audit_scope(const struct hive_actor *actor, struct hive_list *list)
{
	(void)list;
	return hive_actor_can(actor, HIVE_RIGHT_AUDIT) ? 0 : SKEP_E_PRIVILEGE;
}

static int audit_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	(void)tx;
	(void)row;
	return !hive_actor_can(actor, HIVE_RIGHT_AUDIT) ? SKEP_E_NOT_FOUND
	       : verb == HIVE_SEE			? 0
							: SKEP_E_PRIVILEGE;
}

const struct hive_rules hive_audit_rules = {
	.table = &hive_audits, .word = "audit entry", .fixed = true, .scope = audit_scope, .may = audit_may,
};
