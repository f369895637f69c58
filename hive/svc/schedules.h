/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_SCHEDULES_H
#define HIVE_SVC_SCHEDULES_H
/*
 * Jobs that come again: the calendar (pure), and the runs that it asks for.
 */
#include "hive/db/plans.h"
#include "hive/svc/hive.h"

/* ---- pure: schedules_logic.c ---- */

/* Bits of what matches. */
struct hive_cron {
	uint64_t minutes;
	uint32_t hours, days, months, weekdays; /* days from 1, months from 1, weekdays 0 is Sunday */
	bool any_day, any_weekday;              /* "*": the other one decides alone */
};

/*
 * "MINUTE HOUR DAY MONTH WEEKDAY": each *, numbers, ranges a-b, steps /n, lists with commas, names of months
 * and weekdays in three letters; or @hourly, @daily, @weekly, @monthly, @yearly. In UTC, as crontab(5) means
 * it: if day and weekday are both restricted, either is enough. SKEP_E_USAGE with the column.
 */
int hive_cron_parse(const char *text, struct hive_cron *ret, struct skep_err *err);
/* The first time after it, at the full minute; 0: none in the next 30 years (the 30th of February). */
int64_t hive_cron_next(const struct hive_cron *cron, int64_t after_ns);

/* What is due now. */
struct hive_run {
	bool due;                /* a job is to be made */
	int64_t time_ns, end_ns; /* of the run; end_ns 0: no window */
	int64_t missed;          /* runs that were passed over */
	int64_t next_ns;         /* 0: there is none */
};

#define HIVE_RUN_LATE_NS (60 * (int64_t)SKEP_NSEC_PER_SEC)

/*
 * Of the runs since schedule->next_ns that have come: those before the last are missed. The last is made if
 * it is at most HIVE_RUN_LATE_NS late, or if missed_runs says so; and only while its window is open. Counts
 * no run beyond `repeat` and until_ns.
 */
void hive_schedule_decide(const struct hive_schedule *schedule, const struct hive_cron *cron, int64_t now_ns,
			  struct hive_run *ret);
/* next_ns of a schedule that is new, was changed or enabled: 0, none. */
int64_t hive_schedule_first(const struct hive_schedule *schedule, const struct hive_cron *cron,
			    int64_t now_ns);

/* ---- the hive's ---- */

/* Makes the jobs that are due; the dispatcher calls it at each turn. */
void hive_schedules_run(struct hive *hive);

#endif
