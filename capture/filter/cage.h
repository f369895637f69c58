/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_CAGE_H
#define FLT_CAGE_H
/*
 * A child process that may think, read files and write to one pipe: nothing else, and not for long.
 */
#include "common/err.h"

#include <stddef.h>

struct flt_cage {
	/* Runs in the child; writes its answer to fd. What it leaks ends with the process. */
	void (*work)(int fd, void *arg);
	void *arg;
	int cpu_ms;	   /* killed when it has used this much processor time */
	int wall_ms;	   /* killed when this much time has passed */
	size_t add_bytes;  /* address space it may add to what it inherits */
	size_t max_answer; /* longer answers are cut here */
};

/*
 * Runs the work and collects what it wrote until it ended or was killed. Returns 0 with the answer (may be
 * empty or cut short: the caller checks; ret_answer is freed by the caller) and whether time was up, or
 * -errno if no child could be made. Any thread; the child inherits no signal handlers.
 */
int flt_cage_run(const struct flt_cage *cage, char **ret_answer, size_t *ret_len, int *ret_timed_out,
		 struct skep_err *err);

#endif
