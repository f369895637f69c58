/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_FORMAT_H
#define SKEP_FORMAT_H
/*
 * Numbers for people, three significant digits; exact times. Each fills the caller's buffer and returns it.
 */
#include "common/util.h"

#define SKEP_FORMAT_MAX 48

/* "0 B", "999 B", "1.50 kB", "12.3 GB" (powers of 1000). */
const char *skep_format_size(char buf[static SKEP_FORMAT_MAX], uint64_t bytes);
/*
 * "999", "12.3 k", "1.23 M" followed by the unit: skep_format_rate(buf, 1.5e9, "bit/s") is "1.50 Gbit/s".
 * Negative and NaN are 0.
 */
const char *skep_format_rate(char buf[static SKEP_FORMAT_MAX], double value, const char *unit);
/* "0 s", "250 ns", "1.50 ms", "59.9 s", "2 min 05 s", "3 h 04 min", "2 d 03 h". */
const char *skep_format_duration(char buf[static SKEP_FORMAT_MAX], uint64_t ns);
/* RFC 3339 in UTC with nanoseconds, from nanoseconds since 1970: "2026-11-21T11:50:57.123456789Z". */
const char *skep_format_time(char buf[static SKEP_FORMAT_MAX], uint64_t utc_ns);

#endif
