/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between us and a stream command stands a keeper: a forked process that does nothing but wait. It exists
 * because after the start we have dropped the right to signal a process that runs as somebody else, and
 * because the command must end when we are killed (-9) too: the keeper sees its control socket close,
 * whatever closed it. It keeps the user that we had when it was made, holds no descriptor of ours but that
 * socket, and uses async-signal-safe calls only, since the process it is forked from may have threads.
 *
 * The group's number stays ours until the last member is reaped, so no signal can reach a stranger. The
 * keeper is the reaper of orphans of the command; what makes itself a group or session of its own has left
 * our care.
 */
#include "capture/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define GRACE_MS 2000
#define STEP_MS 10
#define CTL_FD 3
/* Room for a stream while the worker is elsewhere; the default is 64 KiB. */
#define PIPE_BYTES (1 << 20)

static void default_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)signal(s, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void be_command(const char *command, int out)
{
	const int null = open("/dev/null", O_RDONLY);

	default_signals();
	if (setpgid(0, 0) < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    syscall(SYS_close_range, 3u, ~0u, 0u) < 0)
		_exit(126);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* Waits until the group has no member left, at most ms. */
static bool reap_group(pid_t group, int ms)
{
	for (;; ms -= STEP_MS) {
		const pid_t r = waitpid(-group, NULL, WNOHANG);

		if (r < 0 && errno == ECHILD)
			return true;
		if (r > 0)
			continue;
		if (ms <= 0)
			return false;
		(void)poll(NULL, 0, STEP_MS);
	}
}

/* The status is reported once and without reaping, so that the group's number is not given away. */
static void watch(pid_t child)
{
	const int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	struct pollfd fds[2] = { { .fd = CTL_FD, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };

	for (;;) {
		siginfo_t info = { 0 };
		int status;

		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			return;
		if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT | WNOHANG) < 0 || info.si_pid == 0)
			continue;
		status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
		(void)send(CTL_FD, &status, sizeof(status), MSG_NOSIGNAL);
		fds[1].fd = -1;
	}
}

static _Noreturn void be_keeper(const char *command, int ctl, int out)
{
	pid_t child;

	/* Ctrl-C is for the program, which then stops the command. */
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)signal(SIGCHLD, SIG_DFL); /* ignored would mean reaped by the kernel */
	child = fork();
	if (child == 0)
		be_command(command, out);
	/* From here on only the control socket, and the standard ones that the command has too. */
	if (child < 0 || dup2(ctl, CTL_FD) < 0)
		_exit(1);
	(void)syscall(SYS_close_range, CTL_FD + 1u, ~0u, 0u);
	(void)close(STDIN_FILENO);
	(void)close(STDOUT_FILENO);
	(void)setpgid(child, child); /* in both, so that it holds whoever comes first */
	for (int s = 1; s < NSIG; s++)
		if (s != SIGCHLD)
			(void)signal(s, SIG_IGN);
	watch(child);
	(void)kill(-child, SIGTERM);
	if (!reap_group(child, GRACE_MS)) {
		(void)kill(-child, SIGKILL);
		(void)reap_group(child, GRACE_MS);
	}
	_exit(0);
}

int cap_child_run(const char *command, struct cap_child *ret, struct skep_err *err)
{
	_skep_close_ int ctl = -1;
	_skep_close_ int ctl_far = -1;
	_skep_close_ int in = -1;
	_skep_close_ int out = -1;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return skep_err_set(err, -errno, "stream command: %s", strerror(errno));
	ctl = pair[0];
	ctl_far = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return skep_err_set(err, -errno, "stream command: %s", strerror(errno));
	in = pair[0];
	out = pair[1];
	(void)fcntl(out, F_SETPIPE_SZ, PIPE_BYTES);
	pid = fork();
	if (pid < 0)
		return skep_err_set(err, -errno, "stream command: %s", strerror(errno));
	if (pid == 0)
		be_keeper(command, ctl_far, out);
	*ret = (struct cap_child){ .pid = pid, .ctl = TAKE_FD(ctl), .out = TAKE_FD(in) };
	return 0;
}

bool cap_child_ended(struct cap_child *k, int timeout_ms)
{
	struct pollfd pfd = { .fd = k->ctl, .events = POLLIN };

	if (k->ended || k->ctl < 0)
		return k->ended;
	if (poll(&pfd, 1, timeout_ms) > 0 &&
	    recv(k->ctl, &k->status, sizeof(k->status), MSG_DONTWAIT) == sizeof(k->status))
		k->ended = true;
	return k->ended;
}

void cap_child_stop(struct cap_child *k)
{
	skep_closep(&k->ctl);
	skep_closep(&k->out);
	if (k->pid > 0)
		while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
			;
	k->pid = -1;
}
