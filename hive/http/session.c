/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Login, logout, who am I, and the first administrator. The session's secret travels only in a cookie that
 * scripts cannot read; the CSRF token goes into the answer, for the page to send back. Passwords are wiped
 * when they were looked at. Any number at once.
 */
#include "hive/http/call.h"

#include "hive/svc/login.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A member that must be a text; else a problem, and "". */
static const char *text_of(const json_t *body, const char *name, struct skep_problems *problems)
{
	const json_t *value = json_object_get(body, name);
	char pointer[40];

	if (json_is_string(value))
		return json_string_value(value);
	snprintf(pointer, sizeof(pointer), "/%s", name);
	skep_problems_add(problems, "bad-value", pointer, "%s: must be a text", name);
	return "";
}

static void only(const json_t *body, const char *const *names, struct skep_problems *problems)
{
	const char *key, *const *name;
	char pointer[72];
	json_t *value;

	json_object_foreach((json_t *)body, key, value) {
		for (name = names; *name && strcmp(*name, key) != 0; name++)
			;
		snprintf(pointer, sizeof(pointer), "/%.64s", key);
		if (!*name)
			skep_problems_add(problems, "unknown-field", pointer, "%.64s: is no field of this", key);
	}
}

static json_t *actor_json(const struct hive_actor *actor)
{
	json_t *rights = json_array();

	for (unsigned int i = 0; i < HIVE_RIGHTS_N; i++)
		if (actor->rights >> i & 1)
			(void)json_array_append_new(rights, json_string(hive_right_name(i)));
	return json_pack("{s:I, s:s, s:o, s:s?}", "user_id", (json_int_t)actor->user_id, "name", actor->name, "rights", rights,
			 "csrf", actor->csrf[0] ? actor->csrf : NULL);
}

static int answer_login(struct hive_call *call, int r, struct hive_login *login, const struct skep_err *err)
{
	char text[HIVE_SECRET_TEXT + 96];

	if (r == SKEP_E_BUSY) {
		snprintf(text, sizeof(text), "%" PRIu64, login->wait_s);
		(void)skep_http_add_header(call->req, "Retry-After", text);
		return skep_http_refuse(call->req, 429, "too-many-wrong-passwords", NULL, "%s", err->text);
	}
	if (r == SKEP_E_PRIVILEGE)
		return skep_http_refuse(call->req, 401, "wrong-password", NULL, "%s", err->text);
	if (r != 0)
		return r < 0 ? r : skep_http_answer_err(call->req, err);
	snprintf(text, sizeof(text), HIVE_COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Strict", login->session);
	(void)skep_http_add_header(call->req, "Set-Cookie", text);
	hive_secret_wipe(text, sizeof(text));
	hive_secret_wipe(login->session, sizeof(login->session));
	return skep_http_answer_json(call->req, 201, actor_json(&login->actor));
}

static struct hive_origin origin_of(const struct hive_call *call)
{
	return (struct hive_origin){ .address = skep_http_peer(call->req), .agent = skep_http_header(call->req, "User-Agent") };
}

int hive_http_login(struct hive_call *call)
{
	static const char *const names[] = { "name", "password", NULL };
	const struct hive_origin origin = origin_of(call);
	struct skep_problems problems = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	struct hive_login login = { 0 };
	_skep_json_ json_t *body = NULL;
	const char *name, *password;
	int r = skep_http_body_json(call->req, &body);

	if (r != 0)
		return r < 0 ? r : 0;
	only(body, names, &problems);
	name = text_of(body, "name", &problems);
	password = text_of(body, "password", &problems);
	if (problems.n)
		return skep_http_answer_problems(call->req, &problems);
	r = hive_login(call->hive, name, password, &origin, &login, &err);
	hive_secret_wipe((char *)password, strlen(password));
	return answer_login(call, r, &login, &err);
}

int hive_http_claim(struct hive_call *call)
{
	static const char *const names[] = { "secret", "name", "password", NULL };
	const struct hive_origin origin = origin_of(call);
	struct skep_problems problems = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	struct hive_login login = { 0 };
	_skep_json_ json_t *body = NULL;
	struct hive_claim claim;
	int r = skep_http_body_json(call->req, &body);

	if (r != 0)
		return r < 0 ? r : 0;
	only(body, names, &problems);
	claim.secret = text_of(body, "secret", &problems);
	claim.name = text_of(body, "name", &problems);
	claim.password = text_of(body, "password", &problems);
	if (problems.n)
		return skep_http_answer_problems(call->req, &problems);
	r = hive_first_claim(call->hive, &claim, &origin, &login, &err);
	if (r == SKEP_E_PRIVILEGE)
		return skep_http_answer_err(call->req, &err);
	return answer_login(call, r, &login, &err);
}

static int forget_cookie(struct hive_call *call)
{
	(void)skep_http_add_header(call->req, "Set-Cookie",
				   HIVE_COOKIE "=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
	return skep_http_answer_empty(call->req, 204);
}

int hive_http_logout(struct hive_call *call)
{
	int r;

	if (!call->actor.session_id)
		return skep_http_refuse(call->req, 409, "no-session", NULL, "a token has no session; revoke it instead");
	r = hive_logout(call->hive, &call->actor);
	return r < 0 ? r : forget_cookie(call);
}

int hive_http_logout_everywhere(struct hive_call *call)
{
	int r = hive_logout_everywhere(call->hive, &call->actor);

	return r < 0 ? r : forget_cookie(call);
}

int hive_http_whoami(struct hive_call *call)
{
	return skep_http_answer_json(call->req, 200, actor_json(&call->actor));
}
