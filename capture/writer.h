/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_WRITER_H
#define CAP_WRITER_H
/*
 * The emptying end of a lane: sealed blocks -> packed -> segment file. One step is a bounded piece of work
 * (at most one zstd block, or one submission), so the worker's loop is never away from the receive ring for
 * long. Thread: the worker's.
 */
#include "capture/lane.h"
#include "capture/pack.h"
#include "capture/segment.h"
#include "capture/sink.h"

struct cap_crew;

struct cap_writer {
	struct cap_lane *lane;
	struct cap_pool *pool;
	struct cap_sink *sink;
	struct cap_files *files;
	struct cap_packer *packer;     /* one per lane: a block is packed in slices */
	struct cap_crew *crew;         /* packer threads, or NULL */
	struct cap_segment *seg;       /* being written, or NULL */
	struct cap_segment *closing;   /* ended, writes still in flight */
	/* PLAIN block being packed in slices, or whose packed form is being moved to out */
	struct cap_block *current;
	struct cap_block *packed;      /* that form, from the crew */
	struct cap_block *out;         /* packed bytes that are not submitted yet, at file offset seg->off */
	struct cap_index_entry *entry; /* of the current block */
	uint64_t pack_ns;              /* spent on the current block so far */
	uint64_t busy_ns;              /* spent packing, ever */
	uint64_t out_since_ns;         /* monotonic: when the oldest packet in out came */
	bool want_flush;               /* write out now, padded */
	bool ending;                   /* the job is over: end the segment when the queue is empty */
	struct cap_account reported;   /* what earlier segments said of the lane's account */
	bool done;                     /* ended; nothing is left to do */
	/* the stream broke: nothing may follow, not even another file header */
	bool cut;
	uint32_t n_segments;           /* taken so far */
	uint64_t n_ends;               /* ends of files met in the queue; the lane has made n_ends */
	uint64_t bytes_disk;           /* submitted to files that count */
};

int cap_writer_init(struct cap_writer *writer, struct skep_err *err);
void cap_writer_fini(struct cap_writer *writer);
/* One step; false if there is nothing to do now (or nothing can be done now). */
bool cap_writer_step(struct cap_writer *writer);
/* Settles what has been written; call after cap_sink_reap. */
void cap_writer_settle(struct cap_writer *writer);
/* Ends the segment after what is queued. cap_writer_step goes on until writer->done. */
void cap_writer_end(struct cap_writer *writer);
/* Its writes that the kernel has not completed. */
uint32_t cap_writer_inflight(const struct cap_writer *writer);
/*
 * Gives up: drops what is not written for a reason, and hands the segment back as it is. In flight writes
 * must be reaped first.
 */
void cap_writer_abandon(struct cap_writer *writer, enum cap_drop reason);

#endif
