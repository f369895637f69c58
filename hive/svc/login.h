/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_LOGIN_H
#define HIVE_SVC_LOGIN_H
/*
 * Who somebody is: by name and password, by the cookie of a session, by a token; and the first administrator.
 */
#include "hive/svc/hive.h"

/* Where a request comes from; texts are borrowed. */
struct hive_origin {
	const char *address;
	const char *agent; /* NULL: not said */
};

struct hive_login {
	struct hive_actor actor;
	char session[HIVE_SECRET_TEXT]; /* the cookie's value; known to nobody but the client from now on */
	uint64_t wait_s;                /* SKEP_E_BUSY: seconds until the next attempt is looked at */
};

/*
 * SKEP_E_PRIVILEGE: wrong, disabled or unknown, and nobody can tell which; SKEP_E_BUSY: too many wrong ones.
 */
int hive_login(struct hive *hive, const char *name, const char *password, const struct hive_origin *origin,
	       struct hive_login *ret, struct skep_err *err);
int hive_logout(struct hive *hive, const struct hive_actor *actor);
/* Ends all sessions of the actor. */
int hive_logout_everywhere(struct hive *hive, const struct hive_actor *actor);
/* By the cookie's or the token's text; SKEP_E_PRIVILEGE: it is none, or not any more. */
int hive_actor_by_session(struct hive *hive, const char *session, const struct hive_origin *origin,
			  struct hive_actor *ret);
int hive_actor_by_token(struct hive *hive, const char *token, const struct hive_origin *origin,
			struct hive_actor *ret);
/* Reads anew whether the actor's session or token still holds, and their rights. SKEP_E_PRIVILEGE: no more.
 */
int hive_actor_again(struct hive *hive, struct hive_actor *actor);
/* The user, as they may act now; `by` stands for their address. SKEP_E_PRIVILEGE: they are disabled. */
int hive_actor_of_user(struct hive *hive, int64_t user_id, const char *by, struct hive_actor *ret);
/* The union of the rights of the user's groups. */
int hive_rights_of(struct hive_tx *tx, int64_t user_id, int64_t *ret);

/*
 * A one-time secret with which an administrator is made: valid for a day, replaces an earlier one.
 * SKEP_E_BUSY: there is an administrator already (unless `anyway`).
 */
int hive_first_secret(struct hive *hive, bool anyway, char ret[static HIVE_SECRET_TEXT]);
/*
 * Makes the user and the group "administrators" and logs in. SKEP_E_PRIVILEGE: the secret is wrong or used.
 */
struct hive_claim {
	const char *secret, *name, *password;
};

int hive_first_claim(struct hive *hive, const struct hive_claim *claim, const struct hive_origin *origin,
		     struct hive_login *ret, struct skep_err *err);
/* Ends sessions that are over. */
int hive_sessions_clean(struct hive *hive);
/* A name that people and logs can read: letters, digits, . _ - @; at most 64. */
bool hive_name_fine(const char *name);

#endif
