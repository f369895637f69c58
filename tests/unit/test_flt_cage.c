/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: what runs in the cage cannot open a socket of any family (so cannot ask the DNS), write or create a
 * file, start or signal a process; it can read a file; and it is killed when its processor time, its wall
 * time or its memory is used up.
 */
#include "tests/unit/unit.h"

#include "capture/filter/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void try_everything(int fd, void *arg)
{
	int got[8];
	char *const argv[] = { "/bin/true", NULL };

	(void)arg;
	got[0] = socket(AF_INET, SOCK_DGRAM, 0) < 0 ? errno : 0;
	got[1] = socket(AF_INET6, SOCK_STREAM, 0) < 0 ? errno : 0;
	got[2] = socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
	got[3] = open("/tmp/skep-cage-test", O_WRONLY | O_CREAT, 0600) < 0 ? errno : 0;
	got[4] = fork() < 0 ? errno : 0;
	got[5] = execv("/bin/true", argv) < 0 ? errno : 0;
	got[6] = kill(getppid(), 0) < 0 ? errno : 0;
	got[7] = open("/etc/passwd", O_RDONLY) < 0 ? errno : 0;
	if (write(fd, got, sizeof(got)) < 0)
		_exit(1);
}

static void spin(int fd, void *arg)
{
	(void)fd;
	(void)arg;
	for (;;)
		__asm__ volatile("");
}

static void eat(int fd, void *arg)
{
	char no = 'n';

	(void)arg;
	for (int i = 0; i < 64; i++)
		if (!malloc(16 << 20) && write(fd, &no, 1) == 1)
			return;
}

static int run(void (*work)(int, void *), int cpu_ms, int wall_ms, char **answer, size_t *len, int *timed_out)
{
	const struct flt_cage cage = {
		.work = work, .cpu_ms = cpu_ms, .wall_ms = wall_ms, .add_bytes = 64 << 20, .max_answer = 4096
	};
	struct skep_err err = SKEP_ERR_NULL;

	return flt_cage_run(&cage, answer, len, timed_out, &err);
}

static void test_nothing_but_reading(void **state)
{
	_skep_free_ char *answer = NULL;
	int timed_out = 0, got[8] = { 0 };
	size_t len = 0;

	(void)state;
	assert_int_equal(run(try_everything, 1000, 5000, &answer, &len, &timed_out), 0);
	assert_int_equal(len, sizeof(got));
	memcpy(got, answer, sizeof(got));
	for (int i = 0; i < 7; i++)
		assert_int_equal(got[i], EPERM);
	assert_int_equal(got[7], 0);
	assert_int_not_equal(access("/tmp/skep-cage-test", F_OK), 0);
}

static int64_t ms_since(const struct timespec *a)
{
	struct timespec b;

	clock_gettime(CLOCK_MONOTONIC, &b);
	return (b.tv_sec - a->tv_sec) * 1000 + (b.tv_nsec - a->tv_nsec) / 1000000;
}

static void test_time_ends(void **state)
{
	static const int limits[][2] = { { 50, 5000 }, { 5000, 50 } };
	struct timespec start;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		_skep_free_ char *answer = NULL;
		int timed_out = 0;
		size_t len = 1;

		clock_gettime(CLOCK_MONOTONIC, &start);
		assert_int_equal(run(spin, limits[i][0], limits[i][1], &answer, &len, &timed_out), 0);
		assert_int_equal(timed_out, 1);
		assert_int_equal(len, 0);
		assert_true(ms_since(&start) < 4000);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left behind */
	}
}

static void test_memory_ends(void **state)
{
	_skep_free_ char *answer = NULL;
	int timed_out = 0;
	size_t len = 0;

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	print_message("# the address sanitizer's own memory does not fit into the cage\n");
	skip();
#endif
	assert_int_equal(run(eat, 1000, 5000, &answer, &len, &timed_out), 0);
	assert_int_equal(len, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_but_reading),
		cmocka_unit_test(test_time_ends),
		cmocka_unit_test(test_memory_ends),
	};

	return cmocka_run_group_tests_name("flt_cage", tests, NULL, NULL);
}
