/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A segment's bytes, cut where its index says that blocks are, each block decoded when it is complete, its
 * packets given to the sketch. What is between two blocks (padding) is passed over. The segment is one of
 * ours, just written; if it is not what its sidecar says, there will be no sketch, and whoever looks for
 * packets reads everything.
 *
 * Thread: the digest's, which runs only when nobody else wants to.
 */
#include "capture/sketch_feed.h"

#include "capture/capfile.h"
#include "capture/sketch.h"
#include "capture/zframe.h"
#include "capture/zread.h"

#include <errno.h>
#include <string.h>

/* A block of ours is at most CAP_BLOCK_BYTES; entries that were merged (segment.c) are not worth the memory.
 */
#define PART_MAX_BYTES (2u * CAP_MIB)
#define LINKTYPE_ETHERNET 1u

struct cap_sketch_feed {
	const struct cap_sidecar *sc;
	struct cap_sketch_maker *maker;
	struct cap_capfile *file;
	struct cap_zread *zread;
	uint8_t *packed, *raw; /* PART_MAX_BYTES each */
	uint64_t at;	       /* in the segment */
	size_t part;	       /* 0: what comes before the first block; N: entry N - 1 */
	size_t have;	       /* bytes of it in `packed` */
	bool zstd, broken;
};

struct part {
	uint64_t at, bytes, raw_bytes;
};

static struct part part_of(const struct cap_sketch_feed *f, size_t i)
{
	const struct cap_sidecar_entry *e = &f->sc->index[i ? i - 1 : 0];
	uint64_t skip = f->zstd ? CAP_ZFRAME_HEADER_BYTES : 0;

	if (i)
		return (struct part){ e->file_offset, e->file_bytes, e->raw_bytes };
	return (struct part){ skip, e->file_offset - SKEP_MIN(e->file_offset, skip), e->raw_offset };
}

struct cap_sketch_feed *cap_sketch_feed_new(const struct cap_sidecar *sc)
{
	struct cap_sketch_feed *f =
		sc->n_index && sc->linktype == LINKTYPE_ETHERNET ? calloc(1, sizeof(*f)) : NULL;

	if (!f)
		return NULL;
	f->sc = sc;
	f->zstd = !sc->compression || strcmp(sc->compression, "none") != 0;
	f->maker = cap_sketch_maker_new();
	f->zread = cap_zread_new();
	f->packed = malloc(PART_MAX_BYTES);
	f->raw = malloc(PART_MAX_BYTES);
	if (!f->maker || !f->zread || !f->packed || !f->raw ||
	    cap_capfile_new("segment", false, &f->file) < 0)
		return cap_sketch_feed_free(f);
	return f;
}

struct cap_sketch_feed *cap_sketch_feed_free(struct cap_sketch_feed *f)
{
	if (!f)
		return NULL;
	cap_sketch_maker_free(f->maker);
	cap_capfile_free(f->file);
	cap_zread_free(f->zread);
	free(f->packed);
	free(f->raw);
	free(f);
	return NULL;
}

/* Gives the bytes to the parser and its packets to the sketch; counts them. False: this is no capture file.
 */
static bool take_raw(struct cap_sketch_feed *f, const uint8_t *bytes, size_t n, uint64_t *pkts)
{
	struct cap_capfile_packet packet;
	int r;

	for (;;) {
		size_t room, k;
		uint8_t *to;

		while ((r = cap_capfile_next(f->file, &packet, NULL)) == 0) {
			cap_sketch_add(f->maker, packet.data, packet.cap_len);
			++*pkts;
		}
		if (r != -EAGAIN || n == 0)
			return r == -EAGAIN;
		to = cap_capfile_room(f->file, &room);
		k = SKEP_MIN(room, n);
		memcpy(to, bytes, k);
		cap_capfile_fed(f->file, k);
		bytes += k;
		n -= k;
	}
}

/* A part is complete in `packed`. */
static bool take_part(struct cap_sketch_feed *f, struct part part)
{
	const uint8_t *raw = f->packed;
	size_t got = part.bytes;
	uint64_t pkts = 0;

	if (f->zstd) {
		raw = f->raw;
		if (cap_zread_stretch(f->zread, f->packed, part.bytes, f->raw, PART_MAX_BYTES, &got))
			return false;
	}
	if (got < part.raw_bytes || !take_raw(f, raw, part.raw_bytes, &pkts))
		return false;
	if (f->part == 0)
		return true;
	return pkts == f->sc->index[f->part - 1].pkts && cap_sketch_end_block(f->maker, part.at) == 0;
}

void cap_sketch_feed_bytes(struct cap_sketch_feed *f, const uint8_t *bytes, size_t n)
{
	while (f && !f->broken && n > 0 && f->part <= f->sc->n_index) {
		struct part part = part_of(f, f->part);
		size_t skip, k;

		if (part.bytes > PART_MAX_BYTES || part.raw_bytes > PART_MAX_BYTES ||
		    f->at > part.at + f->have) {
			f->broken = true;
			return;
		}
		skip = SKEP_MIN(n, part.at + f->have - f->at);
		k = SKEP_MIN(n - skip, part.bytes - f->have);
		memcpy(f->packed + f->have, bytes + skip, k);
		f->have += k;
		f->at += skip + k;
		bytes += skip + k;
		n -= skip + k;
		if (f->have < part.bytes || f->at < part.at)
			return;
		f->broken = !take_part(f, part);
		f->part++;
		f->have = 0;
	}
}

bool cap_sketch_feed_end(struct cap_sketch_feed *f, int dirfd, const char *segment)
{
	return f && !f->broken && f->part == f->sc->n_index + 1 &&
	       cap_sketch_write(f->maker, dirfd, segment, f->sc) == 0;
}
