/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_SEQ_H
#define BENCH_SEQ_H
/*
 * What arrived of a run of the generator: which sequence numbers, how often, in which order, and whether
 * intact.
 */
#include "bench/pool.h"
#include "common/err.h"

#include <stdbool.h>

#define BENCH_SEQ_POOLS 8u /* kinds and seeds of payload that may be mixed in one check */

struct bench_seq {
	/* in */
	uint64_t first; /* lowest sequence number that is expected; set before the first frame */
	/* out */
	uint64_t foreign; /* frames without our tag */
	uint64_t frames;  /* with our tag, duplicates included */
	uint64_t bytes;	  /* of these, as present */
	uint64_t unique;
	uint64_t duplicated;
	uint64_t reordered; /* arrived after a higher number */
	uint64_t corrupted; /* not what was sent: length, IPv4 header or payload */
	uint64_t stray;	    /* below first, or so far away that the tag must be damaged */
	uint64_t min, max;  /* of what arrived; only if unique */
	/* own */
	uint8_t *seen; /* a bit for each number since first */
	uint64_t seen_bits;
	struct bench_pool *pools[BENCH_SEQ_POOLS];
};

void bench_seq_done(struct bench_seq *seq);
/* Looks at one frame; len bytes of its wire_len are present. 0 or -ENOMEM. */
int bench_seq_add(struct bench_seq *seq, const uint8_t *frame, uint32_t len, uint32_t wire_len);
/* Numbers from first to last that have not arrived. */
uint64_t bench_seq_lost(const struct bench_seq *seq, uint64_t last);

#endif
