/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Steering jobs, and reading of them. The logic is behind hive->jobs_lock; whoever needs both takes the lock
 * first, then begins the transaction, never the other way round, so that two threads cannot wait for each
 * other. Effects are handed out by hive_jobs_turn() after the commit, and by nothing else. Any thread.
 */
#include "hive/svc/jobs.h"

#include "hive/svc/audit.h"
#include "hive/svc/dispatch.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- steering ---- */

static int not_now(struct hive_complaints *complaints, const char *what, int64_t state)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, SKEP_E_BUSY, "a job that is %s cannot be %s", hive_job_state_names[state], what);
	return hive_complain_err(complaints, NULL, &err);
}

static int act_on_logic(struct hive *hive, const struct hive_actor *actor, int64_t id,
			enum hive_job_action action)
{
	switch (action) {
	case HIVE_ACTION_STOP:
		return hive_jobs_finish(hive->jobs, id, HIVE_FINISH_STOP, actor->name);
	case HIVE_ACTION_CANCEL:
		return hive_jobs_finish(hive->jobs, id, HIVE_FINISH_CANCEL, actor->name);
	default:
		return hive_jobs_hold(hive->jobs, id, action == HIVE_ACTION_PAUSE, actor->name);
	}
}

static int act_locked(struct hive *hive, const struct hive_actor *actor, int64_t job_id,
		      enum hive_job_action action, struct hive_complaints *complaints)
{
	static const char *const words[] = { "stopped", "cancelled", "paused", "resumed", "archived", "restored" };
	_hive_job_ struct hive_job job = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	char object[64], verb[32];
	bool over;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_jobs_table, job_id, &job);
	if (r == 0)
		r = hive_may_owned(tx, actor, job.owner_id);
	if (r != 0)
		return r;
	over = job.state >= HIVE_JOB_DONE;
	if (action >= HIVE_ACTION_ARCHIVE) {
		if (!over || (job.archived_ns != 0) == (action == HIVE_ACTION_ARCHIVE))
			return not_now(complaints, words[action], job.state);
		/* the logic has let it go, or writes it no more */
		r = hive_job_archive(tx, job_id, action == HIVE_ACTION_ARCHIVE ? hive_now_ns(hive) : 0);
	} else if (over) {
		return not_now(complaints, words[action], job.state);
	} else if (job.kind == HIVE_KIND_SAVED &&
		   (action == HIVE_ACTION_PAUSE || action == HIVE_ACTION_RESUME)) {
		return hive_complain(complaints, NULL, "what a ring had cannot be paused; pause the ring, job %" PRId64, job.ring_id);
	}
	snprintf(object, sizeof(object), "job %" PRId64, job_id);
	snprintf(verb, sizeof(verb), "job.%s", words[action]);
	if (r == 0)
		r = hive_audit_add(hive, tx, actor, verb, object, job.name);
	if (r == 0)
		r = hive_tx_commit(&tx);
	if (r == 0 && action < HIVE_ACTION_ARCHIVE)
		r = act_on_logic(hive, actor, job_id, action);
	if (r == 0 && action < HIVE_ACTION_ARCHIVE)
		r = hive_jobs_decide(hive); /* on disk before it is answered */
	return r == -EALREADY || r == -ENOENT ? not_now(complaints, words[action], job.state) : r;
}

int hive_job_act(struct hive *hive, const struct hive_actor *actor, int64_t job_id,
		 enum hive_job_action action, struct hive_complaints *complaints)
{
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	pthread_mutex_lock(&hive->jobs_lock);
	r = act_locked(hive, actor, job_id, action, complaints);
	pthread_mutex_unlock(&hive->jobs_lock);
	hive_dispatch_poke(hive);
	if (r != -ENOENT && r != SKEP_E_NOT_FOUND)
		return r;
	(void)skep_err_set(&err, SKEP_E_NOT_FOUND, "there is no such job");
	return hive_complain_err(complaints, NULL, &err);
}

int hive_job_parts(struct hive *hive, const struct hive_actor *actor, int64_t job_id, struct hive_rows *ret,
		   struct hive_complaints *complaints)
{
	_hive_job_ struct hive_job job = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_thing_get(hive, actor, HIVE_JOB, job_id, &job, complaints);

	if (r == 0)
		r = hive_db_read(hive->db, &tx);
	return r != 0 ? r : hive_job_links_of(tx, job_id, ret);
}

int hive_job_history(struct hive *hive, const struct hive_actor *actor, int64_t job_id,
		     struct hive_list *list, struct hive_rows *ret, struct hive_complaints *complaints)
{
	_hive_job_ struct hive_job job = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_thing_get(hive, actor, HIVE_JOB, job_id, &job, complaints);

	if (r == 0)
		r = hive_db_read(hive->db, &tx);
	if (r != 0)
		return r;
	hive_narrow(list, &hive_job_events, "job_id", HIVE_EQ, job_id);
	r = hive_row_list(tx, &hive_job_events, list, ret);
	return r == -EINVAL ? hive_complain(complaints, "cursor", "the cursor is not one of this list and order") : r;
}
