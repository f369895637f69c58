/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_GUARD_STATE_H
#define CAP_GUARD_STATE_H
/*
 * What an engine has changed on one link, in a file that is written before the change and removed after it
 * was undone: <state dir>/link-<inode of the network namespace>-<interface>.json. Internal to guard.c.
 */
#include "common/err.h"

#include <net/if.h>
#include <stdbool.h>
#include <sys/types.h>

/* An engine changes at most the four offloads of guard.h per link. */
#define CAP_GUARD_CHANGES 8

struct cap_guard_engine {
	pid_t pid;
	uint64_t start; /* field 22 of /proc/PID/stat, ticks since boot: with the pid it names one process */
	char boot[40];	/* /proc/sys/kernel/random/boot_id */
};

struct cap_guard_change {
	char feature[32];
	bool was;
	bool set;
};

struct cap_guard_state {
	struct cap_guard_engine engine;
	uint64_t netns;
	char link[IF_NAMESIZE];
	int ifindex;
	uint32_t n;
	struct cap_guard_change changes[CAP_GUARD_CHANGES];
};

/* -ESRCH: no such process. */
int cap_guard_engine_of(pid_t pid, struct cap_guard_engine *ret);
bool cap_guard_engine_alive(const struct cap_guard_engine *e);

void cap_guard_state_path(const struct cap_guard_state *s, char *ret,
			  size_t size); /* relative to the state dir */
int cap_guard_state_write(int dir_fd, const struct cap_guard_state *s, struct skep_err *err);
/* -ENOENT: no such file; SKEP_E_BAD_DATA. */
int cap_guard_state_read(int dir_fd, const char *path, struct cap_guard_state *ret, struct skep_err *err);
/* Undoes, last change first, what is still as the engine left it; appends to said what failed. ioctl_fd: of
 * the link's namespace. */
int cap_guard_state_undo(int ioctl_fd, const struct cap_guard_state *s, char *said, size_t size);

#endif
