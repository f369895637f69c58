/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that errors reach a person whole: text, hint and exit code; that a NULL err is accepted; that a new
 * error forgets the old hint; that bytes from outside cannot forge a line; and that closing keeps errno.
 */
#include "tests/unit/unit.h"

#include "common/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static void test_set(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	assert_int_equal(skep_err_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(skep_err_hint(NULL, "x"), 0);
	assert_int_equal(skep_err_set(&err, SKEP_E_BUSY, "%s: busy", "eth1"), SKEP_E_BUSY);
	assert_int_equal(skep_err_hint(&err, "detach %s", "it"), SKEP_E_BUSY);
	assert_string_equal(err.text, "eth1: busy");
	assert_string_equal(err.hint, "detach it");
	err.column = 3;
	assert_int_equal(skep_err_set(&err, -EIO, "disk"), -EIO);
	assert_string_equal(err.hint, "");
	assert_int_equal(err.column, 0);
}

static void test_exit_codes(void **state)
{
	(void)state;
	assert_int_equal(skep_err_exit_code(0), 0);
	assert_int_equal(skep_err_exit_code(SKEP_E_USAGE), 2);
	assert_int_equal(skep_err_exit_code(-EPERM), 1);
	assert_int_equal(skep_err_exit_code(SKEP_E_BUSY), 1);
}

static void test_print(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	char text[256] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	skep_err_set(&err, SKEP_E_NOT_FOUND, "no interface \"a\nb\033[2J\"");
	skep_err_print(out, "skep-capture", &err);
	skep_err_hint(&err, "see skep-capture -D");
	skep_err_print(out, "skep-capture", &err);
	skep_err_hint(&err, "did you mean \"b\"?\n  a\n  ^");
	skep_err_print(out, "p", &err);
	fclose(out);
	assert_string_equal(text, "skep-capture: no interface \"a?b?[2J\".\n"
				  "skep-capture: no interface \"a?b?[2J\".\nskep-capture: see skep-capture -D.\n"
				  "p: no interface \"a?b?[2J\".\np: did you mean \"b\"?\np:   a\np:   ^\n");
}

static void test_close(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), copy = fd, none = -1;

	(void)state;
	assert_true(fd >= 0);
	errno = EXDEV;
	skep_closep(&fd);
	skep_closep(&none);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(fd, -1);
	assert_int_equal(fcntl(copy, F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_close),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
