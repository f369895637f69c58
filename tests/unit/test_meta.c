/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that metadata become the right fields: the stamp by the clock it was taken with, the jobs, the
 * length on the wire; and that a tag the NIC took out is put back in its place by fragments, with the lengths
 * to match, but not into a frame too short to have one.
 */
#include "tests/unit/unit.h"

#include "capture/meta.h"

static const struct cap_meta_clock meta_clock = { .tai_to_utc_ns = -37, .nic_to_utc_ns = 1000 };
static struct cap_batch batch;

static struct cap_frame *apply(const uint8_t *data, uint32_t len, const struct skep_meta *meta)
{
	memset(&batch, 0, sizeof(batch));
	batch.n = 3;
	batch.frag_n = 5;
	batch.frames[3] = (struct cap_frame){ .data = data, .len = len, .cap_len = len, .frag_first = 5 };
	cap_meta_apply(&batch, &batch.frames[batch.n], meta, &meta_clock);
	return &batch.frames[3];
}

static void test_fields(void **state)
{
	static const uint8_t data[60];
	struct skep_meta meta = { .jobs = 5, .ts_ns = 100000, .wire_len = 1500 };
	struct cap_frame *f = apply(data, sizeof(data), &meta);

	(void)state;
	assert_true(f->jobs == 5);
	assert_int_equal(f->ts_ns, 100000 - 37);
	assert_int_equal(f->wire_len, 1500);
	assert_int_equal(f->cap_len, 60);
	assert_int_equal(f->frag_n, 0);
	assert_int_equal(batch.frag_n, 5);
	meta.flags = SKEP_META_F_HW_TS;
	assert_int_equal(apply(data, sizeof(data), &meta)->ts_ns, 101000);
}

static void test_tag(void **state)
{
	static const uint8_t data[60] = { 1, 2, 3 };
	const struct skep_meta meta = {
		.wire_len = 60, .flags = SKEP_META_F_VLAN, .vlan_tpid = 0x8100, .vlan_tci = 0xa02a
	};
	static const uint8_t tag[4] = { 0x81, 0x00, 0xa0, 0x2a };
	struct cap_frame *f = apply(data, sizeof(data), &meta);

	(void)state;
	assert_int_equal(f->len, 12);
	assert_int_equal(f->cap_len, 64);
	assert_int_equal(f->wire_len, 64);
	assert_int_equal(f->frag_n, 2);
	assert_int_equal(batch.frag_n, 7);
	assert_int_equal(batch.frags[5].len, 4);
	assert_memory_equal(batch.frags[5].data, tag, 4);
	assert_ptr_equal(batch.frags[6].data, data + 12);
	assert_int_equal(batch.frags[6].len, 48);

	f = apply(data, 11,
		  &(struct skep_meta){ .wire_len = 11, .flags = SKEP_META_F_VLAN, .vlan_tpid = 0x8100 });
	assert_int_equal(f->len, 11);
	assert_int_equal(f->cap_len, 11);
	assert_int_equal(f->frag_n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
