/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a part ends, how a job ends, and what is said about it. A job is over when all its parts are, and,
 * where there is data, when its dataset is there; it ends once, in exactly one of done, failed and cancelled,
 * with every reason why it is not whole in words. Never asks for anything and never looks at who waits. One
 * thread at a time.
 */
#include "hive/svc/jobs_priv.h"

#include <stdio.h>
#include <string.h>

#define REASONS_MAX 4096 /* of a job; beyond that they repeat themselves */

static void add_line(char **text, const char *line)
{
	size_t old = *text ? strlen(*text) : 0, n = strlen(line);
	char *longer;

	if (old + n + 2 > REASONS_MAX)
		return;
	longer = realloc(*text, old + n + 2);
	if (!longer)
		return; /* a reason less */
	*text = longer;
	if (old)
		longer[old++] = '\n';
	memcpy(longer + old, line, n + 1);
}

void hive_jobs_part_reason(struct hive_jobs *jobs, struct jobs_part *part, const char *reason)
{
	char line[512], *at;

	if (!reason || !*reason)
		return;
	snprintf(line, sizeof(line), "%s", reason);
	for (at = line; *at; at++)
		if ((unsigned char)*at < 0x20)
			*at = ' ';
	if (part->row.reason && strstr(part->row.reason, line))
		return;
	add_line(&part->row.reason, line);
	hive_jobs_touch(jobs, part);
}

void hive_jobs_part_end(struct hive_jobs *jobs, struct jobs_part *part, enum hive_result result,
			const char *reason)
{
	hive_jobs_part_reason(jobs, part, reason);
	if (result == HIVE_RESULT_LOST && part->row.collected_pkts)
		result = HIVE_RESULT_COLLECTED; /* not all of it, for the reason given */
	part->row.result = result;
	part->row.ended_ns = (int64_t)jobs->now_ns;
	part->row.preempted = 0;
	hive_jobs_move(jobs, part, HIVE_PART_ENDED);
}

/* ---- the job ---- */

static bool same_or_set(int64_t *field, int64_t value)
{
	bool same = *field == value;

	*field = value;
	return same;
}

static void sum_up(struct hive_jobs *jobs, struct jobs_job *job)
{
	int64_t seen = 0, stored = 0, rejected = 0, dropped = 0, bytes = 0, started = 0;
	bool same = true;

	for (uint32_t i = 0; i < job->n_parts; i++) {
		const struct hive_job_link *row = &job->parts[i].row;

		seen += row->seen_pkts;
		stored += row->stored_pkts;
		rejected += row->rejected_pkts;
		dropped += row->dropped_pkts;
		bytes += row->stored_bytes;
		if (row->started_ns && (!started || row->started_ns < started))
			started = row->started_ns;
	}
	same &= same_or_set(&job->row.seen_pkts, seen);
	same &= same_or_set(&job->row.stored_pkts, stored);
	same &= same_or_set(&job->row.rejected_pkts, rejected);
	same &= same_or_set(&job->row.dropped_pkts, dropped);
	same &= same_or_set(&job->row.stored_bytes, bytes);
	same &= same_or_set(&job->row.started_ns, started);
	if (!same)
		hive_jobs_touch_job(jobs, job);
}

static void link_reasons(struct jobs_job *job, const struct hive_job_link *row)
{
	const char *name = row->link_name ? row->link_name : "link";
	char line[640], *reasons = row->reason ? strdup(row->reason) : NULL, *rest = reasons, *one;

	while ((one = strsep(&rest, "\n"))) {
		snprintf(line, sizeof(line), "%s: %s", name, one);
		add_line(&job->row.reasons, line);
	}
	free(reasons);
	if (row->dropped_pkts) {
		snprintf(line, sizeof(line), "%s: %lld packets were dropped", name, (long long)row->dropped_pkts);
		add_line(&job->row.reasons, line);
	}
	if (row->gap) {
		snprintf(line, sizeof(line), "%s: the capture was interrupted", name);
		add_line(&job->row.reasons, line);
	}
}

static void finalise(struct hive_jobs *jobs, struct jobs_job *job, enum hive_job_state state)
{
	bool whole = state == HIVE_JOB_DONE;

	for (uint32_t i = 0; i < job->n_parts; i++) {
		const struct hive_job_link *row = &job->parts[i].row;

		link_reasons(job, row);
		whole = whole && !row->reason && !row->dropped_pkts && !row->gap &&
			(row->result == HIVE_RESULT_COLLECTED || row->result == HIVE_RESULT_UNNEEDED ||
			 row->result == HIVE_RESULT_RELEASED);
	}
	job->row.state = state;
	job->row.outcome = whole ? HIVE_OUTCOME_COMPLETE : HIVE_OUTCOME_INCOMPLETE;
	job->row.ended_ns = (int64_t)jobs->now_ns;
	job->row.held = 0;
	hive_jobs_note(jobs, job, 0, "%s, %s", hive_job_state_names[state], hive_outcome_names[job->row.outcome]);
	hive_jobs_touch_job(jobs, job);
}

static void all_parts_over(struct hive_jobs *jobs, struct jobs_job *job)
{
	bool data = false, released = false, failed = job->row.finish == HIVE_FINISH_FAIL;

	for (uint32_t i = 0; i < job->n_parts; i++) {
		enum hive_result result = (enum hive_result)job->parts[i].row.result;

		data = data || result == HIVE_RESULT_COLLECTED;
		released = released || result == HIVE_RESULT_RELEASED;
		failed = failed || (result != HIVE_RESULT_UNNEEDED && result != HIVE_RESULT_CANCELLED &&
				    result != HIVE_RESULT_RELEASED);
	}
	if (job->row.finish == HIVE_FINISH_CANCEL) {
		finalise(jobs, job, HIVE_JOB_CANCELLED);
	} else if (data) {
		if (job->row.state != HIVE_JOB_PROCESSING) {
			job->row.state = HIVE_JOB_PROCESSING;
			hive_jobs_touch_job(jobs, job);
		}
	} else if (released) {
		finalise(jobs, job, HIVE_JOB_DONE);
	} else if (failed) {
		finalise(jobs, job, HIVE_JOB_FAILED);
	} else if (job->row.finish == HIVE_FINISH_LIMIT) {
		add_line(&job->row.reasons, "its time was over before it captured anything");
		finalise(jobs, job, HIVE_JOB_FAILED);
	} else {
		add_line(&job->row.reasons, "it was stopped before it captured anything");
		finalise(jobs, job, HIVE_JOB_CANCELLED);
	}
}

static enum hive_job_state live_state(const struct hive_jobs *jobs, const struct jobs_job *job)
{
	uint32_t in[HIVE_PART_ENDED + 1] = { 0 };

	for (uint32_t i = 0; i < job->n_parts; i++)
		in[job->parts[i].row.state]++;
	if (job->row.finish != HIVE_FINISH_NOT)
		return job->n_parts > in[HIVE_PART_COLLECTING] + in[HIVE_PART_ENDED] ? HIVE_JOB_DRAINING
										     : HIVE_JOB_COLLECTING;
	if (in[HIVE_PART_RUNNING] || (in[HIVE_PART_PAUSING] && !job->row.held) || in[HIVE_PART_RESUMING])
		return HIVE_JOB_RUNNING;
	if (in[HIVE_PART_STARTING])
		return HIVE_JOB_STARTING;
	if (job->row.held || in[HIVE_PART_PAUSED] || in[HIVE_PART_PAUSING])
		return HIVE_JOB_PAUSED;
	if (in[HIVE_PART_WAITING])
		return (uint64_t)job->row.start_ns > jobs->now_ns ? HIVE_JOB_SCHEDULED : HIVE_JOB_QUEUED;
	return HIVE_JOB_COLLECTING;
}

void hive_jobs_settle(struct hive_jobs *jobs, struct jobs_job *job)
{
	enum hive_job_state state;
	bool over = true;

	sum_up(jobs, job);
	for (uint32_t i = 0; i < job->n_parts; i++)
		over = over && job->parts[i].row.state == HIVE_PART_ENDED;
	if (over) {
		all_parts_over(jobs, job);
		return;
	}
	state = live_state(jobs, job);
	if (job->row.state == (int64_t)state)
		return;
	hive_jobs_note(jobs, job, 0, "%s", hive_job_state_names[state]);
	job->row.state = state;
	hive_jobs_touch_job(jobs, job);
}

void hive_jobs_built(struct hive_jobs *jobs, int64_t job_id, enum hive_done done, int64_t pkts, int64_t bytes,
		     const char *text)
{
	struct jobs_job *job = hive_jobs_find(jobs, job_id);

	if (!job)
		return;
	job->building = false;
	if (jobs_over(job) || job->row.state != HIVE_JOB_PROCESSING || job->row.finish == HIVE_FINISH_CANCEL)
		return; /* cancelled meanwhile: the next run says so */
	if (done == HIVE_DONE_RETRY) {
		hive_jobs_back_off(jobs, &job->failures, &job->retry_ns);
		return;
	}
	job->row.kept_pkts = pkts;
	job->row.kept_bytes = bytes;
	if (text && *text)
		add_line(&job->row.reasons, text);
	finalise(jobs, job,
		 done == HIVE_DONE_LOST || job->row.finish == HIVE_FINISH_FAIL ? HIVE_JOB_FAILED
									       : HIVE_JOB_DONE);
}
