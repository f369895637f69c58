/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GET /v1/probe: this machine; and the program's own health for whoever watches it, without secrets.
 */
#include "common/clock.h"
#include "common/format.h"
#include "common/json.h"
#include "control/http/handlers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#define PROBE_AGE_NS (300 * SKEP_NSEC_PER_SEC)

static json_t *count(uint64_t n)
{
	return json_integer((json_int_t)SKEP_MIN(n, (uint64_t)INT64_MAX));
}

static json_t *memory_json(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long total = 0, available = 0, value;
	char name[64], line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63[^:]: %llu kB", name, &value) == 2) {
			if (!strcmp(name, "MemTotal"))
				total = value * 1024;
			else if (!strcmp(name, "MemAvailable"))
				available = value * 1024;
		}
	if (file)
		fclose(file);
	return json_pack("{s:o,s:o}", "total_bytes", count(total), "available_bytes", count(available));
}

static json_t *clock_json(void)
{
	struct skep_clock_state state;
	char text[SKEP_FORMAT_MAX];
	json_t *clock = json_object();

	json_object_set_new(
		clock, "now",
		json_string(skep_format_time(text, skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME))));
	if (skep_clock_state(&state) < 0) {
		json_object_set_new(clock, "synchronised", json_null());
		return clock;
	}
	json_object_set_new(clock, "synchronised", json_boolean(state.synchronised));
	json_object_set_new(clock, "error_ns", state.synchronised ? count(state.error_ns) : json_null());
	json_object_set_new(clock, "max_error_ns",
			    state.synchronised ? count(state.max_error_ns) : json_null());
	json_object_set_new(clock, "tai_offset_s", json_integer(state.tai_offset_s));
	return clock;
}

static json_t *disk_json(struct ctl *ctl)
{
	const struct ctl_config *cfg = &ctl->cfg;
	struct statvfs vfs;
	json_t *disk = json_object();
	bool known = statvfs(cfg->spool_dir, &vfs) == 0;
	struct ctl_spool_figures spool;

	ctl_spool_get_figures(ctl_jobs_spool(ctl->jobs), &spool);

	json_object_set_new(disk, "spool", json_string(cfg->spool_dir));
	json_object_set_new(disk, "total_bytes",
			    known ? count((uint64_t)vfs.f_blocks * vfs.f_frsize) : json_null());
	json_object_set_new(disk, "free_bytes",
			    known ? count((uint64_t)vfs.f_bavail * vfs.f_frsize) : json_null());
	json_object_set_new(disk, "quota_bytes", cfg->quota_bytes ? count(cfg->quota_bytes) : json_null());
	json_object_set_new(disk, "used_bytes", count(spool.used_bytes));
	json_object_set_new(disk, "collected_bytes", count(spool.collected_bytes));
	json_object_set_new(disk, "full", json_boolean(spool.full));
	json_object_set_new(disk, "reserve_bytes", count(cfg->reserve_bytes));
	return disk;
}

/* What skep-capture --probe found out about the machine; null where it could not be asked. */
static void add_probed(struct ctl *ctl, json_t *to)
{
	_skep_json_ json_t *probe = NULL;
	const json_t *machine;

	(void)ctl_links_refresh(ctl->links, PROBE_AGE_NS, NULL);
	probe = ctl_links_probe(ctl->links);
	machine = json_object_get(probe, "machine");
	json_object_set(to, "cpus", json_object_get(machine, "cpus") ?: json_null());
	json_object_set(to, "numa_nodes", json_object_get(machine, "numa_nodes") ?: json_null());
	json_object_set(to, "huge_pages", json_object_get(machine, "huge_pages") ?: json_null());
	json_object_set(to, "capabilities", json_object_get(machine, "capabilities") ?: json_null());
	json_object_set(to, "tried", json_object_get(probe, "tried") ?: json_null());
}

int ctl_http_probe(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	char started[SKEP_FORMAT_MAX];
	struct utsname host;
	json_t *probe;

	(void)uname(&host);
	probe = json_pack("{s:s,s:s,s:i,s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:{s:i,s:i,s:i,s:i,s:i}}", "name", ctl->cfg.name,
			  "version", SKEP_VERSION, "api", CTL_API_VERSION, "host", host.nodename, "kernel",
			  host.release, "architecture", host.machine, "started_at",
			  skep_format_time(started, ctl->started_utc_ns), "memory", memory_json(), "clock",
			  clock_json(), "disk", disk_json(ctl), "limits", "links", CTL_LINKS_MAX,
			  "jobs_per_link", 64, "filter_bytes", 65536, "extractions",
			  (int)ctl->cfg.extractions_max, "live", (int)ctl->cfg.live_max);
	if (!probe)
		return -ENOMEM;
	add_probed(ctl, probe);
	return skep_http_answer_json(req, 200, probe);
}

int ctl_http_health(struct skep_http_req *req, void *app)
{
	(void)app;
	return skep_http_answer_json(req, 200, json_pack("{s:s}", "status", "ok"));
}

int ctl_http_ready(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	struct statvfs vfs;

	if (statvfs(ctl->cfg.spool_dir, &vfs) < 0)
		return skep_http_refuse(req, 503, "not-ready", NULL, "the spool directory cannot be used");
	if ((uint64_t)vfs.f_bavail * vfs.f_frsize < ctl->cfg.reserve_bytes)
		return skep_http_refuse(req, 503, "not-ready", NULL, "the spool is full");
	return skep_http_answer_json(req, 200, json_pack("{s:s}", "status", "ready"));
}

int ctl_http_openapi(struct skep_http_req *req, void *app)
{
	(void)app;
	return skep_http_answer_data(req, 200, "application/yaml", ctl_openapi, ctl_openapi_len);
}

int ctl_http_events(struct skep_http_req *req, void *app)
{
	static const char *const known[] = { "last_event_id", NULL };
	struct ctl *ctl = app;

	if (skep_http_query_only(req, known))
		return 0;
	return skep_http_answer_events(req, &(struct skep_http_events){ .hub = ctl->events });
}
