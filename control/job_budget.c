/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The limits that engines of one job share: a file of two numbers, packets and bytes left, which they map
 * and take from as they take packets. What an engine had taken and not brought to disk when it died is
 * given back here, as soon as its files were counted: what is left is then the limit less what all have
 * stored or have in memory. Engines take while we count, so what is left is read first, and too little is
 * given back rather than too much. Called with `ops` held.
 */
#include "control/job_priv.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define RECORD_MAX_BYTES (65536 + 16) /* of a packet in memory, whose length we do not know */

/* Two 64-bit numbers, packets and bytes left; engines map it. */
int ctl_job_make_budget(struct ctl_jobs *jobs, const struct job *job, struct skep_err *err)
{
	int64_t left[2] = { job->limit_packets ? (int64_t)job->limit_packets : INT64_MAX,
			    job->limit_bytes ? (int64_t)job->limit_bytes : INT64_MAX };
	char path[400];
	_skep_close_ int fd = -1;
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s.budget", jobs->cfg->spool_dir, job->id);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
	if (fd < 0 || write(fd, left, sizeof(left)) != (ssize_t)sizeof(left) || fsync(fd) < 0)
		return skep_err_set(err, -errno ?: -EIO, "%s: cannot be written: %s", path, strerror(errno));
	/* The engine opens it as the user to whom the spool belongs. */
	if (stat(jobs->cfg->spool_dir, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) < 0 && errno != EPERM)
		return skep_err_set(err, -errno, "%s: cannot be given to its engine: %s", path,
				    strerror(errno));
	return 0;
}

struct used {
	uint64_t pkts, bytes;
};

/* What all links have. false: an engine does not say, or one that died is not yet counted. */
static bool count_used(struct ctl_jobs *jobs, const struct job *job, struct used *ret)
{
	*ret = (struct used){ 0 };
	for (uint32_t i = 0; i < job->n_links; i++) {
		const struct job_link *link = &job->links[i];
		struct ctl_account now = { 0 };

		if (link->state == LINK_RUNS && !ctl_job_ask(jobs, job, link, &now))
			return false;
		ret->pkts += link->before.stored + now.stored + now.pending;
		ret->bytes += link->before.bytes_raw + now.bytes_raw + now.pending * RECORD_MAX_BYTES;
	}
	return true;
}

static uint64_t missing(uint64_t limit, uint64_t used, int64_t left)
{
	uint64_t known = used + (left > 0 ? (uint64_t)left : 0);

	return limit > known ? limit - known : 0;
}

/* Links whose engines found the budget empty: now it is not. */
static void begin_again(struct job *job)
{
	for (uint32_t i = 0; i < job->n_links; i++) {
		struct job_link *link = &job->links[i];

		if (link->state != LINK_ENDED ||
		    (strcmp(link->why, "packets") != 0 && strcmp(link->why, "bytes") != 0))
			continue;
		if (job->n_gaps < GAPS_MAX) {
			struct job_gap *gap = &job->gaps[job->n_gaps++];

			*gap = (struct job_gap){ .from_ns = link->looked_ns };
			memcpy(gap->link, link->name, sizeof(gap->link));
		}
		ctl_job_add_reason(job, "%s had stopped at the limit before another engine died short of it",
				   link->name);
		link->state = LINK_WAITS;
		link->life++;
		link->why[0] = '\0';
		link->retry_ns = 0;
		link->unsure = false;
	}
}

void ctl_job_give_back(struct ctl_jobs *jobs, struct job *job)
{
	uint64_t pkts = 0, bytes = 0;
	_skep_close_ int fd = -1;
	int64_t *left, left_pkts, left_bytes;
	struct used used;
	char path[400];

	(void)snprintf(path, sizeof(path), "%s/%s.budget", jobs->cfg->spool_dir, job->id);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	left = fd < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof(*left), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (left == MAP_FAILED) {
		skep_log(SKEP_LOG_ERROR, "job=%s %s: %s", job->id, path, strerror(errno));
		job->owes = false;
		return;
	}
	left_pkts = __atomic_load_n(&left[0], __ATOMIC_RELAXED);
	left_bytes = __atomic_load_n(&left[1], __ATOMIC_RELAXED);
	if (count_used(jobs, job, &used)) {
		pkts = job->limit_packets ? missing(job->limit_packets, used.pkts, left_pkts) : 0;
		bytes = job->limit_bytes ? missing(job->limit_bytes, used.bytes, left_bytes) : 0;
		(void)__atomic_fetch_add(&left[0], (int64_t)pkts, __ATOMIC_RELAXED);
		(void)__atomic_fetch_add(&left[1], (int64_t)bytes, __ATOMIC_RELAXED);
		job->owes = false;
		if ((pkts || bytes) && !job->stop_wanted)
			begin_again(job);
		(void)ctl_job_keep(jobs, job);
		skep_log(SKEP_LOG_INFO, "job=%s packets=%llu bytes=%llu given back", job->id,
			 (unsigned long long)pkts, (unsigned long long)bytes);
	}
	(void)munmap(left, 2 * sizeof(*left));
}
