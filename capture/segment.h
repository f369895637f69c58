/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SEGMENT_H
#define CAP_SEGMENT_H
/*
 * One segment file while it is written. Made by the keeper thread, moved to a worker (through
 * cap_files.next), written there, moved back (through cap_files.finished), completed or given up by the
 * keeper.
 *
 * What a reader can have: everything below `durable`. An index entry is settled (its packets are stored) when
 * durable has passed its end; entries behind a failed write are dropped, and the file ends at the last
 * settled entry.
 */
#include "capture/account.h"
#include "capture/block.h"

#include <stdatomic.h>

/*
 * 2^18 entries are 36 h of half-second flushes, or 256 GiB of full blocks, in one file; then entries merge in
 * pairs.
 */
#define CAP_INDEX_MAX (1u << 18)
#define CAP_PREAMBLE_MAX 8192u

struct cap_index_entry {
	uint64_t file_offset;  /* of the first zstd block of the entry (raw files: of the first record) */
	uint64_t raw_offset;   /* in the uncompressed stream */
	uint64_t ts_first_ns;
	uint64_t ts_last_ns;
	uint64_t file_bytes;
	uint64_t raw_bytes;
	uint64_t bytes_wire;
	/* file offset of the header of the entry's last zstd block: the frame can be ended there */
	uint64_t zblock_last;
	uint32_t pkts;
};

struct cap_keeper_lane;

struct cap_write {
	uint64_t end;  /* file offset behind it */
	bool complete;
	bool failed;
};

struct cap_segment {
	/* by the keeper */
	int fd;
	int dirfd;
	struct cap_keeper_lane *lane; /* the keeper's own */
	uint32_t seq;
	bool direct;           /* O_DIRECT: aligned offset, length and memory */
	bool stream;           /* not seekable: stdout, a device; no .part, no rename, one write in flight */
	bool compressed;
	bool prealloc;
	char part[272];        /* file names, relative to dirfd */
	char name[272];
	uint8_t preamble[CAP_PREAMBLE_MAX]; /* zstd frame header and file header, as they go to the file */
	uint32_t preamble_bytes;
	uint32_t preamble_raw_bytes;
	struct cap_index_entry *index; /* CAP_INDEX_MAX, touched as it grows */
	uint64_t started_ns;

	/* by the worker */
	uint64_t off;          /* offset of the next write */
	uint64_t durable;      /* everything below is written */
	uint64_t raw_off;      /* uncompressed bytes so far */
	uint64_t end;          /* exact length, known when ended */
	uint32_t n_index;
	uint32_t n_settled;
	uint32_t inflight;
	struct cap_write writes[CAP_SINK_DEPTH]; /* in flight, in order of offset */
	uint32_t writes_head;
	int error;             /* the write that failed first, -errno */
	bool torn;             /* durable cannot advance any more */
	bool ended;            /* the end marker is part of what was submitted */
	bool level_seen;
	int level_min, level_max;
	struct cap_account account; /* of this segment: stored, dropped (write errors), bytes */

	/* shared while it is written */
	_Atomic uint64_t granted;  /* bytes the keeper has allocated from offset 0 */
	_Atomic uint64_t wanted;   /* the worker will need this much */
	_Atomic uint64_t needed;   /* the worker cannot go on without this much */

	struct cap_segment *next;  /* finished list */
	struct cap_segment *peer;  /* keeper's list of open segments */
};

/* What a lane and the keeper share. */
struct cap_files {
	_Atomic(struct cap_segment *) next;      /* keeper -> worker: ready to be written */
	_Atomic(struct cap_segment *) finished;  /* worker -> keeper: a stack */
	_Atomic bool want_next;
	/* 0, or 1 + enum cap_drop: why there is no segment or no grant */
	_Atomic uint32_t blocked;
	/* stored by the worker's count, lost when the file could not be completed */
	_Atomic uint64_t lost_pkts;
	_Atomic uint64_t lost_bytes_wire;
	_Atomic uint64_t lost_bytes_raw;
	/* bytes of disk that were given up, to be taken off bytes_disk */
	_Atomic uint64_t disk_adjust;
	int wake_fd;                             /* eventfd of the keeper */
};

/* Ended as it should be, and written to the end. */
static inline bool cap_segment_is_whole(const struct cap_segment *seg)
{
	return seg->ended && !seg->error;
}

struct cap_segment *cap_segment_new(struct skep_err *err);
struct cap_segment *cap_segment_free(struct cap_segment *seg);

/*
 * Worker: a write (the oldest in order or not) has completed; advances durable over what is complete in
 * order.
 */
void cap_segment_advance(struct cap_segment *seg);
/*
 * Worker: counts what has become durable as stored, in seg->account and in the lane's. With `final`, what is
 * left goes to dropped[reason].
 */
void cap_segment_settle(struct cap_segment *seg, struct cap_account *lane, bool final, enum cap_drop reason);
/* Worker: gives the segment back and wakes the keeper; returns NULL. */
struct cap_segment *cap_segment_finish(struct cap_segment *seg, struct cap_files *files);
/* Wakes the keeper (a write to an eventfd; never blocks). */
void cap_files_wake(struct cap_files *files);
/* Worker: the index entry to be filled in next; it counts once n_index is raised. */
struct cap_index_entry *cap_segment_entry(struct cap_segment *seg);

#endif
