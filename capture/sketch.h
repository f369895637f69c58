/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SKETCH_H
#define CAP_SKETCH_H
/*
 * SEGMENT.sketch: for each block of a segment, Bloom filters of the addresses, networks, protocols and ports
 * of its packets, so that who looks for a flow need not read the blocks that cannot hold any of it. A filter
 * says "perhaps" or "certainly not"; a block, a group, or a whole file without one says "perhaps".
 * docs/reference/segment-format.md has the bytes. Ethernet only.
 */
#include "common/err.h"

#include <stdbool.h>

#define CAP_SKETCH_SUFFIX ".sketch"

/* Values that are kept apart, so that an attack with a million sources spoils the sources only. */
enum cap_sketch_group {
	CAP_SKETCH_TYPES, /* classes, EtherTypes, protocols */
	CAP_SKETCH_SRC,
	CAP_SKETCH_DST,
	CAP_SKETCH_NETS,
	CAP_SKETCH_SPORTS,
	CAP_SKETCH_DPORTS,
	CAP_SKETCH_GROUPS,
};

/* Bits of a group's filter, 2^N: 8 bytes to 2 KiB, so at most 10 KiB for a block of 1 MiB. */
#define CAP_SKETCH_MIN_LOG2 6u
#define CAP_SKETCH_MAX_LOG2 14u

struct cap_sketch_key {
	enum cap_sketch_group group;
	uint64_t hash;
};

/*
 * What a packet has. The class is by EtherType ([12:2]): IPv4, IPv6, ARP and RARP, others.
 */
enum cap_sketch_class { CAP_SKETCH_IP4, CAP_SKETCH_IP6, CAP_SKETCH_ARP, CAP_SKETCH_OTHER };

struct cap_sketch_key cap_sketch_of_class(enum cap_sketch_class class);
/* An IPv6 packet of which less than the whole first header is there. */
struct cap_sketch_key cap_sketch_of_short_ip6(void);
struct cap_sketch_key cap_sketch_of_type(uint16_t type);
/* IPv4: protocol; IPv6: next header of the first header. */
struct cap_sketch_key cap_sketch_of_proto(enum cap_sketch_class class, uint8_t proto);
/*
 * An address as in the packet, 4 bytes or (IPv6) 16, source or destination; or its first `prefix` bits, which
 * must be one that is kept: see cap_sketch_prefix.
 */
struct cap_sketch_key cap_sketch_of_address(enum cap_sketch_class class, bool dst, const uint8_t *address,
					    uint32_t prefix);
/* The longest prefix that is kept and no longer than `prefix`; 0: none. */
uint32_t cap_sketch_prefix(enum cap_sketch_class class, uint32_t prefix);
/*
 * TCP, UDP or SCTP. IPv4: of packets that are no later fragment; IPv6: without extension headers.
 */
struct cap_sketch_key cap_sketch_of_port(bool dst, uint16_t port);
static inline bool cap_sketch_has_ports(uint8_t proto)
{
	return proto == 6 || proto == 17 || proto == 132;
}

/* ---- writing ---- */

struct cap_sketch_maker;
struct cap_sidecar;

/* NULL: no memory. */
struct cap_sketch_maker *cap_sketch_maker_new(void);
/* Takes NULL, returns NULL. */
struct cap_sketch_maker *cap_sketch_maker_free(struct cap_sketch_maker *m);
/* A packet of the current block: the bytes that are stored of it. */
void cap_sketch_add(struct cap_sketch_maker *m, const uint8_t *bytes, uint32_t len);
/* The current block is over; file_offset is that of its entry in the index. 0 or -ENOMEM. */
int cap_sketch_end_block(struct cap_sketch_maker *m, uint64_t file_offset);
/* SEGMENT.sketch, whole or not at all; the sidecar is the segment's. 0 or -errno. */
int cap_sketch_write(struct cap_sketch_maker *m, int dirfd, const char *segment,
		     const struct cap_sidecar *sc);
void cap_sketch_remove(int dirfd, const char *segment);

/* ---- reading ---- */

/* One block's filters. */
struct cap_sketch_block {
	const uint64_t *words;
	uint8_t log2_bits[CAP_SKETCH_GROUPS];
};

/* False: no packet of the block has it. */
bool cap_sketch_may_hold(const struct cap_sketch_block *b, const struct cap_sketch_key *key);

typedef void cap_sketch_look(void *arg, size_t i, const struct cap_sketch_block *b);
/*
 * Shows each block of the sketch of the segment at this path, whose sidecar this is, in order. 0; or
 * SKEP_E_NOT_FOUND: there is none, or it is damaged or not of this segment, and what was shown meanwhile is
 * to be forgotten; other -errno.
 */
int cap_sketch_scan(const char *path, const struct cap_sidecar *sc, cap_sketch_look *look, void *arg);

#endif
