/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_MERGE_BODY_H
#define FLT_MERGE_BODY_H
/*
 * A translated filter in the middle of other code, instead of behind a call.
 */
#include "capture/filter/merge_emit.h"

struct flt_body {
	struct flt_ebpf *v; /* owned */
	uint32_t n, n_fast;
	uint32_t label;	  /* of the first instruction; the others follow */
	uint32_t yes, no; /* labels */
};

/* The lowest offset from FP that the code uses; 0 or less. */
int32_t flt_body_stack(const struct flt_code *code);
/*
 * Writes the part of the code that frames usually take: in with r1 = context; out at label b->no, or right
 * behind, where b->yes means the next instruction. Spoils r0 to r9 and the stack down to flt_body_stack().
 */
void flt_body_put(struct flt_emit *e, struct flt_body *b, const struct flt_code *code, int scratch_fd);
/* Writes the rest, anywhere in the same function that nothing runs into. */
void flt_body_put_rest(struct flt_emit *e, const struct flt_body *b);
void flt_body_done(struct flt_body *b);

#endif
