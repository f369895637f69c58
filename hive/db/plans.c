/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of templates, schedules, webhooks and deliveries. Knows no calendar and sends nothing. Any
 * thread that holds a transaction.
 */
#include "hive/db/plans.h"

#include <errno.h>

const char *const hive_missed_runs_names[] = { "skip", "last", NULL };
const char *const hive_hook_event_names[] = { "job.created", "job.started", "job.ended", "test", NULL };
const char *const hive_delivery_state_names[] = { "waiting", "done", "failed", NULL };

static const struct hive_field template_fields[] = {
	HIVE_FIELD(hive_template, owner_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_template, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_template, description, HIVE_TEXT, 0),
	HIVE_FIELD(hive_template, shared, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_template, job, HIVE_TEXT, HIVE_F_JSON),
	HIVE_FIELD(hive_template, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
};

static const struct hive_field schedule_fields[] = {
	HIVE_FIELD(hive_schedule, owner_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_schedule, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_schedule, description, HIVE_TEXT, 0),
	HIVE_FIELD(hive_schedule, disabled, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_schedule, cron, HIVE_TEXT, 0),
	HIVE_FIELD(hive_schedule, from_ns, HIVE_TIME, 0),
	HIVE_FIELD(hive_schedule, until_ns, HIVE_TIME, 0),
	HIVE_FIELD(hive_schedule, window_s, HIVE_INT, 0),
	HIVE_FIELD(hive_schedule, repeat, HIVE_INT, 0),
	HIVE_NAMED(hive_schedule, missed_runs, hive_missed_runs_names, 0),
	HIVE_FIELD(hive_schedule, job, HIVE_TEXT, HIVE_F_JSON),
	HIVE_FIELD(hive_schedule, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_schedule, next_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_schedule, last_ns, HIVE_TIME, 0),
	HIVE_FIELD(hive_schedule, last_job_id, HIVE_REF, 0),
	HIVE_FIELD(hive_schedule, runs, HIVE_INT, 0),
	HIVE_FIELD(hive_schedule, missed, HIVE_INT, 0),
	HIVE_FIELD(hive_schedule, reason, HIVE_TEXT, 0),
};

static const struct hive_field webhook_fields[] = {
	HIVE_FIELD(hive_webhook, owner_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_webhook, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_webhook, url, HIVE_TEXT, 0),
	HIVE_NAMED(hive_webhook, events, hive_hook_event_names, HIVE_F_SET),
	HIVE_FIELD(hive_webhook, secret, HIVE_TEXT, HIVE_F_SECRET | HIVE_F_FIXED),
	HIVE_FIELD(hive_webhook, disabled, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_webhook, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
};

static const struct hive_field delivery_fields[] = {
	HIVE_FIELD(hive_delivery, webhook_id, HIVE_REF, HIVE_F_FIXED),
	HIVE_NAMED(hive_delivery, event, hive_hook_event_names, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_delivery, job_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_delivery, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_NAMED(hive_delivery, state, hive_delivery_state_names, HIVE_F_QUERY),
	HIVE_FIELD(hive_delivery, attempts, HIVE_INT, 0),
	HIVE_FIELD(hive_delivery, next_ns, HIVE_TIME, 0),
	HIVE_FIELD(hive_delivery, done_ns, HIVE_TIME, 0),
	HIVE_FIELD(hive_delivery, status, HIVE_INT, 0),
	HIVE_FIELD(hive_delivery, answer, HIVE_TEXT, 0),
};

const struct hive_table hive_templates = HIVE_TABLE("templates", template_fields, hive_template);
const struct hive_table hive_schedules = HIVE_TABLE("schedules", schedule_fields, hive_schedule);
const struct hive_table hive_webhooks = HIVE_TABLE("webhooks", webhook_fields, hive_webhook);
const struct hive_table hive_deliveries = HIVE_TABLE("deliveries", delivery_fields, hive_delivery);

void hive_template_clear(struct hive_template *row)
{
	hive_row_clear(&hive_templates, row);
}

void hive_schedule_clear(struct hive_schedule *row)
{
	hive_row_clear(&hive_schedules, row);
}

void hive_webhook_clear(struct hive_webhook *row)
{
	hive_row_clear(&hive_webhooks, row);
}

void hive_delivery_clear(struct hive_delivery *row)
{
	hive_row_clear(&hive_deliveries, row);
}

int hive_schedule_due_first(struct hive_tx *tx, int64_t now_ns, struct hive_schedule *ret)
{
	int64_t id = 0;
	int r = hive_sql_int(tx, &id, "SELECT id FROM schedules WHERE next_ns <= ? AND NOT disabled ORDER BY next_ns LIMIT 1", "i",
			     now_ns);

	return r < 0 ? r : hive_row_get(tx, &hive_schedules, id, ret);
}

int hive_delivery_due_first(struct hive_tx *tx, int64_t now_ns, struct hive_delivery *ret)
{
	int64_t id = 0;
	int r = hive_sql_int(tx, &id, "SELECT id FROM deliveries WHERE next_ns <= ? ORDER BY next_ns LIMIT 1", "i", now_ns);

	return r < 0 ? r : hive_row_get(tx, &hive_deliveries, id, ret);
}

int hive_deliveries_add(struct hive_tx *tx, int64_t owner_id, enum hive_hook_event event, int64_t job_id,
			int64_t now_ns)
{
	return hive_sql_run(tx,
			    "INSERT INTO deliveries (version, webhook_id, event, job_id, created_ns, state, attempts, next_ns, status)"
			    " SELECT 1, id, ?1, ?2, ?3, 0, 0, ?3, 0 FROM webhooks"
			    " WHERE owner_id = ?4 AND NOT disabled AND (events >> ?1) & 1",
			    "inii", (int64_t)event, job_id, now_ns, owner_id);
}

int hive_deliveries_forget(struct hive_tx *tx, int64_t before_ns)
{
	return hive_sql_run(tx, "DELETE FROM deliveries WHERE next_ns IS NULL AND done_ns < ?", "i", before_ns);
}

int hive_counts_read(struct hive_tx *tx, struct hive_counts *ret)
{
	const struct {
		int64_t *n;
		const char *sql;
	} counts[] = {
		{ &ret->users, "SELECT count(*) FROM users WHERE NOT disabled" },
		{ &ret->groups, "SELECT count(*) FROM groups" },
		{ &ret->tokens, "SELECT count(*) FROM tokens WHERE revoked_ns IS NULL" },
		{ &ret->sessions, "SELECT count(*) FROM sessions" },
		{ &ret->links, "SELECT count(*) FROM links WHERE NOT disabled" },
		{ &ret->schedules, "SELECT count(*) FROM schedules WHERE next_ns IS NOT NULL AND NOT disabled" },
		{ &ret->webhooks, "SELECT count(*) FROM webhooks WHERE NOT disabled" },
		{ &ret->audit_entries, "SELECT coalesce(max(id), 0) FROM audit" },
		{ &ret->deliveries[HIVE_DELIVERY_WAITING], "SELECT count(*) FROM deliveries WHERE state = 0" },
		{ &ret->deliveries[HIVE_DELIVERY_DONE], "SELECT count(*) FROM deliveries WHERE state = 1" },
		{ &ret->deliveries[HIVE_DELIVERY_FAILED], "SELECT count(*) FROM deliveries WHERE state = 2" },
		{ &ret->seen_pkts, "SELECT coalesce(sum(seen_pkts), 0) FROM jobs" },
		{ &ret->stored_pkts, "SELECT coalesce(sum(stored_pkts), 0) FROM jobs" },
		{ &ret->rejected_pkts, "SELECT coalesce(sum(rejected_pkts), 0) FROM jobs" },
		{ &ret->dropped_pkts, "SELECT coalesce(sum(dropped_pkts), 0) FROM jobs" },
		{ &ret->stored_bytes, "SELECT coalesce(sum(stored_bytes), 0) FROM jobs" },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(counts) && r == 0; i++)
		r = hive_sql_int(tx, counts[i].n, counts[i].sql, "");
	return r;
}
