/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_REDUCE_H
#define FLT_REDUCE_H
/*
 * Sampling and per-flow cut-off, per job, in XDP (bpf/reduce.bpf.c, progs[SKEP_PROG_REDUCE] of a link). The
 * same for sources without XDP: reducer.h. bpf/abi/skep_reduce_flow.h says what a flow is.
 *
 * Control thread; open needs CAP_BPF and CAP_NET_ADMIN, nothing after it needs privileges.
 */
#include "bpf/abi/skep_reduce.h"
#include "common/err.h"

#include <stdbool.h>

/*
 * Flows remembered for the cut-off: of all jobs of a link in XDP (8 MiB), of one job and worker in user space
 * (4 MiB).
 */
#define FLT_REDUCE_FLOWS 65536u

/* What a job asks for; all zero: nothing is taken away. Sampling first, the cut-off sees what is left. */
struct flt_reduction {
	uint32_t sample_every;	/* one of so many; 0 and 1: all */
	bool sample_by_flow;	/* of flows, not of packets */
	uint64_t cutoff_pkts;	/* of each flow; 0: no limit */
	uint64_t cutoff_bytes;	/* of each flow, on the wire; what reaches it is the last */
};

struct flt_reduce_account {
	uint64_t matched_pkts;	   /* came here: the filter wanted them */
	uint64_t sampled_out_pkts;
	uint64_t cut_off_pkts;
	uint64_t flows;		   /* begun, as the cut-off counts: one that was forgotten begins again */
};

static inline bool flt_reduction_any(const struct flt_reduction *r)
{
	return r->sample_every > 1 || r->cutoff_pkts || r->cutoff_bytes;
}

struct flt_reduce;

/* Maps of bpf/prefilter.bpf.c; borrowed for the call. */
struct flt_reduce_cfg {
	int progs_fd;
	int scratch_fd;
	int counters_fd;
	uint32_t rejected_action;
	uint32_t flows; /* remembered; 0: FLT_REDUCE_FLOWS */
	uint64_t seed;	/* of flow hashes, one for all links that should choose the same flows; 0: random */
};

/* Loads the program. Nothing is reduced until set() and until the program is in progs[SKEP_PROG_REDUCE]. */
int flt_reduce_open(const struct flt_reduce_cfg *cfg, struct flt_reduce **ret, struct skep_err *err);
/* Takes NULL, returns NULL. */
struct flt_reduce *flt_reduce_close(struct flt_reduce *reduce);
/* For progs[SKEP_PROG_REDUCE]; stays the reduce's own. */
int flt_reduce_prog_fd(const struct flt_reduce *reduce);

/*
 * What the job in the slot asks for, from the next frame on, and its counters at zero. NULL: nothing. Order
 * for a job that comes: set, then the program in slot CLASSIFY that names it; for one that goes: the program
 * without it, account, then set NULL.
 */
int flt_reduce_set(struct flt_reduce *reduce, uint32_t slot, const struct flt_reduction *reduction,
		   struct skep_err *err);
/* Exact while no frame passes. A slot with nothing to reduce counts nothing. */
int flt_reduce_account(const struct flt_reduce *reduce, uint32_t slot, struct flt_reduce_account *ret);
/*
 * Flows of all jobs that were forgotten to make room for others since open, at least; if they go on they get
 * their first packets again. Looks through the whole table.
 */
int flt_reduce_forgotten(const struct flt_reduce *reduce, uint64_t *ret_flows);

#endif
