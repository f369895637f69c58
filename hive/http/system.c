/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What watches the hive asks for: is it alive, is it ready, its figures for Prometheus; and the description
 * of the API. Health says nothing that a stranger must not know. Any number at once.
 */
#include "hive/http/call.h"

#include "hive/svc/figures.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

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
	if (fclose(out) != 0)
		return -ENOMEM;
	return skep_http_answer_data(call->req, 200, "text/plain; version=0.0.4", text, len);
}
