/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves on the real kernel that privileges are gone after cap_priv_drop and cap_priv_seccomp: a child
 * process gives them up and then really tries what must be refused (root, /etc/shadow, sockets, programs,
 * mounts, BPF programs) and what must still work.
 */
#include "tests/unit/unit.h"

#include "capture/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#else
#define UNDER_SANITIZER 0
#endif

struct task {
	const struct cap_priv_plan *plan; /* NULL: nothing is dropped */
	bool seccomp;
	bool verbose;
	int (*attempt)(const char *dir); /* in the child: 0 or an exit code */
	const char *dir;
};

/* Runs a task in a child; the status as waitpid gives it. */
static int in_child(const struct task *task)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct skep_err err = SKEP_ERR_NULL;

		if ((task->plan && cap_priv_drop(task->plan, &err)) ||
		    (task->seccomp && cap_priv_seccomp(task->verbose, false, &err))) {
			fprintf(stderr, "# %s\n", err.text);
			_exit(99);
		}
		syscall(SYS_exit_group, task->attempt(task->dir));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void need_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("# needs root to have something to drop\n");
	skip();
}

/* A directory of root's that only root can use. */
static char *private_dir(char *path, size_t size, mode_t mode)
{
	snprintf(path, size, "/tmp/skep-priv-XXXXXX");
	assert_non_null(mkdtemp(path));
	assert_int_equal(chmod(path, mode), 0);
	return path;
}

static void plan_for(const struct cap_priv_cfg *cfg, struct cap_priv_plan *plan)
{
	struct skep_err err = SKEP_ERR_NULL;
	int r = cap_priv_plan(cfg, plan, &err);

	if (r)
		print_message("# %s\n", err.text);
	assert_int_equal(r, 0);
}

static void test_names_and_needs(void **state)
{
	char buf[128];

	(void)state;
	assert_string_equal(cap_priv_names(cap_priv_needed(CAP_SOURCE_XDP), buf, sizeof(buf)),
			    "CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW");
	assert_string_equal(cap_priv_names(cap_priv_needed(CAP_SOURCE_MIRROR), buf, sizeof(buf)),
			    "CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON");
	assert_string_equal(cap_priv_names(cap_priv_needed(CAP_SOURCE_AUTO), buf, sizeof(buf)), "CAP_NET_RAW");
	assert_int_equal(cap_priv_needed(CAP_SOURCE_FILE), 0);
	assert_int_equal(cap_priv_require(CAP_SOURCE_STREAM, NULL), 0);
}

static int attempt_require(const char *dir)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)dir;
	if (cap_priv_require(CAP_SOURCE_XDP, &err) != SKEP_E_PRIVILEGE)
		return 1;
	if (!strstr(err.text, "CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW missing"))
		return 2;
	return strstr(err.hint, "setcap cap_bpf,cap_ipc_lock,cap_net_admin,cap_net_raw=ep /") ? 0 : 3;
}

static void test_require_names_what_is_missing(void **state)
{
	struct cap_priv_plan plan;

	(void)state;
	need_root();
	assert_int_equal(cap_priv_require(CAP_SOURCE_XDP, NULL), 0);
	plan_for(&(struct cap_priv_cfg){ .user = "nobody" }, &plan);
	assert_int_equal(in_child(&(struct task){ .plan = &plan, .attempt = attempt_require }), 0);
}

static int attempt_after_drop(const char *dir)
{
	uint32_t insns[4] = { 0x000000b7, 0, 0x00000095, 0 }; /* r0 = 0; exit */
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP, .insn_cnt = 2, .insns = (uintptr_t)insns, .license = (uintptr_t) "GPL",
	};
	char path[128];

	if (setuid(0) == 0 || setresuid(0, 0, 0) == 0 || seteuid(0) == 0)
		return 1;
	if (open("/etc/shadow", O_RDONLY) >= 0 || errno != EACCES)
		return 2;
	if (socket(AF_PACKET, SOCK_RAW, 0) >= 0 || socket(AF_INET, SOCK_RAW, 1) >= 0)
		return 3;
	if (mount("none", "/mnt", "tmpfs", 0, NULL) == 0)
		return 4;
	if (syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)) >= 0 || errno != EPERM)
		return 5;
	if (getuid() == 0 || getgid() == 0 || getgroups(0, NULL) != 0)
		return 6;
	if (dir) {
		int fd;

		snprintf(path, sizeof(path), "%s/file", dir);
		fd = open(path, O_CREAT | O_RDWR | O_EXCL, 0600);
		if (fd < 0 || write(fd, "x", 1) != 1 || unlink(path))
			return 7;
	}
	return 0;
}

static void test_drop_holds(void **state)
{
	struct cap_priv_plan plan;
	char dir[64];

	(void)state;
	need_root();
	private_dir(dir, sizeof(dir), 0777);
	plan_for(&(struct cap_priv_cfg){ .user = "nobody", .out_dir = dir }, &plan);
	assert_true(plan.change_user);
	assert_false(plan.keep_dac_override);
	assert_int_equal(in_child(&(struct task){ .plan = &plan, .attempt = attempt_after_drop, .dir = dir }),
			 0);
	rmdir(dir);
}

/* Proves the attempts themselves: with nothing dropped the first one already succeeds. */
static void test_attempts_can_fail(void **state)
{
	(void)state;
	need_root();
	assert_int_equal(WEXITSTATUS(in_child(&(struct task){ .attempt = attempt_after_drop })), 1);
}

static int attempt_write_and_lose(const char *dir)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0600);
	if (fd < 0)
		return 1;
	unlink(path);
	return setresuid(0, 0, 0) == 0 || socket(AF_PACKET, SOCK_RAW, 0) >= 0 ? 2 : 0;
}

static void test_keeps_dac_override_only_for_the_directory(void **state)
{
	struct cap_priv_plan plan;
	char dir[64], text[256];

	(void)state;
	need_root();
	private_dir(dir, sizeof(dir), 0700);
	plan_for(&(struct cap_priv_cfg){ .user = "nobody", .out_dir = dir }, &plan);
	assert_true(plan.keep_dac_override);
	assert_non_null(strstr(cap_priv_describe(&plan, text, sizeof(text)), "keeps CAP_DAC_OVERRIDE"));
	assert_int_equal(
		in_child(&(struct task){ .plan = &plan, .attempt = attempt_write_and_lose, .dir = dir }), 0);
	rmdir(dir);
}

static void test_choice_of_user(void **state)
{
	const struct passwd *games = getpwnam("games");
	struct cap_priv_plan plan;
	char dir[64];

	(void)state;
	need_root();
	assert_non_null(games);
	private_dir(dir, sizeof(dir), 0700);
	setenv("SUDO_UID", "54321", 1);
	setenv("SUDO_GID", "54322", 1);
	plan_for(&(struct cap_priv_cfg){ .out_dir = dir }, &plan);
	assert_int_equal(plan.uid, 54321);
	assert_int_equal(plan.gid, 54322);
	assert_string_equal(plan.user, "uid 54321");
	assert_int_equal(chown(dir, games->pw_uid, games->pw_gid), 0);
	plan_for(&(struct cap_priv_cfg){ .out_dir = dir }, &plan);
	assert_string_equal(plan.user, "games");
	assert_false(plan.keep_dac_override);
	plan_for(&(struct cap_priv_cfg){ .out_dir = dir, .user = "nobody" }, &plan);
	assert_string_equal(plan.user, "nobody");
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
	plan_for(&(struct cap_priv_cfg){ .out_dir = NULL }, &plan);
	assert_true(strcmp(plan.user, "nobody") == 0 || strcmp(plan.user, "skep") == 0);
	rmdir(dir);
}

static void test_refusals(void **state)
{
	static const struct {
		struct cap_priv_cfg cfg;
		int code;
		const char *text;
	} cases[] = {
		{ { .user = "no-such-user" }, SKEP_E_NOT_FOUND, "no such user" },
		{ { .user = "4294967295" }, SKEP_E_NOT_FOUND, "no such user" },
		{ { .user = "root" }, SKEP_E_USAGE, "that is root" },
		{ { .user = "0" }, SKEP_E_USAGE, "that is root" },
		{ { .out_dir = "/nonexistent" }, SKEP_E_NOT_FOUND, "no such directory" },
		{ { .out_dir = "/etc/passwd" }, SKEP_E_NOT_FOUND, "no such directory" },
	};

	(void)state;
	need_root();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cap_priv_plan plan = { .uid = 77 };
		struct skep_err err = SKEP_ERR_NULL;

		assert_int_equal(cap_priv_plan(&cases[i].cfg, &plan, &err), cases[i].code);
		assert_non_null(strstr(err.text, cases[i].text));
		assert_true(err.hint[0] != '\0');
		assert_int_equal(plan.uid, 77);
	}
}

static void test_file_in_sticky_directory(void **state)
{
	struct cap_priv_plan plan;
	struct skep_err err = SKEP_ERR_NULL;
	char dir[64], file[80];

	(void)state;
	need_root();
	private_dir(dir, sizeof(dir), 01777);
	snprintf(file, sizeof(file), "%s/out.pcap", dir);
	assert_true(close(open(file, O_CREAT | O_WRONLY, 0644)) == 0);
	assert_int_equal(cap_priv_plan(&(struct cap_priv_cfg){ .user = "nobody", .out_dir = dir, .out_file = file }, &plan,
				       &err),
			 SKEP_E_PRIVILEGE);
	assert_non_null(strstr(err.text, "belongs to another user"));
	unlink(file);
	plan_for(&(struct cap_priv_cfg){ .user = "nobody", .out_dir = dir, .out_file = file }, &plan);
	rmdir(dir);
}

/* A user who is not root and holds CAP_DAC_OVERRIDE neither: the directory is refused, not tried later. */
static int attempt_plan(const char *dir)
{
	struct cap_priv_plan plan;
	struct skep_err err = SKEP_ERR_NULL;

	if (cap_priv_plan(&(struct cap_priv_cfg){ .out_dir = dir }, &plan, &err) != SKEP_E_PRIVILEGE)
		return 1;
	if (!strstr(err.text, "not writable for nobody: Permission denied"))
		return 2;
	if (cap_priv_plan(&(struct cap_priv_cfg){ .user = "games" }, &plan, &err) != SKEP_E_PRIVILEGE)
		return 3;
	return cap_priv_plan(&(struct cap_priv_cfg){ .out_dir = "/tmp" }, &plan, &err) == 0 && !plan.change_user ? 0 : 4;
}

static void test_plan_without_root(void **state)
{
	struct cap_priv_plan plan;
	char dir[64];

	(void)state;
	need_root();
	private_dir(dir, sizeof(dir), 0700);
	plan_for(&(struct cap_priv_cfg){ .user = "nobody" }, &plan);
	assert_int_equal(in_child(&(struct task){ .plan = &plan, .attempt = attempt_plan, .dir = dir }), 0);
	rmdir(dir);
}

/* ---- the system call filter ---- */

static void *thread_body(void *arg)
{
	*(int *)arg = 1;
	return NULL;
}

static int attempt_allowed(const char *dir)
{
	struct timespec ts = { .tv_nsec = 1000 };
	struct iovec iov = { .iov_base = (void *)"abc", .iov_len = 3 };
	char path[128], moved[128], buf[8];
	pthread_t thread;
	struct stat st;
	int fd, ran = 0;

	if (pthread_create(&thread, NULL, thread_body, &ran) || pthread_join(thread, NULL) || ran != 1)
		return 1;
	snprintf(path, sizeof(path), "%s/file.part", dir);
	snprintf(moved, sizeof(moved), "%s/file", dir);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || pwritev(fd, &iov, 1, 0) != 3 || pread(fd, buf, 3, 0) != 3 || memcmp(buf, "abc", 3))
		return 2;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 65536) && errno != EOPNOTSUPP)
		return 3;
	if (ftruncate(fd, 2) || fsync(fd) || fstat(fd, &st) || st.st_size != 2 || close(fd) ||
	    rename(path, moved) || unlink(moved))
		return 4;
	if (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL) || sched_yield())
		return 5;
	/* The filter lets it through to the kernel, which knows no such descriptor. */
	if (syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &(union bpf_attr){ .map_fd = 1000 },
		    sizeof(union bpf_attr)) == 0 ||
	    errno != EBADF)
		return 6;
	free(malloc(1 << 20));
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? 7
													  : 0;
}

static int attempt_socket(const char *dir)
{
	(void)dir;
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? 1 : 0;
}

static int attempt_exec(const char *dir)
{
	(void)dir;
	execl("/bin/true", "true", (char *)NULL);
	return 1;
}

static int attempt_fork(const char *dir)
{
	(void)dir;
	return fork() < 0 ? 1 : 0;
}

static int attempt_mount(const char *dir)
{
	(void)dir;
	return mount("none", "/mnt", "tmpfs", 0, NULL) ? 1 : 0;
}

static int attempt_prog_load(const char *dir)
{
	(void)dir;
	return syscall(SYS_bpf, BPF_PROG_LOAD, &(union bpf_attr){ 0 }, sizeof(union bpf_attr)) < 0 ? 1 : 0;
}

static int attempt_exec_memory(const char *dir)
{
	(void)dir;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED;
}

static int attempt_ptrace(const char *dir)
{
	(void)dir;
	return (int)syscall(SYS_ptrace, 0, 0, 0, 0) ? 1 : 0;
}

static void skip_under_sanitizer(void)
{
	if (!UNDER_SANITIZER)
		return;
	print_message("# the system call filter is off in a sanitizer build\n");
	skip();
}

static void test_seccomp_lets_the_engine_work(void **state)
{
	struct cap_priv_plan plan;
	char dir[64];

	(void)state;
	need_root();
	skip_under_sanitizer();
	private_dir(dir, sizeof(dir), 0777);
	plan_for(&(struct cap_priv_cfg){ .user = "nobody", .out_dir = dir }, &plan);
	assert_int_equal(in_child(&(struct task){
				 .plan = &plan, .seccomp = true, .attempt = attempt_allowed, .dir = dir }),
			 0);
	rmdir(dir);
}

static void test_seccomp_kills_the_rest(void **state)
{
	static int (*const attempts[])(const char *) = {
		attempt_socket,	   attempt_exec,	attempt_fork,	attempt_mount,
		attempt_prog_load, attempt_exec_memory, attempt_ptrace,
	};
	struct cap_priv_plan plan;

	(void)state;
	need_root();
	skip_under_sanitizer();
	plan_for(&(struct cap_priv_cfg){ .user = "nobody" }, &plan);
	for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
		int status =
			in_child(&(struct task){ .plan = &plan, .seccomp = true, .attempt = attempts[i] });

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

static void test_seccomp_verbose_still_ends(void **state)
{
	struct cap_priv_plan plan;
	int status;

	(void)state;
	need_root();
	skip_under_sanitizer();
	plan_for(&(struct cap_priv_cfg){ .user = "nobody" }, &plan);
	status = in_child(
		&(struct task){ .plan = &plan, .seccomp = true, .verbose = true, .attempt = attempt_socket });
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 128 + SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_and_needs),
		cmocka_unit_test(test_require_names_what_is_missing),
		cmocka_unit_test(test_drop_holds),
		cmocka_unit_test(test_attempts_can_fail),
		cmocka_unit_test(test_keeps_dac_override_only_for_the_directory),
		cmocka_unit_test(test_choice_of_user),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_file_in_sticky_directory),
		cmocka_unit_test(test_plan_without_root),
		cmocka_unit_test(test_seccomp_lets_the_engine_work),
		cmocka_unit_test(test_seccomp_kills_the_rest),
		cmocka_unit_test(test_seccomp_verbose_still_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
