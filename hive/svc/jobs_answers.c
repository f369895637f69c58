/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What probes and the store say, taken into the parts of jobs: accounts, and what follows from a capture that
 * runs, is paused, has ended, or is not there. Concludes nothing from an answer that a late start could still
 * overtake. Sends nothing itself (jobs_plan.c). One thread at a time.
 */
#include "hive/svc/jobs_priv.h"

#include <stdio.h>

/* Counters never go back, so a list that was asked for earlier does no harm. */
static void take_account(struct hive_jobs *jobs, struct jobs_part *part, const struct hive_status *status)
{
	struct hive_job_link *row = &part->row;
	const struct {
		int64_t *mine, theirs;
	} counters[] = {
		{ &row->seen_pkts, status->seen_pkts },	      { &row->stored_pkts, status->stored_pkts },
		{ &row->rejected_pkts, status->rejected_pkts }, { &row->dropped_pkts, status->dropped_pkts },
		{ &row->stored_bytes, status->stored_bytes },   { &row->captured_ns, status->captured_ns },
		{ &row->gap, status->gap },
	};

	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		if (*counters[i].mine < counters[i].theirs) {
			*counters[i].mine = counters[i].theirs;
			hive_jobs_touch(jobs, part);
		}
}

/* The account is final: seen = stored + rejected + dropped holds in it, so it is taken as a whole. */
static void at_ended(struct hive_jobs *jobs, struct jobs_part *part, const struct hive_status *status)
{
	if (part->row.capturing || part->row.preempted) {
		part->row.capturing = part->row.preempted = 0;
		hive_jobs_touch(jobs, part);
	}
	if (part->row.state >= HIVE_PART_COLLECTING)
		return;
	if (part->job->row.finish == HIVE_FINISH_CANCEL) {
		hive_jobs_part_end(jobs, part, HIVE_RESULT_CANCELLED, NULL);
		return;
	}
	if (status->failed && part->row.stored_pkts == 0) {
		hive_jobs_part_end(jobs, part, HIVE_RESULT_FAILED, status->text ? status->text : "the capture failed");
		return;
	}
	hive_jobs_part_reason(jobs, part, status->text);
	if (part->job->row.kind == HIVE_KIND_RING)
		hive_jobs_part_end(jobs, part, HIVE_RESULT_RELEASED, NULL);
	else
		hive_jobs_move(jobs, part, HIVE_PART_COLLECTING);
}

/* A late start may still come: nothing is concluded before it would have been here. */
static bool still_hot(struct hive_jobs *jobs, struct jobs_part *part, uint64_t asked_ns)
{
	if (asked_ns >= (uint64_t)part->row.hot_ns)
		return false;
	part->retry_ns = SKEP_MAX(jobs->now_ns, (uint64_t)part->row.hot_ns);
	return true;
}

static void at_absent(struct hive_jobs *jobs, struct jobs_part *part, uint64_t asked_ns)
{
	bool cancel = part->job->row.finish == HIVE_FINISH_CANCEL;

	if (part->row.state == HIVE_PART_WAITING ||
	    (part->row.state == HIVE_PART_STARTING && !part->row.alive))
		return; /* not yet: the plan creates it, or does so again */
	if (still_hot(jobs, part, asked_ns))
		return;
	part->row.on_probe = part->row.capturing = part->row.preempted = 0;
	hive_jobs_touch(jobs, part);
	if (part->row.state == HIVE_PART_ENDED)
		return;
	if (cancel || !part->row.alive)
		hive_jobs_part_end(jobs, part, cancel ? HIVE_RESULT_CANCELLED : HIVE_RESULT_UNNEEDED, NULL);
	else
		hive_jobs_part_end(jobs, part, HIVE_RESULT_LOST, "the probe no longer knows the capture");
}

static void at_running(struct hive_jobs *jobs, struct jobs_part *part, bool pending)
{
	/* if somebody else resumed it: it takes room, whoever it was */
	if (!part->row.capturing && jobs_takes_room(part->job)) {
		part->row.capturing = 1;
		hive_jobs_touch(jobs, part);
	}
	if (part->row.state == HIVE_PART_PAUSED)
		hive_jobs_move(jobs, part, HIVE_PART_PAUSING);
	if (pending || (part->row.state != HIVE_PART_STARTING && part->row.state != HIVE_PART_RESUMING))
		return;
	part->row.preempted = 0;
	if (!part->row.started_ns)
		part->row.started_ns = (int64_t)jobs->now_ns;
	hive_jobs_move(jobs, part, HIVE_PART_RUNNING);
}

static void at_paused(struct hive_jobs *jobs, struct jobs_part *part, uint64_t asked_ns)
{
	if (part->row.state == HIVE_PART_PAUSING && !still_hot(jobs, part, asked_ns)) {
		part->row.capturing = 0;
		hive_jobs_move(jobs, part, HIVE_PART_PAUSED);
	} else if (part->row.state == HIVE_PART_RUNNING || part->row.state == HIVE_PART_STARTING) {
		hive_jobs_move(jobs, part, HIVE_PART_RESUMING); /* not by us; its room is still ours */
	}
}

static void check_limits(struct hive_jobs *jobs, struct jobs_job *job)
{
	int64_t pkts = 0, bytes = 0;

	for (uint32_t i = 0; i < job->n_parts; i++) {
		pkts += job->parts[i].row.stored_pkts;
		bytes += job->parts[i].row.stored_bytes;
	}
	if ((job->row.limit_pkts && pkts >= job->row.limit_pkts) ||
	    (job->row.limit_bytes && bytes >= job->row.limit_bytes))
		hive_jobs_bring_to_end(jobs, job, HIVE_FINISH_LIMIT, NULL);
}

static void apply(struct hive_jobs *jobs, struct jobs_part *part, const struct hive_status *status,
		  uint64_t asked_ns)
{
	part->at = status->at;
	part->heard_ns = jobs->now_ns;
	part->unsure = false;
	part->failures = 0;
	if (status->at != HIVE_AT_ABSENT) {
		if (part->row.state != HIVE_PART_ENDED) /* what is over has its account */
			take_account(jobs, part, status);
		if (!part->row.alive || !part->row.on_probe) {
			part->row.alive = part->row.on_probe = 1;
			hive_jobs_touch(jobs, part);
		}
	}
	switch (status->at) {
	case HIVE_AT_UNKNOWN:
		break;
	case HIVE_AT_ABSENT:
		at_absent(jobs, part, asked_ns);
		break;
	case HIVE_AT_PENDING:
	case HIVE_AT_RUNNING:
		at_running(jobs, part, status->at == HIVE_AT_PENDING);
		break;
	case HIVE_AT_PAUSED:
		at_paused(jobs, part, asked_ns);
		break;
	case HIVE_AT_ENDED:
		at_ended(jobs, part, status);
		break;
	}
	if (!jobs_over(part->job))
		check_limits(jobs, part->job);
}

void hive_jobs_status(struct hive_jobs *jobs, int64_t job_id, int64_t link_id,
		      const struct hive_status *status, uint64_t asked_ns)
{
	struct jobs_part *part = hive_jobs_find_part(jobs, job_id, link_id);

	/* what is under way will change it, and what was asked before the last answer is older than that */
	if (!part || !part->link || status->at == HIVE_AT_ABSENT || part->request != HIVE_REQUEST_NONE ||
	    asked_ns < part->applied_ns)
		return;
	apply(jobs, part, status, asked_ns);
}

static void refused(struct hive_jobs *jobs, struct jobs_part *part, enum hive_request request,
		    const char *text)
{
	bool cancel = part->job->row.finish == HIVE_FINISH_CANCEL;

	if (request != HIVE_REQUEST_CREATE) {
		part->unsure = true; /* it has ended meanwhile, or is not in the state we believe */
		part->at = HIVE_AT_UNKNOWN;
		hive_jobs_back_off(jobs, &part->failures, &part->retry_ns);
		return;
	}
	if (part->row.state != HIVE_PART_ENDED)
		hive_jobs_part_end(jobs, part, cancel ? HIVE_RESULT_CANCELLED : HIVE_RESULT_FAILED,
				   text ? text : "the probe refused the capture");
}

void hive_jobs_reply(struct hive_jobs *jobs, const struct hive_reply *reply)
{
	struct jobs_part *part = hive_jobs_find_part(jobs, reply->job_id, reply->link_id);
	enum hive_request request;

	/* !link: the probe was removed meanwhile */
	if (!part || !part->link || part->request == HIVE_REQUEST_NONE || part->serial != reply->serial)
		return;
	request = part->request;
	part->request = HIVE_REQUEST_NONE;
	if (reply->kind == HIVE_REPLY_LOST) {
		hive_jobs_back_off(jobs, &part->failures, &part->retry_ns);
		return;
	}
	part->applied_ns = jobs->now_ns;
	if (request == HIVE_REQUEST_CREATE || request == HIVE_REQUEST_RESUME) {
		part->row.hot_ns = (int64_t)part->hot_before_ns; /* this one has arrived */
		hive_jobs_touch(jobs, part);
	}
	if (reply->kind == HIVE_REPLY_REFUSED)
		refused(jobs, part, request, reply->text);
	else
		apply(jobs, part, &reply->status, part->sent_ns);
}

void hive_jobs_collected(struct hive_jobs *jobs, const struct hive_collected *collected)
{
	struct jobs_part *part = hive_jobs_find_part(jobs, collected->job_id, collected->link_id);
	char short_of[128];

	if (!part)
		return;
	part->collecting = false;
	if (part->row.state != HIVE_PART_COLLECTING)
		return;
	part->row.collected_pkts = collected->pkts;
	part->row.collected_bytes = collected->bytes;
	hive_jobs_touch(jobs, part);
	if (collected->done == HIVE_DONE_RETRY) {
		hive_jobs_back_off(jobs, &part->failures, &part->retry_ns);
		return;
	}
	if (collected->done == HIVE_DONE_OK && collected->pkts == part->row.stored_pkts) {
		hive_jobs_part_end(jobs, part, HIVE_RESULT_COLLECTED, NULL);
		return;
	}
	snprintf(short_of, sizeof(short_of), "%lld of %lld packets could be collected", (long long)collected->pkts,
		 (long long)part->row.stored_pkts);
	hive_jobs_part_reason(jobs, part, collected->text);
	hive_jobs_part_end(jobs, part, HIVE_RESULT_LOST, short_of);
}
