/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves the frame's layout with zstd itself as the judge: every padding that is possible, raw blocks of
 * every awkward size, and the end marks decode to exactly the data; headers survive encoding and decoding;
 * what RFC 8878 forbids is refused.
 */
#include "capture/zframe.h"
#include "common/util.h"
#include "tool.h"

#include <zstd.h>

/* Decodes a whole frame; fails unless zstd accepts it to its last byte. Returns the raw size. */
static size_t decode(uint8_t *dst, size_t room, const uint8_t *src, size_t n)
{
	ZSTD_DStream *d = ZSTD_createDStream();
	ZSTD_inBuffer in = { src, n, 0 };
	ZSTD_outBuffer out = { dst, room, 0 };
	size_t left;

	assert_non_null(d);
	left = ZSTD_decompressStream(d, &out, &in);
	assert_false(ZSTD_isError(left));
	assert_int_equal(left, 0);
	assert_int_equal(in.pos, n);
	ZSTD_freeDStream(d);
	return out.pos;
}

static void header_is_what_zstd_reads(void **state)
{
	uint8_t frame[CAP_ZFRAME_HEADER_BYTES + CAP_ZFRAME_END_BYTES];
	uint8_t none[1];

	(void)state;
	cap_zframe_header(frame);
	cap_zframe_end(frame + CAP_ZFRAME_HEADER_BYTES);
	assert_true(cap_zframe_is_header(frame));
	assert_int_equal(decode(none, 0, frame, sizeof(frame)), 0);
	frame[5] ^= 0x08;
	assert_false(cap_zframe_is_header(frame));
}

static void every_gap_is_filled(void **state)
{
	static uint8_t frame[CAP_ZFRAME_HEADER_BYTES + 8 + 3 * CAP_ALIGN + CAP_ZFRAME_END_BYTES];
	uint8_t raw[8];

	(void)state;
	for (size_t gap = 0; gap < 3 * CAP_ALIGN; gap++) {
		uint8_t *p = frame + CAP_ZFRAME_HEADER_BYTES;
		size_t zeros = 0;

		if (!cap_zframe_pad_fits(gap)) {
			assert_true(gap == 1 || gap == 2 || gap == 5);
			continue;
		}
		memset(frame, 0xee, sizeof(frame));
		cap_zframe_header(frame);
		cap_zframe_pad(p, gap);
		for (size_t i = 0; i < gap; i++) {
			zeros = p[i] ? 0 : zeros + 1;
			assert_true(zeros < CAP_ALIGN);
		}
		p += gap;
		assert_int_equal(p[0], 0xee);
		p += cap_zframe_raw(p, (const uint8_t *)"tail", 4);
		cap_zframe_end(p);
		assert_int_equal(decode(raw, sizeof(raw), frame, (size_t)(p - frame) + CAP_ZFRAME_END_BYTES),
				 4);
		assert_memory_equal(raw, "tail", 4);
	}
}

static void padding_reaches_the_boundary(void **state)
{
	(void)state;
	for (uint64_t offset = 0; offset < 2 * CAP_ALIGN; offset++) {
		const uint32_t gap = cap_zframe_pad_bytes(offset);

		assert_true(cap_zframe_pad_fits(gap));
		assert_int_equal((offset + gap) % CAP_ALIGN, 0);
		assert_true(gap < CAP_ALIGN || !cap_zframe_pad_fits(gap - CAP_ALIGN));
		assert_true(gap <= CAP_ZFRAME_PAD_MAX);
	}
	assert_int_equal(cap_zframe_pad_bytes(UINT64_C(0xfffffffff001)), CAP_ALIGN - 1);
}

static void raw_blocks_of_awkward_sizes(void **state)
{
	static const size_t sizes[] = { 0,
					1,
					2,
					CAP_ZBLOCK_MAX - 1,
					CAP_ZBLOCK_MAX,
					CAP_ZBLOCK_MAX + 1,
					CAP_BLOCK_BYTES - 1,
					CAP_BLOCK_BYTES };
	uint8_t *data = malloc(CAP_BLOCK_BYTES);
	uint8_t *back = malloc(CAP_BLOCK_BYTES);
	uint8_t *frame = malloc(2 * CAP_BLOCK_BYTES);
	uint64_t seed = 7;

	(void)state;
	for (size_t i = 0; i < CAP_BLOCK_BYTES; i++)
		data[i] = (uint8_t)tool_random(&seed);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint8_t *p = frame + CAP_ZFRAME_HEADER_BYTES;
		const size_t n = cap_zframe_raw(p, data, sizes[i]);

		assert_int_equal(n, cap_zframe_raw_bytes(sizes[i]));
		cap_zframe_header(frame);
		cap_zframe_end(p + n);
		assert_int_equal(decode(back, CAP_BLOCK_BYTES, frame,
					CAP_ZFRAME_HEADER_BYTES + n + CAP_ZFRAME_END_BYTES),
				 sizes[i]);
		assert_memory_equal(back, data, sizes[i]);
	}
	free(data);
	free(back);
	free(frame);
}

static void the_last_bit_ends_in_place(void **state)
{
	uint8_t frame[64];
	uint8_t raw[16];
	uint8_t *p = frame + CAP_ZFRAME_HEADER_BYTES;
	size_t n;

	(void)state;
	cap_zframe_header(frame);
	n = cap_zframe_raw(p, (const uint8_t *)"abc", 3);
	cap_zframe_set_last(p);
	assert_int_equal(decode(raw, sizeof(raw), frame, CAP_ZFRAME_HEADER_BYTES + n), 3);
	/* The same with the last block of a padding. */
	p[0] &= (uint8_t)~1u;
	cap_zframe_pad(p + n, 4);
	cap_zframe_set_last(p + n);
	assert_int_equal(decode(raw, sizeof(raw), frame, CAP_ZFRAME_HEADER_BYTES + n + 4), 3);
}

static void block_headers_round_trip(void **state)
{
	(void)state;
	for (uint32_t v = 0; v < 1u << 24; v += 1 + (v & 0x3f)) {
		const uint8_t p[3] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16) };
		struct cap_zframe_block b;
		uint8_t q[3];

		if (!cap_zframe_block_read(p, &b)) {
			assert_true(((v >> 1) & 3) == 3 || (v >> 3) > 128 * 1024);
			continue;
		}
		cap_zframe_block(q, b.type, b.type == CAP_ZFRAME_RLE ? b.raw_bytes : b.content_bytes, b.last);
		assert_memory_equal(p, q, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_is_what_zstd_reads),	cmocka_unit_test(every_gap_is_filled),
		cmocka_unit_test(padding_reaches_the_boundary), cmocka_unit_test(raw_blocks_of_awkward_sizes),
		cmocka_unit_test(the_last_bit_ends_in_place),	cmocka_unit_test(block_headers_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
