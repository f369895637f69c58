/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_XDP_H
#define CAP_XDP_H
/*
 * What the sources on the XDP hook (xdp, mirror) share: the interface, the hook, the clock, promiscuous mode, the
 * watch over the link. Control thread only, but for `clock`.
 */
#include "capture/hook.h"
#include "capture/meta.h"
#include "capture/source.h"

struct bpf_program;

struct cap_xdp {
	struct cap_tap head;
	struct cap_hook hook;
	struct cap_meta_clock clock;
	struct skep_xdp_counters *percpu; /* scratch of cap_hook_counters */
	int cpus;
	int promisc_fd;
	int control_fd;          /* for interface ioctls */
	uint32_t mtu;
	uint32_t link_queues;    /* RX queues of the link when it was opened */
	bool was_down;
	bool all_queues;         /* the user chose none */
	bool hints;              /* the program variant that reads the NIC's metadata is loaded */
	struct cap_source *sources[CAP_MAX_QUEUES];
};

/* The two variants of a program; hints is -1 where it is not loaded. */
struct cap_xdp_progs {
	int plain_fd;
	int hints_fd;
};

/* Finds the interface and its facts; refuses one whose hook is taken. `xdp` is zeroed; cap_xdp_fini also after failure. */
int cap_xdp_init(struct cap_xdp *xdp, const struct cap_source_ops *ops, const struct cap_source_cfg *cfg, struct skep_err *err);
void cap_xdp_fini(struct cap_xdp *xdp);

/*
 * Loads a skeleton by `load`, with the variant for this device first (for its time stamps, and for VLAN tags, which are
 * nowhere else once the NIC took them out), without where the kernel or the driver has no such thing. Sets xdp->hints.
 */
int cap_xdp_load(struct cap_xdp *xdp, int (*load)(struct cap_xdp *xdp, bool hints), struct skep_err *err);
/* Marks a program to be loaded, for this device only. */
void cap_xdp_bind_hints(const struct cap_xdp *xdp, struct bpf_program *prog);

/* The RX queues to serve, checked: returns their number and fills `queues`, or a refusal as a negative number of it. */
int cap_xdp_queues(const struct cap_xdp *xdp, uint16_t queues[CAP_MAX_QUEUES], uint32_t *ret_n, struct skep_err *err);

/* Promiscuous mode, and the program onto the hook: native first, then generic, as the configuration allows. */
int cap_xdp_start(struct cap_xdp *xdp, const struct cap_xdp_progs *progs, struct skep_err *err);
void cap_xdp_stop(struct cap_xdp *xdp);
/* Sums the counters of all queues. */
void cap_xdp_counters(struct cap_xdp *xdp, int map_fd, struct skep_xdp_counters *ret);

/*
 * Refreshes the clock, watches the hook, the link state and the number of queues. *ret_mtu_changed: xdp->mtu is new.
 * A reason in words when the tap is lost.
 */
int cap_xdp_check(struct cap_xdp *xdp, bool *ret_mtu_changed, struct skep_err *err);

#endif
