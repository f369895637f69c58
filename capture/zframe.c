/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bytes of the frame around the compressed data: RFC 8878, 3.1.1.1 (frame header) and 3.1.1.2 (block
 * header). Knows no libzstd, never allocates, keeps no state. Any thread.
 *
 * Padding. An empty raw block is three zero bytes, so the zeros behind the data of a torn, preallocated file
 * mean nothing. Gaps that three does not divide get empty RLE blocks (four bytes each). A run of CAP_ALIGN
 * zeros never comes from here: where a reader finds one, a write is missing.
 */
#include "capture/zframe.h"

#include "common/util.h"

#include <assert.h>
#include <string.h>

/* Magic; descriptor 0: no single segment, checksum, content size or dictionary; window: exponent << 3, 2^(10
 * + exponent). */
static const uint8_t frame_header[CAP_ZFRAME_HEADER_BYTES] = {
	0x28, 0xb5, 0x2f, 0xfd, 0x00, (CAP_ZFRAME_WINDOW_LOG - 10u) << 3,
};

void cap_zframe_header(uint8_t *p)
{
	memcpy(p, frame_header, sizeof(frame_header));
}

bool cap_zframe_is_header(const uint8_t *p)
{
	return memcmp(p, frame_header, sizeof(frame_header)) == 0;
}

bool cap_zframe_block_read(const uint8_t *p, struct cap_zframe_block *ret)
{
	const uint32_t v = p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16);
	const uint32_t type = (v >> 1) & 3u;
	const uint32_t size = v >> 3;

	if (type > CAP_ZFRAME_COMPRESSED || size > CAP_ZBLOCK_MAX)
		return false;
	*ret = (struct cap_zframe_block){
		.type = (enum cap_zframe_type)type,
		.last = v & 1u,
		.content_bytes = type == CAP_ZFRAME_RLE ? 1 : size,
		.raw_bytes = type == CAP_ZFRAME_COMPRESSED ? 0 : size,
	};
	return true;
}

bool cap_zframe_pad_fits(size_t gap)
{
	return gap != 1 && gap != 2 && gap != 5;
}

uint32_t cap_zframe_pad_bytes(uint64_t offset)
{
	const uint32_t gap = (uint32_t)(-offset & (CAP_ALIGN - 1));

	return cap_zframe_pad_fits(gap) ? gap : gap + CAP_ALIGN;
}

/* Every so many bytes of padding begin with three RLE blocks (12 bytes), so that two stretches in a row stay
 * under a page. */
#define PAD_STRETCH (CAP_ALIGN / 8u * 3u)
_Static_assert(PAD_STRETCH % 3 == 0 && 2 * PAD_STRETCH < CAP_ALIGN, "no page of zeros");

static void put_empty_rle(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cap_zframe_block(p + i * 4, CAP_ZFRAME_RLE, 0, false);
}

void cap_zframe_pad(uint8_t *p, size_t gap)
{
	const size_t odd = gap % 3; /* 4 = 3 + 1: each RLE block takes one off the remainder */

	assert(cap_zframe_pad_fits(gap));
	memset(p, 0, gap);
	put_empty_rle(p, odd);
	for (size_t i = odd * 4; gap - i >= PAD_STRETCH; i += PAD_STRETCH)
		put_empty_rle(p + i, 3);
}

size_t cap_zframe_raw_bytes(size_t n)
{
	return n + (n + CAP_ZBLOCK_MAX - 1) / CAP_ZBLOCK_MAX * CAP_ZBLOCK_HEADER;
}

size_t cap_zframe_raw(uint8_t *dst, const uint8_t *src, size_t n)
{
	uint8_t *p = dst;

	while (n > 0) {
		const size_t part = SKEP_MIN(n, CAP_ZBLOCK_MAX);

		cap_zframe_block(p, CAP_ZFRAME_RAW, (uint32_t)part, false);
		memcpy(p + CAP_ZBLOCK_HEADER, src, part);
		p += CAP_ZBLOCK_HEADER + part;
		src += part;
		n -= part;
	}
	return (size_t)(p - dst);
}
