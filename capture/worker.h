/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_WORKER_H
#define CAP_WORKER_H
/*
 * A worker: one thread, pinned to one core, with one or more sources, one channel per job, one pool and one
 * ring.
 */
#include "capture/channel.h"
#include "capture/source.h"

#include <pthread.h>

enum cap_worker_state {
	CAP_WORKER_RUN,     /* receiving */
	CAP_WORKER_DRAIN,   /* the taps are stopped: receive what is in the rings, then end the files */
	CAP_WORKER_ABORT,   /* do not wait for a disk that does not move: drop by name what is not written */
	CAP_WORKER_DONE,
};

struct cap_worker_source {
	struct cap_source *src;
	uint32_t interface_id;
	bool ended;
	bool empty;                  /* the last look found nothing */
	struct cap_batch batch;
	uint32_t at;                 /* merging: frames before this one have been taken */
	uint64_t received;           /* ever */
};

struct cap_worker {
	char name[16];
	int cpu;                     /* -1: not pinned */
	int numa_node;
	uint32_t pool_blocks;
	const struct cap_io *io;
	/* eventfd of the control thread: told when a job is done, a channel gone */
	int wake_fd;
	struct cap_worker_source *sources;
	uint32_t n_sources;
	uint32_t pack_threads;       /* per channel; 0: the worker packs */
	bool lossless;               /* sources wait for us: never take what cannot be kept */
	bool spin;                   /* busy polling: never sleep */
	uint64_t sleep_max_ns;

	int bell_fd; /* eventfd: ends the worker's sleep */
	struct cap_channel *channels[CAP_MAX_JOBS]; /* the worker's own: one per job */
	uint32_t n_channels;
	_Atomic(struct cap_channel *) incoming;
	struct cap_pool pool;
	struct cap_sink sink;
	uint8_t *scratch;
	pthread_t thread;
	bool running;
	_Atomic uint32_t state;
	uint64_t turns;
	/* adaptive sleep */
	uint64_t rate_pps;           /* smoothed */
	uint64_t rate_since_ns;
	uint64_t rate_pkts;
	int broken;                  /* -errno of a source that broke */
};

/* Pool and ring. The fields above `channels` must be set. */
int cap_worker_init(struct cap_worker *worker, struct skep_err *err);
int cap_worker_start(struct cap_worker *worker, struct skep_err *err);
/*
 * Makes the channel (zeroed, but for lane.job, lane.files and the like) fit for this worker: compressor,
 * pool. After cap_worker_init; any number of times. cap_channel_fini frees what it made, also after a
 * failure.
 */
int cap_channel_init(struct cap_channel *channel, struct cap_worker *worker, struct skep_err *err);
void cap_channel_fini(struct cap_channel *channel);
/*
 * Gives the channel to the worker, before or while that runs: it takes part from the next turn on. Starts the
 * packer threads, if there are to be any. On failure the channel is the caller's as before.
 */
int cap_worker_add(struct cap_worker *worker, struct cap_channel *channel, struct skep_err *err);
/* Ends its sleep: something was asked of it, or of one of its channels. */
void cap_worker_wake(struct cap_worker *worker);
/* Asks the thread for the next state (only forward). */
void cap_worker_ask(struct cap_worker *worker, enum cap_worker_state state);
bool cap_worker_done(const struct cap_worker *worker);
void cap_worker_join(struct cap_worker *worker);
void cap_worker_fini(struct cap_worker *worker);
/* The whole loop on the calling thread (tests; the thread's main function). */
void cap_worker_run(struct cap_worker *worker);
/* One turn of the loop: true if anything was received, packed, submitted or completed. */
bool cap_worker_turn(struct cap_worker *worker);

#endif
