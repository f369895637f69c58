/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_JOB_H
#define CTL_JOB_H
/*
 * Jobs of this probe: accepted once, journalled, run by the engines of their links, and ended in exactly
 * one end state. Any thread.
 */
#include "common/events.h"
#include "common/problem.h"
#include "control/config.h"
#include "control/spool.h"

struct ctl_jobs;

#define CTL_JOB_ID 20 /* "j", 12 hexadecimal digits of time in ms, 6 random ones, NUL */

/* Reads the journal. cfg and events are borrowed. */
int ctl_jobs_open(const struct ctl_config *cfg, struct skep_events *events, struct ctl_jobs **ret,
		  struct skep_err *err);
/* Leaves engines and their jobs alone. Returns NULL; takes NULL. */
struct ctl_jobs *ctl_jobs_close(struct ctl_jobs *jobs);

struct ctl_job_request {
	json_t *body;	 /* borrowed: an object */
	const char *key; /* Idempotency-Key, or NULL */
	bool temporary;	 /* until ctl_jobs_release, or our end */
};

/*
 * Accepts a job: it is in the journal and, unless it is for later, its engines have it. 0: *ret is what
 * ctl_jobs_get gives; *ret_known: the key was used before, for the same request, and this is that job. A
 * skep_refusal or -errno: problems says why.
 */
int ctl_jobs_create(struct ctl_jobs *jobs, const struct ctl_job_request *request, json_t **ret,
		    bool *ret_known, struct skep_problems *problems);
/* As clients see it; the caller's to keep and not to change. NULL: there is none. */
json_t *ctl_jobs_get(struct ctl_jobs *jobs, const char *id);
/* All, oldest first; the caller's. */
json_t *ctl_jobs_list(struct ctl_jobs *jobs);

enum ctl_job_verb { CTL_JOB_STOP, CTL_JOB_PAUSE, CTL_JOB_RESUME };

/* SKEP_E_NOT_FOUND, SKEP_E_BUSY (not in this state). */
int ctl_jobs_do(struct ctl_jobs *jobs, const char *id, enum ctl_job_verb verb, struct skep_err *err);
/* Removes a job that has ended, and its files. */
int ctl_jobs_remove(struct ctl_jobs *jobs, const char *id, struct skep_err *err);
/* A temporary job is no longer needed: it is stopped, and removed as soon as it has ended. */
void ctl_jobs_release(struct ctl_jobs *jobs, const char *id);
/* Completes the files of a running job, so that everything taken so far can be read. */
int ctl_jobs_rotate(struct ctl_jobs *jobs, const char *id, struct skep_err *err);

struct ctl_trigger {
	const char *ring; /* id */
	uint64_t before_ns, after_ns;
	const char *name; /* of the new job; NULL: the ring's */
	const char *filter; /* checked; NULL or "": whole files */
};

/*
 * Saves what the ring has of the time from before_ns ago until after_ns from now as a job of its own, which
 * goes on by itself; with a filter, only packets that match and lie within it. A second trigger of a ring
 * with the same name gives the job of the first: *ret_known. SKEP_E_NOT_FOUND, SKEP_E_BUSY (no ring, or it
 * has ended), or -errno.
 */
int ctl_jobs_trigger(struct ctl_jobs *jobs, const struct ctl_trigger *what, json_t **ret, bool *ret_known,
		     struct skep_err *err);
/* Of the jobs; for its figures. */
struct ctl_spool *ctl_jobs_spool(struct ctl_jobs *jobs);

/* What is to be done now and then: call it about five times a second, on one thread. */
void ctl_jobs_tick(struct ctl_jobs *jobs);
/* Descriptors that have news; waits at most that long for one of them or for fd. */
void ctl_jobs_wait(struct ctl_jobs *jobs, int fd, int timeout_ms);

#endif
