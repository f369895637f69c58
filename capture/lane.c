/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lanes: from a batch of frames that belong to the kernel to records in blocks that belong to us.
 *
 * Order of the tests: the job's clock, its filter, its budgets (taken once per batch, in order, so that
 * limits hold at the exact packet), and only then a copy. A frame behind the packet at which a limit was
 * reached was never part of the job: it is not counted. Invariant at every return: received = stored +
 * rejected + dropped + pending.
 */
#include "capture/lane.h"

#include "capture/capwrite.h"
#include "capture/decap.h"
#include "capture/filter/reducer.h"
#include "capture/filter_user.h"
#include "capture/segment.h"
#include "capture/zframe.h"

#include <assert.h>
#include <string.h>

/* Bytes of a STORED block that one zstd block header separates. */
#define STORED_RUN (CAP_ZBLOCK_MAX - CAP_ZBLOCK_HEADER)
/* A PLAIN block that does not shrink still fits into one block as raw zstd blocks. */
#define PLAIN_MAX (CAP_BLOCK_BYTES - CAP_ALIGN)
_Static_assert(CAP_ALIGN > (CAP_BLOCK_BYTES / CAP_ZBLOCK_MAX + 1) * CAP_ZBLOCK_HEADER, "room for the headers");
/* A STORED block leaves room for the shortest padding that always exists (see cap_zframe). */
#define STORED_MAX (CAP_BLOCK_BYTES - 6u)

/* Bytes that say of which flow a frame is (capture/filter/reducer.h). */
#define REDUCE_LOOK 256u

struct selection {
	uint32_t n;
	uint32_t offered;          /* frames that were looked at for the job */
	uint64_t bytes;            /* of all records */
	uint16_t frame[CAP_BATCH];
	uint32_t keep[CAP_BATCH];  /* bytes of the frame to store */
	uint32_t record[CAP_BATCH]; /* bytes of the record */
};

enum cap_drop cap_lane_drop_reason(const struct cap_lane *lane)
{
	uint32_t blocked =
		lane->files ? atomic_load_explicit(&lane->files->blocked, memory_order_relaxed) : 0;

	return blocked ? (enum cap_drop)(blocked - 1) : CAP_DROP_BUFFERS_FULL;
}

/* Ends the raw zstd blocks of a STORED block: now their sizes are known. */
static void close_stored(struct cap_block *block)
{
	for (uint32_t at = 0; at < block->used; at += CAP_ZBLOCK_MAX) {
		uint32_t size = SKEP_MIN(block->used - at, CAP_ZBLOCK_MAX) - CAP_ZBLOCK_HEADER;

		cap_zframe_block(block->data + at, CAP_ZFRAME_RAW, size, false);
		block->zblock_last = at;
	}
}

static void seal(struct cap_lane *lane)
{
	if (lane->block->layout == CAP_LAYOUT_STORED)
		close_stored(lane->block);
	lane->block = cap_queue_push(&lane->sealed, lane->block);
}

static bool open_block(struct cap_lane *lane)
{
	if (!cap_pool_allows(lane->pool, &lane->share))
		return false;
	lane->block = cap_pool_get_for(lane->pool, &lane->share);
	lane->block->opened_ns = lane->now_ns;
	if (lane->compressed)
		lane->block->layout = cap_level_layout(&lane->level);
	if (lane->block->layout == CAP_LAYOUT_STORED)
		lane->block->used = CAP_ZBLOCK_HEADER;
	return true;
}

/* The next packet begins a new file. */
static bool rotate(struct cap_lane *lane)
{
	if (!lane->block && !open_block(lane))
		return false;
	if (lane->block->pkts == 0 && lane->block->layout == CAP_LAYOUT_STORED) {
		lane->block->layout = CAP_LAYOUT_PLAIN; /* only a marker */
		lane->block->used = 0;
	}
	lane->block->ends_segment = true;
	lane->n_ends++;
	seal(lane);
	lane->segment_raw_bytes = lane->header_raw_bytes;
	lane->segment_start_ns = 0;
	lane->rotate_soon = false;
	return true;
}

static bool rotation_due(const struct cap_lane *lane, uint64_t ts_ns, uint32_t record)
{
	const struct cap_job *job = lane->job;

	if (lane->segment_start_ns == 0)
		return false; /* every file gets at least one packet */
	if (job->rotate_raw_bytes && lane->segment_raw_bytes + record > job->rotate_raw_bytes)
		return true;
	if (job->rotate_ns && ts_ns >= lane->segment_start_ns + job->rotate_ns)
		return true;
	return lane->rotate_soon;
}

/* A block with room for the record, or false. */
static bool make_room(struct cap_lane *lane, uint32_t record)
{
	for (;;) {
		uint32_t limit = PLAIN_MAX, need = record;

		if (!lane->block && !open_block(lane))
			return false;
		if (lane->block->layout == CAP_LAYOUT_STORED) {
			limit = STORED_MAX;
			need += CAP_ZBLOCK_HEADER * (record / STORED_RUN + 1);
		}
		if (lane->block->used + need <= limit)
			return true;
		assert(lane->block->pkts > 0); /* a record is much smaller than a block */
		seal(lane);
	}
}

/* Appends bytes, leaving out the places of zstd block headers in a STORED block. */
static void put(struct cap_block *block, const uint8_t *src, uint32_t len)
{
	while (len > 0) {
		uint32_t n = len;

		if (block->layout == CAP_LAYOUT_STORED) {
			uint32_t in_run = block->used % CAP_ZBLOCK_MAX;

			if (in_run == 0) {
				block->used += CAP_ZBLOCK_HEADER;
				continue;
			}
			n = SKEP_MIN(n, CAP_ZBLOCK_MAX - in_run);
		}
		memcpy(block->data + block->used, src, n);
		block->used += n;
		src += n;
		len -= n;
	}
}

static void put_frame(struct cap_block *block, const struct cap_batch *batch, const struct cap_frame *frame,
		      uint32_t keep)
{
	uint32_t n = SKEP_MIN(frame->len, keep);

	put(block, frame->data, n);
	for (uint32_t i = 0; i < frame->frag_n && n < keep; i++) {
		const struct cap_frag *frag = &batch->frags[frame->frag_first + i];
		uint32_t m = SKEP_MIN(frag->len, keep - n);

		put(block, frag->data, m);
		n += m;
	}
	assert(n == keep);
}

static void append_pcapng(struct cap_lane *lane, const struct cap_batch *batch, const struct cap_frame *frame,
			  uint32_t keep, uint32_t interface_id)
{
	uint8_t head[CAP_CAPWRITE_EPB_HEADER_BYTES], tail[CAP_CAPWRITE_EPB_MAX_TAIL_BYTES];
	uint32_t tail_bytes;

	cap_capwrite_epb_header(head, interface_id, frame->ts_ns, keep, frame->wire_len);
	tail_bytes = cap_capwrite_epb_tail(tail, keep);
	put(lane->block, head, sizeof(head));
	put_frame(lane->block, batch, frame, keep);
	put(lane->block, tail, tail_bytes);
}

static void append_pcap(struct cap_lane *lane, const struct cap_batch *batch, const struct cap_frame *frame,
			uint32_t keep)
{
	struct cap_block *block = lane->block;
	uint32_t record = CAP_CAPWRITE_PCAP_RECORD_BYTES + keep;
	uint32_t in_run = block->layout == CAP_LAYOUT_STORED ? block->used % CAP_ZBLOCK_MAX : 1;
	uint8_t head[CAP_CAPWRITE_PCAP_RECORD_BYTES];

	/* The usual case: one buffer, and no zstd block header falls into the record. */
	if (SKEP_LIKELY(keep <= frame->len && in_run > 0 &&
			(block->layout == CAP_LAYOUT_PLAIN || in_run + record <= CAP_ZBLOCK_MAX))) {
		uint8_t *p = block->data + block->used;

		cap_capwrite_pcap_record(p, frame->ts_ns, keep, frame->wire_len);
		memcpy(p + CAP_CAPWRITE_PCAP_RECORD_BYTES, frame->data, keep);
		block->used += record;
		return;
	}
	cap_capwrite_pcap_record(head, frame->ts_ns, keep, frame->wire_len);
	put(block, head, sizeof(head));
	put_frame(block, batch, frame, keep);
}

static bool append(struct cap_lane *lane, const struct cap_batch *batch, const struct cap_frame *frame,
		   uint32_t keep, uint32_t record, uint32_t interface_id)
{
	struct cap_block *block;

	if (SKEP_UNLIKELY(rotation_due(lane, frame->ts_ns, record)) && !rotate(lane))
		return false;
	if (!make_room(lane, record))
		return false;
	block = lane->block;
	if (lane->job->pcapng)
		append_pcapng(lane, batch, frame, keep, interface_id);
	else
		append_pcap(lane, batch, frame, keep);
	if (block->pkts++ == 0) {
		block->ts_first_ns = block->ts_last_ns = frame->ts_ns;
	} else {
		block->ts_first_ns = SKEP_MIN(block->ts_first_ns, frame->ts_ns);
		block->ts_last_ns = SKEP_MAX(block->ts_last_ns, frame->ts_ns);
	}
	block->raw_bytes += record;
	block->bytes_wire += frame->wire_len;
	lane->segment_raw_bytes += record;
	if (lane->segment_start_ns == 0) {
		lane->segment_start_ns = SKEP_MAX(frame->ts_ns, 1u);
		lane->segment_opened_ns = lane->now_ns;
	}
	return true;
}

/* Where the records that fit the open block without a zstd block header among them must end. */
static uint32_t run_end(const struct cap_block *block)
{
	uint32_t boundary = (uint32_t)skep_align_up(block->used, CAP_ZBLOCK_MAX);

	return block->layout == CAP_LAYOUT_PLAIN ? PLAIN_MAX : SKEP_MIN(boundary, STORED_MAX);
}

/*
 * The usual case, many records at a time: pcap, frames of one buffer, and nothing between them and the end of
 * the open block. From sel->frame[k]; returns how many were copied. What is left is for append().
 */
static uint32_t append_run(struct cap_lane *lane, const struct cap_batch *batch, const struct selection *sel,
			   uint32_t k)
{
	const struct cap_job *job = lane->job;
	struct cap_block *block = lane->block;
	uint64_t first_ns, last_ns, wire = 0, due_ns = UINT64_MAX;
	uint32_t from = k, at, end;

	if (!block || !block->pkts || !lane->segment_start_ns || lane->rotate_soon)
		return 0;
	if (job->pcapng || lane->decap)
		return 0;
	at = block->used;
	end = run_end(block);
	if (job->rotate_raw_bytes) {
		uint64_t used = SKEP_MIN(job->rotate_raw_bytes, lane->segment_raw_bytes);

		end = (uint32_t)SKEP_MIN(end, at + job->rotate_raw_bytes - used);
	}
	if (job->rotate_ns)
		due_ns = lane->segment_start_ns + job->rotate_ns;
	first_ns = block->ts_first_ns;
	last_ns = block->ts_last_ns;
	for (; k < sel->n; k++) {
		const struct cap_frame *frame = &batch->frames[sel->frame[k]];
		uint32_t keep = sel->keep[k], record = CAP_CAPWRITE_PCAP_RECORD_BYTES + keep;

		if (at + record > end || keep > frame->len || frame->ts_ns >= due_ns)
			break;
		cap_capwrite_pcap_record(block->data + at, frame->ts_ns, keep, frame->wire_len);
		memcpy(block->data + at + CAP_CAPWRITE_PCAP_RECORD_BYTES, frame->data, keep);
		at += record;
		wire += frame->wire_len;
		first_ns = SKEP_MIN(first_ns, frame->ts_ns);
		last_ns = SKEP_MAX(last_ns, frame->ts_ns);
	}
	block->ts_first_ns = first_ns;
	block->ts_last_ns = last_ns;
	block->pkts += k - from;
	block->bytes_wire += wire;
	block->raw_bytes += at - block->used;
	lane->segment_raw_bytes += at - block->used;
	block->used = at;
	return k - from;
}

/* Bytes of the frame to keep, after snaplen and trim. */
static uint32_t keep_bytes(const struct cap_lane *lane, const struct cap_batch *batch,
			   const struct cap_frame *frame)
{
	uint32_t keep = SKEP_MIN(frame->cap_len, lane->job->snaplen);

	if (lane->job->trim)
		keep = SKEP_MIN(keep, cap_trim_bytes(lane->job->trim, batch, frame));
	return keep;
}

static uint32_t record_bytes(const struct cap_lane *lane, uint32_t keep)
{
	return lane->job->pcapng ? cap_capwrite_epb_bytes(keep) : CAP_CAPWRITE_PCAP_RECORD_BYTES + keep;
}

/* The filter wants it; what do sampling and the cut-off say? */
static bool survives(struct cap_lane *lane, const struct cap_batch *batch, const struct cap_frame *frame)
{
	const uint8_t *bytes = frame->data;
	uint32_t len = SKEP_MIN(frame->len, frame->cap_len);

	if (frame->frag_n && len < REDUCE_LOOK) {
		len = cap_trim_gather(batch, frame, lane->scratch, REDUCE_LOOK);
		bytes = lane->scratch;
	}
	return flt_reducer_take(lane->reducer, bytes, len, frame->wire_len);
}

static void count_reduced(struct cap_lane *lane)
{
	struct flt_reduce_account reduced;

	flt_reducer_account(lane->reducer, &reduced);
	lane->account.sampled_out = reduced.sampled_out_pkts;
	lane->account.cut_off = reduced.cut_off_pkts;
}

static bool wants(struct cap_lane *lane, const struct cap_batch *batch, const struct cap_frame *frame)
{
	if (!(frame->jobs >> lane->job->slot & 1))
		return false;
	if (batch->filtered)
		return true;
	if (lane->job->filter && !cap_filter_user_match(lane->job->filter, batch, frame, lane->scratch))
		return false;
	return !lane->reducer || survives(lane, batch, frame);
}

/* The mask says whether a frame is the job's, and only snaplen what is kept of it. */
static bool is_plain(const struct cap_lane *lane, const struct cap_batch *batch)
{
	const struct cap_job *job = lane->job;

	return (batch->filtered || (!job->filter && !lane->reducer)) && !lane->decap && !job->trim &&
	       !job->pcapng;
}

/* Chooses what the job wants of [from, to); returns the first frame behind the job's end, or `to`. */
static uint32_t scan_plain(const struct cap_lane *lane, const struct cap_batch *batch, uint32_t from,
			   uint32_t to, uint64_t end_ns, struct selection *sel)
{
	const uint32_t slot = lane->job->slot, snaplen = lane->job->snaplen;
	uint64_t bytes = 0;
	uint32_t n = 0, i;

	for (i = from; i < to; i++) {
		const struct cap_frame *frame = &batch->frames[i];
		uint32_t keep = SKEP_MIN(frame->cap_len, snaplen);

		if (SKEP_UNLIKELY(frame->ts_ns >= end_ns))
			break;
		if (!(frame->jobs >> slot & 1))
			continue;
		sel->frame[n] = (uint16_t)i;
		sel->keep[n] = keep;
		sel->record[n] = CAP_CAPWRITE_PCAP_RECORD_BYTES + keep;
		bytes += CAP_CAPWRITE_PCAP_RECORD_BYTES + keep;
		n++;
	}
	sel->n = n;
	sel->bytes = bytes;
	return i;
}

static uint32_t scan(struct cap_lane *lane, const struct cap_batch *batch, uint32_t from, uint32_t to,
		     uint64_t end_ns, struct selection *sel)
{
	uint32_t i;

	sel->n = 0;
	sel->bytes = 0;
	for (i = from; i < to; i++) {
		const struct cap_frame *frame = &batch->frames[i];

		if (SKEP_UNLIKELY(frame->ts_ns >= end_ns))
			break;
		if (!wants(lane, batch, frame))
			continue;
		sel->frame[sel->n] = (uint16_t)i;
		if (lane->decap) {
			const struct cap_batch *inner = cap_decap_look(lane->decap, batch, i);

			sel->keep[sel->n] = keep_bytes(lane, inner, &inner->frames[0]);
		} else {
			sel->keep[sel->n] = keep_bytes(lane, batch, frame);
		}
		sel->record[sel->n] = record_bytes(lane, sel->keep[sel->n]);
		sel->bytes += sel->record[sel->n];
		sel->n++;
	}
	return i;
}

/* Chooses frames from [from, to) until the budgets end; returns the first frame that was not looked at. */
static uint32_t choose(struct cap_lane *lane, const struct cap_batch *batch, uint32_t from, uint32_t to,
		       struct selection *sel)
{
	struct cap_job *job = lane->job;
	uint64_t end_ns = cap_job_end_ns(job, batch->frames[from].ts_ns);
	uint32_t granted, i;

	i = is_plain(lane, batch) ? scan_plain(lane, batch, from, to, end_ns, sel)
				  : scan(lane, batch, from, to, end_ns, sel);
	if (SKEP_UNLIKELY(i < to))
		cap_job_end(job, CAP_JOB_END_DURATION);
	granted = cap_job_take_pkts(job, sel->n);
	if (granted < sel->n) {
		i = granted ? sel->frame[granted - 1] + 1u : from;
		sel->n = granted;
		if (granted == 0)
			cap_job_end(job, CAP_JOB_END_PKTS);
		sel->bytes = 0;
		for (uint32_t k = 0; k < granted; k++)
			sel->bytes += sel->record[k];
	}
	if (job->limits_bytes && sel->n && !cap_job_take_bytes(job, sel->bytes)) {
		uint32_t k = 0;

		while (k < sel->n && cap_job_take_bytes(job, sel->record[k]))
			k++;
		cap_job_refund(job, sel->n - k, 0);
		/* what follows the last packet that fits is not part of the job */
		i = k ? sel->frame[k - 1] + 1u : from;
		sel->n = k;
		cap_job_end(job, CAP_JOB_END_BYTES);
	}
	/* What the source's filters rejected for this job was never offered to it: they count it. */
	sel->offered = batch->filtered ? sel->n : i - from;
	return i;
}

/* Frames behind the end of the job. */
static void count_late(struct cap_lane *lane, const struct cap_batch *batch, uint32_t from, uint32_t to)
{
	uint32_t n = to - from;

	if (batch->filtered) {
		n = 0;
		for (uint32_t i = from; i < to; i++)
			n += batch->frames[i].jobs >> lane->job->slot & 1;
		lane->account.matched += n;
		lane->account.matched_after_end += n;
	}
	lane->account.after_end += n;
}

void cap_lane_take(struct cap_lane *lane, const struct cap_batch *batch, uint32_t from, uint32_t to,
		   uint32_t interface_id)
{
	struct cap_job *job = lane->job;
	struct selection sel;

	while (from < to && !atomic_load_explicit(&job->done, memory_order_relaxed)) {
		uint32_t end = choose(lane, batch, from, to, &sel);
		uint32_t lost_pkts = 0;
		uint64_t lost_bytes = 0;

		for (uint32_t k = 0; (k += append_run(lane, batch, &sel, k)) < sel.n; k++) {
			const struct cap_batch *b = batch;
			uint32_t i = sel.frame[k];

			if (lane->decap) {
				b = cap_decap_take(lane->decap, batch, i);
				i = 0;
			}
			if (append(lane, b, &b->frames[i], sel.keep[k], sel.record[k], interface_id))
				continue;
			lost_pkts++;
			lost_bytes += sel.record[k];
		}
		if (lost_pkts) {
			lane->account.dropped[cap_lane_drop_reason(lane)] += lost_pkts;
			cap_job_refund(job, lost_pkts, lost_bytes);
		}
		lane->account.pending += sel.n - lost_pkts;
		lane->account.rejected += sel.offered - sel.n;
		lane->account.matched += batch->filtered ? sel.n : 0;
		lane->received += sel.offered;
		from = end;
	}
	if (lane->reducer)
		count_reduced(lane);
	if (SKEP_UNLIKELY(from < to))
		count_late(lane, batch, from, to);
	if (job->limits_pkts && atomic_load_explicit(&job->budget->pkts_left, memory_order_relaxed) <= 0)
		cap_job_end(job, CAP_JOB_END_PKTS);
}

void cap_lane_age(struct cap_lane *lane, bool force)
{
	const struct cap_job *job = lane->job;

	if (lane->block && lane->block->pkts > 0 &&
	    (force || lane->now_ns - lane->block->opened_ns >= CAP_FLUSH_NS))
		seal(lane);
	/* On a silent link the clock rotates; where time is that of a file's packets, only they do. */
	if (job->rotate_ns && !job->clock_from_packets && !force && lane->segment_start_ns &&
	    lane->now_ns - lane->segment_opened_ns >= job->rotate_ns)
		(void)rotate(lane);
	if (force && lane->block) /* opened for a packet that never came */
		lane->block = cap_pool_put(lane->pool, lane->block);
}

bool cap_lane_rotate(struct cap_lane *lane)
{
	return !lane->segment_start_ns || rotate(lane);
}

void cap_lane_drop_sealed(struct cap_lane *lane, enum cap_drop reason)
{
	struct cap_block *block;

	while ((block = cap_queue_pop(&lane->sealed))) {
		lane->account.dropped[reason] += block->pkts;
		lane->account.pending -= block->pkts;
		block = cap_pool_put(lane->pool, block);
	}
}
