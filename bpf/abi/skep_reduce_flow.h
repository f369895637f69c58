/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_BPF_REDUCE_FLOW_H
#define SKEP_BPF_REDUCE_FLOW_H
/*
 * The flow that a frame belongs to, for sampling and cut-off; both directions together:
 *   TCP, UDP, SCTP       addresses, ports, protocol
 *   other IP             addresses, protocol
 *   fragments, ARP       addresses: only the first fragment has ports, and all shall go the same way
 *   everything else      MAC addresses, ether type
 * VLAN tags in front are left out, whatever their number; of tunnels only the outside counts.
 *
 * The includer has defined struct skep_view and skep_view_get() (skep_flow.h), where an offset of 12 or more
 * leaves out the tags.
 */
#include "bpf/abi/skep_flow.h"

#define SKEP_REDUCE_MAX_TAGS 8

SKEP_REDUCE_INLINE int skep_reduce_is_tag(SKEP_ABI_U16 type)
{
	return type == SKEP_BE16(0x8100) || type == SKEP_BE16(0x88a8) || type == SKEP_BE16(0x9100);
}

/* Which flow the frame belongs to. */
SKEP_REDUCE_INLINE void skep_reduce_flow(const struct skep_view *v, struct skep_flow_key *ret)
{
	struct skep_transport t;
	struct skep_addrs a;

	skep_addrs_read(v, &a);
	skep_transport_read(v, &a, &t);
	if (!t.there || t.part)
		__builtin_memset(&t, 0, sizeof(t));
	if (!a.version) {
		SKEP_ABI_U8 macs[14];

		__builtin_memset(macs, 0, sizeof(macs));
		(void)skep_view_get(v, 0, macs, 12);
		__builtin_memset(&a, 0, sizeof(a));
		for (int i = 0; i < 3; i++) {
			a.dst[i] = (SKEP_ABI_U32)(macs[2 * i] << 8 | macs[2 * i + 1]);
			a.src[i] = (SKEP_ABI_U32)(macs[6 + 2 * i] << 8 | macs[7 + 2 * i]);
		}
		(void)skep_view_get(v, 12, &t.src, 2);
		t.dst = t.src;
	}
	skep_flow_key_make(&a, &t, ret);
}

/* Multiply and xor-shift over the words, then MurmurHash3's 64-bit finalizer (Appleby, public domain). */
SKEP_REDUCE_INLINE SKEP_ABI_U64 skep_reduce_hash(const struct skep_flow_key *key, SKEP_ABI_U64 seed)
{
	SKEP_ABI_U64 h = seed;

	for (int i = 0; i < 4; i++) {
		h = (h ^ ((SKEP_ABI_U64)key->low[i] << 32 | key->high[i])) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	h = (h ^ ((SKEP_ABI_U64)key->low_port << 32 | (SKEP_ABI_U64)key->high_port << 16 |
		  (SKEP_ABI_U64)key->proto << 8 | key->version)) * 0x9e3779b97f4a7c15ull;
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 33;
}

#endif
