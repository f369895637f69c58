/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_TESTS_PATHRIG_H
#define SKEP_TESTS_PATHRIG_H
/*
 * The whole packet path on a bench: a source that makes frames from a seed, real workers, a real keeper,
 * real files; and a reader that makes the same frames again and compares byte for byte and in order.
 *
 * A frame is known by its time stamp: RIG_EPOCH_NS + number * ts_step_ns. Worker w serves source w (or one
 * worker all of them), whose frames differ by the queue's number. What goes wrong on another thread is
 * kept in rig->failure and found by rig_assert_ok.
 */
#include "unit.h"

#include "capture/keeper.h"
#include "capture/worker.h"

#define RIG_EPOCH_NS UINT64_C(1700000000000000000)
#define RIG_MAX_WORKERS 4u

enum rig_payload { RIG_RANDOM, RIG_TEXT, RIG_ZERO, RIG_PHASES /* random and text in turns of phase_pkts */ };

struct rig;

struct rig_cfg {
	const char *base;            /* directory in which a new one is made; NULL: /dev/shm */
	enum rig_payload payload;
	uint64_t phase_pkts;
	uint64_t seed;
	uint64_t n_pkts;             /* per source */
	uint32_t size_min, size_max;
	uint32_t reject_every;       /* the job does not want every n-th frame; 0: it wants all */
	bool frags;                  /* some frames in several buffers, some with a VLAN tag put back */
	bool lossy;                  /* frames come whether there is room or not; else the source waits */
	uint64_t pace_ns;            /* at most one batch per this time; 0: as fast as it goes */
	uint32_t batch;              /* frames per batch; 0: CAP_BATCH */
	uint64_t ts_step_ns;         /* 0: 1000 */
	bool pcapng, plain;          /* plain: not compressed */
	bool fixed_level;            /* else auto */
	int level;
	int stream_fd;               /* > 0: written there instead of to files */
	uint32_t pool_blocks;        /* 0: 32 */
	uint32_t n_workers;          /* 0: 1 */
	uint32_t n_sources;          /* > 1: merged by one worker; pcapng only */
	uint32_t pack_threads;
	uint32_t snaplen;            /* 0: everything */
	uint64_t limit_pkts, limit_bytes, duration_ns; /* 0: none */
	uint64_t rotate_raw, rotate_disk, rotate_ns;
	uint32_t keep_files;
	uint64_t reserve_bytes;
	bool stop_when_full, sidecar, buffered;
	uint64_t retry_ns;           /* of the keeper; 0: 2 ms, so that faults do not cost seconds */
	const struct cap_io *io;
	uint64_t sleep_max_ns;       /* of an idle worker; 0: what a live link gets */
	uint32_t stuck_ms;           /* 0: 3000: no progress, so the rig stops, then aborts */
	/* On the worker's thread between two turns; `number` is the next frame's. */
	void (*each_turn)(struct rig *rig, uint32_t worker, uint64_t number);
	void *arg;                   /* for whoever sets the callbacks */
	const struct cap_source_ops *ops; /* of the sources (struct rig_source); NULL: the rig's own */
};

struct rig_source {
	struct cap_source head;
	struct rig *rig;
	uint32_t index;
	uint32_t worker;
	uint64_t next;
	uint64_t due_ns;
	uint8_t *bytes;
	_Atomic bool stop;
	_Atomic uint64_t given;
};

struct rig {
	struct rig_cfg cfg;
	char dir[256];
	struct cap_job job;
	struct cap_output output;
	struct cap_keeper keeper;
	struct cap_worker workers[RIG_MAX_WORKERS];
	struct cap_worker_source worker_sources[RIG_MAX_WORKERS];
	struct cap_channel channels[RIG_MAX_WORKERS];
	struct cap_keeper_lane keeper_lanes[RIG_MAX_WORKERS];
	struct rig_source sources[RIG_MAX_WORKERS];
	struct cap_tap tap;
	uint8_t header[CAP_PREAMBLE_MAX];
	uint32_t header_bytes;
	const uint8_t *noise, *text; /* of the last rig that was made */
	bool aborted, stopped;
	_Atomic bool failed;
	char failure[512];
	uint32_t said;               /* sentences of the keeper */
	char last_said[512];
};

/* What the completed files hold. */
struct rig_read {
	uint64_t n_files, n_parts, n_sidecars, n_index_checked;
	uint64_t pkts, pkts_of[RIG_MAX_WORKERS];
	uint64_t raw_bytes;          /* of records */
	uint64_t disk_bytes;
	uint64_t max_raw, max_disk;  /* of a file, header included */
	uint64_t max_span_ns;        /* between the first and the last packet of a file */
	uint64_t first, last;        /* numbers */
};

/*
 * Makes the directory, the job, the keeper and the workers; nothing runs yet. NULL (with err) if the
 * keeper refuses.
 */
struct rig *rig_new(const struct rig_cfg *cfg, struct skep_err *err);
/* Starts the threads. */
void rig_start(struct rig *rig);
/* Waits for the end of the source and of the files. */
void rig_wait(struct rig *rig);
/* Stops as a signal would: the taps, then the workers. */
void rig_stop(struct rig *rig);
/* rig_start and rig_wait. */
void rig_run(struct rig *rig);
/* Removes the directory too. */
void rig_free(struct rig *rig);

/* Sum of the published accounts, less what the keeper lost: as cap_engine_totals. */
void rig_totals(struct rig *rig, struct cap_account *ret);
/*
 * Fails the test with what any thread noticed; checks seen = stored + rejected + dropped and nothing
 * pending.
 */
void rig_assert_ok(struct rig *rig);
/* Reads all completed files and compares; anything torn or different fails the test. */
void rig_read(struct rig *rig, struct rig_read *ret);
/* rig_assert_ok, rig_read, and packets and bytes in the files = account. */
void rig_verify(struct rig *rig, struct cap_account *ret_account, struct rig_read *ret_read);
/*
 * Reads one file that may end anywhere. Returns the packets that are whole; every one of them must be
 * right and in order, and *ret_last is the last one's number + 1.
 */
uint64_t rig_read_torn(struct rig *rig, const char *path, uint32_t queue, uint64_t *ret_last);
/* Makes frame `number` of a queue; returns its size. buf has room for size_max bytes. */
uint32_t rig_frame(const struct rig *rig, uint32_t queue, uint64_t number, uint8_t *buf);
bool rig_wanted(const struct rig *rig, uint64_t number);
/* Notes a failure from any thread; the first one counts. */
void rig_fail(struct rig *rig, const char *fmt, ...) SKEP_PRINTF(2, 3);

#endif
