/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a translated program gets at the packet: its beginning, and the loads of both copies. Programs for
 * packets inside differ from plain ones here and nowhere else. Invariant: a load that the fast copy makes
 * stands behind a guard that the verifier takes for a proof; every other goes to the slow copy. Any thread;
 * no state of its own.
 */
#include "capture/filter/translate_priv.h"

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

void flt_translate_entry(struct ctx *c)
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
void flt_translate_slow_load(struct ctx *c, const struct flt_cbpf *p)
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
bool flt_translate_fast_load(struct ctx *c, uint32_t i, struct known *k)
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
