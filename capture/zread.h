/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_ZREAD_H
#define CAP_ZREAD_H
/*
 * Decoding zstd, for whoever reads captures: a stream of any frames, or one stretch of a segment of ours.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cap_zread;

/* NULL: no memory. */
struct cap_zread *cap_zread_new(void);
/* Takes NULL, returns NULL. */
struct cap_zread *cap_zread_free(struct cap_zread *z);

#define CAP_ZREAD_MAGIC_BYTES 4u
/* Does a file that begins like this hold zstd? */
bool cap_zread_is_zstd(const uint8_t *p, size_t n);

struct cap_zread_io {
	const uint8_t *in;
	size_t in_at, in_end;
	uint8_t *out;
	size_t out_at, out_end;
	bool whole; /* result: the frame has ended */
};

/* One step from in to out; NULL, or what is wrong. It may give nothing and take nothing. */
const char *cap_zread_step(struct cap_zread *z, struct cap_zread_io *io);
/*
 * Decodes n bytes that begin at a zstd block's header of our frame (an entry of the index) to at most room
 * bytes; what was decoded before is forgotten. NULL, or what is wrong.
 */
const char *cap_zread_stretch(struct cap_zread *z, const uint8_t *in, size_t n, uint8_t *out, size_t room,
			      size_t *ret_bytes);

#endif
