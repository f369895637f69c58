/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_DB_PLANS_H
#define HIVE_DB_PLANS_H
/*
 * Rows of what makes jobs and tells of them: templates, schedules, webhooks and their deliveries.
 */
#include "hive/db/row.h"

struct hive_template {
	struct hive_row head;
	int64_t owner_id;
	char *name;
	char *description;
	int64_t shared; /* everybody may use it */
	char *job;      /* JSON: the fields of a job, any of them */
	int64_t created_ns;
};

enum hive_missed_runs { HIVE_MISSED_SKIP, HIVE_MISSED_LAST };

struct hive_schedule {
	struct hive_row head;
	int64_t owner_id;
	char *name;
	char *description;
	int64_t disabled;
	char *cron; /* "minute hour day month weekday", in UTC */
	int64_t from_ns, until_ns; /* runs begin in between; 0: at any time */
	int64_t window_s;          /* each run ends so long after its time; 0: no window */
	int64_t repeat;            /* so many runs, missed ones counted too; 0: for ever */
	int64_t missed_runs;
	char *job; /* JSON, as a template's */
	int64_t created_ns;
	int64_t next_ns; /* 0: no run is to come */
	int64_t last_ns; /* the time of the last run that made a job, and the job */
	int64_t last_job_id;
	int64_t runs, missed;
	char *reason; /* why the last run that was missed was */
};

enum hive_hook_event { HIVE_HOOK_CREATED, HIVE_HOOK_STARTED, HIVE_HOOK_ENDED, HIVE_HOOK_TEST };

struct hive_webhook {
	struct hive_row head;
	int64_t owner_id;
	char *name;
	char *url;
	int64_t events; /* bits 1 << HIVE_HOOK_* */
	char *secret;   /* signs what is sent, so it is stored as it is */
	int64_t disabled;
	int64_t created_ns;
};

enum hive_delivery_state { HIVE_DELIVERY_WAITING, HIVE_DELIVERY_DONE, HIVE_DELIVERY_FAILED };

struct hive_delivery {
	struct hive_row head;
	int64_t webhook_id;
	int64_t event;
	int64_t job_id;
	int64_t created_ns;
	int64_t state;
	int64_t attempts;
	int64_t next_ns; /* 0: none to come */
	int64_t done_ns;
	int64_t status; /* of the last answer; 0: there was none */
	char *answer;   /* why it did not work */
};

extern const char *const hive_missed_runs_names[];
extern const char *const hive_hook_event_names[];
extern const char *const hive_delivery_state_names[];
extern const struct hive_table hive_templates;
extern const struct hive_table hive_schedules;
extern const struct hive_table hive_webhooks;
extern const struct hive_table hive_deliveries;

void hive_template_clear(struct hive_template *row);
void hive_schedule_clear(struct hive_schedule *row);
void hive_webhook_clear(struct hive_webhook *row);
void hive_delivery_clear(struct hive_delivery *row);

#define _hive_template_ SKEP_CLEANUP(hive_template_clear)
#define _hive_schedule_ SKEP_CLEANUP(hive_schedule_clear)
#define _hive_webhook_ SKEP_CLEANUP(hive_webhook_clear)
#define _hive_delivery_ SKEP_CLEANUP(hive_delivery_clear)

/* The schedule whose run is due first, at or before now_ns; -ENOENT. */
int hive_schedule_due_first(struct hive_tx *tx, int64_t now_ns, struct hive_schedule *ret);
/* The delivery that is due first; -ENOENT. */
int hive_delivery_due_first(struct hive_tx *tx, int64_t now_ns, struct hive_delivery *ret);
/* A delivery of the event for each webhook of the owner that wants it. */
int hive_deliveries_add(struct hive_tx *tx, int64_t owner_id, enum hive_hook_event event, int64_t job_id,
			int64_t now_ns);
struct hive_counts {
	int64_t users, groups, tokens, sessions, links, schedules, webhooks, audit_entries;
	int64_t deliveries[3]; /* by state */
	int64_t seen_pkts, stored_pkts, rejected_pkts, dropped_pkts, stored_bytes; /* of all jobs */
};
int hive_counts_read(struct hive_tx *tx, struct hive_counts *ret);
/* Those that are over for longer. */
int hive_deliveries_forget(struct hive_tx *tx, int64_t before_ns);

#endif
