/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pcap reader, and the buffer that the pcapng reader (capfile_pcapng.c) shares. Formats:
 * draft-ietf-opsawg-pcap; where old or odd files leave the draft, we do what libpcap does (versions
 * before 2.4, Kuznetzov's longer record header), so that both read the same packets. On purpose not what
 * libpcap does: a packet longer than the file's snaplen is given whole.
 *
 * Nothing outside buf[head, tail) is ever read, whatever the bytes say; memory is one buffer and one table,
 * both fixed. After cap_capfile_new nothing allocates. One thread, whichever.
 */
#include "capture/capfile_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define MAGIC_KUZNETZOV 0xa1b2cd34u
#define PCAP_HEADER_BYTES 24u
#define RECORD_BYTES 16u
/* Kuznetzov's: interface index, protocol, packet type and padding behind the usual fields. */
#define RECORD_KUZNETZOV_BYTES 24u

/* Other things that people hand over, by no more than the four bytes that are there for sure. */
static const struct {
	const char *magic;
	uint8_t n;
	const char *what;
	const char *hint;
} strangers[] = {
	{ "\x1f\x8b", 2, "compressed with gzip", "unpack it on the way: zcat FILE | skep-capture -r - …" },
	{ "\xfd"
	  "7zX",
	  4, "compressed with xz", "unpack it on the way: xzcat FILE | skep-capture -r - …" },
	{ "BZh", 3, "compressed with bzip2", "unpack it on the way: bzcat FILE | skep-capture -r - …" },
	{ "\x04\x22\x4d\x18", 4, "compressed with lz4",
	  "unpack it on the way: lz4cat FILE | skep-capture -r - …" },
	{ "\x28\xb5\x2f\xfd", 4, "compressed with zstd inside",
	  "unpack it once: zstdcat FILE | skep-capture -r - …" },
	{ "snoo", 4, "a snoop file", "convert it: editcap -F nsecpcap FILE NEW" },
	{ "RTSS", 4, "a Network Monitor file", "convert it: editcap -F nsecpcap FILE NEW" },
	{ "GMBU", 4, "a Network Monitor file", "convert it: editcap -F nsecpcap FILE NEW" },
	{ "\xa1\x2b\x3c\x4d", 4, "Navtel's variant of pcap, which nobody describes",
	  "convert it with its own program" },
	{ "\x4d\x3c\x2b\xa1", 4, "Navtel's variant of pcap, which nobody describes",
	  "convert it with its own program" },
	{ "\xa1\xb2\x34\xcd", 4, "Mesquita's variant of pcap, which nobody describes",
	  "convert it with its own program" },
	{ "\xcd\x34\xb2\xa1", 4, "Mesquita's variant of pcap, which nobody describes",
	  "convert it with its own program" },
};

/* Pseudo-headers in the writer's byte order: USB, USB with mmap, NFLOG, PFLOG. libpcap swaps them while
 * reading; we do not guess. */
static const uint16_t native_order_linktypes[] = { 189, 220, 239, 117 };

int cap_capfile_refuse(struct cap_capfile *f, const char *fmt, ...)
{
	char why[384];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return skep_err_set(&f->refusal, SKEP_E_BAD_DATA, "%.100s: at byte %llu: %s", f->name,
			    (unsigned long long)cap_capfile_at(f), why);
}

int cap_capfile_want(struct cap_capfile *f, size_t want, const char *what)
{
	if (!f->finished)
		return -EAGAIN;
	f->truncated = true;
	return cap_capfile_refuse(f, "cut off: %zu of the %zu bytes of %s are there", cap_capfile_have(f),
				  want, what);
}

int cap_capfile_check_linktype(struct cap_capfile *f, uint32_t linktype)
{
	if (linktype > UINT16_MAX)
		return cap_capfile_refuse(f, "link type %u does not exist", linktype);
	for (size_t i = 0; f->info.swapped && i < ARRAY_LEN(native_order_linktypes); i++)
		if (linktype == native_order_linktypes[i])
			return cap_capfile_refuse(f, "link type %u written in the other byte order",
						  linktype);
	return 0;
}

uint64_t cap_capfile_time(struct cap_capfile *f, __int128 ns)
{
	if (ns >= 0 && ns <= INT64_MAX)
		return (uint64_t)ns;
	f->odd_times++;
	return ns < 0 ? 0 : INT64_MAX;
}

static uint32_t sane_snaplen(uint32_t snaplen)
{
	return snaplen == 0 || snaplen > CAP_SNAPLEN_MAX ? CAP_SNAPLEN_MAX : snaplen;
}

static int refuse_stranger(struct cap_capfile *f)
{
	const uint8_t *p = f->buf + f->head;

	for (size_t i = 0; i < ARRAY_LEN(strangers); i++)
		if (memcmp(p, strangers[i].magic, strangers[i].n) == 0) {
			cap_capfile_refuse(f, "%s", strangers[i].what);
			return skep_err_hint(&f->refusal, "%s", strangers[i].hint);
		}
	cap_capfile_refuse(f, "neither pcap nor pcapng (it begins with %02x %02x %02x %02x)", p[0], p[1], p[2], p[3]);
	return skep_err_hint(&f->refusal, "`file` and `editcap -F` (of Wireshark) know other formats");
}

/* Sees which format it is, from four bytes that are not read yet. */
static int find_format(struct cap_capfile *f)
{
	uint32_t magic;

	if (cap_capfile_have(f) == 0 && f->finished)
		return cap_capfile_refuse(f, "empty: not even a file header");
	if (cap_capfile_have(f) < sizeof(magic))
		return cap_capfile_want(f, PCAP_HEADER_BYTES, "the file header");
	memcpy(&magic, f->buf + f->head, sizeof(magic));
	if (magic == 0x0a0d0d0au) {
		f->info.format = CAP_CAPFILE_PCAPNG;
		return 0;
	}
	if (magic != MAGIC_US && magic != MAGIC_NS && magic != MAGIC_KUZNETZOV) {
		magic = bswap_32(magic);
		if (magic != MAGIC_US && magic != MAGIC_NS && magic != MAGIC_KUZNETZOV)
			return refuse_stranger(f);
		f->info.swapped = true;
	}
	if (f->strict && (f->info.swapped || magic != MAGIC_NS))
		return cap_capfile_refuse(f, "not written by this program");
	f->info.nanoseconds = magic == MAGIC_NS;
	f->record_header_bytes = magic == MAGIC_KUZNETZOV ? RECORD_KUZNETZOV_BYTES : RECORD_BYTES;
	f->info.format = CAP_CAPFILE_PCAP;
	return 0;
}

static int pcap_head(struct cap_capfile *f)
{
	const uint8_t *p = f->buf + f->head;
	uint32_t linktype;
	int r;

	if (cap_capfile_have(f) < PCAP_HEADER_BYTES)
		return cap_capfile_want(f, PCAP_HEADER_BYTES, "the file header");
	f->version_major = cap_capfile_u16(f, p + 4);
	f->version_minor = cap_capfile_u16(f, p + 6);
	/* 543.0: DG/UX. */
	if (!(f->version_major == 2 && f->version_minor <= 4) &&
	    !(f->version_major == 543 && f->version_minor == 0))
		return cap_capfile_refuse(f, "pcap version %u.%u is not known", f->version_major,
					  f->version_minor);
	if (f->strict && f->version_minor != 4)
		return cap_capfile_refuse(f, "not written by this program");
	/* The upper six bits tell of a frame check sequence; the draft reserves the ten below. */
	linktype = cap_capfile_u32(f, p + 20) & 0x03ffffffu;
	r = cap_capfile_check_linktype(f, linktype);
	if (r)
		return r;
	f->info.linktype = (uint16_t)linktype;
	f->info.snaplen = sane_snaplen(cap_capfile_u32(f, p + 16));
	f->head_known = true;
	cap_capfile_take(f, PCAP_HEADER_BYTES);
	return 0;
}

/* Captured and wire length changed places with version 2.3, but not in everything that calls itself 2.3. */
static bool lengths_swapped(const struct cap_capfile *f, uint32_t first, uint32_t second)
{
	if (f->version_major != 2 || f->version_minor < 3)
		return true;
	return f->version_minor == 3 && first > second;
}

static int check_strictly(struct cap_capfile *f, uint32_t sec, uint32_t frac,
			  const struct cap_capfile_packet *p)
{
	if (sec == 0 && frac == 0 && p->cap_len == 0 && p->wire_len == 0)
		return cap_capfile_refuse(f, "a record of nothing but zeros");
	if (frac >= SKEP_NSEC_PER_SEC)
		return cap_capfile_refuse(f, "%u nanoseconds are more than a second", frac);
	if (p->cap_len > f->info.snaplen)
		return cap_capfile_refuse(f, "%u bytes captured with a snaplen of %u", p->cap_len,
					  f->info.snaplen);
	if (p->wire_len < p->cap_len)
		return cap_capfile_refuse(f, "%u bytes captured of %u", p->cap_len, p->wire_len);
	return 0;
}

static int pcap_step(struct cap_capfile *f, struct cap_capfile_packet *ret)
{
	const uint8_t *p = f->buf + f->head;
	const uint32_t header = f->record_header_bytes;
	uint32_t sec, frac;
	int r;

	if (cap_capfile_have(f) == 0 && f->finished)
		return -ENODATA;
	if (cap_capfile_have(f) < header)
		return cap_capfile_want(f, header, "a record's header");
	sec = cap_capfile_u32(f, p);
	frac = cap_capfile_u32(f, p + 4);
	ret->cap_len = cap_capfile_u32(f, p + 8);
	ret->wire_len = cap_capfile_u32(f, p + 12);
	if (lengths_swapped(f, ret->cap_len, ret->wire_len)) {
		const uint32_t t = ret->cap_len;

		ret->cap_len = ret->wire_len;
		ret->wire_len = t;
	}
	if (f->strict) {
		r = check_strictly(f, sec, frac, ret);
		if (r)
			return r;
	}
	if (ret->cap_len > CAP_SNAPLEN_MAX)
		return cap_capfile_refuse(f, "a packet of %u bytes; no more than %u are possible",
					  ret->cap_len, CAP_SNAPLEN_MAX);
	if (cap_capfile_have(f) < header + ret->cap_len)
		return cap_capfile_want(f, header + ret->cap_len, "a record");
	ret->ts_ns = cap_capfile_time(f, (__int128)sec * 1000000000 +
						 (uint64_t)frac * (f->info.nanoseconds ? 1 : 1000));
	ret->iface = 0;
	ret->offset = cap_capfile_at(f);
	ret->data = p + header;
	cap_capfile_take(f, header + ret->cap_len);
	return CAP_CAPFILE_STEP_PACKET;
}

static int step(struct cap_capfile *f, struct cap_capfile_packet *ret)
{
	int r;

	if (f->refusal.code)
		return f->refusal.code;
	if (f->info.format == CAP_CAPFILE_UNKNOWN) {
		r = find_format(f);
		if (r)
			return r;
	}
	if (f->info.format == CAP_CAPFILE_PCAPNG)
		return cap_capfile_pcapng_step(f, ret);
	if (!f->head_known) {
		r = pcap_head(f);
		return r ? r : CAP_CAPFILE_STEP_OTHER;
	}
	return pcap_step(f, ret);
}

static int give(const struct cap_capfile *f, int r, struct skep_err *err)
{
	if (r > 0 && err)
		*err = f->refusal;
	return r;
}

int cap_capfile_head(struct cap_capfile *f, struct skep_err *err)
{
	struct cap_capfile_packet none;
	int r;

	while (!f->head_known) {
		/* Never a packet: one that comes before the first interface is refused. */
		r = step(f, &none);
		if (r == -ENODATA)
			r = cap_capfile_refuse(
				f, "the file describes no interface, so the link type is not known");
		if (r != CAP_CAPFILE_STEP_OTHER)
			return give(f, r, err);
	}
	return 0;
}

int cap_capfile_next(struct cap_capfile *f, struct cap_capfile_packet *ret, struct skep_err *err)
{
	struct cap_capfile_packet packet;
	int r = cap_capfile_head(f, err);

	if (r)
		return r;
	do
		r = step(f, &packet);
	while (r == CAP_CAPFILE_STEP_OTHER);
	if (r == CAP_CAPFILE_STEP_PACKET)
		*ret = packet;
	return give(f, r, err);
}

int cap_capfile_new(const char *name, bool strict, struct cap_capfile **ret)
{
	_cap_capfile_free_ struct cap_capfile *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->name = name;
	f->strict = strict;
	f->buf = malloc(CAP_CAPFILE_BUFFER_BYTES);
	f->ifaces = calloc(CAP_CAPFILE_IFACES_MAX, sizeof(*f->ifaces));
	if (!f->buf || !f->ifaces)
		return -ENOMEM;
	*ret = TAKE_PTR(f);
	return 0;
}

struct cap_capfile *cap_capfile_free(struct cap_capfile *f)
{
	if (f) {
		if (f->buf)
			CAP_CAPFILE_UNPOISON(f->buf, CAP_CAPFILE_BUFFER_BYTES);
		free(f->buf);
		free(f->ifaces);
	}
	free(f);
	return NULL;
}

uint8_t *cap_capfile_room(struct cap_capfile *f, size_t *ret_room)
{
	CAP_CAPFILE_UNPOISON(f->buf, CAP_CAPFILE_BUFFER_BYTES);
	if (f->head > 0) {
		memmove(f->buf, f->buf + f->head, cap_capfile_have(f));
		f->base += f->head;
		f->tail -= f->head;
		f->head = 0;
	}
	*ret_room = CAP_CAPFILE_BUFFER_BYTES - f->tail;
	return f->buf + f->tail;
}

void cap_capfile_fed(struct cap_capfile *f, size_t n)
{
	f->tail += n;
	CAP_CAPFILE_POISON(f->buf + f->tail, CAP_CAPFILE_BUFFER_BYTES - f->tail);
}

void cap_capfile_finish(struct cap_capfile *f)
{
	f->finished = true;
}

const struct cap_capfile_info *cap_capfile_info(const struct cap_capfile *f)
{
	return &f->info;
}

uint64_t cap_capfile_whole(const struct cap_capfile *f)
{
	return f->whole;
}

bool cap_capfile_truncated(const struct cap_capfile *f)
{
	return f->truncated;
}

uint64_t cap_capfile_odd_times(const struct cap_capfile *f)
{
	return f->odd_times;
}
