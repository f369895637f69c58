/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cBPF to eBPF. The oracle of meaning is libpcap's bpf_filter(): unsigned 32-bit arithmetic, A and X and M[]
 * start at zero, a load beyond the frame or a division by zero ends with "no match".
 *
 * The code exists twice. The fast copy reads the packet through pointers; the verifier wants a proof that the
 * bytes are there, so a guard (data + n <= data_end) stands in front of loads, merged over blocks (after
 * cloudflare/cbpfc): a guard asks for what every way from here needs, and a load that an earlier guard covers
 * has none. A guard that fails jumps to the same instruction of the slow copy, which loads with
 * bpf_xdp_load_bytes(): right for frames of several buffers, and right for short frames too, because it fails
 * exactly at the load that libpcap fails at. So the choice of guards is a matter of speed only, never of
 * meaning.
 *
 * A program for packets inside (flt_translate_inside) gets where the packet is as arguments: MAC addresses,
 * the rest, and the ether type if the packet has none. Loads of the addresses go through a pointer of their
 * own (r1, fast copy only), those of the ether type choose; what straddles the three, or may, is left to the
 * slow copy, which then reads byte by byte.
 *
 * Registers: r6 data, r7 data_end, r8 A, r9 X, r5 data + X while a guard for it holds, r0 scratch. Stack: see
 * the offsets. Loads from struct skep_scratch (scratch.h) never fail: the map is looked up at the beginning.
 * No state between calls; any thread; linear time.
 */
#include "capture/filter/translate_priv.h"

_Static_assert(sizeof(struct flt_cbpf) == sizeof(struct sock_filter), "cBPF layout");
_Static_assert(sizeof(struct flt_ebpf) == sizeof(struct bpf_insn), "eBPF layout");

static void emit_alu(struct ctx *c, const struct flt_cbpf *p)
{
	uint8_t op = BPF_OP(p->code), src = BPF_SRC(p->code);
	bool shift = op == BPF_LSH || op == BPF_RSH;

	if (op == BPF_NEG) {
		emit(c, BPF_ALU | BPF_NEG, A, 0, 0, 0);
		return;
	}
	if (src == BPF_K) {
		if (shift && p->k > 31)
			mov32_imm(c, A, 0);
		else
			emit(c, (uint8_t)(BPF_ALU | op | BPF_K), A, 0, 0, (int32_t)p->k);
		return;
	}
	if (op == BPF_DIV || op == BPF_MOD) {
		aim(c, LABEL_REJECT, 0);
		emit(c, BPF_JMP | BPF_JEQ | BPF_K, X, 0, 0, 0);
	}
	if (shift) {
		/* eBPF shifts by X mod 32; libpcap gives 0 from 32 on. */
		emit(c, BPF_JMP | BPF_JLE | BPF_K, X, 0, 2, 31);
		mov32_imm(c, A, 0);
		emit(c, BPF_JMP | BPF_JA, 0, 0, 1, 0);
	}
	emit(c, (uint8_t)(BPF_ALU | op | BPF_X), A, X, 0, 0);
}

static void emit_jump(struct ctx *c, uint32_t i, enum label_kind kind)
{
	const struct flt_cbpf *p = &c->in[i];
	uint32_t t = i + 1 + p->jt, f = i + 1 + p->jf, to[2];
	uint8_t op = BPF_OP(p->code), inverse = 0;

	if (successors(c, i, to) == 1) {
		if (to[0] != i + 1)
			jump(c, kind, to[0]);
		return;
	}
	if (p->jt == 0)
		inverse = op == BPF_JEQ ? BPF_JNE : op == BPF_JGT ? BPF_JLE : op == BPF_JGE ? BPF_JLT : 0;
	aim(c, kind, inverse ? f : t);
	emit(c, (uint8_t)(BPF_JMP32 | (inverse ? inverse : op) | BPF_SRC(p->code)), A,
	     BPF_SRC(p->code) == BPF_X ? X : 0, 0, BPF_SRC(p->code) == BPF_X ? 0 : (int32_t)p->k);
	if (!inverse && p->jf != 0)
		jump(c, kind, f);
}

/* Everything that neither loads from the packet nor jumps. */
static void emit_plain(struct ctx *c, const struct flt_cbpf *p)
{
	switch (BPF_CLASS(p->code)) {
	case BPF_LD:
	case BPF_LDX: {
		uint8_t to = BPF_CLASS(p->code) == BPF_LD ? A : X;

		if (flt_scratch_is_load(p)) {
			emit(c, BPF_LDX | BPF_MEM | BPF_DW, R0, FP, STACK_SCRATCH, 0);
			emit(c, (uint8_t)(BPF_LDX | BPF_MEM | BPF_SIZE(p->code)), A, R0,
			     (int16_t)(p->k - FLT_SCRATCH_BASE), 0);
		} else if (BPF_MODE(p->code) == BPF_IMM) {
			mov32_imm(c, to, p->k);
		} else {
			emit(c, BPF_LDX | BPF_MEM | BPF_W, to, FP,
			     BPF_MODE(p->code) == BPF_LEN ? STACK_LEN : (int16_t)STACK_M(p->k), 0);
		}
		return;
	}
	case BPF_ST:
	case BPF_STX:
		emit(c, BPF_STX | BPF_MEM | BPF_W, FP, BPF_CLASS(p->code) == BPF_ST ? A : X,
		     (int16_t)STACK_M(p->k), 0);
		return;
	case BPF_ALU:
		emit_alu(c, p);
		return;
	case BPF_RET:
		if (BPF_RVAL(p->code) == BPF_A)
			emit(c, BPF_ALU | BPF_MOV | BPF_X, R0, A, 0, 0);
		else
			mov32_imm(c, R0, p->k);
		emit(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		return;
	default:
		if (BPF_MISCOP(p->code) == BPF_TAX)
			emit(c, BPF_ALU | BPF_MOV | BPF_X, X, A, 0, 0);
		else
			emit(c, BPF_ALU | BPF_MOV | BPF_X, A, X, 0, 0);
	}
}

/* All jumps go forward, so everything that leads to an instruction has been seen before it. */
static void emit_fast(struct ctx *c)
{
	c->known[0].reached = true;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct flt_cbpf *p = &c->in[i];
		struct known k = c->known[i];
		uint32_t to[2];
		int n_to = successors(c, i, to);

		if (!k.reached)
			continue;
		c->fast_at[i] = c->n_out;
		if (never_there(p) || divides_by_zero(p))
			jump(c, LABEL_REJECT, 0);
		else if (is_abs(p) || is_ind(p))
			n_to = flt_translate_fast_load(c, i, &k) ? n_to : 0;
		else if (is_jump(p))
			emit_jump(c, i, LABEL_FAST);
		else
			emit_plain(c, p);
		flt_translate_learn(p, &k);
		for (int j = 0; j < n_to; j++)
			flt_translate_meet(&c->known[to[j]], &k);
	}
}

/* The slow copy holds what can be reached from a guard that fails. */
static void emit_slow(struct ctx *c)
{
	for (uint32_t i = 0; i < c->n; i++) {
		const struct flt_cbpf *p = &c->in[i];

		uint32_t to[2];

		if (!c->slow[i])
			continue;
		for (int k = successors(c, i, to); k > 0; k--)
			c->slow[to[k - 1]] = true;
		c->slow_at[i] = c->n_out;
		if (never_there(p) || divides_by_zero(p))
			jump(c, LABEL_REJECT, 0);
		else if (is_abs(p) || is_ind(p))
			flt_translate_slow_load(c, p);
		else if (is_jump(p))
			emit_jump(c, i, LABEL_SLOW);
		else
			emit_plain(c, p);
	}
}

static int resolve(struct ctx *c, struct skep_err *err)
{
	uint32_t reject = c->n_out;

	if (c->n_fix > 0)
		for (uint32_t i = 0; i < c->n_fix; i++)
			if (c->fix[i].kind == LABEL_REJECT) {
				mov32_imm(c, R0, 0);
				emit(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
				break;
			}
	if (c->failed)
		return skep_err_set(err, -ENOMEM, "no memory to translate the filter");
	for (uint32_t i = 0; i < c->n_fix; i++) {
		const struct fixup *f = &c->fix[i];
		uint32_t target = f->kind == LABEL_REJECT ? reject
				  : f->kind == LABEL_FAST ? c->fast_at[f->to]
							  : c->slow_at[f->to];
		int64_t off = (int64_t)target - f->at - 1;

		if (off > INT16_MAX || off < INT16_MIN) {
			(void)skep_err_set(err, SKEP_E_UNSUPPORTED,
					   "the filter is too long for XDP: %u instructions", c->n_out);
			(void)skep_err_hint(err, "Use fewer terms, or networks instead of single addresses");
			return SKEP_E_UNSUPPORTED;
		}
		c->out[f->at].off = (int16_t)off;
	}
	return 0;
}

static void ctx_done(struct ctx *c)
{
	free(c->need_abs);
	free(c->need_ind);
	free(c->known);
	free(c->slow);
	free(c->fast_at);
	free(c->slow_at);
	free(c->out);
	free(c->fix);
}

static int allocate(struct ctx *c)
{
	c->need_abs = calloc(c->n, sizeof(*c->need_abs));
	c->need_ind = calloc(c->n, sizeof(*c->need_ind));
	c->known = calloc(c->n, sizeof(*c->known));
	c->slow = calloc(c->n, sizeof(*c->slow));
	c->fast_at = calloc(c->n, sizeof(*c->fast_at));
	c->slow_at = calloc(c->n, sizeof(*c->slow_at));
	return c->need_abs && c->need_ind && c->known && c->slow && c->fast_at && c->slow_at ? 0 : -ENOMEM;
}

static int translate(const struct flt_cbpf *in, uint32_t n, enum flt_length length, bool inside,
		     struct flt_code *ret, struct skep_err *err)
{
	SKEP_CLEANUP(ctx_done) struct ctx c = { .in = in, .n = n, .length = length, .inside = inside };
	_skep_free_ uint32_t *far_abs = calloc(n, sizeof(*far_abs)), *far_ind = calloc(n, sizeof(*far_ind));
	uint32_t n_fast;
	int r;

	if (n == 0 || n > FLT_MAX_CBPF_INSNS)
		return skep_err_set(err, SKEP_E_UNSUPPORTED,
				    "a compiled filter of %u instructions cannot be translated", n);
	if (allocate(&c) < 0 || !far_abs || !far_ind)
		return skep_err_set(err, -ENOMEM, "no memory to translate the filter");
	r = flt_translate_check(&c, err);
	if (r)
		return r;
	flt_translate_entry(&c);
	flt_translate_plan(&c, far_abs, far_ind);
	emit_fast(&c);
	n_fast = c.n_out;
	emit_slow(&c);
	r = resolve(&c, err);
	if (r)
		return r;
	*ret = (struct flt_code){ .v = TAKE_PTR(c.out),
				  .n = c.n_out,
				  .n_fast = n_fast,
				  .needs = flt_scratch_needs(in, n) };
	return 0;
}

int flt_translate(const struct flt_cbpf *in, uint32_t n, enum flt_length length, struct flt_code *ret,
		  struct skep_err *err)
{
	struct flt_code code = FLT_CODE_NULL;
	int r = translate(in, n, length, false, &code, err);

	if (r == 0)
		r = flt_terms_read(in, n, &code.terms, err);
	if (r) {
		flt_code_done(&code);
		return r;
	}
	*ret = code;
	return 0;
}

int flt_translate_inside(const struct flt_cbpf *in, uint32_t n, enum flt_length length, struct flt_code *ret,
			 struct skep_err *err)
{
	return translate(in, n, length, true, ret, err);
}

void flt_code_done(struct flt_code *code)
{
	free(code->v);
	flt_terms_free(code->terms);
	*code = (struct flt_code)FLT_CODE_NULL;
}

void flt_code_link(struct flt_ebpf *v, uint32_t n, int scratch_fd)
{
	for (uint32_t i = 0; i < n; i++)
		if (v[i].code == (BPF_LD | BPF_DW | BPF_IMM) && v[i].src == BPF_PSEUDO_MAP_FD &&
		    v[i].imm == FLT_FD_SCRATCH)
			v[i].imm = scratch_fd;
}
