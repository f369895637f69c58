/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the beginning of a capture is cut at the exact packet, whatever the pieces are in which it
 * comes: against a walk over the whole, for pcap and pcapng, for packets and for bytes; and that nonsense is
 * found.
 */
#include "tests/unit/unit.h"

#include "hive/export/cut.h"

#include <errno.h>
#include <string.h>

#define PKTS 200

struct text {
	uint8_t data[PKTS * 160 + 512];
	size_t n;
};

static void put_u32(struct text *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to->data[to->n++] = (uint8_t)(value >> 8 * i);
}

static void put_body(struct text *to, uint32_t n, uint8_t value)
{
	memset(to->data + to->n, value, n);
	to->n += n;
}

static uint32_t size_of(int i)
{
	return (uint32_t)(1 + (i * 37) % 100);
}

static void make_pcap(struct text *to, int pkts)
{
	put_u32(to, 0xa1b23c4d);
	put_body(to, 20, 1);
	for (int i = 0; i < pkts; i++) {
		put_u32(to, 1000);
		put_u32(to, (uint32_t)i);
		put_u32(to, size_of(i));
		put_u32(to, 1500);
		put_body(to, size_of(i), (uint8_t)i);
	}
}

static void put_block(struct text *to, uint32_t type, const uint32_t *head, uint32_t n_head, uint32_t body)
{
	uint32_t length = 12 + 4 * n_head + (body + 3) / 4 * 4;

	put_u32(to, type);
	put_u32(to, length);
	for (uint32_t i = 0; i < n_head; i++)
		put_u32(to, head[i]);
	put_body(to, (body + 3) / 4 * 4, 7);
	put_u32(to, length);
}

/* What is no packet stands at the beginning, in between and at the end. */
static void make_pcapng(struct text *to, int pkts, int kept)
{
	put_block(to, 0x0a0d0d0a, (const uint32_t[]){ 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff }, 4, 0);
	put_block(to, 1, (const uint32_t[]){ 1, 0 }, 2, 8);
	for (int i = 0; i < pkts; i++) {
		if (i < kept)
			put_block(to, 6, (const uint32_t[]){ 0, 0, (uint32_t)i, size_of(i), 1500 }, 5,
				  size_of(i));
		if (i == pkts / 2)
			put_block(to, 5, (const uint32_t[]){ 0, 0, 0 }, 3, 16);
	}
	put_block(to, 5, (const uint32_t[]){ 0, 0, 0 }, 3, 16);
}

static int collect(void *arg, const uint8_t *data, size_t n)
{
	struct text *to = arg;

	assert_true(to->n + n <= sizeof(to->data));
	memcpy(to->data + to->n, data, n);
	to->n += n;
	return 0;
}

static void feed(struct hive_cut *cut, const struct text *from, uint32_t seed, struct text *to)
{
	const struct hive_cut_to sink = { collect, to };

	for (size_t at = 0, n; at < from->n; at += n) {
		seed = seed * 1664525 + 1013904223;
		n = seed % 3 == 0 ? 1 : 1 + seed / 7 % 90;
		n = SKEP_MIN(n, from->n - at);
		assert_int_equal(hive_cut_feed(cut, from->data + at, n, &sink), 0);
	}
}

static void pieces_do_not_matter(void **state)
{
	static struct text whole, want, got;

	(void)state;
	for (int kept = 0; kept <= PKTS; kept += kept < 3 ? 1 : 31) {
		for (uint32_t seed = 1; seed < 12; seed++) {
			struct hive_cut cut = { .pkts_max = kept ? kept : PKTS + 1 };
			int n = kept ? kept : PKTS;

			whole.n = want.n = got.n = 0;
			make_pcap(&whole, PKTS);
			make_pcap(&want, n);
			feed(&cut, &whole, seed, &got);
			assert_int_equal(got.n, want.n);
			assert_memory_equal(got.data, want.data, want.n);
			assert_int_equal(cut.pkts, n);
			assert_int_equal(cut.last_ns, 1000 * (int64_t)SKEP_NSEC_PER_SEC + n - 1);
			assert_int_equal(cut.over, n < PKTS);

			cut = (struct hive_cut){ .pkts_max = kept ? kept : PKTS + 1, .pcapng = true };
			whole.n = want.n = got.n = 0;
			make_pcapng(&whole, PKTS, PKTS);
			make_pcapng(&want, PKTS, n);
			feed(&cut, &whole, seed, &got);
			assert_int_equal(got.n, want.n);
			assert_memory_equal(got.data, want.data, want.n);
			assert_int_equal(cut.pkts, n);
		}
	}
}

/* The first packet that does not fit ends it, also if smaller ones follow. */
static void bytes_end_at_the_packet_that_does_not_fit(void **state)
{
	static struct text whole, got;
	int64_t bytes = 0;

	(void)state;
	make_pcap(&whole, PKTS);
	for (int i = 0; i < PKTS; i++) {
		int64_t there = bytes;

		bytes += 16 + size_of(i);
		for (int64_t limit = there + 1; limit <= bytes;
		     limit += SKEP_MAX(bytes - there - 1, INT64_C(1))) {
			struct hive_cut cut = { .bytes_max = limit };

			got.n = 0;
			feed(&cut, &whole, (uint32_t)i, &got);
			assert_int_equal(cut.pkts, limit == bytes ? i + 1 : i);
			assert_int_equal(cut.bytes, limit == bytes ? bytes : there);
		}
	}
}

static void nonsense_is_found(void **state)
{
	static struct text bad;
	struct hive_cut cut = { 0 };

	(void)state;
	put_body(&bad, 64, 0x41);
	assert_int_equal(hive_cut_feed(&cut, bad.data, bad.n, &(struct hive_cut_to){ 0 }), -EBADMSG);
	cut = (struct hive_cut){ .pcapng = true };
	assert_int_equal(hive_cut_feed(&cut, bad.data, bad.n, &(struct hive_cut_to){ 0 }), -EBADMSG);
	cut = (struct hive_cut){ .pcapng = true };
	bad.n = 0;
	put_u32(&bad, 6);
	put_u32(&bad, 12); /* too short for a packet */
	put_body(&bad, 40, 0);
	assert_int_equal(hive_cut_feed(&cut, bad.data, bad.n, &(struct hive_cut_to){ 0 }), -EBADMSG);
	cut = (struct hive_cut){ 0 };
	bad.n = 0;
	make_pcap(&bad, 0);
	put_body(&bad, 16, 0xff); /* a record of 4 GB */
	assert_int_equal(hive_cut_feed(&cut, bad.data, bad.n, &(struct hive_cut_to){ 0 }), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_do_not_matter),
		cmocka_unit_test(bytes_end_at_the_packet_that_does_not_fit),
		cmocka_unit_test(nonsense_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
