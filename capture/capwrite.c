/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The blocks of pcapng that are written once a segment: section, interfaces, statistics
 * (draft-ietf-opsawg-pcapng, 4.1, 4.2, 4.6). Never allocates; never writes outside [p, p + room). Any thread.
 *
 * A block is built twice by the same code: first without a buffer, which gives its size, then into the
 * buffer.
 */
#include "capture/capwrite.h"

#include <assert.h>

#define BT_SHB 0x0a0d0d0au
#define BT_IDB 1u
#define BT_ISB 5u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du

enum {
	OPT_END = 0,
	SHB_HARDWARE = 2,
	SHB_OS = 3,
	SHB_USERAPPL = 4,
	IF_NAME = 2,
	IF_DESCRIPTION = 3,
	IF_SPEED = 8,
	IF_TSRESOL = 9,
	IF_FILTER = 11,
	IF_OS = 12,
	IF_HARDWARE = 15,
	ISB_STARTTIME = 2,
	ISB_ENDTIME = 3,
	ISB_IFRECV = 4,
	ISB_IFDROP = 5,
	ISB_FILTERACCEPT = 6,
	ISB_OSDROP = 7,
};

struct out {
	uint8_t *p; /* NULL: only count */
	size_t n;
};

static void put(struct out *o, const void *data, size_t n)
{
	if (o->p)
		memcpy(o->p + o->n, data, n);
	o->n += n;
}

static void put_u16(struct out *o, uint16_t v)
{
	put(o, &v, sizeof(v));
}

static void put_u32(struct out *o, uint32_t v)
{
	put(o, &v, sizeof(v));
}

static void put_opt(struct out *o, uint16_t code, const void *value, size_t n)
{
	static const uint8_t zero[3];

	put_u16(o, code);
	put_u16(o, (uint16_t)n);
	put(o, value, n);
	put(o, zero, -n & 3u);
}

static void put_text(struct out *o, uint16_t code, const char *text)
{
	if (text && *text)
		put_opt(o, code, text, strnlen(text, CAP_CAPWRITE_TEXT_MAX));
}

/* if_filter: one byte 0 says that a libpcap filter string follows. */
static void put_filter(struct out *o, const char *text)
{
	static const uint8_t zero[3];
	size_t n;

	if (!text || !*text)
		return;
	n = strnlen(text, CAP_CAPWRITE_TEXT_MAX) + 1;
	put_u16(o, IF_FILTER);
	put_u16(o, (uint16_t)n);
	put(o, zero, 1);
	put(o, text, n - 1);
	put(o, zero, -n & 3u);
}

/* A time stamp in an option is two words, the high one first, whatever the byte order. */
static void put_time(struct out *o, uint16_t code, uint64_t ts_ns)
{
	const uint32_t words[2] = { (uint32_t)(ts_ns >> 32), (uint32_t)ts_ns };

	put_opt(o, code, words, sizeof(words));
}

static void build_shb(struct out *o, uint32_t total, const struct cap_capwrite_shb *shb)
{
	const int64_t section_length = -1; /* not known */

	put_u32(o, BT_SHB);
	put_u32(o, total);
	put_u32(o, BYTE_ORDER_MAGIC);
	put_u16(o, 1);
	put_u16(o, 0);
	put(o, &section_length, sizeof(section_length));
	put_text(o, SHB_HARDWARE, shb->hardware);
	put_text(o, SHB_OS, shb->os);
	put_text(o, SHB_USERAPPL, shb->application);
	put_u32(o, OPT_END);
	put_u32(o, total);
}

static void build_idb(struct out *o, uint32_t total, const struct cap_capwrite_idb *idb)
{
	const uint8_t nanoseconds = 9; /* 10^-9 */

	put_u32(o, BT_IDB);
	put_u32(o, total);
	put_u16(o, idb->linktype);
	put_u16(o, 0);
	put_u32(o, idb->snaplen);
	put_text(o, IF_NAME, idb->name);
	put_text(o, IF_DESCRIPTION, idb->description);
	if (idb->speed_bits)
		put_opt(o, IF_SPEED, &idb->speed_bits, sizeof(idb->speed_bits));
	put_opt(o, IF_TSRESOL, &nanoseconds, 1);
	put_filter(o, idb->filter);
	put_text(o, IF_OS, idb->os);
	put_text(o, IF_HARDWARE, idb->hardware);
	put_u32(o, OPT_END);
	put_u32(o, total);
}

size_t cap_capwrite_shb(uint8_t *p, size_t room, const struct cap_capwrite_shb *shb)
{
	struct out size = { 0 };
	struct out o = { .p = p };

	build_shb(&size, 0, shb);
	if (!p)
		return size.n;
	if (size.n > room)
		return 0;
	build_shb(&o, (uint32_t)size.n, shb);
	return o.n;
}

size_t cap_capwrite_idb(uint8_t *p, size_t room, const struct cap_capwrite_idb *idb)
{
	struct out size = { 0 };
	struct out o = { .p = p };

	build_idb(&size, 0, idb);
	if (!p)
		return size.n;
	if (size.n > room)
		return 0;
	build_idb(&o, (uint32_t)size.n, idb);
	return o.n;
}

void cap_capwrite_isb(uint8_t *p, const struct cap_capwrite_isb *isb)
{
	struct out o = { .p = p };

	put_u32(&o, BT_ISB);
	put_u32(&o, CAP_CAPWRITE_ISB_BYTES);
	put_u32(&o, isb->iface);
	put_u32(&o, (uint32_t)(isb->ts_ns >> 32));
	put_u32(&o, (uint32_t)isb->ts_ns);
	put_time(&o, ISB_STARTTIME, isb->start_ns);
	put_time(&o, ISB_ENDTIME, isb->end_ns);
	put_opt(&o, ISB_IFRECV, &isb->received, 8);
	put_opt(&o, ISB_IFDROP, &isb->dropped, 8);
	put_opt(&o, ISB_FILTERACCEPT, &isb->accepted, 8);
	put_opt(&o, ISB_OSDROP, &isb->os_dropped, 8);
	put_u32(&o, OPT_END);
	put_u32(&o, CAP_CAPWRITE_ISB_BYTES);
	assert(o.n == CAP_CAPWRITE_ISB_BYTES);
}
