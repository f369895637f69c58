/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Human-readable numbers and times; see format.h. Rounds to nearest, and takes the next prefix when rounding
 * reaches 1000, so "1000 kB" never appears. Never allocates; no state: any thread.
 */
#include "common/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* Three significant digits: 1.23, 12.3, 123. The limits are where printf would round up to one digit more. */
static int decimals(double v)
{
	return v < 9.995 ? 2 : v < 99.95 ? 1 : 0;
}

static const char *format_scaled(char *buf, double v, const char *unit)
{
	static const char *const prefixes[] = { "", "k", "M", "G", "T", "P", "E" };
	size_t i = 0;

	if (!(v > 0))
		v = 0;
	for (; v >= 999.5 && i + 1 < ARRAY_LEN(prefixes); i++)
		v /= 1000;
	/* Counts below 1000 that are whole stay whole: "12 B", not "12.0 B". */
	(void)snprintf(buf, SKEP_FORMAT_MAX, "%.*f %s%.16s", v == (double)(uint64_t)v && i == 0 ? 0 : decimals(v), v,
		       prefixes[i], unit);
	return buf;
}

const char *skep_format_size(char buf[static SKEP_FORMAT_MAX], uint64_t bytes)
{
	return format_scaled(buf, (double)bytes, "B");
}

const char *skep_format_rate(char buf[static SKEP_FORMAT_MAX], double value, const char *unit)
{
	return format_scaled(buf, value, unit);
}

const char *skep_format_duration(char buf[static SKEP_FORMAT_MAX], uint64_t ns)
{
	uint64_t s = ns / SKEP_NSEC_PER_SEC;
	double v = (double)ns;
	const char *unit = "ns";

	if (ns >= 59950000000ull) { /* "59.9 s" is the last that is written in seconds */
		s = SKEP_MAX(s, 60u);
		if (s < 3600)
			(void)snprintf(buf, SKEP_FORMAT_MAX, "%" PRIu64 " min %02" PRIu64 " s", s / 60, s % 60);
		else if (s < 86400)
			(void)snprintf(buf, SKEP_FORMAT_MAX, "%" PRIu64 " h %02" PRIu64 " min", s / 3600, s / 60 % 60);
		else
			(void)snprintf(buf, SKEP_FORMAT_MAX, "%" PRIu64 " d %02" PRIu64 " h", s / 86400, s / 3600 % 24);
		return buf;
	}
	if (v >= 999.5e6 || ns == 0) {
		v /= 1e9;
		unit = "s";
	} else if (v >= 999.5e3) {
		v /= 1e6;
		unit = "ms";
	} else if (v >= 999.5) {
		v /= 1e3;
		unit = "us";
	}
	(void)snprintf(buf, SKEP_FORMAT_MAX, "%.*f %s", ns < 1000 ? 0 : decimals(v), v, unit);
	return buf;
}

const char *skep_format_time(char buf[static SKEP_FORMAT_MAX], uint64_t utc_ns)
{
	time_t s = (time_t)(utc_ns / SKEP_NSEC_PER_SEC);
	struct tm tm;
	size_t n;

	gmtime_r(&s, &tm);
	n = strftime(buf, SKEP_FORMAT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(buf + n, SKEP_FORMAT_MAX - n, ".%09" PRIu64 "Z", utc_ns % SKEP_NSEC_PER_SEC);
	return buf;
}
