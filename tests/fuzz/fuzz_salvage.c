/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes given to recovery as a torn segment: never a bad access; and if it says what can be kept, that is
 * true: put together as it says, the file decodes to its end, holds exactly the packets that were counted,
 * and each index entry decodes alone.
 */
#include "capture/salvage.h"
#include "capture/zframe.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

enum { INPUT_MAX = 65536, RAW_MAX = 8 << 20 };

static uint8_t raw[RAW_MAX];
static uint8_t mended[2 * INPUT_MAX + 2 * CAP_ZBLOCK_MAX];

/* Decodes to the last byte; SIZE_MAX: more than there is room for, so nothing is known. */
static size_t unpack(const uint8_t *p, size_t n, bool ended)
{
	ZSTD_DCtx *d = ZSTD_createDCtx();
	ZSTD_inBuffer in = { p, n, 0 };
	ZSTD_outBuffer out = { raw, sizeof(raw), 0 };
	size_t left = 1;

	while (left != 0 && in.pos < in.size && out.pos < out.size) {
		left = ZSTD_decompressStream(d, &out, &in);
		assert(!ZSTD_isError(left));
	}
	ZSTD_freeDCtx(d);
	if (out.pos == out.size)
		return SIZE_MAX;
	assert(in.pos == in.size && (!ended || left == 0));
	return out.pos;
}

static void check_packets(size_t n, const struct cap_salvage *s)
{
	_cap_capfile_free_ struct cap_capfile *f = NULL;
	struct cap_capfile_packet packet;
	const uint8_t *p = raw;
	uint64_t pkts = 0;
	int r = cap_capfile_new("mended", true, &f);

	assert(r == 0);
	for (;;) {
		size_t room;
		uint8_t *to;

		while ((r = cap_capfile_next(f, &packet, NULL)) == 0)
			pkts++;
		if (r != -EAGAIN)
			break;
		to = cap_capfile_room(f, &room);
		room = SKEP_MIN(room, n);
		memcpy(to, p, room);
		cap_capfile_fed(f, room);
		if (room == 0)
			cap_capfile_finish(f);
		p += room;
		n -= room;
	}
	assert(r == -ENODATA && pkts == s->pkts);
}

static void check_index(const struct cap_salvage *s, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < s->n_index; i++) {
		const struct cap_sidecar_entry *e = &s->index[i];
		const bool last = i + 1 == s->n_index;
		size_t n;

		assert(e->file_offset + e->file_bytes <= size &&
		       e->raw_offset + e->raw_bytes <= s->bytes_raw);
		if (!s->compressed)
			continue;
		cap_zframe_header(mended);
		memcpy(mended + CAP_ZFRAME_HEADER_BYTES, data + e->file_offset, e->file_bytes);
		n = unpack(mended, CAP_ZFRAME_HEADER_BYTES + e->file_bytes, false);
		assert(n == SIZE_MAX || n + (last ? s->tail_bytes : 0) == e->raw_bytes);
	}
}

static void check(const struct cap_salvage *s, const uint8_t *data, size_t size)
{
	size_t n = s->keep;

	assert(s->keep <= size && s->used <= size && s->used >= s->keep && s->tail_bytes <= CAP_ZBLOCK_MAX);
	memcpy(mended, data, n);
	if (s->compressed) {
		if (!s->ended) {
			n += cap_zframe_raw(mended + n, s->tail, s->tail_bytes);
			cap_zframe_end(mended + n);
			n += CAP_ZFRAME_END_BYTES;
		}
		n = unpack(mended, n, true);
		if (n == SIZE_MAX)
			return;
	} else {
		memcpy(raw, mended, n);
	}
	assert(n == s->bytes_raw);
	check_packets(n, s);
	check_index(s, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_skep_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct cap_salvage s;
	ssize_t n;
	int r;

	if (size > INPUT_MAX)
		return 0;
	assert(fd >= 0);
	n = write(fd, data, size);
	assert(n == (ssize_t)size);
	r = cap_salvage_read(fd, &s);
	assert(r == 0);
	if (s.ours && s.has_head)
		check(&s, data, size);
	cap_salvage_done(&s);
	return 0;
}
