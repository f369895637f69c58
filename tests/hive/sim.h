/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_TESTS_HIVE_SIM_H
#define SKEP_TESTS_HIVE_SIM_H
/*
 * A world for the job logic, all from one seed: a clock, a disk that fails and forgets what was not
 * committed, a network that loses, delays and cuts one direction, probes that capture packets exactly to
 * their limits, restart and break, people who change their minds, and a hive that is killed at any step.
 * First chaos, then calm, in which everything must come to its end. While it runs and afterwards it looks for
 * what must never be.
 */
#include "hive/svc/jobs_logic.h"

struct sim_options {
	uint64_t settle_ns;    /* of the logic; the network delays up to SIM_DELAY_MAX_NS */
	bool verbose;
	bool forget_priority;  /* breaks the world on purpose: jobs lie about their priority to the logic */
	bool forget_commits;   /* the disk says yes and keeps nothing, now and then */
};

#define SIM_DELAY_MAX_NS (5 * SKEP_NSEC_PER_SEC)

/* What a run has met, so that a test can tell that the seeds reach all corners. */
struct sim_seen {
	uint64_t jobs, crashes, lost_requests, late_requests, save_failures, preemptions, pauses, cuts,
		together, gaps, disks;
	uint64_t done, failed, cancelled, complete, incomplete, skipped, lost, refused, removed, steps;
	uint64_t rings, saved, ends, runs, missed_runs;
};

/* NULL: nothing was wrong; else what was, valid until the next call. */
const char *sim_run(uint64_t seed, const struct sim_options *options, struct sim_seen *seen);

#endif
