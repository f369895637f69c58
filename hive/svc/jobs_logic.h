/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_JOBS_LOGIC_H
#define HIVE_SVC_JOBS_LOGIC_H
/*
 * What becomes of jobs: pure logic. Events go in (a person wants, a probe says, time passes), rows to save
 * and effects to carry out come out. It asks no clock, no network and no disk, so a simulator can drive it
 * (tests/hive/test_jobs.c).
 *
 * The caller's loop, in this order, always:
 *
 *	events in -> hive_jobs_run() -> hive_jobs_save() -> commit -> hive_jobs_effects() are carried out
 *
 * Whatever is lost between two steps (kill -9) is found again: after hive_jobs_add() of all rows that were
 * saved, the logic asks the probes what is, and goes on. Each effect may be carried out twice or not at all.
 *
 * One thread at a time.
 */
#include "hive/db/captures.h"

struct hive_jobs;

struct hive_jobs_settings {
	/*
	 * A request that was given up may still be carried out for so long. Until then a link counts as
	 * taken. The probe's own deadline for requests must be shorter.
	 */
	uint64_t settle_ns;
	uint64_t grace_ns;    /* a probe that is away for less is not missing */
	uint64_t lost_ns;     /* away for longer, while it has a part of a job: the job's `missing` decides */
	/* a job that starts together lets others pass for so long, then links are kept free for it */
	uint64_t patience_ns;
	uint64_t retry_min_ns, retry_max_ns;
};

extern const struct hive_jobs_settings hive_jobs_defaults;

struct hive_jobs *hive_jobs_new(const struct hive_jobs_settings *settings, uint64_t now_ns);
struct hive_jobs *hive_jobs_free(struct hive_jobs *jobs);

/* ---- what there is ---- */

/* New, or changed. A probe that is new counts as away since now. */
int hive_jobs_put_probe(struct hive_jobs *jobs, int64_t probe_id);
struct hive_jobs_link {
	int64_t id, probe_id;
	int64_t max_jobs, max_bps; /* 0: no limit */
	bool disabled;             /* nothing starts there; what runs goes on */
};
int hive_jobs_put_link(struct hive_jobs *jobs, const struct hive_jobs_link *link);
/* For ever: what was running there is lost. Its links go too. */
void hive_jobs_remove_probe(struct hive_jobs *jobs, int64_t probe_id);
/*
 * A job with its parts, as they are in the database: one just accepted, or one of before a restart. Takes the
 * texts of job and parts (they are empty afterwards) if it returns 0. A part on a link that was not put is
 * over: its probe is gone.
 */
int hive_jobs_add(struct hive_jobs *jobs, struct hive_job *job, struct hive_job_link *parts, uint32_t n);

/*
 * Undoes hive_jobs_add() of a new job whose rows were not committed after all; before the next
 * hive_jobs_run().
 */
void hive_jobs_forget(struct hive_jobs *jobs, int64_t job_id);

/* ---- what people want: 0, -ENOENT (no such job, or it has ended), -EALREADY ---- */

int hive_jobs_hold(struct hive_jobs *jobs, int64_t job_id, bool held, const char *by);
int hive_jobs_finish(struct hive_jobs *jobs, int64_t job_id, enum hive_finish finish, const char *by);

/* ---- what probes say ---- */

enum hive_request {
	HIVE_REQUEST_NONE,
	HIVE_REQUEST_CREATE, /* with a key of job and link: a second one answers with what the first made */
	HIVE_REQUEST_QUERY,
	HIVE_REQUEST_PAUSE,
	HIVE_REQUEST_RESUME,
	HIVE_REQUEST_STOP,
	HIVE_REQUEST_DELETE,
};

enum hive_at_probe {
	HIVE_AT_UNKNOWN,
	HIVE_AT_ABSENT,
	HIVE_AT_PENDING,
	HIVE_AT_RUNNING,
	HIVE_AT_PAUSED,
	HIVE_AT_ENDED
};

struct hive_status {
	enum hive_at_probe at;
	int64_t seen_pkts, stored_pkts, rejected_pkts, dropped_pkts, stored_bytes, captured_ns;
	bool gap;         /* something is missing in between */
	bool failed;      /* it ended, and not as asked */
	const char *text; /* why it failed or is incomplete; NULL: nothing to say */
};

enum hive_reply_kind {
	HIVE_REPLY_OK,      /* status holds */
	HIVE_REPLY_LOST,    /* no answer, or one that says try again: it may be carried out yet */
	HIVE_REPLY_REFUSED, /* text says why; trying again is no use */
};

struct hive_reply {
	int64_t job_id, link_id;
	uint64_t serial; /* of the effect */
	enum hive_reply_kind kind;
	struct hive_status status;
	const char *text;
};

void hive_jobs_probe(struct hive_jobs *jobs, int64_t probe_id, bool up);
/* Each HIVE_EFFECT_REQUEST gets exactly one; one that comes too late is ignored. */
void hive_jobs_reply(struct hive_jobs *jobs, const struct hive_reply *reply);
/* Without having been asked for this part: from a list or an event; asked_ns: when the list was asked for. */
void hive_jobs_status(struct hive_jobs *jobs, int64_t job_id, int64_t link_id,
		      const struct hive_status *status, uint64_t asked_ns);

enum hive_done { HIVE_DONE_OK, HIVE_DONE_RETRY, HIVE_DONE_LOST };

/*
 * OK: all that the capture has is here and verified. RETRY: not yet. LOST: text says what cannot be had any
 * more. pkts and bytes are what is here, in each case.
 */
struct hive_collected {
	int64_t job_id, link_id;
	enum hive_done done;
	int64_t pkts, bytes;
	const char *text;
};

void hive_jobs_collected(struct hive_jobs *jobs, const struct hive_collected *collected);
/* The dataset is there, with so much in it. */
void hive_jobs_built(struct hive_jobs *jobs, int64_t job_id, enum hive_done done, int64_t pkts, int64_t bytes,
		     const char *text);

/* ---- what comes out ---- */

/* Decides. Call after events, and each second or so. */
void hive_jobs_run(struct hive_jobs *jobs, uint64_t now_ns);

struct hive_jobs_saver {
	/* moved: its state is another one than when it was saved last */
	int (*job)(void *arg, struct hive_job *row, bool moved);
	int (*part)(void *arg, struct hive_job_link *row, bool moved);
	int (*event)(void *arg, int64_t job_id, int64_t link_id, uint64_t time_ns, const char *text);
	void *arg;
};

/*
 * Hands over every row that changed and every event since the last hive_jobs_saved(); stops at the first
 * error and returns it. Call hive_jobs_saved() once they are committed; until then no effect is handed out,
 * and the same rows are handed over again.
 */
int hive_jobs_save(struct hive_jobs *jobs, const struct hive_jobs_saver *saver);
void hive_jobs_saved(struct hive_jobs *jobs);

enum hive_effect_kind {
	HIVE_EFFECT_REQUEST, /* ask the probe, reply */
	HIVE_EFFECT_COLLECT, /* fetch what is there, then hive_jobs_collected() */
	HIVE_EFFECT_BUILD,   /* make the dataset of what was collected, then hive_jobs_built() */
};

struct hive_effect {
	enum hive_effect_kind kind;
	enum hive_request request;
	uint64_t serial;
	int64_t job_id, link_id, probe_id;
	/*
	 * BUILD: the first so many in order of time are kept, 0: all. CREATE: the part's own limits, 0: none
	 */
	int64_t limit_pkts, limit_bytes;
};

/*
 * The effects that are due, once; valid until the next call of anything. Nothing is due before
 * hive_jobs_saved().
 */
const struct hive_effect *hive_jobs_effects(struct hive_jobs *jobs, uint32_t *ret_n);

/*
 * Looks, for lists and tests; NULL: not held (it has ended, and no probe knows it any more, or there is
 * none).
 */
const struct hive_job *hive_jobs_get(struct hive_jobs *jobs, int64_t job_id);
const struct hive_job_link *hive_jobs_get_part(struct hive_jobs *jobs, int64_t job_id, int64_t link_id);
/* a part that is not over, or that its probe knows */
bool hive_jobs_uses_link(struct hive_jobs *jobs, int64_t link_id);
bool hive_jobs_unsaved(const struct hive_jobs *jobs);
uint32_t hive_jobs_due(const struct hive_jobs *jobs); /* effects that hive_jobs_effects() would hand out */
uint32_t hive_jobs_count(const struct hive_jobs *jobs);

#endif
