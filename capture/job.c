/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Limits of a job. Budgets are atomics that lanes take from once per batch, so a limit holds at the exact
 * packet over any number of queues and still costs nothing per packet.
 */
#include "capture/job.h"

#include <string.h>

void cap_job_init(struct cap_job *job)
{
	memset(job, 0, sizeof(*job));
	job->snaplen = CAP_SNAPLEN_MAX;
	job->budget = &job->own_budget;
	atomic_init(&job->end_ns, CAP_NO_LIMIT);
}

void cap_job_end(struct cap_job *job, enum cap_job_end why)
{
	uint32_t none = CAP_JOB_RUNS;

	atomic_compare_exchange_strong(&job->done_why, &none, (uint32_t)why);
	atomic_store_explicit(&job->done, true, memory_order_release);
}

uint32_t cap_job_take_pkts(struct cap_job *job, uint32_t want)
{
	int64_t left, take;

	if (!job->limits_pkts || want == 0)
		return want;
	left = atomic_load_explicit(&job->budget->pkts_left, memory_order_relaxed);
	do
		take = left < (int64_t)want ? SKEP_MAX(left, 0) : (int64_t)want;
	while (!atomic_compare_exchange_weak_explicit(&job->budget->pkts_left, &left, left - take,
						      memory_order_relaxed, memory_order_relaxed));
	return (uint32_t)take;
}

bool cap_job_take_bytes(struct cap_job *job, uint64_t want)
{
	int64_t left;

	if (!job->limits_bytes)
		return true;
	/* Not subtract and put back: another lane could meanwhile find the budget empty that is not. */
	left = atomic_load_explicit(&job->budget->bytes_left, memory_order_relaxed);
	do
		if (left < (int64_t)want)
			return false;
	while (!atomic_compare_exchange_weak_explicit(&job->budget->bytes_left, &left, left - (int64_t)want,
						      memory_order_relaxed, memory_order_relaxed));
	return true;
}

void cap_job_refund(struct cap_job *job, uint32_t pkts, uint64_t bytes)
{
	if (job->limits_pkts)
		atomic_fetch_add_explicit(&job->budget->pkts_left, pkts, memory_order_relaxed);
	if (job->limits_bytes)
		atomic_fetch_add_explicit(&job->budget->bytes_left, (int64_t)bytes, memory_order_relaxed);
}

uint64_t cap_job_end_ns(struct cap_job *job, uint64_t first_ts_ns)
{
	uint64_t end = atomic_load_explicit(&job->end_ns, memory_order_relaxed);

	if (end == CAP_NO_LIMIT && job->duration_ns && job->clock_from_packets) {
		uint64_t mine = first_ts_ns + job->duration_ns;

		if (atomic_compare_exchange_strong(&job->end_ns, &end, mine))
			end = mine;
	}
	return end;
}
