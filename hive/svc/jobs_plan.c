/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who starts, who waits, who gives way; and which requests are due. Jobs are looked at by rank: priority,
 * then age. On a link nobody starts past somebody with a better rank who waits for room there; links do not
 * wait for each other. The one exception: a job that starts on all its links together and cannot yet lets
 * others pass, until its patience is over; from then on what becomes free on its links is kept for it. Only
 * the best such job keeps links that two want, so they never wait for each other.
 *
 * A critical job pauses running ones of lower priority, the worst rank first, and only if that makes enough
 * room. Room is counted by what the probes may be capturing, not by what we have asked them to.
 */
#include "hive/svc/jobs_priv.h"

#include <stdio.h>

static bool ready(const struct hive_jobs *jobs, const struct jobs_job *job)
{
	return !jobs_over(job) && job->row.finish == HIVE_FINISH_NOT && !job->row.held &&
	       (uint64_t)job->row.start_ns <= jobs->now_ns;
}

static void count_links(struct hive_jobs *jobs)
{
	for (uint32_t i = 0; i < jobs->links.n; i++) {
		struct jobs_link *link = jobs->links.items[i];

		link->used_jobs = link->used_bps = 0;
		link->blocked = false;
	}
	for (uint32_t j = 0; j < jobs->jobs.n; j++) {
		const struct jobs_job *job = jobs->jobs.items[j];

		for (uint32_t i = 0; i < job->n_parts; i++) {
			const struct jobs_part *part = &job->parts[i];

			if (!part->link || !part->row.capturing)
				continue;
			part->link->used_jobs++;
			part->link->used_bps += job->row.expected_bps;
		}
	}
}

/*
 * Would there be room if `jobs` captures of together `bps` were gone? One job alone may always exceed the bit
 * rate.
 */
static bool has_room(const struct jobs_link *link, const struct jobs_job *job, int64_t less_jobs,
		     int64_t less_bps)
{
	int64_t used = link->used_jobs - less_jobs, bps = link->used_bps - less_bps;

	if (link->cfg.max_jobs && used >= link->cfg.max_jobs)
		return false;
	return !link->cfg.max_bps || used == 0 || bps + job->row.expected_bps <= link->cfg.max_bps;
}

static bool can_take(const struct jobs_part *part)
{
	const struct jobs_link *link = part->link;

	if (!jobs_takes_room(part->job))
		return link && link->probe->up;
	return link && !link->blocked && link->probe->up &&
	       !(link->cfg.disabled && part->row.state == HIVE_PART_WAITING) &&
	       has_room(link, part->job, 0, 0);
}

static void take(struct hive_jobs *jobs, struct jobs_part *part)
{
	part->row.on_probe = 1;
	if (jobs_takes_room(part->job)) {
		part->link->used_jobs++;
		part->link->used_bps += part->job->row.expected_bps;
		part->row.capturing = 1;
	}
	hive_jobs_move(jobs, part,
		       part->row.state == HIVE_PART_WAITING ? HIVE_PART_STARTING : HIVE_PART_RESUMING);
}

static bool wants_room(const struct jobs_part *part)
{
	return part->row.state == HIVE_PART_WAITING || part->row.state == HIVE_PART_PAUSED;
}

/* ---- giving way ---- */

static struct jobs_part *part_on(struct jobs_job *job, const struct jobs_link *link)
{
	for (uint32_t i = 0; i < job->n_parts; i++)
		if (job->parts[i].link == link)
			return &job->parts[i];
	return NULL;
}

static bool gives_way(const struct jobs_part *part, const struct jobs_job *to)
{
	return part->row.state == HIVE_PART_RUNNING && part->job->row.priority < to->row.priority &&
	       jobs_takes_room(part->job) && !part->unsure && part->link->probe->up;
}

/*
 * Finds enough captures that can be paused for the job on that link, counting those that are on their way out
 * already; with `act` pauses them. False: not enough, and none is paused.
 */
static bool make_way(struct hive_jobs *jobs, const struct jobs_job *job, const struct jobs_link *link,
		     bool act)
{
	int64_t less_jobs = 0, less_bps = 0;
	uint32_t j = jobs->jobs.n;

	for (uint32_t i = 0; i < jobs->jobs.n; i++) {
		const struct jobs_part *part = part_on(jobs->ranked[i], link);

		if (!part || !part->row.capturing)
			continue;
		if (part->row.state == HIVE_PART_PAUSING || part->row.state == HIVE_PART_STOPPING ||
		    part->row.state == HIVE_PART_ENDED) {
			less_jobs++;
			less_bps += part->job->row.expected_bps;
		}
	}
	while (j > 0 && !has_room(link, job, less_jobs, less_bps)) {
		struct jobs_part *part = part_on(jobs->ranked[--j], link);

		if (!part || !gives_way(part, job))
			continue;
		less_jobs++;
		less_bps += part->job->row.expected_bps;
		if (!act)
			continue;
		part->row.preempted = 1;
		hive_jobs_note(jobs, part->job, link->cfg.id, "gives way to the critical job %lld", (long long)job->row.head.id);
		hive_jobs_move(jobs, part, HIVE_PART_PAUSING);
	}
	return has_room(link, job, less_jobs, less_bps);
}

static void try_part(struct hive_jobs *jobs, struct jobs_part *part)
{
	struct jobs_link *link = part->link;

	if (can_take(part)) {
		take(jobs, part);
		return;
	}
	if (!link || link->blocked || !link->probe->up || !jobs_takes_room(part->job) ||
	    (link->cfg.disabled && part->row.state == HIVE_PART_WAITING))
		return;
	if (part->job->row.priority == HIVE_CRITICAL && make_way(jobs, part->job, link, false))
		(void)make_way(jobs, part->job, link, true);
	link->blocked = true;
}

/* ---- all links at once ---- */

static bool not_begun(const struct jobs_job *job)
{
	for (uint32_t i = 0; i < job->n_parts; i++)
		if (job->parts[i].row.state != HIVE_PART_WAITING && job->parts[i].row.started_ns)
			return false;
	for (uint32_t i = 0; i < job->n_parts; i++)
		if (job->parts[i].row.state != HIVE_PART_WAITING &&
		    job->parts[i].row.state != HIVE_PART_ENDED)
			return false;
	return true;
}

/* For a critical job: can each of its links be had by pausing others? */
static bool all_make_way(struct hive_jobs *jobs, const struct jobs_job *job, bool act)
{
	bool all = job->row.priority == HIVE_CRITICAL;

	for (uint32_t i = 0; all && i < job->n_parts; i++) {
		const struct jobs_part *part = &job->parts[i];

		if (part->row.state != HIVE_PART_WAITING || can_take(part))
			continue;
		all = part->link && !part->link->blocked && part->link->probe->up &&
		      !part->link->cfg.disabled && make_way(jobs, job, part->link, act);
	}
	return all;
}

static void try_together(struct hive_jobs *jobs, struct jobs_job *job)
{
	uint64_t since_ns = (uint64_t)SKEP_MAX(job->row.start_ns, job->row.created_ns);
	bool all = true, reachable = true, way;

	for (uint32_t i = 0; i < job->n_parts; i++) {
		const struct jobs_part *part = &job->parts[i];

		if (part->row.state != HIVE_PART_WAITING)
			continue;
		all = all && can_take(part);
		reachable = reachable && part->link && part->link->probe->up && !part->link->cfg.disabled;
	}
	if (!all) {
		way = all_make_way(jobs, job, false) && all_make_way(jobs, job, true);
		/* nothing is kept for a job that waits for a probe: that may take days */
		if (!way && !(reachable && jobs->now_ns - since_ns >= jobs->settings.patience_ns))
			return;
	}
	for (uint32_t i = 0; i < job->n_parts; i++) {
		struct jobs_part *part = &job->parts[i];

		if (part->row.state != HIVE_PART_WAITING)
			continue;
		if (all)
			take(jobs, part);
		else if (part->link)
			part->link->blocked = true;
	}
}

static void start_who_can(struct hive_jobs *jobs)
{
	for (uint32_t j = 0; j < jobs->jobs.n; j++) {
		struct jobs_job *job = jobs->ranked[j];

		if (!ready(jobs, job))
			continue;
		if (job->row.start_mode == HIVE_START_TOGETHER && not_begun(job)) {
			try_together(jobs, job);
			continue;
		}
		for (uint32_t i = 0; i < job->n_parts; i++)
			if (wants_room(&job->parts[i]))
				try_part(jobs, &job->parts[i]);
	}
}

/* ---- who waits in vain ---- */

static void probe_is_missing(struct hive_jobs *jobs, struct jobs_part *part)
{
	struct jobs_job *job = part->job;
	char reason[160];

	snprintf(reason, sizeof(reason), "the probe %s could not be reached when the capture was to start",
		 part->row.probe_name ? part->row.probe_name : "");
	if (job->row.missing == HIVE_MISSING_WAIT)
		return;
	hive_jobs_part_end(jobs, part, HIVE_RESULT_SKIPPED, reason);
	if (job->row.missing == HIVE_MISSING_FAIL)
		hive_jobs_bring_to_end(jobs, job, HIVE_FINISH_FAIL, NULL);
}

static void probe_is_lost(struct hive_jobs *jobs, struct jobs_part *part)
{
	struct jobs_job *job = part->job;
	bool dropped = job->row.finish == HIVE_FINISH_CANCEL || job->row.finish == HIVE_FINISH_FAIL;
	char reason[160];

	snprintf(reason, sizeof(reason), "the probe %s could not be reached for %llu min while it had the capture",
		 part->row.probe_name ? part->row.probe_name : "",
		 (unsigned long long)(jobs->settings.lost_ns / (60 * SKEP_NSEC_PER_SEC)));
	if (job->row.missing == HIVE_MISSING_FAIL)
		hive_jobs_bring_to_end(jobs, job, HIVE_FINISH_FAIL, NULL);
	else if (!dropped && job->row.missing == HIVE_MISSING_WAIT)
		return;
	hive_jobs_part_end(jobs, part,
			   job->row.finish == HIVE_FINISH_CANCEL ? HIVE_RESULT_CANCELLED : HIVE_RESULT_LOST,
			   reason);
}

static void give_up(struct hive_jobs *jobs, struct jobs_job *job)
{
	if (job->row.end_ns && jobs->now_ns >= (uint64_t)job->row.end_ns &&
	    job->row.finish == HIVE_FINISH_NOT)
		hive_jobs_bring_to_end(jobs, job, HIVE_FINISH_LIMIT, NULL);
	for (uint32_t i = 0; i < job->n_parts; i++) {
		struct jobs_part *part = &job->parts[i];

		if (part->row.state == HIVE_PART_WAITING) {
			if (ready(jobs, job) && jobs_missing(jobs, part, jobs->settings.grace_ns))
				probe_is_missing(jobs, part);
		} else if (part->row.state != HIVE_PART_ENDED && !part->collecting &&
			   jobs_missing(jobs, part, jobs->settings.lost_ns)) {
			probe_is_lost(jobs, part);
		}
	}
}

/* ---- requests ---- */

/* A probe that lost its journal lists nothing, and so says nothing of what it lost. */
static bool silent(const struct hive_jobs *jobs, const struct jobs_part *part)
{
	return jobs->now_ns - part->heard_ns > 2 * jobs->settings.retry_max_ns;
}

static enum hive_request wish(const struct hive_jobs *jobs, const struct jobs_part *part)
{
	switch ((enum hive_part_state)part->row.state) {
	case HIVE_PART_STARTING:
		return HIVE_REQUEST_CREATE;
	case HIVE_PART_RUNNING:
	case HIVE_PART_PAUSED:
		return part->unsure || silent(jobs, part) ? HIVE_REQUEST_QUERY : HIVE_REQUEST_NONE;
	case HIVE_PART_PAUSING:
		return part->unsure ? HIVE_REQUEST_QUERY : HIVE_REQUEST_PAUSE;
	case HIVE_PART_RESUMING:
		return part->unsure ? HIVE_REQUEST_QUERY : HIVE_REQUEST_RESUME;
	case HIVE_PART_STOPPING:
		return part->unsure ? HIVE_REQUEST_QUERY : HIVE_REQUEST_STOP;
	case HIVE_PART_ENDED:
		if (!part->row.on_probe)
			return HIVE_REQUEST_NONE;
		if (part->unsure || part->at == HIVE_AT_UNKNOWN)
			return HIVE_REQUEST_QUERY;
		return part->at == HIVE_AT_ENDED || part->at == HIVE_AT_ABSENT ? HIVE_REQUEST_DELETE
									       : HIVE_REQUEST_STOP;
	case HIVE_PART_WAITING:
	case HIVE_PART_COLLECTING:
		break;
	}
	return HIVE_REQUEST_NONE;
}

static int64_t smaller_limit(int64_t a, int64_t b)
{
	return !a ? b : !b ? a : SKEP_MIN(a, b);
}

static void request(struct hive_jobs *jobs, struct jobs_part *part, enum hive_request kind)
{
	const struct hive_job *job = &part->job->row;
	struct hive_effect *effect = hive_jobs_effect(jobs);

	if (!effect)
		return; /* the next run tries again */
	effect->kind = HIVE_EFFECT_REQUEST;
	effect->request = kind;
	effect->job_id = job->head.id;
	effect->link_id = part->row.link_id;
	effect->probe_id = part->row.probe_id;
	/* Each link alone may reach the limit of all; what is too much together is cut from the dataset. */
	effect->limit_pkts = smaller_limit(job->link_limit_pkts, job->limit_pkts);
	effect->limit_bytes = smaller_limit(job->link_limit_bytes, job->limit_bytes);
	part->request = kind;
	part->serial = effect->serial;
	part->sent_ns = jobs->now_ns;
	part->retry_ns = jobs->now_ns + jobs->settings.retry_min_ns; /* if the answer changes nothing */
	if (kind == HIVE_REQUEST_CREATE || kind == HIVE_REQUEST_RESUME) {
		part->hot_before_ns = (uint64_t)part->row.hot_ns;
		part->row.hot_ns = (int64_t)(jobs->now_ns + jobs->settings.settle_ns);
		hive_jobs_touch(jobs, part);
	}
}

/* Also while the probe is away: what is here already is counted then. */
static void collect(struct hive_jobs *jobs, struct jobs_part *part)
{
	struct hive_effect *effect = hive_jobs_effect(jobs);

	if (!effect)
		return;
	effect->kind = HIVE_EFFECT_COLLECT;
	effect->job_id = part->job->row.head.id;
	effect->link_id = part->row.link_id;
	effect->probe_id = part->row.probe_id;
	part->collecting = true;
}

static void drive(struct hive_jobs *jobs, struct jobs_part *part)
{
	enum hive_request kind = wish(jobs, part);

	if (!part->link || jobs->now_ns < part->retry_ns)
		return;
	if (part->row.state == HIVE_PART_COLLECTING && !part->collecting)
		collect(jobs, part);
	if (kind == HIVE_REQUEST_NONE || part->request != HIVE_REQUEST_NONE || !part->link->probe->up)
		return;
	/* a start that arrived after it was deleted would begin anew */
	if (kind == HIVE_REQUEST_DELETE && jobs->now_ns < (uint64_t)part->row.hot_ns)
		return;
	request(jobs, part, kind);
}

static void build(struct hive_jobs *jobs, struct jobs_job *job)
{
	struct hive_effect *effect;

	if (job->row.state != HIVE_JOB_PROCESSING || job->building || jobs->now_ns < job->retry_ns)
		return;
	effect = hive_jobs_effect(jobs);
	if (!effect)
		return;
	effect->kind = HIVE_EFFECT_BUILD;
	effect->job_id = job->row.head.id;
	effect->limit_pkts = job->row.limit_pkts;
	effect->limit_bytes = job->row.limit_bytes;
	job->building = true;
}

void hive_jobs_plan(struct hive_jobs *jobs)
{
	for (uint32_t j = 0; j < jobs->jobs.n; j++) {
		struct jobs_job *job = jobs->jobs.items[j];

		if (jobs_over(job))
			continue;
		give_up(jobs, job);
		for (uint32_t i = 0; i < job->n_parts && job->row.held; i++)
			if (job->parts[i].row.state == HIVE_PART_RUNNING)
				hive_jobs_move(jobs, &job->parts[i], HIVE_PART_PAUSING);
	}
	count_links(jobs);
	start_who_can(jobs);
	for (uint32_t j = 0; j < jobs->jobs.n; j++) {
		struct jobs_job *job = jobs->jobs.items[j];

		if (!jobs_over(job))
			hive_jobs_settle(jobs, job);
		for (uint32_t i = 0; i < job->n_parts; i++)
			drive(jobs, &job->parts[i]);
		build(jobs, job);
	}
}
