/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the strict parsers read exactly their grammar, to the byte and the nanosecond, and that a
 * refusal names the thing, the reason, the column and a hint, and leaves the outputs alone.
 */
#include "tests/unit/unit.h"

#include "common/parse.h"

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "4096B", 4096 },
		{ "10GB", 10000000000 },
		{ "64KiB", 65536 },
		{ "64ki", 65536 },
		{ "1.5G", 1500000000 },
		{ "1.5Gi", 1610612736 },
		{ "0.001k", 1 },
		{ "2T", 2000000000000 },
		{ "1TiB", 1099511627776 },
		{ "18446744073709551615", UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		uint64_t v = 7;

		assert_int_equal(skep_parse_size("--size", good[i].text, &v, &err), 0);
		assert_int_equal(v, good[i].bytes);
		assert_int_equal(err.text[0], 0);
	}
}

static void test_bad_sizes(void **state)
{
	static const struct {
		const char *text, *why;
		int column;
	} bad[] = {
		{ "", "number", 1 },
		{ "x", "number", 1 },
		{ "-1", "number", 1 },
		{ " 1", "number", 1 },
		{ "+1", "number", 1 },
		{ "1 ", "unit", 2 },
		{ "10Gb", "unit", 3 },
		{ "10GBB", "unit", 3 },
		{ "1.k", "point", 3 },
		{ "0.5", "smallest", 1 },
		{ "0.0001k", "smallest", 7 },
		{ "1.1234567890123456789k", "digits", 21 },
		{ "18446744073709551616", "large", 1 },
		{ "18446744073709551615k", "large", 21 },
		{ "99999999999999999999999999999T", "large", 30 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		uint64_t v = 7;

		assert_int_equal(skep_parse_size("--size", bad[i].text, &v, &err), SKEP_E_USAGE);
		assert_int_equal(v, 7);
		assert_int_equal(err.code, SKEP_E_USAGE);
		assert_non_null(strstr(err.text, "--size: "));
		assert_non_null(strstr(err.text, bad[i].why));
		assert_int_equal(err.column, bad[i].column);
		assert_non_null(strstr(err.hint, "KiB"));
	}
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "10", 10000000000 },      { "0.5", 500000000 },     { "500ms", 500000000 }, { "20us", 20000 },
		{ "3ns", 3 },               { "15m", 900000000000 },  { "15min", 900000000000 },
		{ "2h", 7200000000000 },    { "1d", 86400000000000 }, { "1.5h", 5400000000000 },
		{ "1w", 604800000000000 },
	};
	static const char *const bad[] = { "", "ms", "1x", "1 s", "1h30m", "0.5ns", "-1", "1e3", "600000000000", "40000w" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		uint64_t v = 7;

		assert_int_equal(skep_parse_duration("-a", good[i].text, &v, NULL), 0);
		assert_int_equal(v, good[i].ns);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		uint64_t v = 7;

		assert_int_equal(skep_parse_duration("-a", bad[i], &v, &err), SKEP_E_USAGE);
		assert_int_equal(v, 7);
		assert_non_null(strstr(err.hint, "500ms"));
	}
}

static void test_uints(void **state)
{
	static const char *const bad[] = { "", "4", "101", "1x", "-5", "5.0", "0x10", " 5", "5 ", "99999999999999999999" };
	struct skep_err err = SKEP_ERR_NULL;
	uint64_t v = 7;

	(void)state;
	assert_int_equal(skep_parse_uint("-c", "5", 5, 100, &v, &err), 0);
	assert_int_equal(v, 5);
	assert_int_equal(skep_parse_uint("-c", "100", 5, 100, &v, &err), 0);
	assert_int_equal(v, 100);
	assert_int_equal(skep_parse_uint("-c", "18446744073709551615", 0, UINT64_MAX, &v, &err), 0);
	assert_true(v == UINT64_MAX);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		v = 7;
		assert_int_equal(skep_parse_uint("-c", bad[i], 5, 100, &v, &err), SKEP_E_USAGE);
		assert_int_equal(v, 7);
		assert_non_null(strstr(err.hint, "from 5 to 100"));
	}
}

static void test_lists(void **state)
{
	uint16_t items[8];
	struct skep_u16_list list = { .items = items, .room = ARRAY_LEN(items) };
	static const uint16_t expected[] = { 7, 0, 2, 3, 4, 5 };

	(void)state;
	assert_int_equal(skep_parse_list("--queues", "7,0,2-5", 255, &list, NULL), 0);
	assert_int_equal(list.n, ARRAY_LEN(expected));
	assert_memory_equal(items, expected, sizeof(expected));
	assert_int_equal(skep_parse_list("--queues", "65528-65535", 65535, &list, NULL), 0);
	assert_int_equal(list.n, 8);
	assert_int_equal(items[7], 65535);
}

static void test_bad_lists(void **state)
{
	static const struct {
		const char *text, *why;
		int column;
	} bad[] = {
		{ "", "no number", 1 },     { "0,", "no number", 3 },    { ",0", "no number", 1 },
		{ "0,,1", "no number", 3 }, { "0-", "no number", 3 },    { "5-2", "goes down", 1 },
		{ "0,256", "too large", 3 }, { "0,1,0", "twice", 5 },    { "1-3,2", "twice", 5 },
		{ "0 ,1", "list", 2 },      { "0-8", "too many", 1 },    { "99999999999999999999", "too large", 1 },
	};
	uint16_t items[8] = { 42 };
	struct skep_u16_list list = { .items = items, .room = ARRAY_LEN(items), .n = 1 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct skep_err err = SKEP_ERR_NULL;

		assert_int_equal(skep_parse_list("--queues", bad[i].text, 255, &list, &err), SKEP_E_USAGE);
		assert_int_equal(list.n, 1);
		assert_int_equal(items[0], 42);
		assert_non_null(strstr(err.text, bad[i].why));
		if (strcmp(bad[i].why, "too large"))
			assert_int_equal(err.column, bad[i].column);
		assert_non_null(strstr(err.hint, "0,2-5"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),	  cmocka_unit_test(test_bad_sizes),
		cmocka_unit_test(test_durations), cmocka_unit_test(test_uints),
		cmocka_unit_test(test_lists),	  cmocka_unit_test(test_bad_lists),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
