/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The mirror: copies each frame into the BPF ring buffer of its RX queue and lets the frame go on to the
 * host.
 *
 * It always returns XDP_PASS and never changes a frame; what it cannot copy it counts. Every frame that
 * enters is counted in `seen` and in exactly one of mirrored, ring_full, too_long, unserved. Jobs' filters
 * run in user space: every frame is wanted by all.
 *
 * One ring per RX queue, not per CPU: a queue is served by one CPU at a time, so the ring's lock is never
 * contended, and the order within the queue survives when its interrupt moves to another CPU.
 *
 * A ring record is struct skep_meta and then the frame; meta.wire_len is the frame's length.
 * bpf_ringbuf_reserve wants a size that the verifier knows, hence the classes; a record wastes less than half
 * of itself.
 */
#include "bpf/lib/meta.bpf.h"

struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* of the template only; user space makes the real ones */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SKEP_MAX_QUEUES);
	__type(key, __u32);
	__array(values, struct ring);
} rings SEC(".maps");

/*
 * Copies the frame into a record of `size` bytes; 1 <= len <= size - SKEP_META_BYTES. 0, or -1 if the ring
 * has no room.
 */
static __always_inline int copy(struct xdp_md *ctx, void *ring, const __u32 size, __u32 len,
				const int hints)
{
	struct skep_meta *m = bpf_ringbuf_reserve(ring, size, 0);
	struct skep_nic_facts nic;
	__u32 last;

	if (!m)
		return -1;
	nic = skep_nic_read(ctx, hints);
	skep_meta_fill(ctx, m, ~0ULL, &nic);
	/*
	 * Keeps the bounds where the verifier can see them: the compiler would test another copy of len, and
	 * Linux 6.1 does not learn from len != 0 that it is at least 1.
	 */
	last = len - 1;
	asm volatile("" : "+r"(last));
	if (last >= size - SKEP_META_BYTES)
		goto discard;
	asm volatile("" : "+r"(last));
	if (bpf_xdp_load_bytes(ctx, 0, m + 1, last + 1)) {
discard:
		bpf_ringbuf_discard(m, BPF_RB_NO_WAKEUP);
		return -1;
	}
	bpf_ringbuf_submit(m, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline int run(struct xdp_md *ctx, const int hints)
{
	__u32 queue = ctx->rx_queue_index;
	__u32 len = (__u32)bpf_xdp_get_buff_len(ctx), need = len + SKEP_META_BYTES;
	struct skep_xdp_counters *c = bpf_map_lookup_elem(&counters, &queue);
	void *ring = bpf_map_lookup_elem(&rings, &queue);
	int r;

	if (!c)
		return XDP_PASS;
	c->seen++;
	if (!ring) {
		c->unserved++;
		return XDP_PASS;
	}
	if (need <= 128)
		r = copy(ctx, ring, 128, len, hints);
	else if (need <= 256)
		r = copy(ctx, ring, 256, len, hints);
	else if (need <= 512)
		r = copy(ctx, ring, 512, len, hints);
	else if (need <= 1024)
		r = copy(ctx, ring, 1024, len, hints);
	else if (need <= 1568) /* 1,500 + Ethernet + two tags + metadata, and a little */
		r = copy(ctx, ring, 1568, len, hints);
	else if (need <= 4096)
		r = copy(ctx, ring, 4096, len, hints);
	else if (need <= 9312) /* jumbo: 9,216 + Ethernet + two tags + metadata */
		r = copy(ctx, ring, 9312, len, hints);
	else if (len <= SKEP_MIRROR_MAX_FRAME)
		r = copy(ctx, ring, SKEP_MIRROR_MAX_FRAME + SKEP_META_BYTES, len, hints);
	else {
		c->too_long++;
		return XDP_PASS;
	}
	if (r)
		c->ring_full++;
	else
		c->mirrored++;
	return XDP_PASS;
}

SEC("xdp.frags")
int mirror(struct xdp_md *ctx)
{
	return run(ctx, 0);
}

SEC("xdp.frags")
int mirror_hints(struct xdp_md *ctx)
{
	return run(ctx, 1);
}

char _license[] SEC("license") = "Dual BSD/GPL";
