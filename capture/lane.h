/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_LANE_H
#define CAP_LANE_H
/*
 * A lane = one job on one worker: chooses among the frames that are offered, copies what is wanted into its
 * block (the one copy of the path), seals full or aged blocks into its queue, from which the writer takes
 * them. Thread: the worker's. Nothing here allocates, locks or fails; what cannot be kept is counted.
 */
#include "capture/account.h"
#include "capture/block.h"
#include "capture/frame.h"
#include "capture/job.h"
#include "capture/level.h"

struct cap_decap;
struct flt_reducer;

struct cap_lane {
	struct cap_job *job;
	struct cap_pool *pool;
	struct cap_share share;         /* of the pool */
	struct cap_files *files;        /* why nothing can be written, if so */
	struct cap_block *block;        /* being filled, or NULL */
	struct cap_block_queue sealed;
	struct cap_level level;
	struct cap_account account;
	/* frames that were offered and counted: stored + rejected + dropped + pending */
	uint64_t received;
	/*
	 * what the source's filters rejected for the job, told by the control thread; for the sidecars only
	 */
	_Atomic uint64_t rejected_before;
	/* the segment that is being filled (the writer may be behind) */
	uint64_t segment_raw_bytes;
	uint64_t segment_start_ns;      /* time stamp of its first packet (1 if that is 0), 0: none yet */
	uint64_t segment_opened_ns;     /* monotonic, when that packet came */
	bool rotate_soon;               /* the writer asks: the file is large enough */
	uint64_t n_ends;                /* files that were ended by rotation */
	uint32_t header_raw_bytes;      /* of each file */
	bool compressed;
	bool finished;
	/* for frames of sources that do not filter; NULL: nothing is reduced */
	struct flt_reducer *reducer;
	struct cap_decap *decap;        /* NULL: frames are stored as on the wire */
	bool patient;                   /* the source waits: a backlog is no pressure */
	uint64_t now_ns;                /* monotonic, of this turn */
	/* CAP_SNAPLEN_MAX bytes, to make a multi-buffer frame contiguous for the filter */
	uint8_t *scratch;
};

/* Offers frames [from, to) of the batch; interface_id is the pcapng interface. */
void cap_lane_take(struct cap_lane *lane, const struct cap_batch *batch, uint32_t from, uint32_t to,
		   uint32_t interface_id);
/* Seals the block if it is older than CAP_FLUSH_NS, or now if asked; rotates by time. */
void cap_lane_age(struct cap_lane *lane, bool force);
/* Ends the file now, if it has a packet; false: there is no block for the mark, ask again. */
bool cap_lane_rotate(struct cap_lane *lane);
/* Gives up what is in memory but not with the writer. */
void cap_lane_drop_sealed(struct cap_lane *lane, enum cap_drop reason);
/* Why a packet that finds no block is dropped. */
enum cap_drop cap_lane_drop_reason(const struct cap_lane *lane);

#endif
