/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_PARSE_H
#define SKEP_PARSE_H
/*
 * Strict parsers for what people write in options and job files. The whole text must be used; no leading
 * blanks, no sign, no locale. `what` names the thing in the refusal ("--queues"). On refusal: SKEP_E_USAGE,
 * err holds what, why, a hint and the column in text, and the outputs are untouched.
 */
#include "common/err.h"

/* Decimal digits only, min <= value <= max. */
int skep_parse_uint(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
		    struct skep_err *err);
/*
 * Bytes: "4096", "64KiB", "1.5G", "10GB". k M G T are powers of 1000, Ki Mi Gi Ti of 1024 (IEC 80000-13),
 * case does not matter; a "B" may follow. "b" would be bits and is refused. The value must be a whole number
 * of bytes.
 */
int skep_parse_size(const char *what, const char *text, uint64_t *ret_bytes, struct skep_err *err);
/*
 * Time: "10" (seconds), "0.5s", "500ms", "20us", "100ns", "15m"/"15min", "2h", "1d", "1w"; a whole number of
 * nanoseconds.
 */
int skep_parse_duration(const char *what, const char *text, uint64_t *ret_ns, struct skep_err *err);

/*
 * A moment in UTC as nanoseconds since 1970: "2026-11-21T14:41:08Z", with a fraction of up to nine digits, or
 * "@SECONDS" with or without one.
 */
int skep_parse_time(const char *what, const char *text, uint64_t *ret_ns, struct skep_err *err);

struct skep_u16_list {
	uint16_t *items; /* the caller's array */
	uint32_t room;   /* its length */
	uint32_t n;      /* items used */
};

/*
 * "0,2-5": numbers and ascending ranges up to max, in the order written; one that comes twice is refused.
 * Fills list->items and ->n.
 */
int skep_parse_list(const char *what, const char *text, uint16_t max, struct skep_u16_list *list,
		    struct skep_err *err);

#endif
