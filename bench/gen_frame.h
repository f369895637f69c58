/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_GEN_FRAME_H
#define BENCH_GEN_FRAME_H
/*
 * What the generator's options mean in bytes: templates and settings for the sending program, or whole
 * frames.
 */
#include "bench/pool.h"
#include "common/err.h"

#include <stdbool.h>

enum bench_gen_proto { BENCH_GEN_UDP, BENCH_GEN_TCP, BENCH_GEN_QUIC, BENCH_GEN_PROTO_MIX };
enum bench_gen_ip { BENCH_GEN_IP4, BENCH_GEN_IP6, BENCH_GEN_IP_MIX };
#define BENCH_GEN_SIZE_IMIX 0u
#define BENCH_GEN_VLAN_NONE 0xffffffffu

struct bench_gen_options {
	const char *link;
	uint32_t size; /* bytes of a frame without FCS, or BENCH_GEN_SIZE_IMIX */
	int payload;   /* enum skep_gen_payload */
	uint32_t seed;
	uint32_t flows;
	int proto;     /* enum bench_gen_proto */
	int ip;	       /* enum bench_gen_ip */
	uint32_t vlan; /* VLAN ID or BENCH_GEN_VLAN_NONE */
	uint64_t first_seq;
	uint64_t count; /* 0: no limit */
	uint64_t duration_ns;
	double rate;	   /* 0: flat out */
	bool rate_is_bits; /* per second of frame bytes, else frames */
	uint8_t dst_mac[6];
	int cpu;  /* -1: not pinned */
	bool dry; /* build frames, send none: what the generator itself can do */
	bool json;
};

/* Fills everything of cfg but ifindex, and the templates. Refuses sizes that the headers do not fit in. */
int bench_gen_frame_prepare(const struct bench_gen_options *o, struct skep_gen_cfg *cfg,
			    struct skep_gen_template templates[SKEP_GEN_TEMPLATES], struct skep_err *err);

/* Writes frame seq into out (room for SKEP_GEN_FRAME_MAX) and returns its length. */
uint32_t bench_gen_frame_build(const struct skep_gen_cfg *cfg,
			       struct skep_gen_template templates[SKEP_GEN_TEMPLATES],
			       struct bench_pool *pool, uint64_t seq, uint8_t *out);

/* Sum of the 16-bit words of a range in network order, unfolded; the last odd byte counts as the upper half
 * of a word. */
uint64_t bench_gen_frame_sum(const uint8_t *p, uint32_t len);

#endif
