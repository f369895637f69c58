/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any text as a time of schedules, and as the line of enrolment: it is refused in words and with a column
 * inside it, or understood; then the next times ascend, are full minutes, and match what was understood.
 */
#include "common/err.h"
#include "hive/svc/probes.h"
#include "hive/svc/schedules.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#define MINUTE (60 * (int64_t)SKEP_NSEC_PER_SEC)

static void walk(const struct hive_cron *cron, int64_t from)
{
	for (int i = 0; i < 4 && from; i++) {
		int64_t next = hive_cron_next(cron, from);
		time_t seconds = (time_t)(next / (int64_t)SKEP_NSEC_PER_SEC);
		struct tm tm;

		if (!next)
			return;
		assert(next > from && next % MINUTE == 0);
		gmtime_r(&seconds, &tm);
		assert(cron->minutes >> tm.tm_min & 1 && cron->hours >> tm.tm_hour & 1);
		assert(cron->months >> (tm.tm_mon + 1) & 1);
		assert(cron->days >> tm.tm_mday & 1 || cron->weekdays >> tm.tm_wday & 1);
		from = next;
	}
}

static void enrol(const char *text)
{
	struct hive_complaints complaints = { 0 };
	struct hive_probe probe = { 0 };
	int r = hive_enrol_parse(text, &probe, &complaints);

	assert(r == 0 ? probe.name && probe.address && probe.token : complaints.n == 1);
	hive_probe_clear(&probe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct hive_cron cron;
	char text[512];

	if (size >= sizeof(text) || memchr(data, 0, size))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	enrol(text);
	if (hive_cron_parse(text, &cron, &err) == 0) {
		walk(&cron, 1);
		walk(&cron, INT64_C(1796000000) * (int64_t)SKEP_NSEC_PER_SEC + 17);
		return 0;
	}
	assert(err.code == SKEP_E_USAGE && err.text[0]);
	assert(err.column >= 1 && (size_t)err.column <= size + 1);
	return 0;
}
