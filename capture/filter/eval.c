/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The filter in user space. What XDP does in two programs (the look stage fills the scratch, the filter reads
 * it) happens here in one call per frame, by the same parsers (bpf/abi). libpcap's bpf_filter() knows no
 * scratch, so programs that read it run in an interpreter here, which is bpf_filter() and one more load; all
 * other programs run in libpcap's.
 *
 * Threads share an evaluator; only the table of flows changes, without locks (flows.c).
 */
#include "capture/filter/eval.h"

#include "bpf/abi/skep_abi.h"
#include "capture/filter/flows.h"
#include "capture/filter/front.h"
#include "capture/filter/inside.h"
#include "capture/filter/limits.h"
#include "capture/filter/look.h"
#include "capture/filter/scratch.h"
#include "capture/filter/view.h"

#include "bpf/abi/skep_quic.h"

#include <errno.h>
#include <linux/filter.h>
#include <string.h>

struct flt_eval {
	const struct bpf_program *prog;
	const struct flt_cbpf *insns; /* of prog */
	uint32_t n;
	uint32_t needs;
	int linktype;
	struct flt_flows *flows;   /* with FLT_NEEDS_MARKS */
	struct flt_ranges *ranges; /* with FLT_NEEDS_LISTS */
};

int flt_eval_new(const struct bpf_program *prog, const struct flt_lists *lists, uint32_t flows,
		 struct flt_eval **ret, struct skep_err *err)
{
	struct flt_eval *e = calloc(1, sizeof(*e));
	int r = 0;

	if (!e)
		return skep_err_set(err, -ENOMEM, "no memory for the filter");
	e->prog = prog;
	e->linktype = 1;
	e->insns = flt_front_insns(prog, &e->n);
	e->needs = flt_scratch_needs(e->insns, e->n);
	if (e->needs & FLT_NEEDS_MARKS)
		r = flt_flows_new(flows ? flows : FLT_LOOK_FLOWS, &e->flows, err);
	if (r == 0 && e->needs & FLT_NEEDS_LISTS && lists)
		r = flt_ranges_new(lists, &e->ranges, err);
	if (r) {
		flt_eval_free(e);
		return r;
	}
	*ret = e;
	return 0;
}

void flt_eval_set_linktype(struct flt_eval *e, int linktype)
{
	e->linktype = linktype;
}

struct flt_eval *flt_eval_free(struct flt_eval *e)
{
	if (!e)
		return NULL;
	flt_flows_free(e->flows);
	flt_ranges_free(e->ranges);
	free(e);
	return NULL;
}

bool flt_eval_looks(const struct flt_eval *e)
{
	return e->needs != 0;
}

void flt_eval_flows(const struct flt_eval *e, uint64_t *ret_added, uint64_t *ret_evicted)
{
	*ret_added = *ret_evicted = 0;
	if (e->flows)
		flt_flows_count(e->flows, ret_added, ret_evicted);
}

/* bpf/look.bpf.c does the same, with its maps. */
static uint32_t find_marks(struct flt_eval *e, const struct skep_view *v, uint16_t space,
			   const struct skep_addrs *addrs)
{
	struct skep_transport t;
	struct skep_flow_key key;

	skep_transport_read(v, addrs, &t);
	if (!t.ports || t.proto != SKEP_PROTO_UDP)
		return 0;
	skep_flow_key_make(addrs, &t, &key);
	key.space = space;
	if (skep_quic_is_long(v, t.at)) {
		flt_flows_add(e->flows, &key);
		return SKEP_MARK_QUIC;
	}
	return skep_quic_has_payload(v, t.at) && flt_flows_has(e->flows, &key) ? SKEP_MARK_QUIC : 0;
}

static void look(struct flt_eval *e, const struct skep_view *v, uint16_t space, struct skep_facts *ret)
{
	struct skep_addrs addrs;

	memset(ret, 0, sizeof(*ret));
	skep_addrs_read(v, &addrs);
	if (addrs.version == 0)
		return;
	if (e->flows)
		ret->marks = find_marks(e, v, space, &addrs);
	if (e->ranges) {
		ret->src_lists = flt_ranges_find(e->ranges, addrs.version, addrs.src);
		ret->dst_lists = flt_ranges_find(e->ranges, addrs.version, addrs.dst);
	}
}

/* A frame, its scratch, and the machine's registers. */
struct machine {
	struct skep_view frame;
	const struct skep_scratch *scratch;
	uint32_t wire_len;
	uint32_t a, x, m[BPF_MEMWORDS];
};

/* In host order; false: the frame ends before. */
static bool load(const struct machine *s, uint16_t code, uint32_t at, uint32_t *ret)
{
	uint8_t b[4];

	switch (BPF_SIZE(code)) {
	case BPF_B:
		if (skep_view_get(&s->frame, at, b, 1))
			return false;
		*ret = b[0];
		return true;
	case BPF_H:
		if (skep_view_get(&s->frame, at, b, 2))
			return false;
		*ret = (uint32_t)b[0] << 8 | b[1];
		return true;
	default:
		if (skep_view_get(&s->frame, at, b, 4))
			return false;
		*ret = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
		return true;
	}
}

static uint32_t load_scratch(const struct machine *s, const struct flt_cbpf *p)
{
	const uint8_t *at = (const uint8_t *)s->scratch + (p->k - FLT_SCRATCH_BASE);
	uint32_t word = 0;
	uint16_t half;

	if (BPF_SIZE(p->code) == BPF_B)
		return *at;
	if (BPF_SIZE(p->code) == BPF_H) {
		memcpy(&half, at, sizeof(half));
		return half;
	}
	memcpy(&word, at, sizeof(word));
	return word;
}

/* Loads of both registers; false: no match. */
static bool run_load(struct machine *s, const struct flt_cbpf *p)
{
	bool to_x = BPF_CLASS(p->code) == BPF_LDX;
	uint32_t v = 0;
	uint8_t b;

	switch (BPF_MODE(p->code)) {
	case BPF_IMM:
		v = p->k;
		break;
	case BPF_MEM:
		v = s->m[p->k % BPF_MEMWORDS];
		break;
	case BPF_LEN:
		v = s->wire_len;
		break;
	case BPF_MSH:
		if (skep_view_get(&s->frame, p->k, &b, 1))
			return false;
		v = (b & 0xfu) << 2;
		break;
	case BPF_ABS:
		if (flt_scratch_is_load(p))
			v = load_scratch(s, p);
		else if (!load(s, p->code, p->k, &v))
			return false;
		break;
	default: /* BPF_IND; an offset that wraps is beyond the frame */
		if (p->k > UINT32_MAX - s->x || !load(s, p->code, p->k + s->x, &v))
			return false;
	}
	*(to_x ? &s->x : &s->a) = v;
	return true;
}

/* False: a division by zero, no match. */
static bool run_alu(struct machine *s, const struct flt_cbpf *p)
{
	uint32_t v = BPF_SRC(p->code) == BPF_X ? s->x : p->k;

	switch (BPF_OP(p->code)) {
	case BPF_ADD:
		s->a += v;
		return true;
	case BPF_SUB:
		s->a -= v;
		return true;
	case BPF_MUL:
		s->a *= v;
		return true;
	case BPF_DIV:
		s->a = v ? s->a / v : 0;
		return v != 0;
	case BPF_MOD:
		s->a = v ? s->a % v : 0;
		return v != 0;
	case BPF_AND:
		s->a &= v;
		return true;
	case BPF_OR:
		s->a |= v;
		return true;
	case BPF_XOR:
		s->a ^= v;
		return true;
	case BPF_LSH:
		s->a = v < 32 ? s->a << v : 0;
		return true;
	case BPF_RSH:
		s->a = v < 32 ? s->a >> v : 0;
		return true;
	default: /* BPF_NEG */
		s->a = 0u - s->a;
		return true;
	}
}

static uint32_t jump(const struct machine *s, const struct flt_cbpf *p)
{
	uint32_t v = BPF_SRC(p->code) == BPF_X ? s->x : p->k;
	bool yes;

	switch (BPF_OP(p->code)) {
	case BPF_JA:
		return p->k;
	case BPF_JEQ:
		yes = s->a == v;
		break;
	case BPF_JGT:
		yes = s->a > v;
		break;
	case BPF_JGE:
		yes = s->a >= v;
		break;
	default: /* BPF_JSET */
		yes = s->a & v;
	}
	return yes ? p->jt : p->jf;
}

/* Programs come from the front, which lets no jump go backwards: this ends. */
static uint32_t run(const struct flt_eval *e, struct machine *s)
{
	for (uint32_t i = 0; i < e->n; i++) {
		const struct flt_cbpf *p = &e->insns[i];

		switch (BPF_CLASS(p->code)) {
		case BPF_LD:
		case BPF_LDX:
			if (!run_load(s, p))
				return 0;
			break;
		case BPF_ST:
			s->m[p->k % BPF_MEMWORDS] = s->a;
			break;
		case BPF_STX:
			s->m[p->k % BPF_MEMWORDS] = s->x;
			break;
		case BPF_ALU:
			if (!run_alu(s, p))
				return 0;
			break;
		case BPF_JMP:
			i += jump(s, p);
			break;
		case BPF_RET:
			return BPF_RVAL(p->code) == BPF_A ? s->a : p->k;
		default:
			if (BPF_MISCOP(p->code) == BPF_TAX)
				s->x = s->a;
			else
				s->a = s->x;
		}
	}
	return 0;
}

static uint32_t judge(struct flt_eval *e, const struct flt_piece *p, uint16_t space)
{
	struct skep_scratch scratch;
	struct machine s = { .frame = { .bytes = p->bytes, .len = p->cap_len },
			     .scratch = &scratch,
			     .wire_len = p->wire_len };
	const struct skep_view v = flt_view_make(e->linktype, p->bytes, p->cap_len);

	look(e, &v, space, &scratch.facts[0]);
	return run(e, &s);
}

uint32_t flt_eval_match(struct flt_eval *e, const void *bytes, uint32_t wire_len, uint32_t cap_len)
{
	const struct flt_piece p = { .bytes = bytes, .cap_len = cap_len, .wire_len = wire_len };

	return e->needs ? judge(e, &p, 0) : flt_front_match(e->prog, bytes, wire_len, cap_len);
}

uint32_t flt_eval_match_inside(struct flt_eval *e, const struct flt_piece *frame, uint32_t kinds,
			       uint8_t *room)
{
	struct skep_inner inner[SKEP_MAX_INNER];
	uint32_t verdict, n;

	if (!e->needs)
		return flt_inside_match(e->prog, frame, kinds, room);
	verdict = judge(e, frame, 0);
	n = kinds ? flt_inside_find(frame->bytes, frame->cap_len, kinds, inner) : 0;
	/* All of them, for what there is to learn. */
	for (uint32_t i = 0; i < n; i++) {
		struct flt_piece p = flt_inside_piece(frame, &inner[i], room);
		uint32_t one = judge(e, &p, SKEP_INNER_PATH(inner[i].kind));

		if (!verdict && flt_inside_wanted(&inner[i], kinds))
			verdict = one;
	}
	return verdict;
}
