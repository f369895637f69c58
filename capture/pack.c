/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zstd for the packet path. Never allocates after init (static workspace), never fails on any content.
 *
 * Each block starts a new compression (ZSTD_compressBegin clears tables of 32-256 KiB: microseconds), so its
 * matches and entropy tables stay inside it. Repeated offsets would still be taken from the start values {1,
 * 4, 8}, while the decoder, in the middle of the frame, has others; ZSTD_invalidateRepCodes forbids their use
 * until the block has set its own. That is how zstd's own multi-threaded compressor joins its jobs into one
 * frame (lib/compress/zstdmt_compress.c), and the one function here that is not in zstd.h: it is exported by
 * libzstd.a (1.4 to 1.5.7) only, hence the static linking.
 *
 * Why not the streaming API: it copies its input once more, cannot change the level within a frame, and
 * cannot store a block that does not compress without trying first. Measured on mixed traffic: same ratio
 * within 1 %.
 */
#define ZSTD_STATIC_LINKING_ONLY
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include "capture/level.h"
#include "capture/pack.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <zstd.h>

/*
 * zstd, lib/compress/zstd_compress_internal.h: "Required for jobs > 0" of a frame made of independent jobs.
 */
void ZSTD_invalidateRepCodes(ZSTD_CCtx *cctx);

/* A window of one block; the frame header (cap_zframe) announces the same. */
#define WINDOW_LOG 20
_Static_assert(1u << WINDOW_LOG == CAP_BLOCK_BYTES, "the window is a block");

struct cap_packer {
	void *workspace;      /* static, sized for the highest level: the packet path never allocates */
	size_t workspace_bytes;
	ZSTD_CCtx *cctx;
	int level;            /* the parameters in use are for this level */
	ZSTD_parameters params;
};

static ZSTD_parameters params_of(int level)
{
	ZSTD_parameters params = ZSTD_getParams(level, CAP_BLOCK_BYTES, 0);

	params.cParams.windowLog = WINDOW_LOG;
	params.fParams.contentSizeFlag = 0;
	params.fParams.checksumFlag = 0;
	params.fParams.noDictIDFlag = 1;
	return params;
}

int cap_packer_new(struct cap_packer **ret, struct skep_err *err)
{
	struct cap_packer *packer = calloc(1, sizeof(*packer));

	if (!packer)
		return skep_err_set(err, -ENOMEM, "no memory for the compressor");
	for (int level = -1; level <= CAP_LEVEL_MAX; level++) {
		size_t bytes = ZSTD_estimateCCtxSize_usingCParams(params_of(level).cParams);

		packer->workspace_bytes = SKEP_MAX(packer->workspace_bytes, bytes);
	}
	packer->workspace_bytes = skep_align_up(packer->workspace_bytes, 64);
	packer->workspace = aligned_alloc(64, packer->workspace_bytes);
	if (packer->workspace)
		packer->cctx = ZSTD_initStaticCCtx(packer->workspace, packer->workspace_bytes);
	if (!packer->cctx) {
		skep_err_set(err, -ENOMEM, "no memory for the compressor (%zu bytes)", packer->workspace_bytes);
		cap_packer_free(packer);
		return -ENOMEM;
	}
	packer->level = CAP_LEVEL_STORE;
	*ret = packer;
	return 0;
}

struct cap_packer *cap_packer_free(struct cap_packer *packer)
{
	if (!packer)
		return NULL;
	free(packer->workspace);
	free(packer);
	return NULL;
}

static void begin_block(struct cap_packer *packer, int level)
{
	uint8_t header[32];
	size_t r;

	if (packer->level != level) {
		packer->params = params_of(level);
		packer->level = level;
	}
	r = ZSTD_compressBegin_advanced(packer->cctx, NULL, 0, packer->params, ZSTD_CONTENTSIZE_UNKNOWN);
	assert(!ZSTD_isError(r));
	/* The frame header that zstd writes first is thrown away: the segment has one already. */
	r = ZSTD_compressContinue(packer->cctx, header, sizeof(header), header, 0);
	assert(!ZSTD_isError(r));
	ZSTD_invalidateRepCodes(packer->cctx);
}

/* Offset of the last block header in a run of zstd blocks. */
static size_t last_header(const uint8_t *out, size_t len)
{
	size_t at = 0, last = 0;

	while (at < len) {
		uint32_t h = out[at] | (uint32_t)out[at + 1] << 8 | (uint32_t)out[at + 2] << 16;
		uint32_t size = (h >> 1 & 3) == 1 ? 1 : h >> 3;

		last = at;
		at += CAP_ZBLOCK_HEADER + size;
	}
	assert(at == len);
	return last;
}

size_t cap_packer_slice(struct cap_packer *packer, struct cap_block *block, uint8_t *out, size_t room,
			size_t *ret_last)
{
	uint32_t n = SKEP_MIN(block->used - block->packed, CAP_ZBLOCK_MAX);
	size_t r;

	if (block->level == CAP_LEVEL_STORE)
		return cap_pack_store(block, out, ret_last);
	if (block->packed == 0)
		begin_block(packer, block->level);
	r = ZSTD_compressContinue(packer->cctx, out, room, block->data + block->packed, n);
	assert(!ZSTD_isError(r)); /* the output has room for the worst case */
	block->packed += n;
	*ret_last = last_header(out, r);
	return r;
}

size_t cap_pack_store(struct cap_block *block, uint8_t *out, size_t *ret_last)
{
	uint32_t n = SKEP_MIN(block->used - block->packed, CAP_ZBLOCK_MAX);
	uint32_t header = n << 3; /* type raw, not the last */

	out[0] = (uint8_t)header;
	out[1] = (uint8_t)(header >> 8);
	out[2] = (uint8_t)(header >> 16);
	memcpy(out + CAP_ZBLOCK_HEADER, block->data + block->packed, n);
	block->packed += n;
	*ret_last = 0;
	return CAP_ZBLOCK_HEADER + n;
}
