/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_VIEW_H
#define FLT_VIEW_H
/*
 * A packet in user space, for the parsers of bpf/abi (skep_flow.h, skep_quic.h), which read Ethernet: include
 * it before them. IP packets without an Ethernet header, or with another one, are seen as if they had one.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct skep_view {
	const uint8_t *bytes;
	uint32_t len;
	uint32_t l3;   /* where byte 14 of an Ethernet frame is */
	uint16_t type; /* bytes 12 and 13, in host order; 0: they are there, and it is Ethernet */
};

static inline int skep_view_get(const struct skep_view *v, uint32_t at, void *to, uint32_t n)
{
	if (v->type) {
		uint8_t type[2] = { (uint8_t)(v->type >> 8), (uint8_t)v->type };

		if (at == 12 && n == 2)
			memcpy(to, type, 2);
		if (at < 14)
			return at == 12 && n == 2 ? 0 : -1;
		at = at - 14 + v->l3;
	}
	if (at > v->len || v->len - at < n)
		return -1;
	memcpy(to, v->bytes + at, n);
	return 0;
}

/* LINKTYPE_* whose packets can be seen so: Ethernet, loopback, raw IP, Linux cooked 1 and 2, IPv4, IPv6. */
bool flt_view_knows(int linktype);
/* A packet of such a link type. */
struct skep_view flt_view_make(int linktype, const uint8_t *bytes, uint32_t len);

#endif
