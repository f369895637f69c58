/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What can be known of a classic program before and while it is translated: that it can be, what its guards
 * should ask for, how large A and X can be. All of it follows from the instructions alone; jumps go forward,
 * so one pass each way is enough. Emits nothing. Any thread; no state of its own.
 */
#include "capture/filter/translate_priv.h"

static bool is_known_code(uint16_t code)
{
	switch (BPF_CLASS(code)) {
	case BPF_LD:
		if (BPF_MODE(code) == BPF_ABS || BPF_MODE(code) == BPF_IND)
			return BPF_SIZE(code) != 0x18;
		return code == (BPF_LD | BPF_IMM) || code == (BPF_LD | BPF_MEM) ||
		       code == (BPF_LD | BPF_W | BPF_LEN);
	case BPF_LDX:
		return code == (BPF_LDX | BPF_IMM) || code == (BPF_LDX | BPF_MEM) ||
		       code == (BPF_LDX | BPF_W | BPF_LEN) || code == (BPF_LDX | BPF_B | BPF_MSH);
	case BPF_ST:
	case BPF_STX:
		return code == BPF_ST || code == BPF_STX;
	case BPF_ALU:
		return BPF_OP(code) <= BPF_XOR;
	case BPF_JMP:
		return BPF_OP(code) <= BPF_JSET;
	case BPF_RET:
		return code == (BPF_RET | BPF_K) || code == (BPF_RET | BPF_A);
	default:
		return code == (BPF_MISC | BPF_TAX) || code == (BPF_MISC | BPF_TXA);
	}
}

static bool uses_m(const struct flt_cbpf *p)
{
	return p->code == (BPF_LD | BPF_MEM) || p->code == (BPF_LDX | BPF_MEM) || p->code == BPF_ST ||
	       p->code == BPF_STX;
}

int flt_translate_check(struct ctx *c, struct skep_err *err)
{
	for (uint32_t i = 0; i < c->n; i++) {
		const struct flt_cbpf *p = &c->in[i];
		uint32_t to[2];
		int k;

		if (!is_known_code(p->code) || (uses_m(p) && p->k >= BPF_MEMWORDS))
			return skep_err_set(
				err, SKEP_E_UNSUPPORTED,
				"instruction %u of the compiled filter (code 0x%04x) cannot run in XDP", i,
				p->code);
		/* Linux's extensions (-4096 and up); libpcap makes them only for live sockets. */
		if (is_abs(p) && p->k >= (uint32_t)SKF_AD_OFF && p->k < (uint32_t)SKF_AD_OFF + SKF_AD_MAX)
			return skep_err_set(
				err, SKEP_E_UNSUPPORTED,
				"instruction %u of the compiled filter reads a Linux socket's extension", i);
		k = successors(c, i, to);
		for (int j = 0; j < k; j++) {
			if (to[j] >= c->n)
				return skep_err_set(err, SKEP_E_UNSUPPORTED,
						    "instruction %u of the compiled filter jumps out of it",
						    i);
			if (to[j] <= i)
				return skep_err_set(err, SKEP_E_UNSUPPORTED,
						    "instruction %u of the compiled filter jumps back", i);
		}
		c->uses_len |= BPF_MODE(p->code) == BPF_LEN &&
			       (BPF_CLASS(p->code) == BPF_LD || BPF_CLASS(p->code) == BPF_LDX);
		c->uses_packet |= is_abs(p) || is_ind(p);
		c->uses_macs |= reads_macs(p);
		c->uses_scratch |= flt_scratch_is_load(p);
		if (p->code == (BPF_LD | BPF_MEM) || p->code == (BPF_LDX | BPF_MEM))
			c->zero_m |= (uint16_t)(1u << p->k);
	}
	return 0;
}

/* What a guard in front of an instruction should ask for, from the ways behind it: the least of them, and a
 * little more. */
static uint32_t join_need(uint32_t t, uint32_t f)
{
	uint32_t low = SKEP_MIN(t, f), high = SKEP_MAX(t, f);

	return high != NEED_ANY && low > 0 && high - low <= NEAR_BYTES ? high : low;
}

static uint32_t add_need(uint32_t own, uint32_t after, uint32_t furthest)
{
	uint32_t need = after == NEED_ANY ? own : SKEP_MAX(own, after);

	return furthest > need && furthest - need <= NEAR_BYTES ? furthest : need;
}

void flt_translate_plan(struct ctx *c, uint32_t *far_abs, uint32_t *far_ind)
{
	for (uint32_t i = c->n; i-- > 0;) {
		const struct flt_cbpf *p = &c->in[i];
		uint32_t to[2], own = p->k <= OFFSET_MAX - 4 ? p->k + load_bytes(p) : 0;
		int k = successors(c, i, to);
		uint32_t abs = k ? c->need_abs[to[0]] : 0, ind = k ? c->need_ind[to[0]] : 0;

		if (k == 0 && (p->code != (BPF_RET | BPF_K) || p->k == 0) && p->code != (BPF_RET | BPF_A))
			abs = ind = NEED_ANY;
		far_abs[i] = k ? far_abs[to[0]] : 0;
		far_ind[i] = k ? far_ind[to[0]] : 0;
		if (k == 2) {
			abs = join_need(abs, c->need_abs[to[1]]);
			ind = join_need(ind, c->need_ind[to[1]]);
			far_abs[i] = SKEP_MAX(far_abs[i], far_abs[to[1]]);
			far_ind[i] = SKEP_MAX(far_ind[i], far_ind[to[1]]);
		}
		if (is_abs(p) && own > 0) {
			abs = add_need(own, abs, far_abs[i]);
			far_abs[i] = SKEP_MAX(far_abs[i], own);
		}
		if (writes_x(p))
			ind = far_ind[i] = 0;
		if (is_ind(p) && own > 0) {
			ind = add_need(own, ind, far_ind[i]);
			far_ind[i] = SKEP_MAX(far_ind[i], own);
		}
		c->need_abs[i] = abs;
		c->need_ind[i] = ind;
	}
}

static uint32_t add_max(uint32_t a, uint32_t b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/* Upper bounds of A and X behind an instruction; the verifier knows at least as much on each single path. */
void flt_translate_learn(const struct flt_cbpf *p, struct known *k)
{
	static const uint32_t size_max[] = { [1] = 0xff, [2] = 0xffff, [4] = UINT32_MAX };
	bool imm = BPF_SRC(p->code) == BPF_K;

	if (is_abs(p) && BPF_CLASS(p->code) == BPF_LDX) {
		k->x_max = 60;
	} else if (is_abs(p) || is_ind(p)) {
		k->a_max = size_max[load_bytes(p)];
	} else if (BPF_CLASS(p->code) == BPF_LD) {
		k->a_max = BPF_MODE(p->code) == BPF_IMM ? p->k : UINT32_MAX;
	} else if (BPF_CLASS(p->code) == BPF_LDX) {
		k->x_max = BPF_MODE(p->code) == BPF_IMM ? p->k : UINT32_MAX;
	} else if (BPF_CLASS(p->code) == BPF_MISC) {
		if (BPF_MISCOP(p->code) == BPF_TAX)
			k->x_max = k->a_max;
		else
			k->a_max = k->x_max;
	} else if (BPF_CLASS(p->code) == BPF_ALU) {
		if (BPF_OP(p->code) == BPF_AND && imm)
			k->a_max = SKEP_MIN(k->a_max, p->k);
		else if (BPF_OP(p->code) == BPF_RSH && imm && p->k < 32)
			k->a_max >>= p->k;
		else if (BPF_OP(p->code) == BPF_ADD)
			k->a_max = add_max(k->a_max, imm ? p->k : k->x_max);
		else
			k->a_max = UINT32_MAX;
	}
	if (writes_x(p))
		k->ind = 0;
}

void flt_translate_meet(struct known *into, const struct known *from)
{
	if (!into->reached) {
		*into = *from;
		return;
	}
	into->abs = SKEP_MIN(into->abs, from->abs);
	into->ind = SKEP_MIN(into->ind, from->ind);
	into->a_max = SKEP_MAX(into->a_max, from->a_max);
	into->x_max = SKEP_MAX(into->x_max, from->x_max);
}
