/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_XSK_H
#define CAP_XSK_H
/*
 * One AF_XDP socket with its own UMEM, for one RX queue.
 *
 * Threads: open, close, stats, pokes by the control thread; receive, release, backlog, wake by the one
 * worker.
 */
#include "capture/frame.h"
#include "capture/meta.h"
#include "capture/source.h"
#include "common/err.h"

#include <stdbool.h>

struct cap_xsk_cfg {
	const char *ifname;
	uint32_t queue;
	uint32_t mtu;
	int numa_node;	     /* -1: anywhere */
	uint32_t ring_slots; /* power of two; RX ring, fill ring and chunks */
	enum cap_tristate zero_copy;
	bool need_wakeup;
	bool busy_poll;
	void (*say)(void *arg, const char *sentence); /* why opening takes longer; may be NULL */
	void *say_arg;
};

struct cap_xsk;

/*
 * Refusals in words; SKEP_E_BUSY: a socket of another program on the queue, within a second; what is left of
 * a dead program's is waited for. SKEP_E_UNSUPPORTED: zero copy asked for and not to be had.
 */
int cap_xsk_open(const struct cap_xsk_cfg *cfg, const struct cap_meta_clock *clock, struct cap_xsk **ret,
		 struct skep_err *err);
/*
 * Takes NULL; returns NULL. The program must be off the hook before: else the kernel may touch memory that
 * goes away.
 */
struct cap_xsk *cap_xsk_close(struct cap_xsk *xsk);

int cap_xsk_fd(const struct cap_xsk *xsk);
bool cap_xsk_zero_copy(const struct cap_xsk *xsk);
bool cap_xsk_multi_buffer(const struct cap_xsk *xsk);
/* True if a frame of this MTU fits one buffer. */
bool cap_xsk_fits(const struct cap_xsk *xsk, uint32_t mtu);

struct cap_xsk_stats {
	uint64_t received; /* frames handed to the worker */
	uint64_t rx_ring_full;
	uint64_t fill_ring_empty;
	uint64_t oversize; /* longer than a buffer and no multi-buffer support, or too many for a batch */
	uint64_t no_meta;  /* frames that came without metadata: stamped by our own clock */
};
/* Every frame the program redirected here is in exactly one of the four first counters or still in the ring.
 */
void cap_xsk_stats(struct cap_xsk *xsk, struct cap_xsk_stats *ret);
/*
 * Starvation watchdog, called some times a second: if nothing came since the last call, poll() makes drivers
 * that stopped for want of buffers look into the fill ring again (some never do by themselves).
 */
void cap_xsk_poke(struct cap_xsk *xsk);

int cap_xsk_receive(struct cap_xsk *xsk, struct cap_batch *batch);
void cap_xsk_release(struct cap_xsk *xsk, struct cap_batch *batch);
uint32_t cap_xsk_backlog(struct cap_xsk *xsk);

#endif
