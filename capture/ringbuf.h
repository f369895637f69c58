/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_RINGBUF_H
#define CAP_RINGBUF_H
/*
 * The reading end of a BPF ring buffer that holds frames (bpf/mirror.bpf.c).
 *
 * Threads: open, close by the control thread; receive, release, backlog by the one worker.
 */
#include "capture/frame.h"
#include "capture/meta.h"
#include "common/err.h"

struct cap_ringbuf;

/* Creates the ring; bytes is a power of two. */
int cap_ringbuf_open(uint32_t bytes, const struct cap_meta_clock *clock, struct cap_ringbuf **ret,
		     struct skep_err *err);
/* Takes NULL; returns NULL. */
struct cap_ringbuf *cap_ringbuf_close(struct cap_ringbuf *ring);
/* The map, to be put into the program's map of rings. */
int cap_ringbuf_fd(const struct cap_ringbuf *ring);

int cap_ringbuf_receive(struct cap_ringbuf *ring, struct cap_batch *batch);
void cap_ringbuf_release(struct cap_ringbuf *ring, struct cap_batch *batch);
/* In units of the smallest record: an upper bound of the frames that wait. */
uint32_t cap_ringbuf_backlog(struct cap_ringbuf *ring);
/* Forgets what was written, for a ring whose records only ring (the bells of bpf/prefilter.bpf.c). */
void cap_ringbuf_skip(struct cap_ringbuf *ring);
uint32_t cap_ringbuf_slots(const struct cap_ringbuf *ring);

#endif
