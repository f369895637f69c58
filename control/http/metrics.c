/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GET /metrics: the Prometheus text format 0.0.4, names with skep_ and base units. Gathers what others
 * count; counts nothing itself.
 */
#include "control/http/handlers.h"
#include "control/text.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#define LINKS_SHOWN 256

static void head(struct ctl_text *text, const char *name, const char *type, const char *help)
{
	ctl_text_add(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line end escaped. */
static const char *label(const char *value, char *buf, size_t room)
{
	size_t n = 0;

	for (; *value && n + 3 < room; value++) {
		if (strchr("\\\"\n", *value))
			buf[n++] = '\\';
		buf[n++] = *value == '\n' ? 'n' : *value;
	}
	buf[n] = '\0';
	return buf;
}

static void add_links(struct ctl_text *text, struct ctl *ctl)
{
	static const struct {
		enum ctl_counter counter;
		const char *name, *help;
	} plain[] = {
		{ CTL_RX_PACKETS, "skep_link_receive_packets_total",
		  "Packets that the link received, by the kernel's count." },
		{ CTL_RX_BYTES, "skep_link_receive_bytes_total",
		  "Bytes that the link received, by the kernel's count." },
		{ CTL_TX_PACKETS, "skep_link_transmit_packets_total",
		  "Packets that the link sent, by the kernel's count." },
		{ CTL_TX_BYTES, "skep_link_transmit_bytes_total",
		  "Bytes that the link sent, by the kernel's count." },
	};
	static const enum ctl_counter drops[] = { CTL_RX_DROPPED, CTL_RX_MISSED, CTL_RX_FIFO };
	struct ctl_counters *all = calloc(LINKS_SHOWN, sizeof(*all));
	uint32_t n = all ? ctl_links_all(ctl->links, all, LINKS_SHOWN) : 0;
	char buf[64];

	for (size_t k = 0; k < ARRAY_LEN(plain); k++) {
		head(text, plain[k].name, "counter", plain[k].help);
		for (uint32_t i = 0; i < n; i++)
			ctl_text_add(text, "%s{link=\"%s\"} %llu\n", plain[k].name,
				     label(all[i].link, buf, sizeof(buf)),
				     (unsigned long long)all[i].now[plain[k].counter]);
	}
	head(text, "skep_link_drops_total", "counter",
	     "Packets that the NIC or the kernel dropped, by reason.");
	for (uint32_t i = 0; i < n; i++)
		for (size_t k = 0; k < ARRAY_LEN(drops); k++)
			ctl_text_add(text, "skep_link_drops_total{link=\"%s\",reason=\"%s\"} %llu\n",
				     label(all[i].link, buf, sizeof(buf)), ctl_counter_names[drops[k]],
				     (unsigned long long)all[i].now[drops[k]]);
	free(all);
}

static void add_http(struct ctl_text *text, struct ctl *ctl)
{
	struct skep_http_stats stats;

	skep_http_get_stats(ctl->http, &stats);
	head(text, "skep_http_requests_total", "counter", "Requests answered, by class of status.");
	for (int i = 1; i < 6; i++)
		ctl_text_add(text, "skep_http_requests_total{class=\"%dxx\"} %llu\n", i,
			     (unsigned long long)stats.requests[i]);
	head(text, "skep_http_connections", "gauge", "Connections that are open.");
	ctl_text_add(text, "skep_http_connections %llu\n", (unsigned long long)stats.connections);
	head(text, "skep_http_streams", "gauge", "Streams that are open.");
	ctl_text_add(text, "skep_http_streams %llu\n", (unsigned long long)stats.streams);
	head(text, "skep_http_cut_total", "counter", "Connections cut because they missed a deadline.");
	ctl_text_add(text, "skep_http_cut_total %llu\n", (unsigned long long)stats.cut);
}

static void add_streams(struct ctl_text *text, struct ctl *ctl)
{
	head(text, "skep_extractions", "gauge", "Clients that are sent packets out of segments.");
	ctl_text_add(text, "skep_extractions %u\n", ctl_relays_count(ctl->relays, CTL_RELAY_PACKETS));
	head(text, "skep_live_streams", "gauge", "Clients that watch a link.");
	ctl_text_add(text, "skep_live_streams %u\n", ctl_relays_count(ctl->relays, CTL_RELAY_LIVE));
	head(text, "skep_live_packets_total", "counter", "Packets for clients that watch a link, by fate.");
	ctl_text_add(text, "skep_live_packets_total{fate=\"sent\"} %llu\n",
		     (unsigned long long)ctl->live_totals.sent_pkts);
	ctl_text_add(text, "skep_live_packets_total{fate=\"dropped\"} %llu\n",
		     (unsigned long long)ctl->live_totals.dropped_pkts);
	head(text, "skep_live_bytes_total", "counter", "Bytes sent to clients that watch a link.");
	ctl_text_add(text, "skep_live_bytes_total %llu\n", (unsigned long long)ctl->live_totals.sent_bytes);
}

static void add_spool(struct ctl_text *text, struct ctl *ctl)
{
	struct ctl_spool_figures spool;
	struct statvfs vfs;

	ctl_spool_get_figures(ctl_jobs_spool(ctl->jobs), &spool);
	head(text, "skep_spool_used_bytes", "gauge", "What the spool holds.");
	ctl_text_add(text, "skep_spool_used_bytes %llu\n", (unsigned long long)spool.used_bytes);
	head(text, "skep_spool_collected_bytes", "gauge", "What could go: segments that were collected.");
	ctl_text_add(text, "skep_spool_collected_bytes %llu\n", (unsigned long long)spool.collected_bytes);
	head(text, "skep_spool_quota_bytes", "gauge", "What the spool may hold; 0: as much as there is.");
	ctl_text_add(text, "skep_spool_quota_bytes %llu\n", (unsigned long long)ctl->cfg.quota_bytes);
	head(text, "skep_spool_reserve_bytes", "gauge", "Free space that jobs leave.");
	ctl_text_add(text, "skep_spool_reserve_bytes %llu\n", (unsigned long long)ctl->cfg.reserve_bytes);
	head(text, "skep_spool_full", "gauge", "1: quota or reserve is not kept, and nothing may go.");
	ctl_text_add(text, "skep_spool_full %d\n", spool.full);
	head(text, "skep_spool_removed_segments_total", "counter", "Segments removed to make room.");
	ctl_text_add(text, "skep_spool_removed_segments_total %llu\n", (unsigned long long)spool.freed_segments);
	head(text, "skep_spool_removed_bytes_total", "counter", "Bytes on disk that were freed by it.");
	ctl_text_add(text, "skep_spool_removed_bytes_total %llu\n", (unsigned long long)spool.freed_bytes);
	if (statvfs(ctl->cfg.spool_dir, &vfs) < 0)
		return;
	head(text, "skep_spool_free_bytes", "gauge", "Free space of the file system of the spool.");
	ctl_text_add(text, "skep_spool_free_bytes %llu\n", (unsigned long long)vfs.f_bavail * vfs.f_frsize);
	head(text, "skep_spool_size_bytes", "gauge", "Size of the file system of the spool.");
	ctl_text_add(text, "skep_spool_size_bytes %llu\n", (unsigned long long)vfs.f_blocks * vfs.f_frsize);
}

static const char *text_in(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static long long number_in(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* Jobs by state; the packets of those that have not ended. */
static void add_jobs(struct ctl_text *text, struct ctl *ctl)
{
	static const char *const states[] = { "scheduled", "starting", "running", "paused",
					      "draining",  "done",     "failed",  "cancelled" };
	static const char *const fates[] = { "stored", "rejected" };
	unsigned counts[ARRAY_LEN(states)] = { 0 };
	json_t *list = ctl_jobs_list(ctl->jobs), *job, *value;
	const char *reason;
	size_t i;

	head(text, "skep_job_packets_total", "counter", "Packets of jobs that run, by fate.");
	json_array_foreach(list, i, job)
	{
		for (size_t k = 0; k < ARRAY_LEN(states); k++)
			counts[k] += !strcmp(text_in(job, "state"), states[k]);
		for (size_t k = 0; k < ARRAY_LEN(fates) && json_is_null(json_object_get(job, "outcome")); k++)
			ctl_text_add(text, "skep_job_packets_total{job=\"%s\",fate=\"%s\"} %lld\n",
				     text_in(job, "id"), fates[k],
				     number_in(json_object_get(job, "account"), fates[k]));
	}
	head(text, "skep_job_drops_total", "counter", "Packets that jobs that run have lost, by reason.");
	json_array_foreach(list, i, job)
		json_object_foreach(json_object_get(json_object_get(job, "account"), "dropped"), reason,
				    value) if (json_is_null(json_object_get(job, "outcome")))
			ctl_text_add(text, "skep_job_drops_total{job=\"%s\",reason=\"%s\"} %lld\n",
				     text_in(job, "id"), reason, (long long)json_integer_value(value));
	head(text, "skep_jobs", "gauge", "Jobs, by state.");
	for (size_t k = 0; k < ARRAY_LEN(states); k++)
		ctl_text_add(text, "skep_jobs{state=\"%s\"} %u\n", states[k], counts[k]);
	json_decref(list);
}

static void add_process(struct ctl_text *text, struct ctl *ctl)
{
	struct rusage use;

	head(text, "skep_build_info", "gauge", "Version of the program; always 1.");
	ctl_text_add(text, "skep_build_info{version=\"%s\"} 1\n", SKEP_VERSION);
	head(text, "process_start_time_seconds", "gauge", "Start time of the process since 1970.");
	ctl_text_add(text, "process_start_time_seconds %.3f\n", (double)ctl->started_utc_ns / 1e9);
	if (getrusage(RUSAGE_SELF, &use) < 0)
		return;
	head(text, "process_cpu_seconds_total", "counter", "Processor time used.");
	ctl_text_add(text, "process_cpu_seconds_total %.6f\n",
		     (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
			     (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
}

int ctl_http_metrics(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	struct ctl_text text = { 0 };
	int r;

	add_process(&text, ctl);
	add_http(&text, ctl);
	add_links(&text, ctl);
	add_jobs(&text, ctl);
	add_streams(&text, ctl);
	add_spool(&text, ctl);
	r = text.failed ? -ENOMEM
			: skep_http_answer_data(req, 200, "text/plain; version=0.0.4; charset=utf-8",
						text.data, text.len);
	free(text.data);
	return r;
}
