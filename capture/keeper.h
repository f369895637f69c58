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
	bool deleted;        /* by -b files:N */
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
};

struct cap_keeper {
	const struct cap_io *io;
	struct cap_keeper_lane *lanes;
	uint32_t n_lanes;
	bool stop_when_full;
	uint64_t retry_ns;             /* a full or failing disk is tried again after this; 0: 200 ms */
	void (*say)(void *arg, const char *sentence);
	void *say_arg;
	struct cap_digest *digest;     /* NULL: no digests */

	/* its own */
	pthread_t thread;
	bool running;
	int wake_fd;
	_Atomic bool stop;
	struct cap_segment *open;      /* handed out, not back yet */
	bool direct_said;
	/* completed files; read after cap_keeper_stop, or under the lock */
	pthread_mutex_t lock;
	struct cap_kept *kept;
	size_t n_kept, room_kept;
	uint64_t bytes_kept;
	uint32_t lost_files;           /* could not be completed: left as .part */
};

/*
 * The lanes must be filled in but for files. Makes the first segment of each lane, so that a directory that
 * cannot be written is refused here.
 */
int cap_keeper_init(struct cap_keeper *keeper, struct skep_err *err);
int cap_keeper_start(struct cap_keeper *keeper, struct skep_err *err);
/* After all workers have ended: completes what they gave back and removes what was never used. Idempotent. */
void cap_keeper_stop(struct cap_keeper *keeper);
void cap_keeper_fini(struct cap_keeper *keeper);
/* One turn, for tests; the thread does the same. True if something is waiting for a retry. */
bool cap_keeper_turn(struct cap_keeper *keeper);

#endif
