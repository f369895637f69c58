/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The prefilter: the one XDP program of a link that is a tap. For each frame it asks which jobs want it, puts
 * struct skep_meta in front and hands it to the AF_XDP socket of the frame's queue.
 *
 * It never changes, cuts or reorders a frame. Every frame that enters is counted in `seen` and in exactly one
 * of redirected, unserved, rejected: seen = redirected + unserved + rejected at every moment the program is
 * not running.
 *
 * Two entries with one body: `prefilter_hints` reads the NIC's time stamp and VLAN tag and must be loaded for
 * the device it runs on (native mode only); `prefilter` runs anywhere. "xdp.frags": frames of several buffers
 * are welcome.
 */
#include "bpf/lib/meta.bpf.h"

/* Set before load. What happens to frames of queues without a socket, and to frames that no job wants. */
const volatile __u32 unserved_action = XDP_PASS;
const volatile __u32 rejected_action = XDP_DROP;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, SKEP_MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/*
 * Which job slots want the frame. All of them: filters run in user space. Filters that run here replace this
 * body: a tail call cannot return a mask, so each job's filter becomes a global (not static) subprogram,
 * verified on its own, and this function ORs their answers.
 */
static __always_inline __u64 classify(struct xdp_md *ctx)
{
	return ~0ULL;
}

/* Puts the metadata in front of the frame; 0, or an error where the driver leaves no room for them. */
static __always_inline int put_meta(struct xdp_md *ctx, __u64 jobs, const int hints)
{
	struct skep_meta *m;

	if (bpf_xdp_adjust_meta(ctx, -(int)SKEP_META_BYTES))
		return -1;
	m = (void *)(long)ctx->data_meta;
	if ((void *)(m + 1) > (void *)(long)ctx->data)
		return -1;
	skep_meta_fill(ctx, m, jobs, hints);
	return 0;
}

static __always_inline int run(struct xdp_md *ctx, const int hints)
{
	__u32 queue = ctx->rx_queue_index;
	struct skep_xdp_counters *c = bpf_map_lookup_elem(&counters, &queue);
	__u64 jobs;
	int no_meta;

	if (!c) /* a queue beyond SKEP_MAX_QUEUES: nobody can have asked for it */
		return unserved_action;
	c->seen++;
	jobs = classify(ctx);
	if (!jobs) {
		c->rejected++;
		return rejected_action;
	}
	no_meta = put_meta(ctx, jobs, hints);
	if (bpf_redirect_map(&xsks, queue, XDP_ABORTED) == XDP_REDIRECT) {
		c->redirected++;
		if (no_meta)
			c->no_meta++;
		return XDP_REDIRECT;
	}
	/* The stack must not see our metadata: frames with different metadata are never aggregated. */
	if (!no_meta)
		bpf_xdp_adjust_meta(ctx, SKEP_META_BYTES);
	c->unserved++;
	return unserved_action;
}

SEC("xdp.frags")
int prefilter(struct xdp_md *ctx)
{
	return run(ctx, 0);
}

SEC("xdp.frags")
int prefilter_hints(struct xdp_md *ctx)
{
	return run(ctx, 1);
}

char _license[] SEC("license") = "Dual BSD/GPL";
