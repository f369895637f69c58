/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_XDP_H
#define CAP_XDP_H
/*
 * What the sources on the XDP hook (xdp, mirror) share: the interface, the hook, the clock, promiscuous mode,
 * the watch over the link. Control thread only, but for `clock`.
 */
#include "capture/hook.h"
#include "capture/link.h"
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
	int phc_fd; /* the NIC's clock; -1: none */
	struct cap_link_watch *watch;
	uint64_t missed_before; /* frames the NIC had lost when the tap started */
	uint32_t mtu;
	uint32_t queues_max;  /* where counters can be: RX queues that the link can have */
	uint32_t link_queues; /* RX queues of the link when it was opened */
	bool was_down;
	bool all_queues;     /* the user chose none */
	bool native_only;    /* set by a source that generic mode cannot serve (zero copy) */
	bool hints;	     /* the program variant that reads the NIC's metadata is loaded */
	bool nic_timestamps; /* its stamps are wanted, and can be turned into UTC */
	struct cap_source *sources[CAP_MAX_QUEUES];
};

/* The two variants of a program; hints is -1 where it is not loaded. */
struct cap_xdp_progs {
	int plain_fd;
	int hints_fd;
};

/*
 * Finds the interface and its facts; refuses one whose hook is taken. `xdp` is zeroed; cap_xdp_fini also
 * after failure.
 */
int cap_xdp_init(struct cap_xdp *xdp, const struct cap_source_ops *ops, const struct cap_source_cfg *cfg,
		 struct skep_err *err);
void cap_xdp_fini(struct cap_xdp *xdp);

/*
 * Loads a skeleton by `load`, with the variant for this device first (for its time stamps, and for VLAN tags,
 * which are nowhere else once the NIC took them out), without where the kernel or the driver has no such
 * thing. Sets xdp->hints.
 */
int cap_xdp_load(struct cap_xdp *xdp, int (*load)(struct cap_xdp *xdp, bool hints), struct skep_err *err);
/* Marks a program to be loaded, for this device only. */
void cap_xdp_bind_hints(const struct cap_xdp *xdp, struct bpf_program *prog);

/* The RX queues to serve, checked: or a refusal. */
int cap_xdp_queues(const struct cap_xdp *xdp, uint16_t queues[CAP_MAX_QUEUES], uint32_t *ret_n,
		   struct skep_err *err);

/* Promiscuous mode, and the program onto the hook: native first, then generic, as the configuration allows.
 */
int cap_xdp_start(struct cap_xdp *xdp, const struct cap_xdp_progs *progs, struct skep_err *err);
void cap_xdp_stop(struct cap_xdp *xdp);
/* Sums the counters of all queues. */
void cap_xdp_counters(struct cap_xdp *xdp, int map_fd, struct skep_xdp_counters *ret);
/* Frames that the NIC lost before the hook since start. */
uint64_t cap_xdp_missed(const struct cap_xdp *xdp);

/* Does the NIC stamp every frame, has its driver stamps for XDP programs, and is there a clock to read? */
bool cap_xdp_gives_stamps(const struct cap_link_info *info);
/*
 * What to add to a stamp of the NIC's clock to get UTC, from one reading of all clocks. A clock that somebody
 * keeps on TAI or UTC (ptp4l, phc2sys) is taken at its word, because it is better than the comparison; any
 * other is compared.
 */
int64_t cap_xdp_nic_to_utc_ns(int64_t nic_ns, int64_t utc_ns, int64_t tai_to_utc_ns);

/*
 * Refreshes the clock, watches the hook, the link state and the number of queues. *ret_mtu_changed: xdp->mtu
 * is new. A reason in words when the tap is lost.
 */
int cap_xdp_check(struct cap_xdp *xdp, bool *ret_mtu_changed, struct skep_err *err);

#endif
