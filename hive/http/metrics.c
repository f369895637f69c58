/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hive's figures in the text format of Prometheus. Counts nothing itself. Any number at once.
 */
#include "hive/http/call.h"

#include "hive/svc/figures.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP skep_hive_%s %s\n# TYPE skep_hive_%s %s\n", name, help, name, type);
}

static void one(FILE *out, const char *name, const char *type, const char *help, int64_t value)
{
	head(out, name, type, help);
	fprintf(out, "skep_hive_%s %" PRId64 "\n", name, value);
}

static void labelled(FILE *out, const char *name, const char *label, const char *value, int64_t n)
{
	fprintf(out, "skep_hive_%s{%s=\"%s\"} %" PRId64 "\n", name, label, value, n);
}

static void write_jobs(FILE *out, const struct hive_figures *f)
{
	const struct hive_counts *c = &f->counts;

	head(out, "jobs", "gauge", "Jobs by state.");
	for (int i = 0; hive_job_state_names[i]; i++)
		labelled(out, "jobs", "state", hive_job_state_names[i], f->jobs[i]);
	one(out, "jobs_held", "gauge", "Jobs that have not ended, or that a probe still knows.", f->jobs_held);
	head(out, "packets_total", "counter", "Packets of all jobs: seen = stored + rejected + dropped.");
	labelled(out, "packets_total", "kind", "seen", c->seen_pkts);
	labelled(out, "packets_total", "kind", "stored", c->stored_pkts);
	labelled(out, "packets_total", "kind", "rejected", c->rejected_pkts);
	labelled(out, "packets_total", "kind", "dropped", c->dropped_pkts);
	one(out, "stored_bytes_total", "counter", "Bytes of capture files of all jobs.", c->stored_bytes);
	head(out, "probes", "gauge", "Probes by whether they answer.");
	labelled(out, "probes", "state", "up", f->probes_up);
	labelled(out, "probes", "state", "away", f->probes_away);
	labelled(out, "probes", "state", "unknown", f->probes_unknown);
	one(out, "links", "gauge", "Links that are not disabled.", c->links);
	one(out, "schedules", "gauge", "Schedules with a run to come.", c->schedules);
	head(out, "deliveries", "gauge", "Deliveries of webhooks of the last month by state.");
	for (int i = 0; hive_delivery_state_names[i]; i++)
		labelled(out, "deliveries", "state", hive_delivery_state_names[i], c->deliveries[i]);
	one(out, "webhooks", "gauge", "Webhooks that are not disabled.", c->webhooks);
}

static void write_people(FILE *out, const struct hive_counts *c)
{
	one(out, "users", "gauge", "Users that are not disabled.", c->users);
	one(out, "groups", "gauge", "Groups.", c->groups);
	one(out, "tokens", "gauge", "Tokens that are not revoked.", c->tokens);
	one(out, "sessions", "gauge", "Sessions.", c->sessions);
	one(out, "audit_entries", "counter", "Entries of the audit log.", c->audit_entries);
}

static void write_store(FILE *out, struct hive *hive)
{
	struct hive_store_figures figures;

	if (hive_figures_store(hive, &figures) < 0)
		return;
	one(out, "store_free_bytes", "gauge", "What datasets may still take, less the reserve.", figures.free_bytes);
	one(out, "store_growth_bytes_per_second", "gauge", "Mean of the last day.", figures.growth_bytes_s);
}

static void write_program(FILE *out, struct hive_call *call, const struct hive_figures *f)
{
	struct skep_http_stats stats;

	skep_http_get_stats(call->app->http, &stats);
	one(out, "dataset_bytes", "gauge", "Bytes of the files of all datasets.", f->dataset_bytes);
	one(out, "database_bytes", "gauge", "Bytes of the database and its log.", f->database_bytes);
	head(out, "http_requests_total", "counter", "Requests by class of status.");
	for (int i = 2; i < 6; i++)
		fprintf(out, "skep_hive_http_requests_total{class=\"%dxx\"} %" PRIu64 "\n", i, stats.requests[i]);
	one(out, "http_connections", "gauge", "Connections that are open.", (int64_t)stats.connections);
	one(out, "http_cut_total", "counter", "Connections that missed a deadline.", (int64_t)stats.cut);
	one(out, "watchers", "gauge", "Who reads the stream of events.", hive_http_watchers(call->app->watch));
	one(out, "resident_bytes", "gauge", "Memory of the program.", f->resident_bytes);
	one(out, "start_time_seconds", "gauge", "When it was started, in seconds since 1970.",
	    (int64_t)(call->app->started_ns / SKEP_NSEC_PER_SEC));
	head(out, "build_info", "gauge", "Its version.");
	labelled(out, "build_info", "version", SKEP_VERSION, 1);
}

int hive_http_metrics(struct hive_call *call)
{
	struct hive_figures figures;
	_skep_free_ char *text = NULL;
	size_t len = 0;
	FILE *out;
	int r = hive_figures_read(call->hive, &figures);

	if (r < 0)
		return r;
	out = open_memstream(&text, &len);
	if (!out)
		return -ENOMEM;
	write_jobs(out, &figures);
	write_people(out, &figures.counts);
	write_store(out, call->hive);
	write_program(out, call, &figures);
	if (fclose(out) != 0)
		return -ENOMEM;
	return skep_http_answer_data(call->req, 200, "text/plain; version=0.0.4", text, len);
}
