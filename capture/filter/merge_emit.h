/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_MERGE_EMIT_H
#define FLT_MERGE_EMIT_H
/*
 * Writes eBPF instructions, with labels. Out of memory is remembered and told by flt_emit_finish.
 */
#include "capture/filter/translate.h"

#include <stdbool.h>

enum flt_reg { FLT_R0, FLT_R1, FLT_R2, FLT_R3, FLT_R4, FLT_R5, FLT_R6, FLT_R7, FLT_R8, FLT_R9, FLT_FP };

struct flt_emit_fix {
	uint32_t at, label;
};

struct flt_emit {
	struct flt_ebpf *v;
	uint32_t n, cap;
	uint32_t *labels; /* where each is */
	uint32_t n_labels, cap_labels;
	struct flt_emit_fix *fixes;
	uint32_t n_fixes, cap_fixes;
	bool failed;
};

void flt_emit_done(struct flt_emit *e);

void flt_emit(struct flt_emit *e, struct flt_ebpf insn);
void flt_emit_copy(struct flt_emit *e, const struct flt_ebpf *v, uint32_t n);

uint32_t flt_emit_label(struct flt_emit *e);
/* The next instruction is what the label means. */
void flt_emit_here(struct flt_emit *e, uint32_t label);
/* A jump (its `off` is set) or a call of a function of the program (its `imm` is set) to the label. */
void flt_emit_to(struct flt_emit *e, struct flt_ebpf insn, uint32_t label);
/* Sets the distances. -ENOMEM; -E2BIG: one is too far. */
int flt_emit_finish(struct flt_emit *e);

/* op: BPF_ADD and the like, on 64 bits. */
void flt_emit_alu(struct flt_emit *e, uint8_t op, enum flt_reg dst, enum flt_reg src);
void flt_emit_alu_imm(struct flt_emit *e, uint8_t op, enum flt_reg dst, int32_t imm);
/* size: BPF_B, BPF_H, BPF_W or BPF_DW. */
void flt_emit_load(struct flt_emit *e, uint8_t size, enum flt_reg dst, enum flt_reg base, int32_t off);
void flt_emit_store(struct flt_emit *e, uint8_t size, enum flt_reg base, int32_t off, enum flt_reg src);
void flt_emit_store_imm(struct flt_emit *e, uint8_t size, int32_t fp_off, int32_t imm);
void flt_emit_mov(struct flt_emit *e, enum flt_reg dst, enum flt_reg src);
void flt_emit_mov_imm(struct flt_emit *e, enum flt_reg dst, int32_t imm);
void flt_emit_const(struct flt_emit *e, enum flt_reg dst, uint64_t value);
void flt_emit_map(struct flt_emit *e, enum flt_reg dst, int fd);
/* The address of a byte in the one value of an array map. */
void flt_emit_map_value(struct flt_emit *e, enum flt_reg dst, int fd, uint32_t at);
void flt_emit_helper(struct flt_emit *e, int32_t id);
void flt_emit_call(struct flt_emit *e, uint32_t label);
void flt_emit_exit(struct flt_emit *e);
void flt_emit_ja(struct flt_emit *e, uint32_t label);
/* op: BPF_JEQ and the like, on 64 bits; the number is sign-extended. */
void flt_emit_if_imm(struct flt_emit *e, uint8_t op, enum flt_reg dst, int32_t imm, uint32_t label);
void flt_emit_if(struct flt_emit *e, uint8_t op, enum flt_reg dst, enum flt_reg src, uint32_t label);

#endif
