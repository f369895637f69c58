/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libzstd's decoder. A stretch of one of our segments becomes a frame by our frame header in front of it;
 * that it does not end is of no consequence, every block that is whole is given out. It is decoded where it
 * is wanted (zstd's "stable" output buffer), not into the decoder's own window first.
 */
#define ZSTD_STATIC_LINKING_ONLY
#include "capture/zread.h"

#include "capture/zframe.h"

#include <string.h>
#include <zstd.h>

static ZSTD_DCtx *dctx(struct cap_zread *z)
{
	return (ZSTD_DCtx *)z;
}

struct cap_zread *cap_zread_new(void)
{
	return (struct cap_zread *)ZSTD_createDCtx();
}

struct cap_zread *cap_zread_free(struct cap_zread *z)
{
	ZSTD_freeDCtx(dctx(z));
	return NULL;
}

bool cap_zread_is_zstd(const uint8_t *p, size_t n)
{
	static const uint8_t magic[CAP_ZREAD_MAGIC_BYTES] = { 0x28, 0xb5, 0x2f, 0xfd }; /* RFC 8878, 3.1.1 */

	return n >= sizeof(magic) && memcmp(p, magic, sizeof(magic)) == 0;
}

const char *cap_zread_step(struct cap_zread *z, struct cap_zread_io *io)
{
	ZSTD_inBuffer in = { io->in, io->in_end, io->in_at };
	ZSTD_outBuffer out = { io->out, io->out_end, io->out_at };
	size_t left = ZSTD_decompressStream(dctx(z), &out, &in);

	io->in_at = in.pos;
	io->out_at = out.pos;
	io->whole = left == 0;
	return ZSTD_isError(left) ? ZSTD_getErrorName(left) : NULL;
}

const char *cap_zread_stretch(struct cap_zread *z, const uint8_t *in, size_t n, uint8_t *out, size_t room,
			      size_t *ret_bytes)
{
	uint8_t header[CAP_ZFRAME_HEADER_BYTES];
	struct cap_zread_io io = { .in = header, .in_end = sizeof(header), .out = out, .out_end = room };
	const char *wrong;
	size_t moved;

	cap_zframe_header(header);
	(void)ZSTD_DCtx_reset(dctx(z), ZSTD_reset_session_and_parameters);
	(void)ZSTD_DCtx_setParameter(dctx(z), ZSTD_d_stableOutBuffer, 1); /* slower without, and no worse */
	wrong = cap_zread_step(z, &io);
	io.in = in;
	io.in_at = 0;
	io.in_end = n;
	do {
		moved = io.in_at + io.out_at;
		if (!wrong)
			wrong = cap_zread_step(z, &io);
	} while (!wrong && io.in_at + io.out_at != moved);
	*ret_bytes = io.out_at;
	return wrong;
}
