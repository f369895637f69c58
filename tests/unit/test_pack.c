/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that every level packs every content so that it comes back: read on as part of one frame behind
 * other blocks, and each block alone behind a frame header; also content whose matches at the offsets 1, 4
 * and 8 would be coded as zstd's initial repeated offsets, which a decoder in the middle of a frame does
 * not have; with levels mixed within the frame. The bound on the output holds (the output is guarded), and
 * *ret_last is the header at which the frame can be ended.
 */
#include "unit.h"
#include "tool.h"

#include "capture/level.h"
#include "capture/pack.h"
#include "capture/zframe.h"

#include <zstd.h>

#define CONTENTS 10u

static uint8_t *frame, *raw_all, *back;
static const size_t frame_room = (CONTENTS + 2) * (CAP_BLOCK_BYTES + 64 * 1024);

static void fill(uint8_t *p, size_t n, unsigned kind, uint64_t seed)
{
	static const unsigned offsets[] = { 1, 4, 8 };
	uint64_t state = seed * 1000 + kind + 1;

	for (size_t i = 0; i < n; i++) {
		switch (kind) {
		case 0:
			p[i] = (uint8_t)tool_random(&state);
			break;
		case 1:
			p[i] = 0;
			break;
		case 2: /* text */
			p[i] = "the quick brown fox jumps over the lazy dog; "[tool_random(&state) % 9 +
									       i % 30];
			break;
		case 3:
		case 4:
		case 5: { /* a repetition at a small offset from the first byte on, broken now and then */
			unsigned off = offsets[kind - 3];

			p[i] = i < off || tool_random(&state) % 700 == 0 ? (uint8_t)tool_random(&state)
									 : p[i - off];
			break;
		}
		case 6: /* all three in turns, 40 bytes each */
			p[i] = i < 8 ? (uint8_t)i : p[i - offsets[i / 40 % 3]];
			break;
		case 7: /* records: a counter in a fixed frame */
			p[i] = i % 64 < 4 ? (uint8_t)(i / 64 >> 8 * (i % 4)) : (uint8_t)(i % 64);
			break;
		case 8: /* half random, half zero, by the slice */
			p[i] = i / CAP_ZBLOCK_MAX % 2 ? 0 : (uint8_t)tool_random(&state);
			break;
		default: /* few symbols: entropy coding only */
			p[i] = (uint8_t)(tool_random(&state) % 5);
		}
	}
}

struct piece {
	size_t at, len, last; /* in the frame */
	size_t raw_at, raw_len;
};

/* Packs one block behind `at`; checks that the bound holds for each slice. */
static struct piece pack(struct cap_packer *packer, const uint8_t *raw, uint32_t n, int level, size_t at)
{
	struct cap_block block = { .data = (uint8_t *)(uintptr_t)raw, .used = n, .level = level };
	struct piece piece = { .at = at, .raw_len = n };
	size_t last;

	while (block.packed < block.used) {
		uint8_t *out = frame + at;
		size_t r;

		memset(out + CAP_PACK_SLICE_BOUND, 0xa5, 64);
		r = cap_packer_slice(packer, &block, out, CAP_PACK_SLICE_BOUND, &last);
		assert_true(r > 0 && r <= CAP_PACK_SLICE_BOUND && last < r);
		for (unsigned i = 0; i < 64; i++)
			assert_int_equal(out[CAP_PACK_SLICE_BOUND + i], 0xa5);
		piece.last = at + last;
		at += r;
	}
	piece.len = at - piece.at;
	return piece;
}

/* Decodes exactly these blocks behind a frame header, ended at `last`. */
static void decodes_alone(const struct piece *piece, const uint8_t *raw)
{
	uint8_t *alone = malloc(CAP_ZFRAME_HEADER_BYTES + piece->len);
	size_t r;

	assert_non_null(alone);
	cap_zframe_header(alone);
	memcpy(alone + CAP_ZFRAME_HEADER_BYTES, frame + piece->at, piece->len);
	cap_zframe_set_last(alone + CAP_ZFRAME_HEADER_BYTES + (piece->last - piece->at));
	r = ZSTD_decompress(back, CAP_BLOCK_BYTES, alone, CAP_ZFRAME_HEADER_BYTES + piece->len);
	if (ZSTD_isError(r))
		fail_msg("alone: %s", ZSTD_getErrorName(r));
	assert_int_equal(r, piece->raw_len);
	assert_memory_equal(back, raw, r);
	free(alone);
}

/* All contents in one frame at levels that level_of gives, each block also alone. */
static void round_trip(struct cap_packer *packer, int (*level_of)(unsigned i, int arg), int arg,
		       uint32_t block_bytes)
{
	struct piece piece = { 0 };
	size_t at = CAP_ZFRAME_HEADER_BYTES, r;

	cap_zframe_header(frame);
	for (unsigned i = 0; i < CONTENTS; i++) {
		piece = pack(packer, raw_all + (size_t)i * CAP_BLOCK_BYTES, block_bytes, level_of(i, arg),
			     at);
		decodes_alone(&piece, raw_all + (size_t)i * CAP_BLOCK_BYTES);
		at += piece.len;
	}
	cap_zframe_set_last(frame + piece.last);
	r = ZSTD_decompress(back, (size_t)CONTENTS * CAP_BLOCK_BYTES, frame, at);
	if (ZSTD_isError(r))
		fail_msg("level %d: the frame: %s", arg, ZSTD_getErrorName(r));
	assert_int_equal(r, (size_t)CONTENTS * block_bytes);
	for (unsigned i = 0; i < CONTENTS; i++)
		assert_memory_equal(back + (size_t)i * block_bytes, raw_all + (size_t)i * CAP_BLOCK_BYTES,
				    block_bytes);
}

static int same(unsigned i, int arg)
{
	(void)i;
	return arg;
}

static int mixed(unsigned i, int arg)
{
	static const int levels[] = { 3, -7, CAP_LEVEL_STORE, 9, 1, -50, CAP_LEVEL_STORE, -1, 5, 2, 0 };

	return levels[(i + (unsigned)arg) % ARRAY_LEN(levels)];
}

static void every_level_on_every_content(void **state)
{
	struct cap_packer *packer;

	(void)state;
	assert_int_equal(cap_packer_new(&packer, NULL), 0);
	for (int level = CAP_LEVEL_MIN; level <= CAP_LEVEL_MAX; level++)
		round_trip(packer, same, level, level % 5 == 0 ? CAP_BLOCK_BYTES : 150001);
	cap_packer_free(packer);
}

static void levels_mixed_in_one_frame(void **state)
{
	static const uint32_t sizes[] = {
		1, 2, 15, 16, 17, 100, 1000, 131071, 131072, 131073, CAP_BLOCK_BYTES - 1, CAP_BLOCK_BYTES
	};
	struct cap_packer *packer;

	(void)state;
	assert_int_equal(cap_packer_new(&packer, NULL), 0);
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
		for (int shift = 0; shift < 3; shift++)
			round_trip(packer, mixed, shift + (int)i, sizes[i]);
	cap_packer_free(packer);
}

/*
 * A new frame around the same packer, blocks in any order: what was packed before leaves no trace in the
 * bytes.
 */
static void the_bytes_depend_on_the_block_alone(void **state)
{
	struct cap_packer *one, *two;

	(void)state;
	assert_int_equal(cap_packer_new(&one, NULL), 0);
	assert_int_equal(cap_packer_new(&two, NULL), 0);
	for (unsigned i = 0; i < CONTENTS; i++) {
		const uint8_t *raw = raw_all + (size_t)i * CAP_BLOCK_BYTES;
		uint8_t *first;
		struct piece a, b;

		(void)pack(one, raw_all + (size_t)((i + 1) % CONTENTS) * CAP_BLOCK_BYTES, CAP_BLOCK_BYTES, 3,
			   0);
		a = pack(one, raw, 200000, 1, 0);
		first = malloc(a.len);
		assert_non_null(first);
		memcpy(first, frame, a.len);
		b = pack(two, raw, 200000, 1, 0);
		assert_int_equal(a.len, b.len);
		assert_memory_equal(first, frame, a.len);
		free(first);
	}
	cap_packer_free(one);
	cap_packer_free(two);
}

static int setup(void **state)
{
	(void)state;
	frame = malloc(frame_room);
	raw_all = malloc((size_t)CONTENTS * CAP_BLOCK_BYTES);
	back = malloc((size_t)CONTENTS * CAP_BLOCK_BYTES);
	if (!frame || !raw_all || !back)
		return -1;
	for (unsigned i = 0; i < CONTENTS; i++)
		fill(raw_all + (size_t)i * CAP_BLOCK_BYTES, CAP_BLOCK_BYTES, i, 7);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(frame);
	free(raw_all);
	free(back);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_level_on_every_content),
		cmocka_unit_test(levels_mixed_in_one_frame),
		cmocka_unit_test(the_bytes_depend_on_the_block_alone),
	};

	return cmocka_run_group_tests_name("pack", tests, setup, teardown);
}
