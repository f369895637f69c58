/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flight recorders. A ring is a job whose engine begins a new file often; here the files go that are older
 * than the ring is long, or more than it may hold. The engine itself keeps RING_KEEP files of each queue,
 * which is more than that: it matters while we do not run, and it is the room for files that triggers
 * complete early.
 *
 * A trigger makes a second job of files that the ring has, by hard links, so it copies nothing and they
 * cannot be taken away any more: at once those of the past, then each second what was completed since, and
 * at the end what the ring then has. Whole files are kept, so what is saved begins and ends a little
 * outside the time that was asked for; with a filter, only what matches and lies within it remains in the
 * end (control/job_sift.c).
 *
 * A trigger completes the ring's current files, unless so many triggers have done so lately that the engine
 * would begin to throw away: then it waits for files to grow old, or to be completed by themselves. Called
 * with `ops` held.
 */
#include "control/job_priv.h"

#include "common/format.h"
#include "common/json.h"
#include "common/log.h"
#include "control/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A ring is so many files for each queue, if no trigger completes any. */
#define RING_FILES 8u
#define RING_KEEP 24u
#define ROTATE_MIN_BYTES (1u << 20)
#define ROTATE_MIN_NS 100000000u
#define QUEUES_MAX 256u
/* So long a trigger waits for room before it takes what room there is. */
#define WAIT_NS (30 * SKEP_NSEC_PER_SEC)
/* So late a file may be complete. */
#define LATE_NS (2 * SKEP_NSEC_PER_SEC)
/* And so long a digest is waited for. */
#define DIGEST_NS (60 * SKEP_NSEC_PER_SEC)

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
		json_object_set_new(spec, "keep_files", json_integer(RING_KEEP));
	}
	json_decref(rotate);
}

static uint32_t lives_of(const struct job *job)
{
	uint32_t lives = 1;

	for (uint32_t i = 0; i < job->n_links; i++)
		lives = SKEP_MAX(lives, job->links[i].life);
	return lives;
}

static int open_life(const struct ctl_jobs *jobs, const struct job *job, uint32_t life)
{
	char name[64], path[400];

	ctl_job_dir(job, life, name);
	(void)snprintf(path, sizeof(path), "%s/%s", jobs->cfg->spool_dir, name);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int load_beside(int dir, const char *name, json_t **ret)
{
	char path[320];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%.250s.json", dir, name);
	return skep_json_load_file(path, ret, NULL);
}

/* ---- what is too old, or too much ---- */

struct kept {
	int dir; /* borrowed */
	char name[256];
	uint64_t bytes, changed_ns;
	uint32_t link;
};

struct pruning {
	struct kept *files;
	size_t n, room;
};

/* "LINK-qQUEUE-SEQ.…": which link of the job; n_links: none. */
static uint32_t link_of(const struct job *job, const char *name, uint32_t *ret_queue)
{
	unsigned queue;

	for (uint32_t i = 0; i < job->n_links; i++) {
		size_t n = strlen(job->links[i].name);

		if (strncmp(name, job->links[i].name, n) != 0 || sscanf(name + n, "-q%u-", &queue) != 1)
			continue;
		*ret_queue = queue;
		return i;
	}
	return job->n_links;
}

static void look_into(const struct job *job, int fd, struct pruning *all)
{
	DIR *dir = fdopendir(dup(fd));
	struct dirent *entry;
	struct stat st;

	while (dir && (entry = readdir(dir))) {
		struct kept *kept;
		uint32_t queue;

		if (!ctl_segment_is_one(entry->d_name) ||
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (all->n == all->room) {
			size_t room = all->room ? 2 * all->room : 64;
			struct kept *more = realloc(all->files, room * sizeof(*more));

			if (!more)
				break;
			all->files = more;
			all->room = room;
		}
		kept = &all->files[all->n++];
		*kept = (struct kept){ .dir = fd, .bytes = (uint64_t)st.st_size };
		kept->changed_ns =
			(uint64_t)st.st_mtim.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec;
		kept->link = link_of(job, entry->d_name, &queue);
		(void)snprintf(kept->name, sizeof(kept->name), "%s", entry->d_name);
	}
	if (dir)
		closedir(dir);
}

static int by_age(const void *a, const void *b)
{
	const struct kept *p = a, *q = b;

	return p->changed_ns < q->changed_ns ? -1 : p->changed_ns > q->changed_ns;
}

/* What waits for its digest stays a while: a trigger may have saved it, and wants the digest too. */
static bool is_digested(const struct kept *kept)
{
	_skep_json_ json_t *sidecar = NULL;

	return load_beside(kept->dir, kept->name, &sidecar) ||
	       json_is_string(json_object_get(sidecar, "sha256"));
}

static bool is_too_old(const struct job *job, const struct kept *kept)
{
	uint64_t now = ctl_job_now_ns(), age = now - SKEP_MIN(kept->changed_ns, now);
	uint64_t most = job->ring_ns + job->ring_ns / RING_FILES;

	return age >= most && (age >= most + DIGEST_NS || is_digested(kept));
}

/* The oldest first; of each link at least what the ring is to hold stays. */
static void remove_old(const struct job *job, struct pruning *all)
{
	uint64_t bytes[CTL_LINKS_MAX + 1] = { 0 };

	for (size_t i = 0; i < all->n; i++)
		bytes[all->files[i].link] += all->files[i].bytes;
	if (all->n)
		qsort(all->files, all->n, sizeof(*all->files), by_age);
	for (size_t i = 0; i < all->n; i++) {
		const struct kept *kept = &all->files[i];
		uint64_t left = bytes[kept->link] - kept->bytes;
		char side[300];

		if (job->ring_ns ? !is_too_old(job, kept) : left < job->ring_bytes)
			continue;
		bytes[kept->link] = left;
		(void)ctl_segment_unlink(kept->dir, kept->name);
		(void)snprintf(side, sizeof(side), "%s.json", kept->name);
		(void)unlinkat(kept->dir, side, 0);
	}
}

void ctl_job_ring_prune(struct ctl_jobs *jobs, struct job *job)
{
	uint32_t lives = lives_of(job), n = 0;
	struct pruning all = { 0 };
	int *dirs;

	if (job_ended(job) || job->saved_of[0] || (!job->ring_bytes && !job->ring_ns))
		return;
	dirs = calloc(lives, sizeof(*dirs));
	for (uint32_t life = 1; dirs && life <= lives; life++) {
		int fd = open_life(jobs, job, life);

		if (fd < 0)
			continue;
		dirs[n++] = fd;
		look_into(job, fd, &all);
	}
	remove_old(job, &all);
	while (n)
		skep_closep(&dirs[--n]);
	free(dirs);
	free(all.files);
}

/* Would the engine throw a file away if it were to begin another one? */
static bool has_room(struct ctl_jobs *jobs, const struct job *ring)
{
	uint16_t counts[CTL_LINKS_MAX + 1][QUEUES_MAX] = { 0 };
	bool room = true;

	for (uint32_t i = 0; i < ring->n_links; i++) {
		_skep_close_ int fd = open_life(jobs, ring, ring->links[i].life);
		DIR *dir = fd >= 0 ? fdopendir(dup(fd)) : NULL;
		struct dirent *entry;

		while (dir && (entry = readdir(dir))) {
			uint32_t queue = 0, link = link_of(ring, entry->d_name, &queue);

			if (link == i && queue < QUEUES_MAX && ctl_segment_is_one(entry->d_name))
				room &= ++counts[link][queue] < RING_KEEP - 2;
		}
		if (dir)
			closedir(dir);
	}
	return room;
}

/* ---- what a trigger keeps ---- */

struct saving {
	const struct ctl_jobs *jobs;
	const struct job *job;
	uint32_t life;
	int from; /* a directory of the ring */
	uint64_t oldest_ns;
};

static uint64_t number(const json_t *object, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(object, name));

	return n > 0 ? (uint64_t)n : 0;
}

/* The directory for it, which belongs to whom the ring's belongs. */
static int open_target(const struct saving *s, const char *link)
{
	char name[96], path[400];
	struct stat st;
	int fd;

	if (s->job->saved_filter)
		ctl_job_raw_dir(s->job, s->life, link, name);
	else
		ctl_job_dir(s->job, s->life, name);
	(void)snprintf(path, sizeof(path), "%s/%s", s->jobs->cfg->spool_dir, name);
	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && fstat(s->from, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) < 0 && errno != EPERM)
		skep_log(SKEP_LOG_WARNING, "job=%s %s: %s", s->job->id, name, strerror(errno));
	return fd;
}

/* What lies beside a segment. It is replaced: it may have been written again by now (a digest). */
static void keep_beside(const struct saving *s, int to, const char *name, const char *suffix)
{
	char side[300];

	(void)snprintf(side, sizeof(side), "%s%s", name, suffix);
	(void)unlinkat(to, side, 0);
	if (linkat(s->from, side, to, side, 0) < 0 && errno != ENOENT)
		skep_log(SKEP_LOG_WARNING, "%s: %s", side, strerror(errno));
}

/* Links one file; it is fine if it is there already. */
static void keep(struct saving *s, const char *name, const json_t *sidecar)
{
	uint64_t began = number(sidecar, "started_ns"), first = number(sidecar, "first_ns"),
		 last = number(sidecar, "last_ns");
	const char *link = json_string_value(json_object_get(sidecar, "link"));
	_skep_close_ int to = -1;

	if (began && began < s->oldest_ns)
		s->oldest_ns = began;
	if (!link || !first || last < s->job->from_ns || first > s->job->to_ns)
		return;
	to = open_target(s, link);
	if (to < 0 || (linkat(s->from, name, to, name, 0) < 0 && errno != EEXIST))
		return; /* rotated away at this moment */
	keep_beside(s, to, name, ".json");
	keep_beside(s, to, name, ".sketch");
}

static void keep_all(struct saving *s)
{
	DIR *dir = fdopendir(dup(s->from));
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_skep_json_ json_t *sidecar = NULL;

		if (ctl_segment_is_one(entry->d_name) && load_beside(s->from, entry->d_name, &sidecar) == 0)
			keep(s, entry->d_name, sidecar);
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
	struct saving s = { .jobs = jobs, .job = job, .oldest_ns = UINT64_MAX };
	uint32_t lives = lives_of(ring);

	for (s.life = 1; s.life <= lives; s.life++) {
		s.from = open_life(jobs, ring, s.life);
		if (s.from < 0)
			continue;
		keep_all(&s);
		skep_closep(&s.from);
	}
	for (uint32_t i = 0; i < job->n_links; i++)
		job->links[i].life = lives;
	return s.oldest_ns;
}

void ctl_job_sum_up(struct ctl_jobs *jobs, struct job *job)
{
	for (uint32_t i = 0; i < job->n_links; i++) {
		job->links[i].before = (struct ctl_account){ 0 };
		for (uint32_t life = 1; life <= job->links[i].life; life++)
			ctl_job_sum(jobs, job, &job->links[i], life);
	}
}

/* What the ring cannot give is said at once. */
static void say_what_is_missing(const struct job *ring, struct job *job, uint64_t oldest_ns)
{
	char text[SKEP_FORMAT_MAX];
	bool gap = false;

	if (oldest_ns > job->from_ns)
		ctl_job_add_reason(job, "the ring goes back only to %s",
				   oldest_ns == UINT64_MAX ? "now" : skep_format_time(text, oldest_ns));
	for (uint32_t i = 0; i < ring->n_gaps && job->n_gaps < GAPS_MAX; i++)
		if (!ring->gaps[i].to_ns || ring->gaps[i].to_ns > job->from_ns) {
			job->gaps[job->n_gaps++] = ring->gaps[i];
			gap = true;
		}
	if (gap)
		ctl_job_add_reason(job, "the ring has a gap (see gaps)");
}

static void finish(struct ctl_jobs *jobs, struct job *job)
{
	if (job->saved_filter)
		ctl_job_set_state(jobs, job, JOB_DRAINING); /* and is sifted */
	else
		ctl_job_finish_all(jobs, job, "trigger");
}

/* Sees to it that what the ring has taken until now is in complete files. false: not yet. */
static bool complete_files(struct ctl_jobs *jobs, struct job *ring, const struct job *job, uint64_t now)
{
	/* By then the engine has begun another file by itself. */
	bool done = ring->ring_ns && now > job->to_ns + ring->ring_ns / RING_FILES + LATE_NS;

	if (done || job_ended(ring))
		return true;
	if (!has_room(jobs, ring) && now < job->to_ns + WAIT_NS)
		return false;
	(void)ctl_job_rotate(jobs, ring, NULL);
	return true;
}

void ctl_job_save(struct ctl_jobs *jobs, struct job *job)
{
	struct job *ring = ring_of(jobs, job);
	uint64_t now = ctl_job_now_ns(), oldest;
	bool first = job->links[0].looked_ns == 0, over = now >= job->to_ns || !ring;

	if (job->state == JOB_DRAINING) {
		ctl_job_sift(jobs, job);
		return;
	}
	/* Once a second; at once when its time has just passed. */
	if (!first && now - job->links[0].looked_ns < SKEP_NSEC_PER_SEC &&
	    (!over || job->links[0].looked_ns >= job->to_ns))
		return;
	job->links[0].looked_ns = now;
	if (!ring) {
		ctl_job_add_reason(job, "the ring was removed before all was saved");
	} else {
		ctl_job_ring_prune(jobs, ring);
		if (first || over)
			over &= complete_files(jobs, ring, job, now);
		oldest = keep_lives(jobs, ring, job);
		if (first)
			say_what_is_missing(ring, job, oldest);
	}
	if (!job->saved_filter)
		ctl_job_sum_up(jobs, job);
	if (over)
		finish(jobs, job);
	else
		(void)ctl_job_keep(jobs, job);
}

/* Takes the ring's sidecar where that of the saved file has no digest. Returns how many have none still. */
static uint32_t take_digests(int from, int to)
{
	DIR *dir = fdopendir(dup(to));
	struct saving s = { .from = from };
	struct dirent *entry;
	uint32_t without = 0;

	while (dir && (entry = readdir(dir))) {
		_skep_json_ json_t *mine = NULL, *rings = NULL;

		if (!ctl_segment_is_one(entry->d_name) || load_beside(to, entry->d_name, &mine) ||
		    json_is_string(json_object_get(mine, "sha256")))
			continue;
		without++;
		if (from < 0 || load_beside(from, entry->d_name, &rings) ||
		    !json_is_string(json_object_get(rings, "sha256")))
			continue;
		keep_beside(&s, to, entry->d_name, ".json");
		keep_beside(&s, to, entry->d_name, ".sketch");
		without--;
	}
	if (dir)
		closedir(dir);
	return without;
}

void ctl_job_save_digests(struct ctl_jobs *jobs, struct job *job)
{
	struct job *ring = ring_of(jobs, job);
	uint64_t now = ctl_job_now_ns();
	uint32_t without = 0;

	if (!job_ended(job))
		return;
	for (uint32_t life = 1; ring && life <= lives_of(job); life++) {
		_skep_close_ int from = open_life(jobs, ring, life), to = open_life(jobs, job, life);

		if (to >= 0)
			without += take_digests(from, to);
	}
	job->undigested = without && ring && now - SKEP_MIN(job->ended_ns, now) < 10 * DIGEST_NS;
}
