/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_BPF_FLOW_H
#define SKEP_BPF_FLOW_H
/*
 * Addresses and flows of plain Ethernet frames, read in the same way by the XDP programs and in user space.
 *
 * The includer has defined, before this header,
 *     struct skep_view;  a frame
 *     static inline int skep_view_get(const struct skep_view *v, SKEP_ABI_U32 at, void *to, SKEP_ABI_U32 n);
 * which copies n bytes at an offset and returns 0, or anything else if the frame ends before. n is a
 * constant. A packet inside the frame is a view too: it looks like an Ethernet frame of its own (struct
 * skep_inner).
 *
 * What is read is what libpcap's `host`, `udp` and so on see: the EtherType right behind the addresses, so
 * nothing inside VLAN tags or tunnels.
 */
#include "bpf/abi/skep_abi.h"

#define SKEP_ETHERTYPE_IP4 0x0800u
#define SKEP_ETHERTYPE_ARP 0x0806u
#define SKEP_ETHERTYPE_RARP 0x8035u
#define SKEP_ETHERTYPE_IP6 0x86ddu
#define SKEP_ETHER_BYTES 14u

#define SKEP_PROTO_TCP 6u
#define SKEP_PROTO_UDP 17u
#define SKEP_PROTO_SCTP 132u

/* IPv6 extension headers in a row that are followed; stacks send one or two. */
#define SKEP_EXT_HEADERS 6

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SKEP_BE16(x) __builtin_bswap16(x)
#define SKEP_BE32(x) __builtin_bswap32(x)
#else
#define SKEP_BE16(x) (x)
#define SKEP_BE32(x) (x)
#endif

#define SKEP_ABI_INLINE static inline __attribute__((always_inline, unused))

/* Source and destination as the bytes on the wire; IPv4 in the first word, the others 0. */
struct skep_addrs {
	SKEP_ABI_U32 src[4];
	SKEP_ABI_U32 dst[4];
	SKEP_ABI_U16 ether_type;
	SKEP_ABI_U8 version; /* 4, 6; 0: the frame has none, or ends before them */
	SKEP_ABI_U8 zero;
};

/* Both directions of a flow have the same key: the lower (address, port) comes first. Ports as on the wire.
 */
struct skep_flow_key {
	SKEP_ABI_U32 low[4];
	SKEP_ABI_U32 high[4];
	SKEP_ABI_U16 low_port;
	SKEP_ABI_U16 high_port;
	SKEP_ABI_U8 proto;
	SKEP_ABI_U8 version;
	SKEP_ABI_U16 space; /* flows of different spaces are different; 0 from skep_flow_key_make */
};

_Static_assert(sizeof(struct skep_flow_key) == 40, "flow key layout: no padding");

/* The transport header of a frame. */
struct skep_transport {
	SKEP_ABI_U32 at;   /* offset of the header in the frame */
	SKEP_ABI_U8 proto; /* IP protocol number behind the extension headers */
	SKEP_ABI_U8 there; /* 0: no IP packet, a later fragment, or the frame ends before it */
	SKEP_ABI_U8 ports; /* 1: src and dst are set (TCP, UDP, SCTP) */
	SKEP_ABI_U8 part;  /* 1: the first of several fragments: the others do not have this header */
	SKEP_ABI_U16 src;  /* as on the wire */
	SKEP_ABI_U16 dst;
};

/* The addresses that `host` and `net` look at: IPv4, IPv6, and ARP's and RARP's for IPv4. */
SKEP_ABI_INLINE void skep_addrs_read(const struct skep_view *v, struct skep_addrs *ret)
{
	SKEP_ABI_U16 type = 0;
	SKEP_ABI_U32 two[2];

	__builtin_memset(ret, 0, sizeof(*ret));
	if (skep_view_get(v, 12, &type, 2))
		return;
	ret->ether_type = SKEP_BE16(type);
	if (ret->ether_type == SKEP_ETHERTYPE_IP4) {
		if (skep_view_get(v, SKEP_ETHER_BYTES + 12, two, 8))
			return;
		ret->src[0] = two[0];
		ret->dst[0] = two[1];
		ret->version = 4;
	} else if (ret->ether_type == SKEP_ETHERTYPE_IP6) {
		if (skep_view_get(v, SKEP_ETHER_BYTES + 8, ret->src, 32))
			return;
		ret->version = 6;
	} else if (ret->ether_type == SKEP_ETHERTYPE_ARP || ret->ether_type == SKEP_ETHERTYPE_RARP) {
		if (skep_view_get(v, SKEP_ETHER_BYTES + 14, &two[0], 4) ||
		    skep_view_get(v, SKEP_ETHER_BYTES + 24, &two[1], 4))
			return;
		ret->src[0] = two[0];
		ret->dst[0] = two[1];
		ret->version = 4;
	}
}

/* Follows hop-by-hop, routing, destination options, and the fragment header of a first fragment. */
SKEP_ABI_INLINE int skep_transport_find6(const struct skep_view *v, struct skep_transport *ret)
{
	SKEP_ABI_U32 at = SKEP_ETHER_BYTES + 40;
	SKEP_ABI_U8 next = 0, head[4];

	if (skep_view_get(v, SKEP_ETHER_BYTES + 6, &next, 1))
		return -1;
	for (int i = 0; i < SKEP_EXT_HEADERS; i++) {
		if (next != 0 && next != 43 && next != 44 && next != 60)
			break;
		if (skep_view_get(v, at, head, 4))
			return -1;
		if (next == 44 && (head[2] || head[3] & 0xf8))
			return -1; /* a later fragment: its ports were in the first */
		if (next == 44 && head[3] & 1)
			ret->part = 1;
		at += next == 44 ? 8u : 8u + 8u * head[1];
		next = head[0];
	}
	ret->at = at;
	ret->proto = next;
	return 0;
}

SKEP_ABI_INLINE int skep_transport_find4(const struct skep_view *v, struct skep_transport *ret)
{
	SKEP_ABI_U8 head[10];

	if (skep_view_get(v, SKEP_ETHER_BYTES, head, 10) || head[0] < 0x45 || head[0] > 0x4f)
		return -1;
	if (head[6] & 0x1f || head[7])
		return -1;
	ret->part = head[6] >> 5 & 1;
	ret->at = SKEP_ETHER_BYTES + 4u * (head[0] & 0xfu);
	ret->proto = head[9];
	return 0;
}

SKEP_ABI_INLINE void skep_transport_read(const struct skep_view *v, const struct skep_addrs *addrs,
					 struct skep_transport *ret)
{
	SKEP_ABI_U16 ports[2];

	__builtin_memset(ret, 0, sizeof(*ret));
	if (addrs->ether_type == SKEP_ETHERTYPE_IP4) {
		if (skep_transport_find4(v, ret))
			return;
	} else if (addrs->ether_type == SKEP_ETHERTYPE_IP6) {
		if (skep_transport_find6(v, ret))
			return;
	} else {
		return;
	}
	ret->there = 1;
	if (ret->proto != SKEP_PROTO_TCP && ret->proto != SKEP_PROTO_UDP && ret->proto != SKEP_PROTO_SCTP)
		return;
	if (skep_view_get(v, ret->at, ports, 4))
		return;
	ret->src = ports[0];
	ret->dst = ports[1];
	ret->ports = 1;
}

/* The key of a frame with addresses; ports are 0 where the transport has none. */
SKEP_ABI_INLINE void skep_flow_key_make(const struct skep_addrs *a, const struct skep_transport *t,
					struct skep_flow_key *ret)
{
	int swap = 0;

	for (int i = 3; i >= 0; i--)
		if (a->src[i] != a->dst[i])
			swap = a->src[i] > a->dst[i];
	if (a->src[0] == a->dst[0] && a->src[1] == a->dst[1] && a->src[2] == a->dst[2] &&
	    a->src[3] == a->dst[3])
		swap = t->src > t->dst;
	for (int i = 0; i < 4; i++) {
		ret->low[i] = swap ? a->dst[i] : a->src[i];
		ret->high[i] = swap ? a->src[i] : a->dst[i];
	}
	ret->low_port = swap ? t->dst : t->src;
	ret->high_port = swap ? t->src : t->dst;
	ret->proto = t->proto;
	ret->version = a->version;
	ret->space = 0;
}

#endif
