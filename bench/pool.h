/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_POOL_H
#define BENCH_POOL_H
/*
 * The payload pool of the generator, made anew by whoever checks what was received: a pure function of kind
 * and seed.
 */
#include "bpf/abi/skep_gen.h"
#include "common/util.h"

/* Pieces that are made independently of each other. */
#define BENCH_POOL_BLOCK 2048u
#define BENCH_POOL_BLOCKS (SKEP_GEN_POOL_BYTES / BENCH_POOL_BLOCK)

struct bench_pool {
	enum skep_gen_payload kind;
	uint32_t seed;
	uint8_t *bytes; /* SKEP_GEN_POOL_BYTES + SKEP_GEN_POOL_TAIL */
	uint8_t made[BENCH_POOL_BLOCKS];
};

/* Fills SKEP_GEN_POOL_BYTES + SKEP_GEN_POOL_TAIL bytes; about 0.1 s. */
void bench_pool_fill(enum skep_gen_payload kind, uint32_t seed, uint8_t *bytes);

/* A pool whose blocks are made when first looked at. NULL: no memory. */
struct bench_pool *bench_pool_new(enum skep_gen_payload kind, uint32_t seed);
struct bench_pool *bench_pool_free(struct bench_pool *pool);
/* The payload of frame seq, len bytes of it; valid until the pool is freed. len <= SKEP_GEN_FRAME_MAX. */
const uint8_t *bench_pool_payload(struct bench_pool *pool, uint64_t seq, uint32_t len);

#endif
