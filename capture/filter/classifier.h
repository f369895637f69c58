/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_CLASSIFIER_H
#define FLT_CLASSIFIER_H
/*
 * All jobs of a link as one XDP program: which of them want the frame. It sits in a slot of the prefilter's
 * PROG_ARRAY, so that changing the set of jobs is one map update and loses no packet.
 */
#include "capture/filter/translate.h"

/*
 * Where code->terms are exact, the job is merged with the others and the code itself is not used; elsewhere
 * they say which frames it needs to be asked about.
 */
struct flt_job {
	uint32_t slot;		     /* bit of the mask, 0 to 63 */
	const struct flt_code *code; /* of flt_translate with FLT_LENGTH_FRAME; borrowed for the call */
	/*
	 * SKEP_INNER_* kinds that the job looks inside, and the same filter of flt_translate_inside for what
	 * is there; 0 and NULL: none. Where it is is read from scratch.inner, so progs[SKEP_PROG_LOOK] has to
	 * find it. A frame that nothing is in costs no more than without.
	 */
	uint32_t inside;
	const struct flt_code *inside_code;
};

/*
 * Where the program finds its surroundings: maps of bpf/abi. Every frame adds one to generations[generation].
 * The mask of the frame goes to scratch.jobs, then the program tail-calls progs[SKEP_PROG_REDUCE], or where
 * that is empty progs[SKEP_PROG_DELIVER]. A frame that no job wants need not be in scratch; it adds one to
 * the u64 at rejected_offset of counters[queue] and ends with rejected_action.
 */
struct flt_surroundings {
	int progs_fd;
	int scratch_fd;
	int generations_fd;
	uint32_t generation;
	int counters_fd;
	uint32_t rejected_offset;
	uint32_t rejected_action;
};

/*
 * Merges what can be merged, puts the programs of the other jobs together and loads the result. Jobs with the
 * same program share it. Without any job everything is rejected. Returns 0 with a program descriptor; -EPERM,
 * or the verifier's refusal in err.
 */
int flt_classifier_load(const struct flt_job *jobs, uint32_t n, const struct flt_surroundings *s, int *ret_fd,
			struct skep_err *err);

#endif
