/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the system's clocks are read in nanoseconds, that a fake clock can replace them, and that the
 * clock's quality is what the kernel says to another reader of adjtimex.
 */
#include "tests/unit/unit.h"

#include <sys/timex.h>

static void test_system(void **state)
{
	uint64_t first = skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC);
	uint64_t utc_s = skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME) / SKEP_NSEC_PER_SEC;

	(void)state;
	assert_true(skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC) >= first);
	assert_true(utc_s + 2 >= (uint64_t)time(NULL) && utc_s <= (uint64_t)time(NULL) + 2);
}

static void test_fake(void **state)
{
	struct fake_clock fake = { .now_ns = 5, .step_ns = 3 };
	struct skep_clock clock = FAKE_CLOCK(&fake);

	(void)state;
	assert_int_equal(skep_clock_now_ns(&clock, CLOCK_MONOTONIC), 5);
	assert_int_equal(skep_clock_now_ns(&clock, CLOCK_MONOTONIC), 8);
	fake.now_ns = 1; /* clocks can go back */
	assert_int_equal(skep_clock_now_ns(&clock, CLOCK_MONOTONIC), 1);
}

static void test_quality(void **state)
{
	struct skep_clock_state clock = { .tai_offset_s = -1 };
	struct timex tx = { 0 };

	(void)state;
	assert_int_equal(skep_clock_state(&clock), 0);
	assert_true(adjtimex(&tx) >= 0);
	assert_int_equal(clock.tai_offset_s, tx.tai);
	assert_int_equal(clock.synchronised, !(tx.status & STA_UNSYNC));
	assert_true(clock.error_ns % 1000 == 0 && clock.max_error_ns <= (uint64_t)tx.maxerror * 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_system),
		cmocka_unit_test(test_fake),
		cmocka_unit_test(test_quality),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
