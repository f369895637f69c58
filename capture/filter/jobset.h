/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_JOBSET_H
#define FLT_JOBSET_H
/*
 * The filters of all jobs of one link, compiled, and the programs that run them on the link. A change is made
 * in two steps: put and drop change the set, commit makes the link run it, by one map update, so that no
 * frame sees a half-changed set.
 *
 * Whoever calls needs CAP_BPF and CAP_NET_ADMIN for commit. One thread.
 */
#include "capture/filter/reduce.h"

struct flt_jobset;

/* Maps of bpf/prefilter.bpf.c; borrowed for the life of the set. */
struct flt_jobset_maps {
	int progs_fd;
	int scratch_fd;
	int generations_fd;
	int counters_fd;
	uint32_t rejected_action;
};

struct flt_job_spec {
	uint32_t slot;	    /* bit of the mask; free */
	const char *filter; /* NULL or empty: everything */
	uint32_t inside;    /* SKEP_INNER_* kinds of packets inside that the filter also looks at */
	struct flt_reduction reduction;
	bool again;	    /* the job was here before, in this slot: what it counts goes on */
};

/*
 * With `everything` the programs and maps of all that a job can ask for are made now, so that they can be
 * shared with a child process; without, what is needed when it is needed.
 */
int flt_jobset_new(const struct flt_jobset_maps *maps, bool everything, struct flt_jobset **ret,
		   struct skep_err *err);
/* Takes NULL, returns NULL. The programs on the link stay as they are. */
struct flt_jobset *flt_jobset_free(struct flt_jobset *set);

/*
 * Compiles the job's filter for Ethernet and takes it into the set. SKEP_E_USAGE with column and hint where
 * the filter is wrong; the set is then as it was.
 */
int flt_jobset_put(struct flt_jobset *set, const struct flt_job_spec *spec, struct skep_err *err);
void flt_jobset_drop(struct flt_jobset *set, uint32_t slot);
/*
 * Makes the link run the set, counting in `generation` (below SKEP_GENERATIONS; nobody else counts there).
 * When it returns 0, frames are already judged by the new set, and programs of the old one may still be
 * running on other CPUs for the rest of their frame. On failure the old set runs on.
 */
int flt_jobset_commit(struct flt_jobset *set, uint32_t generation, struct skep_err *err);

/* What sampling and cut-off took away of the job's packets, since put. Zero where it asks for neither. */
void flt_jobset_reduced(const struct flt_jobset *set, uint32_t slot, struct flt_reduce_account *ret);

/*
 * Flows that were forgotten to make room for others: QUIC flows, whose later packets `quic` then missed, and
 * flows that a cut-off then let begin again. Looks through the tables; exact while no frame passes.
 */
void flt_jobset_forgotten(const struct flt_jobset *set, uint64_t *ret_quic, uint64_t *ret_cut_off);

#endif
