/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events into the job logic, and its effects out. For each part of a job (one link) there is what we want and
 * what the probe said last; whenever they differ, a request is due that brings them together, again and
 * again, until the probe confirms. All requests may be repeated, so an answer that was lost, a probe or a
 * hive that was restarted, and a request that arrives late need no cases of their own, but for one: a start
 * that was given up may still happen, so until row.hot_ns has passed nobody believes that a link is free or
 * that a capture is not there.
 *
 * Decides nothing about order (jobs_plan.c) or ends (jobs_end.c). No clock, no network, no disk; one thread
 * at a time.
 */
#include "hive/svc/jobs_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define S SKEP_NSEC_PER_SEC

const struct hive_jobs_settings hive_jobs_defaults = {
	.settle_ns = 60 * S,
	.grace_ns = 30 * S,
	.lost_ns = 3600 * S,
	.patience_ns = 900 * S,
	.retry_min_ns = 1 * S,
	.retry_max_ns = 30 * S,
};

/* ---- lists by id ---- */

/* Each thing of a list begins with its id or with a row. */
static int64_t id_of(const void *item)
{
	return *(const int64_t *)item;
}

static uint32_t place_of(const struct jobs_list *list, int64_t id)
{
	uint32_t low = 0, high = list->n;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (id_of(list->items[middle]) < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void *find(const struct jobs_list *list, int64_t id)
{
	uint32_t i = place_of(list, id);

	return i < list->n && id_of(list->items[i]) == id ? list->items[i] : NULL;
}

static int make_room(void *array, uint32_t *room, uint32_t n, size_t bytes)
{
	void **p = array, *more;

	if (n < *room)
		return 0;
	more = reallocarray(*p, *room ? 2 * *room : 32, bytes);
	if (!more)
		return -ENOMEM;
	*p = more;
	*room = *room ? 2 * *room : 32;
	return 0;
}

static int insert(struct jobs_list *list, void *item)
{
	uint32_t i = place_of(list, id_of(item));
	int r = make_room(&list->items, &list->room, list->n, sizeof(*list->items));

	if (r < 0)
		return r;
	memmove(&list->items[i + 1], &list->items[i], (list->n - i) * sizeof(*list->items));
	list->items[i] = item;
	list->n++;
	return 0;
}

static void take_out(struct jobs_list *list, int64_t id)
{
	uint32_t i = place_of(list, id);

	assert(i < list->n && id_of(list->items[i]) == id);
	list->n--;
	memmove(&list->items[i], &list->items[i + 1], (list->n - i) * sizeof(*list->items));
}

/* ---- the whole ---- */

struct hive_jobs *hive_jobs_new(const struct hive_jobs_settings *settings, uint64_t now_ns)
{
	struct hive_jobs *jobs = calloc(1, sizeof(*jobs));

	if (!jobs)
		return NULL;
	jobs->settings = *settings;
	jobs->now_ns = now_ns;
	return jobs;
}

static void job_free(struct jobs_job *job)
{
	for (uint32_t i = 0; i < job->n_parts; i++)
		hive_row_clear(&hive_job_links, &job->parts[i].row);
	hive_job_clear(&job->row);
	free(job->parts);
	free(job);
}

static void list_free(struct jobs_list *list)
{
	for (uint32_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
}

struct hive_jobs *hive_jobs_free(struct hive_jobs *jobs)
{
	if (!jobs)
		return NULL;
	for (uint32_t i = 0; i < jobs->jobs.n; i++)
		job_free(jobs->jobs.items[i]);
	free(jobs->jobs.items);
	list_free(&jobs->links);
	list_free(&jobs->probes);
	free(jobs->ranked);
	free(jobs->notes);
	free(jobs->effects);
	free(jobs);
	return NULL;
}

void hive_jobs_touch(struct hive_jobs *jobs, struct jobs_part *part)
{
	part->dirty = true;
	jobs->unsaved = true;
}

void hive_jobs_touch_job(struct hive_jobs *jobs, struct jobs_job *job)
{
	job->dirty = true;
	jobs->unsaved = true;
}

/* Without memory the event is not written down; what happens to the job does not depend on it. */
void hive_jobs_note(struct hive_jobs *jobs, const struct jobs_job *job, int64_t link_id, const char *fmt, ...)
{
	struct jobs_note *note;
	va_list ap;

	if (make_room(&jobs->notes, &jobs->notes_room, jobs->n_notes, sizeof(*jobs->notes)) < 0)
		return;
	note = &jobs->notes[jobs->n_notes++];
	*note = (struct jobs_note){ .job_id = job->row.head.id, .link_id = link_id, .time_ns = jobs->now_ns };
	va_start(ap, fmt);
	(void)vsnprintf(note->text, sizeof(note->text), fmt, ap);
	va_end(ap);
	jobs->unsaved = true;
}

struct hive_effect *hive_jobs_effect(struct hive_jobs *jobs)
{
	struct hive_effect *effect;

	if (make_room(&jobs->effects, &jobs->effects_room, jobs->n_effects, sizeof(*jobs->effects)) < 0)
		return NULL;
	effect = &jobs->effects[jobs->n_effects++];
	*effect = (struct hive_effect){ .serial = ++jobs->serial };
	return effect;
}

void hive_jobs_back_off(struct hive_jobs *jobs, uint32_t *failures, uint64_t *ret_retry_ns)
{
	uint64_t wait_ns = jobs->settings.retry_min_ns << SKEP_MIN(*failures, 16u);

	*failures += 1;
	*ret_retry_ns = jobs->now_ns + SKEP_MIN(wait_ns, jobs->settings.retry_max_ns);
}

/* ---- what there is ---- */

int hive_jobs_put_probe(struct hive_jobs *jobs, int64_t probe_id)
{
	struct jobs_probe *probe = find(&jobs->probes, probe_id);
	int r;

	if (probe)
		return 0;
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return -ENOMEM;
	probe->id = probe_id;
	probe->since_ns = jobs->now_ns;
	r = insert(&jobs->probes, probe);
	if (r < 0)
		free(probe);
	return r;
}

int hive_jobs_put_link(struct hive_jobs *jobs, const struct hive_jobs_link *cfg)
{
	struct jobs_link *link = find(&jobs->links, cfg->id);
	struct jobs_probe *probe = find(&jobs->probes, cfg->probe_id);
	int r;

	if (!probe)
		return -ENOENT;
	if (link) {
		assert(link->cfg.probe_id == cfg->probe_id);
		link->cfg = *cfg;
		return 0;
	}
	link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->cfg = *cfg;
	link->probe = probe;
	r = insert(&jobs->links, link);
	if (r < 0)
		free(link);
	return r;
}

/* Its link is gone for ever, and what the probe still has with it. */
static void forget_part(struct hive_jobs *jobs, struct jobs_part *part)
{
	bool cancel = part->job->row.finish == HIVE_FINISH_CANCEL;

	if (part->row.state != HIVE_PART_ENDED)
		hive_jobs_part_end(jobs, part,
				   cancel					     ? HIVE_RESULT_CANCELLED
				   : part->row.state == HIVE_PART_WAITING ? HIVE_RESULT_SKIPPED
									     : HIVE_RESULT_LOST,
				   "the probe was removed from the hive");
	part->link = NULL;
	part->row.on_probe = part->row.capturing = 0;
	hive_jobs_touch(jobs, part);
}

static void forget_link(struct hive_jobs *jobs, struct jobs_link *link)
{
	for (uint32_t j = 0; j < jobs->jobs.n; j++) {
		struct jobs_job *job = jobs->jobs.items[j];

		for (uint32_t i = 0; i < job->n_parts; i++)
			if (job->parts[i].link == link)
				forget_part(jobs, &job->parts[i]);
	}
	take_out(&jobs->links, link->cfg.id);
	free(link);
}

void hive_jobs_remove_probe(struct hive_jobs *jobs, int64_t probe_id)
{
	struct jobs_probe *probe = find(&jobs->probes, probe_id);

	if (!probe)
		return;
	for (uint32_t i = jobs->links.n; i > 0; i--) {
		struct jobs_link *link = jobs->links.items[i - 1];

		if (link->probe == probe)
			forget_link(jobs, link);
	}
	take_out(&jobs->probes, probe_id);
	free(probe);
}

/* Critical first; of the same priority, who came first. */
static bool ranks_before(const struct jobs_job *a, const struct jobs_job *b)
{
	if (a->row.priority != b->row.priority)
		return a->row.priority > b->row.priority;
	return a->row.head.id < b->row.head.id;
}

static int rank(struct hive_jobs *jobs, struct jobs_job *job)
{
	struct jobs_job **ranked = reallocarray(jobs->ranked, jobs->jobs.n + 1, sizeof(struct jobs_job *));
	uint32_t i = jobs->jobs.n;

	if (!ranked)
		return -ENOMEM;
	jobs->ranked = ranked;
	for (; i > 0 && ranks_before(job, ranked[i - 1]); i--)
		ranked[i] = ranked[i - 1];
	ranked[i] = job;
	return 0;
}

static void unrank(struct hive_jobs *jobs, const struct jobs_job *job)
{
	uint32_t n = jobs->jobs.n, i = 0;

	while (jobs->ranked[i] != job)
		i++;
	memmove(&jobs->ranked[i], &jobs->ranked[i + 1], (n - i - 1) * sizeof(*jobs->ranked));
}

/* As from the disk: nothing is under way, and what the probe knows is to be asked. */
static void take_part(struct hive_jobs *jobs, struct jobs_job *job, struct jobs_part *part,
		      struct hive_job_link *row)
{
	part->row = *row;
	memset(row, 0, sizeof(*row));
	part->job = job;
	part->told_state = part->row.state;
	part->link = find(&jobs->links, part->row.link_id);
	part->unsure = true;
	/* a clock that went back since must not keep a link taken for longer than it takes to be sure */
	part->row.hot_ns = SKEP_MIN(part->row.hot_ns, (int64_t)(jobs->now_ns + jobs->settings.settle_ns));
	part->hot_before_ns = (uint64_t)part->row.hot_ns;
	if (!part->link && (part->row.on_probe || part->row.state != HIVE_PART_ENDED))
		forget_part(jobs, part);
}

int hive_jobs_add(struct hive_jobs *jobs, struct hive_job *row, struct hive_job_link *rows, uint32_t n)
{
	struct jobs_job *job;

	job = calloc(1, sizeof(*job));
	if (job)
		job->parts = calloc(n ? n : 1, sizeof(*job->parts));
	if (job)
		job->row.head.id = row->head.id;
	if (job)
		job->row.priority = row->priority;
	if (!job || !job->parts || rank(jobs, job) < 0 || insert(&jobs->jobs, job) < 0) {
		free(job ? job->parts : NULL);
		free(job);
		return -ENOMEM;
	}
	job->row = *row;
	memset(row, 0, sizeof(*row));
	job->told_state = job->row.state;
	job->n_parts = n;
	for (uint32_t i = 0; i < n; i++)
		take_part(jobs, job, &job->parts[i], &rows[i]);
	return 0;
}

struct jobs_job *hive_jobs_find(struct hive_jobs *jobs, int64_t job_id)
{
	return find(&jobs->jobs, job_id);
}

const struct hive_job *hive_jobs_get(struct hive_jobs *jobs, int64_t job_id)
{
	const struct jobs_job *job = find(&jobs->jobs, job_id);

	return job ? &job->row : NULL;
}

struct jobs_part *hive_jobs_find_part(struct hive_jobs *jobs, int64_t job_id, int64_t link_id)
{
	struct jobs_job *job = find(&jobs->jobs, job_id);

	for (uint32_t i = 0; job && i < job->n_parts; i++)
		if (job->parts[i].row.link_id == link_id)
			return &job->parts[i];
	return NULL;
}

const struct hive_job_link *hive_jobs_get_part(struct hive_jobs *jobs, int64_t job_id, int64_t link_id)
{
	const struct jobs_part *part = hive_jobs_find_part(jobs, job_id, link_id);

	return part ? &part->row : NULL;
}

void hive_jobs_forget(struct hive_jobs *jobs, int64_t job_id)
{
	struct jobs_job *job = find(&jobs->jobs, job_id);

	unrank(jobs, job);
	take_out(&jobs->jobs, job_id);
	job_free(job);
}

bool hive_jobs_uses_link(struct hive_jobs *jobs, int64_t link_id)
{
	for (uint32_t j = 0; j < jobs->jobs.n; j++) {
		const struct jobs_part *part = hive_jobs_find_part(jobs, id_of(jobs->jobs.items[j]), link_id);

		if (part && (part->row.state != HIVE_PART_ENDED || part->row.on_probe))
			return true;
	}
	return false;
}

bool hive_jobs_unsaved(const struct hive_jobs *jobs)
{
	return jobs->unsaved;
}

uint32_t hive_jobs_due(const struct hive_jobs *jobs)
{
	return jobs->unsaved ? 0 : jobs->n_effects;
}

uint32_t hive_jobs_count(const struct hive_jobs *jobs)
{
	return jobs->jobs.n;
}

/* ---- what people want ---- */

void hive_jobs_move(struct hive_jobs *jobs, struct jobs_part *part, enum hive_part_state state)
{
	if (part->row.state == (int64_t)state)
		return;
	hive_jobs_note(jobs, part->job, part->row.link_id, "%s: %s", part->row.link_name ? part->row.link_name : "link",
		       hive_part_state_names[state]);
	part->row.state = state;
	part->retry_ns = 0;
	part->failures = 0;
	hive_jobs_touch(jobs, part);
}

int hive_jobs_hold(struct hive_jobs *jobs, int64_t job_id, bool held, const char *by)
{
	struct jobs_job *job = find(&jobs->jobs, job_id);

	if (!job || jobs_over(job))
		return -ENOENT;
	if (job->row.finish != HIVE_FINISH_NOT || (job->row.held != 0) == held)
		return -EALREADY;
	job->row.held = held;
	hive_jobs_note(jobs, job, 0, "%s by %s", held ? "paused" : "resumed", by);
	hive_jobs_touch_job(jobs, job);
	return 0;
}

/* Whatever has begun is stopped and, unless the job is cancelled, collected. */
void hive_jobs_bring_to_end(struct hive_jobs *jobs, struct jobs_job *job, enum hive_finish finish,
			    const char *by)
{
	bool cancel = finish == HIVE_FINISH_CANCEL;

	if (job->row.finish >= (int64_t)finish)
		return;
	job->row.finish = finish;
	free(job->row.finish_by);
	job->row.finish_by = by ? strdup(by) : NULL;
	hive_jobs_note(jobs, job, 0, "%s%s%s", finish == HIVE_FINISH_LIMIT ? "a limit is reached" : hive_finish_names[finish],
		       by ? ": " : "", by ? by : "");
	hive_jobs_touch_job(jobs, job);
	for (uint32_t i = 0; i < job->n_parts; i++) {
		struct jobs_part *part = &job->parts[i];

		if (part->row.state == HIVE_PART_WAITING ||
		    (cancel && part->row.state == HIVE_PART_COLLECTING))
			hive_jobs_part_end(jobs, part, cancel ? HIVE_RESULT_CANCELLED : HIVE_RESULT_UNNEEDED,
					   NULL);
		else if (part->row.state < HIVE_PART_STOPPING)
			hive_jobs_move(jobs, part, HIVE_PART_STOPPING);
	}
}

int hive_jobs_finish(struct hive_jobs *jobs, int64_t job_id, enum hive_finish finish, const char *by)
{
	struct jobs_job *job = find(&jobs->jobs, job_id);

	assert(finish == HIVE_FINISH_STOP || finish == HIVE_FINISH_CANCEL);
	if (!job || jobs_over(job))
		return -ENOENT;
	if (job->row.finish >= (int64_t)finish)
		return -EALREADY;
	hive_jobs_bring_to_end(jobs, job, finish, by);
	return 0;
}

void hive_jobs_probe(struct hive_jobs *jobs, int64_t probe_id, bool up)
{
	struct jobs_probe *probe = find(&jobs->probes, probe_id);

	if (!probe || probe->up == up)
		return;
	probe->up = up;
	probe->since_ns = jobs->now_ns;
	for (uint32_t j = 0; up && j < jobs->jobs.n; j++) {
		struct jobs_job *job = jobs->jobs.items[j];

		for (uint32_t i = 0; i < job->n_parts; i++) {
			struct jobs_part *part = &job->parts[i];

			if (!part->link || part->link->probe != probe)
				continue;
			part->unsure = true;
			part->retry_ns = 0;
		}
	}
}

/* ---- what comes out ---- */

/* A job that is over and that no probe knows any more is the database's alone. */
static void let_go(struct hive_jobs *jobs)
{
	for (uint32_t j = jobs->jobs.n; j > 0; j--) {
		struct jobs_job *job = jobs->jobs.items[j - 1];
		bool held = !jobs_over(job) || job->dirty;

		for (uint32_t i = 0; i < job->n_parts && !held; i++)
			held = job->parts[i].row.on_probe || job->parts[i].dirty;
		if (held)
			continue;
		unrank(jobs, job);
		take_out(&jobs->jobs, job->row.head.id);
		job_free(job);
	}
}

void hive_jobs_run(struct hive_jobs *jobs, uint64_t now_ns)
{
	jobs->now_ns = SKEP_MAX(jobs->now_ns, now_ns);
	let_go(jobs);
	hive_jobs_plan(jobs);
}

int hive_jobs_save(struct hive_jobs *jobs, const struct hive_jobs_saver *saver)
{
	int r = 0;

	for (uint32_t j = 0; r == 0 && jobs->unsaved && j < jobs->jobs.n; j++) {
		struct jobs_job *job = jobs->jobs.items[j];

		if (job->dirty)
			r = saver->job(saver->arg, &job->row, job->row.state != job->told_state);
		for (uint32_t i = 0; r == 0 && i < job->n_parts; i++)
			if (job->parts[i].dirty)
				r = saver->part(saver->arg, &job->parts[i].row,
						job->parts[i].row.state != job->parts[i].told_state);
	}
	for (uint32_t i = 0; r == 0 && i < jobs->n_notes; i++)
		r = saver->event(saver->arg, jobs->notes[i].job_id, jobs->notes[i].link_id,
				 jobs->notes[i].time_ns, jobs->notes[i].text);
	return r;
}

void hive_jobs_saved(struct hive_jobs *jobs)
{
	for (uint32_t j = 0; jobs->unsaved && j < jobs->jobs.n; j++) {
		struct jobs_job *job = jobs->jobs.items[j];

		job->dirty = false;
		job->told_state = job->row.state;
		for (uint32_t i = 0; i < job->n_parts; i++) {
			job->parts[i].dirty = false;
			job->parts[i].told_state = job->parts[i].row.state;
		}
	}
	jobs->n_notes = 0;
	jobs->unsaved = false;
}

const struct hive_effect *hive_jobs_effects(struct hive_jobs *jobs, uint32_t *ret_n)
{
	*ret_n = jobs->unsaved ? 0 : jobs->n_effects;
	if (!jobs->unsaved)
		jobs->n_effects = 0;
	return jobs->effects;
}
