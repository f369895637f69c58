/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_BPF_LOOK_H
#define SKEP_BPF_LOOK_H
/*
 * The maps of bpf/look.bpf.c: what user space writes into them and reads from them.
 */
#include "bpf/abi/skep_abi.h"

/* Map "control" (ARRAY, key 0). */
struct skep_look_control {
	SKEP_ABI_U32 quic;   /* not 0: fill marks */
	SKEP_ABI_U32 lists;  /* not 0: fill src_lists and dst_lists */
	SKEP_ABI_U32 set;    /* of the two sets of lists */
	SKEP_ABI_U32 inside; /* SKEP_INNER_*: fill n_inner and inner, and the facts of these */
};

/* Map "account" (PERCPU_ARRAY, key 0). */
struct skep_look_account {
	SKEP_ABI_U64 added;   /* flows that were put into "flows" */
	SKEP_ABI_U64 refused; /* that the map did not take */
};

/*
 * Address lists. Two sets at a time ("sets": ARRAY_OF_MAPS, key: 0 or 1), of which skep_look_control.set is
 * in use: maps (HASH) from a prefix to a u32, a bit per list that an address is in of which no longer prefix
 * is there. "lengths" (ARRAY, the same key) are the prefix lengths to look for, by binary search: a hit means
 * that or a longer one.
 */
#define SKEP_LOOK_SETS 2

/* A prefix; IPv4 in the first word, as on the wire. */
struct skep_look_key {
	SKEP_ABI_U32 bits; /* of a skep_look_length */
	SKEP_ABI_U32 addr[4];
};

#define SKEP_LOOK_IP6 0x100u

struct skep_look_length {
	SKEP_ABI_U32 bits;    /* prefix length, and SKEP_LOOK_IP6 */
	SKEP_ABI_U32 mask[4]; /* of an address */
};

#define SKEP_LOOK_LENGTHS4 33
#define SKEP_LOOK_LENGTHS6 129
/* Steps of the binary searches. */
#define SKEP_LOOK_STEPS4 6
#define SKEP_LOOK_STEPS6 8

/* Lengths of IPv4 from v[0], of IPv6 from v[SKEP_LOOK_LENGTHS4], ascending. */
struct skep_look_lengths {
	SKEP_ABI_U32 n4;
	SKEP_ABI_U32 n6;
	struct skep_look_length v[SKEP_LOOK_LENGTHS4 + SKEP_LOOK_LENGTHS6];
};

#endif
