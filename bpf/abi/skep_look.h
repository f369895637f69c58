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
	SKEP_ABI_U32 inside; /* SKEP_INNER_*: fill n_inner and inner, and the facts of these */
};

/* Map "account" (PERCPU_ARRAY, key 0). */
struct skep_look_account {
	SKEP_ABI_U64 added;   /* flows that were put into "flows" */
	SKEP_ABI_U64 refused; /* that the map did not take */
};

/* Keys of the tries "lists4" and "lists6"; the value is a u32, a bit per list. Addresses as on the wire. */
struct skep_look_key4 {
	SKEP_ABI_U32 bits;
	SKEP_ABI_U32 addr;
};

struct skep_look_key6 {
	SKEP_ABI_U32 bits;
	SKEP_ABI_U32 addr[4];
};

#endif
