/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What must never be, looked at from outside: what the probes really do, what the disk really holds, what the
 * logic decided. Shares no code with the logic and repairs nothing.
 */
#include "tests/hive/sim_priv.h"

#include <stdio.h>
#include <string.h>

/* By what the probes do, not by what the hive believes. */
void sim_check_links(struct sim *sim)
{
	for (int l = 0; l < sim->n_links; l++) {
		int64_t n = 0, bps = 0;

		if (sim->probes[sim->links[l].probe].removed)
			continue;
		for (int j = 0; j < sim->n_jobs; j++)
			if (sim_probe_running(&sim->jobs[j].captures[l]) &&
			    sim->jobs[j].draft.kind != HIVE_KIND_SAVED) {
				n++;
				bps += sim->jobs[j].row.expected_bps;
			}
		if (sim->links[l].max_jobs && n > sim->links[l].max_jobs)
			sim_wrong(sim, "link %lld: %lld captures at once, %lld are allowed", (long long)LINK_ID(l), (long long)n,
				  (long long)sim->links[l].max_jobs);
		if (sim->links[l].max_bps && n > 1 && bps > sim->links[l].max_bps)
			sim_wrong(sim, "link %lld: %lld bit/s expected, %lld are allowed", (long long)LINK_ID(l), (long long)bps,
				  (long long)sim->links[l].max_bps);
	}
}

static const struct hive_job_link *part_of(struct sim *sim, int j, int l)
{
	return hive_jobs_get_part(sim->logic, JOB_ID(j), LINK_ID(l));
}

static bool is_ready(struct sim *sim, const struct hive_job *job)
{
	return job->state < HIVE_JOB_DONE && job->finish == HIVE_FINISH_NOT && !job->held &&
	       (uint64_t)job->start_ns <= sim->now_ns;
}

static bool begun(struct sim *sim, int j)
{
	for (int l = 0; l < sim->n_links; l++) {
		const struct hive_job_link *part = part_of(sim, j, l);

		if (part && part->state != HIVE_PART_WAITING && part->state != HIVE_PART_ENDED)
			return true;
		if (part && part->started_ns)
			return true;
	}
	return false;
}

/*
 * Who got room in this step, while somebody with a better rank wanted it? The true rows count, not the
 * logic's copy.
 */
static void check_start(struct sim *sim, int j, int l)
{
	const struct sim_job *mine = &sim->jobs[j];

	for (int other = 0; other < sim->n_jobs; other++) {
		const struct hive_job *job = hive_jobs_get(sim->logic, JOB_ID(other));
		const struct hive_job_link *part = part_of(sim, other, l);
		int64_t priority = sim->jobs[other].priority;
		bool better = priority != mine->priority ? priority > mine->priority : other < j;

		if (!job || !part || other == j || !better || !is_ready(sim, job) ||
		    job->kind == HIVE_KIND_SAVED || mine->draft.kind == HIVE_KIND_SAVED)
			continue;
		if (part->state != HIVE_PART_WAITING && part->state != HIVE_PART_PAUSED)
			continue;
		if (job->start_mode == HIVE_START_TOGETHER && !begun(sim, other))
			continue;
		sim_wrong(sim, "job %lld started on link %lld before job %lld of priority %lld", (long long)JOB_ID(j),
			  (long long)LINK_ID(l), (long long)JOB_ID(other), (long long)priority);
	}
}

void sim_check_starts(struct sim *sim, const enum hive_part_state before[MAX_JOBS][MAX_LINKS])
{
	for (int j = 0; j < sim->n_jobs; j++)
		for (int l = 0; l < sim->n_links; l++) {
			const struct hive_job_link *part = part_of(sim, j, l);
			bool had = before[j][l] == HIVE_PART_WAITING || before[j][l] == HIVE_PART_PAUSED;

			if (!part)
				continue;
			if (had && (part->state == HIVE_PART_STARTING || part->state == HIVE_PART_RESUMING))
				check_start(sim, j, l);
			if (before[j][l] == HIVE_PART_RUNNING && part->state == HIVE_PART_PAUSING &&
			    part->preempted)
				sim->seen->preemptions++;
			if (before[j][l] == HIVE_PART_WAITING && part->state == HIVE_PART_STARTING &&
			    sim->jobs[j].row.start_mode == HIVE_START_TOGETHER)
				sim->seen->together++;
		}
}

/* In the calm, a critical job does not wait while a lesser one goes on capturing on its link. */
void sim_check_critical(struct sim *sim)
{
	if (sim->chaos || sim->now_ns - sim->calm_ns < 20 * S)
		return;
	for (int j = 0; j < sim->n_jobs; j++)
		for (int l = 0; l < sim->n_links; l++) {
			const struct hive_job *job = hive_jobs_get(sim->logic, JOB_ID(j));
			const struct hive_job_link *part = part_of(sim, j, l);

			if (!job || !part || sim->jobs[j].priority != HIVE_CRITICAL ||
			    part->state != HIVE_PART_WAITING || !is_ready(sim, job) ||
			    job->start_mode == HIVE_START_TOGETHER || sim->links[l].max_bps ||
			    (uint64_t)job->start_ns + 20 * S > sim->now_ns)
				continue;
			for (int other = 0; other < sim->n_jobs; other++) {
				const struct hive_job_link *lesser = part_of(sim, other, l);

				if (lesser && sim->jobs[other].priority < HIVE_CRITICAL &&
				    lesser->state == HIVE_PART_RUNNING &&
				    (uint64_t)lesser->started_ns + 20 * S < sim->now_ns)
					sim_wrong(sim, "the critical job %lld waits on link %lld, job %lld goes on", (long long)JOB_ID(j),
						  (long long)LINK_ID(l), (long long)JOB_ID(other));
			}
		}
}

void sim_check_time(struct sim *sim)
{
	if (sim->chaos || sim->now_ns - sim->calm_ns < 20 * S)
		return;
	for (int j = 0; j < sim->n_jobs; j++)
		for (int l = 0; l < sim->n_links; l++) {
			const struct hive_job *job = hive_jobs_get(sim->logic, JOB_ID(j));
			const struct hive_job_link *part = part_of(sim, j, l);

			if (job && part && job->end_ns && (uint64_t)job->end_ns + 20 * S < sim->now_ns &&
			    (part->state == HIVE_PART_RUNNING || part->state == HIVE_PART_WAITING))
				sim_wrong(sim, "the time of job %lld is over, and it is %s on link %lld", (long long)JOB_ID(j),
					  hive_part_state_names[part->state], (long long)LINK_ID(l));
		}
}

/* ---- rows on disk ---- */

static bool is_end(int64_t state)
{
	return state == HIVE_JOB_DONE || state == HIVE_JOB_FAILED || state == HIVE_JOB_CANCELLED;
}

void sim_check_committed(struct sim *sim, struct sim_job *job)
{
	if (job->ended &&
	    (job->row.state != job->end.state || job->row.outcome != job->end.outcome ||
	     job->row.kept_pkts != job->end.kept_pkts || job->row.ended_ns != job->end.ended_ns))
		sim_wrong(sim, "job %lld ended as %s and now is %s", (long long)job->row.head.id,
			  hive_job_state_names[job->end.state], hive_job_state_names[job->row.state]);
	if (!job->ended && is_end(job->row.state)) {
		job->ended = true;
		job->end = job->row;
	}
}

static void check_part(struct sim *sim, const struct sim_job *job, int i)
{
	const struct hive_job_link *part = &job->parts[i];
	const struct sim_capture *capture = &job->captures[job->links[i]];
	long long id = part->job_id, link = part->link_id;

	if (part->state != HIVE_PART_ENDED || part->result == HIVE_RESULT_NONE)
		sim_wrong(sim, "job %lld has ended, its link %lld has not", id, link);
	if (part->on_probe || part->capturing)
		sim_wrong(sim, "job %lld on link %lld is over, and a probe may still know it", id, link);
	if (sim->probes[sim->links[job->links[i]].probe].removed)
		return;
	if (capture->exists)
		sim_wrong(sim, "job %lld on link %lld was left on the probe", id, link);
	if (capture->limit_pkts && capture->account.stored_pkts > capture->limit_pkts)
		sim_wrong(sim, "job %lld on link %lld has too many packets", id, link);
	if ((part->result == HIVE_RESULT_RELEASED) && job->row.kind != HIVE_KIND_RING)
		sim_wrong(sim, "job %lld is no ring, and link %lld was released", id, link);
	if (part->result != HIVE_RESULT_COLLECTED)
		return;
	if (job->row.kind == HIVE_KIND_RING)
		sim_wrong(sim, "the ring %lld was collected on link %lld", id, link);
	if (part->seen_pkts != part->stored_pkts + part->rejected_pkts + part->dropped_pkts)
		sim_wrong(sim, "job %lld on link %lld: %lld seen, %lld stored, %lld rejected, %lld dropped",
			  id, link, (long long)part->seen_pkts, (long long)part->stored_pkts,
			  (long long)part->rejected_pkts, (long long)part->dropped_pkts);
	if (part->stored_pkts != capture->account.stored_pkts ||
	    part->seen_pkts != capture->account.seen_pkts)
		sim_wrong(sim, "job %lld on link %lld: the account is not the probe's", id, link);
	if (part->collected_pkts != job->fetched[job->links[i]] ||
	    (part->collected_pkts < part->stored_pkts && !part->reason))
		sim_wrong(sim, "job %lld on link %lld: %lld packets collected, %lld are here", id, link,
			  (long long)part->collected_pkts, (long long)job->fetched[job->links[i]]);
}

static void check_sums(struct sim *sim, const struct sim_job *job)
{
	const struct hive_job *row = &job->row;
	int64_t stored = 0, bytes = 0, seen = 0, collected = 0;
	long long id = row->head.id;

	for (int i = 0; i < job->n_parts; i++) {
		stored += job->parts[i].stored_pkts;
		bytes += job->parts[i].stored_bytes;
		seen += job->parts[i].seen_pkts;
		if (job->parts[i].result == HIVE_RESULT_COLLECTED)
			collected += job->fetched[job->links[i]];
	}
	if (stored != row->stored_pkts || bytes != row->stored_bytes || seen != row->seen_pkts)
		sim_wrong(sim, "job %lld: the sums are not those of its links", id);
	if (row->limit_pkts && row->kept_pkts > row->limit_pkts)
		sim_wrong(sim, "job %lld: %lld packets kept, the limit is %lld", id, (long long)row->kept_pkts, (long long)row->limit_pkts);
	if (row->limit_bytes && row->kept_bytes > row->limit_bytes)
		sim_wrong(sim, "job %lld: more bytes kept than the limit", id);
	if (row->state == HIVE_JOB_DONE && !row->limit_bytes &&
	    row->kept_pkts != (row->limit_pkts ? SKEP_MIN(collected, row->limit_pkts) : collected))
		sim_wrong(sim, "job %lld: %lld packets kept of %lld, the limit is %lld", id, (long long)row->kept_pkts,
			  (long long)collected, (long long)row->limit_pkts);
}

/* The states that the rows claim must follow from what happened. */
static void check_end(struct sim *sim, const struct sim_job *job)
{
	const struct hive_job *row = &job->row;
	bool flaw = false, data = false;

	for (int i = 0; i < job->n_parts; i++) {
		const struct hive_job_link *part = &job->parts[i];

		flaw = flaw || part->dropped_pkts || part->gap || part->result == HIVE_RESULT_LOST ||
		       part->result == HIVE_RESULT_FAILED || part->result == HIVE_RESULT_SKIPPED ||
		       (part->result == HIVE_RESULT_COLLECTED && part->collected_pkts < part->stored_pkts);
		data = data || part->result == HIVE_RESULT_COLLECTED || part->result == HIVE_RESULT_RELEASED;
		sim->seen->skipped += part->result == HIVE_RESULT_SKIPPED;
		sim->seen->lost += part->result == HIVE_RESULT_LOST;
		if (part->result == HIVE_RESULT_SKIPPED && row->missing == HIVE_MISSING_WAIT && !sim->removed)
			sim_wrong(sim, "job %lld was to wait for its probes, and a link was skipped", (long long)row->head.id);
	}
	if (!is_end(row->state) || row->outcome == HIVE_OUTCOME_NONE)
		sim_wrong(sim, "job %lld has not ended: %s", (long long)row->head.id, hive_job_state_names[row->state]);
	if (row->outcome == HIVE_OUTCOME_COMPLETE && (flaw || row->state != HIVE_JOB_DONE))
		sim_wrong(sim, "job %lld is called complete, and is not", (long long)row->head.id);
	if (row->outcome == HIVE_OUTCOME_INCOMPLETE && row->state == HIVE_JOB_DONE && !row->reasons)
		sim_wrong(sim, "job %lld is incomplete, and nothing says why", (long long)row->head.id);
	if ((row->state == HIVE_JOB_CANCELLED) !=
	    (row->finish == HIVE_FINISH_CANCEL || (row->finish == HIVE_FINISH_STOP && !data && !flaw)))
		sim_wrong(sim, "job %lld: %s after finish %s", (long long)row->head.id, hive_job_state_names[row->state],
			  hive_finish_names[row->finish]);
	sim->seen->done += row->state == HIVE_JOB_DONE;
	sim->seen->failed += row->state == HIVE_JOB_FAILED;
	sim->seen->cancelled += row->state == HIVE_JOB_CANCELLED;
	sim->seen->complete += row->outcome == HIVE_OUTCOME_COMPLETE;
	sim->seen->incomplete += row->outcome == HIVE_OUTCOME_INCOMPLETE;
}

bool sim_all_over(const struct sim *sim)
{
	for (int j = 0; j < sim->n_jobs; j++) {
		const struct sim_job *job = &sim->jobs[j];

		if (job->row.head.id && !is_end(job->row.state))
			return false;
		for (int i = 0; i < job->n_parts; i++)
			if (job->parts[i].on_probe)
				return false;
	}
	return true;
}

void sim_check_all_over(struct sim *sim)
{
	if (hive_jobs_count(sim->logic))
		sim_wrong(sim, "%u jobs are still held in memory", hive_jobs_count(sim->logic));
	for (int j = 0; j < sim->n_jobs && !sim->wrong[0]; j++) {
		const struct sim_job *job = &sim->jobs[j];

		if (!job->n_parts || (j >= sim->first_run && !job->row.head.id))
			continue; /* all its probes were gone, so nobody accepted it; or no run came to it */
		if (!job->row.head.id)
			sim_wrong(sim, "job %lld was accepted and is not on the disk", (long long)JOB_ID(j));
		for (int i = 0; i < job->n_parts; i++)
			check_part(sim, job, i);
		check_sums(sim, job);
		check_end(sim, job);
	}
}
