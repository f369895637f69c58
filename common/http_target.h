/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_HTTP_TARGET_H
#define SKEP_HTTP_TARGET_H
/*
 * Request targets, read from the raw bytes: split first, decoded then, so that an encoded delimiter never
 * becomes one.
 */
#include "common/err.h"

#include <stdbool.h>

#define SKEP_TARGET_SEGMENTS 16
#define SKEP_TARGET_QUERY 32
#define SKEP_TARGET_MAX_BYTES 8192u /* RFC 9110, 4.1 asks for 8,000 at least */

struct skep_target_pair {
	const char *name, *value; /* decoded; value is "" if there is no '=' */
};

struct skep_target {
	char *raw;    /* a copy of what was sent */
	char *buffer; /* the decoded texts; all pointers below lead into it */
	uint32_t n_segments;
	const char *segments[SKEP_TARGET_SEGMENTS]; /* "/a/b" has two; "/" and "/a/" end in an empty one */
	const char *path;			    /* the segments, joined again */
	const char *rest[SKEP_TARGET_SEGMENTS];	    /* the path from this segment on, without its first '/' */
	uint32_t n_query;
	struct skep_target_pair query[SKEP_TARGET_QUERY];
};

/*
 * 0; SKEP_E_BAD_DATA with a sentence: what RFC 3986 does not allow, and what somebody behind us might misread
 * (control bytes, "%00", "%2F", "." and ".." as segments); or -ENOMEM.
 */
int skep_target_parse(const char *raw, struct skep_target *ret, struct skep_err *err);
/* Frees what it holds and empties it. */
void skep_target_fini(struct skep_target *target);

#define SKEP_TARGET_PARAMS 6

struct skep_target_params {
	uint32_t n;
	char names[SKEP_TARGET_PARAMS][32];
	const char *values[SKEP_TARGET_PARAMS]; /* into the target; of "{name*}": the rest of the path */
};

/* Does the path match "/v1/jobs/{id}"? ret is filled only then. */
bool skep_target_match(const struct skep_target *target, const char *pattern, struct skep_target_params *ret);

#endif
