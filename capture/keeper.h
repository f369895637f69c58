/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_KEEPER_H
#define CAP_KEEPER_H
/*
 * The keeper thread does for the workers everything with files that can take time: opens the next segment
 * before it is needed, allocates extents ahead of the writes, watches free space, and completes segments
 * (end, truncate, fsync, rename, sidecar). Workers and the keeper meet in struct cap_files, without locks.
 */
#include "capture/io.h"
#include "capture/job.h"
#include "capture/output.h"
#include "capture/segment.h"
#include "capture/sidecar.h"

#include <pthread.h>

struct cap_digest;
struct cap_tap;

struct cap_keeper_lane;

/* A file that was completed. */
struct cap_kept {
	char name[272];
	const struct cap_keeper_lane *lane;
	uint64_t bytes;
	uint64_t pkts;
	bool complete;
};

/* One lane as the keeper sees it. */
struct cap_keeper_lane {
	struct cap_files files;
	const struct cap_output *output;
	struct cap_job *job;
	const struct cap_tap *tap;
	struct cap_sidecar template;   /* the facts that do not change; strings live as long as the keeper */
	char link[64];
	uint32_t queue;
	uint32_t seq;                  /* of the next segment */
	uint8_t header[CAP_PREAMBLE_MAX]; /* pcap file header, or SHB and IDBs: what every file begins with */
	uint32_t header_bytes;
	uint64_t retry_ns;             /* monotonic: not before */
	bool full_said, error_said;
	uint64_t bytes_kept;           /* of completed files that are still there */
	uint32_t lost_files;           /* could not be completed: left as .part */
	_Atomic uint64_t n_done;       /* files that were given back, completed or not */
	/* control -> keeper: its workers have ended; keeper -> control: nothing of it is left to do */
	_Atomic bool closing;
	_Atomic bool closed;
	struct cap_keeper_lane *peer;  /* the keeper's list */
};

struct cap_keeper {
	const struct cap_io *io;
	bool stop_when_full;
	uint64_t retry_ns;             /* a full or failing disk is tried again after this; 0: 200 ms */
	void (*say)(void *arg, const char *sentence);
	void *say_arg;
	struct cap_digest *digest;     /* NULL: no digests */
	/* A file was completed, or is lost (complete is false); the keeper's thread, or whoever stops it. */
	void (*kept_one)(void *arg, const struct cap_kept *kept);
	void *kept_arg;
	/* eventfd of the control thread, told when a file is done or a lane closed; 0: none */
	int done_fd;

	/* its own */
	pthread_t thread;
	bool running;
	int wake_fd;
	_Atomic bool stop;
	struct cap_keeper_lane *lanes;
	_Atomic(struct cap_keeper_lane *) incoming;
	struct cap_segment *open;      /* handed out, not back yet */
	bool direct_said;
	/* completed files; read after cap_keeper_stop, or under the lock */
	pthread_mutex_t lock;
	struct cap_kept *kept;
	size_t n_kept, room_kept;
};

int cap_keeper_init(struct cap_keeper *keeper, struct skep_err *err);
/*
 * Before start: makes the first segment of the lane (filled in but for files), so that a directory that
 * cannot be written is refused here. The lane is the caller's and lives until it is closed, or the keeper
 * stopped.
 */
int cap_keeper_open(struct cap_keeper *keeper, struct cap_keeper_lane *lane, struct skep_err *err);
int cap_keeper_start(struct cap_keeper *keeper, struct skep_err *err);
/* After start, any thread: the keeper will make the lane's first segment; what goes wrong blocks the lane. */
void cap_keeper_add(struct cap_keeper *keeper, struct cap_keeper_lane *lane);
/* After the lane's worker has ended it: completes what it gave back; `closed` is set when that is done. */
void cap_keeper_close(struct cap_keeper *keeper, struct cap_keeper_lane *lane);
/* Forgets the completed files of a lane that is closed, so that it can be freed. */
void cap_keeper_forget(struct cap_keeper *keeper, const struct cap_keeper_lane *lane);
/* After all workers have ended: completes what they gave back and removes what was never used. Idempotent. */
void cap_keeper_stop(struct cap_keeper *keeper);
void cap_keeper_fini(struct cap_keeper *keeper);
/* One turn, for tests; the thread does the same. True if something is waiting for a retry. */
bool cap_keeper_turn(struct cap_keeper *keeper);

#endif
