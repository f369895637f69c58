/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one way to read and change things: rules first, then the row, the consequences and the audit entry in
 * one transaction. A kind without a rule for something does not allow it. Knows no kind itself. Any thread.
 */
#include "hive/svc/things_priv.h"

#include "hive/svc/audit.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct hive_rules *const all_rules[HIVE_KINDS] = {
	[HIVE_USER] = &hive_user_rules,	      [HIVE_GROUP] = &hive_group_rules,
	[HIVE_TOKEN] = &hive_token_rules,     [HIVE_SESSION] = &hive_session_rules,
	[HIVE_PROBE] = &hive_probe_rules,     [HIVE_LINK] = &hive_link_rules,
	[HIVE_JOB] = &hive_job_rules,	      [HIVE_FILTER] = &hive_filter_rules,
	[HIVE_DATASET] = &hive_dataset_rules, [HIVE_AUDIT] = &hive_audit_rules,
	[HIVE_TEMPLATE] = &hive_template_rules, [HIVE_SCHEDULE] = &hive_schedule_rules,
	[HIVE_WEBHOOK] = &hive_webhook_rules,
	[HIVE_SHARE] = &hive_share_rules,     [HIVE_NOTE] = &hive_note_rules,
	[HIVE_IMPORT] = &hive_import_rules,   [HIVE_DESTINATION] = &hive_destination_rules,
	[HIVE_COPY] = &hive_copy_rules,
};

const struct hive_table *hive_thing_table(enum hive_kind_of kind)
{
	return all_rules[kind]->table;
}

const char *hive_thing_word(enum hive_kind_of kind)
{
	return all_rules[kind]->word;
}

/* ---- complaints ---- */

static int complain_as(struct hive_complaints *complaints, int code, const char *text)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, code, "%s", text);
	return hive_complain_err(complaints, NULL, &err);
}

/* What the database said, in words; the rest stays -errno. */
static int explain(const struct hive_rules *rules, int r, struct hive_complaints *complaints)
{
	char text[128];

	switch (r) {
	case SKEP_E_NOT_FOUND:
	case -ENOENT:
		snprintf(text, sizeof(text), "there is no such %s", rules->word);
		return complaints->n ? r : complain_as(complaints, SKEP_E_NOT_FOUND, text);
	case -EEXIST:
		snprintf(text, sizeof(text), "there is a %s of that name already", rules->word);
		return complain_as(complaints, SKEP_E_BUSY, text);
	case -EBUSY:
		snprintf(text, sizeof(text), "the %s is still referred to by others", rules->word);
		return complain_as(complaints, SKEP_E_BUSY, text);
	case -EINVAL:
		return complain_as(complaints, SKEP_E_USAGE, "a value is out of its range");
	case -ESTALE:
		snprintf(text, sizeof(text), "the %s was changed by somebody else meanwhile", rules->word);
		(void)complain_as(complaints, SKEP_E_BUSY, text);
		return -ESTALE;
	case SKEP_E_PRIVILEGE:
		return complaints->n ? r : complain_as(complaints, r, "you may not do this");
	default:
		return r;
	}
}

void hive_narrow(struct hive_list *list, const struct hive_table *table, const char *field, enum hive_op op,
		 int64_t number)
{
	assert(list->n_conds < HIVE_CONDS_MAX);
	list->conds[list->n_conds++] = (struct hive_cond){ .field = strcmp(field, "id") ? hive_field_find(table, field) : NULL,
							    .op = op, .number = number };
}

/* ---- reading ---- */

int hive_thing_list(struct hive *hive, const struct hive_actor *actor, enum hive_kind_of kind,
		    const struct hive_list *list, struct hive_rows *ret, struct hive_complaints *complaints)
{
	const struct hive_rules *rules = all_rules[kind];
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_list narrowed = *list;
	int r = rules->scope ? rules->scope(actor, &narrowed) : SKEP_E_PRIVILEGE;

	if (r != 0)
		return explain(rules, r, complaints);
	r = hive_db_read(hive->db, &tx);
	if (r == 0)
		r = hive_row_list(tx, rules->table, &narrowed, ret);
	return r == -EINVAL ? hive_complain(complaints, "cursor", "the cursor is not one of this list and order") : r;
}

static int read_seen(const struct hive_rules *rules, struct hive_tx *tx, const struct hive_actor *actor,
		     int64_t id, void *ret)
{
	int r = hive_row_get(tx, rules->table, id, ret);

	return r < 0 ? r : rules->may ? rules->may(tx, actor, ret, HIVE_SEE) : SKEP_E_NOT_FOUND;
}

int hive_thing_get(struct hive *hive, const struct hive_actor *actor, enum hive_kind_of kind, int64_t id,
		   void *ret, struct hive_complaints *complaints)
{
	const struct hive_rules *rules = all_rules[kind];
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = read_seen(rules, tx, actor, id, ret);
	if (r == 0)
		return 0;
	hive_row_clear(rules->table, ret);
	return explain(rules, r, complaints);
}

/* ---- changing ---- */

/* The lock always comes before the transaction (jobs.c). */
static int begin(struct hive *hive, const struct hive_rules *rules, struct hive_tx **ret)
{
	if (rules->committed)
		pthread_mutex_lock(&hive->jobs_lock);
	return hive_db_write(hive->db, ret);
}

static int end(struct hive_wish *wish, const struct hive_rules *rules, int r)
{
	if (r == 0)
		r = hive_tx_commit(&wish->tx);
	else
		hive_tx_abortp(&wish->tx);
	if (r == 0 && rules->committed)
		rules->committed(wish);
	if (rules->committed)
		pthread_mutex_unlock(&wish->hive->jobs_lock);
	return explain(rules, r, wish->complaints);
}

static int audit(struct hive_wish *wish, const char *verb, int64_t id)
{
	const struct hive_rules *rules = all_rules[wish->change->kind];
	const struct hive_field *name = hive_field_find(rules->table, "name");
	const void *row = wish->change->row ? wish->change->row : wish->before;
	char action[64], object[64];

	snprintf(action, sizeof(action), "%s.%s", rules->word, verb);
	snprintf(object, sizeof(object), "%s %" PRId64, rules->word, id);
	return hive_audit_add(wish->hive, wish->tx, wish->actor, action, object,
			      name ? *hive_field_text(name, (void *)row) : NULL);
}

/* An earlier request with the same key: its row instead of a new one. */
static int made_before(struct hive_wish *wish, const struct hive_rules *rules, bool *ret)
{
	struct hive_change *change = wish->change;
	int64_t id = 0;
	int r = hive_answer_find(wish->tx, wish->actor->name, change->key, change->request, &id);

	if (r == -EEXIST)
		return hive_complain(wish->complaints, "Idempotency-Key", "the key was used for another request");
	if (r < 0 || !id)
		return r;
	hive_row_clear(rules->table, change->row);
	r = read_seen(rules, wish->tx, wish->actor, id, change->row);
	*ret = change->again = r == 0;
	return r;
}

static int create(struct hive_wish *wish, const struct hive_rules *rules)
{
	struct hive_change *change = wish->change;
	struct hive_row *head = change->row;
	bool before = false;
	int r = change->key ? made_before(wish, rules, &before) : 0;

	if (r != 0 || before)
		return r;
	r = rules->check(wish);
	if (r == 0)
		r = hive_row_insert(wish->tx, rules->table, change->row);
	if (r == 0 && rules->after)
		r = rules->after(wish);
	if (r == 0)
		r = audit(wish, "create", head->id);
	if (r == 0 && change->key)
		r = hive_answer_keep(wish->tx, wish->actor->name, change->key, change->request, head->id,
				     hive_now_ns(wish->hive));
	return r;
}

int hive_thing_create(struct hive *hive, const struct hive_actor *actor, struct hive_change *change,
		      struct hive_complaints *complaints)
{
	const struct hive_rules *rules = all_rules[change->kind];
	struct hive_wish wish = { .hive = hive, .actor = actor, .change = change, .complaints = complaints };
	int r;

	if (rules->fixed || !rules->check)
		return explain(rules, SKEP_E_PRIVILEGE, complaints);
	r = begin(hive, rules, &wish.tx);
	return end(&wish, rules, r == 0 ? create(&wish, rules) : r);
}

static int change_it(struct hive_wish *wish, const struct hive_rules *rules, void *before)
{
	struct hive_row *head = wish->change->row;
	int r = read_seen(rules, wish->tx, wish->actor, head->id, before);

	if (r == 0)
		r = rules->may(wish->tx, wish->actor, before, HIVE_ALTER);
	if (r == 0)
		r = rules->check(wish);
	if (r == 0)
		r = hive_row_update(wish->tx, rules->table, wish->change->row);
	if (r == 0 && rules->after)
		r = rules->after(wish);
	return r != 0 ? r : audit(wish, "change", head->id);
}

int hive_thing_change(struct hive *hive, const struct hive_actor *actor, struct hive_change *change,
		      struct hive_complaints *complaints)
{
	const struct hive_rules *rules = all_rules[change->kind];
	void *before = calloc(1, rules->table->row_bytes);
	struct hive_wish wish = {
		.hive = hive, .actor = actor, .change = change, .before = before, .complaints = complaints
	};
	int r;

	if (!before)
		return -ENOMEM;
	if (rules->fixed || !rules->check) {
		free(before);
		return explain(rules, SKEP_E_PRIVILEGE, complaints);
	}
	r = begin(hive, rules, &wish.tx);
	r = end(&wish, rules, r == 0 ? change_it(&wish, rules, before) : r);
	hive_row_clear(rules->table, before);
	free(before);
	return r;
}

static int delete_it(struct hive_wish *wish, const struct hive_rules *rules, int64_t id, int64_t version,
		     void *before)
{
	int r = read_seen(rules, wish->tx, wish->actor, id, before);

	if (r == 0)
		r = rules->may(wish->tx, wish->actor, before, HIVE_REMOVE);
	if (r == 0)
		r = hive_row_delete(wish->tx, rules->table, id, version);
	if (r == 0 && rules->after)
		r = rules->after(wish);
	return r != 0 ? r : audit(wish, "delete", id);
}

int hive_thing_delete(struct hive *hive, const struct hive_actor *actor, enum hive_kind_of kind, int64_t id,
		      int64_t version, struct hive_complaints *complaints)
{
	const struct hive_rules *rules = all_rules[kind];
	void *before = calloc(1, rules->table->row_bytes);
	struct hive_change change = { .kind = kind };
	struct hive_wish wish = {
		.hive = hive, .actor = actor, .change = &change, .before = before, .complaints = complaints
	};
	int r;

	if (!before)
		return -ENOMEM;
	r = begin(hive, rules, &wish.tx);
	r = end(&wish, rules, r == 0 ? delete_it(&wish, rules, id, version, before) : r);
	hive_row_clear(rules->table, before);
	free(before);
	return r;
}

/* ---- what several kinds share ---- */

int hive_keep_an_admin(struct hive_wish *wish)
{
	int64_t n = 0;
	int r = hive_users_with_rights(wish->tx, HIVE_RIGHTS_ALL, 0, &n);

	if (r < 0 || n)
		return r;
	return hive_complain(wish->complaints, NULL, "nobody would be left who may do everything");
}

int hive_check_name(struct hive_complaints *complaints, const char *field, const char *name)
{
	size_t n = name ? strlen(name) : 0;

	if (n < 1 || n > HIVE_NAME_MAX)
		return hive_complain(complaints, field, "%s: must have 1 to %d bytes", field, HIVE_NAME_MAX);
	for (; *name; name++)
		if ((unsigned char)*name < 0x20 || *name == 0x7f)
			return hive_complain(complaints, field, "%s: has control characters", field);
	return 0;
}

int hive_scope_owned(const struct hive_actor *actor, const struct hive_table *table, struct hive_list *list)
{
	if (hive_actor_can(actor, HIVE_RIGHT_JOBS_ALL))
		return 0;
	if (hive_actor_can(actor, HIVE_RIGHT_JOBS_GROUP))
		hive_narrow(list, table, "owner_id", HIVE_PEERS, actor->user_id);
	else if (hive_actor_can(actor, HIVE_RIGHT_JOBS))
		hive_narrow(list, table, "owner_id", HIVE_EQ, actor->user_id);
	else
		return SKEP_E_PRIVILEGE;
	return 0;
}

int hive_may_owned(struct hive_tx *tx, const struct hive_actor *actor, int64_t owner_id)
{
	int64_t peers = 0;
	int r;

	if (hive_actor_can(actor, HIVE_RIGHT_JOBS_ALL))
		return 0;
	if (owner_id == actor->user_id && (actor->rights & (HIVE_RIGHT_JOBS | HIVE_RIGHT_JOBS_GROUP)))
		return 0;
	if (!hive_actor_can(actor, HIVE_RIGHT_JOBS_GROUP))
		return SKEP_E_NOT_FOUND;
	r = hive_share_a_group(tx, actor->user_id, owner_id, &peers);
	return r < 0 ? r : peers ? 0 : SKEP_E_NOT_FOUND;
}
