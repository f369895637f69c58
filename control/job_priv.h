/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_JOB_PRIV_H
#define CTL_JOB_PRIV_H
/*
 * What control/job*.c share. Whoever changes a job holds `ops`; readers use the views, which are never
 * changed but replaced, under `view_lock`.
 */
#include "control/account.h"
#include "control/engine.h"
#include "control/job.h"
#include "control/journal.h"

#include <pthread.h>

enum job_state {
	JOB_SCHEDULED,
	JOB_STARTING,
	JOB_RUNNING,
	JOB_PAUSED,
	JOB_DRAINING,
	JOB_DONE,      /* end states from here on */
	JOB_FAILED,    /* nothing was captured */
	JOB_CANCELLED, /* stopped before it began */
	JOB_STATES
};

enum link_state {
	LINK_WAITS, /* is to be given to its engine */
	LINK_RUNS,  /* its engine has it */
	LINK_ENDED,
};

#define GAPS_MAX 32
#define REASONS_MAX 32
#define REMAINS_MAX 32

struct job_gap {
	char link[CTL_LINK_NAME];
	uint64_t from_ns, to_ns; /* to 0: still open */
};

struct job_link {
	char name[CTL_LINK_NAME];
	enum link_state state;
	uint32_t life;	    /* how often an engine was given it */
	uint64_t engine_ns; /* which engine has it */
	uint64_t looked_ns; /* when the engine last spoke of it */
	bool unsure;	    /* the engine may have it already */
	uint32_t tries;	    /* in vain, since it last ran */
	uint64_t retry_ns;
	struct ctl_account before, now; /* of earlier lives; of this one */
	char why[24];
};

struct job {
	struct job *next;
	char id[CTL_JOB_ID], name[128];
	char key[128], key_digest[33];
	enum job_state state;
	bool stop_wanted, incomplete, budget;
	bool temporary, released; /* see ctl_jobs_release */
	json_t *spec; /* what the engine is given, but for names and limits */
	uint64_t limit_packets, limit_bytes, limit_duration_ns; /* 0: none */
	uint64_t start_at_ns, end_at_ns;			/* 0: now, never */
	uint64_t created_ns, started_ns, ended_ns;
	uint64_t paused_ns, paused_sum_ns; /* since when it is paused, if it is; all pauses that are over */
	uint32_t n_links;
	struct job_link links[CTL_LINKS_MAX];
	uint32_t n_gaps;
	struct job_gap gaps[GAPS_MAX];
	json_t *reasons;	      /* array of texts: why it is incomplete */
	uint64_t ring_bytes, ring_ns; /* a ring keeps the last of either; 0 and 0: no ring */
	char saved_of[CTL_JOB_ID];    /* what a trigger saved of this ring; "": not such a job */
	uint64_t from_ns, to_ns;      /* of what is saved */
	char *saved_filter;	      /* NULL: whole files */
	bool owes;		      /* an engine died with a part of the shared limits */
	bool undigested;	      /* a file of it waits for its digest */
	struct job_sift *sift;	      /* while the filter is applied */
};

struct ctl_jobs {
	const struct ctl_config *cfg;
	struct skep_events *events;
	struct ctl_journal *journal;
	pthread_mutex_t ops;
	struct job *head; /* newest first */
	uint32_t n_engines;
	struct ctl_engine engines[CTL_LINKS_MAX];
	uint64_t progress_ns;
	struct ctl_spool *spool;
	uint32_t n_remains;
	char remains[REMAINS_MAX][96]; /* directories of jobs that are gone */
	bool journal_failing;

	pthread_mutex_t view_lock;
	json_t *views; /* id → job for clients */
};

extern const char *const ctl_job_state_names[JOB_STATES];

static inline bool job_ended(const struct job *job)
{
	return job->state >= JOB_DONE;
}

/* job_spec.c: a request's body into an empty job. Problems are added. */
void ctl_job_parse(const struct ctl_config *cfg, const json_t *body, struct job *job,
		   struct skep_problems *problems);
/* A refusal of the engine ("job.limits.packets: …") as a problem with a pointer. */
void ctl_job_engine_refused(struct skep_problems *problems, const struct skep_err *err);

/* job_record.c */
json_t *ctl_job_record(const struct job *job);		       /* for the journal; the caller's */
int ctl_job_of_record(const json_t *record, struct job **ret); /* SKEP_E_BAD_DATA, -ENOMEM */
json_t *ctl_job_view(const struct job *job);		       /* for clients; the caller's */
struct job *ctl_job_free(struct job *job);		       /* returns NULL */
void ctl_job_total(const struct job *job, struct ctl_account *ret);

/* job_files.c */
void ctl_job_dir(const struct job *job, uint32_t life, char buf[static 64]); /* below the spool */
/* Ends what a dead engine left, and adds up what its files hold, for one link of the job's current life. */
void ctl_job_recover(struct ctl_jobs *jobs, const struct job *job, struct job_link *link,
		     uint64_t *ret_last_ns);
/* Adds what the files of one life hold to link->before. */
void ctl_job_sum(struct ctl_jobs *jobs, const struct job *job, struct job_link *link, uint32_t life);
/* Has an engine begun this life of the link's job? */
bool ctl_job_has_files(struct ctl_jobs *jobs, const struct job *job, const struct job_link *link);
void ctl_job_remove_files(struct ctl_jobs *jobs, const struct job *job);
/* The directories below the spool whose names are that of the job and go on with suffix. */
void ctl_job_remove_parts(struct ctl_jobs *jobs, const struct job *job, const char *suffix);
/* What could not be removed at once. */
void ctl_job_remove_remains(struct ctl_jobs *jobs);

/* job.c, for job_run.c */
int ctl_job_keep(struct ctl_jobs *jobs, const struct job *job);	 /* journal and view */
void ctl_job_show(struct ctl_jobs *jobs, const struct job *job); /* view only */
void ctl_job_set_state(struct ctl_jobs *jobs, struct job *job,
		       enum job_state state); /* journal, view, event */
void ctl_job_add_reason(struct job *job, const char *fmt, ...) SKEP_PRINTF(2, 3);

/* job_budget.c */
int ctl_job_make_budget(struct ctl_jobs *jobs, const struct job *job, struct skep_err *err);
/* Gives back what dead engines took with them; the job then owes nothing, unless it is not known yet. */
void ctl_job_give_back(struct ctl_jobs *jobs, struct job *job);

/* job_ring.c */
void ctl_job_ring_spec(const struct job *job, const struct job_link *link, json_t *spec);
/* Keeps what is to be saved out of reach of the ring's rotation, and ends the job when its time has passed.
 */
void ctl_job_save(struct ctl_jobs *jobs, struct job *job);
/* Digests of saved files that the ring's engine computed later. */
void ctl_job_save_digests(struct ctl_jobs *jobs, struct job *job);
/* Removes what a ring has too much. */
void ctl_job_ring_prune(struct ctl_jobs *jobs, struct job *job);
/* What was saved, by its own sidecars. */
void ctl_job_sum_up(struct ctl_jobs *jobs, struct job *job);

/* job_sift.c */
struct job_sift *ctl_job_sift_free(struct job_sift *sift); /* ends its children; returns NULL, takes NULL */
/* Applies the filter to what was saved, and ends the job then; call it again and again. */
void ctl_job_sift(struct ctl_jobs *jobs, struct job *job);
void ctl_job_raw_dir(const struct job *job, uint32_t life, const char *link, char buf[static 96]);

/* job_run.c */
void ctl_job_finish_all(struct ctl_jobs *jobs, struct job *job, const char *why);
int ctl_job_rotate(struct ctl_jobs *jobs, struct job *job, struct skep_err *err);
struct ctl_engine *ctl_job_engine(struct ctl_jobs *jobs, const char *link); /* NULL: too many links */
/* Gives the job to the engine of one of its links, starting it if need be. */
int ctl_job_begin_link(struct ctl_jobs *jobs, struct job *job, struct job_link *link, struct skep_err *err);
void ctl_job_engine_name(const struct job *job, const struct job_link *link, char buf[static 64]);
void ctl_job_stop(struct ctl_jobs *jobs, struct job *job);
/* Asks the engine of a link for the account of its job now. false: it does not say. */
bool ctl_job_ask(struct ctl_jobs *jobs, const struct job *job, const struct job_link *link,
		 struct ctl_account *ret);
/* All that is due for jobs and engines. */
void ctl_job_run(struct ctl_jobs *jobs);
uint64_t ctl_job_now_ns(void); /* UTC */
/* How long it was paused until now: no part of its duration. */
uint64_t ctl_job_paused_ns(const struct job *job);

#endif
