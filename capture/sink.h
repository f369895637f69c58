/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SINK_H
#define CAP_SINK_H
/*
 * Blocks to files through io_uring. Submit, reap and flush are kept apart; what is in flight is counted.
 * Thread: the worker's, after cap_sink_enable; nothing blocks but cap_sink_wait.
 */
#include "capture/block.h"
#include "capture/io.h"

#include <liburing.h>

struct cap_sink {
	struct io_uring ring;
	struct cap_pool *pool;
	const struct cap_io *io;
	uint32_t inflight;
	uint32_t unsubmitted;
	bool fixed;            /* the pool is registered: WRITE_FIXED */
	bool deferred;         /* DEFER_TASKRUN: completions are run when we ask */
	bool restricted;       /* the kernel takes writes and cancellations, and nothing else */
	bool enabled;
	uint64_t writes;
	uint64_t short_writes;
	uint64_t retries;
	bool buffered_said;    /* a file fell back from direct to buffered writes */
};

/* Any thread; the ring starts disabled. Falls back to plain flags on older kernels. */
int cap_sink_init(struct cap_sink *sink, struct cap_pool *pool, const struct cap_io *io,
		  struct skep_err *err);
/* The worker's thread, once, before anything else. */
int cap_sink_enable(struct cap_sink *sink);
/* Waits for what is in flight, then frees the ring. */
void cap_sink_fini(struct cap_sink *sink);

/* True if the segment can take one more write now. */
bool cap_sink_ready(const struct cap_sink *sink, const struct cap_segment *seg);
/*
 * Takes the block and writes its first len bytes at seg->off, which advances. Only when cap_sink_ready.
 * On completion the block goes back to the pool; an error is found in seg->error. Returns NULL.
 */
struct cap_block *cap_sink_submit(struct cap_sink *sink, struct cap_segment *seg, struct cap_block *block,
				  uint32_t len);
/* Tells the kernel of what was submitted since; one system call, none if there is nothing. */
void cap_sink_flush(struct cap_sink *sink);
/* Handles what has completed; returns the number of writes. */
uint32_t cap_sink_reap(struct cap_sink *sink);
/*
 * Asks the kernel to give up what is in flight (a pipe that nobody reads, a disk that hangs); what can be
 * cancelled fails with -ECANCELED.
 */
void cap_sink_cancel(struct cap_sink *sink);
/* Sleeps until something completes, at most timeout_ns. */
void cap_sink_wait(struct cap_sink *sink, uint64_t timeout_ns);

#endif
