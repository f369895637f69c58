/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_MERGE_CODE_H
#define FLT_MERGE_CODE_H
/*
 * The instructions that read a frame once and look its fields up in flt_tables.
 */
#include "capture/filter/merge_emit.h"
#include "capture/filter/merge_tables.h"

struct flt_merge_code {
	const struct flt_tables *tables;
	int tables_fd; /* array map of one value, tables->bytes */
	/* Functions `u64 f(struct xdp_md *)` for frames of a class that end early or lie in several buffers.
	 */
	uint32_t slow[FLT_CLASSES];
	bool has_slow[FLT_CLASSES];
};

/*
 * In: r6 the context. Goes to label `ask` with r8 = jobs whose terms hold the frame and r9 = jobs that must
 * be asked themselves, or where there are none to `done` with the jobs in r7. Spoils all registers but r6,
 * and no stack.
 */
void flt_merge_put(struct flt_emit *e, struct flt_merge_code *m, uint32_t ask, uint32_t done);
/* Writes the slow functions that flt_merge_put calls; *ret_at[class] is where each begins. */
void flt_merge_put_slow(struct flt_emit *e, const struct flt_merge_code *m, uint32_t ret_at[FLT_CLASSES]);

#endif
