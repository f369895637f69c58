/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The prefilter: the one XDP program of a link that is a tap. It asks which jobs want the frame, puts struct
 * skep_meta in front and hands it to the AF_XDP socket of the frame's queue.
 *
 * It never changes, cuts or reorders a frame. Every frame that enters is counted in `seen` and in exactly one
 * of redirected, unserved, rejected: seen = redirected + unserved + rejected at every moment that no program
 * of the chain is running.
 *
 * Without filters (`filtered` false) it is one program: everything is wanted. With filters it is the first of
 * a chain of tail calls, see SKEP_PROG_*: the set of jobs changes by one update of progs[SKEP_PROG_CLASSIFY],
 * which loses no frame. `deliver` is the last of the chain. NIC metadata can be read by the first only (the
 * functions need a program that is bound to the device, and such a program cannot be in a PROG_ARRAY), so
 * they travel in `scratch`.
 *
 * Two entries with one body: `prefilter_hints` reads the NIC's time stamp and VLAN tag and must be loaded for
 * the device it runs on (native mode only); `prefilter` runs anywhere. "xdp.frags": frames of several buffers
 * are welcome.
 */
#include "bpf/lib/chain.bpf.h"
#include "bpf/lib/meta.bpf.h"

/* Set before load. What happens to frames of queues without a socket, and to frames that no job wants. */
const volatile __u32 unserved_action = XDP_PASS;
const volatile bool filtered = false;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, SKEP_MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SKEP_GENERATIONS);
	__type(key, __u32);
	__type(value, struct skep_generation);
} generations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SKEP_MAX_JOBS);
	__type(key, __u32);
	__type(value, struct skep_job_counters);
} jobs SEC(".maps");

struct bell {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SKEP_BELL_BYTES); /* of the template only; user space makes the real ones */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SKEP_MAX_QUEUES);
	__type(key, __u32);
	__array(values, struct bell);
} bells SEC(".maps");

/* Wakes who sleeps at the queue's bell; where nobody does, the bell fills up and costs nothing more. */
static __always_inline void ring_bell(__u32 queue)
{
	void *bell = bpf_map_lookup_elem(&bells, &queue);
	__u64 *record = bell ? bpf_ringbuf_reserve(bell, sizeof(*record), 0) : NULL;

	if (!record)
		return;
	*record = 0;
	bpf_ringbuf_submit(record, BPF_RB_FORCE_WAKEUP);
}

/* Puts the metadata in front of the frame; 0, or an error where the driver leaves no room for them. */
static __always_inline int put_meta(struct xdp_md *ctx, __u64 wanted, const struct skep_nic_facts *nic)
{
	struct skep_meta *m;

	if (bpf_xdp_adjust_meta(ctx, -(int)SKEP_META_BYTES))
		return -1;
	m = (void *)(long)ctx->data_meta;
	if ((void *)(m + 1) > (void *)(long)ctx->data)
		return -1;
	skep_meta_fill(ctx, m, wanted, nic);
	return 0;
}

/* The frame goes to its socket; XDP_REDIRECT, or unserved_action. */
static __always_inline int redirect(struct xdp_md *ctx, struct skep_xdp_counters *c, __u64 wanted,
				    const struct skep_nic_facts *nic)
{
	int no_meta = put_meta(ctx, wanted, nic);

	if (bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_ABORTED) == XDP_REDIRECT) {
		c->redirected++;
		if (no_meta)
			c->no_meta++;
		if (!(c->redirected & (SKEP_BELL_EVERY - 1)))
			ring_bell(ctx->rx_queue_index);
		return XDP_REDIRECT;
	}
	/* The stack must not see our metadata: frames with different metadata are never aggregated. */
	if (!no_meta)
		bpf_xdp_adjust_meta(ctx, SKEP_META_BYTES);
	c->unserved++;
	return unserved_action;
}

/* One to the counters of the lowest job; 1: it was the last. */
static __always_inline long count_lowest(__u64 *wanted, const bool served)
{
	__u64 lowest = *wanted & -*wanted;
	__u32 slot = 0;
	struct skep_job_counters *j;

	/* The number of the bit: BPF has no instruction for it. */
	slot |= !!(lowest & 0xaaaaaaaaaaaaaaaaull);
	slot |= !!(lowest & 0xccccccccccccccccull) << 1;
	slot |= !!(lowest & 0xf0f0f0f0f0f0f0f0ull) << 2;
	slot |= !!(lowest & 0xff00ff00ff00ff00ull) << 3;
	slot |= !!(lowest & 0xffff0000ffff0000ull) << 4;
	slot |= !!(lowest & 0xffffffff00000000ull) << 5;
	j = bpf_map_lookup_elem(&jobs, &slot);
	if (j && served)
		j->wanted++;
	else if (j)
		j->unserved++;
	*wanted &= *wanted - 1;
	return !*wanted;
}

static long count_served(__u32 i, __u64 *wanted)
{
	return count_lowest(wanted, true);
}

static long count_unserved(__u32 i, __u64 *wanted)
{
	return count_lowest(wanted, false);
}

/*
 * One to each job's counters; usually there is one. bpf_loop and not a loop of our own: without CAP_PERFMON
 * the verifier follows each branch speculatively too, and gives up on 64 rounds ("the sequence of 8193 jumps
 * is too complex"). Two functions: nor may the place of a counter be computed then.
 */
static __always_inline void count_jobs(__u64 wanted, const bool served)
{
	if (!wanted || (served ? count_served(0, &wanted) : count_unserved(0, &wanted)))
		return;
	if (served)
		bpf_loop(SKEP_MAX_JOBS - 1, count_served, &wanted, 0);
	else
		bpf_loop(SKEP_MAX_JOBS - 1, count_unserved, &wanted, 0);
}

static __always_inline int run(struct xdp_md *ctx, const int hints)
{
	__u32 queue = ctx->rx_queue_index, zero = 0;
	struct skep_xdp_counters *c = bpf_map_lookup_elem(&counters, &queue);
	struct skep_nic_facts nic;

	if (!c) /* a queue beyond SKEP_MAX_QUEUES: nobody can have asked for it */
		return unserved_action;
	c->seen++;
	nic = skep_nic_read(ctx, hints);
	if (filtered) {
		struct skep_scratch *s = bpf_map_lookup_elem(&scratch, &zero);

		if (s) {
			s->nic_ts_ns = nic.ts_ns;
			s->flags = nic.flags;
			s->vlan_tpid = nic.vlan_tpid;
			s->vlan_tci = nic.vlan_tci;
			bpf_tail_call_static(ctx, &progs, SKEP_PROG_LOOK);
			bpf_tail_call_static(ctx, &progs, SKEP_PROG_CLASSIFY);
		}
	}
	return redirect(ctx, c, ~0ULL, &nic);
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

SEC("xdp.frags")
int deliver(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index, zero = 0;
	struct skep_xdp_counters *c = bpf_map_lookup_elem(&counters, &queue);
	struct skep_scratch *s = bpf_map_lookup_elem(&scratch, &zero);
	struct skep_nic_facts nic;
	__u64 wanted;
	int action;

	if (!c || !s)
		return unserved_action;
	wanted = s->jobs;
	nic = (struct skep_nic_facts){
		.ts_ns = s->nic_ts_ns,
		.flags = s->flags,
		.vlan_tpid = s->vlan_tpid,
		.vlan_tci = s->vlan_tci,
	};
	action = redirect(ctx, c, wanted, &nic);
	count_jobs(wanted, action == XDP_REDIRECT);
	return action;
}

char _license[] SEC("license") = "Dual BSD/GPL";
