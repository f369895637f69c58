/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flight recorders. A ring is a job whose engine begins a new file often and keeps only the last ones. A
 * trigger makes a second job of files that the ring has, by hard links, so it copies nothing and the ring's
 * rotation cannot take them away any more: at once those of the past, then each second what was completed
 * since, and at the end what the ring then has. Whole files are kept, so what is saved begins and ends a
 * little outside the time that was asked for. Called with `ops` held.
 */
#include "control/job_priv.h"

#include "common/format.h"
#include "common/json.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A ring is so many files for each queue; one more is being written, one more may be begun meanwhile. */
#define RING_FILES 8u
#define ROTATE_MIN_BYTES (1u << 20)
#define ROTATE_MIN_NS 100000000u

static uint32_t queues_of(const char *link)
{
	char path[64];
	struct dirent *entry;
	uint32_t n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%.15s/queues", link);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		n += !strncmp(entry->d_name, "rx-", 3);
	if (dir)
		closedir(dir);
	return SKEP_MAX(n, 1u);
}

void ctl_job_ring_spec(const struct job *job, const struct job_link *link, json_t *spec)
{
	uint64_t bytes = job->ring_bytes / RING_FILES / queues_of(link->name), ns = job->ring_ns / RING_FILES;
	json_t *rotate = json_object();

	if (job->ring_bytes)
		json_object_set_new(rotate, "bytes",
				    json_integer((json_int_t)SKEP_MAX(bytes, (uint64_t)ROTATE_MIN_BYTES)));
	if (job->ring_ns)
		json_object_set_new(rotate, "ns",
				    json_integer((json_int_t)SKEP_MAX(ns, (uint64_t)ROTATE_MIN_NS)));
	if (job->ring_bytes || job->ring_ns) {
		json_object_set(spec, "rotate", rotate);
		json_object_set_new(spec, "keep_files", json_integer(RING_FILES + 2));
	}
	json_decref(rotate);
}

struct saving {
	const struct job *job;
	int from, to; /* directories */
	uint64_t oldest_ns;
};

static uint64_t number(const json_t *object, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(object, name));

	return n > 0 ? (uint64_t)n : 0;
}

/* Links one file; it is fine if it is there already. The sidecar is replaced: it may have a digest by now. */
static void keep(struct saving *s, const char *name, const char *side, const json_t *sidecar)
{
	uint64_t began = number(sidecar, "started_ns"), first = number(sidecar, "first_ns"),
		 last = number(sidecar, "last_ns");

	if (began && began < s->oldest_ns)
		s->oldest_ns = began;
	if (!first || last < s->job->from_ns || first > s->job->to_ns)
		return;
	if (linkat(s->from, name, s->to, name, 0) < 0 && errno != EEXIST)
		return; /* rotated away at this moment */
	(void)unlinkat(s->to, side, 0);
	if (linkat(s->from, side, s->to, side, 0) < 0)
		skep_log(SKEP_LOG_WARNING, "job=%s %s: %s", s->job->id, side, strerror(errno));
}

static void keep_all(struct saving *s)
{
	DIR *dir = fdopendir(dup(s->from));
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);
		_skep_json_ json_t *sidecar = NULL;
		char path[64], name[256];
		int fd;

		if (n < 6 || n >= sizeof(name) || entry->d_name[0] == '.' ||
		    strcmp(entry->d_name + n - 5, ".json") != 0)
			continue;
		fd = openat(s->from, entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		(void)snprintf(name, sizeof(name), "%.*s", (int)n - 5, entry->d_name);
		if (fd >= 0 && skep_json_load_file(path, &sidecar, NULL) == 0)
			keep(s, name, entry->d_name, sidecar);
		if (fd >= 0)
			close(fd);
	}
	if (dir)
		closedir(dir);
}

static struct job *ring_of(struct ctl_jobs *jobs, const struct job *job)
{
	for (struct job *ring = jobs->head; ring; ring = ring->next)
		if (!strcmp(ring->id, job->saved_of))
			return ring;
	return NULL;
}

/* All lives of the ring, each into a directory of its own. Returns when the oldest file was begun. */
static uint64_t keep_lives(struct ctl_jobs *jobs, const struct job *ring, struct job *job)
{
	struct saving s = { .job = job, .oldest_ns = UINT64_MAX };
	uint32_t lives = 1;

	for (uint32_t i = 0; i < ring->n_links; i++)
		lives = SKEP_MAX(lives, ring->links[i].life);
	for (uint32_t life = 1; life <= lives; life++) {
		_skep_close_ int from = -1, to = -1;
		char name[64], path[400];

		ctl_job_dir(ring, life, name);
		(void)snprintf(path, sizeof(path), "%s/%s", jobs->cfg->spool_dir, name);
		from = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ctl_job_dir(job, life, name);
		(void)snprintf(path, sizeof(path), "%s/%s", jobs->cfg->spool_dir, name);
		if (from < 0 || (mkdir(path, 0750) < 0 && errno != EEXIST))
			continue;
		to = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		s.from = from;
		s.to = to;
		if (to >= 0)
			keep_all(&s);
	}
	for (uint32_t i = 0; i < job->n_links; i++)
		job->links[i].life = lives;
	return s.oldest_ns;
}

/* What was saved, by its own sidecars. */
static void sum_up(struct ctl_jobs *jobs, struct job *job)
{
	for (uint32_t i = 0; i < job->n_links; i++) {
		job->links[i].before = (struct ctl_account){ 0 };
		for (uint32_t life = 1; life <= job->links[i].life; life++)
			ctl_job_sum(jobs, job, &job->links[i], life);
	}
}

void ctl_job_save(struct ctl_jobs *jobs, struct job *job)
{
	struct job *ring = ring_of(jobs, job);
	uint64_t now = ctl_job_now_ns(), oldest;
	bool first = job->links[0].looked_ns == 0, over = now >= job->to_ns || !ring;
	char text[SKEP_FORMAT_MAX];

	if (!first && !over && now - job->links[0].looked_ns < SKEP_NSEC_PER_SEC)
		return;
	job->links[0].looked_ns = now;
	if (!ring) {
		ctl_job_add_reason(job, "the ring was removed before all was saved");
	} else {
		if (first || over)
			(void)ctl_job_rotate(jobs, ring, NULL);
		oldest = keep_lives(jobs, ring, job);
		if (first && oldest > job->from_ns)
			ctl_job_add_reason(job, "the ring goes back only to %s",
					   oldest == UINT64_MAX ? "now" : skep_format_time(text, oldest));
		for (uint32_t i = 0; first && i < ring->n_gaps && job->n_gaps < GAPS_MAX; i++)
			if (!ring->gaps[i].to_ns || ring->gaps[i].to_ns > job->from_ns) {
				job->gaps[job->n_gaps++] = ring->gaps[i];
				ctl_job_add_reason(job, "the ring has a gap (see gaps)");
			}
	}
	sum_up(jobs, job);
	if (over)
		ctl_job_finish_all(jobs, job, "trigger");
	else
		(void)ctl_job_keep(jobs, job);
}
