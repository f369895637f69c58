/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The look stage: fills once for each frame what filters of several jobs read from `scratch`: the packets
 * inside, and of the frame and of each of them the mark of QUIC flows and in which address lists source and
 * destination are. Then the frame goes on to the jobs' filters.
 *
 * It decides nothing and never ends a frame. capture/filter/eval.c does the same in user space, with the same
 * parsers. What no job needs (map "control") is not looked up.
 *
 * What has many ways is a global function: the verifier looks at each by itself, and not at all ways of one
 * after all ways of the other (0.4 s).
 */
#include "bpf/lib/chain.bpf.h"
#include "bpf/lib/inner.bpf.h"
#include "bpf/lib/view.bpf.h"

#include "bpf/abi/skep_look.h"
#include "bpf/abi/skep_quic.h"

/* Flows that showed a QUIC long header; the value has no meaning. User space sets the size before load. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct skep_flow_key);
	__type(value, __u32);
} flows SEC(".maps");

/* Of the template only; user space makes the real ones. */
struct set {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct skep_look_key));
	__uint(value_size, sizeof(__u32));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SKEP_LOOK_SETS);
	__type(key, __u32);
	__array(values, struct set);
} sets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SKEP_LOOK_SETS);
	__type(key, __u32);
	__type(value, struct skep_look_lengths);
} lengths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skep_look_control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skep_look_account);
} account SEC(".maps");

__noinline int read_transport(struct xdp_md *ctx, __u32 off, __u32 type, const struct skep_addrs *addrs,
			      struct skep_transport *ret)
{
	const struct skep_view v = { .ctx = ctx, .off = off & 0xffff, .type = type };

	if (addrs && ret)
		skep_transport_read(&v, addrs, ret);
	return 0;
}

/* udp is counted from the packet's beginning. */
__noinline int is_long(struct xdp_md *ctx, __u32 off, __u32 udp)
{
	const struct skep_view v = { .ctx = ctx, .off = off & 0xffff };

	return skep_quic_is_long(&v, udp & 0xffff);
}

/* The lists of the source, or of the destination. */
__noinline __u32 find_lists(__u32 which, const struct skep_addrs *a, __u32 dst)
{
	const struct skep_look_lengths *l = bpf_map_lookup_elem(&lengths, &which);
	void *set = bpf_map_lookup_elem(&sets, &which);
	__u32 low, high, best = 0;

	if (!l || !set || !a)
		return 0;
	low = a->version == 4 ? 0 : SKEP_LOOK_LENGTHS4;
	high = low + (a->version == 4 ? l->n4 : l->n6);
	for (int i = 0; i < SKEP_LOOK_STEPS6 && low < high; i++) {
		__u32 mid = (low + high) / 2, *mask;
		struct skep_look_key key;

		if (mid >= SKEP_LOOK_LENGTHS4 + SKEP_LOOK_LENGTHS6)
			break;
		key.bits = l->v[mid].bits;
		for (int k = 0; k < 4; k++)
			key.addr[k] = (dst ? a->dst[k] : a->src[k]) & l->v[mid].mask[k];
		mask = bpf_map_lookup_elem(set, &key);
		if (mask) {
			best = *mask;
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return best;
}

/* Another CPU may have learnt the flow meanwhile: that is not an addition of ours, and no refusal. */
static __always_inline void learn(const struct skep_flow_key *key)
{
	const __u32 zero = 0;
	struct skep_look_account *a = bpf_map_lookup_elem(&account, &zero);
	int r;

	if (!a || bpf_map_lookup_elem(&flows, key))
		return;
	r = bpf_map_update_elem(&flows, key, &zero, BPF_NOEXIST);
	if (r == 0)
		a->added++;
	else if (r != -17 /* EEXIST */)
		a->refused++;
}

static __always_inline __u32 find_marks(const struct skep_view *v, __u32 space,
					const struct skep_addrs *addrs)
{
	struct skep_transport t = { 0 };
	struct skep_flow_key key;

	read_transport(v->ctx, v->off, v->type, addrs, &t);
	if (!t.ports || t.proto != SKEP_PROTO_UDP)
		return 0;
	skep_flow_key_make(addrs, &t, &key);
	key.space = (__u16)space;
	if (is_long(v->ctx, v->off, t.at)) {
		learn(&key);
		return SKEP_MARK_QUIC;
	}
	return skep_quic_has_payload(v, t.at) && bpf_map_lookup_elem(&flows, &key) ? SKEP_MARK_QUIC : 0;
}

static __always_inline void fill(const struct skep_view *v, __u32 space, const struct skep_look_control *c,
				 struct skep_facts *ret)
{
	struct skep_addrs addrs;

	__builtin_memset(ret, 0, sizeof(*ret));
	if (!c->quic && !c->lists)
		return;
	skep_addrs_read(v, &addrs);
	if (addrs.version == 0)
		return;
	if (c->quic)
		ret->marks = find_marks(v, space, &addrs);
	if (c->lists) {
		ret->src_lists = find_lists(c->set, &addrs, 0);
		ret->dst_lists = find_lists(c->set, &addrs, 1);
	}
}

__noinline int fill_inside(struct xdp_md *ctx, __u32 off, __u32 type, __u32 space, struct skep_facts *ret)
{
	const __u32 zero = 0;
	const struct skep_view v = { .ctx = ctx, .off = off & 0xffff, .type = type & 0xffff };
	const struct skep_look_control *c = bpf_map_lookup_elem(&control, &zero);

	if (c && ret)
		fill(&v, space, c, ret);
	return 0;
}

static __always_inline void look_inside(struct xdp_md *ctx, struct skep_scratch *s,
					const struct skep_look_control *c)
{
	skep_inner_look(ctx, c->inside, s);
	if (!c->quic && !c->lists)
		return;
	for (__u32 i = 0; i < SKEP_MAX_INNER && i < s->n_inner; i++)
		fill_inside(ctx, s->inner[i].off, s->inner[i].type, SKEP_INNER_PATH(s->inner[i].kind),
			    &s->facts[1 + i]);
}

SEC("xdp.frags")
int look(struct xdp_md *ctx)
{
	const __u32 zero = 0;
	const struct skep_view v = { .ctx = ctx };
	struct skep_scratch *s = bpf_map_lookup_elem(&scratch, &zero);
	const struct skep_look_control *c = bpf_map_lookup_elem(&control, &zero);

	if (s && c) {
		fill(&v, 0, c, &s->facts[0]);
		s->n_inner = 0;
		if (c->inside)
			look_inside(ctx, s, c);
	}
	bpf_tail_call(ctx, &progs, SKEP_PROG_CLASSIFY);
	/* Without filters every job wants every frame. */
	if (s)
		s->jobs = ~0ULL;
	bpf_tail_call(ctx, &progs, SKEP_PROG_REDUCE);
	bpf_tail_call(ctx, &progs, SKEP_PROG_DELIVER);
	return XDP_ABORTED; /* nobody to deliver to: never while the prefilter is attached */
}

char _license[] SEC("license") = "Dual BSD/GPL";
