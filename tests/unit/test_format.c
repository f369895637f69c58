/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that numbers for people have three digits and never four ("1000 kB"), at the borders too, and that
 * times are exact.
 */
#include "tests/unit/unit.h"

#include "common/format.h"

static void test_sizes(void **state)
{
	char buf[SKEP_FORMAT_MAX];

	(void)state;
	assert_string_equal(skep_format_size(buf, 0), "0 B");
	assert_string_equal(skep_format_size(buf, 999), "999 B");
	assert_string_equal(skep_format_size(buf, 1000), "1.00 kB");
	assert_string_equal(skep_format_size(buf, 9994), "9.99 kB");
	assert_string_equal(skep_format_size(buf, 9996), "10.0 kB");
	assert_string_equal(skep_format_size(buf, 999499), "999 kB");
	assert_string_equal(skep_format_size(buf, 999500), "1.00 MB");
	assert_string_equal(skep_format_size(buf, 12300000000), "12.3 GB");
	assert_string_equal(skep_format_size(buf, UINT64_MAX), "18.4 EB");
}

static void test_rates(void **state)
{
	char buf[SKEP_FORMAT_MAX];

	(void)state;
	assert_string_equal(skep_format_rate(buf, 1.5e9, "bit/s"), "1.50 Gbit/s");
	assert_string_equal(skep_format_rate(buf, 12, "pkt/s"), "12 pkt/s");
	assert_string_equal(skep_format_rate(buf, 0.5, "pkt/s"), "0.50 pkt/s");
	assert_string_equal(skep_format_rate(buf, -1, "pkt/s"), "0 pkt/s");
	assert_string_equal(skep_format_rate(buf, 0.0 / 0.0, "pkt/s"), "0 pkt/s");
}

static void test_durations(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0 s" },
		{ 250, "250 ns" },
		{ 999, "999 ns" },
		{ 1500, "1.50 us" },
		{ 999499, "999 us" },
		{ 999500, "1.00 ms" },
		{ 1500000, "1.50 ms" },
		{ 999500000, "1.00 s" },
		{ 59940000000, "59.9 s" },
		{ 59960000000, "1 min 00 s" },
		{ 125000000000, "2 min 05 s" },
		{ 11040000000000, "3 h 04 min" },
		{ 183600000000000, "2 d 03 h" },
	};
	char buf[SKEP_FORMAT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(skep_format_duration(buf, cases[i].ns), cases[i].text);
}

static void test_times(void **state)
{
	char buf[SKEP_FORMAT_MAX];

	(void)state;
	assert_string_equal(skep_format_time(buf, 0), "1970-01-01T00:00:00.000000000Z");
	assert_string_equal(skep_format_time(buf, 951827696123456789), "2000-02-29T12:34:56.123456789Z");
	assert_string_equal(skep_format_time(buf, UINT64_MAX), "2554-07-21T23:34:33.709551615Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
