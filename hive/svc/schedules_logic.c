/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calendar of schedules, after crontab(5), always in UTC: there is no hour that comes twice or never. And
 * the rule of runs that were missed. Pure: time is an argument, nothing is read or written. Any thread.
 */
#include "hive/svc/schedules.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define S ((int64_t)SKEP_NSEC_PER_SEC)
#define YEARS_MAX 30

static const char *const months[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL };
static const char *const weekdays[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL };

static const struct cron_field {
	const char *name;
	int min, max;
	const char *const *words;
} fields[] = {
	{ "minute", 0, 59, NULL }, { "hour", 0, 23, NULL }, { "day", 1, 31, NULL }, { "month", 1, 12, months },
	{ "weekday", 0, 7, weekdays }, /* 7 is Sunday too */
};

static const struct {
	const char *word, *text;
} shorts[] = {
	{ "@hourly", "0 * * * *" },  { "@daily", "0 0 * * *" },	 { "@weekly", "0 0 * * 0" },
	{ "@monthly", "0 0 1 * *" }, { "@yearly", "0 0 1 1 *" },
};

/* ---- reading ---- */

struct reading {
	const char *text, *at;
	struct skep_err *err;
};

static int wrong(struct reading *in, const char *what, const char *why)
{
	int r = skep_err_set(in->err, SKEP_E_USAGE, "cron: %s: %s", what, why);

	(void)skep_err_hint(in->err, "five fields: MINUTE HOUR DAY MONTH WEEKDAY, as \"0 8 * * 1-5\"");
	if (in->err)
		in->err->column = (int)(in->at - in->text) + 1;
	return r;
}

static int read_number(struct reading *in, const struct cron_field *field, int *ret)
{
	int n = 0, digits = 0;

	for (int i = 0; field->words && field->words[i]; i++)
		if (strncasecmp(in->at, field->words[i], 3) == 0) {
			in->at += 3;
			*ret = i + field->min;
			return 0;
		}
	for (; *in->at >= '0' && *in->at <= '9' && digits < 4; in->at++, digits++)
		n = 10 * n + (*in->at - '0');
	if (!digits)
		return wrong(in, field->name, "a number is missing");
	if (n < field->min || n > field->max) {
		in->at -= digits;
		return wrong(in, field->name, "the number is out of its range");
	}
	*ret = n;
	return 0;
}

/* "*", "a", "a-b", each with "/n" behind it. */
static int read_item(struct reading *in, const struct cron_field *field, uint64_t *bits)
{
	int from = field->min, to = field->max, step = 1, r = 0;
	bool single = false;

	if (*in->at == '*') {
		in->at++;
		to = field->max == 7 ? 6 : field->max;
	} else {
		r = read_number(in, field, &from);
		to = from;
		single = true;
		if (r == 0 && *in->at == '-') {
			in->at++;
			r = read_number(in, field, &to);
			single = false;
		}
		if (r == 0 && to < from)
			r = wrong(in, field->name, "the range goes backwards");
	}
	if (r == 0 && *in->at == '/') {
		in->at++;
		r = read_number(in, &(struct cron_field){ .name = field->name, .min = 1, .max = field->max },
				&step);
		if (single)
			to = field->max;
	}
	for (int i = from; r == 0 && i <= to; i += step)
		*bits |= UINT64_C(1) << (field->max == 7 ? i % 7 : i);
	return r;
}

static int read_field(struct reading *in, const struct cron_field *field, uint64_t *bits, bool *ret_any)
{
	int r;

	in->at += strspn(in->at, " \t");
	*ret_any = in->at[0] == '*' && (!in->at[1] || strchr(" \t", in->at[1]));
	*bits = 0;
	for (;;) {
		r = read_item(in, field, bits);
		if (r || *in->at != ',')
			break;
		in->at++;
	}
	if (r == 0 && *in->at && !strchr(" \t", *in->at))
		r = wrong(in, field->name, "what stands here is not understood");
	return r;
}

int hive_cron_parse(const char *text, struct hive_cron *ret, struct skep_err *err)
{
	struct reading in = { .text = text, .at = text, .err = err };
	uint64_t bits[ARRAY_LEN(fields)];
	bool any[ARRAY_LEN(fields)];
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(shorts); i++)
		if (strcasecmp(text, shorts[i].word) == 0)
			in.text = in.at = shorts[i].text;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(fields); i++)
		r = read_field(&in, &fields[i], &bits[i], &any[i]);
	if (r == 0)
		in.at += strspn(in.at, " \t");
	if (r == 0 && *in.at)
		r = wrong(&in, "end", "there are more than five fields");
	if (r)
		return r;
	*ret = (struct hive_cron){ .minutes = bits[0],
				   .hours = (uint32_t)bits[1],
				   .days = (uint32_t)bits[2],
				   .months = (uint32_t)bits[3],
				   .weekdays = (uint32_t)bits[4],
				   .any_day = any[2],
				   .any_weekday = any[4] };
	return 0;
}

/* ---- the calendar ---- */

static bool is_day(const struct hive_cron *cron, const struct tm *tm)
{
	bool day = cron->days >> tm->tm_mday & 1, weekday = cron->weekdays >> tm->tm_wday & 1;

	if (cron->any_day || cron->any_weekday)
		return day && weekday;
	return day || weekday;
}

/* To the beginning of the next month, day or hour; mktime's arithmetic does the carrying. */
static void forward(struct tm *tm, int months_more, int days_more, int hours_more)
{
	time_t t;

	tm->tm_mon += months_more;
	tm->tm_mday = months_more ? 1 : tm->tm_mday + days_more;
	tm->tm_hour = months_more || days_more ? 0 : tm->tm_hour + hours_more;
	tm->tm_min = 0;
	t = timegm(tm);
	gmtime_r(&t, tm);
}

int64_t hive_cron_next(const struct hive_cron *cron, int64_t after_ns)
{
	time_t t = (time_t)(after_ns / (60 * S) + 1) * 60;
	struct tm tm;
	int last;

	gmtime_r(&t, &tm);
	last = tm.tm_year + YEARS_MAX;
	while (tm.tm_year <= last) {
		if (!(cron->months >> (tm.tm_mon + 1) & 1))
			forward(&tm, 1, 0, 0);
		else if (!is_day(cron, &tm))
			forward(&tm, 0, 1, 0);
		else if (!(cron->hours >> tm.tm_hour & 1))
			forward(&tm, 0, 0, 1);
		else if (!(cron->minutes >> tm.tm_min & 1) && ++tm.tm_min > 59)
			forward(&tm, 0, 0, 1);
		else if (cron->minutes >> tm.tm_min & 1)
			return (int64_t)timegm(&tm) * S;
	}
	return 0;
}

/* ---- runs ---- */

static int64_t next_of(const struct hive_schedule *schedule, const struct hive_cron *cron, int64_t after_ns,
		       int64_t counted)
{
	int64_t next = schedule->repeat && counted >= schedule->repeat ? 0 : hive_cron_next(cron, after_ns);

	return schedule->until_ns && next > schedule->until_ns ? 0 : next;
}

int64_t hive_schedule_first(const struct hive_schedule *schedule, const struct hive_cron *cron,
			    int64_t now_ns)
{
	/* a run at from_ns itself is one */
	int64_t after_ns = SKEP_MAX(now_ns, schedule->from_ns - 1);

	return next_of(schedule, cron, after_ns, schedule->runs + schedule->missed);
}

void hive_schedule_decide(const struct hive_schedule *schedule, const struct hive_cron *cron, int64_t now_ns,
			  struct hive_run *ret)
{
	int64_t counted = schedule->runs + schedule->missed, next = schedule->next_ns, end_ns;

	*ret = (struct hive_run){ .next_ns = next };
	for (; next && next <= now_ns; next = next_of(schedule, cron, next, ++counted)) {
		ret->missed += ret->time_ns != 0;
		ret->time_ns = next;
	}
	ret->next_ns = next;
	if (!ret->time_ns)
		return;
	end_ns = schedule->window_s ? ret->time_ns + schedule->window_s * S : 0;
	ret->due = now_ns - ret->time_ns <= HIVE_RUN_LATE_NS || schedule->missed_runs == HIVE_MISSED_LAST;
	if (end_ns && now_ns + S > end_ns)
		ret->due = false;
	ret->end_ns = ret->due ? end_ns : 0;
	ret->missed += !ret->due;
}
