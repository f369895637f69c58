/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves the book-keeping of a segment: writes that complete in any order make bytes durable only in
 * order; packets are stored when the bytes of their entry are durable and not before; behind a failed
 * write nothing is; a full index is merged and still describes the same bytes and packets.
 */
#include "unit.h"
#include "tool.h"

#include "capture/segment.h"

static struct cap_segment *seg;
static struct cap_account lane;

static int setup(void **state)
{
	(void)state;
	memset(&lane, 0, sizeof(lane));
	seg = cap_segment_new(NULL);
	return seg ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	seg = cap_segment_free(seg);
	return 0;
}

/* A write in flight of 1,000 bytes that holds one entry of 10 packets. */
static void put(void)
{
	struct cap_index_entry *e = cap_segment_entry(seg);

	e->file_offset = seg->off;
	e->file_bytes = 1000;
	e->raw_offset = seg->raw_off;
	e->raw_bytes = 3000;
	e->bytes_wire = 2900;
	e->zblock_last = seg->off + 900;
	e->ts_first_ns = seg->off;
	e->ts_last_ns = seg->off + 999;
	e->pkts = 10;
	seg->n_index++;
	lane.pending += 10;
	seg->raw_off += 3000;
	seg->off += 1000;
}

static unsigned fly(void)
{
	unsigned slot = (seg->writes_head + seg->inflight) % CAP_SINK_DEPTH;

	put();
	seg->writes[slot] = (struct cap_write){ .end = seg->off };
	seg->inflight++;
	return slot;
}

static void land(unsigned slot, bool failed)
{
	seg->writes[slot].complete = true;
	seg->writes[slot].failed = failed;
	cap_segment_advance(seg);
	cap_segment_settle(seg, &lane, false, 0);
}

static void stored_in_order_only(void **state)
{
	unsigned a = fly(), b = fly(), c = fly();

	(void)state;
	land(c, false);
	land(b, false);
	assert_int_equal(lane.stored, 0);
	assert_int_equal(seg->durable, 0);
	land(a, false);
	assert_int_equal(lane.stored, 30);
	assert_int_equal(lane.pending, 0);
	assert_int_equal(lane.bytes_raw, 9000);
	assert_int_equal(seg->durable, 3000);
	assert_int_equal(seg->inflight, 0);
}

static void nothing_behind_a_failure(void **state)
{
	unsigned a = fly(), b = fly(), c = fly();

	(void)state;
	land(c, false);
	land(b, true);
	land(a, false);
	assert_int_equal(seg->durable, 1000);
	assert_int_equal(lane.stored, 10);
	assert_int_equal(lane.pending, 20);
	cap_segment_settle(seg, &lane, true, CAP_DROP_WRITE_ERROR);
	assert_int_equal(lane.dropped[CAP_DROP_WRITE_ERROR], 20);
	assert_int_equal(lane.pending, 0);
	assert_int_equal(seg->n_index, 1);
	assert_int_equal(seg->account.stored, 10);
}

static void any_order_ends_the_same(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		unsigned slots[CAP_SINK_DEPTH], n = 1 + (unsigned)(tool_random(&random) % CAP_SINK_DEPTH);

		for (unsigned i = 0; i < n; i++)
			slots[i] = fly();
		for (unsigned i = n; i > 0; i--) {
			unsigned k = (unsigned)(tool_random(&random) % i), slot = slots[k];

			slots[k] = slots[i - 1];
			land(slot, false);
			assert_int_equal(lane.stored * 100, seg->durable);
		}
		assert_int_equal(seg->durable, seg->off);
	}
}

static void a_full_index_is_merged(void **state)
{
	const uint64_t n = 3ull * CAP_INDEX_MAX + 12345;
	uint64_t pkts = 0, at = 0, raw = 0;

	(void)state;
	for (uint64_t i = 0; i < n; i++) {
		put();
		if (i % 7 == 0 || i + 1 == n) {
			seg->durable = seg->off;
			cap_segment_settle(seg, &lane, false, 0);
		}
	}
	assert_true(seg->n_index <= CAP_INDEX_MAX);
	assert_int_equal(lane.stored, n * 10);
	for (uint32_t i = 0; i < seg->n_index; i++) {
		const struct cap_index_entry *e = &seg->index[i];

		assert_int_equal(e->file_offset, at);
		assert_int_equal(e->raw_offset, raw);
		assert_int_equal(e->raw_bytes, 3 * e->file_bytes);
		assert_int_equal(e->ts_first_ns, at);
		at += e->file_bytes;
		raw += e->raw_bytes;
		assert_int_equal(e->ts_last_ns, at - 1);
		assert_int_equal(e->zblock_last, at - 100);
		pkts += e->pkts;
	}
	assert_int_equal(at, n * 1000);
	assert_int_equal(pkts, n * 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stored_in_order_only, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_behind_a_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(any_order_ends_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_index_is_merged, setup, teardown),
	};

	return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
