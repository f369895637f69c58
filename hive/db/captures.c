/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of captures. A job's row and the rows of its links are written by the job logic alone
 * (hive/svc/jobs.c), which keeps those of unfinished jobs in memory; everybody else only reads them. Any
 * thread that holds a transaction.
 */
#include "hive/db/captures.h"

#include "hive/db/accounts.h"

#include <errno.h>
#include <string.h>

const char *const hive_priority_names[] = { "low", "normal", "high", "critical", NULL };
const char *const hive_start_names[] = { "each", "together", NULL };
const char *const hive_missing_names[] = { "wait", "skip", "fail", NULL };
const char *const hive_finish_names[] = { "no", "limit", "stop", "fail", "cancel", NULL };
const char *const hive_job_kind_names[] = { "capture", "ring", "saved", NULL };
const char *const hive_outcome_names[] = { "none", "complete", "incomplete", NULL };
const char *const hive_job_state_names[] = { "scheduled", "queued", "starting", "running", "paused", "draining", "collecting",
					     "processing", "done", "failed", "cancelled", NULL };
const char *const hive_part_state_names[] = { "waiting", "starting", "running", "pausing", "paused", "resuming",
					      "stopping", "collecting", "ended", NULL };
const char *const hive_result_names[] = { "none", "collected", "unneeded", "skipped", "failed", "lost", "cancelled",
					  "released", NULL };

static const struct hive_field probe_fields[] = {
	HIVE_FIELD(hive_probe, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_probe, address, HIVE_TEXT, 0),
	HIVE_FIELD(hive_probe, key_pin, HIVE_TEXT, 0),
	HIVE_FIELD(hive_probe, token, HIVE_TEXT, HIVE_F_SECRET),
	HIVE_FIELD(hive_probe, description, HIVE_TEXT, 0),
	HIVE_FIELD(hive_probe, disabled, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_probe, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_probe, seen_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_probe, info, HIVE_TEXT, HIVE_F_JSON),
};

static const struct hive_field link_fields[] = {
	HIVE_FIELD(hive_link, probe_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_link, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_link, interface, HIVE_TEXT, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_link, description, HIVE_TEXT, 0),
	HIVE_FIELD(hive_link, speed_bps, HIVE_INT, HIVE_F_QUERY),
	HIVE_FIELD(hive_link, max_jobs, HIVE_INT, 0),
	HIVE_FIELD(hive_link, max_bps, HIVE_INT, 0),
	HIVE_FIELD(hive_link, disabled, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_link, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_link, info, HIVE_TEXT, HIVE_F_JSON),
};

static const struct hive_field job_fields[] = {
	HIVE_FIELD(hive_job, owner_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_job, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_job, filter, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, forced_filter, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, description, HIVE_TEXT, 0),
	HIVE_NAMED(hive_job, priority, hive_priority_names, HIVE_F_QUERY),
	HIVE_NAMED(hive_job, start_mode, hive_start_names, HIVE_F_FIXED),
	HIVE_NAMED(hive_job, missing, hive_missing_names, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, limit_duration_s, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, limit_bytes, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, limit_pkts, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, link_limit_bytes, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, link_limit_pkts, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, snaplen, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, trim, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, sample_every, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, sample_by_flow, HIVE_BOOL, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, format, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, expected_bps, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, start_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_job, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_NAMED(hive_job, state, hive_job_state_names, HIVE_F_QUERY),
	HIVE_NAMED(hive_job, outcome, hive_outcome_names, HIVE_F_QUERY),
	HIVE_FIELD(hive_job, reasons, HIVE_TEXT, 0),
	HIVE_FIELD(hive_job, held, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_NAMED(hive_job, finish, hive_finish_names, 0),
	HIVE_FIELD(hive_job, finish_by, HIVE_TEXT, 0),
	HIVE_FIELD(hive_job, started_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_job, ended_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_job, archived_ns, HIVE_TIME, HIVE_F_QUERY),
	HIVE_FIELD(hive_job, cloned_from, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_job, seen_pkts, HIVE_INT, 0),
	HIVE_FIELD(hive_job, stored_pkts, HIVE_INT, HIVE_F_QUERY),
	HIVE_FIELD(hive_job, rejected_pkts, HIVE_INT, 0),
	HIVE_FIELD(hive_job, dropped_pkts, HIVE_INT, 0),
	HIVE_FIELD(hive_job, stored_bytes, HIVE_INT, HIVE_F_QUERY),
	HIVE_FIELD(hive_job, kept_pkts, HIVE_INT, 0),
	HIVE_FIELD(hive_job, kept_bytes, HIVE_INT, 0),
	HIVE_NAMED(hive_job, kind, hive_job_kind_names, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_job, ring_duration_s, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, ring_bytes, HIVE_INT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, ring_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_job, from_ns, HIVE_TIME, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, to_ns, HIVE_TIME, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, end_ns, HIVE_TIME, HIVE_F_FIXED),
	HIVE_FIELD(hive_job, schedule_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
};

static const struct hive_field job_link_fields[] = {
	HIVE_FIELD(hive_job_link, job_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_job_link, link_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_job_link, probe_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_job_link, link_name, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_FIELD(hive_job_link, probe_name, HIVE_TEXT, HIVE_F_FIXED),
	HIVE_NAMED(hive_job_link, state, hive_part_state_names, HIVE_F_QUERY),
	HIVE_NAMED(hive_job_link, result, hive_result_names, HIVE_F_QUERY),
	HIVE_FIELD(hive_job_link, on_probe, HIVE_BOOL, 0),
	HIVE_FIELD(hive_job_link, capturing, HIVE_BOOL, 0),
	HIVE_FIELD(hive_job_link, alive, HIVE_BOOL, 0),
	HIVE_FIELD(hive_job_link, preempted, HIVE_BOOL, 0),
	HIVE_FIELD(hive_job_link, hot_ns, HIVE_TIME, HIVE_F_SECRET),
	HIVE_FIELD(hive_job_link, reason, HIVE_TEXT, 0),
	HIVE_FIELD(hive_job_link, started_ns, HIVE_TIME, 0),
	HIVE_FIELD(hive_job_link, ended_ns, HIVE_TIME, 0),
	HIVE_FIELD(hive_job_link, seen_pkts, HIVE_INT, 0),
	HIVE_FIELD(hive_job_link, stored_pkts, HIVE_INT, 0),
	HIVE_FIELD(hive_job_link, rejected_pkts, HIVE_INT, 0),
	HIVE_FIELD(hive_job_link, dropped_pkts, HIVE_INT, 0),
	HIVE_FIELD(hive_job_link, stored_bytes, HIVE_INT, 0),
	HIVE_FIELD(hive_job_link, captured_ns, HIVE_TIME, HIVE_F_SECRET),
	HIVE_FIELD(hive_job_link, gap, HIVE_BOOL, 0),
	HIVE_FIELD(hive_job_link, collected_pkts, HIVE_INT, 0),
	HIVE_FIELD(hive_job_link, collected_bytes, HIVE_INT, 0),
};

static const struct hive_field job_event_fields[] = {
	HIVE_FIELD(hive_job_event, job_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_job_event, time_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_job_event, link_id, HIVE_REF, HIVE_F_FIXED),
	HIVE_FIELD(hive_job_event, text, HIVE_TEXT, HIVE_F_FIXED),
};

static const struct hive_field filter_fields[] = {
	HIVE_FIELD(hive_filter, owner_id, HIVE_REF, HIVE_F_QUERY | HIVE_F_FIXED),
	HIVE_FIELD(hive_filter, name, HIVE_TEXT, HIVE_F_QUERY),
	HIVE_FIELD(hive_filter, expression, HIVE_TEXT, 0),
	HIVE_FIELD(hive_filter, description, HIVE_TEXT, 0),
	HIVE_FIELD(hive_filter, shared, HIVE_BOOL, HIVE_F_QUERY),
	HIVE_FIELD(hive_filter, created_ns, HIVE_TIME, HIVE_F_QUERY | HIVE_F_FIXED),
};

const struct hive_table hive_probes = HIVE_TABLE("probes", probe_fields, hive_probe);
const struct hive_table hive_links = HIVE_TABLE("links", link_fields, hive_link);
const struct hive_table hive_jobs_table = HIVE_TABLE("jobs", job_fields, hive_job);
const struct hive_table hive_job_links = HIVE_TABLE("job_links", job_link_fields, hive_job_link);
const struct hive_table hive_job_events = HIVE_TABLE("job_events", job_event_fields, hive_job_event);
const struct hive_table hive_filters = HIVE_TABLE("filters", filter_fields, hive_filter);

void hive_probe_clear(struct hive_probe *probe)
{
	hive_row_clear(&hive_probes, probe);
}

void hive_link_clear(struct hive_link *link)
{
	hive_row_clear(&hive_links, link);
}

void hive_job_clear(struct hive_job *job)
{
	hive_row_clear(&hive_jobs_table, job);
}

void hive_job_link_clear(struct hive_job_link *job_link)
{
	hive_row_clear(&hive_job_links, job_link);
}

void hive_job_event_clear(struct hive_job_event *job_event)
{
	hive_row_clear(&hive_job_events, job_event);
}

void hive_filter_clear(struct hive_filter *filter)
{
	hive_row_clear(&hive_filters, filter);
}

int hive_job_links_of(struct hive_tx *tx, int64_t job_id, struct hive_rows *ret)
{
	struct hive_list list = {
		.conds = { { .field = hive_field_find(&hive_job_links, "job_id"), .op = HIVE_EQ, .number = job_id } },
		.n_conds = 1,
		.limit = HIVE_PAGE_MAX,
	};

	return hive_row_list(tx, &hive_job_links, &list, ret);
}

int hive_jobs_open(struct hive_tx *tx, int64_t **ret, uint32_t *ret_n)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt,
			       "SELECT id FROM jobs WHERE state < ? UNION SELECT job_id FROM job_links WHERE on_probe ORDER BY 1",
			       "i", (int64_t)HIVE_JOB_DONE);

	return r < 0 ? r : hive_stmt_ints(stmt, ret, ret_n);
}

int hive_link_allowed(struct hive_tx *tx, int64_t user_id, int64_t link_id, bool *ret)
{
	int64_t n = 0;
	int r = hive_sql_int(tx, &n,
			     "SELECT EXISTS (SELECT 1 FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = ?"
			     " AND (g.all_links OR EXISTS (SELECT 1 FROM group_links l WHERE l.group_id = g.id AND l.link_id = ?)))",
			     "ii", user_id, link_id);

	if (r == 0)
		*ret = n != 0;
	return r;
}

int hive_group_link_add(struct hive_tx *tx, int64_t group_id, int64_t link_id)
{
	return hive_sql_run(tx, "INSERT INTO group_links (version, group_id, link_id) VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
			    "ii", group_id, link_id);
}

int hive_group_link_remove(struct hive_tx *tx, int64_t group_id, int64_t link_id)
{
	int64_t n = hive_sql_change(tx, "DELETE FROM group_links WHERE group_id = ? AND link_id = ?", "ii", group_id, link_id);

	return n < 0 ? (int)n : n == 0 ? -ENOENT : 0;
}

int hive_jobs_unfinished_of(struct hive_tx *tx, int64_t user_id, int64_t *ret)
{
	return hive_sql_int(tx, ret, "SELECT count(*) FROM jobs WHERE owner_id = ? AND state < ?", "ii", user_id,
			    (int64_t)HIVE_JOB_DONE);
}

int hive_groups_for_link(struct hive_tx *tx, int64_t user_id, int64_t link_id, struct hive_rows *ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	int r = hive_sql_query(tx, &stmt,
			       "SELECT DISTINCT g.id FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = ?"
			       " AND (g.all_links OR EXISTS (SELECT 1 FROM group_links l WHERE l.group_id = g.id AND l.link_id = ?))"
			       " ORDER BY g.id",
			       "ii", user_id, link_id);

	return r < 0 ? r : hive_groups_by(tx, stmt, ret);
}

int hive_job_archive(struct hive_tx *tx, int64_t job_id, int64_t now_ns)
{
	return hive_sql_run(tx, "UPDATE jobs SET archived_ns = ?, version = version + 1 WHERE id = ?", "ni", now_ns, job_id);
}

int hive_probe_seen(struct hive_tx *tx, int64_t probe_id, int64_t now_ns, const char *info)
{
	return hive_sql_run(tx, "UPDATE probes SET seen_ns = ?, info = coalesce(?, info) WHERE id = ?", "iti", now_ns, info, probe_id);
}

int hive_jobs_by_state(struct hive_tx *tx, int64_t ret[static HIVE_JOB_CANCELLED + 1])
{
	for (int64_t state = 0; state <= HIVE_JOB_CANCELLED; state++) {
		int r = hive_sql_int(tx, &ret[state], "SELECT count(*) FROM jobs WHERE state = ?", "i", state);

		if (r < 0)
			return r;
	}
	return 0;
}
