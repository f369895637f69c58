/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulated world around the job logic: draws it from the seed, keeps its time and its disk, runs the
 * hive's loop as hive/svc does (events, run, save, commit, effects), kills it between any two of these steps,
 * and plays the people. See sim.h. One thread; the same seed gives the same run.
 */
#include "tests/hive/sim_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64, after Steele, Lea, Flood: "Fast splittable pseudorandom number generators" */
uint64_t sim_random(struct sim *sim, uint64_t below)
{
	uint64_t z = sim->random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return below ? (z ^ (z >> 31)) % below : 0;
}

void sim_wrong(struct sim *sim, const char *fmt, ...)
{
	va_list ap;

	if (sim->wrong[0])
		return; /* what follows from it is of no interest */
	snprintf(sim->wrong, sizeof(sim->wrong), "at %.3f s: ", (double)sim->now_ns / 1e9);
	va_start(ap, fmt);
	(void)vsnprintf(sim->wrong + strlen(sim->wrong), sizeof(sim->wrong) - strlen(sim->wrong), fmt, ap);
	va_end(ap);
}

struct msg *sim_send(struct sim *sim, enum msg_kind kind, uint64_t at_ns)
{
	struct msg *msg = &sim->msgs[sim->n_msgs++];

	assert(sim->n_msgs <= MAX_MSGS);
	*msg = (struct msg){ .kind = kind, .at_ns = at_ns, .sent_ns = sim->now_ns, .life = sim->life };
	return msg;
}

/* ---- the disk ---- */

static void copy_row(const struct hive_table *table, void *to, const void *from)
{
	hive_row_clear(table, to);
	memcpy(to, from, table->row_bytes);
	for (uint32_t i = 0; i < table->n_fields; i++)
		if (table->fields[i].kind == HIVE_TEXT) {
			char **text = hive_field_text(&table->fields[i], to);

			*text = *text ? strdup(*text) : NULL;
		}
}

struct save {
	struct sim *sim;
	bool commit;
};

static int save_job(void *arg, struct hive_job *row, bool moved)
{
	struct save *save = arg;
	struct sim_job *job = &save->sim->jobs[row->head.id - 1];

	if (moved != (row->state != job->row.state))
		sim_wrong(save->sim, "job %lld: its new state is not told, or told again", (long long)row->head.id);
	if (!save->commit)
		return save->sim->chaos && sim_chance(save->sim, 10) ? -ENOSPC : 0;
	copy_row(&hive_jobs_table, &job->row, row);
	sim_check_committed(save->sim, job);
	return 0;
}

static int save_part(void *arg, struct hive_job_link *row, bool moved)
{
	struct save *save = arg;
	struct sim_job *job = &save->sim->jobs[row->job_id - 1];

	(void)moved;
	if (!save->commit)
		return save->sim->chaos && sim_chance(save->sim, 10) ? -ENOSPC : 0;
	for (int i = 0; i < job->n_parts; i++)
		if (job->parts[i].link_id == row->link_id)
			copy_row(&hive_job_links, &job->parts[i], row);
	return 0;
}

static int save_event(void *arg, int64_t job_id, int64_t link_id, uint64_t time_ns, const char *text)
{
	struct save *save = arg;

	if (save->commit && save->sim->options->verbose)
		printf("# %8.3f job %lld link %lld: %s\n", (double)time_ns / 1e9, (long long)job_id, (long long)link_id, text);
	return 0;
}

/* ---- the hive ---- */

static void load_job(struct sim *sim, struct sim_job *job)
{
	struct hive_job_link parts[MAX_LINKS];
	struct hive_job row = { 0 };
	bool open = job->row.state < HIVE_JOB_DONE;

	for (int i = 0; i < job->n_parts; i++)
		open = open || job->parts[i].on_probe;
	if (!open)
		return;
	memset(parts, 0, sizeof(parts));
	copy_row(&hive_jobs_table, &row, &job->row);
	if (sim->options->forget_priority)
		row.priority = HIVE_NORMAL;
	for (int i = 0; i < job->n_parts; i++)
		copy_row(&hive_job_links, &parts[i], &job->parts[i]);
	if (hive_jobs_add(sim->logic, &row, parts, (uint32_t)job->n_parts))
		sim_wrong(sim, "job %lld was not taken back", (long long)job->row.head.id);
}

static void start_hive(struct sim *sim)
{
	struct hive_jobs_settings settings = {
		.settle_ns = sim->options->settle_ns,
		.grace_ns = 4 * S,
		.lost_ns = 40 * S,
		.patience_ns = 20 * S,
		.retry_min_ns = 300 * MS,
		.retry_max_ns = 3 * S,
	};

	sim->life++;
	sim->logic = hive_jobs_new(&settings, sim->now_ns);
	for (int p = 0; p < sim->n_probes; p++) {
		sim->probes[p].believed_up = false;
		if (!sim->probes[p].removed)
			hive_jobs_put_probe(sim->logic, PROBE_ID(p));
	}
	for (int l = 0; l < sim->n_links; l++) {
		const struct sim_link *link = &sim->links[l];
		struct hive_jobs_link cfg = { .id = LINK_ID(l),
					      .probe_id = PROBE_ID(link->probe),
					      .max_jobs = link->max_jobs,
					      .max_bps = link->max_bps };

		if (!sim->probes[link->probe].removed)
			hive_jobs_put_link(sim->logic, &cfg);
	}
	for (int j = 0; j < sim->n_jobs; j++)
		if (sim->jobs[j].row.head.id)
			load_job(sim, &sim->jobs[j]);
}

/* kill -9: what was not committed is gone, what is in the network is not. */
void sim_crash(struct sim *sim)
{
	sim->seen->crashes++;
	if (sim->options->verbose)
		printf("# %8.3f the hive is killed\n", (double)sim->now_ns / 1e9);
	sim->logic = hive_jobs_free(sim->logic);
	sim->now_ns += sim_random(sim, sim->has_schedule && sim_chance(sim, 100) ? 200 * S : 3 * S);
	sim_probe_capture(sim);
	sim->last_ns = sim->now_ns;
	start_hive(sim);
}

static void carry_out(struct sim *sim, const struct hive_effect *effect)
{
	if (effect->kind == HIVE_EFFECT_REQUEST)
		sim_probe_request(sim, effect);
	else if (effect->kind == HIVE_EFFECT_COLLECT)
		sim_probe_collect(sim, effect);
	else
		sim_probe_build(sim, effect);
}

static bool save(struct sim *sim)
{
	struct save save = { .sim = sim };
	const struct hive_jobs_saver saver = {
		.job = save_job, .part = save_part, .event = save_event, .arg = &save
	};

	if (hive_jobs_save(sim->logic, &saver)) {
		sim->seen->save_failures++;
		return false;
	}
	if (sim->chaos && sim_chance(sim, 8)) {
		sim_crash(sim); /* in the middle of the commit */
		return false;
	}
	save.commit = true;
	if (!(sim->options->forget_commits && sim_chance(sim, 50)))
		(void)hive_jobs_save(sim->logic, &saver);
	hive_jobs_saved(sim->logic);
	return true;
}

static void remember(struct sim *sim, enum hive_part_state ret[MAX_JOBS][MAX_LINKS])
{
	for (int j = 0; j < sim->n_jobs; j++)
		for (int l = 0; l < sim->n_links; l++) {
			const struct hive_job_link *part =
				hive_jobs_get_part(sim->logic, JOB_ID(j), LINK_ID(l));

			ret[j][l] = part ? (enum hive_part_state)part->state : HIVE_PART_ENDED;
		}
}

static void hive_loop(struct sim *sim)
{
	enum hive_part_state before[MAX_JOBS][MAX_LINKS];
	struct hive_effect effects[256];
	const struct hive_effect *due;
	uint32_t n = 0, killed;

	remember(sim, before);
	hive_jobs_run(sim->logic, sim->now_ns);
	sim_check_starts(sim, before);
	if (sim->chaos && sim_chance(sim, 5)) {
		sim_crash(sim);
		return;
	}
	if (!save(sim)) {
		(void)hive_jobs_effects(sim->logic, &n);
		if (n)
			sim_wrong(sim, "%u effects are due, and what led to them is not saved", n);
		return;
	}
	due = hive_jobs_effects(sim->logic, &n);
	assert(n <= ARRAY_LEN(effects));
	if (n)
		memcpy(effects, due, n * sizeof(*due));
	killed = sim->chaos && sim_chance(sim, 8) ? (uint32_t)sim_random(sim, n + 1) : n;
	for (uint32_t i = 0; i < killed; i++)
		carry_out(sim, &effects[i]);
	if (killed < n)
		sim_crash(sim);
}

/* ---- people ---- */

static void draw_limits(struct sim *sim, struct hive_job *row)
{
	row->limit_duration_s = 3 + (int64_t)sim_random(sim, 20);
	if (sim_chance(sim, 300))
		row->limit_pkts = 1 + (int64_t)sim_random(sim, 150);
	if (sim_chance(sim, 200))
		row->limit_bytes = 60 + (int64_t)sim_random(sim, 60000);
	if (sim_chance(sim, 200))
		row->link_limit_pkts = 1 + (int64_t)sim_random(sim, 100);
	if (sim_chance(sim, 100))
		row->link_limit_bytes = 60 + (int64_t)sim_random(sim, 50000);
	if (sim_chance(sim, 300))
		row->expected_bps = (int64_t)sim_random(sim, 100);
}

/* Rings have no limit but time; what a ring had has none, and may be looked at by nobody but its maker. */
static void draw_kind(struct sim *sim, struct hive_job *row)
{
	if (sim_chance(sim, 80))
		row->kind = HIVE_KIND_RING;
	else if (sim_chance(sim, 80))
		row->kind = HIVE_KIND_SAVED;
	if (row->kind == HIVE_KIND_CAPTURE)
		return;
	*row = (struct hive_job){ .kind = row->kind,
				  .priority = row->kind == HIVE_KIND_RING ? row->priority : HIVE_LOW,
				  .limit_duration_s = row->limit_duration_s,
				  .missing = row->missing };
	sim->seen->rings += row->kind == HIVE_KIND_RING;
	sim->seen->saved += row->kind == HIVE_KIND_SAVED;
}

static void draw_job(struct sim *sim, int j)
{
	struct sim_job *job = &sim->jobs[j];

	job->made_ns = sim->now_ns + sim_random(sim, 60 * S);
	job->draft.priority = (int64_t)sim_random(sim, 4);
	job->priority = job->draft.priority;
	job->draft.start_mode = sim_chance(sim, 350) ? HIVE_START_TOGETHER : HIVE_START_EACH;
	job->draft.missing = (int64_t)sim_random(sim, 3);
	draw_limits(sim, &job->draft);
	draw_kind(sim, &job->draft);
	job->priority = job->draft.priority;
	if (job->draft.kind == HIVE_KIND_CAPTURE && sim_chance(sim, 100)) {
		job->draft.end_ns = (int64_t)(job->made_ns + sim_random(sim, 60 * S));
		sim->seen->ends++;
	}
	if (j >= sim->first_run)
		job->made_ns = UINT64_MAX;
	else if (job->draft.kind != HIVE_KIND_SAVED && sim_chance(sim, 250))
		job->draft.start_ns = (int64_t)(job->made_ns + sim_random(sim, 30 * S));
	for (int l = 0; l < sim->n_links; l++)
		if (sim_chance(sim, 500) || (l == sim->n_links - 1 && !job->n_parts))
			job->links[job->n_parts++] = l;
	for (int l = 0; l < sim->n_links; l++) {
		job->captures[l].refuses = sim_chance(sim, 20);
		job->captures[l].breaks = sim_chance(sim, 60);
	}
}

/* As POST /jobs: on the disk first, then accepted. */
void sim_make_job(struct sim *sim, int j)
{
	struct sim_job *job = &sim->jobs[j];

	job->row = job->draft;
	job->row.head.id = JOB_ID(j);
	job->row.created_ns = (int64_t)sim->now_ns;
	for (int i = 0; i < job->n_parts; i++)
		job->parts[i] =
			(struct hive_job_link){ .job_id = JOB_ID(j),
						.link_id = LINK_ID(job->links[i]),
						.probe_id = PROBE_ID(sim->links[job->links[i]].probe) };
	sim->seen->jobs++;
	if (sim->chaos && sim_chance(sim, 50))
		sim_crash(sim); /* after the commit, before the answer */
	else
		load_job(sim, job);
}

static void removed_parts_are_refused(struct sim *sim, struct sim_job *job)
{
	int n = 0;

	for (int i = 0; i < job->n_parts; i++)
		if (!sim->probes[sim->links[job->links[i]].probe].removed)
			job->links[n++] = job->links[i];
	job->n_parts = n;
}

static void people(struct sim *sim)
{
	int j = (int)sim_random(sim, (uint64_t)sim->n_jobs);

	for (int i = 0; i < sim->n_jobs; i++)
		if (!sim->jobs[i].row.head.id && i < sim->first_run &&
		    (sim->jobs[i].made_ns <= sim->now_ns || !sim->chaos)) {
			removed_parts_are_refused(sim, &sim->jobs[i]);
			if (sim->jobs[i].n_parts)
				sim_make_job(sim, i);
		}
	if (!sim->chaos) {
		for (int i = 0; i < sim->n_jobs; i++)
			(void)hive_jobs_hold(sim->logic, JOB_ID(i), false, "calm");
		return;
	}
	if (sim_chance(sim, 20) && sim->jobs[j].draft.kind != HIVE_KIND_SAVED)
		sim->seen->pauses += hive_jobs_hold(sim->logic, JOB_ID(j), true, "somebody") == 0;
	else if (sim_chance(sim, 60))
		(void)hive_jobs_hold(sim->logic, JOB_ID(j), false, "somebody");
	if (sim_chance(sim, 6))
		(void)hive_jobs_finish(sim->logic, JOB_ID(j), HIVE_FINISH_STOP, "somebody");
	if (sim_chance(sim, 4))
		(void)hive_jobs_finish(sim->logic, JOB_ID(j), HIVE_FINISH_CANCEL, "somebody");
}

/* ---- trouble ---- */

static void trouble(struct sim *sim)
{
	for (int p = 0; p < sim->n_probes; p++) {
		struct sim_probe *probe = &sim->probes[p];

		if (!sim->chaos) {
			probe->alive = true;
			probe->requests_cut = probe->replies_cut = false;
			continue;
		}
		if (sim_chance(sim, 8))
			probe->requests_cut = !probe->requests_cut;
		if (sim_chance(sim, 8))
			probe->replies_cut = !probe->replies_cut;
		if (sim_chance(sim, probe->alive ? 6 : 60))
			probe->alive = !probe->alive;
		if (!probe->alive && sim_chance(sim, 5))
			sim_probe_lose(sim, p);
		if (!probe->removed && sim_chance(sim, 1) && sim_chance(sim, 100)) {
			probe->removed = true;
			sim->seen->removed++;
			hive_jobs_remove_probe(sim->logic, PROBE_ID(p));
		}
	}
}

static void draw_world(struct sim *sim)
{
	sim->n_probes = 1 + (int)sim_random(sim, MAX_PROBES);
	sim->n_links = 1 + (int)sim_random(sim, MAX_LINKS);
	sim->n_jobs = 1 + (int)sim_random(sim, MAX_ASKED);
	sim_plans_draw(sim);
	for (int p = 0; p < sim->n_probes; p++)
		sim->probes[p].alive = sim_chance(sim, 900);
	for (int l = 0; l < sim->n_links; l++)
		sim->links[l] = (struct sim_link){ .probe = (int)sim_random(sim, (uint64_t)sim->n_probes),
						   .max_jobs = (int64_t)sim_random(sim, 4),
						   .max_bps = sim_chance(sim, 300) ? 100 : 0 };
	for (int j = 0; j < sim->n_jobs; j++)
		draw_job(sim, j);
}

static void say_who_hangs(struct sim *sim)
{
	for (int j = 0; j < sim->n_jobs; j++) {
		const struct hive_job *row = &sim->jobs[j].row;
		size_t len = strlen(sim->wrong);

		if (row->head.id && (row->state < HIVE_JOB_DONE || hive_jobs_get(sim->logic, JOB_ID(j))))
			snprintf(sim->wrong + len, sizeof(sim->wrong) - len, "; job %lld is %s on disk, %s in memory",
				 (long long)JOB_ID(j), hive_job_state_names[row->state],
				 hive_jobs_get(sim->logic, JOB_ID(j)) ? "held" : "not");
	}
}

static void run_to_the_end(struct sim *sim)
{
	uint64_t chaos_until_ns = sim->now_ns + 40 * S + sim_random(sim, 60 * S);

	while (!sim->wrong[0]) {
		sim->seen->steps++;
		sim->last_ns = sim->now_ns;
		sim->now_ns += 50 * MS + sim_random(sim, 700 * MS);
		if (sim->chaos && sim->now_ns > chaos_until_ns) {
			sim->chaos = false;
			sim->calm_ns = sim->now_ns;
		}
		sim_probe_capture(sim);
		trouble(sim);
		people(sim);
		if (sim->now_ns - sim->polled_ns > 1 * S) {
			sim->polled_ns = sim->now_ns;
			sim_probe_poll(sim);
		}
		sim_probe_messages(sim);
		sim_check_links(sim);
		sim_plans_step(sim);
		hive_loop(sim);
		sim_check_critical(sim);
		sim_check_time(sim);
		if (!sim->chaos && sim_plans_over(sim) && sim_all_over(sim) &&
		    hive_jobs_count(sim->logic) == 0)
			return;
		if (sim->now_ns > chaos_until_ns + 900 * S) {
			sim_wrong(sim, "not all over 15 minutes after all is well again");
			say_who_hangs(sim);
		}
	}
}

const char *sim_run(uint64_t seed, const struct sim_options *options, struct sim_seen *seen)
{
	static struct sim sim; /* large */
	static struct sim_job jobs[MAX_JOBS];
	uint64_t removed_before = seen->removed;

	memset(&sim, 0, sizeof(sim));
	memset(jobs, 0, sizeof(jobs));
	sim.options = options;
	sim.seen = seen;
	sim.random = seed * 0x2545f4914f6cdd1du;
	sim.jobs = jobs;
	sim.now_ns = 1000 * S;
	sim.chaos = true;
	draw_world(&sim);
	start_hive(&sim);
	run_to_the_end(&sim);
	sim.removed = seen->removed != removed_before;
	if (!sim.wrong[0])
		sim_check_all_over(&sim);
	if (!sim.wrong[0])
		sim_plans_check(&sim);
	sim.logic = hive_jobs_free(sim.logic);
	for (int j = 0; j < MAX_JOBS; j++) {
		hive_row_clear(&hive_jobs_table, &jobs[j].row);
		for (int i = 0; i < MAX_LINKS; i++)
			hive_row_clear(&hive_job_links, &jobs[j].parts[i]);
	}
	return sim.wrong[0] ? sim.wrong : NULL;
}
