/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves how the level follows the load, with simulated time: down while blocks wait, up when it is calm,
 * still for an hour of steady load whatever the levels really cost, stored within a few blocks when the
 * payload does not shrink and compressed again when it does, and a block that was stored for want of
 * memory says nothing about the payload.
 */
#include "unit.h"

#include "capture/level.h"

#define MIB CAP_BLOCK_BYTES
#define MS SKEP_NSEC_PER_MSEC

static void goes_down_while_blocks_wait(void **state)
{
	struct cap_level level;
	int before = INT32_MAX, last = 0;

	(void)state;
	cap_level_init(&level, true, 0);
	for (int i = 0; i < 6; i++) {
		last = cap_level_choose(&level, 5, false);
		assert_true(last <= before);
		before = last;
	}
	assert_true(last <= -5 && last > CAP_LEVEL_STORE);
	assert_int_equal(cap_level_choose(&level, 5, true), CAP_LEVEL_STORE);
	assert_true(cap_level_choose(&level, 0, false) > CAP_LEVEL_STORE); /* that was for one block only */
}

static void goes_up_when_calm(void **state)
{
	struct cap_level level;
	uint64_t now_ns = MS;

	(void)state;
	cap_level_init(&level, true, 0);
	for (int i = 0; i < 6; i++)
		(void)cap_level_choose(&level, 5, false);
	for (int i = 0; i < 100; i++) {
		(void)cap_level_choose(&level, 0, false);
		cap_level_result(&level, MIB, MIB / 3, MS, now_ns += 100 * MS);
	}
	assert_int_equal(cap_level_now(&level), CAP_LEVEL_AUTO_MAX);
}

static void a_fixed_level_stays(void **state)
{
	struct cap_level level;

	(void)state;
	cap_level_init(&level, false, 6);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(cap_level_choose(&level, 20, true), 6);
		cap_level_result(&level, MIB, MIB, MS, (uint64_t)i * MS);
		assert_int_equal(cap_level_layout(&level), CAP_LAYOUT_PLAIN);
	}
	cap_level_init(&level, false, CAP_LEVEL_STORE);
	assert_int_equal(cap_level_layout(&level), CAP_LAYOUT_STORED);
}

/*
 * One core: a block comes every interval_ns, packing takes what the table says. Returns how often the
 * level changed.
 */
static uint64_t simulate(uint64_t interval_ns, uint64_t hours_ns, const uint64_t cost_ns[5],
			 uint64_t *ret_max_wait)
{
	static const int names[] = { 3, 1, -1, -3, -7 };
	struct cap_level level;
	uint64_t now_ns = 0, arrived = 1, packed = 0, changes = 0;
	int last = 1;

	cap_level_init(&level, true, 0);
	*ret_max_wait = 0;
	while (now_ns < hours_ns) {
		uint64_t waiting, cost = 0;
		int chosen;

		if (arrived == packed) {
			now_ns = arrived * interval_ns;
			arrived++;
		}
		waiting = arrived - packed - 1;
		*ret_max_wait = SKEP_MAX(*ret_max_wait, waiting);
		chosen = cap_level_choose(&level, (uint32_t)waiting, waiting > 70);
		for (unsigned i = 0; i < 5; i++)
			if (chosen == names[i])
				cost = cost_ns[i];
		cost = cost ? cost : MS / 10;
		now_ns += cost;
		packed++;
		arrived = SKEP_MAX(arrived, now_ns / interval_ns + 1);
		if (chosen == CAP_LEVEL_STORE)
			continue; /* overload: as many are stored as must be */
		cap_level_result(&level, MIB, MIB / 3, cost, now_ns);
		changes += chosen != last;
		last = chosen;
	}
	return changes;
}

static void does_not_swing(void **state)
{
	/*
	 * As first guessed; level 3 much dearer than guessed; the low levels all the same; each step twice
	 * as dear.
	 */
	static const uint64_t costs[][5] = {
		{ 5000000, 2200000, 1400000, 1300000, 1100000 },
		{ 30000000, 2200000, 1400000, 1300000, 1100000 },
		{ 5000000, 2200000, 1400000, 1400000, 1400000 },
		{ 16000000, 8000000, 4000000, 2000000, 1000000 },
		{ 50000000, 5000000, 1500000, 700000, 600000 },
	};
	static const uint64_t intervals[] = {
		500 * MS, 50 * MS, 20 * MS, 12 * MS, 10 * MS, 8 * MS,  6 * MS,
		5 * MS,	  4 * MS,  3 * MS,  2500000, 2 * MS,  1600000, 1200000
	};

	(void)state;
	for (unsigned c = 0; c < ARRAY_LEN(costs); c++) {
		for (unsigned i = 0; i < ARRAY_LEN(intervals); i++) {
			uint64_t wait,
				changes = simulate(intervals[i], 3600 * SKEP_NSEC_PER_SEC, costs[c], &wait);

			uint64_t blocks = 3600 * SKEP_NSEC_PER_SEC / intervals[i];

			if (changes > 40 + blocks / 8192 || (intervals[i] > costs[c][4] && wait > 20))
				fail_msg("costs %u, a block every %llu us: %llu changes in an hour, %llu "
					 "blocks waiting",
					 c, (unsigned long long)intervals[i] / 1000,
					 (unsigned long long)changes, (unsigned long long)wait);
		}
	}
}

/*
 * Payload that does not shrink from block `from` to block `to`; returns how many of the blocks in [a, b)
 * were compressed.
 */
static unsigned compressed_blocks(unsigned from, unsigned to, unsigned a, unsigned b)
{
	struct cap_level level;
	unsigned n = 0;

	cap_level_init(&level, true, 0);
	for (unsigned i = 0; i < b; i++) {
		bool shrinks = i < from || i >= to;

		if (cap_level_layout(&level) == CAP_LAYOUT_STORED)
			continue;
		(void)cap_level_choose(&level, 0, false);
		cap_level_result(&level, MIB, shrinks ? MIB / 3 : MIB + 24, MS, (uint64_t)i * 5 * MS);
		n += i >= a;
	}
	return n;
}

static void incompressible_payload_is_stored(void **state)
{
	(void)state;
	/* within a few blocks, and then one probe in so many */
	assert_true(compressed_blocks(0, 10000, 0, 16) <= 2);
	assert_true(compressed_blocks(0, 10000, 0, 10000) <= 10000 / 100 + 4);
	/* at most 127 blocks after the payload has changed, everything is compressed again */
	assert_int_equal(compressed_blocks(0, 5000, 5128, 6128), 1000);
	assert_int_equal(compressed_blocks(100, 120, 150, 1150), 1000);
}

static void small_blocks_are_always_compressed(void **state)
{
	struct cap_level level;

	(void)state;
	cap_level_init(&level, true, 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(cap_level_layout(&level), CAP_LAYOUT_PLAIN);
		cap_level_result(&level, 60000, 60010, MS, (uint64_t)i * 500 * MS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_down_while_blocks_wait),
		cmocka_unit_test(goes_up_when_calm),
		cmocka_unit_test(a_fixed_level_stays),
		cmocka_unit_test(does_not_swing),
		cmocka_unit_test(incompressible_payload_is_stored),
		cmocka_unit_test(small_blocks_are_always_compressed),
	};

	return cmocka_run_group_tests_name("level", tests, NULL, NULL);
}
