/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reading end of a BPF ring buffer that holds frames.
 *
 * Why not libbpf's ring_buffer__consume: it frees a record as soon as its callback returns, but a batch lends
 * frames to the worker until release. The layout is the kernel's (kernel/bpf/ringbuf.c): a page with the
 * consumer position, which is ours; a page with the producer position; the data, mapped twice in a row so
 * that no record is ever split. A record is a header (length with a busy and a discard bit, page offset) and
 * its bytes, rounded up to 8.
 *
 * The kernel writes, we read: the data pages are mapped read-only, so frames cannot be changed here even by
 * mistake.
 */
#include "capture/ringbuf.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>

/* The mirror's smallest record, with its header. */
#define SMALLEST_RECORD_BYTES (128u + BPF_RINGBUF_HDR_SZ)

struct cap_ringbuf {
	uint64_t *consumer;	  /* shared with the kernel; written at release */
	const uint64_t *producer; /* shared with the kernel */
	const uint8_t *data;
	uint64_t at; /* what was read up to; consumer follows at release */
	uint64_t mask;
	const struct cap_meta_clock *clock;

	uint64_t bytes;
	size_t page_bytes;
	int fd;
};

int cap_ringbuf_receive(struct cap_ringbuf *ring, struct cap_batch *batch)
{
	uint64_t end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);

	batch->n = 0;
	batch->frag_n = 0;
	while (ring->at < end && batch->n < CAP_BATCH && batch->frag_n + CAP_META_FRAGS <= CAP_BATCH_FRAGS) {
		const uint8_t *record = ring->data + (ring->at & ring->mask);
		uint32_t head = __atomic_load_n((const uint32_t *)(const void *)record, __ATOMIC_ACQUIRE);
		const struct skep_meta *meta = (const void *)(record + BPF_RINGBUF_HDR_SZ);
		uint32_t len = head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		if (head & BPF_RINGBUF_BUSY_BIT)
			break;
		ring->at += skep_align_up(len + BPF_RINGBUF_HDR_SZ, 8);
		__builtin_prefetch(ring->data + (ring->at & ring->mask));
		__builtin_prefetch(ring->data + (ring->at & ring->mask) + SKEP_CACHE_LINE);
		if (SKEP_UNLIKELY(head & BPF_RINGBUF_DISCARD_BIT))
			continue;
		batch->frames[batch->n] = (struct cap_frame){
			.data = (const uint8_t *)(meta + 1),
			.len = meta->wire_len,
			.cap_len = meta->wire_len,
			.frag_first = (uint16_t)batch->frag_n,
		};
		cap_meta_apply(batch, &batch->frames[batch->n], meta, ring->clock);
		batch->n++;
	}
	/* Discarded records alone: nobody will release them. */
	if (!batch->n)
		cap_ringbuf_release(ring, batch);
	return (int)batch->n;
}

void cap_ringbuf_release(struct cap_ringbuf *ring, struct cap_batch *batch)
{
	batch->n = 0;
	batch->frag_n = 0;
	__atomic_store_n(ring->consumer, ring->at, __ATOMIC_RELEASE);
}

uint32_t cap_ringbuf_backlog(struct cap_ringbuf *ring)
{
	uint64_t end = __atomic_load_n(ring->producer, __ATOMIC_RELAXED);

	return (uint32_t)((end - ring->at + SMALLEST_RECORD_BYTES - 1) / SMALLEST_RECORD_BYTES);
}

void cap_ringbuf_skip(struct cap_ringbuf *ring)
{
	ring->at = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	__atomic_store_n(ring->consumer, ring->at, __ATOMIC_RELEASE);
}

uint32_t cap_ringbuf_slots(const struct cap_ringbuf *ring)
{
	return (uint32_t)(ring->bytes / SMALLEST_RECORD_BYTES);
}

int cap_ringbuf_fd(const struct cap_ringbuf *ring)
{
	return ring->fd;
}

struct cap_ringbuf *cap_ringbuf_close(struct cap_ringbuf *ring)
{
	if (!ring)
		return NULL;
	if (ring->consumer)
		munmap(ring->consumer, ring->page_bytes);
	if (ring->producer)
		munmap((void *)(uintptr_t)ring->producer, ring->page_bytes + 2 * ring->bytes);
	skep_closep(&ring->fd);
	free(ring);
	return NULL;
}

static void ringbuf_closep(struct cap_ringbuf **ring)
{
	*ring = cap_ringbuf_close(*ring);
}

static int map_pages(struct cap_ringbuf *ring)
{
	void *p = mmap(NULL, ring->page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	ring->consumer = p;
	p = mmap(NULL, ring->page_bytes + 2 * ring->bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, ring->fd,
		 (off_t)ring->page_bytes);
	if (p == MAP_FAILED)
		return -errno;
	ring->producer = p;
	ring->data = (const uint8_t *)p + ring->page_bytes;
	return 0;
}

int cap_ringbuf_open(uint32_t bytes, const struct cap_meta_clock *clock, struct cap_ringbuf **ret,
		     struct skep_err *err)
{
	SKEP_CLEANUP(ringbuf_closep) struct cap_ringbuf *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return skep_err_set(err, -ENOMEM, "out of memory");
	ring->bytes = bytes;
	ring->mask = bytes - 1;
	ring->clock = clock;
	ring->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	ring->fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "skep_ring", 0, 0, bytes, NULL);
	r = ring->fd < 0 ? ring->fd : map_pages(ring);
	if (r == -ENOMEM) {
		skep_err_set(err, SKEP_E_NO_SPACE, "not enough kernel memory for a ring of %u bytes", bytes);
		skep_err_hint(err, "capture on fewer queues, or raise the memory limit of this process");
		return SKEP_E_NO_SPACE;
	}
	if (r)
		return skep_err_set(err, r, "cannot make a BPF ring buffer: %s", strerror(-r));
	*ret = TAKE_PTR(ring);
	return 0;
}
