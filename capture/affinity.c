/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See affinity.h. Reads small text files, never writes one; whatever cannot be read is "unknown", never an
 * error: pinning is an improvement, not a condition. Control thread only.
 */
#include "capture/affinity.h"
#include "common/util.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* First line of a file without its newline. */
static bool read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(buf, (int)size, f) != NULL;
	(void)fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = '\0';
	return ok;
}

int cap_affinity_parse(const char *list, cpu_set_t *ret)
{
	cpu_set_t set;
	const char *p = list;

	CPU_ZERO(&set);
	while (*p) {
		char *end;
		unsigned long from = strtoul(p, &end, 10), to = from;

		if (end == p)
			return -EINVAL;
		if (*end == '-') {
			p = end + 1;
			to = strtoul(p, &end, 10);
			if (end == p)
				return -EINVAL;
		}
		if (to < from || to >= CPU_SETSIZE || (*end && *end != ','))
			return -EINVAL;
		for (; from <= to; from++)
			CPU_SET(from, &set);
		p = *end ? end + 1 : end;
	}
	*ret = set;
	return 0;
}

int cap_affinity_node(const char *bus)
{
	static const char *const where[] = { "pci", "virtio" };
	char path[160], line[32];

	if (!bus[0] || strchr(bus, '/'))
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(where); i++) {
		(void)snprintf(path, sizeof(path), "/sys/bus/%s/devices/%.63s/%snuma_node", where[i], bus,
			       i == 1 ? "../" : "");
		if (read_line(path, line, sizeof(line)))
			return (int)strtol(line, NULL, 10) < 0 ? -1 : (int)strtol(line, NULL, 10);
	}
	return -1;
}

void cap_affinity_cpus(int node, cpu_set_t *ret)
{
	char path[64], line[4096];
	cpu_set_t allowed, of_node;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		CPU_SET(0, &allowed);
	*ret = allowed;
	if (node < 0)
		return;
	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	if (!read_line(path, line, sizeof(line)) || cap_affinity_parse(line, &of_node) < 0)
		return;
	CPU_AND(&of_node, &of_node, &allowed);
	/* A node without a usable CPU (memory only, or a cpuset elsewhere): better any CPU than none. */
	if (CPU_COUNT(&of_node) > 0)
		*ret = of_node;
}

int cap_affinity_irqs(const char *bus, cpu_set_t *ret)
{
	char path[160], line[4096];
	struct dirent *e;
	int n = 0;
	DIR *d;

	CPU_ZERO(ret);
	if (!bus[0] || strchr(bus, '/'))
		return 0;
	(void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.63s/msi_irqs", bus);
	d = opendir(path);
	if (!d)
		return 0;
	while ((e = readdir(d))) {
		cpu_set_t one;

		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "/proc/irq/%.16s/effective_affinity_list", e->d_name);
		if (!read_line(path, line, sizeof(line)) || cap_affinity_parse(line, &one) < 0)
			continue;
		CPU_OR(ret, ret, &one);
		n++;
	}
	(void)closedir(d);
	return n;
}
