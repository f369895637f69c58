/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that whatever a dead writer leaves becomes a whole segment with every packet whose bytes were there:
 * files of stored and compressed stretches, of pcap and pcapng, are torn at every byte of their end and at
 * random ones, followed by nothing, zeros, a hole or garbage. Judges: the stream that was written, libzstd to
 * the last byte, a fresh decoder for each index entry, and zstd, tcpdump and tshark themselves. And that what
 * is in use, not ours, or in the way is left alone, and that a crash in the middle of recovering loses
 * nothing.
 */
#define ZSTD_STATIC_LINKING_ONLY
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include "capture/capwrite.h"
#include "capture/recover.h"
#include "capture/sidecar.h"
#include "capture/zframe.h"
#include "tool.h"

#include <zstd.h>

void ZSTD_invalidateRepCodes(ZSTD_CCtx *cctx);

enum { ROOM = 8 << 20, RECORDS_MAX = 60000 };

/* A segment as the writer makes it, and what is in it. */
struct segment {
	uint8_t *file;
	size_t n;
	uint8_t *raw;
	size_t raw_n;
	size_t ends[RECORDS_MAX]; /* of records, in raw */
	size_t n_records;
	size_t head;	   /* raw bytes before the first record */
	size_t head_end;   /* of the file: the header is whole */
	size_t starts[64]; /* file offsets of stretches */
	size_t n_starts;
	const char *name;
};

static char *dir;
static uint64_t seed = 42;

static int make_dir(void **state)
{
	(void)state;
	/* Thousands of fsyncs: not on a disk. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	dir = tool_make_dir();
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	tool_remove_dir(dir);
	return 0;
}

static const char *path_of(const char *name, const char *suffix)
{
	static char paths[4][4096];
	static int turn;
	char *p = paths[turn++ % 4];

	assert_true(snprintf(p, sizeof(paths[0]), "%s/%s%s", dir, name, suffix) > 0);
	return p;
}

/* ---- making ---- */

static void put_record(struct segment *s, bool pcapng, uint32_t len)
{
	uint8_t *p = s->raw + s->raw_n;
	const uint64_t t = 1700000000000000000 + s->n_records * 1000;
	const uint32_t header = pcapng ? CAP_CAPWRITE_EPB_HEADER_BYTES : CAP_CAPWRITE_PCAP_RECORD_BYTES;

	if (pcapng)
		cap_capwrite_epb_header(p, 0, t, len, len);
	else
		cap_capwrite_pcap_record(p, t, len, len);
	/* Half text, half noise: compresses, but not to nothing. */
	for (uint32_t i = 0; i < len; i++)
		p[header + i] = i % 64 < 40 ? (uint8_t)(i + s->n_records % 5) : (uint8_t)tool_random(&seed);
	s->raw_n += header + len;
	if (pcapng)
		s->raw_n += cap_capwrite_epb_tail(s->raw + s->raw_n, len);
	s->ends[s->n_records++] = s->raw_n;
}

/* Packs raw[from ..) as one stretch; in the way of the real packer: no repeated offsets, blocks of at most
 * part bytes. */
static void pack(struct segment *s, size_t from, int level, size_t part)
{
	ZSTD_CCtx *cctx = ZSTD_createCCtx();
	ZSTD_parameters params = ZSTD_getParams(level, CAP_BLOCK_BYTES, 0);
	uint8_t none[32];

	s->starts[s->n_starts++] = s->n;
	if (level == 0) {
		while (from < s->raw_n) {
			const size_t n = SKEP_MIN(part, s->raw_n - from);

			s->n += cap_zframe_raw(s->file + s->n, s->raw + from, n);
			from += n;
		}
		ZSTD_freeCCtx(cctx);
		return;
	}
	params.cParams.windowLog = 20;
	params.fParams.contentSizeFlag = 0;
	assert_false(
		ZSTD_isError(ZSTD_compressBegin_advanced(cctx, NULL, 0, params, ZSTD_CONTENTSIZE_UNKNOWN)));
	assert_false(ZSTD_isError(ZSTD_compressContinue(cctx, none, sizeof(none), s->raw + from, 0)));
	ZSTD_invalidateRepCodes(cctx);
	while (from < s->raw_n) {
		const size_t n = SKEP_MIN(part, s->raw_n - from);
		const size_t got = ZSTD_compressContinue(cctx, s->file + s->n, ROOM - s->n, s->raw + from, n);

		assert_false(ZSTD_isError(got));
		s->n += got;
		from += n;
	}
	ZSTD_freeCCtx(cctx);
}

struct shape {
	const char *name;
	bool pcapng;
	bool plain;
	bool pad; /* stretches begin on pages */
	size_t stretches;
	size_t stretch_bytes;
	size_t part; /* raw bytes of a zstd block */
	uint32_t len_max;
};

static struct segment *make(const struct shape *shape)
{
	static const int levels[] = { 1, 0, -5, 3, 0, -1 };
	struct segment *s = calloc(1, sizeof(*s));

	s->file = malloc(ROOM);
	s->raw = malloc(ROOM);
	s->name = shape->name;
	if (shape->pcapng) {
		s->raw_n =
			cap_capwrite_shb(s->raw, 4096, &(struct cap_capwrite_shb){ .application = "test" });
		s->raw_n += cap_capwrite_idb(s->raw + s->raw_n, 4096,
					     &(struct cap_capwrite_idb){ .linktype = 1, .snaplen = 262144 });
	} else {
		cap_capwrite_pcap_header(s->raw, 262144, 1);
		s->raw_n = CAP_CAPWRITE_PCAP_HEADER_BYTES;
	}
	s->head = s->raw_n;
	if (!shape->plain) {
		cap_zframe_header(s->file);
		s->n = CAP_ZFRAME_HEADER_BYTES +
		       cap_zframe_raw(s->file + CAP_ZFRAME_HEADER_BYTES, s->raw, s->raw_n);
	}
	s->head_end = shape->plain ? s->head : s->n;
	for (size_t i = 0; i < shape->stretches; i++) {
		const size_t from = s->raw_n;

		while (s->raw_n - from < shape->stretch_bytes)
			put_record(s, shape->pcapng, (uint32_t)(tool_random(&seed) % (shape->len_max + 1)));
		if (shape->plain)
			continue;
		if (shape->pad && i > 0) {
			const uint32_t gap = cap_zframe_pad_bytes(s->n);

			cap_zframe_pad(s->file + s->n, gap);
			s->n += gap;
		}
		pack(s, from, levels[i % ARRAY_LEN(levels)], shape->part);
	}
	if (shape->plain) {
		memcpy(s->file, s->raw, s->raw_n);
		s->n = s->raw_n;
	} else {
		cap_zframe_end(s->file + s->n);
		s->n += CAP_ZFRAME_END_BYTES;
	}
	return s;
}

static void free_segment(struct segment *s)
{
	free(s->file);
	free(s->raw);
	free(s);
}

/* ---- judging ---- */

/* Decodes a frame; ended: it must end, with the last byte; else it must use up all bytes. Valid until the
 * next call. */
static const uint8_t *unpack(const uint8_t *file, size_t n, bool ended, size_t *ret_n)
{
	static uint8_t raw[ROOM];
	ZSTD_DCtx *d = ZSTD_createDCtx();
	ZSTD_inBuffer in = { file, n, 0 };
	ZSTD_outBuffer out = { raw, ROOM, 0 };
	size_t left = 1;

	while (left != 0 && in.pos < in.size) {
		left = ZSTD_decompressStream(d, &out, &in);
		assert_false(ZSTD_isError(left));
	}
	assert_int_equal(in.pos, n);
	if (ended)
		assert_int_equal(left, 0);
	ZSTD_freeDCtx(d);
	*ret_n = out.pos;
	return raw;
}

/* Each entry alone, with a frame header in front. */
static void judge_index(const struct cap_sidecar *sc, const uint8_t *file, const uint8_t *raw)
{
	uint64_t pkts = 0;

	for (size_t i = 0; i < sc->n_index; i++) {
		const struct cap_sidecar_entry *e = &sc->index[i];
		const uint8_t *back;
		uint8_t *frame;
		size_t n;

		pkts += e->pkts;
		assert_true(e->ts_first_ns <= e->ts_last_ns);
		assert_true(e->raw_offset + e->raw_bytes <= sc->bytes_raw);
		if (i > 0)
			assert_true(e->raw_offset == e[-1].raw_offset + e[-1].raw_bytes);
		if (strcmp(sc->compression, "none") == 0) {
			assert_int_equal(e->file_offset, e->raw_offset);
			continue;
		}
		frame = malloc(CAP_ZFRAME_HEADER_BYTES + e->file_bytes);
		cap_zframe_header(frame);
		memcpy(frame + CAP_ZFRAME_HEADER_BYTES, file + e->file_offset, e->file_bytes);
		back = unpack(frame, CAP_ZFRAME_HEADER_BYTES + e->file_bytes, false, &n);
		assert_int_equal(n, e->raw_bytes);
		assert_memory_equal(back, raw + e->raw_offset, n);
		free(frame);
	}
	assert_int_equal(pkts, sc->account.stored_pkts);
}

static size_t records_in(const struct segment *s, size_t raw)
{
	size_t n = 0;

	while (n < s->n_records && s->ends[n] <= raw)
		n++;
	return n;
}

/* The raw bytes that whole blocks of file[0, n) give: what had to be kept. */
static size_t raw_of(const struct segment *s, size_t n)
{
	static uint8_t out[ROOM];
	ZSTD_DCtx *d = ZSTD_createDCtx();
	ZSTD_inBuffer in = { s->file, n, 0 };
	ZSTD_outBuffer o = { out, ROOM, 0 };

	while (in.pos < in.size)
		if (ZSTD_decompressStream(d, &o, &in) == 0)
			break;
	ZSTD_freeDCtx(d);
	return o.pos;
}

static char *recover(int want)
{
	char *report = NULL;
	size_t n;
	FILE *f = open_memstream(&report, &n);
	struct skep_err err = SKEP_ERR_NULL;
	const int r = cap_recover_dir(dir, f, &err);

	fclose(f);
	if (r != want)
		fail_msg("recover gave %d (%s), not %d:\n%s", r, err.text, want, report);
	return report;
}

/* Recovers name.part; the result must hold exactly want records. Returns the file, for more. */
static void judge(const struct segment *s, size_t want)
{
	_skep_free_ char *report = recover(0);
	_skep_free_ char *file = NULL;
	_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
	const int dirfd = open(dir, O_DIRECTORY | O_CLOEXEC);
	struct skep_err err;
	const uint8_t *raw;
	size_t n, raw_n;

	if (access(path_of(s->name, ""), F_OK) != 0)
		fail_msg("not recovered: %s", report);
	assert_int_equal(access(path_of(s->name, ".part"), F_OK), -1);
	assert_int_equal(access(path_of(s->name, ".part.mend"), F_OK), -1);
	file = tool_read_file(path_of(s->name, ""), &n);
	if (strstr(s->name, ".zst")) {
		raw = unpack((const uint8_t *)file, n, true, &raw_n);
	} else {
		raw = (const uint8_t *)file;
		raw_n = n;
	}
	if (raw_n != (want ? s->ends[want - 1] : s->head))
		fail_msg("%zu raw bytes, but %zu records are %zu: %s", raw_n, want,
			 want ? s->ends[want - 1] : s->head, report);
	assert_memory_equal(raw, s->raw, raw_n);
	if (cap_sidecar_read(dirfd, s->name, &sc, &err))
		fail_msg("%s", err.text);
	assert_true(sc->recovered);
	assert_false(sc->complete);
	assert_int_equal(sc->account.stored_pkts, want);
	assert_int_equal(sc->bytes_raw, raw_n);
	assert_int_equal(sc->bytes_disk, n);
	assert_true(sc->account.seen_pkts == CAP_SIDECAR_UNKNOWN);
	if (want > 0)
		assert_true(sc->last_ns - sc->first_ns == (want - 1) * 1000);
	judge_index(sc, (const uint8_t *)file, s->raw);
	close(dirfd);
}

static void other_tools(const struct segment *s, size_t want, bool tshark)
{
	const char *path = path_of(s->name, "");
	const bool zst = strstr(path, ".zst") != NULL;
	_skep_free_ char *out = NULL;
	_skep_free_ char *count = NULL;

	if (zst && tool_has("zstd"))
		assert_int_equal(tool_run(NULL, NULL, "zstd -tq '%s'", path), 0);
	if (tool_has("tcpdump") && tool_has("zstd")) {
		/* The exit code of the pipe is tcpdump's. */
		assert_int_equal(tool_run(&out, NULL, "%s '%s' | tcpdump --count -nr - 2>/dev/null",
					  zst ? "zstd -dcq" : "cat", path),
				 0);
		assert_int_equal(strtoul(out, NULL, 10), want);
	}
	if (tshark && tool_has("tshark")) {
		assert_int_equal(
			tool_run(&count, NULL, "tshark -nr '%s' -T fields -e frame.number 2>/dev/null", path),
			0);
		const char *last = count + strlen(count);

		while (last > count && (last[-1] == '\n' || last[-1] == '\r'))
			last--;
		while (last > count && last[-1] != '\n')
			last--;
		assert_int_equal(strtoul(last, NULL, 10), want);
	}
}

static void clear(const struct segment *s)
{
	(void)unlink(path_of(s->name, ""));
	(void)unlink(path_of(s->name, ".part"));
	(void)unlink(path_of(s->name, ".json"));
}

enum behind { NOTHING, ZEROS, GARBAGE };

/* What is kept of a file that is torn at n. */
static void tear(const struct segment *s, size_t n, enum behind behind, bool tools, bool tshark)
{
	static uint8_t torn[ROOM];
	const size_t more = behind == NOTHING ? 0 : 3 * CAP_ALIGN - n % CAP_ALIGN;
	const bool zst = strstr(s->name, ".zst") != NULL;
	const size_t want = records_in(s, zst ? raw_of(s, n) : n);

	memcpy(torn, s->file, n);
	for (size_t i = 0; i < more; i++)
		torn[n + i] = behind == GARBAGE ? 0xff : 0;
	tool_write_file(path_of(s->name, ".part"), torn, n + more);
	judge(s, want);
	if (tools)
		other_tools(s, want, tshark);
	clear(s);
}

/* Garbage of 0xff: no zstd block begins so, no record either. But a block that is cut within may become
 * another block with it. */
static void every_byte_of_the_end(void **state)
{
	static const struct shape shapes[] = {
		{ "a.pcap.zst", false, false, false, 3, 1500, 600, 450 },
		{ "a.pcapng.zst", true, false, true, 3, 1500, 600, 450 },
		{ "a.pcap", false, true, false, 3, 1000, 0, 300 },
		{ "a.pcapng", true, true, false, 3, 1000, 0, 300 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		struct segment *s = make(&shapes[i]);
		const size_t from = shapes[i].plain ? s->head_end : s->starts[s->n_starts - 2];

		for (size_t n = from; n <= s->n; n++)
			tear(s, n, NOTHING, n % 800 == 0, false);
		free_segment(s);
	}
}

static void zeros_behind(void **state)
{
	static const struct shape shape = { "z.pcap.zst", false, false, true, 4, 9000, 3000, 2000 };
	struct segment *s = make(&shape);

	(void)state;
	/* A cut within a block, completed by zeros, would be another block: writes are whole pages, so tears
	 * are at pages. */
	for (size_t i = 0; i < s->n_starts; i++)
		tear(s, s->starts[i], ZEROS, true, i == 2);
	for (size_t i = 0; i < s->n_starts; i++)
		tear(s, s->starts[i], GARBAGE, true, false);
	/* A write that was cut at a page, within stored blocks and packed ones; the rest of a packet is not
	 * made of zeros. */
	for (size_t n = CAP_ALIGN; n < s->n; n += CAP_ALIGN)
		tear(s, n, ZEROS, true, false);
	free_segment(s);
}

static void plain_with_zeros_behind(void **state)
{
	static const struct shape shapes[] = { { "p.pcap", false, true, false, 1, 4000, 0, 300 },
					       { "p.pcapng", true, true, false, 1, 4000, 0, 300 } };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct segment *s = make(&shapes[i]);

		for (size_t k = 0; k < s->n_records; k++)
			tear(s, s->ends[k], ZEROS, k % 10 == 0, k == 10);
		free_segment(s);
	}
}

/* What a writer had reserved and never wrote costs nothing: to read so much would take minutes. */
static void reserved_space_is_not_read(void **state)
{
	static const struct shape shape = { "r.pcap.zst", false, false, false, 3, 1500, 600, 450 };
	const off_t reserved = (off_t)1 << 40;
	struct segment *s = make(&shape);

	(void)state;
	tool_write_file(path_of(s->name, ".part"), s->file, s->starts[s->n_starts - 1]);
	assert_int_equal(truncate(path_of(s->name, ".part"), reserved), 0);
	(void)alarm(30);
	judge(s, records_in(s, raw_of(s, s->starts[s->n_starts - 1])));
	(void)alarm(0);
	clear(s);
	free_segment(s);
}

/* Real sizes: stretches of a MiB in blocks of 128 KiB, long records across blocks. */
static void random_tears_of_large_files(void **state)
{
	static const struct shape shapes[] = {
		{ "l.pcap.zst", false, false, true, 4, 1000000, CAP_ZBLOCK_MAX, 9000 },
		{ "l.pcapng.zst", true, false, false, 4, 1000000, CAP_ZBLOCK_MAX, 9000 },
		{ "h.pcap.zst", false, false, true, 3, 900000, CAP_ZBLOCK_MAX, 262144 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		struct segment *s = make(&shapes[i]);

		for (int k = 0; k < 25; k++)
			tear(s, s->head_end + tool_random(&seed) % (s->n - s->head_end + 1), NOTHING, k < 3,
			     k == 0);
		free_segment(s);
	}
}

/* The index of a file that is whole has the stretches that were made, but for those that are too short to be
 * worth it. */
static void the_index_is_found_again(void **state)
{
	static const struct shape shape = {
		"i.pcap.zst", false, false, true, 6, 900000, CAP_ZBLOCK_MAX, 1500
	};
	struct segment *s = make(&shape);
	_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
	const int dirfd = open(dir, O_DIRECTORY | O_CLOEXEC);
	size_t found = 0;

	(void)state;
	tool_write_file(path_of(s->name, ".part"), s->file, s->n);
	judge(s, s->n_records);
	assert_int_equal(cap_sidecar_read(dirfd, s->name, &sc, NULL), 0);
	assert_in_range(sc->n_index, s->n_starts, 20);
	for (size_t i = 0; i < s->n_starts; i++)
		for (size_t k = 0; k < sc->n_index; k++)
			found += sc->index[k].file_offset == s->starts[i];
	assert_int_equal(found, s->n_starts);
	clear(s);
	close(dirfd);
	free_segment(s);
}

static void a_hole_or_garbage_in_the_middle(void **state)
{
	static const struct shape shape = { "m.pcap.zst", false, false, true, 4, 30000, 9000, 1500 };
	struct segment *s = make(&shape);
	uint8_t *torn = malloc(ROOM);

	(void)state;
	for (int garbage = 0; garbage < 2; garbage++)
		for (size_t i = 1; i < s->n_starts - 1; i++) {
			_skep_free_ char *out = NULL;
			const size_t want = records_in(s, raw_of(s, s->starts[i]));

			memcpy(torn, s->file, s->n);
			memset(torn + s->starts[i], garbage ? 0x5e : 0, CAP_ALIGN);
			tool_write_file(path_of(s->name, ".part"), torn, s->n);
			if (garbage)
				/* 0x5e is no block at all: reserved type. */
				torn[s->starts[i]] = 0x5e;
			judge(s, want);
			other_tools(s, want, false);
			out = tool_read_file(path_of(s->name, ".json"), NULL);
			assert_non_null(strstr(out, "bytes were given up: at byte"));
			clear(s);
		}
	free(torn);
	free_segment(s);
}

/* A frame of another program has no places to begin at; it is kept all the same, with one entry. */
static void a_frame_that_reaches_back(void **state)
{
	static const struct shape shape = {
		"r.pcap.zst", false, false, false, 1, 700000, CAP_ZBLOCK_MAX, 60
	};
	struct segment *s = make(&shape);
	ZSTD_CCtx *cctx = ZSTD_createCCtx();
	ZSTD_parameters params = ZSTD_getParams(3, CAP_BLOCK_BYTES, 0);
	_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
	const int dirfd = open(dir, O_DIRECTORY | O_CLOEXEC);
	size_t from = 0;

	(void)state;
	/* Every block ends with a record, so that every block looks like a place to begin. */
	params.cParams.windowLog = 20;
	params.fParams.contentSizeFlag = 0;
	ZSTD_compressBegin_advanced(cctx, NULL, 0, params, ZSTD_CONTENTSIZE_UNKNOWN);
	s->n = 0;
	while (from < s->raw_n) {
		size_t to = s->ends[s->n_records - 1];

		for (size_t i = 0; i < s->n_records; i++)
			if (s->ends[i] > from + 100000) {
				to = s->ends[i];
				break;
			}
		s->n += ZSTD_compressContinue(cctx, s->file + s->n, ROOM - s->n, s->raw + from, to - from);
		from = to;
	}
	ZSTD_freeCCtx(cctx);
	tool_write_file(path_of(s->name, ".part"), s->file, s->n);
	judge(s, s->n_records);
	assert_int_equal(cap_sidecar_read(dirfd, s->name, &sc, NULL), 0);
	assert_int_equal(sc->n_index, 1);
	clear(s);
	close(dirfd);
	free_segment(s);
}

static void nothing_was_written(void **state)
{
	static const char *const names[] = { "e.pcap.zst", "e.pcap", "e.pcapng.zst", "e.pcapng" };
	static const uint8_t zeros[20000];
	static const struct shape shape = { "e.pcap.zst", false, false, false, 1, 100, 100, 100 };
	struct segment *s = make(&shape);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		for (int k = 0; k < 2; k++) {
			_skep_free_ char *report = NULL;
			struct segment empty = { .name = names[i] };

			tool_write_file(path_of(names[i], ".part"), zeros, k ? sizeof(zeros) : 0);
			report = recover(0);
			assert_non_null(strstr(report, "0 packets kept"));
			other_tools(&empty, 0, k);
			clear(&empty);
		}
	/* Only the beginning of a header. */
	for (size_t n = 1; n < s->head_end; n++) {
		_skep_free_ char *report = NULL;

		tool_write_file(path_of(s->name, ".part"), s->file, n);
		report = recover(0);
		assert_non_null(strstr(report, "0 packets kept"));
		other_tools(s, 0, false);
		clear(s);
	}
	tear(s, s->head_end, NOTHING, true, true);
	free_segment(s);
}

static void left_alone(void **state)
{
	static const struct shape shape = { "k.pcap.zst", false, false, false, 2, 5000, 2000, 500 };
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct segment *s = make(&shape);
	_skep_free_ char *report = NULL;
	int fd;

	(void)state;
	tool_write_file(path_of("held.pcap.zst", ".part"), s->file, s->n - 5);
	fd = open(path_of("held.pcap.zst", ".part"), O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	tool_write_file(path_of("taken.pcap.zst", ".part"), s->file, s->n - 5);
	tool_write_file(path_of("taken.pcap.zst", ""), "mine", 4);
	tool_write_file(path_of("foreign.pcap.zst", ".part"), "PK\x03\x04 a download", 16);
	tool_write_file(path_of("other.iso", ".part"), s->file, s->n);
	assert_int_equal(symlink("/etc/passwd", path_of("link.pcap", ".part")), 0);
	assert_int_equal(mkfifo(path_of("fifo.pcap", ".part"), 0600), 0);
	report = recover(0);
	assert_non_null(strstr(report, "held.pcap.zst.part: left as it is: a capture is writing it"));
	assert_non_null(strstr(report, "taken.pcap.zst.part: left as it is: there is already"));
	assert_non_null(strstr(report, "foreign.pcap.zst.part: left as it is: it does not begin"));
	assert_non_null(strstr(report, "other.iso.part: left as it is"));
	assert_non_null(strstr(report, "link.pcap.part: left as it is: it is a symbolic link"));
	assert_non_null(strstr(report, "fifo.pcap.part: left as it is: it is not a regular file"));
	assert_null(strstr(report, "kept"));
	/* The writer goes: now it is recovered. */
	close(fd);
	free(report);
	report = recover(0);
	assert_non_null(strstr(report, "held.pcap.zst: "));
	assert_int_equal(access(path_of("held.pcap.zst", ""), F_OK), 0);
	assert_int_equal(tool_run(NULL, NULL, "rm -rf '%s'/*", dir), 0);
	free_segment(s);
}

/* After the mend was written, anything may have happened to the bytes that it replaces. */
static void a_crash_while_mending(void **state)
{
	static const struct shape shape = { "c.pcap.zst", false, false, false, 2, 9000, 3000, 700 };
	struct segment *s = make(&shape);
	const size_t n = s->n - 100;
	const size_t want = records_in(s, raw_of(s, n));
	_skep_free_ char *good = NULL;
	size_t good_n, keep = 0;

	(void)state;
	tool_write_file(path_of(s->name, ".part"), s->file, n);
	judge(s, want);
	good = tool_read_file(path_of(s->name, ""), &good_n);
	clear(s);
	while (keep < n && good[keep] == (char)s->file[keep])
		keep++;
	/* The mend begins at a block; anywhere before the first difference will do, since its bytes are those
	 * of the good file. */
	for (size_t done = keep; done < good_n; done += 97) {
		char header[81];
		uint8_t *mend = malloc(80 + good_n);
		struct stat st;
		int h;

		/* Half applied: the first bytes are new, the rest is wild. */
		uint8_t *part = malloc(n);

		memcpy(part, s->file, n);
		memset(part + keep, 0xa5, n - keep);
		memcpy(part + keep, good + keep, SKEP_MIN(done, n) - keep);
		tool_write_file(path_of(s->name, ".part"), part, n);
		assert_int_equal(stat(path_of(s->name, ".part"), &st), 0);
		h = snprintf(header, sizeof(header), "skep-mend 1 %lu %zu %zu\n", (unsigned long)st.st_ino,
			     keep, good_n - keep);
		memset(header + h, ' ', (size_t)(80 - h));
		memcpy(mend, header, 80);
		memcpy(mend + 80, good + keep, good_n - keep);
		tool_write_file(path_of(s->name, ".part.mend"), mend, 80 + good_n - keep);
		judge(s, want);
		clear(s);
		/* A mend for another file of that name is no business of this one. */
		header[12] = '9';
		memcpy(mend, header, 80);
		tool_write_file(path_of(s->name, ".part.mend"), mend, 80 + good_n - keep);
		tool_write_file(path_of(s->name, ".part"), s->file, s->n);
		judge(s, s->n_records);
		clear(s);
		free(part);
		free(mend);
	}
	free_segment(s);
}

/* The writer noted what it was doing: that is in the sidecar, whatever else is lost; a note that is spoilt or
 * somebody else's is as good as none. */
static void the_writer_s_note_is_taken(void **state)
{
	static const struct shape shape = { "eth1-q3-000017.pcap.zst", false, false, false, 1, 3000, 2000, 500 };
	struct segment *s = make(&shape);
	struct cap_sidecar facts = CAP_SIDECAR_NULL;
	const int dirfd = open(dir, O_DIRECTORY | O_CLOEXEC);
	_skep_free_ char *good = NULL;
	size_t good_n;

	(void)state;
	facts.job = "night";
	facts.link = "eth1.100";
	facts.queue = 3;
	facts.seq = 17;
	facts.filter = "udp port 53";
	facts.source = "xdp native";
	facts.driver = "mlx5_core";
	facts.kernel = "6.18";
	facts.hostname = "probe-1";
	facts.software = "skep-capture 0.0.9";
	facts.timestamps = "nic";
	facts.started_ns = 1700000000000000000;
	facts.clock.known = facts.clock.synchronised = true;
	facts.clock.error_ns = 250000;
	assert_int_equal(cap_sidecar_note(dirfd, "eth1-q3-000017.pcap.zst.part", &facts), 0);
	good = tool_read_file(path_of(s->name, ".part.json"), &good_n);
	for (size_t n = 0; n <= good_n + 1; n += n + 40 < good_n ? 37 : 1) {
		_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
		const bool whole = n >= good_n - 1; /* the last byte is a newline */

		tool_write_file(path_of(s->name, ".part"), s->file, s->n - 5);
		tool_write_file(path_of(s->name, ".part.json"), good, SKEP_MIN(n, good_n));
		judge(s, records_in(s, raw_of(s, s->n - 5)));
		assert_int_equal(access(path_of(s->name, ".part.json"), F_OK), -1);
		assert_int_equal(cap_sidecar_read(dirfd, s->name, &sc, NULL), 0);
		assert_string_equal(sc->link, whole ? "eth1.100" : "eth1");
		assert_int_equal(sc->seq, 17);
		assert_true(!sc->filter == !whole && !sc->job == !whole && !sc->hostname == !whole);
		if (whole) {
			assert_string_equal(sc->filter, "udp port 53");
			assert_string_equal(sc->job, "night");
			assert_string_equal(sc->software, "skep-capture 0.0.9");
			assert_true(sc->clock.synchronised && sc->clock.error_ns == 250000);
			assert_int_equal(sc->started_ns, 1700000000000000000);
		}
		clear(s);
	}
	/* Another part's, and one whose part is not there any more. */
	tool_write_file(path_of(s->name, ".part"), s->file, s->n - 5);
	tool_write_file(path_of("other.pcap", ".part.json"), good, good_n);
	assert_int_equal(cap_sidecar_note(dirfd, "done.pcap.part", &facts), 0);
	assert_int_equal(symlink("/etc/passwd", path_of("link.pcap", ".part.json")), 0);
	judge(s, records_in(s, raw_of(s, s->n - 5)));
	assert_int_equal(access(path_of("done.pcap", ".part.json"), F_OK), -1);
	assert_int_equal(access(path_of("other.pcap", ".part.json"), F_OK), 0);
	assert_int_equal(tool_run(NULL, NULL, "rm -rf '%s'/*", dir), 0);
	close(dirfd);
	free_segment(s);
}

static void folders_below_are_visited(void **state)
{
	static const struct shape shape = {
		"eth1-q3-000017.pcap.zst", false, false, false, 1, 5000, 2000, 500
	};
	struct segment *s = make(&shape);
	_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
	_skep_free_ char *report = NULL;
	int fd;

	(void)state;
	assert_int_equal(mkdir(path_of("job", ""), 0700), 0);
	tool_write_file(path_of("job/eth1-q3-000017.pcap.zst", ".part"), s->file, s->n - 1);
	report = recover(0);
	fd = open(path_of("job", ""), O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(cap_sidecar_read(fd, s->name, &sc, NULL), 0);
	assert_string_equal(sc->link, "eth1");
	assert_int_equal(sc->queue, 3);
	assert_int_equal(sc->seq, 17);
	close(fd);
	free_segment(s);
	assert_int_equal(cap_recover_dir("/nonexistent", stdout, NULL), SKEP_E_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_of_the_end),
		cmocka_unit_test(zeros_behind),
		cmocka_unit_test(plain_with_zeros_behind),
		cmocka_unit_test(reserved_space_is_not_read),
		cmocka_unit_test(random_tears_of_large_files),
		cmocka_unit_test(the_index_is_found_again),
		cmocka_unit_test(a_hole_or_garbage_in_the_middle),
		cmocka_unit_test(a_frame_that_reaches_back),
		cmocka_unit_test(nothing_was_written),
		cmocka_unit_test(left_alone),
		cmocka_unit_test(a_crash_while_mending),
		cmocka_unit_test(the_writer_s_note_is_taken),
		cmocka_unit_test(folders_below_are_visited),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
