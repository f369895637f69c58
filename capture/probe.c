/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See probe.h. Puts together what link.c, priv.c and probe_try.c find out, for people and for programs.
 * Changes nothing. What cannot be known is null in the JSON and "-" in the list, never a guess. Control
 * thread, before any other exists.
 */
#include "capture/probe.h"

#include "capture/link.h"
#include "capture/priv.h"
#include "capture/probe_try.h"
#include "capture/source.h"
#include "common/clock.h"
#include "common/format.h"
#include "common/json.h"

#include <dirent.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

struct choice {
	const char *role;
	const char *source;   /* NULL: none, see why */
	const char *xdp_mode; /* NULL unless source is xdp */
	const char *why;
};

/* What --source auto comes to, from what is known without touching the link; see cap_source_open. */
static struct choice choose(const struct cap_link_info *l)
{
	struct cap_source_cfg cfg = { .link = l->name };
	bool tap = cap_source_role(&cfg, l) == CAP_ROLE_TAP;
	struct choice c = { .role = tap ? "tap" : "host", .source = "afpacket" };

	if (!l->up) {
		c.source = NULL;
		c.why = "the interface is down";
	} else if (!tap) {
		c.why = "the host uses this link, its traffic must still reach it";
	} else if (!l->ethernet) {
		c.why = "not an Ethernet interface";
	} else if (l->xdp_prog_id) {
		c.source = NULL;
		c.why = "another XDP program is attached";
	} else {
		c.source = "xdp";
		c.xdp_mode = l->xdp_features < 0		    ? NULL
			     : l->xdp_features & CAP_LINK_XDP_BASIC ? "native"
								    : "generic";
		c.why = "nothing of the host depends on this link";
	}
	return c;
}

/* ---- the list ---- */

static void number_or_dash(char *buf, size_t size, int64_t v)
{
	if (v < 0)
		(void)snprintf(buf, size, "-");
	else
		(void)snprintf(buf, size, "%lld", (long long)v);
}

static void list_one(FILE *out, const struct cap_link_info *l)
{
	char speed[SKEP_FORMAT_MAX] = "-", queues[16], node[16];
	struct choice c = choose(l);

	if (l->speed_mbps >= 0)
		(void)skep_format_rate(speed, (double)l->speed_mbps * 1e6, "bit/s");
	number_or_dash(queues, sizeof(queues), l->rx_queues);
	number_or_dash(node, sizeof(node), l->numa_node);
	(void)fprintf(out, "%-15s %-5s %-11s %-12s %6s %4s  %s%s%s", l->name,
		      !l->up	   ? "down"
		      : l->running ? "up"
				   : "no-ca",
		      speed,
		      l->driver[0] ? l->driver
		      : l->kind[0] ? l->kind
				   : "-",
		      queues, node, c.role, c.source ? ": " : "", c.source ? c.source : "");
	if (c.xdp_mode)
		(void)fprintf(out, " %s", c.xdp_mode);
	if (l->xdp_features > 0 && l->xdp_features & CAP_LINK_XDP_ZEROCOPY)
		(void)fprintf(out, ", zero copy");
	if (l->xdp_features > 0 && l->xdp_features & CAP_LINK_XDP_RX_SG)
		(void)fprintf(out, ", jumbo");
	if (l->hw_timestamps == CAP_YES)
		(void)fprintf(out, ", NIC time stamps");
	if (l->default_route)
		(void)fprintf(out, ", default route");
	if (l->control)
		(void)fprintf(out, ", your ssh connection");
	if (l->xdp_prog_id)
		(void)fprintf(out, ", has XDP program %u (%s)", l->xdp_prog_id,
			      l->xdp_prog_name[0] ? l->xdp_prog_name : "?");
	(void)fprintf(out, "\n");
}

static int write_result(FILE *out, struct skep_err *err)
{
	if (fflush(out) == 0 && !ferror(out))
		return 0;
	return skep_err_set(err, -EIO, "writing the result: %s", strerror(errno ? errno : EIO));
}

int cap_probe_list(FILE *out, struct skep_err *err)
{
	_skep_free_ struct cap_link_info *links = NULL;
	size_t n;
	int r = cap_link_list(&links, &n, err);

	if (r)
		return r;
	(void)fprintf(out, "%-15s %-5s %-11s %-12s %6s %4s  %s\n", "LINK", "STATE", "SPEED", "DRIVER",
		      "QUEUES", "NUMA", "CAPTURED AS");
	for (size_t i = 0; i < n; i++)
		list_one(out, &links[i]);
	(void)fprintf(out, "%-15s %-5s %-11s %-12s %6s %4s  host: afpacket, Linux cooked headers\n", "any",
		      "", "", "", "", "");
	return write_result(out, err);
}

/* ---- JSON ---- */

static json_t *number_or_null(int64_t v)
{
	return v < 0 ? json_null() : json_integer(v);
}

static json_t *text_or_null(const char *s)
{
	return s && s[0] ? json_string(s) : json_null();
}

static json_t *known_or_null(enum cap_known v)
{
	return v == CAP_UNKNOWN ? json_null() : json_boolean(v == CAP_YES);
}

static json_t *cpus_json(const cpu_set_t *set)
{
	json_t *a = json_array();

	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, set))
			(void)json_array_append_new(a, json_integer(i));
	return a;
}

/* true, or the reason in words. */
static json_t *tried(int r, const char *untried)
{
	if (r == 0)
		return json_pack("{s:b}", "works", 1);
	if (r == -ENODATA)
		return json_pack("{s:n, s:s}", "works", "why", untried[0] ? untried : "not tried");
	return json_pack("{s:b, s:s}", "works", 0, "why", strerror(-r));
}

static json_t *bits_json(int64_t bits, const char *const *names, size_t n)
{
	json_t *a;

	if (bits < 0)
		return json_null();
	a = json_array();
	for (size_t i = 0; i < n; i++)
		if (names[i] && bits & (1ll << i))
			(void)json_array_append_new(a, json_string(names[i]));
	return a;
}

static json_t *xdp_json(const struct cap_link_info *l)
{
	static const char *const features[] = { "basic",      "redirect", "ndo-xmit",	"zerocopy",
						"hw-offload", "rx-sg",	  "ndo-xmit-sg" };
	static const char *const metadata[] = { "timestamp", "hash", "vlan-tag" };

	return json_pack("{s:o, s:o, s:i, s:s, s:o, s:o}", "features",
			 bits_json(l->xdp_features, features, ARRAY_LEN(features)), "rx_metadata",
			 bits_json(l->xdp_rx_metadata, metadata, ARRAY_LEN(metadata)),
			 "zero_copy_max_segments", (int)l->xdp_zc_max_segs, "attached_mode",
			 cap_link_xdp_mode_name(l->xdp_mode), "attached_id",
			 l->xdp_prog_id ? json_integer(l->xdp_prog_id) : json_null(), "attached_name",
			 text_or_null(l->xdp_prog_name));
}

static json_t *offloads_json(const struct cap_link_info *l)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "gro", known_or_null(l->gro), "lro", known_or_null(l->lro),
			 "hw_gro", known_or_null(l->hw_gro), "rx_vlan", known_or_null(l->rx_vlan));
}

static json_t *drops_json(const struct cap_link_drops *d)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "rx_missed_errors", (json_int_t)d->rx_missed_errors,
			 "rx_fifo_errors", (json_int_t)d->rx_fifo_errors, "rx_dropped",
			 (json_int_t)d->rx_dropped, "driver", (json_int_t)d->driver, "missed",
			 (json_int_t)d->missed);
}

static json_t *link_json(const struct cap_link_info *l)
{
	struct choice c = choose(l);
	json_t *j = json_pack("{s:s, s:i, s:o, s:b, s:b, s:b, s:b, s:i, s:i, s:o}", "name", l->name,
			      "ifindex", l->ifindex, "kind", text_or_null(l->kind), "up", l->up, "running",
			      l->running, "loopback", l->loopback, "ethernet", l->ethernet, "hardware_type",
			      l->hw_type, "mtu", (int)l->mtu, "speed_mbps", number_or_null(l->speed_mbps));

	(void)json_object_update_new(
		j, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "driver", text_or_null(l->driver),
			     "driver_version", text_or_null(l->driver_version), "bus", text_or_null(l->bus),
			     "rx_queues", number_or_null(l->rx_queues), "rx_queues_max",
			     number_or_null(l->rx_queues_max), "ring_rx", number_or_null(l->ring_rx),
			     "ring_rx_max", number_or_null(l->ring_rx_max)));
	(void)json_object_update_new(j, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "numa_node",
						  number_or_null(l->numa_node), "cpus", cpus_json(&l->cpus),
						  "irq_cpus", l->irqs ? cpus_json(&l->irq_cpus) : json_null(),
						  "offloads", offloads_json(l), "hw_timestamps",
						  known_or_null(l->hw_timestamps), "ptp_clock",
						  number_or_null(l->phc_index)));
	(void)json_object_update_new(j, json_pack("{s:o, s:o, s:b, s:b}", "xdp", xdp_json(l), "drops",
						  drops_json(&l->drops), "default_route", l->default_route,
						  "control_connection", l->control));
	(void)json_object_set_new(j, "auto",
				  json_pack("{s:s, s:o, s:o, s:s}", "role", c.role, "source",
					    text_or_null(c.source), "xdp_mode", text_or_null(c.xdp_mode),
					    "why", c.why));
	return j;
}

static json_t *capabilities_json(void)
{
	static const struct {
		const char *source;
		enum cap_source_kind kind;
	} sources[] = { { "xdp", CAP_SOURCE_XDP },
			{ "mirror", CAP_SOURCE_MIRROR },
			{ "afpacket", CAP_SOURCE_AFPACKET } };
	uint64_t needed_by_any = 0;
	json_t *missing = json_object();
	char names[256];

	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		uint64_t needed = cap_priv_needed(sources[i].kind);

		needed_by_any |= needed;
		(void)json_object_set_new(
			missing, sources[i].source,
			json_string(cap_priv_names(cap_priv_missing(needed), names, sizeof(names))));
	}
	return json_pack(
		"{s:s, s:o}", "held",
		cap_priv_names(needed_by_any & ~cap_priv_missing(needed_by_any), names, sizeof(names)),
		"missing_for", missing);
}

static bool read_text(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(buf, (int)size, f);

	if (f)
		(void)fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

static json_t *huge_pages_json(void)
{
	static const char base[] = "/sys/kernel/mm/hugepages";
	json_t *a = json_array();
	struct dirent *e;
	DIR *d = opendir(base);

	while (d && (e = readdir(d))) {
		char path[384], total[32], unused[32];

		if (strncmp(e->d_name, "hugepages-", 10) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s/nr_hugepages", base, e->d_name);
		if (!read_text(path, total, sizeof(total)))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s/free_hugepages", base, e->d_name);
		if (!read_text(path, unused, sizeof(unused)))
			continue;
		(void)json_array_append_new(a, json_pack("{s:I, s:I, s:I}", "size_kib",
							 (json_int_t)strtoll(e->d_name + 10, NULL, 10),
							 "total", (json_int_t)strtoll(total, NULL, 10),
							 "free", (json_int_t)strtoll(unused, NULL, 10)));
	}
	if (d)
		(void)closedir(d);
	return a;
}

static json_t *machine_json(void)
{
	char nodes[64] = "", online[256] = "";
	struct rlimit lock = { RLIM_INFINITY, RLIM_INFINITY };
	struct skep_clock_state clk;
	struct utsname u = { 0 };
	cpu_set_t allowed;
	json_t *j;

	(void)uname(&u);
	CPU_ZERO(&allowed);
	(void)sched_getaffinity(0, sizeof(allowed), &allowed);
	(void)getrlimit(RLIMIT_MEMLOCK, &lock);
	(void)read_text("/sys/devices/system/node/online", nodes, sizeof(nodes));
	(void)read_text("/sys/devices/system/cpu/online", online, sizeof(online));
	j = json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "host", u.nodename, "kernel",
		      u.release, "architecture", u.machine, "btf",
		      access("/sys/kernel/btf/vmlinux", R_OK) == 0, "capabilities", capabilities_json(),
		      "cpus", cpus_json(&allowed), "cpus_online", text_or_null(online), "numa_nodes",
		      text_or_null(nodes), "huge_pages", huge_pages_json(), "memlock_bytes",
		      lock.rlim_cur == RLIM_INFINITY ? json_null() : json_integer((json_int_t)lock.rlim_cur));
	(void)json_object_set_new(
		j, "clock",
		skep_clock_state(&clk) < 0
			? json_null()
			: json_pack("{s:b, s:i, s:o}", "synchronised", clk.synchronised, "tai_offset_s",
				    clk.tai_offset_s, "error_ns",
				    clk.synchronised ? json_integer((json_int_t)clk.error_ns) : json_null()));
	return j;
}

static json_t *uring_json(void)
{
	static const char *const names[] = { "single-mmap",    "nodrop",	  "submit-stable",
					     "rw-cur-pos",     "cur-personality", "fast-poll",
					     "poll-32bits",    "sqpoll-nonfixed", "ext-arg",
					     "native-workers", "rsrc-tags",	  "cqe-skip",
					     "linked-file",    "reg-reg-ring" };
	uint32_t features = 0;
	int r = cap_probe_try_uring(&features);
	json_t *j = tried(r, "");

	if (r == 0)
		(void)json_object_set_new(j, "features", bits_json(features, names, ARRAY_LEN(names)));
	return j;
}

static json_t *directory_json(const char *dir)
{
	struct statvfs st;
	json_t *j = json_pack("{s:s, s:o}", "path", dir, "direct_io", tried(cap_probe_try_direct(dir), ""));

	(void)json_object_set_new(
		j, "free_bytes",
		statvfs(dir, &st) < 0 ? json_null() : json_integer((json_int_t)(st.f_bavail * st.f_frsize)));
	return j;
}

static json_t *tries_json(const struct cap_probe_cfg *cfg)
{
	struct cap_probe_tries t;
	json_t *j;

	cap_probe_try_xdp(&t);
	j = json_pack("{s:o, s:o, s:o, s:o, s:o}", "xdp_native", tried(t.xdp_native, t.untried),
		      "xdp_generic", tried(t.xdp_generic, t.untried), "af_xdp", tried(t.afxdp, t.untried),
		      "bpf_trampoline", tried(t.trampoline, t.untried), "io_uring", uring_json());
	if (cfg->dir)
		(void)json_object_set_new(j, "directory", directory_json(cfg->dir));
	return j;
}

static int links_json(const struct cap_probe_cfg *cfg, json_t *a, struct skep_err *err)
{
	_skep_free_ struct cap_link_info *links = NULL;
	struct cap_link_info one;
	size_t n = 0;
	int r = 0;

	if (!cfg->n_links)
		r = cap_link_list(&links, &n, err);
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(a, link_json(&links[i]));
	for (size_t i = 0; i < cfg->n_links && r == 0; i++) {
		r = cap_link_query(cfg->links[i], &one, err);
		if (r == 0)
			(void)json_array_append_new(a, link_json(&one));
	}
	return r;
}

int cap_probe_json(const struct cap_probe_cfg *cfg, FILE *out, struct skep_err *err)
{
	_skep_json_ json_t *all = NULL, *links = json_array();
	int r = links_json(cfg, links, err);

	if (r)
		return r;
	all = json_pack("{s:i, s:s, s:o, s:o, s:O}", "version", 1, "skep", SKEP_VERSION, "machine",
			machine_json(), "tried", tries_json(cfg), "links", links);
	if (!all)
		return skep_err_set(err, -ENOMEM, "probing: out of memory");
	if (json_dumpf(all, out, JSON_INDENT(2)) < 0 || fputc('\n', out) == EOF)
		return skep_err_set(err, -EIO, "writing the result: %s", strerror(errno ? errno : EIO));
	return write_result(out, err);
}
