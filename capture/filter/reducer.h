/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_REDUCER_H
#define FLT_REDUCER_H
/*
 * Sampling and per-flow cut-off in user space, for sources whose filters run there; the same decisions as in
 * XDP (reduce.h). One for each job and worker, the worker's alone: sampling by packet and the table of flows
 * are the worker's, as in XDP they are the CPU's and the link's. take() allocates nothing and cannot fail.
 */
#include "capture/filter/reduce.h"

struct flt_reducer;

/* -ENOMEM. flows 0: FLT_REDUCE_FLOWS; the table exists only where there is a cut-off. */
int flt_reducer_new(const struct flt_reduction *reduction, uint64_t seed, uint32_t flows,
		    struct flt_reducer **ret);
/* Takes NULL, returns NULL. */
struct flt_reducer *flt_reducer_free(struct flt_reducer *reducer);

/*
 * Is the frame that the job's filter wants still wanted? The first `len` bytes of it are in one piece at
 * `bytes`; 256 are enough for any flow that XDP sees, but for IPv6 with long extension headers.
 */
bool flt_reducer_take(struct flt_reducer *reducer, const uint8_t *bytes, uint32_t len, uint32_t wire_len);
void flt_reducer_account(const struct flt_reducer *reducer, struct flt_reduce_account *ret);
/* Flows that were forgotten to make room for others; if they go on they get their first packets again. */
uint64_t flt_reducer_forgotten(const struct flt_reducer *reducer);

#endif
