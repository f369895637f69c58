/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_BPF_REDUCE_H
#define SKEP_BPF_REDUCE_H
/*
 * Sampling and per-flow cut-off of a job: the border of bpf/reduce.bpf.c, and the decisions that user space
 * makes in the same way.
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
	SKEP_ABI_U64 turn;  /* sampling by packet: matched packets until the next that is taken */
};

#endif
