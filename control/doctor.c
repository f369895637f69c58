/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looks at what `skep-capture --probe` says about this machine and the configured links, at the clock and at
 * the spool, and gives each finding a verdict and a remedy. Changes nothing but for one file of 64 MiB in the
 * spool, written past the page cache to time the disk, and removed. What cannot be known is said, not
 * guessed.
 */
#include "control/doctor.h"

#include "common/clock.h"
#include "common/format.h"
#include "common/json.h"
#include "control/links.h"
#include "control/rss.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#define DISK_CHUNK_BYTES (1u << 20)
#define DISK_CHUNKS 64u
#define DISK_SLOW_BYTES_PER_S 300e6

enum verdict { OK, WARN, FAIL };

struct doctor {
	FILE *out;
	unsigned failed;
};

SKEP_PRINTF(4, 5)
static void say(struct doctor *d, enum verdict verdict, const char *what, const char *fmt, ...)
{
	static const char *const words[] = { "ok  ", "warn", "fail" };
	va_list ap;

	fprintf(d->out, "%s  %-22s ", words[verdict], what);
	va_start(ap, fmt);
	vfprintf(d->out, fmt, ap);
	va_end(ap);
	fputc('\n', d->out);
	d->failed += verdict == FAIL;
}

static const char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : "";
}

static void check_kernel(struct doctor *d, const json_t *machine)
{
	struct utsname host;
	unsigned major = 0, minor = 0;

	(void)uname(&host);
	if (sscanf(host.release, "%u.%u", &major, &minor) == 2 && (major > 5 || (major == 5 && minor >= 18)))
		say(d, OK, "kernel", "%s", host.release);
	else
		say(d, FAIL, "kernel", "%s: XDP with frags needs 5.18; install a newer kernel", host.release);
	if (json_is_true(json_object_get(machine, "btf")))
		say(d, OK, "BTF", "/sys/kernel/btf/vmlinux is there");
	else
		say(d, WARN, "BTF",
		    "no /sys/kernel/btf/vmlinux: time stamps of NICs cannot be used; take a kernel with "
		    "CONFIG_DEBUG_INFO_BTF");
}

static void check_capabilities(struct doctor *d, const json_t *machine)
{
	const json_t *missing = json_object_get(json_object_get(machine, "capabilities"), "missing_for");
	const char *xdp = text(missing, "xdp");

	if (xdp[0])
		say(d, FAIL, "capabilities",
		    "XDP needs %s; run this as the user of the daemon, or see its unit", xdp);
	else
		say(d, OK, "capabilities", "%s", text(json_object_get(machine, "capabilities"), "held"));
}

static void check_tried(struct doctor *d, const json_t *tried)
{
	static const struct {
		const char *name, *what;
		enum verdict verdict;
	} rows[] = {
		{ "xdp_native", "XDP in the driver", WARN },
		{ "af_xdp", "AF_XDP", WARN },
		{ "io_uring", "io_uring", FAIL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const json_t *one = json_object_get(tried, rows[i].name),
			     *works = json_object_get(one, "works");

		if (json_is_true(works))
			say(d, OK, rows[i].what, "works");
		else if (json_is_false(works))
			say(d, rows[i].verdict, rows[i].what, "refused: %s", text(one, "why"));
		else
			say(d, WARN, rows[i].what, "could not be tried%s%s", text(one, "why")[0] ? ": " : "",
			    text(one, "why"));
	}
}

static void check_clock(struct doctor *d)
{
	struct skep_clock_state state;
	char error[SKEP_FORMAT_MAX];

	if (skep_clock_state(&state) < 0)
		say(d, WARN, "clock", "its state is not known");
	else if (!state.synchronised)
		say(d, WARN, "clock",
		    "not synchronised: time stamps of several probes cannot be compared; install chrony or "
		    "ptp4l");
	else
		say(d, state.error_ns > 10 * SKEP_NSEC_PER_MSEC ? WARN : OK, "clock",
		    "synchronised, estimated error %s", skep_format_duration(error, state.error_ns));
}

static void check_huge_pages(struct doctor *d, const json_t *machine)
{
	json_int_t total = 0;
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(machine, "huge_pages"), i, item) total +=
		json_integer_value(json_object_get(item, "total"));
	if (total > 0)
		say(d, OK, "huge pages", "%lld", (long long)total);
	else
		say(d, WARN, "huge pages",
		    "none: buffers of AF_XDP cost more TLB misses; sysctl vm.nr_hugepages=128");
}

static void check_rss(struct doctor *d, const char *link)
{
	switch (ctl_rss_of(link)) {
	case CTL_RSS_SYMMETRIC:
		say(d, OK, link, "both directions of a flow reach the same queue");
		break;
	case CTL_RSS_APART:
		say(d, WARN, link,
		    "the directions of a flow reach different queues: ethtool -X %s hkey 6d:5a:6d:5a:… (as long as "
		    "its key)",
		    link);
		break;
	default:
		say(d, WARN, link,
		    "whether both directions of a flow reach the same queue is not known: ethtool -x %s",
		    link);
	}
}

/* NIC rings, offloads that change packets, queues and CPUs of one link. */
static void check_link(struct doctor *d, const struct ctl_link_config *cfg, const json_t *link)
{
	json_int_t ring = json_integer_value(json_object_get(link, "ring_rx"));
	json_int_t ring_max = json_integer_value(json_object_get(link, "ring_rx_max"));
	const json_t *offloads = json_object_get(link, "offloads"),
		     *automatic = json_object_get(link, "auto");
	json_int_t queues = json_integer_value(json_object_get(link, "rx_queues"));

	if (!link) {
		say(d, FAIL, cfg->name, "there is no such interface");
		return;
	}
	if (!json_is_true(json_object_get(link, "up")))
		say(d, FAIL, cfg->name, "is down: ip link set %s up", cfg->name);
	else if (!json_is_true(json_object_get(link, "running")))
		say(d, WARN, cfg->name, "has no carrier: is the cable in?");
	else
		say(d, OK, cfg->name, "%s, %lld queues, would use %s", text(link, "driver"),
		    (long long)queues, text(automatic, "source"));
	if (cfg->role == CTL_ROLE_TAP && json_is_true(json_object_get(link, "default_route")))
		say(d, FAIL, cfg->name,
		    "role = tap, but the host's default route goes through it: set role = host");
	if (ring && ring < ring_max)
		say(d, WARN, cfg->name, "its ring has %lld of %lld entries: ethtool -G %s rx %lld",
		    (long long)ring, (long long)ring_max, cfg->name, (long long)ring_max);
	if (json_is_true(json_object_get(offloads, "lro")) ||
	    json_is_true(json_object_get(offloads, "hw_gro")))
		say(d, WARN, cfg->name,
		    "the NIC joins packets before they are captured: ethtool -K %s lro off rx-gro-hw off",
		    cfg->name);
	if (queues > 1)
		check_rss(d, cfg->name);
	if (json_is_array(json_object_get(link, "irq_cpus")) &&
	    json_integer_value(json_object_get(link, "numa_node")) > 0 &&
	    !json_equal(json_object_get(link, "irq_cpus"), json_object_get(link, "cpus")))
		say(d, WARN, cfg->name,
		    "its interrupts reach CPUs beside its NUMA node %lld: set their smp_affinity",
		    (long long)json_integer_value(json_object_get(link, "numa_node")));
}

static void check_links(struct doctor *d, const struct ctl_config *cfg, const json_t *probe)
{
	if (!cfg->n_links)
		say(d, WARN, "links", "the configuration names none: add a section [link NAME] for each tap");
	for (uint32_t i = 0; i < cfg->n_links; i++) {
		const json_t *found = NULL;
		json_t *link;
		size_t k;

		json_array_foreach(json_object_get(probe, "links"), k,
				   link) if (!strcmp(text(link, "name"), cfg->links[i].name)) found = link;
		check_link(d, &cfg->links[i], found);
	}
}

/* 64 MiB past the page cache, and synced. Bytes per second, or -errno. */
static double time_disk(const char *dir)
{
	_skep_close_ int fd = open(dir, O_TMPFILE | O_WRONLY | O_DIRECT | O_CLOEXEC, 0600);
	_skep_free_ void *chunk = aligned_alloc(4096, DISK_CHUNK_BYTES);
	uint64_t start;

	if (fd < 0 || !chunk)
		return fd < 0 ? -errno : -ENOMEM;
	memset(chunk, 0xa5, DISK_CHUNK_BYTES);
	start = skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC);
	for (uint32_t i = 0; i < DISK_CHUNKS; i++)
		if (write(fd, chunk, DISK_CHUNK_BYTES) != (ssize_t)DISK_CHUNK_BYTES)
			return -errno ?: -EIO;
	if (fsync(fd) < 0)
		return -errno;
	return (double)DISK_CHUNKS * DISK_CHUNK_BYTES * 1e9 /
	       (double)(skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC) - start);
}

static void check_spool(struct doctor *d, const struct ctl_config *cfg)
{
	char free_text[SKEP_FORMAT_MAX], rate_text[SKEP_FORMAT_MAX];
	struct statvfs vfs;
	uint64_t left;
	double rate;

	if (statvfs(cfg->spool_dir, &vfs) < 0) {
		say(d, FAIL, "spool", "%s: %s", cfg->spool_dir, strerror(errno));
		return;
	}
	left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	say(d,
	    left < cfg->reserve_bytes	    ? FAIL
	    : left < 4 * cfg->reserve_bytes ? WARN
					    : OK,
	    "free space", "%s in %s", skep_format_size(free_text, left), cfg->spool_dir);
	rate = left > 2ull * DISK_CHUNKS * DISK_CHUNK_BYTES ? time_disk(cfg->spool_dir) : -ENOSPC;
	if (rate < 0)
		say(d, WARN, "disk", "direct writing in %s: %s", cfg->spool_dir, strerror((int)-rate));
	else
		say(d, rate < DISK_SLOW_BYTES_PER_S ? WARN : OK, "disk", "%s/s, one writer",
		    skep_format_size(rate_text, (uint64_t)rate));
}

int ctl_doctor(const struct ctl_config *cfg, FILE *out, struct skep_err *err)
{
	struct doctor d = { .out = out };
	struct ctl_links *links = ctl_links_new(cfg);
	_skep_json_ json_t *probe = NULL;
	int r = links ? ctl_links_refresh(links, 0, err) : skep_err_set(err, -ENOMEM, "no memory");

	probe = r ? NULL : ctl_links_probe(links);
	if (r == 0) {
		const json_t *machine = json_object_get(probe, "machine");

		check_kernel(&d, machine);
		check_capabilities(&d, machine);
		check_tried(&d, json_object_get(probe, "tried"));
		check_huge_pages(&d, machine);
		check_clock(&d);
		check_links(&d, cfg, probe);
		check_spool(&d, cfg);
		r = d.failed ? SKEP_E_UNSUPPORTED : 0;
	}
	(void)ctl_links_free(links);
	return r;
}
