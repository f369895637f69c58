/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pcapng reader: draft-ietf-opsawg-pcapng. Sections of either byte order, interfaces with their own
 * resolution and offset, enhanced, simple and obsolete packet blocks; every other block is skipped, whatever
 * its length up to the 16 MiB that libpcap allows.
 *
 * More lenient than libpcap on purpose: sections of differing byte order and interfaces of differing snaplen
 * are read. Interfaces of differing link type are refused, because the file we write has one. See capfile.c
 * for bounds and thread.
 */
#include "capture/capfile_priv.h"

#include <errno.h>

#define BT_IDB 1u
#define BT_PB 2u
#define BT_SPB 3u
#define BT_EPB 6u
#define BT_SHB 0x0a0d0d0au
#define BYTE_ORDER_MAGIC 0x1a2b3c4du

#define BLOCK_HEADER_BYTES 8u
#define BLOCK_MIN_BYTES 12u
#define SHB_MIN_BYTES 28u
#define IDB_FIXED_BYTES 8u
#define EPB_FIXED_BYTES 20u
#define SPB_FIXED_BYTES 4u
/* Of blocks that are skipped. */
#define SKIP_MAX_BYTES (16u * CAP_MIB)

enum { OPT_END = 0, OPT_TSRESOL = 9, OPT_TSOFFSET = 14 };

/* A block that is whole in the buffer. */
struct block {
	uint32_t type;
	uint32_t total; /* bytes, with both lengths */
	const uint8_t *body;
	uint32_t body_bytes;
};

static int set_resolution(struct cap_capfile *f, struct cap_capfile_iface *iface, uint8_t v)
{
	const uint32_t exponent = v & 0x7fu;

	/* 10^19 and 2^63 are the largest that 64 bits hold. */
	if (exponent > (v & 0x80u ? 63u : 19u))
		return cap_capfile_refuse(f, "if_tsresol: %s^-%u seconds is too fine", v & 0x80u ? "2" : "10",
					  exponent);
	iface->units_per_sec = 1;
	for (uint32_t i = 0; i < exponent; i++)
		iface->units_per_sec *= v & 0x80u ? 2 : 10;
	return 0;
}

static int read_iface_option(struct cap_capfile *f, struct cap_capfile_iface *iface, uint16_t code,
			     const uint8_t *value, uint16_t n, uint32_t *seen)
{
	const uint32_t bit = code == OPT_TSRESOL ? 1 : 2;
	uint64_t offset;

	if (code != OPT_TSRESOL && code != OPT_TSOFFSET)
		return 0;
	if (n != (code == OPT_TSRESOL ? 1 : 8))
		return cap_capfile_refuse(f, "interface option %u is %u bytes long", code, n);
	if (*seen & bit)
		return cap_capfile_refuse(f, "interface option %u is there twice", code);
	*seen |= bit;
	if (code == OPT_TSRESOL)
		return set_resolution(f, iface, value[0]);
	memcpy(&offset, value, sizeof(offset));
	iface->offset_sec = (int64_t)(f->info.swapped ? bswap_64(offset) : offset);
	return 0;
}

static int read_iface_options(struct cap_capfile *f, struct cap_capfile_iface *iface, const uint8_t *p,
			      uint32_t left)
{
	uint32_t seen = 0;

	while (left > 0) {
		uint16_t code, n;
		uint32_t padded;
		int r;

		if (left < 4)
			return cap_capfile_refuse(f, "an interface option is cut off");
		code = cap_capfile_u16(f, p);
		n = cap_capfile_u16(f, p + 2);
		padded = (n + 3u) & ~3u;
		if (padded > left - 4)
			return cap_capfile_refuse(f, "interface option %u is longer than its block", code);
		if (code == OPT_END) {
			if (n != 0)
				return cap_capfile_refuse(
					f, "the end of the interface options is %u bytes long", n);
			return 0;
		}
		r = read_iface_option(f, iface, code, p + 4, n, &seen);
		if (r)
			return r;
		p += 4 + padded;
		left -= 4 + padded;
	}
	return 0;
}

static int read_iface(struct cap_capfile *f, const struct block *b)
{
	struct cap_capfile_iface iface = { .units_per_sec = 1000000 };
	uint16_t linktype;
	int r;

	if (b->body_bytes < IDB_FIXED_BYTES)
		return cap_capfile_refuse(f, "an interface description of %u bytes", b->total);
	if (f->n_ifaces == CAP_CAPFILE_IFACES_MAX)
		return cap_capfile_refuse(f, "more than %u interfaces", CAP_CAPFILE_IFACES_MAX);
	linktype = cap_capfile_u16(f, b->body);
	iface.snaplen = cap_capfile_u32(f, b->body + 4);
	if (iface.snaplen == 0 || iface.snaplen > CAP_SNAPLEN_MAX)
		iface.snaplen = CAP_SNAPLEN_MAX;
	r = cap_capfile_check_linktype(f, linktype);
	if (r)
		return r;
	if (f->head_known && linktype != f->info.linktype) {
		cap_capfile_refuse(f, "an interface of link type %u after one of %u", linktype,
				   f->info.linktype);
		return skep_err_hint(
			&f->refusal,
			"split the file by interface: tshark -r FILE -Y frame.interface_id==N -w NEW");
	}
	r = read_iface_options(f, &iface, b->body + IDB_FIXED_BYTES, b->body_bytes - IDB_FIXED_BYTES);
	if (r)
		return r;
	f->ifaces[f->n_ifaces++] = iface;
	if (!f->head_known) {
		f->info.linktype = linktype;
		f->info.snaplen = iface.snaplen;
		f->info.nanoseconds = iface.units_per_sec == SKEP_NSEC_PER_SEC;
		f->head_known = true;
	}
	return 0;
}

static int read_section(struct cap_capfile *f, const struct block *b)
{
	const uint16_t major = cap_capfile_u16(f, b->body + 4);
	const uint16_t minor = cap_capfile_u16(f, b->body + 6);

	/* 1.2 was written for a while and means the same. */
	if (major != 1 || (minor != 0 && minor != 2))
		return cap_capfile_refuse(f, "pcapng version %u.%u is not known", major, minor);
	f->n_ifaces = 0;
	return 0;
}

static uint64_t packet_time(struct cap_capfile *f, const struct cap_capfile_iface *iface, uint64_t t)
{
	const unsigned __int128 sec = t / iface->units_per_sec;
	const unsigned __int128 part = t % iface->units_per_sec;

	return cap_capfile_time(f, ((__int128)sec + iface->offset_sec) * 1000000000 +
					   (__int128)(part * 1000000000u / iface->units_per_sec));
}

static int check_packet(struct cap_capfile *f, const struct block *b, uint32_t fixed,
			const struct cap_capfile_packet *ret)
{
	if (ret->iface >= f->n_ifaces)
		return cap_capfile_refuse(f, "a packet of interface %u, which is not described before",
					  ret->iface);
	if (ret->cap_len > CAP_SNAPLEN_MAX)
		return cap_capfile_refuse(f, "a packet of %u bytes; no more than %u are possible",
					  ret->cap_len, CAP_SNAPLEN_MAX);
	if (ret->cap_len > b->body_bytes - fixed)
		return cap_capfile_refuse(f, "a packet of %u bytes in a block of %u", ret->cap_len, b->total);
	if (f->strict && ret->cap_len > f->ifaces[ret->iface].snaplen)
		return cap_capfile_refuse(f, "%u bytes captured with a snaplen of %u", ret->cap_len,
					  f->ifaces[ret->iface].snaplen);
	if (f->strict && ret->wire_len < ret->cap_len)
		return cap_capfile_refuse(f, "%u bytes captured of %u", ret->cap_len, ret->wire_len);
	return 0;
}

/* Enhanced and obsolete packet blocks differ in the first word only: 32 bits of interface, or 16 and a drop
 * count. */
static int read_packet(struct cap_capfile *f, const struct block *b, struct cap_capfile_packet *ret)
{
	const uint8_t *p = b->body;
	uint64_t t;
	int r;

	if (b->body_bytes < EPB_FIXED_BYTES)
		return cap_capfile_refuse(f, "a packet block of %u bytes", b->total);
	ret->iface = b->type == BT_EPB ? cap_capfile_u32(f, p) : cap_capfile_u16(f, p);
	t = (uint64_t)cap_capfile_u32(f, p + 4) << 32 | cap_capfile_u32(f, p + 8);
	ret->cap_len = cap_capfile_u32(f, p + 12);
	ret->wire_len = cap_capfile_u32(f, p + 16);
	r = check_packet(f, b, EPB_FIXED_BYTES, ret);
	if (r)
		return r;
	ret->ts_ns = packet_time(f, &f->ifaces[ret->iface], t);
	ret->data = p + EPB_FIXED_BYTES;
	return 0;
}

/* No time, no interface, no captured length: the first interface's, and as much as its snaplen let through.
 */
static int read_simple_packet(struct cap_capfile *f, const struct block *b, struct cap_capfile_packet *ret)
{
	int r;

	if (b->body_bytes < SPB_FIXED_BYTES)
		return cap_capfile_refuse(f, "a packet block of %u bytes", b->total);
	ret->iface = 0;
	ret->wire_len = cap_capfile_u32(f, b->body);
	ret->cap_len = ret->wire_len;
	if (f->n_ifaces > 0 && ret->cap_len > f->ifaces[0].snaplen)
		ret->cap_len = f->ifaces[0].snaplen;
	r = check_packet(f, b, SPB_FIXED_BYTES, ret);
	if (r)
		return r;
	ret->ts_ns = packet_time(f, &f->ifaces[0], 0);
	ret->data = b->body + SPB_FIXED_BYTES;
	return 0;
}

/* Before a section's other fields can be read, its byte order must be known. */
static int find_byte_order(struct cap_capfile *f)
{
	uint32_t magic;

	if (cap_capfile_have(f) < BLOCK_MIN_BYTES)
		return cap_capfile_want(f, SHB_MIN_BYTES, "a section header");
	memcpy(&magic, f->buf + f->head + BLOCK_HEADER_BYTES, sizeof(magic));
	if (magic != BYTE_ORDER_MAGIC && magic != bswap_32(BYTE_ORDER_MAGIC))
		return cap_capfile_refuse(f, "a section header without a byte order");
	f->info.swapped = magic != BYTE_ORDER_MAGIC;
	if (f->strict && f->info.swapped)
		return cap_capfile_refuse(f, "not written by this program");
	return 0;
}

static bool is_skipped(uint32_t type)
{
	return type != BT_SHB && type != BT_IDB && type != BT_EPB && type != BT_SPB && type != BT_PB;
}

static int check_length(struct cap_capfile *f, uint32_t type, uint32_t total)
{
	const uint32_t min = type == BT_SHB ? SHB_MIN_BYTES : BLOCK_MIN_BYTES;
	const uint32_t max = is_skipped(type) && !f->strict ? SKIP_MAX_BYTES : CAP_CAPFILE_BLOCK_MAX;

	if (total < min || total > max)
		return cap_capfile_refuse(f, "a block of type 0x%x and %u bytes; %u to %u are possible", type,
					  total, min, max);
	if (total % 4 != 0)
		return cap_capfile_refuse(f, "a block of %u bytes, which is not a multiple of 4", total);
	return 0;
}

static int check_trailer(struct cap_capfile *f, const uint8_t *p, uint32_t total)
{
	const uint32_t again = cap_capfile_u32(f, p);

	if (again != total)
		return cap_capfile_refuse(f, "a block of %u bytes ends with a length of %u", total, again);
	return 0;
}

/* Passes over a block that may be longer than the buffer; its last word stays to be checked. */
static int skip(struct cap_capfile *f)
{
	const size_t n = SKEP_MIN(cap_capfile_have(f), f->skip_left - 4);
	int r;

	f->head += n;
	f->skip_left -= (uint32_t)n;
	if (f->skip_left > 4 || cap_capfile_have(f) < 4)
		return cap_capfile_want(f, f->skip_left, "the rest of a block");
	r = check_trailer(f, f->buf + f->head, f->skip_total);
	if (r)
		return r;
	f->skip_total = 0;
	cap_capfile_take(f, 4);
	return CAP_CAPFILE_STEP_OTHER;
}

static int read_block(struct cap_capfile *f, const struct block *b, struct cap_capfile_packet *ret)
{
	switch (b->type) {
	case BT_SHB:
		return read_section(f, b);
	case BT_IDB:
		return read_iface(f, b);
	case BT_SPB:
		return read_simple_packet(f, b, ret);
	default:
		return read_packet(f, b, ret);
	}
}

int cap_capfile_pcapng_step(struct cap_capfile *f, struct cap_capfile_packet *ret)
{
	const uint8_t *p = f->buf + f->head;
	struct block b;
	int r;

	if (f->skip_total > 0)
		return skip(f);
	if (cap_capfile_have(f) == 0 && f->finished)
		return -ENODATA;
	if (cap_capfile_have(f) < BLOCK_HEADER_BYTES)
		return cap_capfile_want(f, BLOCK_MIN_BYTES, "a block");
	b.type = cap_capfile_u32(f, p); /* a section header's reads the same in both byte orders */
	if (b.type == BT_SHB) {
		r = find_byte_order(f);
		if (r)
			return r;
	}
	b.total = cap_capfile_u32(f, p + 4);
	r = check_length(f, b.type, b.total);
	if (r)
		return r;
	if (is_skipped(b.type)) {
		f->skip_total = b.total;
		f->skip_left = b.total;
		return skip(f);
	}
	if (cap_capfile_have(f) < b.total)
		return cap_capfile_want(f, b.total, "a block");
	/* libpcap does not look at the end of a file's first block, so we let it pass too. */
	r = cap_capfile_at(f) == 0 && !f->strict ? 0 : check_trailer(f, p + b.total - 4, b.total);
	if (r)
		return r;
	b.body = p + BLOCK_HEADER_BYTES;
	b.body_bytes = b.total - BLOCK_MIN_BYTES;
	r = read_block(f, &b, ret);
	if (r)
		return r;
	ret->offset = cap_capfile_at(f);
	cap_capfile_take(f, b.total);
	return b.type == BT_SHB || b.type == BT_IDB ? CAP_CAPFILE_STEP_OTHER : CAP_CAPFILE_STEP_PACKET;
}
