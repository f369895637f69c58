/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Children. Each gets default signals, no descriptor of ours but the three, and no shell in between. What a
 * child may use is bounded from outside (prlimit, a deadline, the length of the answer), so that a request
 * over HTTP never costs more than was meant. Any thread; every child that is not detached is waited for by
 * who started it, and by pid only.
 */
#include "control/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* out and errors become descriptors 1 and 2; session: a session of its own, else a process group. */
static int start(const struct ctl_run *run, int out, int errors, bool session, pid_t *ret,
		 struct skep_err *err)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	char path[512];
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", run->dir, run->args[0]) >= sizeof(path))
		return skep_err_set(err, -ENAMETOOLONG, "%s: the path is too long", run->args[0]);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	r = r ?: posix_spawn_file_actions_adddup2(&actions, out, 1);
	r = r ?: posix_spawn_file_actions_adddup2(&actions, errors, 2);
	r = r ?: posix_spawnattr_setsigmask(&attr, &none);
	r = r ?: posix_spawnattr_setsigdefault(&attr, &all);
	r = r ?: posix_spawnattr_setpgroup(&attr, 0);
	r = r
		    ?: posix_spawnattr_setflags(
			       &attr, (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
					      (session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP)));
	r = r ?: posix_spawn(ret, path, &actions, &attr, (char *const *)(uintptr_t)run->args, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (r == ENOENT) {
		skep_err_set(err, SKEP_E_NOT_FOUND, "%s: there is no such program", path);
		return skep_err_hint(err, "set [probe] programs to the directory that has it");
	}
	if (r)
		return skep_err_set(err, -r, "%s: cannot be started: %s", path, strerror(r));
	if (run->cpu_s) {
		struct rlimit limit = { .rlim_cur = run->cpu_s, .rlim_max = run->cpu_s };

		(void)prlimit(*ret, RLIMIT_CPU, &limit, NULL);
	}
	return 0;
}

/* Keeps the end of what the child says. */
static void keep_said(struct ctl_answer *answer, const char *text, size_t n)
{
	size_t have = strlen(answer->said), room = sizeof(answer->said) - 1;

	if (n > room) {
		text += n - room;
		n = room;
	}
	if (have + n > room) {
		memmove(answer->said, answer->said + have + n - room, room - n);
		have = room - n;
	}
	memcpy(answer->said + have, text, n);
	answer->said[have + n] = '\0';
}

/* Reads what there is. 1: more may come; 0: the end; -EFBIG, -ENOMEM. */
static int take(int fd, struct ctl_answer *answer, size_t max, bool is_error)
{
	char chunk[4096];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	char *out;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : 0;
	if (n == 0)
		return 0;
	if (is_error) {
		keep_said(answer, chunk, (size_t)n);
		return 1;
	}
	if (answer->out_len + (size_t)n > max)
		return -EFBIG;
	out = realloc(answer->out, answer->out_len + (size_t)n + 1);
	if (!out)
		return -ENOMEM;
	answer->out = out;
	memcpy(out + answer->out_len, chunk, (size_t)n);
	answer->out_len += (size_t)n;
	out[answer->out_len] = '\0';
	return 1;
}

/* Until both pipes have ended, or something is wrong: -ETIME, -EFBIG, -ENOMEM. */
static int collect(const struct ctl_run *run, int out, int errors, struct ctl_answer *answer)
{
	uint64_t until = now_ms() + (run->wall_ms ? run->wall_ms : UINT32_MAX);
	struct pollfd fds[2] = { { .fd = out, .events = POLLIN }, { .fd = errors, .events = POLLIN } };

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		uint64_t now = now_ms();

		if (now >= until)
			return -ETIME;
		if (poll(fds, 2, (int)SKEP_MIN(until - now, (uint64_t)1000)) <= 0)
			continue;
		for (int i = 0; i < 2; i++) {
			int r;

			if (!fds[i].revents)
				continue;
			r = take(fds[i].fd, answer, run->answer_max_bytes, i == 1);
			if (r < 0)
				return r;
			if (r == 0)
				fds[i].fd = -1;
		}
	}
	return 0;
}

void ctl_process_end(pid_t pid)
{
	(void)kill(-pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int ctl_process_wait(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool ctl_process_ended(pid_t *pid, int *ret_code)
{
	int status = 0;

	if (waitpid(*pid, &status, WNOHANG) != *pid)
		return false;
	*pid = 0;
	*ret_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	return true;
}

int ctl_process_run(const struct ctl_run *run, struct ctl_answer *ret, struct skep_err *err)
{
	_skep_close_ int out_r = -1, out_w = -1, err_r = -1, err_w = -1;
	struct ctl_answer answer = { .exit_code = -1 };
	int pipe_out[2], pipe_err[2], r;
	pid_t pid;

	if (pipe2(pipe_out, O_CLOEXEC) < 0)
		return skep_err_set(err, -errno, "no pipe: %s", strerror(errno));
	out_r = pipe_out[0];
	out_w = pipe_out[1];
	if (pipe2(pipe_err, O_CLOEXEC) < 0)
		return skep_err_set(err, -errno, "no pipe: %s", strerror(errno));
	err_r = pipe_err[0];
	err_w = pipe_err[1];
	r = start(run, out_w, err_w, false, &pid, err);
	if (r)
		return r;
	skep_closep(&out_w);
	skep_closep(&err_w);
	r = collect(run, out_r, err_r, &answer);
	if (r) {
		ctl_process_end(pid);
		free(answer.out);
		return skep_err_set(err, r == -ETIME ? SKEP_E_BUSY : r, "%s: %s", run->args[0],
				    r == -ETIME	  ? "it took too long and was ended"
				    : r == -EFBIG ? "its answer is too long"
						  : strerror(-r));
	}
	answer.exit_code = ctl_process_wait(pid);
	*ret = answer;
	return 0;
}

int ctl_process_detach(const struct ctl_run *run, const char *log_path, pid_t *ret_pid, struct skep_err *err)
{
	_skep_close_ int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	if (log < 0)
		return skep_err_set(err, -errno, "%s: cannot be opened: %s", log_path, strerror(errno));
	return start(run, log, log, true, ret_pid, err);
}
