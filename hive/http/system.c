/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What watches the hive asks for: is it alive, is it ready, its figures for Prometheus; and the description
 * of the API. Health says nothing that a stranger must not know. Any number at once.
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

static void store_metrics(struct hive_call *call, FILE *out)
{
	struct hive_store_figures figures;

	if (hive_figures_store(call->hive, &figures) < 0)
		return;
	fprintf(out, "# HELP skep_hive_store_free_bytes Room for datasets, less the reserve.\n"
		     "# TYPE skep_hive_store_free_bytes gauge\nskep_hive_store_free_bytes %" PRId64 "\n"
		     "# HELP skep_hive_store_growth_bytes_per_second Mean of the last day.\n"
		     "# TYPE skep_hive_store_growth_bytes_per_second gauge\nskep_hive_store_growth_bytes_per_second %" PRId64 "\n",
		figures.free_bytes, figures.growth_bytes_s);
}

int hive_http_metrics(struct hive_call *call)
{
	struct hive_figures figures;
	struct skep_http_stats stats;
	_skep_free_ char *text = NULL;
	size_t len = 0;
	FILE *out;
	int r = hive_figures_read(call->hive, &figures);

	if (r < 0)
		return r;
	skep_http_get_stats(call->app->http, &stats);
	out = open_memstream(&text, &len);
	if (!out)
		return -ENOMEM;
	fprintf(out, "# HELP skep_hive_jobs Jobs by state.\n# TYPE skep_hive_jobs gauge\n");
	for (int i = 0; hive_job_state_names[i]; i++)
		fprintf(out, "skep_hive_jobs{state=\"%s\"} %" PRId64 "\n", hive_job_state_names[i], figures.jobs[i]);
	fprintf(out, "# HELP skep_hive_dataset_bytes Bytes of all datasets.\n# TYPE skep_hive_dataset_bytes gauge\n"
		     "skep_hive_dataset_bytes %" PRId64 "\n", figures.dataset_bytes);
	fprintf(out, "# HELP skep_hive_http_requests_total Requests by class of status.\n"
		     "# TYPE skep_hive_http_requests_total counter\n");
	for (int i = 2; i < 6; i++)
		fprintf(out, "skep_hive_http_requests_total{class=\"%dxx\"} %" PRIu64 "\n", i, stats.requests[i]);
	fprintf(out, "# HELP skep_hive_http_connections Connections that are open.\n# TYPE skep_hive_http_connections gauge\n"
		     "skep_hive_http_connections %" PRIu64 "\n", stats.connections);
	store_metrics(call, out);
	if (fclose(out) != 0)
		return -ENOMEM;
	return skep_http_answer_data(call->req, 200, "text/plain; version=0.0.4", text, len);
}
