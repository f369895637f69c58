/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jobs as the rest of the program sees them: accept, show, stop, remove; and what all changes share: a
 * change counts when the journal has it, then the view is replaced and an event is published.
 *
 * A job is accepted when it is in the journal and its engines have taken it. If an engine refuses it, the
 * journal forgets it again and the client gets the engine's words; if we die in between, the job is in the
 * journal, and the next start gives it to its engines or finds that they have it.
 */
#include "control/job_priv.h"

#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#define AFTER_MAX_NS (365ull * 86400 * SKEP_NSEC_PER_SEC) /* so that the sum fits */

void ctl_job_show(struct ctl_jobs *jobs, const struct job *job)
{
	json_t *view = ctl_job_view(job);

	pthread_mutex_lock(&jobs->view_lock);
	if (view)
		json_object_set_new(jobs->views, job->id, view);
	pthread_mutex_unlock(&jobs->view_lock);
}

int ctl_job_keep(struct ctl_jobs *jobs, const struct job *job)
{
	json_t *record = ctl_job_record(job);
	int r = record ? ctl_journal_append(jobs->journal, record) : -ENOMEM;

	json_decref(record);
	if (r && !jobs->journal_failing)
		skep_log(SKEP_LOG_ERROR, "job=%s journal: %s", job->id, strerror(-r));
	jobs->journal_failing = r != 0;
	ctl_job_show(jobs, job);
	return r;
}

void ctl_job_set_state(struct ctl_jobs *jobs, struct job *job, enum job_state state)
{
	char text[160];

	job->state = state;
	(void)ctl_job_keep(jobs, job);
	(void)snprintf(text, sizeof(text), "{\"id\":\"%s\",\"state\":\"%s\",\"outcome\":%s}", job->id,
		       ctl_job_state_names[state],
		       !job_ended(job)	 ? "null"
		       : job->incomplete ? "\"incomplete\""
					 : "\"complete\"");
	(void)skep_events_publish(jobs->events, "job", text);
	skep_log(SKEP_LOG_INFO, "job=%s state=%s", job->id, ctl_job_state_names[state]);
}

void ctl_job_add_reason(struct job *job, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	job->incomplete = true;
	if (json_array_size(job->reasons) < REASONS_MAX)
		json_array_append_new(job->reasons, json_string(text) ?: json_string("(not UTF-8)"));
}

static struct job *find(struct ctl_jobs *jobs, const char *id)
{
	for (struct job *job = jobs->head; job; job = job->next)
		if (!strcmp(job->id, id))
			return job;
	return NULL;
}

static void unlink_job(struct ctl_jobs *jobs, struct job *job)
{
	struct job **at = &jobs->head;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	pthread_mutex_lock(&jobs->view_lock);
	json_object_del(jobs->views, job->id);
	pthread_mutex_unlock(&jobs->view_lock);
	(void)ctl_job_free(job);
}

static int forget(struct ctl_jobs *jobs, const char *id)
{
	json_t *record = json_pack("{s:s}", "forget", id);
	int r = ctl_journal_append(jobs->journal, record);

	json_decref(record);
	return r;
}

/* One record of the journal: a job as it was at that time, or that there is none any more. */
static void on_record(const json_t *record, void *arg)
{
	struct ctl_jobs *jobs = arg;
	const char *forgotten = json_string_value(json_object_get(record, "forget"));
	struct job *job = NULL, *before, **at;

	if (forgotten) {
		before = find(jobs, forgotten);
		if (before)
			unlink_job(jobs, before);
		return;
	}
	if (ctl_job_of_record(record, &job)) {
		skep_log(SKEP_LOG_ERROR, "journal: a record is no job and is passed over");
		return;
	}
	/* In the place of what it was, so that the order is that in which they were accepted. */
	for (at = &jobs->head; *at && strcmp((*at)->id, job->id) != 0; at = &(*at)->next)
		;
	before = *at;
	if (!before)
		at = &jobs->head;
	job->next = before ? before->next : jobs->head;
	*at = job;
	(void)ctl_job_free(before);
}

/* Oldest first, as views are listed in the order in which they were first shown. */
static void show_all(struct ctl_jobs *jobs)
{
	struct job *reversed = NULL, *next;

	for (struct job *job = jobs->head; job; job = next) {
		next = job->next;
		job->next = reversed;
		reversed = job;
	}
	jobs->head = NULL;
	for (struct job *job = reversed; job; job = next) {
		next = job->next;
		job->next = jobs->head;
		jobs->head = job;
		ctl_job_show(jobs, job);
	}
}

int ctl_jobs_open(const struct ctl_config *cfg, struct skep_events *events, struct ctl_jobs **ret,
		  struct skep_err *err)
{
	struct ctl_jobs *jobs = calloc(1, sizeof(*jobs));
	int r;

	if (!jobs)
		return skep_err_set(err, -ENOMEM, "no memory for jobs");
	jobs->cfg = cfg;
	jobs->events = events;
	jobs->views = json_object();
	jobs->spool = ctl_spool_new(cfg, events);
	pthread_mutex_init(&jobs->ops, NULL);
	pthread_mutex_init(&jobs->view_lock, NULL);
	r = jobs->spool ? 0 : skep_err_set(err, -ENOMEM, "no memory for jobs");
	r = r ?: ctl_journal_open(cfg->state_dir, on_record, jobs, &jobs->journal, err);
	if (r) {
		(void)ctl_jobs_close(jobs);
		return r;
	}
	show_all(jobs);
	*ret = jobs;
	return 0;
}

struct ctl_jobs *ctl_jobs_close(struct ctl_jobs *jobs)
{
	if (!jobs)
		return NULL;
	for (uint32_t i = 0; i < jobs->n_engines; i++)
		ctl_engine_fini(&jobs->engines[i]);
	while (jobs->head) {
		struct job *job = jobs->head;

		jobs->head = job->next;
		(void)ctl_job_free(job);
	}
	jobs->journal = ctl_journal_close(jobs->journal);
	jobs->spool = ctl_spool_free(jobs->spool);
	json_decref(jobs->views);
	pthread_mutex_destroy(&jobs->view_lock);
	pthread_mutex_destroy(&jobs->ops);
	free(jobs);
	return NULL;
}

json_t *ctl_jobs_get(struct ctl_jobs *jobs, const char *id)
{
	json_t *view;

	pthread_mutex_lock(&jobs->view_lock);
	view = json_incref(json_object_get(jobs->views, id));
	pthread_mutex_unlock(&jobs->view_lock);
	return view;
}

json_t *ctl_jobs_list(struct ctl_jobs *jobs)
{
	json_t *list = json_array(), *view;
	const char *id;

	pthread_mutex_lock(&jobs->view_lock);
	json_object_foreach(jobs->views, id, view) json_array_append(list, view);
	pthread_mutex_unlock(&jobs->view_lock);
	return list;
}

static void digest_body(const json_t *body, char ret[static 33])
{
	_skep_free_ char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
	uint8_t digest[16];

	crypto_generichash(digest, sizeof(digest), (const unsigned char *)(text ? text : ""),
			   text ? strlen(text) : 0, NULL, 0);
	sodium_bin2hex(ret, 33, digest, sizeof(digest));
}

/* Was the key used before? 0: no; 1: for the same request, job in *ret; SKEP_E_BUSY: for another. */
static int known_key(struct ctl_jobs *jobs, const struct ctl_job_request *request, struct job **ret,
		     struct skep_problems *problems)
{
	char digest[33];

	if (!request->key)
		return 0;
	if (!request->key[0] || strlen(request->key) >= sizeof((*ret)->key)) {
		problems->status = 400;
		skep_problems_add(problems, "bad-key", NULL,
				  "Idempotency-Key: must have 1 to 127 characters");
		return SKEP_E_USAGE;
	}
	digest_body(request->body, digest);
	for (struct job *job = jobs->head; job; job = job->next) {
		if (strcmp(job->key, request->key) != 0)
			continue;
		*ret = job;
		if (!strcmp(job->key_digest, digest))
			return 1;
		problems->status = 409;
		skep_problems_add(problems, "key-reused", NULL,
				  "this Idempotency-Key was used for another request");
		return SKEP_E_BUSY;
	}
	return 0;
}

static uint32_t jobs_on(const struct ctl_jobs *jobs, const char *link)
{
	uint32_t n = 0;

	for (const struct job *job = jobs->head; job; job = job->next)
		for (uint32_t i = 0; i < job->n_links && !job_ended(job) && !job->saved_of[0]; i++)
			n += job->links[i].state != LINK_ENDED && !strcmp(job->links[i].name, link);
	return n;
}

/* Is there room for it: slots on its links, space on the disk? */
static void check_room(struct ctl_jobs *jobs, const struct job *job, struct skep_problems *problems)
{
	struct ctl_spool_figures spool;
	struct statvfs vfs;

	ctl_spool_get_figures(jobs->spool, &spool);
	for (uint32_t i = 0; i < job->n_links; i++) {
		const struct ctl_link_config *cfg = ctl_config_link(jobs->cfg, job->links[i].name);
		uint32_t max = cfg ? cfg->jobs_max : 32, n = jobs_on(jobs, job->links[i].name);
		char pointer[40];

		if (n < max)
			continue;
		(void)snprintf(pointer, sizeof(pointer), "/links/%u", i);
		problems->status = 409;
		skep_problems_add(problems, "link-full", pointer, "%s has %u jobs already, as many as it may",
				  job->links[i].name, n);
	}
	if (jobs->cfg->quota_bytes && spool.used_bytes >= jobs->cfg->quota_bytes) {
		problems->status = 507;
		skep_problems_add(problems, "quota", NULL, "the spool holds as much as it may");
		skep_problems_hint(
			problems,
			"remove segments that are safe elsewhere, or jobs that are no longer needed");
	}
	if (statvfs(jobs->cfg->spool_dir, &vfs) == 0 &&
	    (uint64_t)vfs.f_bavail * vfs.f_frsize < jobs->cfg->reserve_bytes) {
		problems->status = 507;
		skep_problems_add(problems, "no-space", NULL,
				  "the spool has less free space than its reserve");
	}
}

static void make_id(char buf[static CTL_JOB_ID])
{
	(void)snprintf(buf, CTL_JOB_ID, "j%012llx%06x",
		       (unsigned long long)(ctl_job_now_ns() / 1000000) & 0xffffffffffff,
		       randombytes_random() & 0xffffff);
}

/* An empty job of the request, checked; NULL: problems. */
static struct job *new_job(struct ctl_jobs *jobs, const struct ctl_job_request *request,
			   struct skep_problems *problems)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->spec = json_object();
	job->reasons = json_array();
	ctl_job_parse(jobs->cfg, request->body, job, problems);
	if (!problems->n)
		check_room(jobs, job, problems);
	if (problems->n)
		return ctl_job_free(job);
	make_id(job->id);
	job->temporary = request->temporary;
	if (request->key) {
		(void)snprintf(job->key, sizeof(job->key), "%s", request->key);
		digest_body(request->body, job->key_digest);
	}
	for (uint32_t i = 0; i < job->n_links; i++)
		job->links[i].life = 1;
	job->created_ns = ctl_job_now_ns();
	job->state = job->start_at_ns > job->created_ns ? JOB_SCHEDULED : JOB_STARTING;
	return job;
}

/* Gives it to all its engines. If one refuses, nothing is left of it. */
static int begin(struct ctl_jobs *jobs, struct job *job, struct skep_problems *problems)
{
	struct skep_err err = SKEP_ERR_NULL;
	int r = job->budget ? ctl_job_make_budget(jobs, job, &err) : 0;

	for (uint32_t i = 0; i < job->n_links && r == 0; i++)
		r = ctl_job_begin_link(jobs, job, &job->links[i], &err);
	if (r == 0) {
		job->started_ns = ctl_job_now_ns();
		ctl_job_set_state(jobs, job, JOB_RUNNING);
		return 0;
	}
	ctl_job_engine_refused(problems, &err);
	job->stop_wanted = true;
	ctl_job_stop(jobs, job);
	return r;
}

static int create(struct ctl_jobs *jobs, const struct ctl_job_request *request, json_t **ret, bool *ret_known,
		  struct skep_problems *problems)
{
	struct job *job = NULL;
	char id[CTL_JOB_ID];
	int r = known_key(jobs, request, &job, problems);

	*ret_known = r == 1;
	if (r == 1) {
		*ret = ctl_jobs_get(jobs, job->id);
		return *ret ? 0 : -ENOMEM;
	}
	if (r)
		return r;
	job = new_job(jobs, request, problems);
	if (!job)
		return problems->n ? SKEP_E_USAGE : -ENOMEM;
	memcpy(id, job->id, sizeof(id));
	job->next = jobs->head;
	jobs->head = job;
	r = ctl_job_keep(jobs, job);
	if (r == 0 && job->state == JOB_STARTING)
		r = begin(jobs, job, problems);
	if (r) {
		(void)forget(jobs, id);
		ctl_job_remove_files(jobs, job);
		unlink_job(jobs, job);
		return r;
	}
	*ret = ctl_jobs_get(jobs, id);
	return *ret ? 0 : -ENOMEM;
}

int ctl_jobs_create(struct ctl_jobs *jobs, const struct ctl_job_request *request, json_t **ret,
		    bool *ret_known, struct skep_problems *problems)
{
	int r;

	pthread_mutex_lock(&jobs->ops);
	r = create(jobs, request, ret, ret_known, problems);
	pthread_mutex_unlock(&jobs->ops);
	if (r && !problems->n) {
		problems->status = 500;
		skep_problems_add(problems, "internal", NULL, "the job could not be kept: %s",
				  strerror(r < 0 ? -r : 0));
	}
	return r;
}

/* Pauses or resumes on all links; what one engine refuses is told, the others have done it. */
static int pause_or_resume(struct ctl_jobs *jobs, struct job *job, bool pause, struct skep_err *err)
{
	enum job_state wanted = pause ? JOB_PAUSED : JOB_RUNNING;
	int r = 0;

	if (job->state == wanted)
		return 0;
	if (job->state != (pause ? JOB_RUNNING : JOB_PAUSED))
		return skep_err_set(err, SKEP_E_BUSY, "the job is %s", ctl_job_state_names[job->state]);
	for (uint32_t i = 0; i < job->n_links && r == 0; i++) {
		struct ctl_engine *engine = ctl_job_engine(jobs, job->links[i].name);
		json_t *answer = NULL;
		char name[64];

		if (job->links[i].state != LINK_RUNS || !engine)
			continue;
		ctl_job_engine_name(job, &job->links[i], name);
		r = ctl_engine_call(engine,
				    json_pack("{s:s,s:s}", "do", pause ? "pause" : "resume", "name", name),
				    &answer, err);
		json_decref(answer);
	}
	if (r)
		return r;
	if (pause)
		job->paused_ns = ctl_job_now_ns();
	else
		job->paused_sum_ns = ctl_job_paused_ns(job);
	ctl_job_set_state(jobs, job, wanted);
	return 0;
}

/* The job, with `ops` held; NULL, and nothing held: there is none. */
static struct job *hold(struct ctl_jobs *jobs, const char *id, struct skep_err *err)
{
	struct job *job;

	pthread_mutex_lock(&jobs->ops);
	job = find(jobs, id);
	if (!job) {
		skep_err_set(err, SKEP_E_NOT_FOUND, "there is no job %.40s", id);
		pthread_mutex_unlock(&jobs->ops);
	}
	return job;
}

int ctl_jobs_do(struct ctl_jobs *jobs, const char *id, enum ctl_job_verb verb, struct skep_err *err)
{
	struct job *job = hold(jobs, id, err);
	int r = 0;

	if (!job)
		return SKEP_E_NOT_FOUND;
	if (job_ended(job) && verb != CTL_JOB_STOP)
		r = skep_err_set(err, SKEP_E_BUSY, "the job has ended");
	else if (verb == CTL_JOB_STOP && !job_ended(job))
		ctl_job_stop(jobs, job);
	else if (verb != CTL_JOB_STOP)
		r = pause_or_resume(jobs, job, verb == CTL_JOB_PAUSE, err);
	pthread_mutex_unlock(&jobs->ops);
	return r;
}

static int remove_ended(struct ctl_jobs *jobs, struct job *job, struct skep_err *err)
{
	int r = forget(jobs, job->id);

	if (r < 0)
		return skep_err_set(err, r, "the journal cannot be written: %s", strerror(-r));
	ctl_job_remove_files(jobs, job);
	unlink_job(jobs, job);
	return 0;
}

int ctl_jobs_remove(struct ctl_jobs *jobs, const char *id, struct skep_err *err)
{
	struct job *job = hold(jobs, id, err);
	int r;

	if (!job)
		return SKEP_E_NOT_FOUND;
	r = job_ended(job) ? remove_ended(jobs, job, err)
			   : skep_err_set(err, SKEP_E_BUSY, "the job has not ended; stop it first");
	pthread_mutex_unlock(&jobs->ops);
	return r;
}

void ctl_jobs_release(struct ctl_jobs *jobs, const char *id)
{
	struct job *job = hold(jobs, id, NULL);

	if (!job)
		return;
	job->released = true;
	pthread_mutex_unlock(&jobs->ops);
}

/* Temporary jobs that nobody needs any more. */
static void sweep(struct ctl_jobs *jobs)
{
	struct job *next;

	for (struct job *job = jobs->head; job; job = next) {
		next = job->next;
		if (!job->temporary || !job->released)
			continue;
		if (job_ended(job))
			(void)remove_ended(jobs, job, NULL);
		else if (!job->stop_wanted)
			ctl_job_stop(jobs, job);
	}
}

int ctl_jobs_rotate(struct ctl_jobs *jobs, const char *id, struct skep_err *err)
{
	struct job *job = hold(jobs, id, err);
	int r;

	if (!job)
		return SKEP_E_NOT_FOUND;
	r = ctl_job_rotate(jobs, job, err);
	pthread_mutex_unlock(&jobs->ops);
	return r;
}

/* A job that saves; its links are those of the ring. */
static struct job *saving(const struct job *ring, const struct ctl_trigger *what)
{
	struct job *job = calloc(1, sizeof(*job));
	uint64_t now = ctl_job_now_ns();

	if (!job)
		return NULL;
	make_id(job->id);
	job->spec = json_deep_copy(ring->spec);
	job->reasons = json_array();
	(void)snprintf(job->name, sizeof(job->name), "%.120s", what->name ? what->name : ring->name);
	memcpy(job->saved_of, ring->id, sizeof(job->saved_of));
	job->state = JOB_RUNNING;
	job->created_ns = job->started_ns = now;
	job->from_ns = now - SKEP_MIN(what->before_ns, now);
	job->to_ns = now + SKEP_MIN(what->after_ns, AFTER_MAX_NS);
	job->saved_filter = what->filter && what->filter[0] ? strdup(what->filter) : NULL;
	job->undigested = true;
	job->n_links = ring->n_links;
	for (uint32_t i = 0; i < ring->n_links; i++) {
		memcpy(job->links[i].name, ring->links[i].name, CTL_LINK_NAME);
		job->links[i].life = 1;
	}
	return job;
}

static struct job *saved_before(struct ctl_jobs *jobs, const struct job *ring, const char *name)
{
	struct job *job = name ? jobs->head : NULL;

	while (job && (strcmp(job->saved_of, ring->id) != 0 || strcmp(job->name, name) != 0))
		job = job->next;
	return job;
}

static int trigger(struct ctl_jobs *jobs, struct job *ring, const struct ctl_trigger *what, json_t **ret)
{
	struct job *job = saving(ring, what);
	char id[CTL_JOB_ID];
	int r;

	if (!job || (what->filter && what->filter[0] && !job->saved_filter)) {
		(void)ctl_job_free(job);
		return -ENOMEM;
	}
	memcpy(id, job->id, sizeof(id));
	job->next = jobs->head;
	jobs->head = job;
	r = ctl_job_keep(jobs, job);
	if (r) {
		unlink_job(jobs, job);
		return r;
	}
	ctl_job_save(jobs, job);
	*ret = ctl_jobs_get(jobs, id);
	return *ret ? 0 : -ENOMEM;
}

int ctl_jobs_trigger(struct ctl_jobs *jobs, const struct ctl_trigger *what, json_t **ret, bool *ret_known,
		     struct skep_err *err)
{
	struct job *ring = hold(jobs, what->ring, err);
	struct job *known = ring ? saved_before(jobs, ring, what->name) : NULL;
	int r;

	if (!ring)
		return SKEP_E_NOT_FOUND;
	*ret_known = known != NULL;
	if (known) {
		*ret = ctl_jobs_get(jobs, known->id);
		r = *ret ? 0 : -ENOMEM;
	} else if (!ring->ring_bytes && !ring->ring_ns) {
		r = skep_err_set(err, SKEP_E_BUSY, "the job is no ring");
	} else if (job_ended(ring) || ring->state < JOB_RUNNING) {
		r = skep_err_set(err, SKEP_E_BUSY, "the ring is %s", ctl_job_state_names[ring->state]);
	} else if ((r = trigger(jobs, ring, what, ret)) < 0) {
		skep_err_set(err, r, "the job could not be kept: %s", strerror(-r));
	}
	pthread_mutex_unlock(&jobs->ops);
	return r;
}

struct ctl_spool *ctl_jobs_spool(struct ctl_jobs *jobs)
{
	return jobs->spool;
}

static json_t *list_for_spool(void *arg)
{
	return ctl_jobs_list(arg);
}

void ctl_jobs_tick(struct ctl_jobs *jobs)
{
	ctl_spool_look(jobs->spool, list_for_spool, jobs);
	pthread_mutex_lock(&jobs->ops);
	ctl_job_run(jobs);
	sweep(jobs);
	ctl_job_remove_remains(jobs);
	if (ctl_journal_is_long(jobs->journal)) {
		json_t *records = json_array();

		for (struct job *job = jobs->head; job; job = job->next)
			json_array_insert_new(records, 0, ctl_job_record(job));
		if (ctl_journal_rewrite(jobs->journal, records) < 0)
			skep_log(SKEP_LOG_ERROR, "journal: cannot be rewritten: %s", strerror(errno));
		json_decref(records);
	}
	pthread_mutex_unlock(&jobs->ops);
}

void ctl_jobs_wait(struct ctl_jobs *jobs, int fd, int timeout_ms)
{
	struct pollfd fds[1 + CTL_LINKS_MAX] = { { .fd = fd, .events = POLLIN } };
	nfds_t n = 1;

	pthread_mutex_lock(&jobs->ops);
	for (uint32_t i = 0; i < jobs->n_engines; i++)
		if (jobs->engines[i].events_fd >= 0)
			fds[n++] = (struct pollfd){ .fd = jobs->engines[i].events_fd, .events = POLLIN };
	pthread_mutex_unlock(&jobs->ops);
	(void)poll(fds, n, timeout_ms);
}
