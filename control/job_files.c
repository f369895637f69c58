/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A job's files in the spool: SPOOL/ID for the first life of its engines, SPOOL/ID.N for the N-th, and
 * SPOOL/ID.budget where several engines share a limit. What an engine left when it died is ended by
 * `skep-capture recover`, which leaves alone whatever another engine still writes. Called with `ops` held.
 */
#include "control/job_priv.h"

#include "common/json.h"
#include "common/log.h"
#include "control/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define RECOVER_MS 600000
/* So long a file may still be held by who is dying: an engine, or the recovery of a daemon before us. */
#define HELD_MS 10000
#define HELD_STEP_MS 50

void ctl_job_dir(const struct job *job, uint32_t life, char buf[static 64])
{
	if (life <= 1)
		(void)snprintf(buf, 64, "%s", job->id);
	else
		(void)snprintf(buf, 64, "%s.%u", job->id, life);
}

/* Adds up the sidecars of one link in a directory. */
static void sum_sidecars(const char *path, const char *link, struct ctl_account *sum, uint64_t *last_ns)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);
		_skep_json_ json_t *sidecar = NULL;
		struct ctl_account one;
		const char *of;
		char file[700];
		json_int_t last;

		if (n < 6 || entry->d_name[0] == '.' || strcmp(entry->d_name + n - 5, ".json") != 0)
			continue;
		(void)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (skep_json_load_file(file, &sidecar, NULL))
			continue;
		of = json_string_value(json_object_get(sidecar, "link"));
		if (!of || strcmp(of, link) != 0)
			continue;
		ctl_account_of_sidecar(sidecar, &one);
		ctl_account_add(sum, &one);
		last = json_integer_value(json_object_get(sidecar, "last_ns"));
		if (last > 0 && (uint64_t)last > *last_ns)
			*last_ns = (uint64_t)last;
	}
	if (dir)
		closedir(dir);
}

void ctl_job_sum(struct ctl_jobs *jobs, const struct job *job, struct job_link *link, uint32_t life)
{
	struct ctl_account sum = { 0 };
	char name[64], path[400];
	uint64_t last_ns = 0;

	ctl_job_dir(job, life, name);
	(void)snprintf(path, sizeof(path), "%s/%s", jobs->cfg->spool_dir, name);
	sum_sidecars(path, link->name, &sum, &last_ns);
	ctl_account_add(&link->before, &sum);
}

/* Is there still a file of the link that is not ended? */
static bool has_part(const char *path, const char *link)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t n = strlen(link);
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		found = len > n + 5 && !strncmp(entry->d_name, link, n) && !strncmp(entry->d_name + n, "-q", 2) &&
			!strcmp(entry->d_name + len - 5, ".part");
	}
	if (dir)
		closedir(dir);
	return found;
}

static void run_recover(struct ctl_jobs *jobs, const struct job *job, const char *path)
{
	struct ctl_run run = {
		.dir = jobs->cfg->program_dir,
		.args = { "skep-capture", "recover", path },
		.wall_ms = RECOVER_MS,
		.answer_max_bytes = 16u << 20,
	};
	struct skep_err err = SKEP_ERR_NULL;
	struct ctl_answer answer;

	if (ctl_process_run(&run, &answer, &err))
		skep_log(SKEP_LOG_ERROR, "job=%s recovery: %s", job->id, err.text);
	else
		free(answer.out);
}

void ctl_job_recover(struct ctl_jobs *jobs, const struct job *job, struct job_link *link,
		     uint64_t *ret_last_ns)
{
	char name[64], path[400];
	struct ctl_account sum = { 0 };
	uint32_t waited_ms = 0;

	*ret_last_ns = 0;
	ctl_job_dir(job, link->life, name);
	(void)snprintf(path, sizeof(path), "%s/%s", jobs->cfg->spool_dir, name);
	if (access(path, F_OK) < 0)
		return;
	run_recover(jobs, job, path);
	for (; has_part(path, link->name) && waited_ms < HELD_MS; waited_ms += HELD_STEP_MS) {
		(void)nanosleep(&(struct timespec){ .tv_nsec = HELD_STEP_MS * (long)SKEP_NSEC_PER_MSEC },
				NULL);
		run_recover(jobs, job, path);
	}
	if (waited_ms >= HELD_MS)
		skep_log(SKEP_LOG_ERROR, "job=%s link=%s: a file in %s cannot be ended; it is not in the account",
			 job->id, link->name, path);
	sum_sidecars(path, link->name, &sum, ret_last_ns);
	ctl_account_bury(&sum, &link->now);
	ctl_account_add(&link->before, &sum);
	link->now = (struct ctl_account){ 0 };
}

bool ctl_job_has_files(struct ctl_jobs *jobs, const struct job *job, const struct job_link *link)
{
	char name[64], path[400];

	ctl_job_dir(job, link->life, name);
	(void)snprintf(path, sizeof(path), "%s/%s", jobs->cfg->spool_dir, name);
	return access(path, F_OK) == 0;
}

/* false: something was written into it meanwhile (a digest of an engine that goes on). */
static bool remove_dir(int spool, const char *name)
{
	int fd = openat(spool, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			(void)unlinkat(fd, entry->d_name, 0);
	if (dir)
		closedir(dir);
	return fd < 0 || unlinkat(spool, name, AT_REMOVEDIR) == 0;
}

void ctl_job_remove_remains(struct ctl_jobs *jobs)
{
	_skep_close_ int spool = -1;

	if (jobs->n_remains)
		spool = open(jobs->cfg->spool_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (uint32_t i = jobs->n_remains; spool >= 0 && i-- > 0;)
		if (remove_dir(spool, jobs->remains[i]))
			memmove(jobs->remains[i], jobs->remains[--jobs->n_remains],
				sizeof(jobs->remains[0]));
}

static void remove_or_later(struct ctl_jobs *jobs, int spool, const char *name)
{
	if (remove_dir(spool, name))
		return;
	if (jobs->n_remains < REMAINS_MAX)
		(void)snprintf(jobs->remains[jobs->n_remains++], sizeof(jobs->remains[0]), "%.90s", name);
	else
		skep_log(SKEP_LOG_WARNING, "spool: %s cannot be removed: %s", name, strerror(errno));
}

void ctl_job_remove_parts(struct ctl_jobs *jobs, const struct job *job, const char *suffix)
{
	_skep_close_ int spool = open(jobs->cfg->spool_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = spool >= 0 ? fdopendir(dup(spool)) : NULL;
	size_t n = strlen(job->id), m = strlen(suffix);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *rest = entry->d_name + n;

		if (strncmp(entry->d_name, job->id, n) == 0 && !strncmp(rest, suffix, m) &&
		    strcmp(rest, ".budget") != 0)
			remove_or_later(jobs, spool, entry->d_name);
	}
	if (dir)
		closedir(dir);
}

void ctl_job_remove_files(struct ctl_jobs *jobs, const struct job *job)
{
	char path[400];

	ctl_job_remove_parts(jobs, job, "");
	(void)snprintf(path, sizeof(path), "%s/%s.budget", jobs->cfg->spool_dir, job->id);
	(void)unlink(path);
}
