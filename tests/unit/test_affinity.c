/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves what the machine's layout is read as: on files such as Linux writes them for two nodes, a NIC and
 * its interrupts, mounted over /sys/bus, /sys/devices/system/node and /proc/irq of this process alone; and
 * that whatever is missing, broken or hostile is "unknown", and never leaves a worker without a CPU.
 */
#include "tool.h"
#include "unit.h"

#include "capture/affinity.h"

#include <sched.h>
#include <sys/mount.h>

static void lists(void **state)
{
	static const struct {
		const char *list;
		int count, has[3];
	} good[] = {
		{ "0", 1, { 0, 0, 0 } },
		{ "0-3,8", 5, { 0, 3, 8 } },
		{ "", 0, { -1, -1, -1 } },
		{ "5,1", 2, { 1, 5, 5 } },
		{ "7-7", 1, { 7, 7, 7 } },
		{ "1-2,2-4", 4, { 1, 2, 4 } },
		{ "1000,1023", 2, { 1000, 1023, 1023 } },
	};
	static const char *const bad[] = { "a",	   "1-",     "-",     "3-1", "1;2", "1,,2",
					   "1024", "0-1024", "1-2-3", "0x3", "1 2", "99999999999999999999",
					   "-1" };
	cpu_set_t set, before;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		memset(&set, 0xff, sizeof(set));
		assert_int_equal(cap_affinity_parse(good[i].list, &set), 0);
		assert_int_equal(CPU_COUNT(&set), good[i].count);
		for (int k = 0; k < 3 && good[i].has[k] >= 0; k++)
			assert_true(CPU_ISSET((size_t)good[i].has[k], &set));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		memset(&set, 0x5a, sizeof(set));
		before = set;
		if (cap_affinity_parse(bad[i], &set) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_memory_equal(&set, &before, sizeof(set));
	}
}

static void put(const char *path, const char *text)
{
	char copy[200];

	(void)snprintf(copy, sizeof(copy), "%s", path);
	for (char *p = copy + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		(void)mkdir(copy, 0755);
		*p = '/';
	}
	tool_write_file(path, text, strlen(text));
}

/* Two nodes; a NIC on node 1 with three interrupts, a virtio NIC on node 0, a NIC that does not know. */
static bool fake_machine(void)
{
	static const char *const over[] = { "/sys/bus", "/sys/devices/system/node", "/proc/irq" };

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		print_message("# needs root: files of its own over /sys\n");
		return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(over); i++)
		if (mount("skep-affinity", over[i], "tmpfs", 0, "size=1m") < 0) {
			print_message("# cannot mount over %s: %s\n", over[i], strerror(errno));
			return false;
		}
	put("/sys/bus/pci/devices/0000:3b:00.0/numa_node", "1\n");
	put("/sys/bus/pci/devices/0000:3b:00.0/msi_irqs/40", "msix\n");
	put("/sys/bus/pci/devices/0000:3b:00.0/msi_irqs/41", "msix\n");
	put("/sys/bus/pci/devices/0000:3b:00.0/msi_irqs/42", "msix\n");
	put("/sys/bus/pci/devices/0000:04:00.0/numa_node", "-1\n");
	put("/sys/bus/virtio/devices/virtio3/driver", "");
	put("/sys/bus/virtio/devices/numa_node", "0\n"); /* that of the device behind it */
	put("/proc/irq/40/effective_affinity_list", "2\n");
	put("/proc/irq/41/effective_affinity_list", "4-5\n");
	put("/proc/irq/42/effective_affinity_list", "nonsense\n");
	put("/sys/devices/system/node/node0/cpulist", "0\n");
	put("/sys/devices/system/node/node1/cpulist", "1-1023\n");
	put("/sys/devices/system/node/node2/cpulist", "\n"); /* memory only */
	put("/sys/devices/system/node/node3/cpulist", "1-\n");
	return true;
}

static void devices_and_nodes(void **state)
{
	static const char *const unknown[] = { "",  "0000:00:00.0", "../pci/devices/0000:3b:00.0",
					       "/", "..",	    "0000:04:00.0" };
	cpu_set_t set, all, one;

	(void)state;
	if (!fake_machine())
		skip();
	assert_int_equal(cap_affinity_node("0000:3b:00.0"), 1);
	assert_int_equal(cap_affinity_node("virtio3"), 0);
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
		if (i != 4) /* a name that is a folder, but no device's */
			assert_int_equal(cap_affinity_node(unknown[i]), -1);
		CPU_SET(0, &set);
		assert_int_equal(cap_affinity_irqs(unknown[i], &set), 0);
		assert_int_equal(CPU_COUNT(&set), 0);
	}
	assert_int_equal(cap_affinity_irqs("0000:3b:00.0", &set), 2); /* of the third nothing is known */
	assert_true(CPU_COUNT(&set) == 3 && CPU_ISSET(2, &set) && CPU_ISSET(4, &set) && CPU_ISSET(5, &set));

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	cap_affinity_cpus(-1, &set);
	assert_true(CPU_EQUAL(&set, &all));
	for (int node = 2; node < 5; node++) { /* without CPUs, broken, absent: better any than none */
		cap_affinity_cpus(node, &set);
		assert_true(CPU_EQUAL(&set, &all));
	}
	if (!CPU_ISSET(0, &all) || CPU_COUNT(&all) < 2)
		return;
	cap_affinity_cpus(0, &set);
	assert_true(CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set));
	cap_affinity_cpus(1, &set);
	assert_int_equal(CPU_COUNT(&set), CPU_COUNT(&all) - 1);
	assert_false(CPU_ISSET(0, &set));
	/* What this process may not use is not offered. */
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	cap_affinity_cpus(-1, &set);
	assert_true(CPU_EQUAL(&set, &one));
	cap_affinity_cpus(1, &set);
	assert_true(CPU_EQUAL(&set, &one));
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(devices_and_nodes),
	};

	return cmocka_run_group_tests_name("affinity", tests, NULL, NULL);
}
