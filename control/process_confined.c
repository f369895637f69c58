/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child for a stranger's request: it may read what it is given and what the owner of that may, and
 * nothing more. It has no capability and gets none, writes no file unless it is its work, has a bound on
 * its memory and processor time, and dies with the thread that started it, so also when we are killed. What
 * it is to read are open directories, /proc/self/fd/N to it: the way there may be closed to it.
 *
 * fork and exec rather than posix_spawn, which cannot give up privileges. Between the two only system calls
 * are made: other threads may hold any lock.
 */
#include "control/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define MEMORY_MAX_BYTES (2ull << 30)
#define CAPS_MAX 64

static void limit(int what, uint64_t most)
{
	const struct rlimit value = { .rlim_cur = most, .rlim_max = most };

	(void)setrlimit((__rlimit_resource_t)what, &value);
}

/* Without capabilities, whoever we are. false: it could not be given up. */
static bool give_up(const struct ctl_run *run)
{
	for (unsigned long cap = 0; cap < CAPS_MAX; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0,
			    0); /* needs CAP_SETPCAP; without it, what follows does */
	if (geteuid() == 0 && run->owner_uid != 0 &&
	    (syscall(SYS_setgroups, 0, NULL) < 0 ||
	     syscall(SYS_setresgid, run->owner_gid, run->owner_gid, run->owner_gid) < 0 ||
	     syscall(SYS_setresuid, run->owner_uid, run->owner_uid, run->owner_uid) < 0))
		return false;
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0;
}

static void become(const struct ctl_run *run, const char *path, int out, int errors)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	sigemptyset(&none);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(errors, 2) < 0 || setpgid(0, 0) < 0)
		_exit(127);
	for (uint32_t i = 0; i < run->n_fds; i++)
		(void)fcntl(run->fds[i], F_SETFD, 0);
	(void)signal(SIGPIPE, SIG_DFL);
	if (!give_up(run))
		_exit(127);
#ifndef __SANITIZE_ADDRESS__ /* its shadow is larger than any memory */
	limit(RLIMIT_AS, MEMORY_MAX_BYTES);
#endif
	limit(RLIMIT_CORE, 0);
	if (!run->writes)
		limit(RLIMIT_FSIZE, 0);
	if (run->cpu_s)
		limit(RLIMIT_CPU, run->cpu_s);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execv(path, (char *const *)(uintptr_t)run->args);
	_exit(127);
}

int ctl_process_confined(const struct ctl_run *run, struct ctl_pipes *ret, struct skep_err *err)
{
	_skep_close_ int out_r = -1, out_w = -1, err_r = -1, err_w = -1;
	int pipe_out[2], pipe_err[2];
	pid_t parent = getpid(), pid;
	char path[512];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", run->dir, run->args[0]) >= sizeof(path))
		return skep_err_set(err, -ENAMETOOLONG, "%s: the path is too long", run->args[0]);
	if (access(path, X_OK) < 0)
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%s: there is no such program", path);
	if (pipe2(pipe_out, O_CLOEXEC) < 0)
		return skep_err_set(err, -errno, "no pipe: %s", strerror(errno));
	out_r = pipe_out[0];
	out_w = pipe_out[1];
	if (pipe2(pipe_err, O_CLOEXEC) < 0)
		return skep_err_set(err, -errno, "no pipe: %s", strerror(errno));
	err_r = pipe_err[0];
	err_w = pipe_err[1];
	pid = fork();
	if (pid < 0)
		return skep_err_set(err, -errno, "%s: cannot be started: %s", path, strerror(errno));
	if (pid == 0) {
		if (getppid() != parent)
			_exit(127);
		become(run, path, out_w, err_w);
	}
	*ret = (struct ctl_pipes){ .pid = pid, .out = TAKE_FD(out_r), .errors = TAKE_FD(err_r) };
	return 0;
}

void ctl_process_words(const struct ctl_pipes *pipes, char *buf, size_t room)
{
	char text[400];
	ssize_t n = read(pipes->errors, text, sizeof(text) - 1);
	char *colon;

	text[SKEP_MAX(n, 0)] = '\0';
	text[strcspn(text, "\n")] = '\0';
	colon = !strncmp(text, "skep-", 5) ? strstr(text, ": ") : NULL;
	(void)snprintf(buf, room, "%s", colon ? colon + 2 : text);
}
