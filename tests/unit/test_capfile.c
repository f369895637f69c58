/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, with libpcap as the oracle, that the reader gives the same packets, lengths and time stamps to the
 * nanosecond: for every real capture in $SKEP_PCAPS, for generated files of every variant (magic, byte order,
 * version, resolution, offset, block type), and for thousands of damaged ones; whatever libpcap reads must be
 * read, whatever it refuses may only be refused or read as far as it is sound. The bytes arrive in pieces of
 * random size. And that refusals say what and where.
 */
#include "capture/capfile.h"
#include "capture/capwrite.h"
#include "tool.h"

#include <dirent.h>
#include <pcap/pcap.h>

struct file {
	uint8_t *p;
	size_t n;
};

/* ---- reading with both ---- */

static uint64_t seed = 1;

struct reader {
	struct cap_capfile *f;
	const uint8_t *p;
	size_t left;
	bool whole_pieces;
};

/* Like cap_capfile_next, but feeds by itself. */
static int next(struct reader *r, struct cap_capfile_packet *packet, struct skep_err *err)
{
	for (;;) {
		const int ret = cap_capfile_next(r->f, packet, err);
		size_t n;
		uint8_t *room;

		if (ret != -EAGAIN)
			return ret;
		room = cap_capfile_room(r->f, &n);
		assert_true(n > 0);
		n = SKEP_MIN(n, r->left);
		if (n == 0)
			cap_capfile_finish(r->f);
		else if (!r->whole_pieces) {
			const size_t most = tool_random(&seed) % 8 ? 5000 : 20;

			n = 1 + tool_random(&seed) % SKEP_MIN(n, most);
		}
		memcpy(room, r->p, n);
		cap_capfile_fed(r->f, n);
		r->p += n;
		r->left -= n;
	}
}

/* What libpcap's time stamp is in our terms; it gives fractions that are too large as they are, and signed
 * where they are not. */
static uint64_t oracle_time(const struct pcap_pkthdr *h, const struct cap_capfile_info *info)
{
	uint64_t sec = (uint64_t)h->ts.tv_sec;
	uint64_t frac = (uint64_t)h->ts.tv_usec;

	if (info->format == CAP_CAPFILE_PCAP) {
		sec = (uint32_t)sec;
		frac = info->nanoseconds ? (uint32_t)h->ts.tv_usec
					 : (uint64_t)(uint32_t)(h->ts.tv_usec / 1000) * 1000;
	}
	return (uint64_t)SKEP_MIN((unsigned __int128)sec * 1000000000 + frac, (unsigned __int128)INT64_MAX);
}

static void same_packet(const struct pcap_pkthdr *h, const u_char *data, uint32_t snaplen,
			const struct cap_capfile_packet *p, const struct cap_capfile_info *info,
			const char *name)
{
	/* libpcap cuts at the snaplen of the file; we do not. */
	const uint32_t cap_len =
		info->format == CAP_CAPFILE_PCAP ? SKEP_MIN(p->cap_len, snaplen) : p->cap_len;

	if (h->caplen != cap_len || h->len != p->wire_len)
		fail_msg("%s: byte %lu: lengths %u/%u, libpcap %u/%u", name, (unsigned long)p->offset,
			 p->cap_len, p->wire_len, h->caplen, h->len);
	if (memcmp(data, p->data, h->caplen) != 0)
		fail_msg("%s: byte %lu: other bytes", name, (unsigned long)p->offset);
	/* libpcap adds the interface's offset without looking at overflow; we clamp. */
	if (info->format == CAP_CAPFILE_PCAPNG && h->ts.tv_sec < 0 &&
	    (p->ts_ns == 0 || p->ts_ns == INT64_MAX))
		return;
	if (oracle_time(h, info) != p->ts_ns)
		fail_msg("%s: byte %lu: time %lu, libpcap %lu", name, (unsigned long)p->offset,
			 (unsigned long)p->ts_ns, (unsigned long)oracle_time(h, info));
}

struct verdict {
	uint64_t pkts;	   /* that both gave */
	bool oracle_clean; /* libpcap read to the end */
	int r;		   /* how ours ended */
	struct skep_err err;
	struct cap_capfile_info info;
	uint64_t whole;
	bool truncated;
};

static struct verdict compare(const char *name, struct file file)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	FILE *stream = file.n > 0 ? fmemopen(file.p, file.n, "rb") : NULL;
	pcap_t *oracle =
		stream ? pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, text)
		       : NULL;
	struct verdict v = { .err = SKEP_ERR_NULL };
	struct cap_capfile_packet packet;
	struct reader r = { .p = file.p, .left = file.n };
	struct pcap_pkthdr *h;
	const u_char *data;
	int o = oracle ? 1 : -1;

	assert_int_equal(cap_capfile_new(name, false, &r.f), 0);
	for (;;) {
		v.r = next(&r, &packet, &v.err);
		if (o == 1)
			o = pcap_next_ex(oracle, &h, &data);
		if (o != 1 || v.r != 0)
			break;
		same_packet(h, data, (uint32_t)pcap_snapshot(oracle), &packet, cap_capfile_info(r.f), name);
		v.pkts++;
	}
	v.oracle_clean = o == PCAP_ERROR_BREAK;
	/* The one thing that libpcap reads and we refuse on purpose: link types that nobody can say anything
	 * about. */
	if (o == 1 && !strstr(v.err.text, "link type"))
		fail_msg("%s: packet %lu refused (%s), but libpcap has it", name, (unsigned long)v.pkts,
			 v.err.text);
	if (v.oracle_clean && v.r != -ENODATA && !strstr(v.err.text, "link type"))
		fail_msg("%s: libpcap ends well after %lu packets, we do not: %d %s", name,
			 (unsigned long)v.pkts, v.r, v.err.text);
	/* More than libpcap read: let it run to its end, it must have one. */
	while (v.r == 0)
		v.r = next(&r, &packet, &v.err);
	v.info = *cap_capfile_info(r.f);
	v.whole = cap_capfile_whole(r.f);
	v.truncated = cap_capfile_truncated(r.f);
	if (v.r > 0)
		assert_true(v.err.text[0] != '\0');
	if (oracle && pcap_datalink(oracle) == DLT_EN10MB && v.r == -ENODATA)
		assert_int_equal(v.info.linktype, 1);
	if (oracle)
		pcap_close(oracle);
	else if (stream)
		fclose(stream);
	cap_capfile_free(r.f);
	return v;
}

/* ---- making files ---- */

struct maker {
	uint8_t *p;
	size_t n;
	bool swapped;
};

static void put(struct maker *m, const void *data, size_t n)
{
	memcpy(m->p + m->n, data, n);
	m->n += n;
}

static void put16(struct maker *m, uint16_t v)
{
	v = m->swapped ? __builtin_bswap16(v) : v;
	put(m, &v, 2);
}

static void put32(struct maker *m, uint32_t v)
{
	v = m->swapped ? __builtin_bswap32(v) : v;
	put(m, &v, 4);
}

static void put64(struct maker *m, uint64_t v)
{
	v = m->swapped ? __builtin_bswap64(v) : v;
	put(m, &v, 8);
}

static void put_content(struct maker *m, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		m->p[m->n++] = (uint8_t)tool_random(&seed);
}

static void set32(struct maker *m, size_t at, uint32_t v)
{
	v = m->swapped ? __builtin_bswap32(v) : v;
	memcpy(m->p + at, &v, 4);
}

/* Ends the block that began at start: its length goes to both places. */
static void end_block(struct maker *m, size_t start)
{
	while (m->n % 4)
		m->p[m->n++] = 0;
	set32(m, start + 4, (uint32_t)(m->n - start + 4));
	put32(m, (uint32_t)(m->n - start + 4));
}

static void put_section(struct maker *m)
{
	const size_t start = m->n;

	put32(m, 0x0a0d0d0a);
	put32(m, 0);
	put32(m, 0x1a2b3c4d);
	put16(m, 1);
	put16(m, 0);
	put64(m, UINT64_MAX);
	put16(m, 4);
	put16(m, 5);
	put(m, "maker\0\0\0", 8);
	put32(m, 0);
	end_block(m, start);
}

static void put_iface(struct maker *m, uint16_t linktype, uint32_t snaplen, int resolution, int64_t offset)
{
	const size_t start = m->n;

	put32(m, 1);
	put32(m, 0);
	put16(m, linktype);
	put16(m, 0);
	put32(m, snaplen);
	put16(m, 2);
	put16(m, 3);
	put(m, "eth\0", 4);
	if (resolution >= 0) {
		put16(m, 9);
		put16(m, 1);
		m->p[m->n] = (uint8_t)resolution;
		memset(m->p + m->n + 1, 0, 3);
		m->n += 4;
	}
	if (offset) {
		put16(m, 14);
		put16(m, 8);
		put64(m, (uint64_t)offset);
	}
	put32(m, 0);
	end_block(m, start);
}

static void put_enhanced(struct maker *m, uint32_t iface, uint64_t t, uint32_t len)
{
	const size_t start = m->n;

	put32(m, 6);
	put32(m, 0);
	put32(m, iface);
	put32(m, (uint32_t)(t >> 32));
	put32(m, (uint32_t)t);
	put32(m, len);
	put32(m, len + 9);
	put_content(m, len);
	end_block(m, start);
}

static void put_obsolete(struct maker *m, uint16_t iface, uint64_t t, uint32_t len)
{
	const size_t start = m->n;

	put32(m, 2);
	put32(m, 0);
	put16(m, iface);
	put16(m, 3);
	put32(m, (uint32_t)(t >> 32));
	put32(m, (uint32_t)t);
	put32(m, len);
	put32(m, len);
	put_content(m, len);
	end_block(m, start);
}

static void put_simple(struct maker *m, uint32_t wire_len, uint32_t len)
{
	const size_t start = m->n;

	put32(m, 3);
	put32(m, 0);
	put32(m, wire_len);
	put_content(m, len);
	end_block(m, start);
}

static void put_unknown(struct maker *m, uint32_t len)
{
	const size_t start = m->n;

	put32(m, 0x0bad);
	put32(m, 0);
	put_content(m, len);
	end_block(m, start);
}

static void put_pcap_head(struct maker *m, uint32_t magic, uint16_t major, uint16_t minor, uint32_t snaplen,
			  uint32_t linktype)
{
	put32(m, magic);
	put16(m, major);
	put16(m, minor);
	put64(m, 0);
	put32(m, snaplen);
	put32(m, linktype);
}

static void put_pcap_record(struct maker *m, uint32_t sec, uint32_t frac, uint32_t first, uint32_t second,
			    uint32_t extra, uint32_t len)
{
	put32(m, sec);
	put32(m, frac);
	put32(m, first);
	put32(m, second);
	memset(m->p + m->n, 0x77, extra);
	m->n += extra;
	put_content(m, len);
}

enum { MAKER_BYTES = 4 << 20 };

static struct maker maker(bool swapped)
{
	struct maker m = { .p = malloc(MAKER_BYTES), .swapped = swapped };

	assert_non_null(m.p);
	return m;
}

static struct file made(const struct maker *m)
{
	return (struct file){ m->p, m->n };
}

/* ---- tests ---- */

static void real_files(void **state)
{
	const char *dir = tool_pcaps();
	uint64_t pkts = 0;
	int files = 0;
	struct dirent *e;
	DIR *d = opendir(dir);

	(void)state;
	if (!d) {
		print_message("# no folder of captures: neither $SKEP_PCAPS nor %s\n", dir);
		skip();
	}
	while ((e = readdir(d))) {
		_skep_free_ char *path = NULL;
		struct file file;

		if (!strstr(e->d_name, ".pcap"))
			continue;
		assert_true(asprintf(&path, "%s/%s", dir, e->d_name) > 0);
		file.p = (uint8_t *)tool_read_file(path, &file.n);
		pkts += compare(e->d_name, file).pkts;
		files++;
		free(file.p);
	}
	closedir(d);
	print_message("# %d files, %lu packets\n", files, (unsigned long)pkts);
	assert_true(files > 0 && pkts > 0);
}

static void every_pcap_variant(void **state)
{
	static const uint32_t magics[] = { 0xa1b2c3d4, 0xa1b23c4d, 0xa1b2cd34 };
	static const uint16_t versions[][2] = { { 2, 0 }, { 2, 2 }, { 2, 3 }, { 2, 4 }, { 543, 0 } };
	static const uint32_t secs[] = { 0, 1, 1700000000, 0x7fffffff, 0x80000000, 0xffffffff };
	static const uint32_t snaplens[] = { 0, 96, 65535, 262144, 0x7fffffff, 0xffffffff };

	(void)state;
	for (int variant = 0; variant < 3 * 5 * 2 * 6; variant++) {
		const uint32_t magic = magics[variant % 3];
		const uint16_t *version = versions[variant / 3 % 5];
		const bool reversed = version[0] != 2 || version[1] < 3;
		struct maker m = maker(variant / 15 % 2);
		struct verdict v;

		put_pcap_head(&m, magic, version[0], version[1], snaplens[variant / 30],
			      1 | (variant % 2 ? 0x14000000 : 0));
		for (uint32_t i = 0; i < 60; i++) {
			const uint32_t len = i % 7 == 0 ? 0 : i * 33;
			const uint32_t wire = len + i % 3;

			put_pcap_record(&m, secs[i % 6], i % 5 == 4 ? 999999999 : i * 1001,
					reversed ? wire : len, reversed ? len : wire,
					magic == 0xa1b2cd34 ? 8 : 0, len);
		}
		v = compare("variant", made(&m));
		assert_int_equal(v.pkts, 60);
		assert_int_equal(v.r, -ENODATA);
		assert_int_equal(v.whole, m.n);
		assert_int_equal(v.info.swapped, m.swapped);
		free(m.p);
	}
}

static void every_pcapng_resolution(void **state)
{
	static const uint64_t times[] = { 0, 1, 999999, 1700000000123456, 1700000000123456789, INT64_MAX };
	static const int64_t offsets[] = { 0, 1, -1, 1700000000, -3000000000, INT64_MAX, INT64_MIN };

	(void)state;
	/* Up to 10^-19 and 2^-34; from there on libpcap's product of 64 bits overflows, see far_times. */
	for (int v = -1; v <= 19 + 35; v++)
		for (size_t o = 0; o < ARRAY_LEN(offsets); o++) {
			struct maker m = maker(o % 2);
			struct verdict verdict;

			put_section(&m);
			put_iface(&m, 1, 262144, v <= 19 ? v : 0x80 + v - 20, offsets[o]);
			for (size_t t = 0; t < ARRAY_LEN(times); t++)
				put_enhanced(&m, 0, times[t], 60);
			verdict = compare("resolution", made(&m));
			assert_int_equal(verdict.pkts, ARRAY_LEN(times));
			free(m.p);
		}
}

static void every_pcapng_block(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct maker m = maker(i);
		struct verdict v;

		put_section(&m);
		put_unknown(&m, 0);
		put_iface(&m, 1, 1000, 9, 0);
		put_unknown(&m, 2500000);
		put_simple(&m, 60, 60);
		put_simple(&m, 5000, 1000);
		put_iface(&m, 1, 1000, 6, 7);
		put_enhanced(&m, 0, 1700000000123456789, 1000);
		put_enhanced(&m, 1, 1700000000123456, 0);
		put_obsolete(&m, 1, 1700000000123456, 61);
		put_section(&m);
		put_iface(&m, 1, 1000, -1, 0);
		put_enhanced(&m, 0, 1700000000123456, 333);
		put_simple(&m, 2, 2);
		v = compare("blocks", made(&m));
		assert_int_equal(v.pkts, 7);
		assert_int_equal(v.r, -ENODATA);
		assert_int_equal(v.whole, m.n);
		free(m.p);
	}
}

static void sections_of_both_byte_orders(void **state)
{
	struct maker m = maker(false);
	struct verdict v;

	(void)state;
	put_section(&m);
	put_iface(&m, 1, 1000, 9, 0);
	put_enhanced(&m, 0, 5, 100);
	m.swapped = true;
	put_section(&m);
	put_iface(&m, 1, 2000, 9, 0);
	put_enhanced(&m, 0, 6, 100);
	v = compare("both", made(&m));
	assert_int_equal(v.pkts, 1); /* libpcap stops here */
	assert_int_equal(v.r, -ENODATA);
	assert_int_equal(v.whole, m.n);
	free(m.p);
}

/* Damages a good file in a few places and compares; also cuts it. */
static void damage(struct file good, int rounds)
{
	uint8_t *copy = malloc(good.n);

	for (int i = 0; i < rounds; i++) {
		struct file bad = { copy, good.n };

		memcpy(copy, good.p, good.n);
		for (uint64_t n = tool_random(&seed) % 4; n > 0; n--) {
			const size_t at = tool_random(&seed) % good.n;

			copy[at] = tool_random(&seed) % 2
					   ? (uint8_t)tool_random(&seed)
					   : (uint8_t)(copy[at] ^ 1u << tool_random(&seed) % 8);
		}
		if (tool_random(&seed) % 3 == 0)
			bad.n = tool_random(&seed) % good.n;
		(void)compare("damaged", bad);
	}
	free(copy);
}

static void damaged_files(void **state)
{
	struct maker m = maker(false);

	(void)state;
	put_pcap_head(&m, 0xa1b23c4d, 2, 4, 262144, 1);
	for (uint32_t i = 0; i < 12; i++)
		put_pcap_record(&m, 1700000000, i, i * 9, i * 9 + 1, 0, i * 9);
	damage(made(&m), 4000);
	m.n = 0;
	put_section(&m);
	put_iface(&m, 1, 262144, 9, 0);
	put_unknown(&m, 40);
	for (uint32_t i = 0; i < 8; i++) {
		put_enhanced(&m, 0, 1700000000123456789, i * 9);
		put_simple(&m, 20, 20);
		put_obsolete(&m, 0, 99, 11);
	}
	damage(made(&m), 4000);
	free(m.p);
}

static void every_cut_is_told(void **state)
{
	struct maker m = maker(false);
	size_t ends[5];

	(void)state;
	put_pcap_head(&m, 0xa1b23c4d, 2, 4, 262144, 1);
	for (uint32_t i = 0; i < 5; i++) {
		ends[i] = m.n;
		put_pcap_record(&m, 1700000000, i, 20, 20, 0, 20);
	}
	for (size_t n = 0; n < m.n; n++) {
		const struct verdict v = compare("cut", (struct file){ m.p, n });
		size_t whole = 0;

		for (size_t i = 0; i < 5; i++)
			whole = ends[i] <= n ? ends[i] : whole;
		assert_int_equal(v.whole, whole);
		if (n > 0 && n == whole)
			assert_int_equal(v.r, -ENODATA);
		else
			assert_int_equal(v.r, SKEP_E_BAD_DATA);
		assert_int_equal(v.truncated, n > 0 && n != whole);
	}
	free(m.p);
}

static void times_at_the_edges(void **state)
{
	struct maker m = maker(false);
	struct reader r = { .whole_pieces = true };
	struct cap_capfile_packet p;
	static const struct {
		int resolution;
		int64_t offset;
		uint64_t t;
		uint64_t want;
	} cases[] = {
		{ 9, -1, 999999999, 0 }, /* before 1970 */
		{ 9, -1, 1000000001, 1 },
		{ 0, 0, 10000000000, INT64_MAX }, /* after 2262 */
		{ 9, INT64_MAX, 0, INT64_MAX },
		{ 9, INT64_MIN, UINT64_MAX, 0 },
		{ 0x80 + 63, 0, UINT64_C(3) << 62, 1500000000 }, /* 2^-63: 1.5 s */
		{ 0x80 + 40, 1700000000, (UINT64_C(1) << 40) - 1, UINT64_C(1700000000999999999) },
		{ 12, 0, UINT64_C(1700000000123456), UINT64_C(1700000000123) },
	};

	(void)state;
	put_section(&m);
	for (uint32_t i = 0; i < ARRAY_LEN(cases); i++)
		put_iface(&m, 1, 1000, cases[i].resolution, cases[i].offset);
	for (uint32_t i = 0; i < ARRAY_LEN(cases); i++)
		put_enhanced(&m, i, cases[i].t, 1);
	assert_int_equal(cap_capfile_new("edges", false, &r.f), 0);
	r.p = m.p;
	r.left = m.n;
	for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(next(&r, &p, NULL), 0);
		assert_int_equal(p.iface, i);
		assert_true(p.ts_ns == cases[i].want);
	}
	assert_int_equal(cap_capfile_odd_times(r.f), 4);
	cap_capfile_free(r.f);
	free(m.p);
}

static void refusals_say_what_and_where(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *says;
		const char *hints;
	} cases[] = {
		{ "", 0, "empty", "" },
		{ "\x1f\x8b\x08\x00rest", 8, "gzip", "zcat" },
		{ "\xfd"
		  "7zXZ\0more",
		  10, "xz", "xzcat" },
		{ "GET / HTTP/1.1", 14, "neither pcap nor pcapng (it begins with 47 45 54 20)", "" },
		{ "\x4d\x3c\x2b\xa1", 4, "Navtel", "" },
		{ "\xd4\xc3\xb2\xa1\x02\0\x05\0", 24, "version 2.5", "" },
		{ "\xd4\xc3", 2, "cut off: 2 of the 24 bytes", "" },
		{ "\x0a\x0d\x0d\x0a\x1c\0\0\0junk", 12, "without a byte order", "" },
	};
	uint8_t padded[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct verdict v;

		memset(padded, 0, sizeof(padded));
		memcpy(padded, cases[i].bytes, SKEP_MIN(cases[i].n, i == 5 ? 8 : sizeof(padded)));
		v = compare("NAME", (struct file){ padded, cases[i].n });
		assert_int_equal(v.r, SKEP_E_BAD_DATA);
		if (!strstr(v.err.text, cases[i].says) || !strstr(v.err.text, "NAME: at byte 0") ||
		    !strstr(v.err.hint, cases[i].hints))
			fail_msg("case %zu: \"%s\" (%s)", i, v.err.text, v.err.hint);
	}
}

static void hostile_pcapng_is_refused(void **state)
{
	static const char *const says[] = { "interface of link type 113 after one of 1",
					    "a packet of interface 1",
					    "and 4294967292 bytes",
					    "not a multiple of 4",
					    "ends with a length of",
					    "in a block of",
					    "no interface",
					    "2^-64 seconds is too fine" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(says); i++) {
		struct maker m = maker(false);
		struct verdict v;
		size_t at;

		put_section(&m);
		at = m.n;
		if (i != 6)
			put_iface(&m, 1, 1000, i == 7 ? 0x80 + 64 : 9, 0);
		if (i == 0)
			put_iface(&m, 113, 1000, 9, 0);
		if (i == 1)
			put_enhanced(&m, 1, 0, 10);
		if (i >= 2 && i <= 5) {
			at = m.n;
			put_enhanced(&m, 0, 0, 40);
			set32(&m,
			      i == 5   ? at + 20
			      : i == 4 ? m.n - 4
				       : at + 4,
			      i == 2   ? 0xfffffffc
			      : i == 3 ? 73
				       : 80);
		}
		v = compare("hostile", made(&m));
		assert_int_equal(v.r, SKEP_E_BAD_DATA);
		if (!strstr(v.err.text, says[i]))
			fail_msg("case %zu: \"%s\" does not say \"%s\"", i, v.err.text, says[i]);
		free(m.p);
	}
}

static void strict_refuses_what_we_never_write(void **state)
{
	static const char *const says[] = { "nothing but zeros", "more than a second",
					    "with a snaplen of 100", "captured of" };
	static const uint32_t records[][4] = {
		{ 0, 0, 0, 0 }, { 1, 1000000000, 1, 1 }, { 1, 1, 101, 200 }, { 1, 1, 50, 49 }
	};

	(void)state;
	for (size_t i = 0; i <= ARRAY_LEN(says); i++) {
		struct maker m = maker(i == ARRAY_LEN(says));
		struct reader r = { 0 };
		struct cap_capfile_packet p;
		struct skep_err err = SKEP_ERR_NULL;

		put_pcap_head(&m, 0xa1b23c4d, 2, 4, 100, 1);
		put_pcap_record(&m, 1, 1, 10, 10, 0, 10);
		if (i < ARRAY_LEN(says))
			put_pcap_record(&m, records[i][0], records[i][1], records[i][2], records[i][3], 0,
					records[i][2]);
		assert_int_equal(cap_capfile_new("strict", true, &r.f), 0);
		r.p = m.p;
		r.left = m.n;
		if (i < ARRAY_LEN(says))
			assert_int_equal(next(&r, &p, &err), 0);
		assert_int_equal(next(&r, &p, &err), SKEP_E_BAD_DATA);
		assert_non_null(
			strstr(err.text, i < ARRAY_LEN(says) ? says[i] : "not written by this program"));
		/* And it stays so. */
		assert_int_equal(next(&r, &p, NULL), SKEP_E_BAD_DATA);
		cap_capfile_free(r.f);
		free(m.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_files),
		cmocka_unit_test(every_pcap_variant),
		cmocka_unit_test(every_pcapng_resolution),
		cmocka_unit_test(every_pcapng_block),
		cmocka_unit_test(sections_of_both_byte_orders),
		cmocka_unit_test(damaged_files),
		cmocka_unit_test(every_cut_is_told),
		cmocka_unit_test(times_at_the_edges),
		cmocka_unit_test(refusals_say_what_and_where),
		cmocka_unit_test(hostile_pcapng_is_refused),
		cmocka_unit_test(strict_refuses_what_we_never_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
