/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The sending half of the traffic generator: run on XDP live frames (BPF_PROG_RUN with
 * BPF_F_TEST_XDP_LIVE_FRAMES), it turns the page it is given into the next frame and redirects it to the
 * link, or, while that frame is not due yet, gives the page back.
 *
 * Giving the page back (XDP_DROP) instead of waiting here keeps a run of 64 pages short: the kernel flushes
 * what was redirected and lets the receiving end's NAPI run after each, so paced frames leave one by one and
 * not in bursts of 16.
 *
 * A page comes back with the bytes of the frame it was before, so every byte that can differ is written each
 * time. One thread only: the templates and the state are not per CPU.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "bpf/abi/skep_gen.h"

const volatile struct skep_gen_cfg cfg;
struct skep_gen_state state;
struct skep_gen_template templates[SKEP_GEN_TEMPLATES];

struct gen_pool {
	__u8 bytes[SKEP_GEN_POOL_BYTES + SKEP_GEN_POOL_TAIL];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct gen_pool);
} pool SEC(".maps");

/* Keeps clang from widening or folding a bounded 32-bit value: the verifier must see it as the check saw it.
 */
#define GEN_KEEP(v) asm volatile("" : "+r"(v))

/* True: the frame of len bytes is due, and the clock has moved on to the next. */
static __always_inline int is_due(__u64 now, __u32 len)
{
	__u64 cost_q = cfg.per_frame_q + len * cfg.per_byte_q, now_q, late_ns;

	if (!cost_q)
		return 1;
	now_q = (now - state.start_ns) << 16;
	if (now_q < state.next_q || now_q < state.gate_q)
		return 0;
	late_ns = (now_q - state.next_q) >> 16;
	if (late_ns > state.late_ns)
		state.late_ns = late_ns;
	state.next_q += cost_q;
	state.gate_q = now_q + cost_q / 2;
	return 1;
}

static __always_inline __u64 payload_sum(struct gen_pool *p, __u32 from, __u32 len)
{
	__u32 whole = len & ~3u & (SKEP_GEN_LIVE_MAX - 1), at, i;
	__u64 sum = 0;

	if (whole) {
		/* csum_diff adds words as they lie in memory; a folded sum is turned to network order by
		 * swapping its bytes */
		__s64 diff = bpf_csum_diff(NULL, 0, (__be32 *)(p->bytes + from), whole, 0);

		if (diff < 0)
			state.errors++;
		sum = __builtin_bswap16((__u16)skep_gen_fold((__u32)diff));
	}
	for (i = 0; i < 3; i++) {
		at = from + whole + i;
		GEN_KEEP(at);
		if (whole + i >= len || at >= sizeof(p->bytes))
			break;
		sum += i == 1 ? p->bytes[at] : (__u64)p->bytes[at] << 8;
	}
	return sum;
}

/*
 * Stores 1 to max bytes. The verifier must see both bounds in one register, and before Linux 6.13 it does not
 * learn from len != 0 that it is at least 1.
 */
static __always_inline int put(struct xdp_md *ctx, __u32 at, void *bytes, __u32 len, const __u32 max)
{
	__u32 last = len - 1;

	GEN_KEEP(last);
	if (last >= max)
		return -1;
	GEN_KEEP(last);
	return (int)bpf_xdp_store_bytes(ctx, at, bytes, last + 1);
}

/* Writes frame seq into the page; 0 or a negative number (only if there is a defect). */
static __always_inline int build(struct xdp_md *ctx, __u64 seq, __u32 len)
{
	__u32 flow = seq % cfg.n_flows, i = flow % cfg.n_templates, head, from, rest, zero = 0;
	struct skep_gen_template *t;
	struct gen_pool *p;

	GEN_KEEP(i);
	if (i >= SKEP_GEN_TEMPLATES)
		return -1;
	t = &templates[i];
	p = bpf_map_lookup_elem(&pool, &zero);
	head = t->tag + SKEP_GEN_TAG_BYTES;
	if (!p || head > SKEP_GEN_HEAD_BYTES || head < SKEP_GEN_TAG_BYTES || len < head)
		return -1;
	rest = len - head;
	if (rest >= SKEP_GEN_LIVE_MAX)
		return -1;
	from = skep_gen_slice(seq, rest) & (SKEP_GEN_POOL_BYTES - 1);
	if (cfg.n_sizes > 1 && bpf_xdp_adjust_tail(ctx, (int)len - (int)cfg.page_len))
		return -1;
	skep_gen_finish(t, seq, flow, len, skep_gen_needs_sum(t) ? payload_sum(p, from, rest) : 0);
	if (put(ctx, 0, t->bytes, head, SKEP_GEN_HEAD_BYTES))
		return -1;
	if (rest && cfg.store_payload && put(ctx, head, p->bytes + from, rest, SKEP_GEN_LIVE_MAX))
		return -1;
	return 0;
}

SEC("xdp")
int gen(struct xdp_md *ctx)
{
	__u64 now = bpf_ktime_get_ns(), n = state.attempted, seq = cfg.first_seq + n;
	__u32 k, len;

	if (state.done)
		return XDP_DROP;
	if (!state.start_ns)
		state.start_ns = now;
	if ((cfg.count && n >= cfg.count) || (cfg.duration_ns && now - state.start_ns >= cfg.duration_ns)) {
		state.done = 1;
		return XDP_DROP;
	}
	k = seq % cfg.n_sizes;
	GEN_KEEP(k);
	if (k >= SKEP_GEN_SIZES)
		return XDP_ABORTED;
	len = cfg.sizes[k];
	if (!is_due(now, len))
		return XDP_DROP;
	if (build(ctx, seq, len)) {
		state.errors++;
		state.done = 1;
		return XDP_DROP;
	}
	state.attempted = n + 1;
	state.attempted_bytes += len;
	state.last_ns = now;
	return cfg.dry ? XDP_DROP : bpf_redirect(cfg.ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
