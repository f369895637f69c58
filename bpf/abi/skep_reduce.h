/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_BPF_REDUCE_H
#define SKEP_BPF_REDUCE_H
/*
 * Sampling and per-flow cut-off of a job: the border of bpf/reduce.bpf.c, and what user space decides in the
 * same way. Which flow a frame is of: skep_reduce_flow.h.
 */
#include "bpf/abi/skep_abi.h"

#define SKEP_REDUCE_BY_FLOW 0x1u

/* Per job slot (map "reductions": ARRAY of SKEP_MAX_JOBS). */
struct skep_reduce_job {
	SKEP_ABI_U32 sample_every; /* 0 and 1: all */
	SKEP_ABI_U32 flags;	   /* SKEP_REDUCE_* */
	SKEP_ABI_U64 cutoff_pkts;  /* 0: no limit */
	SKEP_ABI_U64 cutoff_bytes;
	SKEP_ABI_U32 epoch;	   /* tells the flows of this job from those of the slot's earlier ones */
	SKEP_ABI_U32 zero;
};

/* Per job slot and CPU (map "reduced": PERCPU_ARRAY of SKEP_MAX_JOBS). */
struct skep_reduce_counters {
	SKEP_ABI_U64 matched;
	SKEP_ABI_U64 sampled_out;
	SKEP_ABI_U64 cut_off;
	SKEP_ABI_U64 flows; /* entries made */
	SKEP_ABI_U64 turn;  /* sampling by packet: packets to leave out until the next that is taken */
};

#define SKEP_REDUCE_INLINE static inline __attribute__((always_inline, unused))

/* Is it this packet's turn? Exactly one of any sample_every packets in a row; the first of all. */
SKEP_REDUCE_INLINE int skep_reduce_turn(SKEP_ABI_U64 *turn, SKEP_ABI_U32 every)
{
	if (*turn) {
		*turn -= 1;
		return 0;
	}
	*turn = every - 1;
	return 1;
}

/* Is the flow one of those that are taken? Of all hashes one in `every` parts (Lemire's multiply-shift). */
SKEP_REDUCE_INLINE int skep_reduce_chosen(SKEP_ABI_U64 hash, SKEP_ABI_U32 every)
{
	return (hash >> 32) * every >> 32 == 0;
}

/* Has the flow had what it may have? The packet that reaches a limit is the last that passes. */
SKEP_REDUCE_INLINE int skep_reduce_over(const struct skep_reduce_job *job, SKEP_ABI_U64 pkts,
					SKEP_ABI_U64 bytes)
{
	return (job->cutoff_pkts && pkts >= job->cutoff_pkts) ||
	       (job->cutoff_bytes && bytes >= job->cutoff_bytes);
}

#endif
