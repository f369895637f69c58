/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system calls of a running engine; every other one kills the process. The list is a table to be read,
 * grouped by what needs it. Arguments are checked where one call is many things: bpf, clone, ioctl, mmap,
 * mprotect, prctl, prlimit64, socket.
 *
 * What it cannot see: operations inside an io_uring (the kernel runs them without the filter), paths (the
 * user's own permissions limit those). No new program, no new process, no new socket, no executable memory.
 *
 * Installed once by the control thread, before the workers start; TSYNC covers threads that exist.
 */
#include "capture/priv.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

/* Allowed with any argument. Calls that an architecture does not have are skipped by libseccomp. */
static const int plain[] = {
	/* frames: AF_XDP and AF_PACKET rings, ring buffers, pipes */
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(accept4),
	SCMP_SYS(shutdown),
	SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(signalfd4),
	/* files */
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(pwritev2),
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(close),
	SCMP_SYS(lseek),
	SCMP_SYS(fallocate),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(sync_file_range),
	SCMP_SYS(fadvise64),
	SCMP_SYS(flock),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getdents64),
	SCMP_SYS(getcwd),
	SCMP_SYS(fcntl),
	SCMP_SYS(dup),
	/* memory; mmap and mprotect are below */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(mlock2),
	SCMP_SYS(munlock),
	SCMP_SYS(mbind),
	SCMP_SYS(get_mempolicy),
	SCMP_SYS(set_mempolicy),
	SCMP_SYS(membarrier),
	/* threads */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(getcpu),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_getscheduler),
	SCMP_SYS(sched_setscheduler),
	SCMP_SYS(getpriority),
	SCMP_SYS(setpriority),
	SCMP_SYS(ioprio_set),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	/* time and signals */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(adjtimex),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(setitimer),
	SCMP_SYS(alarm),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(rt_sigsuspend),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(tgkill),
	SCMP_SYS(kill),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	/* who and what: readings only */
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getrandom),
	SCMP_SYS(getrusage),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(times),
};

/* On descriptors that were opened before; making programs, maps and links is not among them. */
static const int bpf_commands[] = {
	BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY,
	BPF_MAP_LOOKUP_BATCH, BPF_OBJ_GET_INFO_BY_FD, BPF_LINK_DETACH,
};

/*
 * Reading a terminal and a link; setting nothing (SIOCETHTOOL asks for CAP_NET_ADMIN by itself where it
 * sets).
 */
static const unsigned long ioctls[] = {
	TCGETS, TIOCGWINSZ, FIONREAD, SIOCGIFINDEX, SIOCGIFNAME, SIOCGIFFLAGS, SIOCGIFMTU, SIOCETHTOOL,
};

static const int prctls[] = { PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_TIMERSLACK,
			      PR_GET_TIMERSLACK };

static int add_plain(scmp_filter_ctx ctx)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(plain); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, plain[i], 0);
	return r;
}

static int add_first_argument(scmp_filter_ctx ctx)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(bpf_commands); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
				     SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)bpf_commands[i]));
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(prctls); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				     SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)prctls[i]));
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(ioctls); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1_32(SCMP_CMP_EQ, (uint32_t)ioctls[i]));
	return r;
}

static int add_other_arguments(scmp_filter_ctx ctx)
{
	/*
	 * A thread, not a process. glibc tries clone3 first, whose flags are out of sight, and clone after
	 * ENOSYS.
	 */
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* Reading a limit, not setting one. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0));
	return r;
}

/* The process is dying: write() and kill() only. */
static void say_syscall(int sig, siginfo_t *info, void *context)
{
	static const char text[] = "skep-capture: the sandbox refused system call number ";
	char number[16], *at = number + sizeof(number);
	unsigned int n = (unsigned int)info->si_syscall;

	(void)context;
	*--at = '\n';
	do
		*--at = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0 ||
	    write(STDERR_FILENO, at, (size_t)(number + sizeof(number) - at)) < 0)
		_exit(128 + sig);
	_exit(128 + sig);
}

static int install_handler(void)
{
	struct sigaction act = { .sa_sigaction = say_syscall, .sa_flags = SA_SIGINFO };

	return sigaction(SIGSYS, &act, NULL) < 0 ? -errno : 0;
}

/* What capture/filter/cage.c does before its own, tighter filter is installed. */
static int add_fork(scmp_filter_ctx ctx)
{
	static const int calls[] = {
		SCMP_SYS(fork),	       SCMP_SYS(clone),	    SCMP_SYS(pipe2),	  SCMP_SYS(socketpair),
		SCMP_SYS(setrlimit),   SCMP_SYS(prlimit64), SCMP_SYS(prctl),	  SCMP_SYS(seccomp),
		SCMP_SYS(close_range), SCMP_SYS(dup2),	    SCMP_SYS(pidfd_open), SCMP_SYS(pidfd_send_signal)
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(calls); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	return r;
}

static int load(scmp_filter_ctx ctx, bool forks)
{
	int r = add_plain(ctx);

	if (r == 0 && forks)
		r = add_fork(ctx);

	if (r == 0)
		r = add_first_argument(ctx);
	if (r == 0)
		r = add_other_arguments(ctx);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	/*
	 * A tree instead of a list: 150 comparisons per call become 8. Speed only, so an old library may
	 * refuse.
	 */
	if (r == 0)
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	/* Kernels before 5.16 turn on a costly mitigation for every filtered thread unless told not to. */
	if (r == 0)
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_SSB, 1);
	return r ? r : seccomp_load(ctx);
}

int cap_priv_seccomp(bool verbose, bool forks, struct skep_err *err)
{
	scmp_filter_ctx ctx;
	int r;

	if (UNDER_SANITIZER)
		return 0;
	ctx = seccomp_init(verbose ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS);
	r = !ctx ? -ENOMEM : verbose ? install_handler() : 0;
	if (r == 0)
		r = load(ctx, forks);
	if (ctx)
		seccomp_release(ctx);
	if (r == 0)
		return 0;
	(void)skep_err_set(err, r, "cannot install the system call filter: %s", strerror(-r));
	return skep_err_hint(err, "the kernel needs CONFIG_SECCOMP_FILTER"), r;
}
