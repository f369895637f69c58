/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_CHAIN_BPF_H
#define SKEP_CHAIN_BPF_H
/*
 * The maps through which the programs of a link's chain hand a frame on (SKEP_PROG_*). They are the
 * prefilter's; in the objects of the other stages user space puts these in the place of theirs before load.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "bpf/abi/skep_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, SKEP_PROG_N);
	__type(key, __u32);
	__type(value, __u32);
} progs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct skep_scratch);
} scratch SEC(".maps");

#endif
