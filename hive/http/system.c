/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What watches the hive asks for: is it alive, is it ready; and the description of the API. Health says
 * nothing that a stranger must not know. Any number at once.
 */
#include "hive/http/call.h"

#include "common/format.h"
#include "hive/svc/figures.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define FOREVER_S (INT64_C(100) * 366 * 86400)

int hive_http_openapi(struct hive_call *call)
{
	return skep_http_answer_data(call->req, 200, "application/json", hive_openapi, hive_openapi_bytes);
}

int hive_http_health(struct hive_call *call)
{
	return skep_http_answer_json(call->req, 200, json_pack("{s:s}", "status", "ok"));
}

/* Ready is who can read and write the database. */
int hive_http_ready(struct hive_call *call)
{
	if (hive_figures_ready(call->hive) == 0)
		return skep_http_answer_json(call->req, 200, json_pack("{s:s}", "status", "ok"));
	return skep_http_refuse(call->req, 503, "not-ready", NULL, "the database cannot be written");
}

/* "3 d 04 h" is enough for a person; a program takes full_in_s. */
int hive_http_store(struct hive_call *call)
{
	struct hive_store_figures figures;
	int64_t full_in_s;
	char text[SKEP_FORMAT_MAX], forecast[SKEP_FORMAT_MAX + 16] = "does not grow";
	int r = hive_figures_store(call->hive, &figures);

	if (r == -ENOENT)
		return skep_http_refuse(call->req, 404, "not-found", NULL, "this hive has no store");
	if (r < 0)
		return r;
	full_in_s = SKEP_MIN(figures.full_in_s, FOREVER_S);
	if (full_in_s >= 0)
		snprintf(forecast, sizeof(forecast), "full in %s",
			 skep_format_duration(text, (uint64_t)full_in_s * SKEP_NSEC_PER_SEC));
	return skep_http_answer_json(
		call->req, 200,
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:s}", "total_bytes", (json_int_t)figures.total_bytes, "free_bytes",
			  (json_int_t)figures.free_bytes, "reserve_bytes", (json_int_t)figures.reserve_bytes, "dataset_bytes",
			  (json_int_t)figures.dataset_bytes, "growth_bytes_s", (json_int_t)figures.growth_bytes_s, "full_in_s",
			  figures.full_in_s < 0 ? json_null() : json_integer(figures.full_in_s), "forecast", forecast));
}
