/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_BLOCK_H
#define CAP_BLOCK_H
/*
 * Blocks: the only memory that packets live in after they leave the kernel's ring, and the pool they come
 * from.
 *
 * A block has one owner at any moment: the pool, a lane that fills it, the lane's queue, the packer, or the
 * sink while a write is in flight. It is moved, never shared: the giver's pointer becomes NULL. Thread: a
 * pool belongs to one worker. Blocks lent to packer threads come back through the worker.
 */
#include "capture/limits.h"
#include "common/err.h"

#include <stdbool.h>

struct cap_segment;

/* What one user of a pool holds of it. */
struct cap_share {
	uint32_t held;
	bool joined; /* the pool keeps CAP_POOL_SHARE blocks for it */
};

/*
 * How records lie in a block.
 * PLAIN: one after the other; to be compressed, or written as is to an uncompressed file.
 * STORED: already in the shape of raw zstd blocks: every CAP_ZBLOCK_MAX bytes start with a block header, so
 * that the block goes to disk without being touched again. That keeps "copy exactly once" for payload that
 * does not compress.
 */
enum cap_layout { CAP_LAYOUT_PLAIN, CAP_LAYOUT_STORED };

struct cap_block {
	uint8_t *data;          /* CAP_BLOCK_BYTES, aligned to CAP_ALIGN */
	uint32_t used;          /* bytes of data in use, block headers included */
	uint32_t raw_bytes;     /* bytes of records */
	uint32_t pkts;
	enum cap_layout layout;
	bool ends_segment;      /* the lane rotates behind this block */
	uint64_t bytes_wire;    /* of its packets */
	uint64_t ts_first_ns;
	uint64_t ts_last_ns;
	uint64_t opened_ns;     /* monotonic */
	struct cap_block *next; /* in the pool's or a queue's list */
	struct cap_share *holder; /* NULL: nobody's */
	/* while being packed: bytes of `used` that are done */
	uint32_t packed;
	int32_t level;
	uint32_t zblock_last;   /* packer threads: offset of the last zstd block header in the output */
	/* while a write is in flight */
	struct cap_segment *segment;
	uint64_t write_off;
	uint32_t write_len;
	uint32_t write_done;
	uint32_t write_slot;    /* in segment->writes */
	uint32_t write_tries;
	int32_t forced;         /* fault injection: the result to report instead of the kernel's */
};

struct cap_block_queue {
	struct cap_block *head;
	struct cap_block *tail;
	uint32_t n;
};

struct cap_pool {
	uint8_t *memory;
	size_t bytes;
	struct cap_block *blocks;
	uint32_t n_blocks;
	struct cap_block *free;  /* last in, first out: the warmest block first */
	uint32_t n_free;
	uint32_t owed;           /* blocks that users could still ask for within their shares */
	bool huge;               /* on huge pages */
};

/* Maps and touches the memory on the given NUMA node (-1: wherever). */
int cap_pool_init(struct cap_pool *pool, uint32_t n_blocks, int numa_node, struct skep_err *err);
void cap_pool_fini(struct cap_pool *pool);
/* NULL if there is none; the block is empty and PLAIN. */
struct cap_block *cap_pool_get(struct cap_pool *pool);
/*
 * A user of the pool among others. Before it leaves it has given everything back. Who has not joined takes
 * what there is, and is promised nothing.
 */
void cap_pool_join(struct cap_pool *pool, struct cap_share *share);
void cap_pool_leave(struct cap_pool *pool, struct cap_share *share);
/* Blocks that anybody may take. */
uint32_t cap_pool_spare(const struct cap_pool *pool);
/* May the user take one more block, without touching the reserve or what is kept for others? */
bool cap_pool_allows(const struct cap_pool *pool, const struct cap_share *share);
/* As cap_pool_get; the block counts for the user until it is put back, by whomever. */
struct cap_block *cap_pool_get_for(struct cap_pool *pool, struct cap_share *share);
/* Takes the block; returns NULL. */
struct cap_block *cap_pool_put(struct cap_pool *pool, struct cap_block *block);

/* Appends to the queue; returns NULL, so that `block = cap_queue_push(q, block)` moves it. */
struct cap_block *cap_queue_push(struct cap_block_queue *queue, struct cap_block *block);
struct cap_block *cap_queue_pop(struct cap_block_queue *queue);

#endif
