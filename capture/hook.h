/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_HOOK_H
#define CAP_HOOK_H
/*
 * The XDP hook of an interface: our program goes on it by a BPF link and off it again; somebody else's is
 * never touched. Called by the control thread only.
 */
#include "bpf/abi/skep_abi.h"
#include "common/err.h"

#include <stdbool.h>

struct cap_hook {
	int ifindex;
	int link_fd; /* -1: not attached. The kernel detaches when it closes, so also after kill -9 */
	uint32_t prog_id;
	bool generic;
	char ifname[32]; /* for messages */
};

#define CAP_HOOK_NULL         \
	{                     \
		.link_fd = -1 \
	}

/* Silences libbpf, whose messages would go to stderr; words for people come from here. Once per process. */
void cap_hook_quiet(void);
/* Refuses with SKEP_E_BUSY, naming the program, if the interface has an XDP program already. */
int cap_hook_free(int ifindex, const char *ifname, struct skep_err *err);
/*
 * Attaches. SKEP_E_BUSY: another program; SKEP_E_UNSUPPORTED: the driver cannot do this mode (native) or this
 * MTU; SKEP_E_PRIVILEGE; all in words.
 */
int cap_hook_attach(struct cap_hook *hook, int prog_fd, bool generic, struct skep_err *err);
/*
 * Detaches, and waits until no CPU runs the program any more: counters are final and nothing is put into
 * rings after it returned. Idempotent.
 */
void cap_hook_detach(struct cap_hook *hook);
/*
 * 0: our program is still the one on the hook; else a reason in words (detached, replaced). `attached`: id of
 * the program that the interface has now. Needs no privilege, and no system call that a confined process has
 * not.
 */
int cap_hook_check(const struct cap_hook *hook, uint32_t attached, struct skep_err *err);
/*
 * Adds the counters of one queue on all CPUs to sum; percpu: scratch space for libbpf_num_possible_cpus() =
 * cpus values.
 */
int cap_hook_counters(int map_fd, uint32_t queue, struct skep_xdp_counters *percpu, int cpus,
		      struct skep_xdp_counters *sum);

#endif
