/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_JOBS_H
#define HIVE_SVC_JOBS_H
/*
 * Jobs as people ask for them, over the job logic (hive/svc/jobs_logic.h) and the database.
 */
#include "hive/svc/jobs_logic.h"
#include "hive/svc/things.h"

#define HIVE_JOB_LINKS_MAX 256

struct hive_job_wish {
	struct hive_job row; /* what the client says of it; texts are the caller's */
	const char *const *links; /* names; one "*" means all that the actor may use */
	uint32_t n_links;
	const char *key, *request; /* as struct hive_change has */
	bool again; /* out */
	/* what else belongs into the transaction that makes the job; NULL: nothing */
	int (*with)(struct hive_tx *tx, int64_t job_id, void *arg);
	void *with_arg;
};

/*
 * Checks everything against rights, links and quotas; on 0 the job is on disk and in the queue, row->head.id
 * is set.
 */
int hive_job_create(struct hive *hive, const struct hive_actor *actor, struct hive_job_wish *wish,
		    struct hive_complaints *complaints);

/*
 * What a ring had from before_s ago until after_s from now, as a job and a dataset of their own. wish: its
 * name, filter and key; the rest is filled here. SKEP_E_NOT_FOUND, SKEP_E_BUSY: it is no ring that runs.
 */
struct hive_trigger {
	int64_t ring_id, before_s, after_s;
};
int hive_ring_trigger(struct hive *hive, const struct hive_actor *actor, const struct hive_trigger *trigger,
		      struct hive_job_wish *wish, struct hive_complaints *complaints);

/*
 * JSON is the API's: whoever serves it tells how a template's or a schedule's is read. The wish's texts and
 * links belong to *ret_keep; both are freed by done(). SKEP_E_USAGE: with complaints.
 */
struct hive_job_reader {
	int (*read)(const char *json, struct hive_job_wish *wish, void **ret_keep,
		    struct hive_complaints *complaints);
	void (*done)(struct hive_job_wish *wish, void *keep);
};
void hive_jobs_read_by(struct hive *hive, const struct hive_job_reader *reader); /* NULL: nobody */

enum hive_job_action {
	HIVE_ACTION_STOP,
	HIVE_ACTION_CANCEL,
	HIVE_ACTION_PAUSE,
	HIVE_ACTION_RESUME,
	HIVE_ACTION_ARCHIVE,
	HIVE_ACTION_RESTORE,
};

/* SKEP_E_BUSY: the job is not in a state for it, with the state in words. */
int hive_job_act(struct hive *hive, const struct hive_actor *actor, int64_t job_id,
		 enum hive_job_action action, struct hive_complaints *complaints);
/* The job's links as rows of hive_job_links; and what happened to it, a page of hive_job_events. */
int hive_job_parts(struct hive *hive, const struct hive_actor *actor, int64_t job_id, struct hive_rows *ret,
		   struct hive_complaints *complaints);
int hive_job_history(struct hive *hive, const struct hive_actor *actor, int64_t job_id,
		     struct hive_list *list, struct hive_rows *ret, struct hive_complaints *complaints);

/* ---- for the hive itself ---- */

/* Takes up, from the database, probes, links and all jobs that have not ended. */
int hive_jobs_load(struct hive *hive, struct skep_err *err);
/* One turn: decides and saves. *ret is the caller's: the effects that are due now. */
int hive_jobs_turn(struct hive *hive, struct hive_effect **ret, uint32_t *ret_n);
/* These three: hive->jobs_lock is held. */
int hive_jobs_decide(struct hive *hive); /* decides and saves; what is due waits for the next turn */
void hive_jobs_link_changed(struct hive *hive, const struct hive_link *link);
bool hive_jobs_link_used(struct hive *hive, int64_t link_id);

#endif
