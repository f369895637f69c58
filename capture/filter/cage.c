/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs somebody else's parser where it can do no harm: libpcap's compiler keeps global state, may ask the
 * DNS, recurses without bound and can run for minutes. The child has bounded processor time (ITIMER_PROF:
 * RLIMIT_CPU counts only whole seconds), bounded memory, and a seccomp filter that answers EPERM to
 * everything but memory, clocks, reading files and writing to descriptors it has: no socket, so no DNS
 * packet, whatever the name service switch is told to use.
 *
 * The parent never blocks longer than wall_ms. Whatever happens to the child is an answer that is too short.
 */
#include "capture/filter/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

/* Exit code of a child that could not lock itself in. */
#define NO_CAGE 99

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* setrlimit only lowers; an inherited lower limit stays. */
static void lower(int resource, rlim_t to)
{
	struct rlimit r;

	if (getrlimit(resource, &r) < 0)
		return;
	if (r.rlim_cur == RLIM_INFINITY || r.rlim_cur > to)
		r.rlim_cur = to;
	r.rlim_max = r.rlim_cur;
	(void)setrlimit(resource, &r);
}

static size_t address_space_now(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int enter(const struct flt_cage *cage)
{
	static const int allowed[] = {
		SCMP_SYS(read),	       SCMP_SYS(pread64),	 SCMP_SYS(readv),
		SCMP_SYS(write),       SCMP_SYS(close),		 SCMP_SYS(fstat),
		SCMP_SYS(newfstatat),  SCMP_SYS(stat),		 SCMP_SYS(lseek),
		SCMP_SYS(access),      SCMP_SYS(faccessat),	 SCMP_SYS(readlink),
		SCMP_SYS(mmap),	       SCMP_SYS(munmap),	 SCMP_SYS(mremap),
		SCMP_SYS(mprotect),    SCMP_SYS(madvise),	 SCMP_SYS(brk),
		SCMP_SYS(futex),       SCMP_SYS(getpid),	 SCMP_SYS(gettid),
		SCMP_SYS(getrandom),   SCMP_SYS(clock_gettime),	 SCMP_SYS(gettimeofday),
		SCMP_SYS(uname),       SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
		SCMP_SYS(sigaltstack), SCMP_SYS(getrlimit),	 SCMP_SYS(prlimit64),
		SCMP_SYS(sched_yield), SCMP_SYS(exit),		 SCMP_SYS(exit_group),
	};
	const struct itimerval cpu = { .it_value = { .tv_sec = cage->cpu_ms / 1000,
						     .tv_usec = cage->cpu_ms % 1000 * 1000 } };
	size_t space = address_space_now();
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = ctx ? 0 : -ENOMEM;

	if (space > 0)
		lower(RLIMIT_AS, space + cage->add_bytes);
	lower(RLIMIT_CORE, 0);
	if (setitimer(ITIMER_PROF, &cpu, NULL) < 0)
		r = -errno;
	for (size_t i = 0; i < ARRAY_LEN(allowed) && r == 0; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	/* The tables of services and protocols, read only. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT, O_RDONLY));
	if (r == 0)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

static _Noreturn void child(const struct flt_cage *cage, int fd)
{
	static const int to_default[] = { SIGTERM, SIGINT,  SIGQUIT, SIGHUP,  SIGPIPE,
					  SIGPROF, SIGSEGV, SIGBUS,  SIGABRT, SIGCHLD };
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; i < ARRAY_LEN(to_default); i++)
		(void)sigaction(to_default[i], &sa, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (enter(cage) < 0)
		_exit(NO_CAGE);
	cage->work(fd, cage->arg);
	_exit(0);
}

/* Reads until the end, the deadline (returns 1) or a full buffer. */
static int collect(int fd, int64_t deadline, char *buf, size_t size, size_t *ret_len)
{
	size_t len = 0;

	while (len < size) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - now_ms();
		ssize_t k;

		if (left <= 0)
			break;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		k = read(fd, buf + len, size - len);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			*ret_len = len;
			return 0;
		}
		len += (size_t)k;
	}
	*ret_len = len;
	return len < size;
}

int flt_cage_run(const struct flt_cage *cage, char **ret_answer, size_t *ret_len, int *ret_timed_out,
		 struct skep_err *err)
{
	_skep_close_ int rd = -1, wr = -1;
	_skep_free_ char *buf = malloc(cage->max_answer);
	int64_t deadline = now_ms() + cage->wall_ms;
	int fds[2], status = 0, timed_out;
	size_t len = 0;
	pid_t pid;

	if (!buf)
		return skep_err_set(err, -ENOMEM, "no memory for a compiler process");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return skep_err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	rd = fds[0];
	wr = fds[1];
	pid = fork();
	if (pid < 0)
		return skep_err_set(err, -errno, "cannot start a compiler process: %s", strerror(errno));
	if (pid == 0)
		child(cage, wr);
	skep_closep(&wr);
	timed_out = collect(rd, deadline, buf, cage->max_answer, &len);
	if (timed_out || len == cage->max_answer)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
		timed_out = 1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_CAGE) {
		(void)skep_err_set(
			err, -EPERM,
			"cannot lock the filter compiler in: seccomp or a process timer was refused");
		(void)skep_err_hint(err, "Run where seccomp filters are allowed");
		return -EPERM;
	}
	*ret_answer = TAKE_PTR(buf);
	*ret_len = len;
	*ret_timed_out = timed_out;
	return 0;
}
