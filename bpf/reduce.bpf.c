/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The reduce stage of a link (progs[SKEP_PROG_REDUCE]): takes frames away from jobs whose filters want them,
 * by sampling, then by what their flow has already had. Clears the jobs' bits in scratch.jobs and counts why;
 * a frame that no job is left for is counted as rejected and ends here, any other goes on to deliver.
 *
 * Jobs without a reduction cost one test of a mask. For a job with one: matched = taken + sampled_out +
 * cut_off at every moment that no program of the chain is running.
 *
 * Sampling by packet counts per CPU. A flow's counts are shared by the CPUs (atomic), so the cut-off is exact
 * however a flow is spread over queues, as long as the flow is remembered: the table has a bound, and forgets
 * the flows that were not seen for longest, a little before it is full (BPF_MAP_TYPE_LRU_HASH). A forgotten
 * flow begins again. Where no room can be made at all, the packet passes.
 */
#include "bpf/lib/chain.bpf.h"

#define REACH 1024u

/* A frame without its VLAN tags. */
struct skep_view {
	struct xdp_md *ctx;
	__u32 tags_bytes;
};

static __always_inline int read_frame(struct xdp_md *ctx, __u32 at, void *to, const __u32 n)
{
	void *end = (void *)(long)ctx->data_end;
	void *p = (void *)(long)ctx->data;

	if (at > REACH)
		return -1;
	p += at;
	if (p + n > end)
		return bpf_xdp_load_bytes(ctx, at, to, n) != 0;
	__builtin_memcpy(to, p, n);
	return 0;
}

static __always_inline int skep_view_get(const struct skep_view *v, __u32 at, void *to, const __u32 n)
{
	return read_frame(v->ctx, at < 12 ? at : at + v->tags_bytes, to, n);
}

#include "bpf/abi/skep_reduce.h"
#include "bpf/abi/skep_reduce_flow.h"

const volatile __u32 rejected_action = XDP_DROP;
const volatile __u64 seed = 0;

/* Jobs with a reduction; of these, the ones that need to know the flow. */
volatile __u64 reducing_jobs;
volatile __u64 flow_jobs;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SKEP_MAX_QUEUES);
	__type(key, __u32);
	__type(value, struct skep_xdp_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SKEP_MAX_JOBS);
	__type(key, __u32);
	__type(value, struct skep_reduce_job);
} reductions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SKEP_MAX_JOBS);
	__type(key, __u32);
	__type(value, struct skep_reduce_counters);
} reduced SEC(".maps");

struct job_flow {
	struct skep_flow_key flow;
	__u32 epoch;
	__u32 zero;
};

struct flow_counts {
	__u64 pkts;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct job_flow);
	__type(value, struct flow_counts);
} flows SEC(".maps");

struct frame_facts {
	struct job_flow key;
	__u64 hash;
	__u64 wire_bytes;
	__u64 tags_bytes;
};

/* Has the flow had enough for this job? Counts the packet, also if it has. */
static __always_inline int is_over(struct frame_facts *f, const struct skep_reduce_job *job,
				   struct skep_reduce_counters *c)
{
	struct flow_counts *had, first = { .pkts = 1, .bytes = f->wire_bytes };
	struct job_flow key; /* Linux 6.1 takes no key of a map from the memory of a caller */
	__u64 pkts, bytes;

	f->key.epoch = job->epoch;
	__builtin_memcpy(&key, &f->key, sizeof(key));
	had = bpf_map_lookup_elem(&flows, &key);
	if (!had) {
		if (!bpf_map_update_elem(&flows, &key, &first, BPF_NOEXIST)) {
			c->flows++;
			return 0;
		}
		had = bpf_map_lookup_elem(&flows, &key); /* another CPU was first, or there is no room */
		if (!had)
			return 0;
	}
	pkts = __sync_fetch_and_add(&had->pkts, 1);
	bytes = __sync_fetch_and_add(&had->bytes, f->wire_bytes);
	return skep_reduce_over(job, pkts, bytes);
}

/* Global: verified once, not for each of the jobs. Not 0: the job does not get the frame. */
__noinline int reduce_job(struct frame_facts *f, __u32 slot)
{
	struct skep_reduce_job *job = bpf_map_lookup_elem(&reductions, &slot);
	struct skep_reduce_counters *c = bpf_map_lookup_elem(&reduced, &slot);

	if (!job || !c || !f)
		return 0;
	c->matched++;
	if (job->sample_every > 1 &&
	    !(job->flags & SKEP_REDUCE_BY_FLOW ? skep_reduce_chosen(f->hash, job->sample_every)
					       : skep_reduce_turn(&c->turn, job->sample_every))) {
		c->sampled_out++;
		return 1;
	}
	if ((job->cutoff_pkts || job->cutoff_bytes) && is_over(f, job, c)) {
		c->cut_off++;
		return 1;
	}
	return 0;
}

/* A function of its own, so that the other one is not verified for each number of tags. */
__noinline int read_tags(struct xdp_md *ctx, struct frame_facts *f)
{
	__u32 bytes = 0;
	__u16 type = 0;

	if (!f)
		return 0;
	for (int i = 0; i < SKEP_REDUCE_MAX_TAGS; i++) {
		if (read_frame(ctx, 12 + bytes, &type, 2) || !skep_reduce_is_tag(type))
			break;
		bytes += 4;
	}
	f->tags_bytes = bytes;
	return 0;
}

__noinline int read_flow(struct xdp_md *ctx, struct frame_facts *f)
{
	struct skep_view v = { .ctx = ctx };

	if (!f)
		return 0;
	v.tags_bytes = f->tags_bytes & 63;
	skep_reduce_flow(&v, &f->key.flow);
	f->hash = skep_reduce_hash(&f->key.flow, seed);
	return 0;
}

_Static_assert(4 * SKEP_REDUCE_MAX_TAGS < 64, "the mask of read_flow");

/* The number of the one bit that is set: BPF has no instruction for it. */
static __always_inline __u32 slot_of(__u64 bit)
{
	return !!(bit & 0xaaaaaaaaaaaaaaaaull) | !!(bit & 0xccccccccccccccccull) << 1 |
	       !!(bit & 0xf0f0f0f0f0f0f0f0ull) << 2 | !!(bit & 0xff00ff00ff00ff00ull) << 3 |
	       !!(bit & 0xffff0000ffff0000ull) << 4 | !!(bit & 0xffffffff00000000ull) << 5;
}

SEC("xdp.frags")
int reduce(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index, zero = 0;
	struct skep_scratch *s = bpf_map_lookup_elem(&scratch, &zero);
	struct skep_xdp_counters *c;
	struct frame_facts f;
	__u64 wanted, rest;

	if (!s)
		return XDP_ABORTED;
	wanted = s->jobs;
	rest = wanted & reducing_jobs;
	if (rest) {
		__builtin_memset(&f, 0, sizeof(f));
		f.wire_bytes = bpf_xdp_get_buff_len(ctx);
		if (rest & flow_jobs) {
			read_tags(ctx, &f);
			read_flow(ctx, &f);
		}
		for (int i = 0; i < SKEP_MAX_JOBS && rest; i++) {
			__u64 lowest = rest & -rest;

			if (reduce_job(&f, slot_of(lowest)))
				wanted &= ~lowest;
			rest &= rest - 1;
		}
		s->jobs = wanted;
	}
	if (wanted) {
		bpf_tail_call_static(ctx, &progs, SKEP_PROG_DELIVER);
		return XDP_ABORTED; /* never while the prefilter is attached */
	}
	c = bpf_map_lookup_elem(&counters, &queue);
	if (c)
		c->rejected++;
	return rejected_action;
}

char _license[] SEC("license") = "Dual BSD/GPL";
