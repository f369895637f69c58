/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_PROGRESS_H
#define HIVE_SVC_PROGRESS_H
/*
 * How fast captures go and when they will be over, from what their probes say each second. Kept in memory
 * only: after a restart the next two samples bring it back.
 */
#include "hive/db/captures.h"

#define HIVE_DROPS_MAX 8

struct hive_drop {
	char reason[24];
	int64_t pkts;
};

/* A capture at one moment. */
struct hive_sample {
	uint64_t time_ns; /* UTC */
	int64_t seen_pkts, stored_pkts, rejected_pkts, dropped_pkts, stored_bytes;
	struct hive_drop drops[HIVE_DROPS_MAX];
	uint32_t n_drops;
};

struct hive_progress {
	int64_t job_id, link_id;
	struct hive_sample sample;
	double pkts_per_s, bytes_per_s; /* of what is stored; over the last seconds */
	int64_t end_ns;                 /* estimated; 0: nobody can tell */
};

struct hive_progresses;

struct hive_progresses *hive_progresses_new(void); /* NULL: no memory */
struct hive_progresses *hive_progresses_free(struct hive_progresses *all);
/*
 * Takes a sample of a running capture. 1: something has moved since the last one; 0: nothing has. *ret has no
 * end_ns yet. Any thread; so are all below.
 */
int hive_progress_take(struct hive_progresses *all, int64_t job_id, int64_t link_id,
		       const struct hive_sample *sample, struct hive_progress *ret);
/* -ENOENT */
int hive_progress_get(struct hive_progresses *all, int64_t job_id, int64_t link_id,
		      struct hive_progress *ret);
void hive_progress_forget(struct hive_progresses *all, int64_t job_id);
/* What all links of a job store in a second. */
void hive_progress_rates(struct hive_progresses *all, int64_t job_id, double *ret_pkts_per_s,
			 double *ret_bytes_per_s);

/*
 * When the first of the job's limits will be reached on this link, if it goes on as it does: pure. all_*: of
 * all links together.
 */
struct hive_forecast {
	const struct hive_job *job;
	const struct hive_job_link *part;
	const struct hive_progress *progress;
	double all_pkts_per_s, all_bytes_per_s;
	int64_t now_ns;
};
int64_t hive_progress_end(const struct hive_forecast *f);

#endif
