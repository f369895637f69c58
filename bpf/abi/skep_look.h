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
 * Address lists. Two sets at a time ("sets4", "sets6": ARRAY_OF_MAPS, key: 0 or 1), of which
 * skep_look_control.set is in use: maps (HASH) from a prefix to a u32, a bit per list that an address is in
 * of which no longer prefix is there. "lengths" (ARRAY, the same key) are the prefix lengths to look for, by
 * binary search: a hit means that or a longer one. Addresses as on the wire.
 */
#define SKEP_LOOK_SETS 2

struct skep_look_key4 {
	SKEP_ABI_U32 bits;
	SKEP_ABI_U32 addr;
};

struct skep_look_key6 {
	SKEP_ABI_U32 bits;
	SKEP_ABI_U32 addr[4];
};

struct skep_look_length4 {
	SKEP_ABI_U32 bits;
	SKEP_ABI_U32 mask; /* of an address, as on the wire */
};

struct skep_look_length6 {
	SKEP_ABI_U32 bits;
	SKEP_ABI_U32 mask[4];
};

#define SKEP_LOOK_LENGTHS4 33
#define SKEP_LOOK_LENGTHS6 129
/* Steps of the binary searches. */
#define SKEP_LOOK_STEPS4 6
#define SKEP_LOOK_STEPS6 8

struct skep_look_lengths {
	SKEP_ABI_U32 n4;
	SKEP_ABI_U32 n6;
	struct skep_look_length4 v4[SKEP_LOOK_LENGTHS4];
	struct skep_look_length6 v6[SKEP_LOOK_LENGTHS6];
};

#endif
