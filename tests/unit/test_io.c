/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the real end of the fault seam does what its table says: whole writes at an offset or an error,
 * errors as -errno from each call, free space as the file system has it. (What the capture makes of such
 * errors: test_writer.c.)
 */
#include "tool.h"
#include "unit.h"

#include "capture/io.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

static const struct cap_io *const io = &cap_io_kernel;
static char *dir;
static int dirfd_;

static int make_dir(void **state)
{
	(void)state;
	dir = tool_make_dir();
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0;
}

static int remove_dir(void **state)
{
	(void)state;
	close(dirfd_);
	tool_remove_dir(dir);
	return 0;
}

static int make(const char *name)
{
	const int fd = io->openat(io->arg, dirfd_, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static off_t size_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_size;
}

static void writes_are_whole(void **state)
{
	const size_t n = 3 << 20;
	uint8_t *data = malloc(n), *back = malloc(n);
	const int fd = make("whole");
	uint64_t seed = 3;

	(void)state;
	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)tool_random(&seed);
	assert_int_equal(io->pwrite(io->arg, fd, data, n, 4096), 0);
	assert_int_equal(size_of(fd), (off_t)n + 4096);
	assert_int_equal(pread(fd, back, n, 4096), (ssize_t)n);
	assert_memory_equal(back, data, n);
	assert_int_equal(io->pwrite(io->arg, fd, data, 0, 0), 0);
	close(fd);
	free(data);
	free(back);
}

/* A write that stops short half-way is continued, and the error behind it is reported. */
static void a_short_write_is_an_error(void **state)
{
	static const uint8_t data[100000];
	const struct rlimit less = { 65536, RLIM_INFINITY };
	struct rlimit before;
	const int fd = make("short");

	(void)state;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
	assert_int_equal(io->pwrite(io->arg, fd, data, sizeof(data), 0), -EFBIG);
	assert_int_equal(size_of(fd), 65536);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	close(fd);
}

static void errors_are_reported(void **state)
{
	const int file = make("there"), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	uint64_t bytes;
	int pipes[2];

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(io->openat(io->arg, dirfd_, "absent", O_RDONLY, 0), -ENOENT);
	assert_int_equal(io->openat(io->arg, dirfd_, "there", O_CREAT | O_EXCL, 0600), -EEXIST);
	assert_int_equal(io->openat(io->arg, dirfd_, "there/below", O_RDONLY, 0), -ENOTDIR);
	assert_int_equal(io->pwrite(io->arg, full, "x", 1, 0), -ENOSPC);
	assert_int_equal(io->pwrite(io->arg, pipes[1], "x", 1, 0), -ESPIPE);
	assert_int_equal(io->pwrite(io->arg, -1, "x", 1, 0), -EBADF);
	assert_int_equal(io->fallocate(io->arg, -1, 0, 1), -EBADF);
	assert_int_equal(io->fallocate(io->arg, file, 0, 0), -EINVAL);
	assert_int_equal(io->ftruncate(io->arg, pipes[1], 0), -EINVAL);
	assert_int_equal(io->fsync(io->arg, pipes[1]), -EINVAL);
	assert_int_equal(io->renameat(io->arg, dirfd_, "absent", "other"), -ENOENT);
	assert_int_equal(io->unlinkat(io->arg, dirfd_, "absent"), -ENOENT);
	assert_int_equal(io->free_bytes(io->arg, -1, &bytes), -EBADF);
	assert_null(io->ring_write);
	close(file);
	close(full);
	close(pipes[0]);
	close(pipes[1]);
}

static void files_change_as_asked(void **state)
{
	const int fd = make("a");
	struct stat st;

	(void)state;
	assert_int_equal(io->fallocate(io->arg, fd, 0, 1 << 20), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size == 1 << 20 && st.st_blocks >= (1 << 20) / 512);
	assert_int_equal(io->ftruncate(io->arg, fd, 5), 0);
	assert_int_equal(size_of(fd), 5);
	assert_int_equal(io->fsync(io->arg, fd), 0);
	close(make("b"));
	assert_int_equal(io->renameat(io->arg, dirfd_, "a", "b"), 0); /* replaces */
	assert_int_equal(fstatat(dirfd_, "a", &st, 0), -1);
	assert_int_equal(fstatat(dirfd_, "b", &st, 0), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(io->unlinkat(io->arg, dirfd_, "b"), 0);
	assert_int_equal(fstatat(dirfd_, "b", &st, 0), -1);
	close(fd);
}

/* On a file system that nobody else writes to. */
static void free_space_is_told(void **state)
{
	uint64_t before, after;
	char path[4200];
	int fd;

	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("skep-io", dir, "tmpfs", 0, "size=16m") < 0) {
		print_message("# needs root: a file system of its own\n");
		skip();
	}
	(void)snprintf(path, sizeof(path), "%s/filler", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(io->free_bytes(io->arg, fd, &before), 0);
	assert_in_range(before, 15 << 20, 16 << 20);
	assert_int_equal(io->fallocate(io->arg, fd, 0, 10 << 20), 0);
	assert_int_equal(io->free_bytes(io->arg, fd, &after), 0);
	assert_int_equal(before - after, 10 << 20);
	assert_int_equal(io->fallocate(io->arg, fd, 0, 32 << 20), -ENOSPC);
	close(fd);
	assert_int_equal(umount(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_are_whole),    cmocka_unit_test(a_short_write_is_an_error),
		cmocka_unit_test(errors_are_reported), cmocka_unit_test(files_change_as_asked),
		cmocka_unit_test(free_space_is_told),
	};

	return cmocka_run_group_tests_name("io", tests, make_dir, remove_dir);
}
