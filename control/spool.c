/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeps the spool below its quota and the file system above its reserve. The oldest segments that were
 * marked as collected go first; when there are none left, the oldest of rings, which would throw them away
 * anyway; never another one. Then it says so, once, and new jobs are refused; jobs that run go on until the
 * engine meets the reserve.
 *
 * A file that has several names (a ring's, and what was saved of it) counts once, and frees nothing until
 * the last name goes. Of a removed segment the sidecar stays until the job is removed: accounts are summed
 * up from them.
 *
 * Marks are files beside the segments (control/segment.c), so all of this survives a restart. On the main
 * thread; no lock is held while directories are read.
 */
#include "control/spool.h"

#include "common/clock.h"
#include "common/log.h"
#include "control/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define LOOK_NS (2 * SKEP_NSEC_PER_SEC)
/* At most this part of the time is spent on looking. */
#define LOOK_PART 20u
/* The engine stops at the reserve: begin to free before it does. */
#define AHEAD_OF_RESERVE(reserve) ((reserve) + (reserve) / 2)
/* Free a little more than must be, so that it is not needed again at once. */
#define BELOW_QUOTA(quota) ((quota) - (quota) / 64)

struct found {
	char dir[40], name[256];
	uint64_t bytes, changed_ns;
	bool collected; /* else of a ring */
	bool alone;	/* no other name */
};

struct ctl_spool {
	const struct ctl_config *cfg;
	struct skep_events *events;
	uint64_t next_ns;    /* to look */
	struct found *found; /* of one look */
	size_t n, room;
	pthread_mutex_t lock; /* of the figures */
	struct ctl_spool_figures figures;
};

struct ctl_spool *ctl_spool_new(const struct ctl_config *cfg, struct skep_events *events)
{
	struct ctl_spool *spool = calloc(1, sizeof(*spool));

	if (!spool)
		return NULL;
	spool->cfg = cfg;
	spool->events = events;
	pthread_mutex_init(&spool->lock, NULL);
	return spool;
}

struct ctl_spool *ctl_spool_free(struct ctl_spool *spool)
{
	if (!spool)
		return NULL;
	pthread_mutex_destroy(&spool->lock);
	free(spool);
	return NULL;
}

void ctl_spool_get_figures(struct ctl_spool *spool, struct ctl_spool_figures *ret)
{
	pthread_mutex_lock(&spool->lock);
	*ret = spool->figures;
	pthread_mutex_unlock(&spool->lock);
}

/* ---- what is there ---- */

static const char *kind_of(const json_t *jobs, const char *dir)
{
	size_t n = strcspn(dir, "."), i;
	const json_t *job;

	json_array_foreach(jobs, i, job)
	{
		const char *id = json_string_value(json_object_get(job, "id"));

		if (id && strlen(id) == n && !strncmp(id, dir, n))
			return json_string_value(json_object_get(job, "kind"));
	}
	return NULL;
}

static void add(struct ctl_spool *spool, const struct found *found)
{
	if (spool->n == spool->room) {
		size_t room = spool->room ? 2 * spool->room : 256;
		struct found *more = realloc(spool->found, room * sizeof(*more));

		if (!more)
			return; /* it can go the next time */
		spool->found = more;
		spool->room = room;
	}
	spool->found[spool->n++] = *found;
}

/*
 * What a file takes. Of one that is being written, what was written: its space is allocated far ahead, and
 * given back when it is complete.
 */
static uint64_t size_of(int dir, const char *name, const struct stat *st)
{
	uint64_t blocks = (uint64_t)st->st_blocks * 512 / SKEP_MAX((uint64_t)st->st_nlink, UINT64_C(1));
	size_t n = strlen(name);
	_skep_close_ int fd = -1;
	off_t end;

	if (n < 5 || strcmp(name + n - 5, ".part") != 0)
		return blocks;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	end = fd >= 0 ? lseek(fd, 0, SEEK_HOLE) : -1;
	return end >= 0 ? SKEP_MIN((uint64_t)end, blocks) : blocks;
}

/* One directory of segments; returns its share of the disk. */
static uint64_t look_into(struct ctl_spool *spool, int root, const char *name, bool ring)
{
	int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	uint64_t sum = 0;
	struct stat st;

	while (dir && (entry = readdir(dir))) {
		struct found found = { .alone = true };

		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		sum += size_of(fd, entry->d_name, &st);
		if (!ctl_segment_is_one(entry->d_name))
			continue;
		found.collected = ctl_segment_is_collected(fd, entry->d_name);
		if ((!found.collected && !ring) || strlen(name) >= sizeof(found.dir))
			continue;
		(void)snprintf(found.dir, sizeof(found.dir), "%s", name);
		(void)snprintf(found.name, sizeof(found.name), "%s", entry->d_name);
		found.bytes = (uint64_t)st.st_blocks * 512;
		found.alone = st.st_nlink <= 1;
		found.changed_ns =
			(uint64_t)st.st_mtim.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec;
		add(spool, &found);
	}
	if (dir)
		closedir(dir);
	return sum;
}

/* Returns what the spool holds, in bytes on disk. */
static uint64_t look_at_all(struct ctl_spool *spool, int root, const json_t *jobs)
{
	DIR *dir = fdopendir(dup(root));
	struct dirent *entry;
	uint64_t sum = 0;

	spool->n = 0;
	while (dir && (entry = readdir(dir))) {
		const char *kind;

		if (entry->d_name[0] == '.')
			continue;
		kind = kind_of(jobs, entry->d_name);
		sum += look_into(spool, root, entry->d_name, kind && !strcmp(kind, "ring"));
	}
	if (dir)
		closedir(dir);
	return sum;
}

/* ---- what goes ---- */

/* Collected ones before those of rings, and old ones before young ones. */
static int by_age(const void *a, const void *b)
{
	const struct found *p = a, *q = b;

	if (p->collected != q->collected)
		return p->collected ? -1 : 1;
	return p->changed_ns < q->changed_ns ? -1 : p->changed_ns > q->changed_ns;
}

static void say_removed(struct ctl_spool *spool, const struct found *found)
{
	size_t n = strcspn(found->dir, ".");
	const char *life = found->dir[n] ? found->dir + n + 1 : "";
	char text[400];

	(void)snprintf(text, sizeof(text),
		       "{\"id\":\"%.*s\",\"segment\":\"%s%s%s%s\",\"bytes\":%llu,\"collected\":%s}", (int)n,
		       found->dir, *life ? "r" : "", life, *life ? "." : "", found->name,
		       (unsigned long long)found->bytes, found->collected ? "true" : "false");
	(void)skep_events_publish(spool->events, "removed", text);
	skep_log(SKEP_LOG_INFO, "job=%.*s segment=%s removed to make room", (int)n, found->dir, found->name);
}

static uint64_t free_bytes(const struct ctl_config *cfg)
{
	struct statvfs vfs;

	return statvfs(cfg->spool_dir, &vfs) == 0 ? (uint64_t)vfs.f_bavail * vfs.f_frsize : UINT64_MAX;
}

static bool is_too_much(const struct ctl_config *cfg, uint64_t used)
{
	return (cfg->quota_bytes && used > BELOW_QUOTA(cfg->quota_bytes)) ||
	       free_bytes(cfg) < AHEAD_OF_RESERVE(cfg->reserve_bytes);
}

/* Removes until it is enough; returns what is then used. */
static uint64_t make_room(struct ctl_spool *spool, int root, uint64_t used)
{
	uint64_t bytes = 0, segments = 0;

	if (spool->n)
		qsort(spool->found, spool->n, sizeof(*spool->found), by_age);
	for (size_t i = 0; i < spool->n && is_too_much(spool->cfg, used); i++) {
		struct found *found = &spool->found[i];
		_skep_close_ int dir = -1;

		if (!found->collected && !found->alone)
			continue; /* somebody saved it: nothing would be won */
		dir = openat(root, found->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (dir < 0 || ctl_segment_unlink(dir, found->name))
			continue;
		say_removed(spool, found);
		bytes += found->alone ? found->bytes : 0;
		used -= found->alone ? SKEP_MIN(found->bytes, used) : 0;
		segments++;
		found->bytes = 0;
	}
	pthread_mutex_lock(&spool->lock);
	spool->figures.freed_bytes += bytes;
	spool->figures.freed_segments += segments;
	pthread_mutex_unlock(&spool->lock);
	return used;
}

static void say_full(struct ctl_spool *spool, bool full, bool quota)
{
	if (full == spool->figures.full) /* changed by this thread only */
		return;
	skep_log(full ? SKEP_LOG_WARNING : SKEP_LOG_INFO, "spool: %s",
		 full ? "full, and nothing may go" : "room again");
	(void)skep_events_publish(spool->events, "alarm",
				  !full	  ? "{\"code\":\"spool-room\",\"text\":\"the spool has room again\"}"
				  : quota ? "{\"code\":\"spool-full\",\"text\":\"the spool holds more than "
					    "its quota, and nothing in it was "
					    "collected: no new jobs are taken\"}"
					  : "{\"code\":\"spool-full\",\"text\":\"the file system of the "
					    "spool is close to its reserve, and nothing "
					    "in the spool was collected: jobs will end\"}");
}

static uint64_t now_ns(void)
{
	return skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC);
}

static bool is_pressed(const struct ctl_config *cfg)
{
	return free_bytes(cfg) < AHEAD_OF_RESERVE(cfg->reserve_bytes);
}

static bool is_over_quota(const struct ctl_config *cfg, uint64_t used)
{
	return cfg->quota_bytes && used >= cfg->quota_bytes;
}

static void look(struct ctl_spool *spool, int root, const json_t *jobs)
{
	const struct ctl_config *cfg = spool->cfg;
	uint64_t used = look_at_all(spool, root, jobs), collected = 0;
	bool full;

	if (is_over_quota(cfg, used) || is_pressed(cfg))
		used = make_room(spool, root, used);
	full = is_over_quota(cfg, used) || is_pressed(cfg);
	say_full(spool, full, is_over_quota(cfg, used));
	for (size_t i = 0; i < spool->n; i++)
		collected += spool->found[i].collected && spool->found[i].alone ? spool->found[i].bytes : 0;
	free(spool->found);
	spool->found = NULL;
	spool->n = spool->room = 0;
	pthread_mutex_lock(&spool->lock);
	spool->figures.used_bytes = used;
	spool->figures.collected_bytes = collected;
	spool->figures.full = full;
	pthread_mutex_unlock(&spool->lock);
}

void ctl_spool_look(struct ctl_spool *spool, json_t *(*jobs)(void *arg), void *arg)
{
	uint64_t began = now_ns(), took;
	_skep_close_ int root = -1;
	json_t *list;

	/* While nothing can be freed there is no use in looking all the time. */
	if (began < spool->next_ns && (!is_pressed(spool->cfg) || spool->figures.full))
		return;
	root = open(spool->cfg->spool_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return;
	list = jobs(arg);
	look(spool, root, list);
	json_decref(list);
	took = now_ns() - began;
	spool->next_ns = began + SKEP_MAX(LOOK_NS, LOOK_PART * took);
}
