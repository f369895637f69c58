/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_META_BPF_H
#define SKEP_META_BPF_H
/*
 * What the prefilter and the mirror share: the per-queue counters and the filling of struct skep_meta.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "bpf/abi/skep_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SKEP_MAX_QUEUES);
	__type(key, __u32);
	__type(value, struct skep_xdp_counters);
} counters SEC(".maps");

/*
 * Kernel functions that read what the NIC wrote into its receive descriptor (6.3: time stamp, 6.8: VLAN tag).
 * Only a program that was loaded for one device may call them; weak, so that the object also loads on kernels
 * without them.
 */
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym __weak;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *vlan_proto,
					__u16 *vlan_tci) __ksym __weak;

/* Set before load: the NIC's stamps are wanted, and its clock can be compared with ours. */
const volatile bool nic_timestamps = false;

/* What the NIC says of a frame. */
struct skep_nic_facts {
	__u64 ts_ns; /* 0: no stamp */
	__u16 vlan_tpid;
	__u16 vlan_tci;
	__u32 flags;
};

/* `hints`: the program may call the functions above. */
static __always_inline struct skep_nic_facts skep_nic_read(struct xdp_md *ctx, const int hints)
{
	struct skep_nic_facts f = { 0 };
	__u64 ts_ns = 0;
	__be16 tpid = 0;
	__u16 tci = 0;

	if (!hints)
		return f;
	/*
	 * A driver that supports the function but has no stamp for this frame leaves 0 or returns an error.
	 */
	if (nic_timestamps && bpf_xdp_metadata_rx_timestamp && !bpf_xdp_metadata_rx_timestamp(ctx, &ts_ns) &&
	    ts_ns) {
		f.ts_ns = ts_ns;
		f.flags |= SKEP_META_F_HW_TS;
	}
	if (bpf_xdp_metadata_rx_vlan_tag && !bpf_xdp_metadata_rx_vlan_tag(ctx, &tpid, &tci) && tpid) {
		f.vlan_tpid = __builtin_bswap16(tpid);
		f.vlan_tci = tci;
		f.flags |= SKEP_META_F_VLAN;
	}
	return f;
}

/* Facts of the frame that the metadata carry. */
static __always_inline void skep_meta_fill(struct xdp_md *ctx, struct skep_meta *m, __u64 jobs,
					   const struct skep_nic_facts *nic)
{
	m->jobs = jobs;
	m->magic = SKEP_META_MAGIC;
	m->wire_len = (__u32)bpf_xdp_get_buff_len(ctx);
	m->vlan_tpid = nic->vlan_tpid;
	m->vlan_tci = nic->vlan_tci;
	m->flags = nic->flags;
	m->ts_ns = nic->ts_ns ? nic->ts_ns : bpf_ktime_get_tai_ns();
}

#endif
