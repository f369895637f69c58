/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves what a lane does on its own, with time under the test's control: a block is sealed when it is
 * old, a file is rotated on a silent link by the clock, but never at once and never when time is that of a
 * file's packets; a time stamp of 0 is a time stamp; without blocks packets are dropped by the right name
 * and given back to the budget; blocks of random payload are at most one part in a thousand larger than
 * the packets.
 */
#include "unit.h"
#include "tool.h"

#include "capture/lane.h"
#include "capture/segment.h"

#define N_BLOCKS (CAP_POOL_RESERVE + 6u)
#define SECOND SKEP_NSEC_PER_SEC

static struct cap_pool pool;
static struct cap_job job;
static struct cap_files files;
static struct cap_lane lane;
static struct cap_batch batch;
static uint8_t bytes[1500];

static int setup(void **state)
{
	(void)state;
	if (cap_pool_init(&pool, N_BLOCKS, -1, NULL) < 0)
		return -1;
	cap_job_init(&job);
	memset(&files, 0, sizeof(files));
	memset(&lane, 0, sizeof(lane));
	lane.job = &job;
	lane.pool = &pool;
	lane.files = &files;
	lane.compressed = true;
	lane.now_ns = 1000 * SECOND; /* the machine has been up for a while */
	cap_level_init(&lane.level, false, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cap_pool_fini(&pool);
	return 0;
}

static void offer(uint32_t n, uint32_t len, uint64_t ts_ns)
{
	memset(&batch, 0, sizeof(batch));
	batch.n = n;
	for (uint32_t i = 0; i < n; i++)
		batch.frames[i] = (struct cap_frame){ .data = bytes,
						      .len = len,
						      .cap_len = len,
						      .wire_len = len,
						      .ts_ns = ts_ns + i,
						      .jobs = UINT64_MAX };
	cap_lane_take(&lane, &batch, 0, n, 0);
	assert_int_equal(lane.received, lane.account.stored + lane.account.rejected +
						cap_account_dropped(&lane.account) + lane.account.pending);
}

/* Sealed blocks and the files that end among them. */
static void count(uint32_t *ret_blocks, uint32_t *ret_ends, uint32_t *ret_pkts)
{
	*ret_blocks = *ret_ends = *ret_pkts = 0;
	for (const struct cap_block *b = lane.sealed.head; b; b = b->next) {
		(*ret_blocks)++;
		*ret_ends += b->ends_segment;
		*ret_pkts += b->pkts;
	}
}

static void old_blocks_are_sealed(void **state)
{
	uint32_t blocks, ends, pkts;

	(void)state;
	offer(3, 100, SECOND);
	lane.now_ns += CAP_FLUSH_NS - 1;
	cap_lane_age(&lane, false);
	assert_int_equal(lane.sealed.n, 0);
	lane.now_ns += 1;
	cap_lane_age(&lane, false);
	count(&blocks, &ends, &pkts);
	assert_true(blocks == 1 && ends == 0 && pkts == 3);
	assert_null(lane.block);
}

static void the_clock_rotates_a_silent_link(void **state)
{
	uint32_t blocks, ends, pkts;

	(void)state;
	job.rotate_ns = 10 * SECOND;
	cap_lane_age(&lane, false);
	offer(3, 100, SECOND);
	cap_lane_age(&lane, false);
	count(&blocks, &ends, &pkts);
	assert_int_equal(ends, 0); /* not at once, however long the machine is up */
	for (int i = 0; i < 9; i++) {
		lane.now_ns += SECOND;
		cap_lane_age(&lane, false);
	}
	count(&blocks, &ends, &pkts);
	assert_true(ends == 0 && pkts == 3);
	lane.now_ns += SECOND;
	cap_lane_age(&lane, false);
	count(&blocks, &ends, &pkts);
	assert_int_equal(ends, 1);
	lane.now_ns += 100 * SECOND;
	cap_lane_age(&lane, false);
	count(&blocks, &ends, &pkts);
	assert_int_equal(ends, 1); /* no packet, no file */
}

static void the_clock_does_not_rotate_a_replay(void **state)
{
	uint32_t blocks, ends, pkts;

	(void)state;
	job.rotate_ns = 10 * SECOND;
	job.clock_from_packets = true;
	offer(3, 100, SECOND);
	lane.now_ns += 100 * SECOND;
	cap_lane_age(&lane, false);
	offer(1, 100, 2 * SECOND);
	count(&blocks, &ends, &pkts);
	assert_int_equal(ends, 0);
	offer(1, 100, 11 * SECOND);
	count(&blocks, &ends, &pkts);
	assert_int_equal(ends, 1);
}

static void time_zero_is_a_time(void **state)
{
	uint32_t blocks, ends, pkts;

	(void)state;
	job.rotate_raw_bytes = 200;
	job.clock_from_packets = true;
	offer(1, 100, 0);
	offer(1, 100, 0);
	count(&blocks, &ends, &pkts);
	assert_int_equal(ends, 1);
}

static void without_blocks_packets_are_dropped_by_name(void **state)
{
	uint64_t before;

	(void)state;
	job.limits_pkts = true;
	atomic_store(&job.budget->pkts_left, 1000000);
	for (int i = 0; i < 200; i++)
		offer(CAP_BATCH, 1500, SECOND);
	assert_true(lane.account.dropped[CAP_DROP_BUFFERS_FULL] > 0);
	assert_int_equal(pool.n_free, CAP_POOL_RESERVE);
	assert_int_equal(atomic_load(&job.budget->pkts_left), 1000000 - (int64_t)lane.account.pending);
	before = lane.account.dropped[CAP_DROP_BUFFERS_FULL];
	atomic_store(&files.blocked, 1 + CAP_DROP_DISK_FULL);
	offer(CAP_BATCH, 1500, SECOND);
	assert_int_equal(lane.account.dropped[CAP_DROP_DISK_FULL], CAP_BATCH);
	assert_int_equal(lane.account.dropped[CAP_DROP_BUFFERS_FULL], before);
	cap_lane_age(&lane, true);
	cap_lane_drop_sealed(&lane, CAP_DROP_WRITE_ERROR);
	assert_int_equal(lane.account.pending, 0);
	assert_int_equal(pool.n_free, N_BLOCKS);
	assert_int_equal(lane.received, cap_account_dropped(&lane.account));
}

static void stored_blocks_cost_next_to_nothing(void **state)
{
	(void)state;
	cap_level_init(&lane.level, false, CAP_LEVEL_STORE);
	while (lane.sealed.n < 3)
		offer(1, 1 + (uint32_t)(lane.received * 7 % 1500), SECOND);
	for (const struct cap_block *b = lane.sealed.head; b; b = b->next) {
		assert_int_equal(b->layout, CAP_LAYOUT_STORED);
		assert_true(b->used * 1000ull <= b->raw_bytes * 1001ull);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(old_blocks_are_sealed, setup, teardown),
		cmocka_unit_test_setup_teardown(the_clock_rotates_a_silent_link, setup, teardown),
		cmocka_unit_test_setup_teardown(the_clock_does_not_rotate_a_replay, setup, teardown),
		cmocka_unit_test_setup_teardown(time_zero_is_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(without_blocks_packets_are_dropped_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(stored_blocks_cost_next_to_nothing, setup, teardown),
	};

	return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
