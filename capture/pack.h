/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_PACK_H
#define CAP_PACK_H
/*
 * Blocks to zstd blocks, at a level that follows the load.
 *
 * The output of a block is a run of zstd blocks that refers to nothing before it: no match, no repeated
 * offset, no entropy table reaches back. So all blocks of a segment form one zstd frame (which every reader
 * accepts), and yet each can be decompressed alone, and any thread can pack any block.
 */
#include "capture/block.h"

/*
 * Free bytes that a slice may need in the output: the slice, the headers of its (at most two) zstd blocks,
 * zstd's slack.
 */
#define CAP_PACK_SLICE_BOUND (CAP_ZBLOCK_MAX + 1024u)

/* The compressor of one thread. */
struct cap_packer;

/* All memory it will ever need. */
int cap_packer_new(struct cap_packer **ret, struct skep_err *err);
/* Takes NULL; returns NULL. */
struct cap_packer *cap_packer_free(struct cap_packer *packer);

/*
 * Packs the next slice (at most CAP_ZBLOCK_MAX bytes) of a PLAIN block at block->level, advancing
 * block->packed, into out, which has room for the slice and a block header, better for CAP_PACK_SLICE_BOUND.
 * Returns the bytes written; *ret_last is the offset in out of the last zstd block's header.
 */
size_t cap_packer_slice(struct cap_packer *packer, struct cap_block *block, uint8_t *out, size_t room,
			size_t *ret_last);
/* The same without compression: a raw zstd block. */
size_t cap_pack_store(struct cap_block *block, uint8_t *out, size_t *ret_last);

#endif
