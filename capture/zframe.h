/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_ZFRAME_H
#define CAP_ZFRAME_H
/*
 * The layout of a segment's one zstd frame (RFC 8878, 3.1.1): frame header, blocks, padding, end. No
 * compression happens here. docs/reference/segment-format.md tells the whole.
 */
#include "capture/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAP_ZFRAME_HEADER_BYTES 6u
/* The window that the frame header declares: 2^(10 + 10). Nothing reaches back further than its own block of
 * CAP_BLOCK_BYTES. */
#define CAP_ZFRAME_WINDOW_LOG 20u
#define CAP_ZFRAME_END_BYTES 3u
/* The longest padding: a gap of 1, 2 or 5 bytes cannot be filled, so a page more is. */
#define CAP_ZFRAME_PAD_MAX (CAP_ALIGN + 5u)

_Static_assert((1u << CAP_ZFRAME_WINDOW_LOG) >= CAP_BLOCK_BYTES,
	       "the window holds what a block can refer to");
_Static_assert(CAP_ZBLOCK_MAX <= 128u * CAP_KIB && CAP_ZBLOCK_HEADER == 3, "RFC 8878, 3.1.1.2");

enum cap_zframe_type { CAP_ZFRAME_RAW = 0, CAP_ZFRAME_RLE = 1, CAP_ZFRAME_COMPRESSED = 2 };

struct cap_zframe_block {
	enum cap_zframe_type type;
	bool last;
	uint32_t content_bytes; /* that follow the header: size; 1 for RLE */
	uint32_t raw_bytes;	/* regenerated; unknown (0) for compressed */
};

/* Writes CAP_ZFRAME_HEADER_BYTES. */
void cap_zframe_header(uint8_t *p);
/* True if p[0 .. CAP_ZFRAME_HEADER_BYTES) is exactly our frame header. */
bool cap_zframe_is_header(const uint8_t *p);

/* Writes CAP_ZBLOCK_HEADER bytes. size: of the content; for RLE, the regenerated size; at most
 * CAP_ZBLOCK_MAX. */
static inline void cap_zframe_block(uint8_t *p, enum cap_zframe_type type, uint32_t size, bool last)
{
	const uint32_t v = (size << 3) | ((uint32_t)type << 1) | last;

	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
}

/* Reads a header; false if no zstd block may look like that (reserved type, too long). */
bool cap_zframe_block_read(const uint8_t *p, struct cap_zframe_block *ret);

/*
 * Marks the block whose header is at p as the frame's last, in place. An empty raw block (padding) may be the
 * last one too, but nothing may follow the last block.
 */
static inline void cap_zframe_set_last(uint8_t *p)
{
	p[0] |= 1u;
}

/* The frame's end as a block of its own: CAP_ZFRAME_END_BYTES. */
static inline void cap_zframe_end(uint8_t *p)
{
	cap_zframe_block(p, CAP_ZFRAME_RAW, 0, true);
}

/* Bytes of padding from offset to a multiple of CAP_ALIGN: the next one, or the one after if the gap cannot
 * be filled. */
uint32_t cap_zframe_pad_bytes(uint64_t offset);
/* True if gap bytes can be filled: 0, 3, 4, 6 and everything above. */
bool cap_zframe_pad_fits(size_t gap);
/* Fills p[0 .. gap) with blocks that mean nothing; gap must fit. A run of CAP_ALIGN zero bytes never appears
 * in it. */
void cap_zframe_pad(uint8_t *p, size_t gap);

/* Splits n bytes at src into raw blocks; the size of the result. */
size_t cap_zframe_raw_bytes(size_t n);
/* Writes n bytes as raw blocks of at most CAP_ZBLOCK_MAX to dst (cap_zframe_raw_bytes(n) of room, no
 * overlap); returns that size. */
size_t cap_zframe_raw(uint8_t *dst, const uint8_t *src, size_t n);

#endif
