/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_PROCESS_H
#define CTL_PROCESS_H
/*
 * Other programs of ours, run for an answer, for output without an end, or to live longer than we do.
 */
#include "common/err.h"

#include <stdbool.h>

#include <sys/types.h>

#define CTL_ARGS_MAX 128

struct ctl_run {
	const char *dir;		/* where the program is */
	const char *args[CTL_ARGS_MAX]; /* args[0] is its name; NULL-terminated */
	uint32_t wall_ms, cpu_s;	/* killed after either; 0: no limit */
	size_t answer_max_bytes;	/* longer answers are an error */
	/* ctl_process_confined */
	uid_t owner_uid; /* whom it becomes, if we are root */
	gid_t owner_gid;
	const int *fds; /* it has these too, by the same numbers */
	uint32_t n_fds;
	bool writes; /* files too */
};

struct ctl_answer {
	int exit_code; /* -1: ended by a signal */
	char *out;     /* its standard output, ended with NUL; the caller's (free) */
	size_t out_len;
	char said[512]; /* the last lines of its standard error */
};

/* Runs and collects. 0, whatever the exit code; SKEP_E_NOT_FOUND, SKEP_E_BUSY (too slow), or -errno. */
int ctl_process_run(const struct ctl_run *run, struct ctl_answer *ret, struct skep_err *err);

struct ctl_pipes {
	pid_t pid;
	int out, errors; /* its standard output and error; the caller's */
};

/*
 * A program without any privilege, whose output is read while it runs (wall_ms does not count). It dies
 * with the calling thread.
 */
int ctl_process_confined(const struct ctl_run *run, struct ctl_pipes *ret, struct skep_err *err);
/* The first line that it wrote to its standard error, without its name; "": none. Waits for it, or its end. */
void ctl_process_words(const struct ctl_pipes *pipes, char *buf, size_t room);
/* SIGKILL to its group, and waits for it. */
void ctl_process_end(pid_t pid);
/* Waits for its end. The exit code; -1: ended by a signal. */
int ctl_process_wait(pid_t pid);
/* Has it ended? Then its exit code, as above, and *pid is 0. */
bool ctl_process_ended(pid_t *pid, int *ret_code);

/* A program in a session of its own, standard output and error into the file; it outlives us. */
int ctl_process_detach(const struct ctl_run *run, const char *log_path, pid_t *ret_pid, struct skep_err *err);

#endif
