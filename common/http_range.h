/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_HTTP_RANGE_H
#define SKEP_HTTP_RANGE_H
/*
 * What a conditional or partial GET of a file is to be answered with (RFC 9110, 13.2.2 and 14).
 */
#include "common/util.h"

struct skep_range_ask {
	const char *range, *if_range, *if_match, *if_none_match; /* header values; NULL: absent */
	const char *etag;					 /* of the file, strong, without quotes */
	uint64_t size_bytes;
};

struct skep_range {
	unsigned status;	/* 200, 206, 304, 412, 416 */
	uint64_t first, length; /* of 200 and 206 */
};

/* One range is served; several, other units and malformed ones are ignored, as the RFC allows: all is sent.
 */
struct skep_range skep_range_decide(const struct skep_range_ask *ask);

#endif
