/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A schedule in the simulated world: at each turn of the hive the run that is due becomes a job, in one
 * transaction with the schedule's own row, and the hive is killed before and after it. From outside it is
 * looked at whether each of the times of the calendar made one job or was counted as missed, never both. See
 * sim.h.
 */
#include "tests/hive/sim_priv.h"

#include <assert.h>
#include <string.h>

#define RUNS (MAX_JOBS - MAX_ASKED)

void sim_plans_draw(struct sim *sim)
{
	int64_t first;

	sim->first_run = sim->n_jobs;
	sim->has_schedule = sim_chance(sim, 100);
	if (!sim->has_schedule)
		return;
	sim->n_jobs += RUNS;
	assert(hive_cron_parse("* * * * *", &sim->cron, NULL) == 0);
	sim->schedule =
		(struct hive_schedule){ .repeat = RUNS,
					.missed_runs = (int64_t)sim_random(sim, 2),
					.window_s = sim_chance(sim, 500) ? 10 + (int64_t)sim_random(sim, 40)
									 : 0 };
	first = hive_schedule_first(&sim->schedule, &sim->cron, (int64_t)sim->now_ns);
	sim->schedule.next_ns = first;
}

static void note(struct sim *sim, const struct hive_run *run, bool made)
{
	sim->schedule.next_ns = run->next_ns;
	sim->schedule.missed += run->missed;
	if (!made)
		return;
	if (run->time_ns <= sim->schedule.last_ns)
		sim_wrong(sim, "the schedule made two jobs of one time");
	sim->schedule.runs++;
	sim->schedule.last_ns = run->time_ns;
}

void sim_plans_step(struct sim *sim)
{
	struct hive_run run;
	int j = sim->first_run + sim->n_runs;

	if (!sim->has_schedule || !sim->schedule.next_ns || sim->schedule.next_ns > (int64_t)sim->now_ns)
		return;
	hive_schedule_decide(&sim->schedule, &sim->cron, (int64_t)sim->now_ns, &run);
	if (sim->chaos && sim_chance(sim, 200)) { /* before the commit: nothing of it is on disk */
		sim_crash(sim);
		return;
	}
	note(sim, &run, run.due);
	if (!run.due)
		return;
	if (sim->n_runs == RUNS) {
		sim_wrong(sim, "the schedule ran more often than asked for");
		return;
	}
	sim->n_runs++;
	if (run.end_ns)
		sim->jobs[j].draft.end_ns = run.end_ns;
	sim->jobs[j].draft.start_ns = 0;
	if (sim->jobs[j].n_parts)
		sim_make_job(sim, j);
}

bool sim_plans_over(const struct sim *sim)
{
	return !sim->has_schedule || !sim->schedule.next_ns;
}

void sim_plans_check(struct sim *sim)
{
	if (!sim->has_schedule)
		return;
	if (sim->schedule.runs + sim->schedule.missed != RUNS || sim->schedule.runs != sim->n_runs)
		sim_wrong(sim, "%lld runs and %lld missed ones of %d", (long long)sim->schedule.runs, (long long)sim->schedule.missed, RUNS);
	sim->seen->runs += (uint64_t)sim->schedule.runs;
	sim->seen->missed_runs += (uint64_t)sim->schedule.missed;
}
