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
#include "capture/filter/translate.h"

#include "bpf/abi/skep_inner.h"
#include "capture/filter/limits.h"
#include "capture/filter/merge_terms.h"
#include "capture/filter/scratch.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

_Static_assert(sizeof(struct flt_cbpf) == sizeof(struct sock_filter), "cBPF layout");
_Static_assert(sizeof(struct flt_ebpf) == sizeof(struct bpf_insn), "eBPF layout");

enum reg { R0, R1, R2, R3, R4, IND, DATA, END, A, X, FP };
/* Fast copy of a program for packets inside: the MAC addresses. */
#define MAC R1

#define STACK_CTX (-8)
#define STACK_BUF (-16)
#define STACK_LEN (-24)
/* The arguments of a program for packets inside. */
#define STACK_OFF (-20)
#define STACK_MAC (-28)
#define STACK_TYPE (-32)
#define STACK_M(i) (-96 + 4 * (int)(i))
#define STACK_SCRATCH (-104) /* struct skep_scratch *, so that facts[0] are those of the packet at hand */
#define STACK_FACTS (-108)   /* an argument: bytes from facts[0] to them */
/* At most, for the verifier: four packets inside, 12 bytes each. */
#define FACTS_MASK 0x3f
_Static_assert(SKEP_MAX_INNER * sizeof(struct skep_facts) <= FACTS_MASK &&
		       offsetof(struct skep_scratch, facts[1]) + FACTS_MASK <= sizeof(struct skep_scratch),
	       "in bounds");

/* No way from here needs packet bytes and accepts: a guard may ask for anything. */
#define NEED_ANY UINT32_MAX
/* The largest offset of a load through a pointer (16-bit signed in the instruction), and so of a guard. */
#define OFFSET_MAX 32767u
/* No packet inside is further in the frame: what is behind SKEP_INNER_REACH is not looked at. A mask bounds
 * it again when it comes from the stack, where the verifier does not follow it. */
#define PLACE_MAX (2 * SKEP_INNER_REACH)
#define PLACE_MASK (2 * PLACE_MAX - 1)
_Static_assert((PLACE_MAX & (PLACE_MAX - 1)) == 0, "a mask");
/* An Ethernet header: where the MAC addresses and the ether type end. */
#define MACS_END 12u
#define TYPE_END 14u
/* A guard also asks for what only some ways need if it is this near: the next field of the same header. */
#define NEAR_BYTES 8u

enum label_kind { LABEL_FAST, LABEL_SLOW, LABEL_REJECT };

struct fixup {
	uint32_t at; /* eBPF instruction */
	enum label_kind kind;
	uint32_t to; /* cBPF instruction */
};

/* What is known in front of an instruction of the fast copy, whichever way led there. */
struct known {
	bool reached;
	uint32_t abs; /* bytes from data that a guard has shown */
	uint32_t ind; /* bytes from IND; 0: IND is not data + X */
	uint32_t a_max, x_max;
};

struct ctx {
	const struct flt_cbpf *in;
	uint32_t n;
	enum flt_length length;
	bool inside;		       /* the packet is where the arguments say */
	bool uses_len, uses_packet, uses_macs, uses_scratch;
	uint16_t zero_m;	       /* M[] slots that must start as zero */
	uint32_t *need_abs, *need_ind; /* per instruction: what a guard in front of it should ask for */
	struct known *known;
	bool *slow; /* per instruction: the slow copy is reached here */
	uint32_t *fast_at, *slow_at;
	struct flt_ebpf *out;
	uint32_t n_out, cap_out;
	struct fixup *fix;
	uint32_t n_fix, cap_fix;
	bool failed; /* out of memory */
};

static void emit(struct ctx *c, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	if (c->n_out == c->cap_out) {
		uint32_t cap = c->cap_out ? c->cap_out * 2 : 256;
		struct flt_ebpf *p = realloc(c->out, cap * sizeof(*p));

		if (!p) {
			c->failed = true;
			return;
		}
		c->out = p;
		c->cap_out = cap;
	}
	c->out[c->n_out++] =
		(struct flt_ebpf){ .code = code, .dst = dst, .src = src, .off = off, .imm = imm };
}

/* The jump that is emitted next goes to a label. */
static void aim(struct ctx *c, enum label_kind kind, uint32_t to)
{
	if (c->n_fix == c->cap_fix) {
		uint32_t cap = c->cap_fix ? c->cap_fix * 2 : 128;
		struct fixup *p = realloc(c->fix, cap * sizeof(*p));

		if (!p) {
			c->failed = true;
			return;
		}
		c->fix = p;
		c->cap_fix = cap;
	}
	c->fix[c->n_fix++] = (struct fixup){ .at = c->n_out, .kind = kind, .to = to };
	if (kind == LABEL_SLOW)
		c->slow[to] = true;
}

static void jump(struct ctx *c, enum label_kind kind, uint32_t to)
{
	aim(c, kind, to);
	emit(c, BPF_JMP | BPF_JA, 0, 0, 0, 0);
}

static void mov64(struct ctx *c, uint8_t dst, uint8_t src)
{
	emit(c, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void mov32_imm(struct ctx *c, uint8_t dst, uint32_t imm)
{
	emit(c, BPF_ALU | BPF_MOV | BPF_K, dst, 0, 0, (int32_t)imm);
}

static uint32_t load_bytes(const struct flt_cbpf *p)
{
	return BPF_SIZE(p->code) == BPF_W ? 4 : BPF_SIZE(p->code) == BPF_H ? 2 : 1;
}

static bool is_abs(const struct flt_cbpf *p)
{
	return (BPF_CLASS(p->code) == BPF_LD && BPF_MODE(p->code) == BPF_ABS && !flt_scratch_is_load(p)) ||
	       p->code == (BPF_LDX | BPF_B | BPF_MSH);
}

static bool is_ind(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_LD && BPF_MODE(p->code) == BPF_IND;
}

static bool writes_x(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_LDX || p->code == (BPF_MISC | BPF_TAX);
}

static bool is_jump(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_JMP;
}

static bool reads_macs(const struct flt_cbpf *p)
{
	return is_abs(p) && p->k < MACS_END && p->k + load_bytes(p) <= MACS_END;
}

static bool reads_type(const struct flt_cbpf *p)
{
	return p->code == (BPF_LD | BPF_H | BPF_ABS) && p->k == MACS_END;
}

/* Offsets with the top bit set are beyond every frame for libpcap. */
static bool never_there(const struct flt_cbpf *p)
{
	return (is_abs(p) || is_ind(p)) && p->k > INT32_MAX;
}

static bool divides_by_zero(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_ALU && (BPF_OP(p->code) == BPF_DIV || BPF_OP(p->code) == BPF_MOD) &&
	       BPF_SRC(p->code) == BPF_K && p->k == 0;
}

/* Successors; 0, 1 or 2 of them. */
static int successors(const struct ctx *c, uint32_t i, uint32_t to[2])
{
	const struct flt_cbpf *p = &c->in[i];

	if (BPF_CLASS(p->code) == BPF_RET || never_there(p) || divides_by_zero(p))
		return 0;
	if (p->code == (BPF_JMP | BPF_JA)) {
		to[0] = i + 1 + p->k; /* wraps to a small number where libpcap jumps back */
		return 1;
	}
	to[0] = i + 1;
	if (!is_jump(p))
		return 1;
	to[0] = i + 1 + p->jt;
	to[1] = i + 1 + p->jf;
	return to[0] == to[1] ? 1 : 2;
}

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

static int check(struct ctx *c, struct skep_err *err)
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

static void plan_guards(struct ctx *c, uint32_t *far_abs, uint32_t *far_ind)
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

static void load_stack(struct ctx *c, uint8_t dst, int16_t slot)
{
	emit(c, BPF_LDX | BPF_MEM | BPF_W, dst, FP, slot, 0);
}

/* An offset in the frame that came as an argument; bounded. */
static void load_place(struct ctx *c, uint8_t dst, int16_t slot)
{
	load_stack(c, dst, slot);
	emit(c, BPF_ALU | BPF_AND | BPF_K, dst, 0, 0, PLACE_MASK);
}

/* u32 f(ctx, off, mac_off, type, facts): struct skep_inner, and where its facts are. */
static void emit_arguments(struct ctx *c)
{
	for (uint8_t r = R2; r <= R3; r++) {
		aim(c, LABEL_REJECT, 0);
		emit(c, BPF_JMP | BPF_JGT | BPF_K, r, 0, 0, PLACE_MAX);
	}
	emit(c, BPF_STX | BPF_MEM | BPF_W, FP, R2, STACK_OFF, 0);
	emit(c, BPF_STX | BPF_MEM | BPF_W, FP, R3, STACK_MAC, 0);
	emit(c, BPF_STX | BPF_MEM | BPF_W, FP, R4, STACK_TYPE, 0);
	if (c->uses_scratch)
		emit(c, BPF_STX | BPF_MEM | BPF_W, FP, IND, STACK_FACTS, 0);
}

/* Takes the length of the frame on the wire from R0; R1 stays. */
static void emit_keep_length(struct ctx *c)
{
	if (c->inside) {
		load_stack(c, R4, STACK_OFF);
		aim(c, LABEL_REJECT, 0);
		emit(c, BPF_JMP32 | BPF_JLT | BPF_X, R0, R4, 0, 0);
		emit(c, BPF_ALU | BPF_SUB | BPF_X, R0, R4, 0, 0);
	}
	emit(c, BPF_STX | BPF_MEM | BPF_W, FP, R0, STACK_LEN, 0);
}

static void emit_length(struct ctx *c)
{
	if (c->length == FLT_LENGTH_FRAME) {
		emit(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_xdp_get_buff_len);
		emit_keep_length(c);
		emit(c, BPF_LDX | BPF_MEM | BPF_DW, R1, FP, STACK_CTX, 0);
		return;
	}
	emit(c, BPF_LDX | BPF_MEM | BPF_W, R2, R1, offsetof(struct xdp_md, data_meta), 0);
	emit(c, BPF_LDX | BPF_MEM | BPF_W, R3, R1, offsetof(struct xdp_md, data), 0);
	mov64(c, R0, R2);
	emit(c, BPF_ALU64 | BPF_ADD | BPF_K, R0, 0, 0, SKEP_META_BYTES);
	aim(c, LABEL_REJECT, 0);
	emit(c, BPF_JMP | BPF_JGT | BPF_X, R0, R3, 0, 0);
	emit(c, BPF_LDX | BPF_MEM | BPF_W, R0, R2, offsetof(struct skep_meta, wire_len), 0);
	emit_keep_length(c);
}

/* The pointers of the fast copy. */
static void emit_pointers(struct ctx *c)
{
	emit(c, BPF_LDX | BPF_MEM | BPF_W, DATA, R1, offsetof(struct xdp_md, data), 0);
	emit(c, BPF_LDX | BPF_MEM | BPF_W, END, R1, offsetof(struct xdp_md, data_end), 0);
	if (!c->inside)
		return;
	if (c->uses_macs) {
		mov64(c, MAC, DATA);
		load_place(c, R0, STACK_MAC);
		emit(c, BPF_ALU64 | BPF_ADD | BPF_X, MAC, R0, 0, 0);
	}
	load_place(c, R0, STACK_OFF);
	emit(c, BPF_ALU64 | BPF_ADD | BPF_X, DATA, R0, 0, 0);
}

/* Finds the scratch; ctx is on the stack, and in r1 again afterwards. */
static void emit_find_scratch(struct ctx *c)
{
	emit(c, BPF_ST | BPF_MEM | BPF_W, FP, 0, STACK_BUF, 0);
	emit(c, BPF_LD | BPF_DW | BPF_IMM, R1, BPF_PSEUDO_MAP_FD, 0, FLT_FD_SCRATCH);
	emit(c, 0, 0, 0, 0, 0);
	mov64(c, R2, FP);
	emit(c, BPF_ALU64 | BPF_ADD | BPF_K, R2, 0, 0, STACK_BUF);
	emit(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	aim(c, LABEL_REJECT, 0);
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, R0, 0, 0, 0);
	if (c->inside) {
		load_stack(c, R1, STACK_FACTS);
		emit(c, BPF_ALU | BPF_AND | BPF_K, R1, 0, 0, FACTS_MASK);
		emit(c, BPF_ALU64 | BPF_ADD | BPF_X, R0, R1, 0, 0);
	}
	emit(c, BPF_STX | BPF_MEM | BPF_DW, FP, R0, STACK_SCRATCH, 0);
	emit(c, BPF_LDX | BPF_MEM | BPF_DW, R1, FP, STACK_CTX, 0);
}

static void emit_entry(struct ctx *c)
{
	if (c->uses_packet || c->uses_len || c->uses_scratch)
		emit(c, BPF_STX | BPF_MEM | BPF_DW, FP, R1, STACK_CTX, 0);
	if (c->inside && (c->uses_packet || c->uses_len || c->uses_scratch))
		emit_arguments(c);
	if (c->uses_scratch)
		emit_find_scratch(c);
	if (c->uses_len)
		emit_length(c);
	if (c->uses_packet)
		emit_pointers(c);
	mov32_imm(c, A, 0);
	mov32_imm(c, X, 0);
	for (uint32_t i = 0; i < BPF_MEMWORDS; i++)
		if (c->zero_m & (1u << i))
			emit(c, BPF_ST | BPF_MEM | BPF_W, FP, 0, (int16_t)STACK_M(i), 0);
	if (c->inside && c->uses_macs) {
		mov64(c, R0, MAC);
		emit(c, BPF_ALU64 | BPF_ADD | BPF_K, R0, 0, 0, MACS_END);
		aim(c, LABEL_SLOW, 0);
		emit(c, BPF_JMP | BPF_JGT | BPF_X, R0, END, 0, 0);
	}
}

/* Takes the bytes at base + off into A (or, for MSH, X), in host order. */
static void emit_take(struct ctx *c, const struct flt_cbpf *p, uint8_t base, int16_t off)
{
	if (p->code == (BPF_LDX | BPF_B | BPF_MSH)) {
		emit(c, BPF_LDX | BPF_MEM | BPF_B, X, base, off, 0);
		emit(c, BPF_ALU | BPF_AND | BPF_K, X, 0, 0, 0xf);
		emit(c, BPF_ALU | BPF_LSH | BPF_K, X, 0, 0, 2);
		return;
	}
	emit(c, (uint8_t)(BPF_LDX | BPF_MEM | BPF_SIZE(p->code)), A, base, off, 0);
	if (load_bytes(p) > 1)
		emit(c, BPF_ALU | BPF_END | BPF_TO_BE, A, 0, 0, (int32_t)load_bytes(p) * 8);
}

/* bpf_xdp_load_bytes(ctx, r2, buf + at, n) */
static void emit_helper_load(struct ctx *c, int32_t at, uint32_t n)
{
	emit(c, BPF_LDX | BPF_MEM | BPF_DW, R1, FP, STACK_CTX, 0);
	mov64(c, R3, FP);
	emit(c, BPF_ALU64 | BPF_ADD | BPF_K, R3, 0, 0, STACK_BUF + at);
	mov32_imm(c, R4, n);
	emit(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_xdp_load_bytes);
	aim(c, LABEL_REJECT, 0);
	emit(c, BPF_JMP | BPF_JNE | BPF_K, R0, 0, 0, 0);
}

/* Byte r2 of a packet inside, less than 2^17, to buf + at: whichever of the three parts it is in. */
static void emit_byte_inside(struct ctx *c, int32_t at)
{
	emit(c, BPF_JMP | BPF_JGE | BPF_K, R2, 0, 9, TYPE_END);
	emit(c, BPF_JMP | BPF_JGE | BPF_K, R2, 0, 2, MACS_END);
	load_stack(c, R3, STACK_MAC);
	emit(c, BPF_JMP | BPF_JA, 0, 0, 7, 0);
	load_stack(c, R3, STACK_TYPE);
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, R3, 0, 4, 0);
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, R2, 0, 1, MACS_END + 1);
	emit(c, BPF_ALU | BPF_RSH | BPF_K, R3, 0, 0, 8);
	emit(c, BPF_STX | BPF_MEM | BPF_B, FP, R3, (int16_t)(STACK_BUF + at), 0);
	emit(c, BPF_JMP | BPF_JA, 0, 0, 8, 0);
	load_stack(c, R3, STACK_OFF);
	emit(c, BPF_ALU64 | BPF_ADD | BPF_X, R2, R3, 0, 0);
	emit_helper_load(c, at, 1); /* 6 instructions */
}

/* Loads of the slow copy: through the helper, which knows all buffers of a frame and where it ends. */
static void emit_slow_load(struct ctx *c, const struct flt_cbpf *p)
{
	bool apart = c->inside && p->k < TYPE_END && !reads_macs(p);

	if (is_ind(p)) { /* The helper's offset is 32 bits wide; X + k must not wrap to a small one. */
		aim(c, LABEL_REJECT, 0);
		emit(c, BPF_JMP | BPF_JGT | BPF_K, X, 0, 0, 0xffff);
	}
	for (uint32_t j = 0; j < (apart ? load_bytes(p) : 1); j++) {
		if (is_ind(p)) {
			mov64(c, R2, X);
			emit(c, BPF_ALU64 | BPF_ADD | BPF_K, R2, 0, 0, (int32_t)(p->k + j));
			aim(c, LABEL_REJECT, 0);
			emit(c, BPF_JMP | BPF_JGT | BPF_K, R2, 0, 0, 0xffff);
		} else {
			mov32_imm(c, R2, p->k + j);
		}
		if (apart)
			emit_byte_inside(c, (int32_t)j);
	}
	if (!apart) {
		if (c->inside) {
			load_stack(c, R3, reads_macs(p) ? STACK_MAC : STACK_OFF);
			emit(c, BPF_ALU64 | BPF_ADD | BPF_X, R2, R3, 0, 0);
		}
		emit_helper_load(c, 0, load_bytes(p));
	}
	emit_take(c, p, FP, STACK_BUF);
}

/* The ether type of a packet inside; a guard has shown that the one in the frame can be read. */
static void emit_take_type(struct ctx *c, const struct flt_cbpf *p)
{
	load_stack(c, A, STACK_TYPE);
	emit(c, BPF_JMP | BPF_JNE | BPF_K, A, 0, 2, 0);
	emit_take(c, p, DATA, (int16_t)p->k); /* 2 instructions */
	emit(c, BPF_ALU | BPF_AND | BPF_K, A, 0, 0, 0xffff);
}

/* Loads of the fast copy. False: the load is never possible there, and the code has gone elsewhere. */
static bool emit_fast_load(struct ctx *c, uint32_t i, struct known *k)
{
	const struct flt_cbpf *p = &c->in[i];
	uint32_t own = p->k + load_bytes(p), want;

	if (c->inside && reads_macs(p)) {
		emit_take(c, p, MAC, (int16_t)p->k);
		return true;
	}
	if (own > OFFSET_MAX || (c->inside && p->k < TYPE_END && !reads_type(p))) {
		jump(c, LABEL_SLOW, i);
		return false;
	}
	if (is_abs(p)) {
		if (k->abs < own) {
			want = SKEP_MIN(SKEP_MAX(own, c->need_abs[i]), OFFSET_MAX);
			mov64(c, R0, DATA);
			emit(c, BPF_ALU64 | BPF_ADD | BPF_K, R0, 0, 0, (int32_t)want);
			aim(c, LABEL_SLOW, i);
			emit(c, BPF_JMP | BPF_JGT | BPF_X, R0, END, 0, 0);
			k->abs = want;
		}
		if (c->inside && reads_type(p))
			emit_take_type(c, p);
		else
			emit_take(c, p, DATA, (int16_t)p->k);
		return true;
	}
	if (k->ind < own) {
		want = SKEP_MIN(SKEP_MAX(own, c->need_ind[i]), OFFSET_MAX);
		if (k->x_max > OFFSET_MAX) {
			aim(c, LABEL_SLOW, i);
			emit(c, BPF_JMP | BPF_JGT | BPF_K, X, 0, 0, OFFSET_MAX);
			k->x_max = OFFSET_MAX;
		}
		mov64(c, IND, DATA);
		emit(c, BPF_ALU64 | BPF_ADD | BPF_X, IND, X, 0, 0);
		mov64(c, R0, IND);
		emit(c, BPF_ALU64 | BPF_ADD | BPF_K, R0, 0, 0, (int32_t)want);
		aim(c, LABEL_SLOW, i);
		emit(c, BPF_JMP | BPF_JGT | BPF_X, R0, END, 0, 0);
		k->ind = want;
	}
	emit_take(c, p, IND, (int16_t)p->k);
	return true;
}

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

static uint32_t add_max(uint32_t a, uint32_t b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/* Upper bounds of A and X behind an instruction; the verifier knows at least as much on each single path. */
static void learn(const struct flt_cbpf *p, struct known *k)
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

static void meet(struct known *into, const struct known *from)
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
			n_to = emit_fast_load(c, i, &k) ? n_to : 0;
		else if (is_jump(p))
			emit_jump(c, i, LABEL_FAST);
		else
			emit_plain(c, p);
		learn(p, &k);
		for (int j = 0; j < n_to; j++)
			meet(&c->known[to[j]], &k);
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
			emit_slow_load(c, p);
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
	r = check(&c, err);
	if (r)
		return r;
	emit_entry(&c);
	plan_guards(&c, far_abs, far_ind);
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
