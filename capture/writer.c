/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From sealed blocks to submitted writes.
 *
 * Compressed files: PLAIN blocks are packed slice by slice into `out` (1 MiB); when out is full its aligned
 * part is submitted and the tail (under 4 KiB) moves to the next out. STORED blocks are submitted as they
 * are, after out was padded to the alignment and submitted. Uncompressed files: blocks are submitted as they
 * are, at any offset (buffered writes). A segment whose write failed is closed at once; the block that was
 * being packed starts over in the next segment, and what was packed but not durable is dropped by name when
 * the segment settles.
 */
#include "capture/writer.h"

#include "capture/crew.h"
#include "capture/mono.h"
#include "capture/zframe.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

int cap_writer_init(struct cap_writer *writer, struct skep_err *err)
{
	return cap_packer_new(&writer->packer, err);
}

void cap_writer_fini(struct cap_writer *writer)
{
	writer->packer = cap_packer_free(writer->packer);
}

/* Asks the keeper for space up to `end`; true if it is there. */
static bool granted(struct cap_writer *writer, uint64_t end)
{
	struct cap_segment *seg = writer->seg;

	if (SKEP_LIKELY(end <= atomic_load_explicit(&seg->granted, memory_order_acquire))) {
		/* Ask for the next extent long before this one is used up. */
		if (end + CAP_GRANT_BYTES / 2 > atomic_load_explicit(&seg->wanted, memory_order_relaxed)) {
			atomic_store_explicit(&seg->wanted, end + CAP_GRANT_BYTES, memory_order_relaxed);
			cap_files_wake(writer->files);
		}
		return true;
	}
	if (atomic_load_explicit(&seg->needed, memory_order_relaxed) < end) {
		atomic_store_explicit(&seg->needed, end, memory_order_relaxed);
		atomic_store_explicit(&seg->wanted, end + CAP_GRANT_BYTES, memory_order_relaxed);
		cap_files_wake(writer->files);
	}
	return false;
}

static bool can_submit(struct cap_writer *writer, uint32_t len)
{
	return cap_sink_ready(writer->sink, writer->seg) && granted(writer, writer->seg->off + len);
}

static void submit(struct cap_writer *writer, struct cap_block *block, uint32_t len)
{
	writer->bytes_disk += len;
	(void)cap_sink_submit(writer->sink, writer->seg, block, len);
}

static bool need_out(struct cap_writer *writer)
{
	if (!writer->out) {
		writer->out = cap_pool_get_for(writer->pool, &writer->lane->share);
		writer->out_since_ns = writer->current ? writer->current->opened_ns : UINT64_MAX;
	}
	return writer->out;
}

/* Position in the file of the next packed byte. */
static uint64_t position(const struct cap_writer *writer)
{
	return writer->seg->off + (writer->out ? writer->out->used : 0);
}

static uint32_t pad_bytes(const struct cap_writer *writer, const struct cap_block *out)
{
	return writer->seg->compressed && !writer->seg->stream ? cap_zframe_pad_bytes(out->used) : 0;
}

/* Submits all of out, which has room for the padding. */
static bool submit_padded(struct cap_writer *writer, uint32_t pad)
{
	struct cap_block *out = writer->out;

	if (!can_submit(writer, out->used + pad))
		return false;
	cap_zframe_pad(out->data + out->used, pad);
	submit(writer, TAKE_PTR(writer->out), out->used + pad);
	return true;
}

/*
 * Makes room for one more slice: submits the aligned part and carries the tail over. Without a block to carry
 * it to, it is padded: waiting for one while holding one could be for ever, with other writers doing so, too.
 */
static bool roll_out(struct cap_writer *writer)
{
	struct cap_block *out = writer->out, *fresh;
	uint32_t whole = out->used & ~(CAP_ALIGN - 1), tail = out->used - whole, pad = pad_bytes(writer, out);

	if (writer->seg->stream)
		return submit_padded(writer, 0);
	if (!can_submit(writer, whole))
		return false;
	fresh = cap_pool_get_for(writer->pool, &writer->lane->share);
	if (!fresh)
		return out->used + pad <= CAP_BLOCK_BYTES && submit_padded(writer, pad);
	memcpy(fresh->data, out->data + whole, tail);
	fresh->used = tail;
	submit(writer, out, whole);
	writer->out = fresh;
	if (writer->current) /* else the tail belongs to a block before: as old as it was */
		writer->out_since_ns = writer->current->opened_ns;
	return true;
}

/* Submits all of out; compressed files are padded to the alignment first. */
static bool submit_out(struct cap_writer *writer)
{
	struct cap_block *out = writer->out;
	uint32_t pad;

	if (!out || out->used == 0)
		return true;
	pad = pad_bytes(writer, out);
	if (out->used + pad > CAP_BLOCK_BYTES)
		return roll_out(writer) && submit_out(writer);
	return submit_padded(writer, pad);
}

static bool take_segment(struct cap_writer *writer)
{
	struct cap_segment *seg;

	/* First, because who waits for a file, maybe for ever, must not keep a block meanwhile. */
	if (!atomic_load_explicit(&writer->files->next, memory_order_relaxed)) {
		if (!atomic_exchange_explicit(&writer->files->want_next, true, memory_order_relaxed))
			cap_files_wake(writer->files);
		return false;
	}
	if (!need_out(writer))
		return false;
	seg = atomic_exchange_explicit(&writer->files->next, NULL, memory_order_acquire);
	assert(seg); /* nobody else takes it */
	assert(writer->out->used == 0);
	memcpy(writer->out->data, seg->preamble, seg->preamble_bytes);
	writer->out->used = seg->preamble_bytes;
	writer->out_since_ns = writer->lane->now_ns;
	seg->raw_off = seg->preamble_raw_bytes;
	writer->seg = seg;
	writer->n_segments++;
	return true;
}

/* The segment is over: successfully ended, or broken. */
static void close_segment(struct cap_writer *writer)
{
	assert(!writer->closing);
	if (writer->out)
		writer->out = cap_pool_put(writer->pool, writer->out);
	writer->entry = NULL;
	writer->ending = false;
	writer->want_flush = false;
	writer->closing = TAKE_PTR(writer->seg);
}

static void begin_entry(struct cap_writer *writer)
{
	struct cap_index_entry *e = cap_segment_entry(writer->seg);

	e->file_offset = position(writer);
	e->raw_offset = writer->seg->raw_off;
	writer->entry = e;
	if (writer->current)
		writer->out_since_ns = SKEP_MIN(writer->out_since_ns, writer->current->opened_ns);
}

/* The block is in the file (packed or submitted): its packets now hang on the file's durability. */
static void end_entry(struct cap_writer *writer, const struct cap_block *block, uint64_t zblock_last,
		      uint64_t file_end)
{
	struct cap_segment *seg = writer->seg;
	struct cap_index_entry *e = writer->entry;

	writer->entry = NULL;
	seg->raw_off += block->raw_bytes;
	e->file_bytes = file_end - e->file_offset;
	e->raw_bytes = block->raw_bytes;
	e->bytes_wire = block->bytes_wire;
	e->ts_first_ns = block->ts_first_ns;
	e->ts_last_ns = block->ts_last_ns;
	e->zblock_last = zblock_last;
	e->pkts = block->pkts;
	seg->n_index++;
	if (!seg->level_seen || block->level < seg->level_min)
		seg->level_min = block->level;
	if (!seg->level_seen || block->level > seg->level_max)
		seg->level_max = block->level;
	seg->level_seen = true;
	/* Once for each file: blocks of one that is to end may still wait when the next has begun. */
	if (writer->lane->job->rotate_disk_bytes && file_end >= writer->lane->job->rotate_disk_bytes &&
	    writer->lane->n_ends == writer->n_ends)
		writer->lane->rotate_soon = true;
}

/* Behind this block the file ends, if the lane says so. */
static void meet_end(struct cap_writer *writer, const struct cap_block *block)
{
	writer->ending = block->ends_segment;
	writer->n_ends += block->ends_segment;
}

/*
 * Writes the end of the file into out: end marker, zeros up to the alignment; then
 * submits it.
 */
static bool end_segment(struct cap_writer *writer)
{
	struct cap_segment *seg = writer->seg;
	uint32_t used, padded;

	if (!need_out(writer))
		return false;
	if (!seg->compressed || seg->stream) {
		if (seg->compressed && !seg->ended) {
			if (writer->out->used > CAP_BLOCK_BYTES - CAP_ZFRAME_END_BYTES && !submit_out(writer))
				return false;
			if (!need_out(writer))
				return false;
			cap_zframe_end(writer->out->data + writer->out->used);
			writer->out->used += CAP_ZFRAME_END_BYTES;
			seg->ended = true;
		}
		seg->end = position(writer);
		if (!submit_out(writer))
			return false;
		seg->ended = true;
		close_segment(writer);
		return true;
	}
	if (writer->out->used > CAP_BLOCK_BYTES - CAP_ALIGN && (!roll_out(writer) || !need_out(writer)))
		return false;
	used = writer->out->used;
	padded = (uint32_t)skep_align_up(used + CAP_ZBLOCK_HEADER, CAP_ALIGN);
	if (!can_submit(writer, padded))
		return false;
	memset(writer->out->data + used, 0, padded - used);
	cap_zframe_end(writer->out->data + used);
	seg->end = seg->off + used + CAP_ZBLOCK_HEADER;
	seg->ended = true;
	submit(writer, TAKE_PTR(writer->out), padded);
	close_segment(writer);
	return true;
}

/* A block that goes to disk as it is. */
static bool step_whole(struct cap_writer *writer)
{
	struct cap_block *block = writer->lane->sealed.head;
	uint32_t len = block->used, pad = 0;
	uint64_t at;

	if (block->pkts == 0) { /* only a marker */
		block = cap_queue_pop(&writer->lane->sealed);
		meet_end(writer, block);
		(void)cap_pool_put(writer->pool, block);
		return true;
	}
	if (!submit_out(writer))
		return false;
	at = writer->seg->off;
	if (writer->seg->compressed) {
		pad = cap_zframe_pad_bytes(at + len);
		block->level = CAP_LEVEL_STORE;
	}
	if (!can_submit(writer, len + pad))
		return false;
	if (writer->seg->compressed)
		cap_zframe_pad(block->data + len, pad);
	block = cap_queue_pop(&writer->lane->sealed);
	begin_entry(writer);
	end_entry(writer, block, at + block->zblock_last, at + len);
	meet_end(writer, block);
	submit(writer, block, len + pad);
	return true;
}

/* out has room for a slice, and behind it for the padding of roll_out. */
static bool make_room(struct cap_writer *writer)
{
	if (writer->out && CAP_BLOCK_BYTES - writer->out->used < CAP_PACK_SLICE_BOUND + 2 * CAP_ALIGN &&
	    !roll_out(writer))
		return false;
	return need_out(writer);
}

static int choose_level(struct cap_lane *lane)
{
	bool low = lane->pool->n_free < CAP_POOL_RESERVE + lane->pool->n_blocks / 2;

	/*
	 * Blocks always wait behind a source that waits for them; nothing is lost by compressing them well.
	 */
	return lane->patient ? cap_level_choose(&lane->level, 0, false)
			     : cap_level_choose(&lane->level, lane->sealed.n, low);
}

static void start_block(struct cap_writer *writer)
{
	writer->current = cap_queue_pop(&writer->lane->sealed);
	writer->current->level = choose_level(writer->lane);
	writer->pack_ns = 0;
	begin_entry(writer);
}

static void finish_block(struct cap_writer *writer, size_t zblock_last)
{
	struct cap_block *block = writer->current;
	uint64_t end = position(writer);
	uint64_t packed = end - writer->entry->file_offset;

	if (block->level != CAP_LEVEL_STORE) /* else it says nothing about the payload */
		cap_level_result(&writer->lane->level, block->raw_bytes, (uint32_t)packed, writer->pack_ns,
				 writer->lane->now_ns);
	end_entry(writer, block, zblock_last, end);
	meet_end(writer, block);
	if (block->raw_bytes < CAP_BLOCK_BYTES / 2) /* sealed by age: must not wait in out */
		writer->want_flush = true;
	writer->current = cap_pool_put(writer->pool, block);
}

/* One slice of the current block. */
static bool step_slice(struct cap_writer *writer)
{
	uint64_t before, took;
	size_t last, n;

	if (!make_room(writer))
		return false;
	if (!writer->current) {
		if (writer->lane->sealed.head->pkts == 0)
			return step_whole(writer);
		start_block(writer);
	}
	before = cap_mono_ns();
	n = cap_packer_slice(writer->packer, writer->current, writer->out->data + writer->out->used,
			     CAP_BLOCK_BYTES - writer->out->used, &last);
	last += position(writer);
	writer->out->used += (uint32_t)n;
	took = cap_mono_ns() - before;
	writer->pack_ns += took;
	writer->busy_ns += took;
	if (writer->current->packed == writer->current->used)
		finish_block(writer, last);
	return true;
}

/* Keeps the packer threads busy; a block that is not for them stays at the head of the queue. */
static bool feed_crew(struct cap_writer *writer)
{
	struct cap_lane *lane = writer->lane;
	bool fed = false;

	while (lane->sealed.head && lane->sealed.head->layout == CAP_LAYOUT_PLAIN &&
	       lane->sealed.head->pkts > 0 && cap_crew_ready(writer->crew) &&
	       writer->pool->n_free > CAP_SINK_DEPTH) {
		struct cap_block *block = cap_queue_pop(&lane->sealed);

		block->level = choose_level(lane);
		cap_crew_give(writer->crew, block, cap_pool_get(writer->pool));
		fed = true;
	}
	return fed;
}

/* One slice of a block that a packer thread has packed moves to out. */
static bool step_packed(struct cap_writer *writer)
{
	struct cap_block *packed;
	uint32_t n;

	if (!writer->packed &&
	    !cap_crew_take(writer->crew, &writer->current, &writer->packed, &writer->pack_ns))
		return false;
	if (!make_room(writer))
		return false;
	if (!writer->entry)
		begin_entry(writer);
	packed = writer->packed;
	n = SKEP_MIN(packed->used - packed->packed, CAP_ZBLOCK_MAX);
	memcpy(writer->out->data + writer->out->used, packed->data + packed->packed, n);
	writer->out->used += n;
	packed->packed += n;
	if (packed->packed < packed->used)
		return true;
	finish_block(writer, writer->entry->file_offset + packed->zblock_last);
	writer->packed = cap_pool_put(writer->pool, packed);
	return true;
}

static bool step_queue(struct cap_writer *writer)
{
	const struct cap_block *head = writer->lane->sealed.head;

	if (!writer->seg->compressed)
		return step_whole(writer);
	if (writer->crew) {
		bool fed = feed_crew(writer);

		if (writer->packed || cap_crew_pending(writer->crew))
			return step_packed(writer) || fed;
	}
	if (!writer->current && head->layout == CAP_LAYOUT_STORED)
		return step_whole(writer);
	return step_slice(writer);
}

/* A failed write: the rest of the file is lost, the blocks in memory are not. */
static void break_segment(struct cap_writer *writer)
{
	writer->cut |= writer->seg->stream;
	if (writer->packed) {
		writer->packed->packed = 0; /* copied again, into the next file */
	} else if (writer->current) {
		/* back to the head of the queue, to be packed again */
		writer->current->packed = 0;
		writer->current->next = writer->lane->sealed.head;
		writer->lane->sealed.head = writer->current;
		if (!writer->lane->sealed.tail)
			writer->lane->sealed.tail = writer->current;
		writer->lane->sealed.n++;
		writer->current = NULL;
	}
	close_segment(writer);
}

static bool has_work(const struct cap_writer *writer)
{
	return writer->current || writer->lane->sealed.n > 0 ||
	       (writer->crew && cap_crew_pending(writer->crew));
}

/* Waits for what is with the packer threads and gives it up. */
static void recall_crew(struct cap_writer *writer)
{
	struct cap_block *in, *out;
	uint64_t took_ns;

	if (writer->packed) {
		writer->packed = cap_pool_put(writer->pool, writer->packed);
		writer->current = cap_queue_push(&writer->lane->sealed, writer->current);
	}
	while (cap_crew_pending(writer->crew)) {
		if (!cap_crew_take(writer->crew, &in, &out, &took_ns)) {
			sched_yield();
			continue;
		}
		out = cap_pool_put(writer->pool, out);
		in = cap_queue_push(&writer->lane->sealed, in);
	}
}

bool cap_writer_step(struct cap_writer *writer)
{
	struct cap_lane *lane = writer->lane;
	bool work = has_work(writer);

	if (writer->done)
		return false;
	if (writer->cut) {
		if (writer->crew)
			recall_crew(writer);
		cap_lane_drop_sealed(lane, CAP_DROP_WRITE_ERROR);
		writer->done = lane->finished && !writer->closing;
		return false;
	}
	if (!writer->seg) {
		if (lane->finished && !work && writer->n_segments > 0) {
			writer->done = !writer->closing;
			return false;
		}
		if (!work && !lane->finished && writer->n_segments > 0)
			return false; /* the next file is opened for its first packet */
		if (!take_segment(writer))
			return false;
	}
	if (writer->seg->error || writer->ending) {
		if (writer->closing)
			return false; /* one at a time */
		if (!writer->seg->error)
			return end_segment(writer);
		break_segment(writer);
		return true;
	}
	if (work)
		return step_queue(writer);
	if (writer->out && writer->out->used &&
	    lane->now_ns - SKEP_MIN(lane->now_ns, writer->out_since_ns) >= CAP_FLUSH_NS)
		writer->want_flush = true;
	if (writer->want_flush) {
		if (!submit_out(writer))
			return false;
		writer->want_flush = false;
		return true;
	}
	writer->ending = lane->finished;
	return writer->ending;
}

static enum cap_drop reason_of(int error)
{
	return error == -ENOSPC || error == -EDQUOT ? CAP_DROP_DISK_FULL : CAP_DROP_WRITE_ERROR;
}

/*
 * What was rejected and dropped since the last segment belongs to this one, so that the segments of a lane
 * add up.
 */
static void report_segment(struct cap_writer *writer, struct cap_segment *seg)
{
	struct cap_account now = writer->lane->account;
	const struct cap_account *a = &now;

	now.rejected += atomic_load_explicit(&writer->lane->rejected_before, memory_order_relaxed);
	seg->account.rejected = a->rejected - writer->reported.rejected;
	for (unsigned i = 0; i < CAP_DROP_N; i++)
		seg->account.dropped[i] = a->dropped[i] - writer->reported.dropped[i];
	writer->reported = *a;
}

void cap_writer_settle(struct cap_writer *writer)
{
	struct cap_segment *seg = writer->closing;

	if (writer->seg)
		cap_segment_settle(writer->seg, &writer->lane->account, false, 0);
	if (!seg || seg->inflight > 0)
		return;
	cap_segment_settle(seg, &writer->lane->account, true, reason_of(seg->error));
	report_segment(writer, seg);
	writer->closing = NULL;
	(void)cap_segment_finish(seg, writer->files);
}

uint32_t cap_writer_inflight(const struct cap_writer *writer)
{
	return (writer->seg ? writer->seg->inflight : 0) + (writer->closing ? writer->closing->inflight : 0);
}

void cap_writer_end(struct cap_writer *writer)
{
	writer->lane->finished = true;
}

void cap_writer_abandon(struct cap_writer *writer, enum cap_drop reason)
{
	if (writer->done)
		return;
	if (writer->crew)
		recall_crew(writer);
	if (writer->seg)
		break_segment(writer);
	cap_lane_drop_sealed(writer->lane, reason);
	if (writer->closing) {
		struct cap_segment *seg = TAKE_PTR(writer->closing);

		assert(seg->inflight == 0);
		cap_segment_settle(seg, &writer->lane->account, true,
				   seg->error ? reason_of(seg->error) : reason);
		report_segment(writer, seg);
		(void)cap_segment_finish(seg, writer->files);
	}
	writer->done = true;
}
