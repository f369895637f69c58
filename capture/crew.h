/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_CREW_H
#define CAP_CREW_H
/*
 * Packer threads of one lane (--pack-threads): whole blocks go out, packed blocks come back in the same
 * order. Blocks are packed independently of each other, so any thread can take any block. Thread: the lane's
 * worker gives and takes; it never waits for the crew.
 */
#include "capture/block.h"

struct cap_crew;

/* Starts n threads. They inherit the caller's CPU mask, not the worker's core. */
int cap_crew_start(struct cap_crew **ret, uint32_t n, struct skep_err *err);
/* Blocks that are with the crew must have been taken back. Takes NULL; returns NULL. */
struct cap_crew *cap_crew_stop(struct cap_crew *crew);

/* True if the crew can take one more block now. */
bool cap_crew_ready(const struct cap_crew *crew);
/* Gives a PLAIN block with its level, and an empty block for the output. */
void cap_crew_give(struct cap_crew *crew, struct cap_block *in, struct cap_block *out);
/* Takes the oldest block back if it is packed: out->used bytes, the last zstd block at out->zblock_last. */
bool cap_crew_take(struct cap_crew *crew, struct cap_block **ret_in, struct cap_block **ret_out,
		   uint64_t *ret_took_ns);
/* Blocks that are with the crew. */
uint32_t cap_crew_pending(const struct cap_crew *crew);

#endif
