/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The generic handlers: list, get, create, change and delete of any kind of thing, with ETag, If-Match and
 * Idempotency-Key; which fields a client may set is in one table here, who may do it is the services' to say.
 * Any number at once.
 */
#include "hive/http/call.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEY_MAX 255

static const struct fields {
	const char *const *create, *const *change;
	const char *const *also; /* the handler's own members */
} all_fields[HIVE_KINDS] = {
	[HIVE_USER] = { (const char *const[]){ "name", "full_name", "email", NULL },
			(const char *const[]){ "name", "full_name", "email", "disabled", NULL },
			(const char *const[]){ "password", NULL } },
	[HIVE_GROUP] = { (const char *const[]){ "name", "description", "rights", "all_links", "quota_bytes", "quota_jobs",
						"quota_duration_s", "quota_priority", "retention_s", "forced_filter", "ldap_group", NULL },
			 (const char *const[]){ "name", "description", "rights", "all_links", "quota_bytes", "quota_jobs",
						"quota_duration_s", "quota_priority", "retention_s", "forced_filter", "ldap_group", NULL } },
	[HIVE_TOKEN] = { (const char *const[]){ "name", "rights", "expires", NULL } },
	[HIVE_PROBE] = { (const char *const[]){ "name", "address", "key_pin", "token", "description", "disabled", NULL },
			 (const char *const[]){ "name", "address", "key_pin", "token", "description", "disabled", NULL } },
	[HIVE_LINK] = { (const char *const[]){ "probe_id", "name", "interface", "description", "speed_bps", "max_jobs", "max_bps",
					       "disabled", NULL },
			(const char *const[]){ "name", "description", "speed_bps", "max_jobs", "max_bps", "disabled", NULL } },
	[HIVE_FILTER] = { (const char *const[]){ "name", "expression", "description", "shared", NULL },
			  (const char *const[]){ "name", "expression", "description", "shared", NULL } },
	[HIVE_TEMPLATE] = { (const char *const[]){ "name", "description", "shared", "job", NULL },
			    (const char *const[]){ "name", "description", "shared", "job", NULL } },
	[HIVE_SCHEDULE] = { (const char *const[]){ "name", "description", "disabled", "cron", "from", "until", "window_s", "repeat",
						   "missed_runs", "job", NULL },
			    (const char *const[]){ "name", "description", "disabled", "cron", "from", "until", "window_s", "repeat",
						   "missed_runs", "job", NULL } },
	[HIVE_WEBHOOK] = { (const char *const[]){ "name", "url", "events", "disabled", NULL },
			   (const char *const[]){ "name", "url", "events", "disabled", NULL } },
	[HIVE_SHARE] = { (const char *const[]){ "dataset_id", "name", "expires", "max_downloads", NULL }, NULL,
			 (const char *const[]){ "password", NULL } },
	[HIVE_NOTE] = { (const char *const[]){ "dataset_id", "text", NULL }, (const char *const[]){ "text", NULL } },
	[HIVE_IMPORT] = { (const char *const[]){ "name", "bytes", "sha256", NULL } },
	[HIVE_DESTINATION] = { (const char *const[]){ "name", "kind", "url", "user", "secret", "region", "host_key", "description",
						      "disabled", NULL },
			       (const char *const[]){ "name", "url", "user", "secret", "region", "host_key", "description",
						      "disabled", NULL } },
	[HIVE_COPY] = { (const char *const[]){ "dataset_id", "destination_id", NULL } },
	[HIVE_DATASET] = { NULL, (const char *const[]){ "name", "description", "pinned", "expires", NULL } },
};

/* ---- what the handlers share ---- */

int hive_http_complain(struct hive_call *call, int r, const struct hive_complaints *complaints)
{
	struct skep_problems problems = { 0 };
	char pointer[80];

	for (uint32_t i = 0; complaints && i < complaints->n; i++) {
		const char *field = complaints->items[i].field;

		snprintf(pointer, sizeof(pointer), "%s%s", *field ? "/" : "", field);
		skep_problems_add_err(&problems, complaints->items[i].err.code == SKEP_E_USAGE ? "bad-value" : NULL, pointer,
				      &complaints->items[i].err);
	}
	if (r == -ESTALE) {
		problems.status = 412;
		snprintf(problems.items[0].code, sizeof(problems.items[0].code), "changed-meanwhile");
	} else if (r == SKEP_E_BUSY) {
		problems.status = 409;
		snprintf(problems.items[0].code, sizeof(problems.items[0].code), "conflict");
	} else if (r > 0) {
		problems.status = skep_problem_status(r);
	}
	if (r < 0 && r != -ESTALE && !problems.n)
		return r; /* the server answers 500 and logs it */
	if (!problems.n)
		skep_problems_add(&problems, skep_problem_code(r), NULL, "%s", skep_problem_title(problems.status));
	return skep_http_answer_problems(call->req, &problems);
}

int64_t hive_http_id(struct hive_call *call, const char *param)
{
	const char *text = skep_http_param(call->req, param);
	char *end;
	int64_t id;

	errno = 0;
	id = strtoll(text, &end, 10);
	if (*end || errno || *text < '0' || *text > '9' || id < 1) {
		(void)skep_http_refuse(call->req, 404, "not-found", NULL, "there is no such %s", param);
		return -1;
	}
	return id;
}

int64_t hive_http_if_match(struct hive_call *call)
{
	const char *text = skep_http_header(call->req, "If-Match");
	char *end;
	int64_t version;

	if (!text)
		return 0;
	errno = 0;
	version = text[0] == '"' ? strtoll(text + 1, &end, 10) : 0;
	if (version < 1 || errno || strcmp(end, "\"") != 0) {
		(void)skep_http_refuse(call->req, 412, "changed-meanwhile", NULL, "If-Match is no ETag of this");
		return -1;
	}
	return version;
}

int hive_http_key(struct hive_call *call, const char **ret_key, char ret_digest[static HIVE_DIGEST_TEXT])
{
	const char *key = skep_http_header(call->req, "Idempotency-Key");
	_skep_free_ char *body = NULL;
	const void *data;
	size_t n = 0;

	*ret_key = NULL;
	if (!key)
		return 0;
	if (!*key || strlen(key) > KEY_MAX) {
		(void)skep_http_refuse(call->req, 400, "bad-key", NULL, "Idempotency-Key: must have 1 to %d bytes", KEY_MAX);
		return SKEP_E_USAGE;
	}
	data = skep_http_body(call->req, &n);
	body = strndup(n ? data : "", n); /* strict JSON has no NUL */
	if (!body)
		return -ENOMEM;
	hive_secret_digest_all(
		(const char *const[]){ call->route->method, skep_http_target(call->req), body }, 3,
		ret_digest);
	*ret_key = key;
	return 0;
}

/* ---- reading ---- */

int hive_http_things(struct hive_call *call)
{
	const struct hive_table *table = hive_thing_table(call->route->kind);
	_hive_rows_ struct hive_rows rows = { .table = table };
	struct hive_complaints complaints = { 0 };
	struct hive_list list;
	int r = hive_http_list(call, table, &list);

	if (r != 0)
		return r < 0 ? r : 0;
	r = hive_thing_list(call->hive, &call->actor, call->route->kind, &list, &rows, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_answer_rows(call, &rows);
}

int hive_http_thing(struct hive_call *call)
{
	const struct hive_table *table = hive_thing_table(call->route->kind);
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	void *row;
	int r;

	if (id < 0)
		return 0;
	row = calloc(1, table->row_bytes);
	if (!row)
		return -ENOMEM;
	r = hive_thing_get(call->hive, &call->actor, call->route->kind, id, row, &complaints);
	r = r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_answer_row(call, 200, table, row);
	hive_row_clear(table, row);
	free(row);
	return r;
}

/* ---- changing ---- */

static void set_defaults(enum hive_kind_of kind, void *row)
{
	if (kind == HIVE_GROUP)
		((struct hive_group *)row)->quota_priority = HIVE_NORMAL;
	else if (kind == HIVE_LINK)
		((struct hive_link *)row)->max_jobs = 4;
}

/* The body into the row; 0, or the answer is set and SKEP_E_USAGE, or -errno. */
static int take_body(struct hive_call *call, const char *const *fields, struct hive_change *change,
		     json_t **ret_body)
{
	const struct fields *own = &all_fields[call->route->kind];
	struct hive_http_take take = { .table = hive_thing_table(call->route->kind),
				       .fields = fields,
				       .also = own->also };
	struct skep_problems problems = { 0 };
	json_t *password;
	int r = skep_http_body_json(call->req, ret_body);

	if (r != 0)
		return r;
	hive_http_take_row(&take, *ret_body, change->row, &problems);
	password = own->also ? json_object_get(*ret_body, "password") : NULL;
	if (password && !json_is_string(password))
		skep_problems_add(&problems, "bad-value", "/password", "password: must be a text");
	change->password = json_string_value(password);
	if (!problems.n)
		return 0;
	r = skep_http_answer_problems(call->req, &problems);
	return r < 0 ? r : SKEP_E_USAGE;
}

int hive_http_answer_created(struct hive_call *call, const struct hive_change *change)
{
	const struct hive_table *table = hive_thing_table(change->kind);
	char location[128];
	json_t *object;

	snprintf(location, sizeof(location), "%s/%" PRId64, call->route->pattern, ((struct hive_row *)change->row)->id);
	(void)skep_http_add_header(call->req, "Location", location);
	if (!change->secret[0])
		return hive_http_answer_row(call, change->again ? 200 : 201, table, change->row);
	object = hive_http_row_json(table, change->row);
	if (!object || json_object_set_new(object, change->kind == HIVE_TOKEN ? "token" : "secret",
					   json_string(change->secret)) < 0) {
		json_decref(object);
		return -ENOMEM;
	}
	return skep_http_answer_json(call->req, 201, object);
}

int hive_http_thing_create(struct hive_call *call)
{
	const struct hive_table *table = hive_thing_table(call->route->kind);
	struct hive_change change = { .kind = call->route->kind, .row = calloc(1, table->row_bytes) };
	struct hive_complaints complaints = { 0 };
	_skep_json_ json_t *body = NULL;
	char digest[HIVE_DIGEST_TEXT];
	int r = change.row ? hive_http_key(call, &change.key, digest) : -ENOMEM;

	change.request = digest;
	if (change.row)
		set_defaults(change.kind, change.row);
	if (r == 0)
		r = take_body(call, all_fields[change.kind].create, &change, &body);
	if (r != 0) {
		r = r < 0 ? r : 0;
	} else {
		r = hive_thing_create(call->hive, &call->actor, &change, &complaints);
		r = r != 0 ? hive_http_complain(call, r, &complaints)
			   : hive_http_answer_created(call, &change);
	}
	hive_secret_wipe(change.secret, sizeof(change.secret));
	if (change.row)
		hive_row_clear(table, change.row);
	free(change.row);
	return r;
}

static int change_row(struct hive_call *call, struct hive_change *change, int64_t version,
		      struct hive_complaints *complaints)
{
	const struct hive_table *table = hive_thing_table(change->kind);
	_skep_json_ json_t *body = NULL;
	int r = hive_thing_get(call->hive, &call->actor, change->kind, hive_http_id(call, "id"), change->row, complaints);

	if (r != 0)
		return hive_http_complain(call, r, complaints);
	r = take_body(call, all_fields[change->kind].change, change, &body);
	if (r != 0)
		return r < 0 ? r : 0;
	/* what the client has seen, not what was read just now */
	((struct hive_row *)change->row)->version = version;
	r = hive_thing_change(call->hive, &call->actor, change, complaints);
	return r != 0 ? hive_http_complain(call, r, complaints)
		      : hive_http_answer_row(call, 200, table, change->row);
}

int hive_http_thing_change(struct hive_call *call)
{
	const struct hive_table *table = hive_thing_table(call->route->kind);
	struct hive_change change = { .kind = call->route->kind };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id"), version = id < 0 ? -1 : hive_http_if_match(call);
	int r;

	if (version < 0)
		return 0;
	if (!version)
		return skep_http_refuse(call->req, 428, "if-match", NULL, "a change needs If-Match with the ETag of what is changed");
	change.row = calloc(1, table->row_bytes);
	if (!change.row)
		return -ENOMEM;
	r = change_row(call, &change, version, &complaints);
	hive_row_clear(table, change.row);
	free(change.row);
	return r;
}

int hive_http_thing_delete(struct hive_call *call)
{
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id"), version = id < 0 ? -1 : hive_http_if_match(call);
	int r;

	if (version < 0)
		return 0;
	r = hive_thing_delete(call->hive, &call->actor, call->route->kind, id, version, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : skep_http_answer_empty(call->req, 204);
}

/* ---- relations of groups ---- */

int hive_http_group_members(struct hive_call *call)
{
	_hive_rows_ struct hive_rows rows = { .table = &hive_members };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	int r;

	if (id < 0)
		return 0;
	r = hive_group_members(call->hive, &call->actor, id, &rows, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_answer_rows(call, &rows);
}

static int relate(struct hive_call *call, const char *param,
		  int (*join)(struct hive *, const struct hive_actor *, int64_t, int64_t, bool,
			      struct hive_complaints *))
{
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id"), other = id < 0 ? -1 : hive_http_id(call, param);
	int r;

	if (other < 0)
		return 0;
	r = join(call->hive, &call->actor, id, other, call->route->value != 0, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : skep_http_answer_empty(call->req, 204);
}

int hive_http_group_member(struct hive_call *call)
{
	return relate(call, "user", hive_group_join);
}

int hive_http_group_link(struct hive_call *call)
{
	return relate(call, "link", hive_group_use_link);
}
