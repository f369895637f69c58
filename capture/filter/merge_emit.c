/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An assembler of a page: appends instructions to a growing list, and knows labels, so that nobody counts
 * distances. It knows nothing of filters. Any thread; no state but the list.
 */
#include "capture/filter/merge_emit.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

void flt_emit_done(struct flt_emit *e)
{
	free(e->v);
	free(e->labels);
	free(e->fixes);
	*e = (struct flt_emit){ 0 };
}

/* Room for n more members of `size` bytes in *v, or `failed`. */
static bool grow(struct flt_emit *e, void *v, uint32_t n, uint32_t *cap, size_t size)
{
	uint32_t wanted = SKEP_MAX(n, *cap ? *cap * 2 : 256);
	void *p;

	if (n <= *cap)
		return true;
	p = realloc(*(void **)v, wanted * size);
	if (!p) {
		e->failed = true;
		return false;
	}
	*(void **)v = p;
	*cap = wanted;
	return true;
}

void flt_emit_copy(struct flt_emit *e, const struct flt_ebpf *v, uint32_t n)
{
	if (!grow(e, &e->v, e->n + n, &e->cap, sizeof(*e->v)))
		return;
	memcpy(e->v + e->n, v, n * sizeof(*v));
	e->n += n;
}

void flt_emit(struct flt_emit *e, struct flt_ebpf insn)
{
	flt_emit_copy(e, &insn, 1);
}

uint32_t flt_emit_label(struct flt_emit *e)
{
	if (!grow(e, &e->labels, e->n_labels + 1, &e->cap_labels, sizeof(*e->labels)))
		return 0;
	e->labels[e->n_labels] = UINT32_MAX;
	return e->n_labels++;
}

void flt_emit_here(struct flt_emit *e, uint32_t label)
{
	if (!e->failed)
		e->labels[label] = e->n;
}

void flt_emit_to(struct flt_emit *e, struct flt_ebpf insn, uint32_t label)
{
	if (!grow(e, &e->fixes, e->n_fixes + 1, &e->cap_fixes, sizeof(*e->fixes)))
		return;
	e->fixes[e->n_fixes++] = (struct flt_emit_fix){ .at = e->n, .label = label };
	flt_emit(e, insn);
}

int flt_emit_finish(struct flt_emit *e)
{
	if (e->failed)
		return -ENOMEM;
	for (uint32_t i = 0; i < e->n_fixes; i++) {
		const struct flt_emit_fix *f = &e->fixes[i];
		int64_t off = (int64_t)e->labels[f->label] - f->at - 1;

		if (e->v[f->at].code == (BPF_JMP | BPF_CALL)) {
			e->v[f->at].imm = (int32_t)off;
			continue;
		}
		if (off > INT16_MAX || off < INT16_MIN)
			return -E2BIG;
		e->v[f->at].off = (int16_t)off;
	}
	return 0;
}

void flt_emit_alu(struct flt_emit *e, uint8_t op, enum flt_reg dst, enum flt_reg src)
{
	flt_emit(e, (struct flt_ebpf){ .code = BPF_ALU64 | op | BPF_X, .dst = dst, .src = src });
}

void flt_emit_alu_imm(struct flt_emit *e, uint8_t op, enum flt_reg dst, int32_t imm)
{
	flt_emit(e, (struct flt_ebpf){ .code = BPF_ALU64 | op | BPF_K, .dst = dst, .imm = imm });
}

void flt_emit_load(struct flt_emit *e, uint8_t size, enum flt_reg dst, enum flt_reg base, int32_t off)
{
	flt_emit(e, (struct flt_ebpf){
			    .code = BPF_LDX | BPF_MEM | size, .dst = dst, .src = base, .off = (int16_t)off });
}

void flt_emit_store(struct flt_emit *e, uint8_t size, enum flt_reg base, int32_t off, enum flt_reg src)
{
	flt_emit(e, (struct flt_ebpf){
			    .code = BPF_STX | BPF_MEM | size, .dst = base, .src = src, .off = (int16_t)off });
}

void flt_emit_store_imm(struct flt_emit *e, uint8_t size, int32_t fp_off, int32_t imm)
{
	flt_emit(e, (struct flt_ebpf){ .code = BPF_ST | BPF_MEM | size,
				       .dst = FLT_FP,
				       .off = (int16_t)fp_off,
				       .imm = imm });
}

void flt_emit_mov(struct flt_emit *e, enum flt_reg dst, enum flt_reg src)
{
	flt_emit_alu(e, BPF_MOV, dst, src);
}

void flt_emit_mov_imm(struct flt_emit *e, enum flt_reg dst, int32_t imm)
{
	flt_emit_alu_imm(e, BPF_MOV, dst, imm);
}

/* The one instruction of two slots: a number, a map (imm = descriptor) or an address in a map's value. */
static void wide(struct flt_emit *e, enum flt_reg dst, uint8_t kind, uint32_t low, uint32_t high)
{
	flt_emit(e,
		 (struct flt_ebpf){
			 .code = BPF_LD | BPF_DW | BPF_IMM, .dst = dst, .src = kind, .imm = (int32_t)low });
	flt_emit(e, (struct flt_ebpf){ .imm = (int32_t)high });
}

void flt_emit_const(struct flt_emit *e, enum flt_reg dst, uint64_t value)
{
	wide(e, dst, 0, (uint32_t)value, (uint32_t)(value >> 32));
}

void flt_emit_map(struct flt_emit *e, enum flt_reg dst, int fd)
{
	wide(e, dst, BPF_PSEUDO_MAP_FD, (uint32_t)fd, 0);
}

void flt_emit_map_value(struct flt_emit *e, enum flt_reg dst, int fd, uint32_t at)
{
	wide(e, dst, BPF_PSEUDO_MAP_VALUE, (uint32_t)fd, at);
}

void flt_emit_helper(struct flt_emit *e, int32_t id)
{
	flt_emit(e, (struct flt_ebpf){ .code = BPF_JMP | BPF_CALL, .imm = id });
}

void flt_emit_call(struct flt_emit *e, uint32_t label)
{
	flt_emit_to(e, (struct flt_ebpf){ .code = BPF_JMP | BPF_CALL, .src = BPF_PSEUDO_CALL }, label);
}

void flt_emit_exit(struct flt_emit *e)
{
	flt_emit(e, (struct flt_ebpf){ .code = BPF_JMP | BPF_EXIT });
}

void flt_emit_ja(struct flt_emit *e, uint32_t label)
{
	flt_emit_to(e, (struct flt_ebpf){ .code = BPF_JMP | BPF_JA }, label);
}

void flt_emit_if_imm(struct flt_emit *e, uint8_t op, enum flt_reg dst, int32_t imm, uint32_t label)
{
	flt_emit_to(e, (struct flt_ebpf){ .code = BPF_JMP | op | BPF_K, .dst = dst, .imm = imm }, label);
}

void flt_emit_if(struct flt_emit *e, uint8_t op, enum flt_reg dst, enum flt_reg src, uint32_t label)
{
	flt_emit_to(e, (struct flt_ebpf){ .code = BPF_JMP | op | BPF_X, .dst = dst, .src = src }, label);
}
