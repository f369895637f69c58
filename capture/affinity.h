/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_AFFINITY_H
#define CAP_AFFINITY_H
/*
 * Where a device sits: its NUMA node, the node's CPUs, the CPUs its interrupts go to. Read from /sys/bus and
 * /proc/irq, which are the same in every network namespace (unlike /sys/class/net).
 */
#include <sched.h>

/* bus: the device's bus name as the driver gives it ("0000:3b:00.0"). -1: unknown, or the machine has one
 * node only. */
int cap_affinity_node(const char *bus);
/* The node's CPUs that this process may use; all CPUs it may use if node is -1. */
void cap_affinity_cpus(int node, cpu_set_t *ret);
/* CPUs that the device's interrupts are delivered to now; returns the number of interrupts, 0 if unknown. */
int cap_affinity_irqs(const char *bus, cpu_set_t *ret);
/* "0-3,8" -> set. Returns 0, or -EINVAL (set untouched). */
int cap_affinity_parse(const char *list, cpu_set_t *ret);

#endif
