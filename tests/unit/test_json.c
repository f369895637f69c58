/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that JSON from outside is taken whole or refused with its place: duplicate keys, trailing bytes,
 * torn text, bad UTF-8, bottomless nesting, things that are not files.
 */
#include "tests/unit/unit.h"

#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_load(void **state)
{
	_skep_json_ json_t *json = NULL;
	static const char text[] = "{\"a\": [1, 2]} ";

	(void)state;
	assert_int_equal(skep_json_load("x", text, sizeof(text) - 1, &json, NULL), 0);
	assert_int_equal(json_array_size(json_object_get(json, "a")), 2);
}

static void test_refusals(void **state)
{
	static const char *const bad[] = { "", "{", "{\"a\":1,\"a\":2}", "[1,2] x", "{'a':1}", "[\"\xff\"]", "[1,]" };
	char deep[5000];

	(void)state;
	memset(deep, '[', sizeof(deep));
	for (size_t i = 0; i <= ARRAY_LEN(bad); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		json_t *json = NULL;
		const char *text = i < ARRAY_LEN(bad) ? bad[i] : deep;
		size_t len = i < ARRAY_LEN(bad) ? strlen(text) : sizeof(deep);

		assert_int_equal(skep_json_load("job.json", text, len, &json, &err), SKEP_E_BAD_DATA);
		assert_null(json);
		assert_non_null(strstr(err.text, "job.json:1:"));
	}
}

static void test_file(void **state)
{
	char path[] = "/tmp/skep-json-XXXXXX";
	struct skep_err err = SKEP_ERR_NULL;
	_skep_json_ json_t *json = NULL;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "{\n\"a\": x}", 9), 9);
	assert_int_equal(skep_json_load_file(path, &json, &err), SKEP_E_BAD_DATA);
	assert_non_null(strstr(err.text, ":2:6: "));
	assert_int_equal(pwrite(fd, "7", 1, 7), 1);
	assert_int_equal(skep_json_load_file(path, &json, &err), 0);
	assert_int_equal(json_integer_value(json_object_get(json, "a")), 7);
	close(fd);
	unlink(path);
	assert_int_equal(skep_json_load_file(path, &json, &err), -ENOENT);
	assert_int_equal(skep_json_load_file("/tmp", &json, &err), SKEP_E_BAD_DATA);
	assert_non_null(strstr(err.text, "not a regular file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
