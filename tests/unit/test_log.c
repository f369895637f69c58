/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the level decides what is written and evaluated, that each call is exactly one line whatever it
 * is given, and that errno survives.
 */
#include "tests/unit/unit.h"

#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static int evaluated(int *count)
{
	return ++*count;
}

/* What fn wrote to stderr. */
static void capture_stderr(void (*fn)(void), char *text, size_t size)
{
	int pipe_fd[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(pipe_fd), 0);
	dup2(pipe_fd[1], STDERR_FILENO);
	close(pipe_fd[1]);
	fn();
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = read(pipe_fd[0], text, size - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	close(pipe_fd[0]);
}

static void write_levels(void)
{
	int count = 0;

	skep_log(SKEP_LOG_DEBUG, "not written %d", evaluated(&count));
	skep_log(SKEP_LOG_INFO, "link=%s queue=%u", "eth\n1", 3u);
	assert_int_equal(count, 0);
	skep_log_set_level(SKEP_LOG_DEBUG);
	skep_log(SKEP_LOG_DEBUG, "count=%d", evaluated(&count));
	assert_int_equal(count, 1);
	skep_log_set_level(SKEP_LOG_ERROR);
	skep_log(SKEP_LOG_WARNING, "not written");
	skep_log_set_level(SKEP_LOG_INFO);
}

static void test_levels(void **state)
{
	char text[512], expected[512];

	(void)state;
	capture_stderr(write_levels, text, sizeof(text));
	snprintf(expected, sizeof(expected), "%s: info: link=eth?1 queue=3\n%s: debug: count=1\n",
		 program_invocation_short_name, program_invocation_short_name);
	assert_string_equal(text, expected);
}

static void write_long(void)
{
	char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	errno = EXDEV;
	skep_log(SKEP_LOG_ERROR, "%s", text);
	assert_int_equal(errno, EXDEV);
}

static void test_long_line(void **state)
{
	char text[8192];

	(void)state;
	capture_stderr(write_long, text, sizeof(text));
	assert_int_equal(strlen(text), 1024);
	assert_int_equal(strcspn(text, "\n"), 1023);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_long_line),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
