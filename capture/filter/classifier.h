/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_CLASSIFIER_H
#define FLT_CLASSIFIER_H
/*
 * All jobs of a link as one XDP program: which of them want the frame. It sits in a slot of the prefilter's
 * PROG_ARRAY, so that changing the set of jobs is one map update and loses no packet.
 */
#include "capture/filter/translate.h"

struct flt_job {
	uint32_t slot;		     /* bit of the mask, 0 to 63 */
	const struct flt_code *code; /* of flt_translate with FLT_LENGTH_FRAME; borrowed for the call */
};

/*
 * Where the program finds its surroundings. The mask of the frame goes to `verdict` (PERCPU_ARRAY, key 0, a
 * u64 at its beginning), then the program tail-calls progs[deliver_index]. A frame that no job wants adds one
 * to the u64 at rejected_offset of counters[queue] and ends with rejected_action.
 */
struct flt_surroundings {
	int verdict_fd;
	int progs_fd;
	uint32_t deliver_index;
	int counters_fd;
	uint32_t rejected_offset;
	uint32_t rejected_action;
};

/*
 * Links the jobs' programs (global subprograms: each is verified by itself) and loads the result. Jobs with
 * the same program share it. Returns 0 with a program descriptor; -EPERM, or the verifier's refusal in err.
 */
int flt_classifier_load(const struct flt_job *jobs, uint32_t n, const struct flt_surroundings *s, int *ret_fd,
			struct skep_err *err);

#endif
