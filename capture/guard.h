/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_GUARD_H
#define CAP_GUARD_H
/*
 * Leaves a link as it was found. XDP programs (BPF links) and promiscuous mode (packet sockets) end with the
 * process by themselves; offloads do not, so they are changed only through a guard: a small process that
 * keeps CAP_NET_ADMIN and nothing else, remembers what was, and puts it back when its engine ends, however
 * that ends.
 *
 * Start it before any thread, and before privileges are dropped. The other functions are for the control
 * thread and need no privilege: sendto, recvfrom, close and wait4 on what start has opened.
 */
#include "common/err.h"

#include <stdbool.h>

#define CAP_GUARD_STATE_DIR "/run/skep"

struct cap_guard;

struct cap_guard_cfg {
	const char *state_dir; /* NULL: CAP_GUARD_STATE_DIR; made (0700) if it is not there */
	/* What was found to be cleaned up after an engine that was killed, one sentence each. */
	void (*say)(void *arg, const char *sentence);
	void *say_arg;
};

/*
 * Puts back what dead engines left changed in this network namespace, then starts the guard. Needs
 * CAP_NET_ADMIN only once there is something to change. -errno: the state directory cannot be used.
 */
int cap_guard_start(const struct cap_guard_cfg *cfg, struct cap_guard **ret, struct skep_err *err);
/*
 * The link is this engine's until the end. SKEP_E_BUSY: another live engine has it, which is named.
 * SKEP_E_NOT_FOUND.
 */
int cap_guard_claim(struct cap_guard *g, const char *link, struct skep_err *err);
/*
 * Claims the link and switches an offload ("rx-gro", "rx-lro", "rx-gro-hw", "rx-vlan-hw-parse") on or off. 0
 * also if it was so already. SKEP_E_UNSUPPORTED: the driver has no such switch; SKEP_E_PRIVILEGE; SKEP_E_BUSY
 * as above.
 */
int cap_guard_offload(struct cap_guard *g, const char *link, const char *feature, bool on,
		      struct skep_err *err);
/*
 * Puts everything back that is still as we left it and ends the guard; *g becomes NULL, and may be NULL
 * before. An error says what could not be put back; the rest is restored all the same.
 */
int cap_guard_end(struct cap_guard **g, struct skep_err *err);

#endif
