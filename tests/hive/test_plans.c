/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves the calendar of schedules against one that counts every minute, the rule of missed runs, what is
 * refused with its column; and rates and forecasts of captures.
 */
#include "tests/unit/unit.h"

#include "hive/svc/progress.h"
#include "hive/svc/schedules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define S ((int64_t)SKEP_NSEC_PER_SEC)
#define MINUTE (60 * S)

static int64_t at(const char *text)
{
	struct tm tm = { 0 };

	assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
	return (int64_t)timegm(&tm) * S;
}

static struct hive_cron cron_of(const char *text)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct hive_cron cron;

	if (hive_cron_parse(text, &cron, &err))
		fail_msg("%s: %s (column %d)", text, err.text, err.column);
	return cron;
}

static void the_next_time_is_that_of_the_calendar(void **state)
{
	static const struct {
		const char *cron, *after, *next;
	} cases[] = {
		{ "* * * * *", "2026-11-21 10:00:00", "2026-11-21 10:01:00" },
		{ "* * * * *", "2026-11-21 10:00:59", "2026-11-21 10:01:00" },
		{ "0 8 * * 1-5", "2026-11-20 09:00:00", "2026-11-23 08:00:00" }, /* Friday to Monday */
		{ "0 8 * * mon-fri", "2026-11-20 09:00:00", "2026-11-23 08:00:00" },
		{ "*/15 * * * *", "2026-12-31 23:50:00", "2027-01-01 00:00:00" },
		{ "5/20 3 * * *", "2026-11-21 03:30:00", "2026-11-21 03:45:00" },
		{ "0 0 29 2 *", "2026-03-01 00:00:00", "2028-02-29 00:00:00" },
		{ "0 0 31 * *", "2026-11-01 00:00:00", "2026-12-31 00:00:00" },
		{ "0 12 13 * 5", "2026-11-21 00:00:00", "2026-11-27 12:00:00" }, /* a Friday or a 13th */
		{ "30 4 1,15 jan,jul *", "2026-07-15 04:30:00", "2027-01-01 04:30:00" },
		{ "0 0 * * 7", "2026-11-21 00:00:00", "2026-11-22 00:00:00" }, /* Sunday */
		{ "@daily", "2026-11-21 00:00:00", "2026-11-22 00:00:00" },
		{ "  1   2 * *\t*  ", "2026-11-21 00:00:00", "2026-11-21 02:01:00" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct hive_cron cron = cron_of(cases[i].cron);
		int64_t next = hive_cron_next(&cron, at(cases[i].after));

		if (next != at(cases[i].next))
			fail_msg("%s after %s: %lld and not %s", cases[i].cron, cases[i].after, (long long)(next / S), cases[i].next);
	}
	assert_int_equal(hive_cron_next(&(struct hive_cron){ 0 }, at("2026-11-21 00:00:00")), 0);
	struct hive_cron never = cron_of("0 0 30 2 *");

	assert_int_equal(hive_cron_next(&never, at("2026-11-21 00:00:00")), 0);
}

/* Minute by minute through a year and a half, by another reading of the same bits. */
static void the_calendar_is_that_of_every_minute(void **state)
{
	static const char *const texts[] = { "7 */5 * * *", "0 0 1-7 * 3", "59 23 31 12 *", "*/7 9-17 * 2 1-5", "10 10 * */3 *" };
	int64_t end = at("2028-03-02 00:00:00");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct hive_cron cron = cron_of(texts[i]);
		int64_t next = hive_cron_next(&cron, at("2026-10-01 00:00:00"));

		for (int64_t t = at("2026-10-01 00:01:00"); t < end; t += MINUTE) {
			time_t seconds = (time_t)(t / S);
			struct tm tm;
			bool day, weekday, match;

			gmtime_r(&seconds, &tm);
			day = cron.days >> tm.tm_mday & 1;
			weekday = cron.weekdays >> tm.tm_wday & 1;
			match = (cron.minutes >> tm.tm_min & 1) && (cron.hours >> tm.tm_hour & 1) &&
				(cron.months >> (tm.tm_mon + 1) & 1) &&
				(cron.any_day || cron.any_weekday ? day && weekday : day || weekday);
			if (match != (t == next))
				fail_msg("%s at %lld", texts[i], (long long)seconds);
			if (match)
				next = hive_cron_next(&cron, t);
		}
	}
}

static void what_is_no_cron_is_refused_with_its_column(void **state)
{
	static const struct {
		const char *text;
		int column;
	} cases[] = {
		{ "", 1 }, { "* * * *", 8 }, { "60 * * * *", 1 }, { "0 24 * * *", 3 }, { "0 0 0 * *", 5 }, { "0 0 * 13 *", 7 },
		{ "0 0 * * 8", 9 }, { "5-1 * * * *", 4 }, { "*/0 * * * *", 3 }, { "1, * * * *", 3 }, { "a * * * *", 1 },
		{ "* * * * * *", 11 }, { "0 0 * * mo", 9 }, { "@reboot", 1 }, { "1.5 * * * *", 2 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct hive_cron cron;

		assert_int_equal(hive_cron_parse(cases[i].text, &cron, &err), SKEP_E_USAGE);
		if (err.column != cases[i].column)
			fail_msg("\"%s\": column %d and not %d: %s", cases[i].text, err.column, cases[i].column, err.text);
		assert_true(err.text[0] && err.hint[0]);
	}
}

/* ---- runs ---- */

static struct hive_run decide(struct hive_schedule schedule, const char *cron_text, int64_t now_ns)
{
	struct hive_cron cron = cron_of(cron_text);
	struct hive_run run;

	hive_schedule_decide(&schedule, &cron, now_ns, &run);
	return run;
}

static void a_run_comes_at_its_time(void **state)
{
	int64_t time = at("2026-11-21 10:00:00");
	struct hive_run run = decide((struct hive_schedule){ .next_ns = time, .window_s = 600 }, "0 * * * *", time - 1);

	(void)state;
	assert_false(run.due);
	assert_int_equal(run.next_ns, time);
	run = decide((struct hive_schedule){ .next_ns = time, .window_s = 600 }, "0 * * * *", time + S);
	assert_true(run.due);
	assert_int_equal(run.missed, 0);
	assert_int_equal(run.time_ns, time);
	assert_int_equal(run.end_ns, time + 600 * S);
	assert_int_equal(run.next_ns, time + 3600 * S);
}

static void missed_runs_follow_their_rule(void **state)
{
	int64_t time = at("2026-11-21 10:00:00");
	struct hive_schedule skip = { .next_ns = time, .window_s = 1800 },
			     last = { .next_ns = time, .window_s = 1800, .missed_runs = HIVE_MISSED_LAST },
			     open = { .next_ns = time, .missed_runs = HIVE_MISSED_LAST };
	struct hive_run run = decide(skip, "0 * * * *", time + 3 * 3600 * S + 600 * S);

	(void)state;
	assert_false(run.due); /* ten minutes late */
	assert_int_equal(run.missed, 4);
	assert_int_equal(run.next_ns, time + 4 * 3600 * S);
	run = decide(last, "0 * * * *", time + 3 * 3600 * S + 600 * S);
	assert_true(run.due);
	assert_int_equal(run.missed, 3);
	assert_int_equal(run.time_ns, time + 3 * 3600 * S);
	assert_int_equal(run.end_ns, time + 3 * 3600 * S + 1800 * S); /* the rest of its window */
	run = decide(last, "0 * * * *", time + 3 * 3600 * S + 1800 * S);
	assert_false(run.due); /* the window is over */
	assert_int_equal(run.missed, 4);
	run = decide(open, "0 0 * * *", time + 30 * 86400 * S);
	assert_true(run.due);
	assert_int_equal(run.end_ns, 0);
	run = decide(skip, "0 * * * *", time + 59 * S);
	assert_true(run.due); /* a little late is not missed */
}

static void runs_end_with_their_number_and_time(void **state)
{
	int64_t time = at("2026-11-21 10:00:00");
	struct hive_schedule thrice = { .next_ns = time, .repeat = 3, .runs = 1, .missed = 1 }, until = {
		.next_ns = time, .until_ns = time + 7200 * S, .missed_runs = HIVE_MISSED_LAST
	};
	struct hive_run run = decide(thrice, "0 * * * *", time);

	(void)state;
	assert_true(run.due);
	assert_int_equal(run.next_ns, 0); /* the third */
	run = decide((struct hive_schedule){ .next_ns = time, .repeat = 2, .missed_runs = HIVE_MISSED_LAST }, "0 * * * *", time + 86400 * S);
	assert_true(run.due);
	assert_int_equal(run.missed, 1);
	assert_int_equal(run.time_ns,
			 time + 3600 * S); /* missed ones are counted, so the second is the last */
	assert_int_equal(run.next_ns, 0);
	run = decide(until, "0 * * * *", time + 86400 * S);
	assert_int_equal(run.time_ns, time + 7200 * S);
	assert_int_equal(run.missed, 2);
	assert_int_equal(run.next_ns, 0);
	assert_false(decide((struct hive_schedule){ 0 }, "0 * * * *", time).due);
}

static void the_first_run_is_not_before_from(void **state)
{
	int64_t now = at("2026-11-21 10:30:00");
	struct hive_cron cron = cron_of("0 * * * *");

	(void)state;
	assert_int_equal(hive_schedule_first(&(struct hive_schedule){ 0 }, &cron, now), at("2026-11-21 11:00:00"));
	assert_int_equal(hive_schedule_first(&(struct hive_schedule){ .from_ns = at("2026-11-22 08:00:00") }, &cron, now),
			 at("2026-11-22 08:00:00"));
	assert_int_equal(hive_schedule_first(&(struct hive_schedule){ .until_ns = at("2026-11-21 10:59:00") }, &cron, now), 0);
	assert_int_equal(hive_schedule_first(&(struct hive_schedule){ .repeat = 2, .runs = 2 }, &cron, now),
			 0);
}

/* ---- progress ---- */

static struct hive_sample sample(int64_t s, int64_t pkts)
{
	return (struct hive_sample){ .time_ns = (uint64_t)(1000 + s) * SKEP_NSEC_PER_SEC,
				     .seen_pkts = pkts,
				     .stored_pkts = pkts,
				     .stored_bytes = 100 * pkts };
}

static void rates_and_forecasts(void **state)
{
	struct hive_progresses *all = hive_progresses_new();
	struct hive_job job = { .limit_pkts = 1000 };
	struct hive_job_link part = { .started_ns = 1000 * S };
	struct hive_progress p;
	struct hive_forecast f = { .job = &job, .part = &part, .progress = &p, .now_ns = 1002 * S };
	struct hive_sample s;

	(void)state;
	for (int64_t i = 0; i < 3; i++) {
		s = sample(i, 100 * i);
		assert_int_equal(hive_progress_take(all, 1, 7, &s, &p), 1);
		s = sample(i, 50 * i);
		(void)hive_progress_take(all, 1, 8, &s, &p);
	}
	assert_int_equal(hive_progress_get(all, 1, 7, &p), 0);
	assert_true(p.pkts_per_s > 99.9 && p.pkts_per_s < 100.1 && p.bytes_per_s > 9990);
	hive_progress_rates(all, 1, &f.all_pkts_per_s, &f.all_bytes_per_s);
	assert_true(f.all_pkts_per_s > 149.9 && f.all_pkts_per_s < 150.1);
	job.stored_pkts = 300;
	assert_in_range(hive_progress_end(&f), 1006 * S, 1007 * S); /* 700 packets at 150 a second */
	job.link_limit_pkts = 400;
	assert_in_range(hive_progress_end(&f), 1004 * S - S / 100, 1004 * S + S / 100); /* 200 at 100 */
	job.limit_duration_s = 3;
	assert_int_equal(hive_progress_end(&f), 1003 * S);
	job.end_ns = 1002 * S + 5;
	assert_int_equal(hive_progress_end(&f), 1002 * S + 5);
	job = (struct hive_job){ .limit_pkts = 1000 };
	f.all_pkts_per_s = 0;
	assert_int_equal(hive_progress_end(&f), 0);
	hive_progress_forget(all, 1);
	assert_int_equal(hive_progress_get(all, 1, 7, &p), -ENOENT);
	assert_null(hive_progresses_free(all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_next_time_is_that_of_the_calendar),
		cmocka_unit_test(the_calendar_is_that_of_every_minute),
		cmocka_unit_test(what_is_no_cron_is_refused_with_its_column),
		cmocka_unit_test(a_run_comes_at_its_time),
		cmocka_unit_test(missed_runs_follow_their_rule),
		cmocka_unit_test(runs_end_with_their_number_and_time),
		cmocka_unit_test(the_first_run_is_not_before_from),
		cmocka_unit_test(rates_and_forecasts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
