/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_JSON_H
#define SKEP_JSON_H
/*
 * Strict loading of JSON: one value, no duplicate keys, no trailing bytes, bounded size; refusals say where.
 */
#include "common/err.h"

#include <jansson.h>

/*
 * Larger texts are refused before they are parsed. A sidecar of a 1 TB segment has 10^6 blocks of about 100
 * bytes each.
 */
#define SKEP_JSON_MAX_BYTES (128u * 1024 * 1024)

/*
 * `what` names the text in the refusal ("job.json", "request body"). *ret is the caller's (json_decref);
 * SKEP_E_BAD_DATA or -errno.
 */
int skep_json_load(const char *what, const char *text, size_t len, json_t **ret, struct skep_err *err);
int skep_json_load_file(const char *path, json_t **ret, struct skep_err *err);

static inline void skep_json_unrefp(json_t **json)
{
	json_decref(*json);
}

#define _skep_json_ SKEP_CLEANUP(skep_json_unrefp)

#endif
