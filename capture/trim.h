/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_TRIM_H
#define CAP_TRIM_H
/*
 * How much of a frame to keep. Pure functions: they allocate nothing, lock nothing and cannot fail; any
 * thread.
 */
#include "capture/frame.h"
#include "common/err.h"

enum cap_trim_kind {
	CAP_TRIM_NONE,
	CAP_TRIM_BYTES, /* the first n bytes */
	CAP_TRIM_L3,    /* through the network header, and n bytes more */
	CAP_TRIM_L4,    /* through the transport header */
};

struct cap_trim {
	enum cap_trim_kind kind;
	uint32_t n;
	uint16_t linktype; /* LINKTYPE_* of the frames; 0 means Ethernet */
};

/*
 * "l4", "l3", "l3+N", "N" (1 to CAP_SNAPLEN_MAX). SKEP_E_USAGE with a sentence otherwise; leaves
 * ret->linktype 0.
 */
int cap_trim_parse(const char *text, struct cap_trim *ret, struct skep_err *err);

/*
 * Bytes of the frame to keep, never more than len. Understands Ethernet, 802.1Q and QinQ stacks, PPPoE,
 * MPLS, ARP, IPv4 with options, IPv6 with up to 8 extension headers, TCP with options, UDP, UDP-Lite, SCTP,
 * ICMP, ICMPv6; link types Ethernet, raw IP, Linux cooked (SLL, SLL2). What is unknown or malformed ends the
 * walk: what was understood is kept, and CAP_TRIM_L3 adds its n bytes from there. A link type that is not
 * known is not cut, a header that is cut off keeps the whole frame.
 * Reads no byte behind data[len), whatever is in it.
 */
uint32_t cap_trim_contiguous(const struct cap_trim *trim, const uint8_t *data, uint32_t len);
/*
 * The same for a frame of a batch; only its first CAP_TRIM_LOOK bytes are looked at. At most frame->cap_len.
 */
uint32_t cap_trim_bytes(const struct cap_trim *trim, const struct cap_batch *batch,
			const struct cap_frame *frame);

/* Ethernet + 8 tags + MPLS + IPv6 with extension headers + TCP with options, generously. */
#define CAP_TRIM_LOOK 512u

/* Copies the first bytes of a frame's buffers, at most room, to out; returns how many. */
uint32_t cap_trim_gather(const struct cap_batch *batch, const struct cap_frame *frame, uint8_t *out,
			 uint32_t room);

#endif
