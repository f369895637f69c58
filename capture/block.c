/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pool: one mapping, cut into blocks, on the worker's NUMA node, on huge pages where there are any. All
 * pages are touched at start, so that the packet path never faults; the memory in use is flat whatever the
 * load.
 */
#include "capture/block.h"

#include <assert.h>
#include <errno.h>
#include <numa.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE (2u * CAP_MIB)

/*
 * MAP_FAILED and errno if the memory is not there; populating says so in words where touching huge pages
 * would mean SIGBUS.
 */
static void *map_touched(size_t bytes, int numa_node, int flags)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (p == MAP_FAILED)
		return p;
	if (numa_node >= 0 && numa_available() >= 0)
		numa_tonode_memory(p, bytes, numa_node);
	if (!flags)
		(void)madvise(p, bytes, MADV_HUGEPAGE);
	if (madvise(p, bytes, MADV_POPULATE_WRITE) < 0 && (flags || errno == ENOMEM)) {
		munmap(p, bytes);
		errno = ENOMEM;
		return MAP_FAILED;
	}
	if (!flags)
		memset(p, 0, bytes); /* kernels before 5.14 do not populate */
	(void)madvise(p, bytes, MADV_DONTFORK); /* a fork would copy pages that the ring has pinned */
	return p;
}

int cap_pool_init(struct cap_pool *pool, uint32_t n_blocks, int numa_node, struct skep_err *err)
{
	size_t bytes = skep_align_up((uint64_t)n_blocks * CAP_BLOCK_BYTES, HUGE_PAGE);
	bool huge = true;
	void *p;

	p = map_touched(bytes, numa_node, MAP_HUGETLB);
	if (p == MAP_FAILED) {
		huge = false;
		p = map_touched(bytes, numa_node, 0);
	}
	if (p == MAP_FAILED) {
		skep_err_set(err, -errno, "no memory for %u blocks of 1 MiB: %s", n_blocks, strerror(errno));
		skep_err_hint(err, "give a smaller --memory");
		return -ENOMEM;
	}

	pool->blocks = calloc(n_blocks, sizeof(*pool->blocks));
	if (!pool->blocks) {
		munmap(p, bytes);
		return skep_err_set(err, -ENOMEM, "no memory for the block table");
	}
	pool->memory = p;
	pool->bytes = bytes;
	pool->n_blocks = n_blocks;
	pool->huge = huge;
	pool->free = NULL;
	pool->n_free = 0;
	for (uint32_t i = n_blocks; i-- > 0;) {
		pool->blocks[i].data = pool->memory + (size_t)i * CAP_BLOCK_BYTES;
		cap_pool_put(pool, &pool->blocks[i]);
	}
	return 0;
}

void cap_pool_fini(struct cap_pool *pool)
{
	if (pool->memory)
		munmap(pool->memory, pool->bytes);
	free(pool->blocks);
	memset(pool, 0, sizeof(*pool));
}

struct cap_block *cap_pool_get(struct cap_pool *pool)
{
	struct cap_block *block = pool->free;
	uint8_t *data;

	if (!block)
		return NULL;
	pool->free = block->next;
	pool->n_free--;
	data = block->data;
	memset(block, 0, sizeof(*block));
	block->data = data;
	return block;
}

void cap_pool_join(struct cap_pool *pool, struct cap_share *share)
{
	assert(!share->joined && share->held == 0);
	share->joined = true;
	pool->owed += CAP_POOL_SHARE;
}

void cap_pool_leave(struct cap_pool *pool, struct cap_share *share)
{
	assert(share->joined && share->held == 0);
	share->joined = false;
	pool->owed -= CAP_POOL_SHARE;
}

/*
 * Half of the blocks are everybody's in any case: with many jobs of which few are busy, the others' shares
 * would leave too little to ride out a slow disk.
 */
uint32_t cap_pool_spare(const struct cap_pool *pool)
{
	uint32_t lent = pool->n_blocks - SKEP_MIN(pool->n_blocks, CAP_POOL_RESERVE);
	uint32_t kept = CAP_POOL_RESERVE + SKEP_MIN(pool->owed, lent / 2);

	return pool->n_free - SKEP_MIN(pool->n_free, kept);
}

bool cap_pool_allows(const struct cap_pool *pool, const struct cap_share *share)
{
	if (share->joined && share->held >= CAP_POOL_SHARE)
		return cap_pool_spare(pool) > 0;
	return pool->n_free > CAP_POOL_RESERVE;
}

struct cap_block *cap_pool_get_for(struct cap_pool *pool, struct cap_share *share)
{
	struct cap_block *block = cap_pool_get(pool);

	if (!block || !share->joined)
		return block;
	block->holder = share;
	if (share->held++ < CAP_POOL_SHARE)
		pool->owed--;
	return block;
}

struct cap_block *cap_pool_put(struct cap_pool *pool, struct cap_block *block)
{
	if (block->holder && --block->holder->held < CAP_POOL_SHARE)
		pool->owed++;
	block->holder = NULL;
	block->next = pool->free;
	pool->free = block;
	pool->n_free++;
	assert(pool->n_free <= pool->n_blocks);
	return NULL;
}

struct cap_block *cap_queue_push(struct cap_block_queue *queue, struct cap_block *block)
{
	block->next = NULL;
	if (queue->tail)
		queue->tail->next = block;
	else
		queue->head = block;
	queue->tail = block;
	queue->n++;
	return NULL;
}

struct cap_block *cap_queue_pop(struct cap_block_queue *queue)
{
	struct cap_block *block = queue->head;

	if (!block)
		return NULL;
	queue->head = block->next;
	if (!queue->head)
		queue->tail = NULL;
	queue->n--;
	block->next = NULL;
	return block;
}
