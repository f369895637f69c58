/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --trim: how many bytes of a frame are headers. One cursor walks link, network and transport header; every
 * step first asks whether the bytes are there. Nothing fails: a step that does not understand what it sees
 * ends the walk where it stands.
 *
 * Sources: IEEE 802.1Q, RFC 2516 (PPPoE), 3032 (MPLS), 826 (ARP), 791, 8200, 4302 (AH), 9293 (TCP), 768,
 * 3828, 9260 (SCTP).
 * Pure functions; any thread.
 */
#include "capture/trim.h"

#include "common/parse.h"

#include <stdbool.h>
#include <string.h>

#define MAX_TAGS 8u       /* VLAN tags, and MPLS labels times two: what nobody stacks higher */
#define MAX_LABELS 16u
#define MAX_EXTENSIONS 8u

enum { TYPE_IPV4 = 0x0800, TYPE_ARP = 0x0806, TYPE_VLAN = 0x8100, TYPE_IPV6 = 0x86dd, TYPE_MPLS = 0x8847,
       TYPE_MPLS_UPSTREAM = 0x8848, TYPE_PPPOE = 0x8864, TYPE_QINQ = 0x88a8, TYPE_QINQ_OLD = 0x9100 };
enum { PPP_IPV4 = 0x0021, PPP_IPV6 = 0x0057 };
enum { LINK_ETHERNET = 1, LINK_RAW = 101, LINK_SLL = 113, LINK_IPV4 = 228, LINK_IPV6 = 229, LINK_SLL2 = 276 };
enum {
	PROTO_HOP = 0,
	PROTO_ICMP = 1,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_AH = 51,
	PROTO_ICMPV6 = 58,
	PROTO_DESTINATION = 60,
	PROTO_SCTP = 132,
	PROTO_MOBILITY = 135,
	PROTO_UDPLITE = 136,
	PROTO_HIP = 139,
	PROTO_SHIM6 = 140,
	PROTO_UNKNOWN = 255
};

struct cursor {
	const uint8_t *data;
	uint32_t len;
	uint32_t at;     /* everything before is understood; <= len */
	bool cut;        /* a header goes on behind len */
};

static bool has(const struct cursor *c, uint32_t n)
{
	return c->len - c->at >= n;
}

static bool take(struct cursor *c, uint32_t n)
{
	if (!has(c, n)) {
		c->cut = true;
		return false;
	}
	c->at += n;
	return true;
}

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/*
 * The EtherType behind the MPLS labels, guessed from the version nibble as every router does; 0: something
 * else.
 */
static uint16_t walk_mpls(struct cursor *c)
{
	for (uint32_t i = 0; i < MAX_LABELS; i++) {
		if (!take(c, 4))
			return 0;
		if (c->data[c->at - 2] & 1) { /* bottom of stack */
			uint8_t version = has(c, 1) ? c->data[c->at] >> 4 : 0;

			return version == 4 ? TYPE_IPV4 : version == 6 ? TYPE_IPV6 : 0;
		}
	}
	return 0;
}

static uint16_t walk_pppoe(struct cursor *c)
{
	uint16_t protocol;

	if (!take(c, 8))
		return 0;
	protocol = be16(c->data + c->at - 2);
	return protocol == PPP_IPV4 ? TYPE_IPV4 : protocol == PPP_IPV6 ? TYPE_IPV6 : 0;
}

/* From behind an EtherType through tags and labels to the network header's type. */
static uint16_t walk_type(struct cursor *c, uint16_t type)
{
	for (uint32_t i = 0;
	     i < MAX_TAGS && (type == TYPE_VLAN || type == TYPE_QINQ || type == TYPE_QINQ_OLD); i++) {
		if (!take(c, 4))
			return 0;
		type = be16(c->data + c->at - 2);
	}
	if (type == TYPE_MPLS || type == TYPE_MPLS_UPSTREAM)
		return walk_mpls(c);
	return type == TYPE_PPPOE ? walk_pppoe(c) : type;
}

/* False: link type unknown. */
static bool walk_link(struct cursor *c, uint16_t linktype, uint16_t *ret_type)
{
	*ret_type = 0;
	switch (linktype) {
	case 0:
	case LINK_ETHERNET:
		if (take(c, 14))
			*ret_type = walk_type(c, be16(c->data + c->at - 2));
		return true;
	case LINK_SLL:
		if (take(c, 16))
			*ret_type = walk_type(c, be16(c->data + c->at - 2));
		return true;
	case LINK_SLL2:
		if (take(c, 20))
			*ret_type = walk_type(c, be16(c->data));
		return true;
	case LINK_RAW:
	case LINK_IPV4:
	case LINK_IPV6:
		if (has(c, 1))
			*ret_type = c->data[0] >> 4 == 4 ? TYPE_IPV4 : c->data[0] >> 4 == 6 ? TYPE_IPV6 : 0;
		return true;
	}
	return false;
}

static uint8_t walk_ipv4(struct cursor *c)
{
	const uint8_t *ip = c->data + c->at;
	uint32_t bytes;

	if (!has(c, 20))
		return c->cut = true, PROTO_UNKNOWN;
	bytes = (ip[0] & 0x0fu) * 4u;
	if (ip[0] >> 4 != 4 || bytes < 20 || !take(c, bytes))
		return PROTO_UNKNOWN;
	/* Only the first fragment carries the transport header. */
	return be16(ip + 6) & 0x1fff ? PROTO_UNKNOWN : ip[9];
}

static uint8_t walk_ipv6(struct cursor *c)
{
	const uint8_t *ip = c->data + c->at;
	uint8_t next;

	if (!has(c, 40))
		return c->cut = true, PROTO_UNKNOWN;
	if (ip[0] >> 4 != 6)
		return PROTO_UNKNOWN;
	c->at += 40;
	next = ip[6];
	for (uint32_t i = 0; i < MAX_EXTENSIONS; i++) {
		const uint8_t *ext = c->data + c->at;
		uint32_t bytes = 8;

		switch (next) {
		case PROTO_HOP:
		case PROTO_ROUTING:
		case PROTO_DESTINATION:
		case PROTO_MOBILITY:
		case PROTO_HIP:
		case PROTO_SHIM6:
			if (has(c, 2))
				bytes = ext[1] * 8u + 8u;
			break;
		case PROTO_AH:
			if (has(c, 2))
				bytes = ext[1] * 4u + 8u;
			break;
		case PROTO_FRAGMENT:
			break;
		default:
			return next;
		}
		if (!take(c, bytes))
			return PROTO_UNKNOWN;
		if (next == PROTO_FRAGMENT && be16(ext + 2) & 0xfff8)
			return PROTO_UNKNOWN;
		next = ext[0];
	}
	return PROTO_UNKNOWN;
}

static void walk_arp(struct cursor *c)
{
	const uint8_t *arp = c->data + c->at;

	/* Hardware and protocol address, sender's and target's: all of it is header. */
	(void)take(c, has(c, 8) ? 8u + 2u * (arp[4] + (uint32_t)arp[5]) : 8u);
}

static void walk_transport(struct cursor *c, uint8_t protocol)
{
	const uint8_t *l4 = c->data + c->at;
	uint32_t bytes = 0;

	switch (protocol) {
	case PROTO_TCP:
		bytes = has(c, 13) ? SKEP_MAX(20u, (l4[12] >> 4) * 4u) : 20u;
		break;
	case PROTO_SCTP:
		bytes = 12;
		break;
	case PROTO_UDP:
	case PROTO_UDPLITE:
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		bytes = 8;
		break;
	}
	(void)take(c, bytes);
}

uint32_t cap_trim_contiguous(const struct cap_trim *trim, const uint8_t *data, uint32_t len)
{
	struct cursor c = { .data = data, .len = len };
	uint8_t protocol = PROTO_UNKNOWN;
	uint16_t type;

	if (trim->kind == CAP_TRIM_NONE)
		return len;
	if (trim->kind == CAP_TRIM_BYTES)
		return SKEP_MIN(trim->n, len);
	if (!walk_link(&c, trim->linktype, &type))
		return len;
	if (type == TYPE_IPV4)
		protocol = walk_ipv4(&c);
	else if (type == TYPE_IPV6)
		protocol = walk_ipv6(&c);
	else if (type == TYPE_ARP)
		walk_arp(&c);
	if (trim->kind == CAP_TRIM_L4 && !c.cut)
		walk_transport(&c, protocol);
	if (c.cut)
		return len;
	return trim->kind == CAP_TRIM_L3 ? (uint32_t)SKEP_MIN(c.at + (uint64_t)trim->n, len) : c.at;
}

uint32_t cap_trim_gather(const struct cap_batch *batch, const struct cap_frame *frame, uint8_t *out,
			 uint32_t room)
{
	uint32_t at = SKEP_MIN(frame->len, room);

	memcpy(out, frame->data, at);
	for (uint32_t i = 0; i < frame->frag_n && at < room; i++) {
		const struct cap_frag *frag = &batch->frags[frame->frag_first + i];
		uint32_t n = SKEP_MIN(frag->len, room - at);

		memcpy(out + at, frag->data, n);
		at += n;
	}
	return at;
}

uint32_t cap_trim_bytes(const struct cap_trim *trim, const struct cap_batch *batch,
			const struct cap_frame *frame)
{
	uint8_t head[CAP_TRIM_LOOK];
	uint32_t look = SKEP_MIN(frame->cap_len, CAP_TRIM_LOOK), keep;
	const uint8_t *data = frame->data;

	if (trim->kind == CAP_TRIM_NONE)
		return frame->cap_len;
	if (trim->kind == CAP_TRIM_BYTES)
		return SKEP_MIN(trim->n, frame->cap_len);
	if (frame->len < look) {
		look = cap_trim_gather(batch, frame, head, look);
		data = head;
	}
	/* The n bytes behind L3 may lie beyond what was looked at. */
	keep = cap_trim_contiguous(&(struct cap_trim){ .kind = trim->kind, .linktype = trim->linktype }, data,
				   look);
	if (keep == look)
		return frame->cap_len;
	return SKEP_MIN(keep + (uint64_t)(trim->kind == CAP_TRIM_L3 ? trim->n : 0), frame->cap_len);
}

int cap_trim_parse(const char *text, struct cap_trim *ret, struct skep_err *err)
{
	struct cap_trim trim = { .kind = CAP_TRIM_BYTES };
	const char *number = text;
	uint64_t n = 0;

	if (strcmp(text, "l4") == 0) {
		trim.kind = CAP_TRIM_L4;
		number = NULL;
	} else if (strncmp(text, "l3", 2) == 0 && (text[2] == '+' || text[2] == '\0')) {
		trim.kind = CAP_TRIM_L3;
		number = text[2] ? text + 3 : NULL;
	}
	if (number && skep_parse_uint("--trim", number, trim.kind == CAP_TRIM_L3 ? 0 : 1, CAP_SNAPLEN_MAX, &n, NULL)) {
		(void)skep_err_set(err, SKEP_E_USAGE, "--trim %s: neither l4, l3+N nor a number of bytes from 1 to %u", text,
				   CAP_SNAPLEN_MAX);
		(void)skep_err_hint(err, "--trim l4 keeps all headers, --trim l3+64 the network header and 64 bytes, --trim 128 "
					 "the first 128 bytes");
		return SKEP_E_USAGE;
	}
	trim.n = (uint32_t)n;
	*ret = trim;
	return 0;
}
