/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a trigger with a filter saved, made into what it asked for. The ring's files were linked whole into
 * ID.rawLIFE-LINK; for one link after the other `skep-capture extract` takes out of them what matches and
 * lies within the time, and writes it through a FIFO to `skep-capture -r`, which makes segments of it like
 * those of any job, in ID.sift. When all is there it moves to ID, and the whole files go.
 *
 * Both programs are confined children that die with us; the next start begins anew, as the whole files are
 * still there. If they fail, everything is kept and the job says so: too much rather than too little.
 * Called with `ops` held, about five times a second, and never waits.
 */
#include "control/job_priv.h"

#include "common/format.h"
#include "common/log.h"
#include "control/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DIRS_MAX 64u
#define CPU_S 36000

struct job_sift {
	uint32_t link; /* the one that it is at */
	bool runs;
	struct ctl_pipes reader, writer; /* pid 0: has ended */
	int reader_code, writer_code;
	int to; /* ID.sift */
};

void ctl_job_raw_dir(const struct job *job, uint32_t life, const char *link, char buf[static 96])
{
	(void)snprintf(buf, 96, "%s.raw%u-%s", job->id, life, link);
}

static void end_child(struct ctl_pipes *child)
{
	if (child->pid > 0)
		ctl_process_end(child->pid);
	child->pid = 0;
	skep_closep(&child->out);
	skep_closep(&child->errors);
}

struct job_sift *ctl_job_sift_free(struct job_sift *sift)
{
	if (!sift)
		return NULL;
	end_child(&sift->reader);
	end_child(&sift->writer);
	skep_closep(&sift->to);
	free(sift);
	return NULL;
}

static int open_dir(const struct ctl_jobs *jobs, const char *name)
{
	char path[400];

	(void)snprintf(path, sizeof(path), "%s/%.100s", jobs->cfg->spool_dir, name);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

/* A new directory, for whom the first of the whole files belongs to. */
static int make_dir(const struct ctl_jobs *jobs, const char *name, const struct stat *owner)
{
	char path[400];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%.100s", jobs->cfg->spool_dir, name);
	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return -1;
	fd = open_dir(jobs, name);
	if (fd >= 0 && fchown(fd, owner->st_uid, owner->st_gid) < 0 && errno != EPERM)
		skep_closep(&fd);
	return fd;
}

/* Moves all files of one directory into another. */
static void move_all(int from, int to)
{
	DIR *dir = fdopendir(dup(from));
	struct dirent *entry;
	struct stat st;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && fstatat(from, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			(void)renameat(from, entry->d_name, to, entry->d_name);
	if (dir)
		closedir(dir);
}

struct sources {
	int fds[DIRS_MAX + 1];	      /* the last is where it goes */
	char paths[DIRS_MAX + 1][64]; /* as a child has them */
	uint32_t n;
	struct stat owner;
};

static void close_sources(struct sources *sources)
{
	while (sources->n)
		skep_closep(&sources->fds[--sources->n]);
}

static void find_sources(const struct ctl_jobs *jobs, const struct job *job, const struct job_link *link,
			 struct sources *ret)
{
	char name[96];

	ret->n = 0;
	for (uint32_t life = 1; life <= link->life && ret->n < DIRS_MAX; life++) {
		int fd;

		ctl_job_raw_dir(job, life, link->name, name);
		fd = open_dir(jobs, name);
		if (fd < 0)
			continue;
		(void)snprintf(ret->paths[ret->n], sizeof(ret->paths[0]), "/proc/self/fd/%d", fd);
		ret->fds[ret->n++] = fd;
	}
	if (ret->n)
		(void)fstat(ret->fds[0], &ret->owner);
}

static int start_writer(const struct ctl_jobs *jobs, const struct job *job, const struct sources *s,
			const char *fifo, struct ctl_pipes *ret, struct skep_err *err)
{
	char dir[64], reserve[32];
	struct ctl_run run = {
		.dir = jobs->cfg->program_dir,
		.args = { "skep-capture", "-q", "-r", fifo, "-w", dir, "--job", job->id, "--reserve",
			  reserve },
		.cpu_s = CPU_S,
		.owner_uid = s->owner.st_uid,
		.owner_gid = s->owner.st_gid,
		.fds = &s->fds[s->n],
		.n_fds = 1,
		.writes = true,
	};

	(void)snprintf(dir, sizeof(dir), "%.40s/", s->paths[s->n]);
	(void)snprintf(reserve, sizeof(reserve), "%llu", (unsigned long long)jobs->cfg->reserve_bytes);
	return ctl_process_confined(&run, ret, err);
}

static int start_reader(const struct ctl_jobs *jobs, const struct job *job, const struct sources *s,
			const char *fifo, struct ctl_pipes *ret, struct skep_err *err)
{
	char from[SKEP_FORMAT_MAX], to[SKEP_FORMAT_MAX];
	struct ctl_run run = {
		.dir = jobs->cfg->program_dir,
		.args = { "skep-capture", "extract", "--stats", "none", "--from",
			  skep_format_time(from, job->from_ns), "--to", skep_format_time(to, job->to_ns),
			  "--filter", job->saved_filter, "-w", fifo, "--" },
		.cpu_s = CPU_S,
		.owner_uid = s->owner.st_uid,
		.owner_gid = s->owner.st_gid,
		.fds = s->fds,
		.n_fds = s->n + 1,
	};

	for (uint32_t i = 0; i < s->n; i++)
		run.args[13 + i] = s->paths[i];
	return ctl_process_confined(&run, ret, err);
}

/* 0; SKEP_E_NOT_FOUND: the link has nothing. */
static int start(struct ctl_jobs *jobs, struct job *job, struct job_sift *sift, struct skep_err *err)
{
	const struct job_link *link = &job->links[sift->link];
	SKEP_CLEANUP(close_sources) struct sources s = { 0 };
	char name[96], fifo[96];
	int r;

	find_sources(jobs, job, link, &s);
	if (!s.n)
		return SKEP_E_NOT_FOUND;
	(void)snprintf(name, sizeof(name), "%s.sift", job->id);
	if (sift->to < 0)
		sift->to = make_dir(jobs, name, &s.owner);
	if (sift->to < 0 || (mkfifoat(sift->to, link->name, 0600) < 0 && errno != EEXIST) ||
	    (fchownat(sift->to, link->name, s.owner.st_uid, s.owner.st_gid, AT_SYMLINK_NOFOLLOW) < 0 &&
	     errno != EPERM))
		return skep_err_set(err, -errno, "%s: %s", name, strerror(errno));
	s.fds[s.n] = sift->to; /* borrowed: not counted */
	(void)snprintf(s.paths[s.n], sizeof(s.paths[0]), "/proc/self/fd/%d", sift->to);
	(void)snprintf(fifo, sizeof(fifo), "%.40s/%s", s.paths[s.n], link->name);
	r = start_writer(jobs, job, &s, fifo, &sift->writer, err);
	r = r ?: start_reader(jobs, job, &s, fifo, &sift->reader, err);
	sift->runs = r == 0;
	return r;
}

/* Has it ended? Then *ret_code is its exit code. */
static bool look_at(struct ctl_pipes *child, int *ret_code)
{
	return child->pid <= 0 || ctl_process_ended(&child->pid, ret_code);
}

/* Its last words, as a reason. */
static void say_why(struct job *job, const struct ctl_pipes *child)
{
	char text[400];

	ctl_process_words(child, text, sizeof(text));
	ctl_job_add_reason(job, "the filter could not be applied, so all that the ring had is here: %s",
			   text[0] ? text : "a program was ended");
}

/* Everything is kept as it is. */
static void give_up(struct ctl_jobs *jobs, struct job *job)
{
	char name[96];

	for (uint32_t i = 0; i < job->n_links; i++)
		for (uint32_t life = 1; life <= job->links[i].life; life++) {
			_skep_close_ int from = -1, to = -1;
			struct stat owner;

			ctl_job_raw_dir(job, life, job->links[i].name, name);
			from = open_dir(jobs, name);
			if (from < 0 || fstat(from, &owner) < 0)
				continue;
			ctl_job_dir(job, life, name);
			to = make_dir(jobs, name, &owner);
			if (to >= 0)
				move_all(from, to);
		}
}

static void finish(struct ctl_jobs *jobs, struct job *job, bool well)
{
	if (well && job->sift->to >= 0) {
		_skep_close_ int to = -1;
		struct stat owner;

		if (fstat(job->sift->to, &owner) == 0)
			to = make_dir(jobs, job->id, &owner);
		if (to >= 0)
			move_all(job->sift->to, to);
	}
	if (!well)
		give_up(jobs, job);
	for (uint32_t i = 0; well && i < job->n_links; i++)
		job->links[i].life = 1;
	job->sift = ctl_job_sift_free(job->sift);
	ctl_job_sum_up(jobs, job);
	ctl_job_finish_all(jobs, job, "trigger");
	ctl_job_remove_parts(jobs, job, ".raw"); /* by now the journal knows that they are not needed */
	ctl_job_remove_parts(jobs, job, ".sift");
}

/* Both programs of one link, until both have ended. */
static void watch(struct ctl_jobs *jobs, struct job *job)
{
	struct job_sift *sift = job->sift;
	bool read = look_at(&sift->reader, &sift->reader_code), written;

	if (read && sift->reader_code && sift->writer.pid > 0) { /* it might wait for the FIFO for ever */
		ctl_process_end(sift->writer.pid);
		sift->writer.pid = 0;
	}
	written = look_at(&sift->writer, &sift->writer_code);
	if (written && sift->writer_code && !read) {
		ctl_process_end(sift->reader.pid);
		sift->reader.pid = 0;
		read = true;
	}
	if (!read || !written)
		return;
	sift->runs = false;
	(void)unlinkat(sift->to, job->links[sift->link].name, 0);
	if (sift->reader_code || sift->writer_code)
		say_why(job, sift->reader_code ? &sift->reader : &sift->writer);
	end_child(&sift->reader);
	end_child(&sift->writer);
	if (sift->reader_code || sift->writer_code)
		finish(jobs, job, false);
	else
		sift->link++;
}

void ctl_job_sift(struct ctl_jobs *jobs, struct job *job)
{
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	if (!job->sift) {
		job->sift = calloc(1, sizeof(*job->sift));
		if (!job->sift)
			return; /* later */
		*job->sift = (struct job_sift){ .to = -1,
						.reader = { .out = -1, .errors = -1 },
						.writer = { .out = -1, .errors = -1 } };
		ctl_job_remove_parts(jobs, job, ".sift"); /* of a life of ours that was cut short */
	}
	if (job->sift->runs) {
		watch(jobs, job);
		return;
	}
	if (job->sift->link == job->n_links) {
		finish(jobs, job, true);
		return;
	}
	r = start(jobs, job, job->sift, &err);
	if (r == SKEP_E_NOT_FOUND) {
		job->sift->link++;
	} else if (r) {
		ctl_job_add_reason(job,
				   "the filter could not be applied, so all that the ring had is here: %s",
				   err.text);
		finish(jobs, job, false);
	}
}
