/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segment book-keeping on the worker's side: which bytes are durable, which packets are therefore stored.
 * Pure memory; the only system call is the wake-up of the keeper.
 */
#include "capture/segment.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct cap_segment *cap_segment_new(struct skep_err *err)
{
	struct cap_segment *seg = calloc(1, sizeof(*seg));

	if (!seg) {
		skep_err_set(err, -ENOMEM, "no memory for a segment");
		return NULL;
	}
	/* Not reserved: a page is used when an entry on it is. */
	seg->index = mmap(NULL, CAP_INDEX_MAX * sizeof(*seg->index), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (seg->index == MAP_FAILED) {
		skep_err_set(err, -errno, "no memory for a segment's index");
		free(seg);
		return NULL;
	}
	seg->fd = -1;
	return seg;
}

struct cap_segment *cap_segment_free(struct cap_segment *seg)
{
	if (!seg)
		return NULL;
	skep_closep(&seg->fd);
	munmap(seg->index, CAP_INDEX_MAX * sizeof(*seg->index));
	free(seg);
	return NULL;
}

void cap_segment_advance(struct cap_segment *seg)
{
	while (seg->inflight > 0) {
		const struct cap_write *w = &seg->writes[seg->writes_head % CAP_SINK_DEPTH];

		if (!w->complete)
			return;
		if (w->failed)
			seg->torn = true;
		if (!seg->torn)
			seg->durable = w->end;
		seg->writes_head++;
		seg->inflight--;
	}
}

void cap_segment_settle(struct cap_segment *seg, struct cap_account *lane, bool final, enum cap_drop reason)
{
	while (seg->n_settled < seg->n_index) {
		const struct cap_index_entry *e = &seg->index[seg->n_settled];

		if (e->file_offset + e->file_bytes > seg->durable)
			break;
		seg->account.stored += e->pkts;
		seg->account.bytes_wire += e->bytes_wire;
		seg->account.bytes_raw += e->raw_bytes;
		lane->stored += e->pkts;
		lane->bytes_wire += e->bytes_wire;
		lane->bytes_raw += e->raw_bytes;
		assert(lane->pending >= e->pkts);
		lane->pending -= e->pkts;
		seg->n_settled++;
	}
	if (!final)
		return;
	for (uint32_t i = seg->n_settled; i < seg->n_index; i++) {
		uint32_t pkts = seg->index[i].pkts;

		lane->dropped[reason] += pkts;
		assert(lane->pending >= pkts);
		lane->pending -= pkts;
	}
	seg->n_index = seg->n_settled;
}

static void merge_entry(struct cap_index_entry *to, const struct cap_index_entry *e)
{
	to->file_bytes = e->file_offset + e->file_bytes - to->file_offset;
	to->raw_bytes = e->raw_offset + e->raw_bytes - to->raw_offset;
	to->bytes_wire += e->bytes_wire;
	to->ts_first_ns = SKEP_MIN(to->ts_first_ns, e->ts_first_ns);
	to->ts_last_ns = SKEP_MAX(to->ts_last_ns, e->ts_last_ns);
	to->zblock_last = e->zblock_last;
	to->pkts += e->pkts;
}

/* The index is full (after a day of half-second flushes): settled entries are merged in pairs. */
static void compact(struct cap_segment *seg)
{
	uint32_t pairs = seg->n_settled / 2, rest = seg->n_index - 2 * pairs;

	for (uint32_t i = 0; i < pairs; i++) {
		struct cap_index_entry e = seg->index[2 * i];

		merge_entry(&e, &seg->index[2 * i + 1]);
		seg->index[i] = e;
	}
	memmove(&seg->index[pairs], &seg->index[2 * pairs], rest * sizeof(*seg->index));
	seg->n_index -= pairs;
	seg->n_settled -= pairs;
}

struct cap_index_entry *cap_segment_entry(struct cap_segment *seg)
{
	struct cap_index_entry *e;

	if (seg->n_index == CAP_INDEX_MAX)
		compact(seg);
	assert(seg->n_index < CAP_INDEX_MAX); /* what is not settled is in flight: a few entries */
	e = &seg->index[seg->n_index];
	memset(e, 0, sizeof(*e));
	return e;
}

void cap_files_wake(struct cap_files *files)
{
	skep_ring_bell(files->wake_fd);
}

struct cap_segment *cap_segment_finish(struct cap_segment *seg, struct cap_files *files)
{
	struct cap_segment *top = atomic_load_explicit(&files->finished, memory_order_relaxed);

	assert(seg->inflight == 0);
	do
		seg->next = top;
	while (!atomic_compare_exchange_weak_explicit(&files->finished, &top, seg, memory_order_release,
						      memory_order_relaxed));
	cap_files_wake(files);
	return NULL;
}
