/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_JOBS_PRIV_H
#define HIVE_SVC_JOBS_PRIV_H
/*
 * What jobs_logic.c (the whole), jobs_answers.c (what probes say), jobs_plan.c (who starts, who waits) and
 * jobs_end.c (how it ends) share.
 */
#include "hive/svc/jobs_logic.h"

struct jobs_probe {
	int64_t id;
	bool up;
	uint64_t since_ns;
};

struct jobs_link {
	struct hive_jobs_link cfg;
	struct jobs_probe *probe;
	/* of one run of the plan */
	int64_t used_jobs, used_bps;
	bool blocked; /* somebody with a better rank waits for room here */
};

struct jobs_part {
	struct hive_job_link row;
	struct jobs_job *job;
	struct jobs_link *link; /* NULL: it is gone, and the part is over */
	/* What follows is not saved: after a restart all of it is asked anew. */
	enum hive_request request; /* under way */
	uint64_t serial;
	uint64_t sent_ns;
	uint64_t applied_ns; /* when the last reply came */
	uint64_t heard_ns;   /* when the probe last said something of it */
	uint64_t hot_before_ns;
	uint64_t retry_ns;
	uint32_t failures;
	enum hive_at_probe at;
	bool unsure; /* ask before anything is believed */
	bool collecting;
	bool dirty;
	int64_t told_state; /* state at the last hive_jobs_saved() */
};

struct jobs_job {
	struct hive_job row;
	struct jobs_part *parts;
	uint32_t n_parts;
	bool building;
	uint64_t retry_ns;
	uint32_t failures;
	bool dirty;
	int64_t told_state;
};

struct jobs_note {
	int64_t job_id, link_id;
	uint64_t time_ns;
	char text[192];
};

struct jobs_list {
	void **items; /* ascending by id */
	uint32_t n, room;
};

struct hive_jobs {
	struct hive_jobs_settings settings;
	uint64_t now_ns;
	uint64_t serial;
	struct jobs_list probes, links, jobs;
	struct jobs_job **ranked; /* jobs.n of them, the first has the best rank */
	struct jobs_note *notes;
	uint32_t n_notes, notes_room;
	struct hive_effect *effects;
	uint32_t n_effects, effects_room, n_taken;
	bool unsaved; /* something changed since hive_jobs_saved() */
};

static inline bool jobs_over(const struct jobs_job *job)
{
	return job->row.state >= HIVE_JOB_DONE;
}

/* What a ring has at its probe already: it takes no room on the link. */
static inline bool jobs_takes_room(const struct jobs_job *job)
{
	return job->row.kind != HIVE_KIND_SAVED;
}

static inline bool jobs_missing(const struct hive_jobs *jobs, const struct jobs_part *part, uint64_t for_ns)
{
	const struct jobs_probe *probe = part->link ? part->link->probe : NULL;

	return probe && !probe->up && jobs->now_ns - probe->since_ns >= for_ns;
}

/* jobs_logic.c */
struct jobs_job *hive_jobs_find(struct hive_jobs *jobs, int64_t job_id); /* NULL */
struct jobs_part *hive_jobs_find_part(struct hive_jobs *jobs, int64_t job_id, int64_t link_id); /* NULL */
void hive_jobs_touch(struct hive_jobs *jobs, struct jobs_part *part);
void hive_jobs_touch_job(struct hive_jobs *jobs, struct jobs_job *job);
void hive_jobs_move(struct hive_jobs *jobs, struct jobs_part *part, enum hive_part_state state);
void hive_jobs_note(struct hive_jobs *jobs, const struct jobs_job *job, int64_t link_id, const char *fmt, ...)
	SKEP_PRINTF(4, 5);
struct hive_effect *hive_jobs_effect(struct hive_jobs *jobs);
void hive_jobs_back_off(struct hive_jobs *jobs, uint32_t *failures, uint64_t *ret_retry_ns);
void hive_jobs_bring_to_end(struct hive_jobs *jobs, struct jobs_job *job, enum hive_finish finish,
			    const char *by);

/* jobs_plan.c */
void hive_jobs_plan(struct hive_jobs *jobs);

/* jobs_end.c */
/* The part is over; reason (may be NULL) is added to what is there. */
void hive_jobs_part_end(struct hive_jobs *jobs, struct jobs_part *part, enum hive_result result,
			const char *reason);
void hive_jobs_part_reason(struct hive_jobs *jobs, struct jobs_part *part, const char *reason);
/* Sums, state, and the end if all parts are over. */
void hive_jobs_settle(struct hive_jobs *jobs, struct jobs_job *job);

#endif
