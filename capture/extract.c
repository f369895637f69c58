/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Extraction: each file is a cursor over the blocks that its index offers for the time span, and its sketch
 * for the filter; the cursor with the earliest packet goes first. A file is opened when its first packet can
 * be next, so that thousands of segments of a ring cost a handful of descriptors. Blocks of a segment decode
 * alone (docs/reference/segment-format.md), so what lies between two of them is never read; records never
 * cross a block's border.
 *
 * Files without an index (not ours, or the sidecar is lost) are read from one end to the other.
 *
 * Files are hostile: sizes are checked against the format's limits before anything is allocated by them. One
 * thread, but for blocks that others decode ahead (unpack.c).
 */
#include "capture/extract_priv.h"

#include "capture/capwrite.h"
#include "capture/zframe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PREAMBLE_READ_BYTES (128u * CAP_KIB)
#define PIECE_BYTES (256u * CAP_KIB)
#define OUT_BYTES (1u * CAP_MIB)

/* ---- bytes of one file ---- */

static int bad(const struct extract_cursor *c, const char *why, struct skep_err *err)
{
	return skep_err_set(err, SKEP_E_BAD_DATA, "%s: %s", c->path, why);
}

/* As much to the parser as it has room for; returns how much that is. */
static size_t feed_some(struct extract_cursor *c, const uint8_t *bytes, size_t n)
{
	size_t room, k;
	uint8_t *p = cap_capfile_room(c->file, &room);

	k = SKEP_MIN(room, n);
	memcpy(p, bytes, k);
	cap_capfile_fed(c->file, k);
	return k;
}

/* All of it to the parser; what it has no room for waits for feed_more. */
static int feed(struct extract_cursor *c, const uint8_t *bytes, size_t n, struct skep_err *err)
{
	size_t k = feed_some(c, bytes, n);

	if (k == n)
		return 0;
	if (!c->in)
		c->in = malloc(CAP_UNPACK_MAX_BYTES);
	if (!c->in)
		return skep_err_set(err, -ENOMEM, "%s: no memory", c->path);
	c->in_at = 0;
	c->in_n = n - k;
	memcpy(c->in, bytes + k, n - k);
	return 0;
}

static ssize_t read_at(int fd, void *p, size_t n, uint64_t at)
{
	size_t got = 0;

	while (got < n) {
		ssize_t k = pread(fd, (uint8_t *)p + got, n - got, (off_t)(at + got));

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k == 0)
			break;
		got += (size_t)k;
	}
	return (ssize_t)got;
}

/* What was decoded goes to the parser; the task is done with. */
static int feed_task(struct extract *x, struct extract_cursor *c, struct cap_unpack_task *t,
		     struct skep_err *err)
{
	struct cap_unpack_result result;
	int r = cap_unpack_wait(x->unpack, t, &result);

	if (r == 0)
		r = feed(c, result.bytes, result.n, err);
	else if (r == SKEP_E_BAD_DATA)
		r = bad(c, result.wrong, err);
	else
		r = skep_err_set(err, r, "%s: %s", c->path, strerror(-r));
	cap_unpack_done(x->unpack, t);
	return r;
}

static int feed_stretch(struct extract *x, struct extract_cursor *c, const struct cap_unpack_stretch *stretch,
			struct skep_err *err)
{
	struct cap_unpack_task *t;

	if (stretch->n > CAP_UNPACK_MAX_BYTES || stretch->raw > CAP_UNPACK_MAX_BYTES)
		return bad(c, "its index names a block that is too large", err);
	t = cap_unpack_begin(x->unpack, stretch, false);
	return t ? feed_task(x, c, t, err) : skep_err_set(err, -ENOMEM, "%s: no memory", c->path);
}

static bool entry_wanted(const struct extract *x, const struct extract_cursor *c)
{
	const struct cap_sidecar_entry *e = &c->sc->index[c->entry];

	return e->pkts > 0 && e->ts_first_ns != CAP_SIDECAR_UNKNOWN && e->ts_first_ns <= x->cfg->to_ns &&
	       e->ts_last_ns >= x->cfg->from_ns &&
	       !(c->hopeless && c->hopeless[c->entry]);
}

/* On to the next block that can hold something; false: there is none. */
static bool find_entry(const struct extract *x, struct extract_cursor *c)
{
	while (c->entry < c->sc->n_index && !entry_wanted(x, c))
		c->entry++;
	return c->entry < c->sc->n_index;
}

static struct cap_unpack_stretch stretch_of(const struct extract_cursor *c,
					    const struct cap_sidecar_entry *e)
{
	return (struct cap_unpack_stretch){
		.fd = c->fd, .at = e->file_offset, .n = e->file_bytes, .raw = e->raw_bytes, .zstd = c->zstd
	};
}

/* The blocks that will be wanted next are read and decoded meanwhile. */
static void begin_ahead(struct extract *x, struct extract_cursor *c)
{
	while (c->n_ahead < EXTRACT_AHEAD && find_entry(x, c)) {
		struct cap_unpack_stretch s = stretch_of(c, &c->sc->index[c->entry]);
		struct cap_unpack_task *t = NULL;

		if (s.n <= CAP_UNPACK_MAX_BYTES && s.raw <= CAP_UNPACK_MAX_BYTES)
			t = cap_unpack_begin(x->unpack, &s, true);
		if (!t)
			return;
		c->ahead[(c->ahead_at + c->n_ahead++) % EXTRACT_AHEAD] = t;
		c->entry++;
	}
}

/* -ENODATA: nothing is left. */
static int feed_entry(struct extract *x, struct extract_cursor *c, struct skep_err *err)
{
	struct cap_unpack_stretch s;

	begin_ahead(x, c);
	if (c->n_ahead == 0 && !find_entry(x, c))
		return -ENODATA;
	x->account.blocks_read++;
	if (c->n_ahead) {
		c->n_ahead--;
		return feed_task(x, c, c->ahead[c->ahead_at++ % EXTRACT_AHEAD], err);
	}
	s = stretch_of(c, &c->sc->index[c->entry++]);
	return feed_stretch(x, c, &s, err);
}

/* Some more of a file without index; -ENODATA: its end. */
static int feed_piece(struct extract_cursor *c, struct skep_err *err)
{
	struct cap_zread_io io = { .in = c->in };
	const char *wrong;
	size_t room;
	ssize_t k;

	if (c->in_at == c->in_n) {
		do
			k = read(c->fd, c->in, PIECE_BYTES);
		while (k < 0 && errno == EINTR);
		if (k < 0)
			return skep_err_set(err, -errno, "%s: %s", c->path, strerror(errno));
		if (k == 0 && !c->zstd)
			return -ENODATA;
		c->in_at = 0;
		c->in_n = (size_t)k;
	}
	if (!c->zstd) {
		c->in_at += feed_some(c, c->in + c->in_at, c->in_n - c->in_at);
		return 0;
	}
	io.in_at = c->in_at;
	io.in_end = c->in_n;
	io.out = cap_capfile_room(c->file, &room);
	io.out_end = room;
	wrong = cap_zread_step(c->stream, &io);
	if (wrong)
		return bad(c, wrong, err);
	cap_capfile_fed(c->file, io.out_at);
	c->in_at = io.in_at;
	/* At the end of the file the decoder may still hold something. */
	return io.in_end == 0 && io.out_at == 0 ? -ENODATA : 0;
}

static int feed_more(struct extract *x, struct extract_cursor *c, struct skep_err *err)
{
	int r;

	if (c->sc && c->in_at < c->in_n) {
		c->in_at += feed_some(c, c->in + c->in_at, c->in_n - c->in_at);
		return 0;
	}
	r = c->sc ? feed_entry(x, c, err) : feed_piece(c, err);
	if (r == -ENODATA) {
		cap_capfile_finish(c->file);
		c->finished = true;
		return 0;
	}
	return r;
}

static void close_cursor(struct extract *x, struct extract_cursor *c)
{
	for (; c->n_ahead > 0; c->n_ahead--)
		cap_unpack_done(x->unpack, c->ahead[c->ahead_at++ % EXTRACT_AHEAD]);
	c->file = cap_capfile_free(c->file);
	c->stream = cap_zread_free(c->stream);
	free(c->hopeless);
	c->hopeless = NULL;
	free(c->in);
	c->in = NULL;
	skep_closep(&c->fd);
	c->ended = true;
}

static bool matches(struct extract *x, const struct cap_capfile_packet *p)
{
	if (!x->filter)
		return true;
	x->batch->n = 1;
	x->batch->frames[0] = (struct cap_frame){ .data = p->data,
						  .len = p->cap_len,
						  .cap_len = p->cap_len,
						  .wire_len = p->wire_len,
						  .ts_ns = p->ts_ns };
	return cap_filter_user_match(x->filter, x->batch, &x->batch->frames[0], x->scratch);
}

/* The next packet that lies in the time span (and matches, if that can be said yet), or the end. */
static int advance(struct extract *x, struct extract_cursor *c, struct skep_err *err)
{
	for (;;) {
		int r = cap_capfile_next(c->file, &c->packet, err);

		if (r == 0) {
			x->account.looked_pkts++;
			if (c->packet.ts_ns >= x->cfg->from_ns && c->packet.ts_ns <= x->cfg->to_ns &&
			    (!x->filters_alone || matches(x, &c->packet)))
				return 0;
			continue;
		}
		if (r == -EAGAIN && !c->finished) {
			r = feed_more(x, c, err);
			if (r)
				return r;
			continue;
		}
		if (r != -ENODATA && !(c->finished && cap_capfile_truncated(c->file)))
			return r;
		close_cursor(x, c); /* a torn file: its whole records were taken */
		return 0;
	}
}

static int open_unindexed(struct extract_cursor *c, struct skep_err *err)
{
	uint8_t head[CAP_ZREAD_MAGIC_BYTES];
	ssize_t n = read_at(c->fd, head, sizeof(head), 0);

	c->zstd = n > 0 && cap_zread_is_zstd(head, (size_t)n);
	c->in = malloc(PIECE_BYTES);
	c->stream = c->zstd ? cap_zread_new() : NULL;
	return c->in && (!c->zstd || c->stream) ? 0 : skep_err_set(err, -ENOMEM, "%s: no memory", c->path);
}

/* What comes before the first block: the capture file's header. */
static int feed_header(struct extract *x, struct extract_cursor *c, struct skep_err *err)
{
	const struct cap_sidecar_entry *first = &c->sc->index[0];
	uint64_t skip;

	c->zstd = !c->sc->compression || strcmp(c->sc->compression, "none") != 0;
	skip = c->zstd ? CAP_ZFRAME_HEADER_BYTES : 0;
	if (first->file_offset < skip || first->raw_offset > PREAMBLE_READ_BYTES)
		return bad(c, "its index does not fit it", err);
	return feed_stretch(x, c,
			    &(struct cap_unpack_stretch){ .fd = c->fd,
							  .at = skip,
							  .n = first->file_offset - skip,
							  .raw = first->raw_offset,
							  .zstd = c->zstd },
			    err);
}

static int open_cursor(struct extract *x, struct extract_cursor *c, struct skep_err *err)
{
	int r;

	c->opened = true;
	if (c->sc && x->prune)
		c->hopeless = cap_prune_blocks(x->prune, c->path, c->sc);
	if (c->sc && !find_entry(x, c)) {
		close_cursor(x, c);
		return 0;
	}
	c->fd = open(c->path, O_RDONLY | O_CLOEXEC);
	if (c->fd < 0 && errno == ENOENT) {
		close_cursor(x, c);
		return 0;
	}
	if (c->fd < 0)
		return skep_err_set(err, -errno, "%s: %s", c->path, strerror(errno));
	r = cap_capfile_new(c->path, false, &c->file);
	if (r)
		return skep_err_set(err, r, "%s: no memory", c->path);
	r = c->sc ? feed_header(x, c, err) : open_unindexed(c, err);
	while (r == 0 && (r = cap_capfile_head(c->file, err)) == -EAGAIN && !c->finished)
		r = feed_more(x, c, err);
	if (r == 0 && !x->linktype)
		x->linktype = cap_capfile_info(c->file)->linktype;
	return r ? r : advance(x, c, err);
}

/* ---- the stream that comes out ---- */

static int flush(struct extract *x, struct skep_err *err)
{
	size_t at = (size_t)SKEP_MIN((uint64_t)x->n_out, x->to_skip);

	x->to_skip -= at;

	while (at < x->n_out) {
		ssize_t k = write(x->cfg->out_fd, x->out + at, x->n_out - at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return skep_err_set(err, -errno, "cannot write: %s", strerror(errno));
		at += (size_t)k;
	}
	x->n_out = 0;
	return 0;
}

static int put(struct extract *x, const void *bytes, size_t n, struct skep_err *err)
{
	if (x->n_out + n > OUT_BYTES) {
		int r = flush(x, err);

		if (r)
			return r;
	}
	memcpy(x->out + x->n_out, bytes, n);
	x->n_out += n;
	x->account.bytes += n;
	return 0;
}

static const char *link_of(const struct extract_cursor *c)
{
	return c->link ? c->link : "";
}

/* One interface for each link that the files name; files that name none share one. */
static int put_interfaces(struct extract *x, struct skep_err *err)
{
	uint8_t block[CAP_CAPWRITE_TEXT_MAX];
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < x->n; i++) {
		struct extract_cursor *c = &x->cursors[i];
		const char *link = link_of(c);
		uint32_t k = 0;

		while (k < i && strcmp(link_of(&x->cursors[k]), link) != 0)
			k++;
		c->iface = k < i ? x->cursors[k].iface : x->n_ifaces++;
		if (k < i)
			continue;
		r = put(x, block,
			cap_capwrite_idb(block, sizeof(block),
					 &(struct cap_capwrite_idb){ .linktype = x->linktype,
								     .snaplen = CAP_SNAPLEN_MAX,
								     .name = *link ? link : NULL }),
			err);
	}
	return r;
}

/* Statistics of an interface: of all files of its link, as they were captured. */
static int put_statistics(struct extract *x, uint32_t iface, struct skep_err *err)
{
	const struct cap_extract_account *a = &x->account;
	struct cap_capwrite_isb isb = { .iface = iface, .ts_ns = a->last_ns, .end_ns = a->last_ns };
	uint8_t block[CAP_CAPWRITE_ISB_BYTES];

	isb.start_ns = a->first_ns == UINT64_MAX ? 0 : a->first_ns;
	for (uint32_t i = 0; i < x->n; i++) {
		const struct extract_cursor *c = &x->cursors[i];

		if (c->iface != iface)
			continue;
		if (!c->counted)
			return 0; /* a sum that leaves something out would be a lie */
		isb.received += c->seen_pkts;
		isb.accepted += c->seen_pkts - c->rejected_pkts;
		isb.dropped += c->seen_pkts - c->rejected_pkts - c->stored_pkts;
	}
	cap_capwrite_isb(block, &isb);
	return put(x, block, sizeof(block), err);
}

static int put_all_statistics(struct extract *x, struct skep_err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < x->n_ifaces; i++)
		r = put_statistics(x, i, err);
	return r;
}

static int put_header(struct extract *x, struct skep_err *err)
{
	uint8_t head[512];
	int r;

	x->headed = true;
	if (!x->cfg->pcapng) {
		cap_capwrite_pcap_header(head, CAP_SNAPLEN_MAX, x->linktype);
		return put(x, head, CAP_CAPWRITE_PCAP_HEADER_BYTES, err);
	}
	r = put(x, head,
		cap_capwrite_shb(head, sizeof(head),
				 &(struct cap_capwrite_shb){ .application = "skep-capture " SKEP_VERSION }),
		err);
	return r ? r : put_interfaces(x, err);
}

static int put_packet(struct extract *x, const struct extract_cursor *c, struct skep_err *err)
{
	const struct cap_capfile_packet *p = &c->packet;
	uint8_t head[CAP_CAPWRITE_EPB_HEADER_BYTES], tail[CAP_CAPWRITE_EPB_MAX_TAIL_BYTES];
	size_t n_head = CAP_CAPWRITE_PCAP_RECORD_BYTES, n_tail = 0;
	int r;

	if (x->cfg->pcapng) {
		cap_capwrite_epb_header(head, c->iface, p->ts_ns, p->cap_len, p->wire_len);
		n_head = sizeof(head);
		n_tail = cap_capwrite_epb_tail(tail, p->cap_len);
	} else {
		cap_capwrite_pcap_record(head, p->ts_ns, p->cap_len, p->wire_len);
	}
	r = put(x, head, n_head, err);
	if (r == 0)
		r = put(x, p->data, p->cap_len, err);
	if (r == 0)
		r = put(x, tail, n_tail, err);
	x->account.written_pkts++;
	if (p->ts_ns < x->account.last_ns)
		x->account.in_order = false;
	x->account.first_ns = SKEP_MIN(x->account.first_ns, p->ts_ns);
	x->account.last_ns = SKEP_MAX(x->account.last_ns, p->ts_ns);
	return r;
}

/* A file of one link type: that of the first packet in it. */
static int check_linktype(struct extract *x, const struct extract_cursor *c, struct skep_err *err)
{
	uint16_t linktype = cap_capfile_info(c->file)->linktype;

	if (!x->headed) {
		x->linktype = linktype;
		return put_header(x, err);
	}
	if (linktype == x->linktype)
		return 0;
	skep_err_set(err, SKEP_E_UNSUPPORTED, "%s has another link type than the files before it", c->path);
	skep_err_hint(err, "extract from each kind of link by itself");
	return SKEP_E_UNSUPPORTED;
}

/* ---- all of it ---- */

/*
 * The file whose turn it is: the earliest packet, or one that could hold an earlier one and is not open yet.
 */
static struct extract_cursor *whose_turn(struct extract *x, uint32_t from)
{
	struct extract_cursor *next = NULL;

	for (uint32_t i = from; i < x->n; i++) {
		struct extract_cursor *c = &x->cursors[i];
		uint64_t at = c->opened ? c->packet.ts_ns : c->first_ns;

		if (!c->opened && next && at > (next->opened ? next->packet.ts_ns : next->first_ns))
			break; /* sorted: all that follow are later still */
		if (!c->ended && (!next || at < (next->opened ? next->packet.ts_ns : next->first_ns)))
			next = c;
	}
	return next;
}

static int by_first(const void *a, const void *b)
{
	const struct extract_cursor *p = a, *q = b;

	if (p->first_ns != q->first_ns)
		return p->first_ns < q->first_ns ? -1 : 1;
	return strcmp(p->path, q->path);
}

static int run(struct extract *x, struct skep_err *err)
{
	uint32_t from = 0;
	struct extract_cursor *c;
	int r = 0;

	if (x->n)
		qsort(x->cursors, x->n, sizeof(*x->cursors), by_first);
	while (r == 0 && (c = whose_turn(x, from))) {
		if (!c->opened) {
			r = open_cursor(x, c, err);
			continue;
		}
		if (x->filters_alone || matches(x, &c->packet)) {
			r = check_linktype(x, c, err);
			r = r ? r : put_packet(x, c, err);
		}
		if (r == 0)
			r = advance(x, c, err);
		while (from < x->n && x->cursors[from].ended)
			from++;
	}
	if (r == 0 && !x->headed) { /* no packet: still a capture file */
		x->linktype = x->linktype ? x->linktype : 1;
		r = put_header(x, err);
	}
	if (r == 0)
		r = put_all_statistics(x, err);
	return r ? r : flush(x, err);
}

static int make_filter(struct extract *x, struct skep_err *err)
{
	const struct flt_cbpf *prog;
	uint32_t n;
	int r = cap_filter_user_new(x->cfg->filter, 1, &x->filter, err);

	if (r)
		return r;
	prog = cap_filter_user_program(x->filter, &n);
	x->filters_alone = !x->filter || prog;
	return prog ? cap_prune_new(prog, n, &x->prune, err) : 0;
}

static int make(struct extract *x, struct skep_err *err)
{
	x->scratch = malloc(CAP_SNAPLEN_MAX);
	x->batch = calloc(1, sizeof(*x->batch));
	x->out = malloc(OUT_BYTES);
	x->unpack = cap_unpack_new(x->cfg->threads);
	if (!x->scratch || !x->batch || !x->out || !x->unpack)
		return skep_err_set(err, -ENOMEM, "no memory to extract");
	return make_filter(x, err);
}

int cap_extract(const struct cap_extract_cfg *cfg, struct cap_extract_account *ret, struct skep_err *err)
{
	struct extract x = { .cfg = cfg,
			     .to_skip = cfg->skip_bytes,
			     .account = { .first_ns = UINT64_MAX, .in_order = true } };
	int r = make(&x, err);

	if (r == 0)
		r = cap_extract_files(&x, err);
	if (r == 0)
		r = run(&x, err);
	for (uint32_t i = 0; i < x.n; i++) {
		close_cursor(&x, &x.cursors[i]);
		cap_sidecar_free(x.cursors[i].sc);
		free(x.cursors[i].path);
		free(x.cursors[i].link);
	}
	free(x.cursors);
	cap_filter_user_free(x.filter);
	cap_prune_free(x.prune);
	free(x.scratch);
	free(x.batch);
	free(x.out);
	cap_unpack_free(x.unpack);
	*ret = x.account;
	return r;
}
