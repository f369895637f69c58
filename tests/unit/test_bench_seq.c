/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the benchmark can be believed: generated frames are valid (lengths and checksums by a second
 * implementation), and the checker finds every lost, doubled, reordered and damaged frame, down to a single
 * flipped bit, and finds nothing where nothing is wrong.
 */
#include "tests/unit/unit.h"

#include "bench/gen_frame.h"
#include "bench/seq.h"

struct fixture {
	struct skep_gen_cfg cfg;
	struct skep_gen_template templates[SKEP_GEN_TEMPLATES];
	struct bench_pool *pool;
	struct bench_seq seq;
	uint8_t frame[SKEP_GEN_FRAME_MAX];
};

static void open_fixture(struct fixture *f, uint32_t size, uint32_t vlan, int payload)
{
	struct bench_gen_options o = { .size = size,
				       .payload = payload,
				       .seed = 0x123456,
				       .flows = 600,
				       .vlan = vlan,
				       .proto = BENCH_GEN_PROTO_MIX,
				       .ip = BENCH_GEN_IP_MIX,
				       .dst_mac = { 2 } };

	memset(f, 0, sizeof(*f));
	assert_int_equal(bench_gen_frame_prepare(&o, &f->cfg, f->templates, NULL), 0);
	assert_int_equal(f->cfg.n_templates, SKEP_GEN_TEMPLATES);
	f->pool = bench_pool_new((enum skep_gen_payload)payload, o.seed);
	assert_non_null(f->pool);
}

static void close_fixture(struct fixture *f)
{
	bench_seq_done(&f->seq);
	bench_pool_free(f->pool);
}

static uint32_t build(struct fixture *f, uint64_t number)
{
	return bench_gen_frame_build(&f->cfg, f->templates, f->pool, number, f->frame);
}

static void arrive(struct fixture *f, uint64_t number)
{
	uint32_t len = build(f, number);

	assert_int_equal(bench_seq_add(&f->seq, f->frame, len, len), 0);
}

/* RFC 1071 the slow way: byte by byte, carry at once */
static uint16_t sum_slowly(uint16_t sum, const uint8_t *p, size_t n)
{
	uint32_t s = sum;

	for (size_t i = 0; i < n; i++) {
		s += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		s = (s & 0xffff) + (s >> 16);
	}
	return (uint16_t)s;
}

static void check_sums(const uint8_t *f, uint32_t len, uint32_t l3)
{
	bool ip6 = f[l3 - 2] == 0x86;
	uint32_t l4 = l3 + (ip6 ? 40 : 20), l4_len = len - l4, proto = f[l3 + (ip6 ? 6 : 9)];
	uint8_t tail[4] = { (uint8_t)(l4_len >> 8), (uint8_t)l4_len, 0, (uint8_t)proto };
	uint16_t sum;

	if (!ip6) {
		assert_int_equal(sum_slowly(0, f + l3, 20), 0xffff);
		assert_int_equal(f[l3 + 2] << 8 | f[l3 + 3], len - l3);
	} else {
		assert_int_equal(f[l3 + 4] << 8 | f[l3 + 5], l4_len);
	}
	if (proto == 17) {
		assert_int_equal(f[l4 + 4] << 8 | f[l4 + 5], l4_len);
		if (!f[l4 + 6] && !f[l4 + 7]) {
			assert_false(ip6); /* RFC 8200, 8.1: not optional there */
			return;
		}
	}
	sum = ip6 ? sum_slowly(0, f + l3 + 8, 32) : sum_slowly(0, f + l3 + 12, 8);
	assert_int_equal(sum_slowly(sum_slowly(sum, tail, 4), f + l4, l4_len), 0xffff);
}

static void test_frames_are_valid(void **state)
{
	static const uint32_t sizes[] = { 94, 95, 97, 512, 1500, BENCH_GEN_SIZE_IMIX, 9000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct fixture f;

		open_fixture(&f, sizes[i], i % 2 ? 7 : BENCH_GEN_VLAN_NONE, SKEP_GEN_COMPRESSIBLE);
		for (uint64_t n = 0; n < 500; n++) {
			uint32_t len = build(&f, n * 0x100000001ull);

			if (sizes[i])
				assert_int_equal(len, sizes[i]);
			check_sums(f.frame, len, i % 2 ? 18 : 14);
		}
		close_fixture(&f);
	}
}

static void test_all_is_well(void **state)
{
	static const int payloads[] = { SKEP_GEN_RANDOM, SKEP_GEN_COMPRESSIBLE, SKEP_GEN_ZERO };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
		struct fixture f;

		open_fixture(&f, BENCH_GEN_SIZE_IMIX, 5, payloads[i]);
		f.seq.first = 1000;
		/* far enough for the pool to come round */
		for (uint64_t n = 1000; n < 41000; n++)
			arrive(&f, n);
		assert_int_equal(f.seq.unique, 40000);
		assert_int_equal(bench_seq_lost(&f.seq, 40999), 0);
		assert_int_equal(f.seq.duplicated + f.seq.reordered + f.seq.corrupted + f.seq.stray +
					 f.seq.foreign,
				 0);
		assert_int_equal(f.seq.min, 1000);
		assert_int_equal(f.seq.max, 40999);
		close_fixture(&f);
	}
}

static void test_lost_doubled_reordered(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 128, BENCH_GEN_VLAN_NONE, SKEP_GEN_RANDOM);
	for (uint64_t n = 0; n < 100; n++) {
		if (n != 0 && n != 50 && n != 99)
			arrive(&f, n);
	}
	assert_int_equal(bench_seq_lost(&f.seq, 99), 3);
	assert_int_equal(bench_seq_lost(&f.seq, 1000099), 1000003);
	arrive(&f, 50);
	assert_int_equal(f.seq.reordered, 1);
	arrive(&f, 51);
	assert_int_equal(f.seq.duplicated, 1);
	assert_int_equal(bench_seq_lost(&f.seq, 99), 2);
	assert_int_equal(f.seq.corrupted, 0);
	close_fixture(&f);
}

/* Every bit of the payload, of the tag and of the IPv4 header, one at a time. */
static void test_every_flipped_bit_is_found(void **state)
{
	struct fixture f;
	uint32_t len;

	(void)state;
	open_fixture(&f, 200, BENCH_GEN_VLAN_NONE, SKEP_GEN_RANDOM);
	len = build(&f, 6); /* flow 6: UDP over IPv4, payload from byte 58 */
	assert_int_equal(f.frame[23], 17);
	for (uint32_t bit = 14 * 8; bit < len * 8; bit++) {
		uint64_t wrong = f.seq.corrupted + f.seq.stray + f.seq.foreign;

		if (bit >= 34 * 8 && bit < 42 * 8)
			continue; /* the UDP header: nothing follows from it */
		f.frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(bench_seq_add(&f.seq, f.frame, len, len), 0);
		f.frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (f.seq.corrupted + f.seq.stray + f.seq.foreign == wrong)
			fail_msg("bit %u of byte %u was flipped and nobody noticed", bit % 8, bit / 8);
	}
	close_fixture(&f);
}

static void test_cut_and_foreign_frames(void **state)
{
	struct fixture f;
	uint32_t len;

	(void)state;
	open_fixture(&f, 1500, BENCH_GEN_VLAN_NONE, SKEP_GEN_RANDOM);
	len = build(&f, 0);
	assert_int_equal(bench_seq_add(&f.seq, f.frame, 96, len), 0);
	assert_int_equal(f.seq.corrupted, 0);
	assert_int_equal(f.seq.unique, 1);
	/* nothing is read beyond what is there */
	for (uint32_t n = 0; n < 58; n++) {
		uint8_t *exact = test_malloc(n + 1);

		memcpy(exact, f.frame, n);
		assert_int_equal(bench_seq_add(&f.seq, exact, n, len), 0);
		test_free(exact);
	}
	assert_int_equal(f.seq.foreign, 58);
	close_fixture(&f);
}

static void test_sizes_that_do_not_fit_are_refused(void **state)
{
	struct bench_gen_options o = {
		.size = 64, .flows = 1, .vlan = BENCH_GEN_VLAN_NONE, .proto = BENCH_GEN_TCP
	};
	struct skep_gen_template templates[SKEP_GEN_TEMPLATES];
	struct skep_err err = SKEP_ERR_NULL;
	struct skep_gen_cfg cfg;

	(void)state;
	assert_int_equal(bench_gen_frame_prepare(&o, &cfg, templates, &err), SKEP_E_USAGE);
	assert_non_null(strstr(err.text, "70 bytes"));
	o.size = SKEP_GEN_FRAME_MAX + 1;
	assert_int_equal(bench_gen_frame_prepare(&o, &cfg, templates, &err), SKEP_E_USAGE);
	o = (struct bench_gen_options){ .size = 58, .flows = 1, .vlan = BENCH_GEN_VLAN_NONE };
	assert_int_equal(bench_gen_frame_prepare(&o, &cfg, templates, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_are_valid),
		cmocka_unit_test(test_all_is_well),
		cmocka_unit_test(test_lost_doubled_reordered),
		cmocka_unit_test(test_every_flipped_bit_is_found),
		cmocka_unit_test(test_cut_and_foreign_frames),
		cmocka_unit_test(test_sizes_that_do_not_fit_are_refused),
	};

	return cmocka_run_group_tests_name("bench_seq", tests, NULL, NULL);
}
