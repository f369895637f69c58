/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_BPF_INNER_H
#define SKEP_BPF_INNER_H
/*
 * Packets inside a frame: behind VLAN tags, MPLS labels, in GRE, ERSPAN and VXLAN, up to SKEP_MAX_INNER of
 * them one in the other. One parser for XDP and for user space, so that both find the same.
 *
 * It walks header by header. A step reads its whole state from memory and is bounded by itself, so that in
 * BPF each step is one call of a global function, which the verifier looks at once (bpf/lib/inner.bpf.h);
 * user space loops over the same step. What is truncated, malformed or not wanted ends the walk: what was
 * found until then stays found.
 *
 * Sources: IEEE 802.1Q; RFC 3032 (MPLS); 2784, 2890 (GRE); 7348 (VXLAN); 791, 8200, 4302 (AH);
 * draft-foschiano-erspan-03.
 */
#include "bpf/abi/skep_abi.h"

/*
 * Kinds. skep_inner.kind has the kinds of all that was gone through to get at the packet in its low byte, the
 * last of them in its high byte, and SKEP_INNER_PART.
 */
#define SKEP_INNER_VLAN 0x01u   /* one 802.1Q tag */
#define SKEP_INNER_QINQ 0x02u   /* two tags or more, or a service tag (0x88a8, 0x9100) */
#define SKEP_INNER_MPLS 0x04u   /* labels, and below them IPv4 or IPv6 by its first four bits */
#define SKEP_INNER_GRE 0x08u    /* carrying IPv4, IPv6, MPLS, or Ethernet (0x6558) */
#define SKEP_INNER_ERSPAN 0x10u /* GRE with 0x88be (types I and II) or 0x22eb (type III) */
#define SKEP_INNER_VXLAN 0x20u  /* UDP to port 4789 or 8472 */
#define SKEP_INNER_ALL 0x3fu
#define SKEP_INNER_PATH(kind) ((kind) & 0xffu)
#define SKEP_INNER_LAST(kind) ((kind) >> 8 & SKEP_INNER_ALL)
/* Only the beginning of the packet: it came in the first of several IP fragments. */
#define SKEP_INNER_PART 0x8000u

/* Headers that begin behind this are not looked at. Four tunnels, one in the other, take some 300 bytes. */
#define SKEP_INNER_REACH 1024u
/* Headers: tags, labels, extension headers and all others. Every tunnel takes at most five without those. */
#define SKEP_INNER_STEPS 40
#define SKEP_INNER_MAX_TAGS 8

enum {
	SKEP_STEP_ETHERNET, /* an Ethernet header at off */
	SKEP_STEP_TYPE,	    /* what ether type `type` says */
	SKEP_STEP_LABEL,    /* an MPLS label */
	SKEP_STEP_PROTO,    /* what IP protocol `proto` says */
};

struct skep_inner_walk {
	SKEP_ABI_U32 off;     /* of the next header */
	SKEP_ABI_U32 mac_off; /* of the Ethernet header that we are behind */
	SKEP_ABI_U32 end;     /* of the IP packet that we are in, as its header says */
	SKEP_ABI_U16 type;
	SKEP_ABI_U8 proto;
	SKEP_ABI_U8 step;   /* SKEP_STEP_* */
	SKEP_ABI_U8 wanted; /* kinds; what is behind another one is not looked for */
	SKEP_ABI_U8 path;   /* kinds gone through */
	SKEP_ABI_U8 last;   /* the last of them; 0: still in the outer frame */
	SKEP_ABI_U8 tags;   /* seen since the Ethernet header */
	SKEP_ABI_U8 service_tag;
	SKEP_ABI_U8 ipv6;
	SKEP_ABI_U8 part;   /* we are in the first of several fragments */
	SKEP_ABI_U8 n;	    /* of inner */
	struct skep_inner inner[SKEP_MAX_INNER];
};

/*
 * Reads n bytes (a constant, at most 16) at `off` of the frame; 0, or not 0 where the frame ends before. The
 * walk is compiled once for each of them.
 */
typedef int skep_inner_get(const void *frame, SKEP_ABI_U32 off, void *out, SKEP_ABI_U32 n);

#define SKEP_INNER_INLINE static inline __attribute__((always_inline))

SKEP_INNER_INLINE SKEP_ABI_U16 skep_inner_be16(const SKEP_ABI_U8 *b)
{
	return (SKEP_ABI_U16)(b[0] << 8 | b[1]);
}

SKEP_INNER_INLINE int skep_inner_is_tag(SKEP_ABI_U16 type)
{
	return type == 0x8100 || type == 0x88a8 || type == 0x9100;
}

/* One packet more; not 0: no room. `type` is 0 where the packet has an ether type of its own. */
SKEP_INNER_INLINE int skep_inner_add(struct skep_inner_walk *w, SKEP_ABI_U32 off, SKEP_ABI_U16 type)
{
	SKEP_ABI_U32 n = w->n;

	if (n >= SKEP_MAX_INNER)
		return 1;
	w->inner[n].off = (SKEP_ABI_U16)off;
	w->inner[n].mac_off = (SKEP_ABI_U16)w->mac_off;
	w->inner[n].kind = (SKEP_ABI_U16)(w->path | w->last << 8 | (w->part ? SKEP_INNER_PART : 0));
	w->inner[n].type = type;
	w->n = (SKEP_ABI_U8)(n + 1);
	return 0;
}

/* Goes into an encapsulation; not 0: nobody wants it. */
SKEP_INNER_INLINE int skep_inner_enter(struct skep_inner_walk *w, SKEP_ABI_U8 kind)
{
	if (!(w->wanted & kind))
		return 1;
	w->path |= kind;
	w->last = kind;
	return 0;
}

/* An Ethernet frame at off. */
SKEP_INNER_INLINE int skep_inner_enter_ethernet(struct skep_inner_walk *w, SKEP_ABI_U8 kind, SKEP_ABI_U32 off)
{
	if (off + 14 > w->end)
		return 1;
	w->off = off;
	w->step = SKEP_STEP_ETHERNET;
	return skep_inner_enter(w, kind);
}

/*
 * An IP packet at off, whose fixed header is there. The version is what its first four bits say, which `type`
 * must say too unless it is 0.
 */
SKEP_INNER_INLINE int skep_inner_enter_ip(struct skep_inner_walk *w, SKEP_ABI_U8 kind, SKEP_ABI_U32 off,
					  SKEP_ABI_U16 type, skep_inner_get *get, const void *frame)
{
	SKEP_ABI_U8 b[4], version;
	SKEP_ABI_U32 fixed;

	if (get(frame, off, b, 1))
		return 1;
	version = b[0] >> 4;
	if (version != 4 && version != 6)
		return 1;
	fixed = version == 4 ? 20 : 40;
	if (off + fixed > w->end || get(frame, off + fixed - 4, b, 4))
		return 1;
	w->off = off;
	w->step = SKEP_STEP_TYPE;
	w->type = version == 4 ? 0x0800 : 0x86dd;
	if (type && type != w->type)
		return 1;
	return skep_inner_enter(w, kind) || skep_inner_add(w, off - 14, w->type);
}

SKEP_INNER_INLINE int skep_inner_ethernet(struct skep_inner_walk *w, SKEP_ABI_U32 off, skep_inner_get *get,
					  const void *frame)
{
	SKEP_ABI_U8 b[2];

	if (get(frame, off + 12, b, 2))
		return 1;
	w->mac_off = off;
	w->off = off + 14;
	w->type = skep_inner_be16(b);
	w->step = SKEP_STEP_TYPE;
	w->tags = 0;
	w->service_tag = 0;
	return w->last && skep_inner_add(w, off, 0);
}

SKEP_INNER_INLINE int skep_inner_tag(struct skep_inner_walk *w, SKEP_ABI_U32 off, skep_inner_get *get,
				     const void *frame)
{
	SKEP_ABI_U8 b[4];

	if (!(w->wanted & (SKEP_INNER_VLAN | SKEP_INNER_QINQ)) || w->tags >= SKEP_INNER_MAX_TAGS ||
	    get(frame, off, b, 4))
		return 1;
	if (w->type != 0x8100)
		w->service_tag = 1;
	w->tags++;
	w->type = skep_inner_be16(b + 2);
	w->off = off + 4;
	return 0;
}

/* All tags are behind us: the frame without them. */
SKEP_INNER_INLINE int skep_inner_untagged(struct skep_inner_walk *w)
{
	SKEP_ABI_U32 tags = w->tags;

	w->tags = 0;
	return skep_inner_enter(w, tags == 1 && !w->service_tag ? SKEP_INNER_VLAN : SKEP_INNER_QINQ) ||
	       skep_inner_add(w, w->mac_off + 4 * tags, 0);
}

SKEP_INNER_INLINE int skep_inner_ipv4(struct skep_inner_walk *w, SKEP_ABI_U32 off, skep_inner_get *get,
				      const void *frame)
{
	SKEP_ABI_U8 b[12];
	SKEP_ABI_U32 header, total;

	if (get(frame, off, b, 12))
		return 1;
	header = (b[0] & 0x0fu) * 4u;
	total = skep_inner_be16(b + 2);
	/* Only the first fragment has the beginning of what is carried. */
	if (b[0] >> 4 != 4 || header < 20 || (skep_inner_be16(b + 6) & 0x1fff))
		return 1;
	if (skep_inner_be16(b + 6) & 0x2000)
		w->part = 1;
	w->end = total ? off + total : ~0u; /* 0: longer than the field can say (merged by the kernel) */
	w->off = off + header;
	w->proto = b[9];
	w->ipv6 = 0;
	w->step = SKEP_STEP_PROTO;
	return 0;
}

SKEP_INNER_INLINE int skep_inner_ipv6(struct skep_inner_walk *w, SKEP_ABI_U32 off, skep_inner_get *get,
				      const void *frame)
{
	SKEP_ABI_U8 b[8];
	SKEP_ABI_U32 payload;

	if (get(frame, off, b, 8) || b[0] >> 4 != 6)
		return 1;
	payload = skep_inner_be16(b + 4);
	w->end = payload ? off + 40 + payload : ~0u;
	w->off = off + 40;
	w->proto = b[6];
	w->ipv6 = 1;
	w->step = SKEP_STEP_PROTO;
	return 0;
}

SKEP_INNER_INLINE int skep_inner_label(struct skep_inner_walk *w, SKEP_ABI_U32 off, skep_inner_get *get,
				       const void *frame)
{
	SKEP_ABI_U8 b[4];

	if (!(w->wanted & SKEP_INNER_MPLS) || get(frame, off, b, 4))
		return 1;
	if (b[2] & 1) /* bottom of the stack */
		return skep_inner_enter_ip(w, SKEP_INNER_MPLS, off + 4, 0, get, frame);
	w->off = off + 4;
	w->step = SKEP_STEP_LABEL;
	return 0;
}

/* Type II: 8 bytes, version 1. Type III: 12 bytes, version 2, and 8 more if the last bit says so. */
SKEP_INNER_INLINE int skep_inner_erspan(struct skep_inner_walk *w, SKEP_ABI_U32 off, int type3,
					skep_inner_get *get, const void *frame)
{
	SKEP_ABI_U8 b[12];
	SKEP_ABI_U16 tail;

	if (!type3) {
		if (get(frame, off, b, 8) || b[0] >> 4 != 1)
			return 1;
		return skep_inner_enter_ethernet(w, SKEP_INNER_ERSPAN, off + 8);
	}
	if (get(frame, off, b, 12) || b[0] >> 4 != 2)
		return 1;
	tail = skep_inner_be16(b + 10);
	off += 12u + (tail & 1u) * 8u;
	switch (tail >> 10 & 0x1f) { /* frame type */
	case 0:
		return skep_inner_enter_ethernet(w, SKEP_INNER_ERSPAN, off);
	case 2:
		return skep_inner_enter_ip(w, SKEP_INNER_ERSPAN, off, 0, get, frame);
	default:
		return 1;
	}
}

SKEP_INNER_INLINE int skep_inner_gre(struct skep_inner_walk *w, SKEP_ABI_U32 off, skep_inner_get *get,
				     const void *frame)
{
	SKEP_ABI_U8 b[4];
	SKEP_ABI_U16 flags, proto;

	if (!(w->wanted & (SKEP_INNER_GRE | SKEP_INNER_ERSPAN)) || get(frame, off, b, 4))
		return 1;
	flags = skep_inner_be16(b);
	proto = skep_inner_be16(b + 2);
	if (flags & 0x4007) /* routing (RFC 1701); a version that is not 0, as in PPTP */
		return 1;
	/* Checksum, key, sequence number. */
	off += 4u + (flags >> 15 & 1u) * 4u + (flags >> 13 & 1u) * 4u + (flags >> 12 & 1u) * 4u;
	switch (proto) {
	case 0x0800:
	case 0x86dd:
		return skep_inner_enter_ip(w, SKEP_INNER_GRE, off, proto, get, frame);
	case 0x6558:
		return skep_inner_enter_ethernet(w, SKEP_INNER_GRE, off);
	case 0x88be: /* type I has neither a sequence number nor a header of its own */
		if (!(flags & 0x1000))
			return skep_inner_enter_ethernet(w, SKEP_INNER_ERSPAN, off);
		return skep_inner_erspan(w, off, 0, get, frame);
	case 0x22eb:
		return skep_inner_erspan(w, off, 1, get, frame);
	case 0x8847:
	case 0x8848:
		if (off + 4 > w->end || get(frame, off, b, 4) || skep_inner_enter(w, SKEP_INNER_GRE))
			return 1;
		w->off = off;
		w->type = proto;
		w->step = SKEP_STEP_TYPE;
		return skep_inner_add(w, off - 14, proto);
	default:
		return 1;
	}
}

SKEP_INNER_INLINE int skep_inner_udp(struct skep_inner_walk *w, SKEP_ABI_U32 off, skep_inner_get *get,
				     const void *frame)
{
	SKEP_ABI_U8 b[16];
	SKEP_ABI_U16 port, len;

	if (!(w->wanted & SKEP_INNER_VXLAN) || get(frame, off, b, 16))
		return 1;
	port = skep_inner_be16(b + 2);
	len = skep_inner_be16(b + 4);
	/* 8 bytes of UDP, 8 of VXLAN, whose flag I says that the network identifier is valid, and a frame. */
	if ((port != 4789 && port != 8472) || (len && len < 8 + 8 + 14) || !(b[8] & 0x08))
		return 1;
	return skep_inner_enter_ethernet(w, SKEP_INNER_VXLAN, off + 16);
}

SKEP_INNER_INLINE int skep_inner_proto(struct skep_inner_walk *w, SKEP_ABI_U32 off, skep_inner_get *get,
				       const void *frame)
{
	SKEP_ABI_U8 b[4], proto = w->proto;

	if (proto == 47)
		return skep_inner_gre(w, off, get, frame);
	if (proto == 17)
		return skep_inner_udp(w, off, get, frame);
	/* What is left: extension headers (hop by hop, routing, destination, mobility, fragment), and AH. */
	if (proto != 51 &&
	    !(w->ipv6 && (proto == 0 || proto == 43 || proto == 44 || proto == 60 || proto == 135)))
		return 1;
	if (get(frame, off, b, 4) || (proto == 44 && (skep_inner_be16(b + 2) & 0xfff8)))
		return 1;
	if (proto == 44 && (b[3] & 1))
		w->part = 1;
	w->off = off + (proto == 44   ? 8u
			: proto == 51 ? b[1] * 4u + 8u
				      : b[1] * 8u + 8u);
	w->proto = b[0];
	return 0;
}

/*
 * False: the walk would find nothing, said from a few bytes. Most frames of most links end here, before the
 * state of a walk is set up.
 */
SKEP_INNER_INLINE int skep_inner_possible(skep_inner_get *get, const void *frame)
{
	SKEP_ABI_U8 b[4], proto;
	SKEP_ABI_U16 type, port;

	if (get(frame, 12, b, 2))
		return 0;
	type = skep_inner_be16(b);
	if (skep_inner_is_tag(type) || type == 0x8847 || type == 0x8848)
		return 1;
	if (type != 0x0800 && type != 0x86dd)
		return 0;
	if (get(frame, type == 0x0800 ? 14 + 9 : 14 + 6, &proto, 1))
		return 0;
	if (proto != 17) /* TCP, ICMP and ICMPv6: nothing is behind them; other protocols are rare */
		return proto != 6 && proto != 1 && proto != 58;
	if (type == 0x0800 && (get(frame, 14, b, 1) || b[0] != 0x45))
		return 1;
	if (get(frame, type == 0x0800 ? 14 + 20 : 14 + 40, b, 4))
		return 0;
	port = skep_inner_be16(b + 2);
	return port == 4789 || port == 8472;
}

SKEP_INNER_INLINE void skep_inner_begin(struct skep_inner_walk *w, SKEP_ABI_U8 wanted)
{
	*w = (struct skep_inner_walk){ .end = ~0u, .step = SKEP_STEP_ETHERNET, .wanted = wanted };
}

/* One header; not 0: the walk is at its end. At most SKEP_INNER_STEPS of them. */
SKEP_INNER_INLINE int skep_inner_step(struct skep_inner_walk *w, skep_inner_get *get, const void *frame)
{
	SKEP_ABI_U32 off = w->off;

	if (off > SKEP_INNER_REACH)
		return 1;
	switch (w->step) {
	case SKEP_STEP_ETHERNET:
		return skep_inner_ethernet(w, off, get, frame);
	case SKEP_STEP_LABEL:
		return skep_inner_label(w, off, get, frame);
	case SKEP_STEP_PROTO:
		return skep_inner_proto(w, off, get, frame);
	}
	if (skep_inner_is_tag(w->type))
		return skep_inner_tag(w, off, get, frame);
	if (w->tags)
		return skep_inner_untagged(w);
	switch (w->type) {
	case 0x0800:
		return skep_inner_ipv4(w, off, get, frame);
	case 0x86dd:
		return skep_inner_ipv6(w, off, get, frame);
	case 0x8847:
	case 0x8848:
		return skep_inner_label(w, off, get, frame);
	default:
		return 1;
	}
}

#endif
