/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disk end of the path: registered buffers, up to CAP_SINK_DEPTH writes in flight per worker, at explicit
 * offsets.
 *
 * A short write is continued; EAGAIN and EINTR are repeated; EINVAL on the first direct write means that the
 * file system refuses O_DIRECT after all, and the file goes on buffered. Any other error breaks the segment
 * (seg->error), never the worker. SQPOLL is not used: on a pinned core it fights with the worker (measured: a
 * quarter of the speed). DEFER_TASKRUN runs completions only when we ask, so they do not interrupt the packet
 * loop.
 */
#include "capture/sink.h"

#include "capture/segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define RING_ENTRIES (4u * CAP_SINK_DEPTH)
/*
 * A block that was written short or sent back this often is given up: 1 MiB in 4 KiB pieces, and as many
 * interruptions.
 */
#define WRITE_TRIES (2u * CAP_BLOCK_BYTES / CAP_ALIGN)

/*
 * From its start on the ring does what this file asks of it and nothing else: a program that is confined by
 * seccomp would otherwise have every opcode of io_uring as a way around. Linux 5.10; without, the ring is as
 * open as any.
 */
static bool restrict_ring(struct io_uring *ring)
{
	static const uint8_t opcodes[] = {
		IORING_OP_WRITE, IORING_OP_WRITE_FIXED, IORING_OP_ASYNC_CANCEL,
		IORING_OP_NOP, /* an injected fault */
		IORING_OP_TIMEOUT, /* before 5.11 waiting with a limit is a request of its own */
	};
	struct io_uring_restriction rules[ARRAY_LEN(opcodes)];

	memset(rules, 0, sizeof(rules));
	for (size_t i = 0; i < ARRAY_LEN(opcodes); i++) {
		rules[i].opcode = IORING_RESTRICTION_SQE_OP;
		rules[i].sqe_op = opcodes[i];
	}
	return io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, rules,
				 ARRAY_LEN(rules)) >= 0;
}

int cap_sink_init(struct cap_sink *sink, struct cap_pool *pool, const struct cap_io *io, struct skep_err *err)
{
	struct iovec iov = { .iov_base = pool->memory, .iov_len = pool->bytes };
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED,
	};
	int r;

	memset(sink, 0, sizeof(*sink));
	sink->io = io;
	sink->deferred = true;
	r = io_uring_queue_init_params(RING_ENTRIES, &sink->ring, &params);
	if (r == -EINVAL) { /* before 6.1 */
		memset(&params, 0, sizeof(params));
		params.flags = IORING_SETUP_R_DISABLED;
		sink->deferred = false;
		r = io_uring_queue_init_params(RING_ENTRIES, &sink->ring, &params);
	}
	if (r < 0) {
		skep_err_set(err, r, "cannot set up io_uring: %s", strerror(-r));
		skep_err_hint(err, "check /proc/sys/kernel/io_uring_disabled and the container's seccomp profile");
		return r;
	}
	sink->pool = pool; /* from here on there is something to free */
	/* Not registered (locked-memory limit): plain writes work as well, only a little slower. */
	sink->fixed = io_uring_register_buffers(&sink->ring, &iov, 1) == 0;
	sink->restricted = restrict_ring(&sink->ring);
	return 0;
}

int cap_sink_enable(struct cap_sink *sink)
{
	/* liburing 2.3 declares io_uring_enable_rings() but its shared library does not export it. */
	int r = io_uring_register((unsigned)sink->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	if (r >= 0)
		sink->ring.flags &= ~IORING_SETUP_R_DISABLED;
	sink->enabled = r >= 0;
	return r < 0 ? r : 0;
}

void cap_sink_fini(struct cap_sink *sink)
{
	if (!sink->pool)
		return;
	while (sink->enabled && sink->inflight > 0) {
		cap_sink_flush(sink);
		cap_sink_wait(sink, SKEP_NSEC_PER_SEC);
		cap_sink_reap(sink);
	}
	io_uring_queue_exit(&sink->ring);
	memset(sink, 0, sizeof(*sink));
}

bool cap_sink_ready(const struct cap_sink *sink, const struct cap_segment *seg)
{
	return sink->inflight < CAP_SINK_DEPTH && seg->inflight < (seg->stream ? 1u : CAP_SINK_DEPTH);
}

static void queue_write(struct cap_sink *sink, struct cap_block *block)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&sink->ring);
	const struct cap_segment *seg = block->segment;
	uint8_t *data = block->data + block->write_done;
	uint32_t len = block->write_len - block->write_done;
	uint64_t off = seg->stream ? (uint64_t)-1 : block->write_off + block->write_done;
	int32_t fault = sink->io->ring_write ? sink->io->ring_write(sink->io->arg, len) : 0;

	assert(sqe); /* the ring has four times the entries that can be in flight */
	block->forced = fault < 0 ? fault : 0;
	if (fault > 0 && (uint32_t)fault < len)
		len = (uint32_t)fault;
	if (fault < 0)
		io_uring_prep_nop(sqe);
	else if (sink->fixed)
		io_uring_prep_write_fixed(sqe, seg->fd, data, len, off, 0);
	else
		io_uring_prep_write(sqe, seg->fd, data, len, off);
	io_uring_sqe_set_data(sqe, block);
	sink->unsubmitted++;
}

struct cap_block *cap_sink_submit(struct cap_sink *sink, struct cap_segment *seg, struct cap_block *block,
				  uint32_t len)
{
	assert(cap_sink_ready(sink, seg) && len > 0 && len <= CAP_BLOCK_BYTES);
	assert(!seg->direct || (seg->off % CAP_ALIGN == 0 && len % CAP_ALIGN == 0));
	block->segment = seg;
	block->write_off = seg->off;
	block->write_len = len;
	block->write_done = 0;
	block->write_tries = 0;
	block->write_slot = (seg->writes_head + seg->inflight) % CAP_SINK_DEPTH;
	seg->inflight++;
	seg->off += len;
	seg->writes[block->write_slot] = (struct cap_write){ .end = seg->off };
	sink->inflight++;
	queue_write(sink, block);
	return NULL;
}

void cap_sink_flush(struct cap_sink *sink)
{
	while (sink->unsubmitted > 0) {
		int r = io_uring_submit(&sink->ring);

		if (r == -EINTR)
			continue;
		if (r < 0)
			return; /* EAGAIN, EBUSY: the kernel is short of memory; the next turn tries again */
		sink->unsubmitted -= SKEP_MIN((uint32_t)r, sink->unsubmitted);
		if (r == 0)
			return;
	}
}

/* True if the write was queued again and is still in flight. */
static bool retry_write(struct cap_sink *sink, struct cap_block *block, int res)
{
	struct cap_segment *seg = block->segment;

	if (++block->write_tries > WRITE_TRIES)
		return false;
	if (res == -EAGAIN || res == -EINTR) {
		sink->retries++;
	} else if (res == -EINVAL && seg->direct && seg->durable == 0) {
		int flags = fcntl(seg->fd, F_GETFL);

		if (flags < 0 || fcntl(seg->fd, F_SETFL, flags & ~O_DIRECT) < 0)
			return false;
		seg->direct = false;
		sink->buffered_said = true;
	} else if (res == -EINVAL && !seg->direct && sink->buffered_said && block->write_done == 0 &&
		   seg->durable == 0) {
		sink->retries++; /* was in flight while the file changed to buffered */
	} else if (res > 0) {
		block->write_done += (uint32_t)res;
		sink->short_writes++;
		if (seg->direct && block->write_done % CAP_ALIGN) /* go on where direct I/O can */
			block->write_done -= block->write_done % CAP_ALIGN;
	} else {
		return false;
	}
	queue_write(sink, block);
	return true;
}

static void complete_write(struct cap_sink *sink, struct cap_block *block, int res)
{
	struct cap_segment *seg = block->segment;

	if (block->forced)
		res = block->forced;
	if (res != (int)(block->write_len - block->write_done)) {
		if (retry_write(sink, block, res))
			return;
		seg->writes[block->write_slot].failed = true;
		if (!seg->error)
			seg->error = res < 0 ? res : -EIO;
	}
	seg->writes[block->write_slot].complete = true;
	sink->inflight--;
	sink->writes++;
	cap_segment_advance(seg);
	cap_pool_put(sink->pool, block);
}

uint32_t cap_sink_reap(struct cap_sink *sink)
{
	struct io_uring_cqe *cqe;
	uint32_t n = 0, seen = 0;
	unsigned head;

	if (sink->inflight == 0)
		return 0;
	if (sink->deferred)
		(void)io_uring_get_events(&sink->ring);
	io_uring_for_each_cqe(&sink->ring, head, cqe) {
		struct cap_block *block = io_uring_cqe_get_data(cqe);

		seen++;
		if (!block) /* the answer to a cancellation */
			continue;
		n++;
		complete_write(sink, block, cqe->res);
	}
	io_uring_cq_advance(&sink->ring, seen);
	return n;
}

void cap_sink_cancel(struct cap_sink *sink)
{
	struct io_uring_sqe *sqe;

	if (sink->inflight == 0)
		return;
	sqe = io_uring_get_sqe(&sink->ring);
	if (!sqe)
		return;
	io_uring_prep_cancel(sqe, NULL, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
	io_uring_sqe_set_data(sqe, NULL);
	sink->unsubmitted++;
	cap_sink_flush(sink);
}

void cap_sink_wait(struct cap_sink *sink, uint64_t timeout_ns)
{
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(timeout_ns / SKEP_NSEC_PER_SEC),
		.tv_nsec = (long long)(timeout_ns % SKEP_NSEC_PER_SEC),
	};
	struct io_uring_cqe *cqe;

	(void)io_uring_wait_cqe_timeout(&sink->ring, &cqe, &ts);
}
