/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_CHILD_H
#define CAP_CHILD_H
/*
 * Runs a command by /bin/sh -c in a process group of its own, with its stdout in our hands, and makes sure
 * that nothing of it is left.
 */
#include "common/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct cap_child {
	pid_t pid; /* of the keeper, not of the command */
	int ctl;   /* closing it ends the command */
	int out;   /* the command's stdout; may be taken (set to -1) */
	bool ended;
	int status; /* as waitpid gives it, once ended */
};

#define CAP_CHILD_NULL                                                                                       \
	{                                                                                                    \
		.pid = -1, .ctl = -1, .out = -1                                                              \
	}

SKEP_MUST_CHECK int cap_child_run(const char *command, struct cap_child *ret, struct skep_err *err);
/* Has the command ended? Waits at most timeout_ms. */
bool cap_child_ended(struct cap_child *k, int timeout_ms);
/* SIGTERM to the group, two seconds, SIGKILL; returns when nothing is left. */
void cap_child_stop(struct cap_child *k);

#endif
