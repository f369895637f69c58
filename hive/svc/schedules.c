/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs of schedules. The job of a run and the schedule's note of it are one transaction, so each run makes
 * one job or is counted as missed, whenever the hive is killed. The job is made as its owner, with the rights
 * that they have at that moment; what is refused then is a missed run with the reason. The rules of templates
 * and schedules as things are here too. Called by one thread.
 */
#include "hive/svc/schedules.h"

#include "common/format.h"
#include "common/log.h"
#include "hive/svc/jobs.h"
#include "hive/svc/login.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RUNS_PER_TURN 20 /* the others a fifth of a second later */

void hive_jobs_read_by(struct hive *hive, const struct hive_job_reader *reader)
{
	hive->reader = reader;
}

/* ---- one run ---- */

struct noting {
	struct hive_schedule *schedule; /* as it was read; its version is that which is replaced */
	const struct hive_run *run;
};

static int set_reason(struct hive_schedule *schedule, const char *reason)
{
	char *copy = reason ? strdup(reason) : NULL;

	if (reason && !copy)
		return -ENOMEM;
	free(schedule->reason);
	schedule->reason = copy;
	return 0;
}

static int note_run(struct hive_tx *tx, int64_t job_id, void *arg)
{
	struct noting *noting = arg;
	struct hive_schedule *schedule = noting->schedule;

	schedule->next_ns = noting->run->next_ns;
	schedule->missed += noting->run->missed;
	schedule->runs++;
	schedule->last_ns = noting->run->time_ns;
	schedule->last_job_id = job_id;
	return hive_row_update(tx, &hive_schedules, schedule);
}

static int note_missed(struct hive *hive, struct hive_schedule *schedule, const struct hive_run *run,
		       const char *reason)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	schedule->next_ns = run->next_ns;
	schedule->missed += run->missed + run->due;
	if (r == 0 && reason)
		r = set_reason(schedule, reason);
	if (r == 0)
		r = hive_row_update(tx, &hive_schedules, schedule);
	return r < 0 ? r : hive_tx_commit(&tx);
}

/* The limits of the run over those of the job. */
static int fill(const struct hive_schedule *schedule, const struct hive_run *run, struct hive_job_wish *wish)
{
	char time[SKEP_FORMAT_MAX], name[HIVE_NAME_MAX + 1];
	struct hive_job *job = &wish->row;

	skep_format_time(time, (uint64_t)run->time_ns);
	snprintf(name, sizeof(name), "%.40s %.16sZ", job->name ? job->name : schedule->name, time);
	free(job->name);
	job->name = strdup(name);
	job->schedule_id = schedule->head.id;
	job->start_ns = 0;
	if (run->end_ns && (!job->end_ns || run->end_ns < job->end_ns))
		job->end_ns = run->end_ns;
	if (schedule->window_s && (!job->limit_duration_s || job->limit_duration_s > schedule->window_s) &&
	    job->kind == HIVE_KIND_CAPTURE)
		job->limit_duration_s = schedule->window_s;
	return job->name ? 0 : -ENOMEM;
}

static int make_job(struct hive *hive, const struct hive_job_reader *reader, struct hive_schedule *schedule,
		    const struct hive_run *run, struct hive_complaints *complaints)
{
	struct noting noting = { schedule, run };
	struct hive_job_wish wish = { .with = note_run, .with_arg = &noting };
	struct hive_actor actor = { 0 };
	void *keep = NULL;
	int r = hive_actor_of_user(hive, schedule->owner_id, "schedule", &actor);

	if (r == SKEP_E_PRIVILEGE)
		return hive_complain(complaints, NULL, "its owner is disabled");
	if (r == 0)
		r = reader->read(schedule->job, &wish, &keep, complaints);
	if (r == 0)
		r = fill(schedule, run, &wish);
	if (r == 0)
		r = hive_job_create(hive, &actor, &wish, complaints);
	if (keep)
		reader->done(&wish, keep);
	return r;
}

static void run_one(struct hive *hive, const struct hive_job_reader *reader, struct hive_schedule *schedule)
{
	struct hive_complaints complaints = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	const char *why = "the hive was not running at its time, or its window was over";
	struct hive_cron cron;
	struct hive_run run;
	int r = hive_cron_parse(schedule->cron, &cron, &err);

	if (r != 0) { /* it was checked when it was made */
		run = (struct hive_run){ .due = true };
		why = err.text;
	} else {
		hive_schedule_decide(schedule, &cron, hive_now_ns(hive), &run);
		if (run.due && run.missed)
			r = set_reason(schedule, why);
		if (run.due && r == 0)
			r = make_job(hive, reader, schedule, &run, &complaints);
		if (run.due && r > 0)
			why = complaints.n ? complaints.items[0].err.text : "its owner may not make jobs any more";
	}
	/* -errno: the next turn tries again; -ESTALE: somebody has just changed it */
	if (r > 0 || (r == 0 && !run.due))
		r = note_missed(hive, schedule, &run, why);
	if (r < 0 && r != -ESTALE)
		skep_log(SKEP_LOG_ERROR, "schedule=%" PRId64 " %s", schedule->head.id, strerror(-r));
}

void hive_schedules_run(struct hive *hive)
{
	const struct hive_job_reader *reader = hive->reader;

	for (int i = 0; reader && i < RUNS_PER_TURN; i++) {
		_hive_schedule_ struct hive_schedule schedule = { 0 };
		struct hive_tx *tx = NULL;
		int r = hive_db_read(hive->db, &tx);

		if (r == 0)
			r = hive_schedule_due_first(tx, hive_now_ns(hive), &schedule);
		hive_tx_abortp(&tx);
		if (r < 0)
			return;
		run_one(hive, reader, &schedule);
	}
}

/* ---- as things ---- */

static int own_scope(const struct hive_actor *actor, struct hive_list *list)
{
	return hive_scope_owned(actor, &hive_schedules, list);
}

static int schedule_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row,
			enum hive_verb verb)
{
	(void)verb;
	return hive_may_owned(tx, actor, ((const struct hive_schedule *)row)->owner_id);
}

/* Is what it says a job? Whether it may be made is looked at when it is. */
static void check_job(struct hive_wish *wish, const char *json)
{
	const struct hive_job_reader *reader = wish->hive->reader;
	struct hive_job_wish job = { 0 };
	void *keep = NULL;

	if (!json)
		(void)hive_complain(wish->complaints, "job", "job: is missing");
	else if (reader)
		(void)reader->read(json, &job, &keep, wish->complaints);
	if (keep)
		reader->done(&job, keep);
}

static int result_of(const struct hive_complaints *complaints)
{
	return complaints->n ? complaints->items[0].err.code : 0;
}

static int schedule_check(struct hive_wish *wish)
{
	struct hive_schedule *schedule = wish->change->row;
	const struct hive_schedule *before = wish->before;
	struct skep_err err = SKEP_ERR_NULL;
	struct hive_cron cron;
	bool planned = before && !before->disabled && strcmp(before->cron, schedule->cron ? schedule->cron : "") == 0 &&
		       before->from_ns == schedule->from_ns && before->until_ns == schedule->until_ns &&
		       before->repeat == schedule->repeat;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_JOBS))
		return SKEP_E_PRIVILEGE;
	/* jobs are made as the owner: nobody else says which */
	if (before && before->owner_id != wish->actor->user_id && strcmp(before->job, schedule->job ? schedule->job : "") != 0)
		return SKEP_E_PRIVILEGE;
	(void)hive_check_name(wish->complaints, "name", schedule->name);
	if (schedule->window_s < 0 || schedule->window_s > 366 * 86400)
		(void)hive_complain(wish->complaints, "window_s", "window_s: must be between 0 and a year");
	if (schedule->repeat < 0)
		(void)hive_complain(wish->complaints, "repeat", "repeat: must not be negative; 0 is for ever");
	if (schedule->until_ns && schedule->until_ns <= schedule->from_ns)
		(void)hive_complain(wish->complaints, "until", "until: is before from");
	check_job(wish, schedule->job);
	if (!schedule->cron || hive_cron_parse(schedule->cron, &cron, &err) != 0) {
		if (!schedule->cron)
			(void)skep_err_set(&err, SKEP_E_USAGE, "cron: is missing");
		return hive_complain_err(wish->complaints, "cron", &err);
	}
	if (wish->complaints->n)
		return result_of(wish->complaints);
	if (!before) {
		schedule->owner_id = wish->actor->user_id;
		schedule->created_ns = hive_now_ns(wish->hive);
	}
	if (!planned)
		schedule->next_ns = hive_schedule_first(schedule, &cron, hive_now_ns(wish->hive));
	if (!schedule->next_ns && !before)
		(void)hive_complain(wish->complaints, "cron", "cron: there is no such time, or none before until");
	return result_of(wish->complaints);
}

const struct hive_rules hive_schedule_rules = {
	.table = &hive_schedules, .word = "schedule", .scope = own_scope, .may = schedule_may, .check = schedule_check,
};

static int template_scope(const struct hive_actor *actor, struct hive_list *list)
{
	hive_narrow(list, &hive_templates, "owner_id", HIVE_OR_SHARED, actor->user_id);
	return 0;
}

static int template_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row,
			enum hive_verb verb)
{
	const struct hive_template *template = row;

	(void)tx;
	if (template->owner_id == actor->user_id)
		return 0;
	return !template->shared ? SKEP_E_NOT_FOUND : verb == HIVE_SEE ? 0 : SKEP_E_PRIVILEGE;
}

static int template_check(struct hive_wish *wish)
{
	struct hive_template *template = wish->change->row;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_JOBS))
		return SKEP_E_PRIVILEGE;
	(void)hive_check_name(wish->complaints, "name", template->name);
	check_job(wish, template->job);
	if (!wish->before) {
		template->owner_id = wish->actor->user_id;
		template->created_ns = hive_now_ns(wish->hive);
	}
	return result_of(wish->complaints);
}

const struct hive_rules hive_template_rules = {
	.table = &hive_templates, .word = "template", .scope = template_scope, .may = template_may, .check = template_check,
};
