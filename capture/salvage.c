/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds the last whole record of a torn segment. A real decoder takes the zstd blocks one by one, a strict
 * parser takes what they give; the first thing that cannot be is where the good part ends: a block that is
 * cut, impossible or undecodable, a page of zeros where a block should begin (a write that never came), a
 * record that nobody wrote. What lies behind is never trusted, even if it looks whole.
 *
 * The index is found again without help: a place where a block and a record begin together may be the
 * beginning of a stretch that was packed on its own. Whether it is, a second, fresh decoder tells: it must
 * make the same bytes from there. Where it cannot, the stretch belongs to the one before.
 *
 * One thread; memory: a window of the file, one record, the index. Hostile files cost a bounded multiple of
 * reading them.
 */
#include "capture/salvage.h"

#include "capture/zframe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#define WINDOW_BYTES CAP_MIB
/* Stretches that begin closer together than this become one: fewer entries, same use. */
#define STRETCH_MIN_BYTES (64u * CAP_KIB)
/* A stretch of a plain file; and twice what a packed one can have in a segment of ours. */
#define STRETCH_PLAIN_BYTES CAP_MIB
#define STRETCH_MAX_BYTES (2u * CAP_MIB)
/* What decode returns instead of a size. */
#define UNDECODABLE SIZE_MAX
#define NO_MEMORY (SIZE_MAX - 1)

struct window {
	int fd;
	uint8_t *buf;
	uint64_t off;
	size_t n;
	bool to_end; /* there is nothing behind it */
	int error;
};

struct stretch {
	struct cap_sidecar_entry entry;
	uint64_t hash; /* of its raw bytes */
};

struct scan {
	struct cap_salvage *s;
	struct window win;
	struct cap_capfile *file;
	ZSTD_DCtx *decoder;
	uint8_t *raw; /* one block */
	uint64_t at;  /* file offset of the next block */
	uint64_t raw_total;
	uint64_t tail_raw;   /* stream offset of s->tail[0] */
	uint64_t data_end;   /* behind the file's last byte that is not zero */
	uint64_t data_limit; /* the same, to the end of its page */
	uint64_t index_end;  /* what is kept, without the frame's end */
	uint64_t cut_end;    /* the block that is to be cut ends here */
	bool data_good;	     /* false: the parser has refused */
	int error;	     /* not the file's fault */
	struct stretch *stretches;
	size_t n_stretches;
	size_t room_stretches;
	uint64_t hash_keep; /* the last stretch's hash at s->keep */
};

/* The file's bytes from off on; *ret_n of them, at least want unless the file ends (or an error is set).
 * Valid until the next call. */
static const uint8_t *look(struct window *w, uint64_t off, size_t want, size_t *ret_n)
{
	if (off < w->off || (off + want > w->off + w->n && !w->to_end)) {
		w->off = off;
		w->n = 0;
		w->to_end = false;
		while (w->n < WINDOW_BYTES) {
			const ssize_t got =
				pread(w->fd, w->buf + w->n, WINDOW_BYTES - w->n, (off_t)(off + w->n));

			if (got < 0 && errno == EINTR)
				continue;
			if (got < 0)
				w->error = -errno;
			w->to_end = got == 0;
			if (got <= 0)
				break;
			w->n += (size_t)got;
		}
	}
	off = SKEP_MIN(off, w->off + w->n);
	*ret_n = (size_t)(w->off + w->n - off);
	return w->buf + (off - w->off);
}

/* Bytes that are zero from off on, at most limit. */
static size_t zeros(struct window *w, uint64_t off, size_t limit)
{
	size_t n, i = 0;
	const uint8_t *p = look(w, off, limit, &n);
	uint64_t word = 0;

	n = SKEP_MIN(n, limit);
	/* Eight at a time: a gap of a page is asked about for each of its empty blocks. */
	while (word == 0 && i + sizeof(word) <= n) {
		memcpy(&word, p + i, sizeof(word));
		i += word == 0 ? sizeof(word) : 0;
	}
	while (i < n && p[i] == 0)
		i++;
	return i;
}

/* Not for adversaries: whether two decoders made the same bytes. Always fed block by block. */
static uint64_t hash_block(uint64_t h, const uint8_t *p, size_t n)
{
	uint64_t v;

	for (; n >= sizeof(v); n -= sizeof(v), p += sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		h = (h ^ v) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	for (; n > 0; n--)
		h = (h ^ *p++) * 0x9e3779b97f4a7c15u;
	return h;
}

static void stop(struct scan *sc, const char *what)
{
	(void)snprintf(sc->s->why, sizeof(sc->s->why), "at byte %llu: %s", (unsigned long long)sc->at, what);
}

/* ---- the parser ---- */

static struct stretch *last_stretch(struct scan *sc)
{
	return sc->n_stretches > 0 ? &sc->stretches[sc->n_stretches - 1] : NULL;
}

static int begin_stretch(struct scan *sc, uint64_t file_offset)
{
	struct stretch *s = last_stretch(sc);

	if (s && s->entry.pkts > 0 && sc->raw_total - s->entry.raw_offset < STRETCH_MIN_BYTES)
		return 0;
	if (sc->n_stretches == sc->room_stretches) {
		const size_t room = sc->room_stretches ? 2 * sc->room_stretches : 64;
		struct stretch *more = reallocarray(sc->stretches, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		sc->stretches = more;
		sc->room_stretches = room;
	}
	sc->stretches[sc->n_stretches++] = (struct stretch){
		.entry = { .file_offset = file_offset,
			   .raw_offset = sc->raw_total,
			   .ts_first_ns = CAP_SIDECAR_UNKNOWN,
			   .ts_last_ns = CAP_SIDECAR_UNKNOWN },
	};
	return 0;
}

static void count_packet(struct scan *sc, const struct cap_capfile_packet *p)
{
	struct cap_sidecar_entry *e = &last_stretch(sc)->entry;
	struct cap_salvage *s = sc->s;

	if (s->pkts == 0 || p->ts_ns < s->first_ns)
		s->first_ns = p->ts_ns;
	if (s->pkts == 0 || p->ts_ns > s->last_ns)
		s->last_ns = p->ts_ns;
	if (e->pkts == 0 || p->ts_ns < e->ts_first_ns)
		e->ts_first_ns = p->ts_ns;
	if (e->pkts == 0 || p->ts_ns > e->ts_last_ns)
		e->ts_last_ns = p->ts_ns;
	s->pkts++;
	s->bytes_wire += p->wire_len;
	e->pkts++;
}

/* Gives n raw bytes to the parser and counts what becomes whole. false: the parser refused; the reason is
 * set. */
static bool parse(struct scan *sc, const uint8_t *raw, size_t n, uint64_t plain_from)
{
	struct cap_capfile_packet packet;
	struct skep_err err = SKEP_ERR_NULL;

	do {
		size_t room;
		uint8_t *p = cap_capfile_room(sc->file, &room);
		const size_t part = SKEP_MIN(room, n);
		int r;

		memcpy(p, raw, part);
		cap_capfile_fed(sc->file, part);
		raw += part;
		n -= part;
		while ((r = cap_capfile_next(sc->file, &packet, &err)) == 0) {
			if (!sc->s->compressed &&
			    packet.offset - last_stretch(sc)->entry.raw_offset >= STRETCH_PLAIN_BYTES) {
				sc->raw_total = packet.offset;
				sc->error = begin_stretch(sc, packet.offset);
				if (sc->error < 0)
					return false;
			}
			count_packet(sc, &packet);
		}
		if (r != -EAGAIN) {
			(void)snprintf(sc->s->why, sizeof(sc->s->why), "at byte %llu: %.180s",
				       (unsigned long long)plain_from, err.text);
			return false;
		}
	} while (n > 0);
	return true;
}

/* ---- zstd ---- */

/* Feeds one block, never as the last one. The raw size, UNDECODABLE or NO_MEMORY. */
static size_t decode(ZSTD_DCtx *decoder, const struct cap_zframe_block *b, const uint8_t *content,
		     uint8_t *raw)
{
	uint8_t header[CAP_ZBLOCK_HEADER];
	ZSTD_outBuffer out = { raw, CAP_ZBLOCK_MAX + 1, 0 };

	cap_zframe_block(header, b->type, b->type == CAP_ZFRAME_RLE ? b->raw_bytes : b->content_bytes, false);
	for (int i = 0; i < 2; i++) {
		ZSTD_inBuffer in = { i == 0 ? header : content, i == 0 ? sizeof(header) : b->content_bytes,
				     0 };

		while (in.pos < in.size) {
			const size_t before = in.pos + out.pos;
			const size_t r = ZSTD_decompressStream(decoder, &out, &in);

			if (ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation)
				return NO_MEMORY;
			if (ZSTD_isError(r) || in.pos + out.pos == before)
				return UNDECODABLE;
		}
	}
	return out.pos;
}

/* A decoder that has seen a frame's header and nothing else. */
static int begin_frame(ZSTD_DCtx *decoder)
{
	uint8_t header[CAP_ZFRAME_HEADER_BYTES];
	ZSTD_inBuffer in = { header, sizeof(header), 0 };
	ZSTD_outBuffer out = { NULL, 0, 0 };

	cap_zframe_header(header);
	ZSTD_DCtx_reset(decoder, ZSTD_reset_session_only);
	return ZSTD_isError(ZSTD_decompressStream(decoder, &out, &in)) ? -ENOMEM : 0;
}

enum step { STEP_ON, STEP_END };

/* Moves what is to be kept up to what is whole now. A block of n raw bytes at block_at has just been parsed;
 * cut: it was not all there. */
static void advance_keep(struct scan *sc, uint64_t block_at, size_t n, bool cut)
{
	struct cap_salvage *s = sc->s;
	const uint64_t whole = cap_capfile_whole(sc->file);
	const uint64_t block_raw = sc->raw_total - n;

	if (whole == sc->raw_total && !cut) {
		s->keep = sc->at;
		sc->index_end = sc->at;
		sc->tail_raw = whole;
		s->tail_bytes = 0;
		if (last_stretch(sc))
			sc->hash_keep = last_stretch(sc)->hash;
	} else if (whole >= block_raw) {
		/* The block is to be cut, as far as we know. */
		s->keep = block_at;
		sc->index_end = block_at;
		sc->tail_raw = block_raw;
		sc->cut_end = sc->at;
		memcpy(s->tail, sc->raw, n);
		s->tail_bytes = n;
	}
	/* Else a record spans the block: what is to be cut lies before it. */
}

static int take_content(struct scan *sc, const struct cap_zframe_block *b, const uint8_t *content, bool cut,
			enum step *ret)
{
	const uint64_t block_at = sc->at;
	struct stretch *st;
	uint64_t hash_before;
	size_t n;
	int r;

	*ret = STEP_END;
	n = decode(sc->decoder, b, content, sc->raw);
	if (n == NO_MEMORY)
		return -ENOMEM;
	if (n > CAP_ZBLOCK_MAX) {
		stop(sc, "a block that cannot be decoded");
		return 0;
	}
	/* Only a whole record is a place to begin. */
	if (cap_capfile_whole(sc->file) == sc->raw_total && n > 0) {
		r = begin_stretch(sc, block_at);
		if (r < 0)
			return r;
	}
	st = last_stretch(sc);
	hash_before = st ? st->hash : 0;
	if (st)
		st->hash = hash_block(st->hash, sc->raw, n);
	sc->raw_total += n;
	sc->at += CAP_ZBLOCK_HEADER + b->content_bytes;
	sc->data_good = parse(sc, sc->raw, n, block_at);
	if (cap_capfile_whole(sc->file) >= sc->raw_total - n)
		sc->hash_keep = hash_before;
	advance_keep(sc, block_at, n, cut);
	if (sc->data_good && !cut)
		*ret = STEP_ON;
	return 0;
}

/* Padding belongs to what is before it. */
static void skip_empty(struct scan *sc, uint64_t n)
{
	if (cap_capfile_whole(sc->file) == sc->raw_total)
		sc->s->keep +=
			sc->s->keep == sc->at ? n : 0; /* sc->index_end stays: it is of no use to an entry */
	else
		sc->cut_end += sc->cut_end == sc->at ? n : 0;
	sc->at += n;
}

static int step(struct scan *sc, enum step *ret)
{
	struct cap_zframe_block b;
	size_t have;
	const uint8_t *p = look(&sc->win, sc->at, CAP_ZBLOCK_HEADER, &have);
	int r = 0;

	*ret = STEP_END;
	if (have < CAP_ZBLOCK_HEADER) {
		stop(sc, "the file ends without an end of the frame");
		return sc->win.error;
	}
	if (p[0] == 0 && p[1] == 0 && p[2] == 0) {
		const size_t run = zeros(&sc->win, sc->at, CAP_ALIGN);

		if (run == CAP_ALIGN || sc->at + run == sc->s->size) {
			stop(sc, "zeros where data was to be written");
			return 0;
		}
		p = look(&sc->win, sc->at, CAP_ZBLOCK_HEADER, &have);
	}
	if (!cap_zframe_block_read(p, &b)) {
		stop(sc, "no zstd block begins like that");
		return 0;
	}
	p = look(&sc->win, sc->at, CAP_ZBLOCK_HEADER + b.content_bytes, &have);
	/* Whole pages of zeros, up to the end of the file, in a stored block: not written rather than
	 * captured. */
	if (b.type == CAP_ZFRAME_RAW && sc->at + CAP_ZBLOCK_HEADER <= sc->data_limit)
		have = SKEP_MIN(have, (size_t)(sc->data_limit - sc->at));
	if (have < CAP_ZBLOCK_HEADER + b.content_bytes) {
		stop(sc, "a block that is cut off");
		if (sc->win.error || b.type != CAP_ZFRAME_RAW || have == CAP_ZBLOCK_HEADER)
			return sc->win.error;
		/* As much of a stored block as there is, is as good as a shorter one. */
		b.content_bytes = b.raw_bytes = (uint32_t)(have - CAP_ZBLOCK_HEADER);
		return take_content(sc, &b, p + CAP_ZBLOCK_HEADER, true, ret);
	}
	if (b.type != CAP_ZFRAME_COMPRESSED && b.raw_bytes == 0) {
		skip_empty(sc, CAP_ZBLOCK_HEADER + b.content_bytes);
		*ret = STEP_ON;
	} else {
		r = take_content(sc, &b, p + CAP_ZBLOCK_HEADER, false, ret);
	}
	if (r == 0 && *ret == STEP_ON && b.last) {
		*ret = STEP_END;
		if (cap_capfile_whole(sc->file) == sc->raw_total) {
			sc->s->ended = true;
			sc->s->keep = sc->at;
		} else {
			stop(sc, "the frame ends within a record");
		}
	}
	return r;
}

static int scan_zstd(struct scan *sc)
{
	enum step next = STEP_ON;
	int r = begin_frame(sc->decoder);

	sc->at = CAP_ZFRAME_HEADER_BYTES;
	sc->s->keep = sc->at;
	while (r == 0 && next == STEP_ON)
		r = step(sc, &next);
	if (r == 0)
		r = sc->error;
	/* Of the tail only whole records. */
	sc->s->tail_bytes = (size_t)(cap_capfile_whole(sc->file) - sc->tail_raw);
	sc->s->bytes_raw = cap_capfile_whole(sc->file);
	return r;
}

static int scan_plain(struct scan *sc)
{
	int r = begin_stretch(sc, 0);
	bool good = true;

	while (r == 0 && good) {
		size_t n;
		const uint8_t *p = look(&sc->win, sc->at, 1, &n);

		if (n == 0) {
			r = sc->win.error;
			break;
		}
		good = parse(sc, p, n, sc->at);
		sc->at += n;
	}
	if (r == 0)
		r = sc->error;
	sc->s->keep = cap_capfile_whole(sc->file);
	sc->s->bytes_raw = sc->s->keep;
	sc->s->ended = true;
	if (good && sc->s->keep < sc->s->size) {
		sc->at = sc->s->keep;
		stop(sc, "a record that is cut off");
	}
	return r;
}

/* ---- the index ---- */

/* Does a fresh decoder make the same of stretches [first, last]? end: file offset behind them. */
static bool stands_alone(struct scan *sc, const struct stretch *st, size_t first, size_t last, uint64_t end)
{
	uint64_t at = st[first].entry.file_offset;
	size_t i = first;
	uint64_t h = 0;

	if (begin_frame(sc->decoder) < 0)
		return false;
	while (at < end) {
		struct cap_zframe_block b;
		size_t have, n;
		const uint8_t *p;

		if (i < last && at == st[i + 1].entry.file_offset) {
			if (h != st[i].hash)
				return false;
			h = 0;
			i++;
		}
		p = look(&sc->win, at, CAP_ZBLOCK_HEADER, &have);
		if (have < CAP_ZBLOCK_HEADER || !cap_zframe_block_read(p, &b))
			return false;
		p = look(&sc->win, at, CAP_ZBLOCK_HEADER + b.content_bytes, &have);
		if (have < CAP_ZBLOCK_HEADER + b.content_bytes)
			return false;
		at += CAP_ZBLOCK_HEADER + b.content_bytes;
		if (b.type != CAP_ZFRAME_COMPRESSED && b.raw_bytes == 0)
			continue;
		n = decode(sc->decoder, &b, p + CAP_ZBLOCK_HEADER, sc->raw);
		if (n > CAP_ZBLOCK_MAX)
			return false;
		h = hash_block(h, sc->raw, n);
	}
	return i == last && h == st[last].hash;
}

static void merge(struct cap_sidecar_entry *to, const struct cap_sidecar_entry *e)
{
	if (to->pkts == 0) {
		to->ts_first_ns = e->ts_first_ns;
		to->ts_last_ns = e->ts_last_ns;
	} else if (e->pkts > 0) {
		to->ts_first_ns = SKEP_MIN(to->ts_first_ns, e->ts_first_ns);
		to->ts_last_ns = SKEP_MAX(to->ts_last_ns, e->ts_last_ns);
	}
	to->pkts += e->pkts;
	to->raw_bytes += e->raw_bytes;
	to->file_bytes += e->file_bytes;
}

/*
 * Groups stretches so that each group stands alone; a group is [starts[g], starts[g + 1]). Returns the number
 * of groups, or 0: the file has no such places, as if it were not packed by us.
 */
static size_t group(struct scan *sc, size_t *starts)
{
	const struct stretch *st = sc->stretches;
	size_t n = 0;

	for (size_t i = 0; i < sc->n_stretches; i++) {
		const uint64_t end = i + 1 < sc->n_stretches ? st[i + 1].entry.file_offset : sc->index_end;

		starts[n++] = i;
		while (!stands_alone(sc, st, starts[n - 1], i, end)) {
			if (n == 1 ||
			    st[i].entry.raw_offset - st[starts[n - 1]].entry.raw_offset > STRETCH_MAX_BYTES)
				return 0;
			n--;
		}
	}
	return n;
}

static void set_sizes(struct scan *sc)
{
	for (size_t i = 0; i < sc->n_stretches; i++) {
		struct cap_sidecar_entry *e = &sc->stretches[i].entry;
		const bool last = i + 1 == sc->n_stretches;
		const struct cap_sidecar_entry *next = last ? NULL : &sc->stretches[i + 1].entry;

		e->file_bytes =
			(last ? SKEP_MAX(sc->index_end, e->file_offset) : next->file_offset) - e->file_offset;
		e->raw_bytes =
			(last ? SKEP_MAX(sc->s->bytes_raw, e->raw_offset) : next->raw_offset) - e->raw_offset;
	}
}

static int make_index(struct scan *sc)
{
	struct cap_salvage *s = sc->s;
	_skep_free_ size_t *starts = calloc(sc->n_stretches + 1, sizeof(*starts));
	size_t n = sc->n_stretches;

	s->index = calloc(sc->n_stretches + 1, sizeof(*s->index));
	if (!starts || !s->index)
		return -ENOMEM;
	/* A stretch that begins where the tail does is all tail. */
	if (last_stretch(sc))
		last_stretch(sc)->hash =
			last_stretch(sc)->entry.file_offset >= sc->index_end ? 0 : sc->hash_keep;
	set_sizes(sc);
	if (s->compressed)
		n = group(sc, starts);
	else
		for (size_t i = 0; i < n; i++)
			starts[i] = i;
	starts[n] = sc->n_stretches;
	for (size_t g = 0; g < n; g++) {
		struct cap_sidecar_entry e = sc->stretches[starts[g]].entry;

		for (size_t i = starts[g] + 1; i < starts[g + 1]; i++)
			merge(&e, &sc->stretches[i].entry);
		if (e.pkts > 0)
			s->index[s->n_index++] = e;
	}
	return sc->win.error;
}

/* ---- the whole ---- */

/*
 * Where the last extent ends that was ever written: behind it are the zeros of what was preallocated, which
 * would be hundreds of MiB to read. A file system that cannot tell says that all of it is data.
 */
static uint64_t written_end(int fd, uint64_t size)
{
	uint64_t end = 0;

	while (end < size) {
		off_t at = lseek(fd, (off_t)end, SEEK_DATA);

		if (at < 0)
			return errno == ENXIO ? end : size;
		at = lseek(fd, at, SEEK_HOLE);
		if (at < 0)
			return size;
		end = (uint64_t)at;
	}
	return size;
}

/* Sets data_end and data_limit, from the end of the file backwards: there may be much preallocated. */
static void find_data_end(struct scan *sc)
{
	const uint64_t size = sc->s->size;
	uint64_t end = written_end(sc->win.fd, size);

	while (end > 0 && !sc->win.error) {
		const uint64_t from = end > WINDOW_BYTES ? end - WINDOW_BYTES : 0;
		size_t n;
		const uint8_t *p = look(&sc->win, from, (size_t)(end - from), &n);

		for (n = SKEP_MIN(n, (size_t)(end - from)); n > 0 && p[n - 1] == 0; n--)
			;
		end = from + n;
		if (n > 0)
			break;
	}
	sc->data_end = end;
	sc->data_limit = SKEP_MIN(skep_align_up(end, CAP_ALIGN), size);
}

static int find_kind(struct scan *sc)
{
	static const uint32_t pcap = 0xa1b23c4d, pcapng = 0x0a0d0d0a;
	uint8_t frame[CAP_ZFRAME_HEADER_BYTES];
	size_t n;
	const uint8_t *p = look(&sc->win, 0, CAP_ZFRAME_HEADER_BYTES, &n);

	if (sc->win.error)
		return sc->win.error;
	cap_zframe_header(frame);
	if (n >= CAP_ZFRAME_HEADER_BYTES && cap_zframe_is_header(p)) {
		sc->s->ours = true;
		sc->s->compressed = true;
	} else if (n >= 4 && (memcmp(p, &pcap, 4) == 0 || memcmp(p, &pcapng, 4) == 0)) {
		sc->s->ours = true;
	} else {
		/* Nothing yet: no bytes, zeros only, or the first few of one of these. */
		sc->s->ours = sc->data_end == 0 ||
			      (n < CAP_ZFRAME_HEADER_BYTES && memcmp(p, frame, n) == 0) ||
			      (n < 4 && (memcmp(p, &pcap, n) == 0 || memcmp(p, &pcapng, n) == 0));
	}
	return sc->win.error;
}

static int scan(struct scan *sc)
{
	struct cap_salvage *s = sc->s;
	const uint8_t *p;
	size_t n;
	int r;

	find_data_end(sc);
	r = find_kind(sc);
	if (r < 0 || !s->ours)
		return r;
	p = look(&sc->win, 0, 4, &n);
	if (s->compressed)
		r = scan_zstd(sc);
	else if (n >= 4 && p[0] != 0)
		r = scan_plain(sc);
	if (r < 0)
		return r;
	s->info = *cap_capfile_info(sc->file);
	s->has_head = cap_capfile_head(sc->file, NULL) == 0;
	if (s->has_head)
		r = make_index(sc);
	s->used = s->tail_bytes > 0 ? sc->cut_end : s->keep;
	s->given_up_bytes = sc->data_end > s->used ? sc->data_end - s->used : 0;
	return r < 0 ? r : sc->win.error;
}

int cap_salvage_read(int fd, struct cap_salvage *ret)
{
	struct cap_salvage s = { .first_ns = CAP_SIDECAR_UNKNOWN, .last_ns = CAP_SIDECAR_UNKNOWN };
	struct scan sc = { .s = &s, .win = { .fd = fd } };
	struct stat st;
	int r = fstat(fd, &st) < 0 ? -errno : cap_capfile_new("the capture", true, &sc.file);

	if (r == 0) {
		s.size = (uint64_t)st.st_size;
		s.tail = malloc(CAP_ZBLOCK_MAX);
		sc.win.buf = malloc(WINDOW_BYTES);
		sc.raw = malloc(CAP_ZBLOCK_MAX + 1);
		sc.decoder = ZSTD_createDCtx();
		r = s.tail && sc.win.buf && sc.raw && sc.decoder ? scan(&sc) : -ENOMEM;
	}
	cap_capfile_free(sc.file);
	ZSTD_freeDCtx(sc.decoder);
	free(sc.win.buf);
	free(sc.raw);
	free(sc.stretches);
	if (r < 0)
		cap_salvage_done(&s);
	else
		*ret = s;
	return r;
}

void cap_salvage_done(struct cap_salvage *s)
{
	free(s->tail);
	free(s->index);
	s->tail = NULL;
	s->index = NULL;
}
