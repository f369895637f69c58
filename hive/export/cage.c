/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Landlock (kernel 5.13 and later) keeps the child to its folder, to the program and to the system's
 * libraries, read only, and from TCP (6.7 and later) and other processes (6.12 and later); where the kernel
 * has none of it, the child still has no privileges to gain, no core dump and bounded memory, and the log
 * says so once. Between fork and exec only system calls are made, for the hive has threads.
 */
#include "hive/export/cage.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define NO_START 126

/* The sanitizers reserve terabytes of addresses and look at their own maps. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* As of ABI 6; older kernels take the beginning of it (the size says how much is meant). */
struct rules {
	uint64_t handled_fs, handled_net, scoped;
};

#define FS_ALL_V1 ((UINT64_C(1) << 13) - 1)
#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define NET_TCP UINT64_C(3)   /* bind, connect: LANDLOCK_ACCESS_NET_*, which the headers of 6.1 do not have */
#define SCOPE_ALL UINT64_C(3) /* abstract sockets, signals: LANDLOCK_SCOPE_* */

static void allow(int ruleset, int parent, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = parent };

	if (parent >= 0)
		(void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static void allow_path(int ruleset, const char *path, uint64_t access)
{
	_skep_close_ int fd = open(path, O_PATH | O_CLOEXEC);

	allow(ruleset, fd, access);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void say_no_landlock(void)
{
	skep_log(SKEP_LOG_WARNING,
		 "this kernel has no Landlock: programs that read captures are less confined");
}

/* -1: the kernel has none. */
static int make_ruleset(const struct hive_cage *cage)
{
	static const char *const libraries[] = { "/lib", "/lib64", "/usr/lib", "/usr/lib64",
						 "/usr/local/lib" };
	/* names of ports and protocols in filters */
	static const char *const tables[] = { "/etc/ld.so.cache", "/etc/services", "/etc/protocols",
					      "/etc/nsswitch.conf" };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct rules rules = { FS_ALL_V1, NET_TCP, SCOPE_ALL };
	size_t size = abi >= 6 ? sizeof(rules) : abi >= 4 ? 16 : 8;
	int ruleset;

	if (abi < 1) {
		(void)pthread_once(&once, say_no_landlock);
		return -1;
	}
	if (abi >= 2)
		rules.handled_fs |= UINT64_C(1) << 13; /* REFER */
	if (abi >= 3)
		rules.handled_fs |= UINT64_C(1) << 14; /* TRUNCATE */
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (ruleset < 0)
		return -1;
	allow(ruleset, cage->folder, FS_READ);
	allow_path(ruleset, cage->argv[0], LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE);
	for (size_t i = 0; i < ARRAY_LEN(libraries); i++)
		allow_path(ruleset, libraries[i], FS_READ | LANDLOCK_ACCESS_FS_EXECUTE);
	if (SANITIZED)
		allow_path(ruleset, "/proc", FS_READ);
	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		allow_path(ruleset, tables[i], LANDLOCK_ACCESS_FS_READ_FILE);
	return ruleset;
}

/* Only system calls in here. */
static _Noreturn void child(const struct hive_cage *cage, int ruleset)
{
	static char *const environment[] = { (char *)"LC_ALL=C", (char *)"PATH=/usr/bin:/bin", NULL };
	const struct rlimit memory = { cage->memory_bytes, cage->memory_bytes }, none = { 0, 0 };
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	sigset_t no_signals;

	for (int s = 1; s < 32; s++)
		(void)sigaction(s, &usual, NULL);
	sigemptyset(&no_signals);
	(void)sigprocmask(SIG_SETMASK, &no_signals, NULL);
	/* the three may be among 0..2 themselves: first out of the way */
	int in = fcntl(cage->in, F_DUPFD, 10), out = fcntl(cage->out, F_DUPFD, 10),
	    errors = fcntl(cage->errors, F_DUPFD, 10);

	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(errors, 2) < 0 || fchdir(cage->folder) < 0)
		_exit(NO_START);
	(void)syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
	if (!SANITIZED)
		(void)setrlimit(RLIMIT_AS, &memory);
	(void)setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(NO_START);
	if (ruleset >= 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		_exit(NO_START);
	(void)execve(cage->argv[0], (char *const *)(uintptr_t)cage->argv, environment);
	_exit(NO_START);
}

int hive_cage_start(const struct hive_cage *cage, pid_t *ret, struct skep_err *err)
{
	_skep_close_ int ruleset = -1;
	pid_t pid;

	if (access(cage->argv[0], X_OK) < 0) {
		(void)skep_err_set(err, SKEP_E_NOT_FOUND, "%s: there is no such program", cage->argv[0]);
		return skep_err_hint(err, "set [hive] programs to the directory that has it");
	}
	ruleset = make_ruleset(cage);
	pid = fork();
	if (pid == 0)
		child(cage, ruleset);
	if (pid < 0)
		return skep_err_set(err, -errno, "%s: cannot be started: %s", cage->argv[0], strerror(errno));
	*ret = pid;
	return 0;
}
