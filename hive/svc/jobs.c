/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a person's wish to a job on disk and in the queue, and from the job logic's decisions to the disk. The
 * logic is behind hive->jobs_lock; whoever needs both takes the lock first, then begins the transaction,
 * never the other way round, so that two threads cannot wait for each other. Effects are handed out by
 * hive_jobs_turn() after the commit, and by nothing else. Any thread.
 */
#include "hive/svc/jobs.h"

#include "hive/svc/audit.h"
#include "hive/svc/login.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILTER_MAX 65536

/* ---- what somebody's groups allow ---- */

struct allowance {
	int64_t duration_s, jobs, bytes, priority; /* 0: no limit, but for priority */
	int64_t n_groups;
};

/* The most generous group decides. */
static int allowance_of(struct hive_tx *tx, int64_t user_id, struct allowance *ret)
{
	_hive_rows_ struct hive_rows groups = { .table = &hive_groups };
	int r = hive_groups_of(tx, user_id, &groups);

	*ret = (struct allowance){ .n_groups = groups.n };
	for (uint32_t i = 0; r == 0 && i < groups.n; i++) {
		const struct hive_group *group = hive_rows_at(&groups, i);
		const struct {
			int64_t *most, mine;
		} quotas[] = { { &ret->duration_s, group->quota_duration_s },
			       { &ret->jobs, group->quota_jobs },
			       { &ret->bytes, group->quota_bytes } };

		for (size_t q = 0; q < ARRAY_LEN(quotas); q++)
			if (i == 0 || !quotas[q].mine)
				*quotas[q].most = quotas[q].mine;
			else if (*quotas[q].most && *quotas[q].most < quotas[q].mine)
				*quotas[q].most = quotas[q].mine;
		ret->priority = SKEP_MAX(ret->priority, group->quota_priority);
	}
	return r;
}

static int check_allowance(struct hive_tx *tx, const struct hive_actor *actor, const struct hive_job *job,
			   struct hive_complaints *complaints)
{
	struct allowance may;
	int64_t unfinished = 0, stored = 0;
	int r = allowance_of(tx, actor->user_id, &may);

	if (r == 0)
		r = hive_jobs_unfinished_of(tx, actor->user_id, &unfinished);
	if (r == 0)
		r = hive_datasets_bytes(tx, actor->user_id, &stored);
	if (r < 0)
		return r;
	if (job->priority > may.priority)
		(void)hive_complain(complaints, "priority", "priority: your groups may ask for at most \"%s\"",
				    hive_priority_names[may.priority]);
	if (may.duration_s && (!job->limit_duration_s || job->limit_duration_s > may.duration_s))
		(void)hive_complain(complaints, "limit_duration_s", "limit_duration_s: your groups allow at most %" PRId64 " s",
				    may.duration_s);
	if (may.jobs && unfinished >= may.jobs)
		(void)hive_complain(complaints, NULL, "you have %" PRId64 " jobs that have not ended; your groups allow %" PRId64,
				    unfinished, may.jobs);
	if (may.bytes && stored + job->limit_bytes > may.bytes)
		(void)hive_complain(complaints, "limit_bytes",
				    "limit_bytes: with what you store already that is more than the %" PRId64 " bytes of your groups",
				    may.bytes);
	else if (may.bytes && !job->limit_bytes)
		(void)hive_complain(complaints, "limit_bytes", "limit_bytes: your groups have a quota of bytes, so a limit is needed");
	return 0;
}

/*
 * The filter that the groups force on this link: none if one of those that may use it forces none, else any
 * of theirs. *ret is the caller's.
 */
static int forced_filter_of(const struct hive_rows *groups, char **ret)
{
	char *all = NULL;

	for (uint32_t i = 0; i < groups->n; i++) {
		const char *one = ((const struct hive_group *)hive_rows_at(groups, i))->forced_filter;
		char *more = NULL;

		if (!one || !*one) {
			free(all);
			*ret = NULL;
			return 0;
		}
		if (asprintf(&more, "%s%s(%s)", all ? all : "", all ? " or " : "", one) < 0)
			more = NULL;
		free(all);
		all = more;
		if (!all)
			return -ENOMEM;
	}
	*ret = all;
	return 0;
}

/* ---- links ---- */

struct chosen {
	struct hive_job_link parts[HIVE_JOB_LINKS_MAX];
	uint32_t n;
};

static void chosen_clear(struct chosen *chosen)
{
	for (uint32_t i = 0; i < chosen->n; i++)
		hive_row_clear(&hive_job_links, &chosen->parts[i]);
	chosen->n = 0;
}

static int choose(struct hive_tx *tx, const struct hive_actor *actor, const struct hive_link *link,
		  struct hive_job *job, struct chosen *chosen, struct hive_complaints *complaints)
{
	_hive_rows_ struct hive_rows groups = { .table = &hive_groups };
	_hive_probe_ struct hive_probe probe = { 0 };
	_skep_free_ char *forced = NULL;
	struct hive_job_link *part = &chosen->parts[chosen->n];
	int r = hive_groups_for_link(tx, actor->user_id, link->head.id, &groups);

	if (r == 0 && !groups.n)
		return SKEP_E_NOT_FOUND;
	if (r == 0)
		r = hive_row_get(tx, &hive_probes, link->probe_id, &probe);
	if (r == 0)
		r = forced_filter_of(&groups, &forced);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < chosen->n; i++)
		if (chosen->parts[i].link_id == link->head.id)
			return hive_complain(complaints, "links", "links: \"%s\" is named twice", link->name);
	if (chosen->n == HIVE_JOB_LINKS_MAX)
		return hive_complain(complaints, "links", "links: more than %d", HIVE_JOB_LINKS_MAX);
	if (chosen->n && strcmp(forced ? forced : "", job->forced_filter ? job->forced_filter : "") != 0)
		return hive_complain(complaints, "links",
				     "links: on \"%s\" your groups force another filter than on the others; make a job for each",
				     link->name);
	if (!chosen->n)
		job->forced_filter = TAKE_PTR(forced);
	*part = (struct hive_job_link){ .link_id = link->head.id,
					.probe_id = link->probe_id,
					.link_name = strdup(link->name),
					.probe_name = strdup(probe.name) };
	chosen->n++;
	return part->link_name && part->probe_name ? 0 : -ENOMEM;
}

static int choose_all(struct hive_tx *tx, const struct hive_actor *actor, struct hive_job *job,
		      struct chosen *chosen, struct hive_complaints *complaints)
{
	_hive_rows_ struct hive_rows links = { .table = &hive_links };
	struct hive_list list = { .limit = HIVE_JOB_LINKS_MAX };
	int r;

	hive_narrow(&list, &hive_links, "id", HIVE_MY_LINKS, actor->user_id);
	hive_narrow(&list, &hive_links, "disabled", HIVE_EQ, 0);
	r = hive_row_list(tx, &hive_links, &list, &links);
	for (uint32_t i = 0; r == 0 && i < links.n; i++)
		r = choose(tx, actor, hive_rows_at(&links, i), job, chosen, complaints);
	if (r == 0 && !links.n)
		return hive_complain(complaints, "links", "links: there is none that you may use");
	return r;
}

static int choose_links(struct hive_tx *tx, const struct hive_actor *actor, const struct hive_job_wish *wish,
			struct hive_job *job, struct chosen *chosen, struct hive_complaints *complaints)
{
	int r = 0;

	if (!wish->n_links)
		return hive_complain(complaints, "links", "links: name at least one, or \"*\" for all that you may use");
	if (wish->n_links == 1 && strcmp(wish->links[0], "*") == 0)
		return choose_all(tx, actor, job, chosen, complaints);
	for (uint32_t i = 0; i < wish->n_links && r == 0; i++) {
		_hive_link_ struct hive_link link = { 0 };

		r = hive_row_find(tx, &hive_links, "name", wish->links[i], &link);
		if (r == 0)
			r = choose(tx, actor, &link, job, chosen, complaints);
		/* one that somebody may not use does not exist for them */
		if (r == -ENOENT || r == SKEP_E_NOT_FOUND)
			r = hive_complain(complaints, "links", "links: there is no link \"%s\" that you may use", wish->links[i]);
		if (r > 0)
			r = 0; /* the others may be wrong as well */
	}
	return r;
}

/* ---- making one ---- */

static void check_values(const struct hive *hive, const struct hive_job *job,
			 struct hive_complaints *complaints)
{
	const struct {
		const char *field;
		int64_t value, max;
	} numbers[] = {
		{ "limit_duration_s", job->limit_duration_s, 366 * 86400 },
		{ "limit_bytes", job->limit_bytes, INT64_MAX },
		{ "limit_pkts", job->limit_pkts, INT64_MAX },
		{ "link_limit_bytes", job->link_limit_bytes, INT64_MAX },
		{ "link_limit_pkts", job->link_limit_pkts, INT64_MAX },
		{ "snaplen", job->snaplen, 262144 },
		{ "sample_every", job->sample_every, 1000000 },
		{ "expected_bps", job->expected_bps, INT64_C(10000000000000) },
	};

	(void)hive_check_name(complaints, "name", job->name);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (numbers[i].value < 0 || numbers[i].value > numbers[i].max)
			(void)hive_complain(complaints, numbers[i].field, "%s: must be between 0 and %" PRId64, numbers[i].field,
					    numbers[i].max);
	if (!job->limit_duration_s && !job->limit_bytes && !job->limit_pkts && !job->link_limit_bytes &&
	    !job->link_limit_pkts)
		(void)hive_complain(complaints, "limit_duration_s",
				    "limit_duration_s: a job needs a limit: duration, bytes or packets");
	if (job->filter && strlen(job->filter) > FILTER_MAX)
		(void)hive_complain(complaints, "filter", "filter: longer than %d bytes", FILTER_MAX);
	if (!job->format || (strcmp(job->format, "pcap") != 0 && strcmp(job->format, "pcapng") != 0))
		(void)hive_complain(complaints, "format", "format: must be pcap or pcapng");
	if (job->start_ns && job->start_ns < hive_now_ns(hive) - (int64_t)(60 * SKEP_NSEC_PER_SEC))
		(void)hive_complain(complaints, "start", "start: has passed already");
}

static int insert_job(struct hive *hive, struct hive_tx *tx, const struct hive_actor *actor,
		      struct hive_job_wish *wish, struct chosen *chosen)
{
	struct hive_job *job = &wish->row;
	char object[64];
	int r;

	job->owner_id = actor->user_id;
	job->created_ns = hive_now_ns(hive);
	job->state = job->start_ns > job->created_ns ? HIVE_JOB_SCHEDULED : HIVE_JOB_QUEUED;
	r = hive_row_insert(tx, &hive_jobs_table, job);
	for (uint32_t i = 0; r == 0 && i < chosen->n; i++) {
		chosen->parts[i].job_id = job->head.id;
		r = hive_row_insert(tx, &hive_job_links, &chosen->parts[i]);
	}
	snprintf(object, sizeof(object), "job %" PRId64, job->head.id);
	if (r == 0)
		r = hive_audit_add(hive, tx, actor, "job.create", object, job->name);
	if (r == 0 && wish->key)
		r = hive_answer_keep(tx, actor->name, wish->key, wish->request, job->head.id,
				     job->created_ns);
	return r;
}

/* The logic gets the rows as they are on disk now: the same way as after a restart. */
static int take_up(struct hive *hive, struct hive_tx *tx, int64_t job_id)
{
	_hive_job_ struct hive_job job = { 0 };
	_hive_rows_ struct hive_rows parts = { .table = &hive_job_links };
	int r = hive_row_get(tx, &hive_jobs_table, job_id, &job);

	if (r == 0)
		r = hive_job_links_of(tx, job_id, &parts);
	return r < 0 ? r : hive_jobs_add(hive->jobs, &job, parts.items, parts.n);
}

static int create_locked(struct hive *hive, const struct hive_actor *actor, struct hive_job_wish *wish,
			 struct chosen *chosen, struct hive_complaints *complaints)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int64_t made = 0;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0 && wish->key)
		r = hive_answer_find(tx, actor->name, wish->key, wish->request, &made);
	if (r == -EEXIST)
		return hive_complain(complaints, "Idempotency-Key", "the key was used for another request");
	if (r == 0 && made) {
		wish->row.head.id = made;
		wish->again = true;
		return 0;
	}
	if (r == 0)
		r = choose_links(tx, actor, wish, &wish->row, chosen, complaints);
	if (r == 0)
		check_values(hive, &wish->row, complaints);
	if (r == 0)
		r = check_allowance(tx, actor, &wish->row, complaints);
	if (r < 0)
		return r;
	if (complaints->n)
		return complaints->items[0].err.code;
	r = insert_job(hive, tx, actor, wish, chosen);
	if (r == 0)
		r = take_up(hive, tx, wish->row.head.id);
	if (r == 0) {
		r = hive_tx_commit(&tx);
		/*
		 * what is not on disk must not be in the queue; it has not been looked at yet, for the lock
		 * is held
		 */
		if (r < 0)
			hive_jobs_forget(hive->jobs, wish->row.head.id);
	}
	return r;
}

int hive_job_create(struct hive *hive, const struct hive_actor *actor, struct hive_job_wish *wish,
		    struct hive_complaints *complaints)
{
	struct chosen *chosen = calloc(1, sizeof(*chosen));
	int r;

	if (!chosen)
		return -ENOMEM;
	if (!hive_actor_can(actor, HIVE_RIGHT_JOBS)) {
		r = SKEP_E_PRIVILEGE;
	} else {
		pthread_mutex_lock(&hive->jobs_lock);
		r = create_locked(hive, actor, wish, chosen, complaints);
		pthread_mutex_unlock(&hive->jobs_lock);
	}
	free(TAKE_PTR(wish->row.forced_filter));
	chosen_clear(chosen);
	free(chosen);
	return r;
}

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
