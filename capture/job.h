/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_JOB_H
#define CAP_JOB_H
/*
 * A job on this engine: what it wants (filter, snaplen, trim), how far it may go (limits, exact at the packet
 * over all its lanes), and how its files are cut. Read-only for workers but for the budgets.
 */
#include "capture/limits.h"
#include "common/err.h"

#include <stdatomic.h>
#include <stdbool.h>

struct cap_filter_user;
struct cap_trim;

#define CAP_NO_LIMIT UINT64_MAX

/*
 * What a job may still take, shared by its lanes (and by engines, where it is mapped from a file) and taken
 * in batches.
 */
struct cap_budget {
	_Atomic int64_t pkts_left;
	/* of records: 16 or 32 bytes + data each; file headers are taken off at start */
	_Atomic int64_t bytes_left;
};

struct cap_job {
	char name[64];
	uint32_t slot;                         /* bit in frame->jobs */
	const char *filter_text;
	const struct cap_filter_user *filter;  /* NULL: everything */
	const struct cap_trim *trim;           /* NULL: nothing is trimmed */
	uint32_t snaplen;                      /* bytes kept of a frame, at most */
	bool pcapng;
	/* Limits */
	bool limits_pkts;
	bool limits_bytes;
	struct cap_budget *budget;             /* own_budget unless shared; never NULL */
	struct cap_budget own_budget;
	uint64_t duration_ns;                  /* 0: no limit */
	/* UTC; packets from here on are not part of the job; CAP_NO_LIMIT: not yet known */
	_Atomic uint64_t end_ns;
	/* duration counts from the first packet (files), not from the start */
	bool clock_from_packets;
	/* Rotation; 0: never */
	uint64_t rotate_raw_bytes;             /* of the uncompressed file, header included */
	uint64_t rotate_disk_bytes;            /* about, checked at block borders */
	uint64_t rotate_ns;
	/* control thread: frames are not the job's for now */
	_Atomic bool paused;
	/* Set by whoever finds that a limit is reached; lanes stop taking packets. */
	_Atomic bool done;
	/* control thread: a signal, or the clock; what is in the rings still counts */
	bool stop_asked;
	_Atomic uint32_t done_why;             /* enum cap_job_end */
};

enum cap_job_end { CAP_JOB_RUNS, CAP_JOB_END_PKTS, CAP_JOB_END_BYTES, CAP_JOB_END_DURATION, CAP_JOB_END_INPUT,
		   CAP_JOB_END_DISK_FULL, CAP_JOB_END_LOST, CAP_JOB_END_WRITE, CAP_JOB_END_STOPPED };

void cap_job_init(struct cap_job *job);
/* Ends the job for a reason; the first one counts. */
void cap_job_end(struct cap_job *job, enum cap_job_end why);
/* Takes up to `want` packets from the budget; returns how many were granted. */
uint32_t cap_job_take_pkts(struct cap_job *job, uint32_t want);
/* All or nothing. */
bool cap_job_take_bytes(struct cap_job *job, uint64_t want);
/* Gives back what was taken for packets that were dropped after all. */
void cap_job_refund(struct cap_job *job, uint32_t pkts, uint64_t bytes);
/* The end of the job by its clock, given the time stamp of a packet. */
uint64_t cap_job_end_ns(struct cap_job *job, uint64_t first_ts_ns);

#endif
