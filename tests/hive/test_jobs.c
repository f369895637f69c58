/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves the job logic against a simulated world (sim.h): over many seeds each job ends exactly once, none is
 * lost or captured twice, links are never fuller than allowed (by what the probes really do), nobody starts
 * past somebody with a better rank, critical jobs do not wait for lesser ones, limits are exact, accounts add
 * up, nothing is left on a probe. And proves that the simulator sees: it must find a logic that is lied to, a
 * disk that lies, and a logic that trusts the network too early.
 *
 * SKEP_SIM_SEEDS=N runs seeds 1..N instead of 1..10000; SKEP_SIM_SEED=N runs that one and tells what happens.
 */
#include "tests/unit/unit.h"

#include "tests/hive/sim.h"

#include <stdio.h>

#define SEEDS 10000
#define SETTLE_NS (SIM_DELAY_MAX_NS + SKEP_NSEC_PER_SEC)

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void print_seen(const struct sim_seen *seen)
{
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = {
		{ "steps", seen->steps }, { "jobs", seen->jobs }, { "crashes", seen->crashes },
		{ "requests lost", seen->lost_requests }, { "requests after their deadline", seen->late_requests },
		{ "saves that failed", seen->save_failures }, { "pauses", seen->pauses }, { "preemptions", seen->preemptions },
		{ "starts together", seen->together }, { "cuts at a total limit", seen->cuts }, { "gaps", seen->gaps }, { "captures lost by a probe", seen->disks },
		{ "refusals", seen->refused }, { "probes removed", seen->removed }, { "links skipped", seen->skipped },
		{ "links lost", seen->lost }, { "done", seen->done }, { "failed", seen->failed }, { "cancelled", seen->cancelled },
		{ "rings", seen->rings },
		{ "triggers of rings", seen->saved }, { "jobs with an end", seen->ends }, { "runs of schedules", seen->runs },
		{ "missed runs", seen->missed_runs }, { "complete", seen->complete }, { "incomplete", seen->incomplete },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		print_message("# %s: %llu\n", rows[i].name, (unsigned long long)rows[i].n);
		if (!rows[i].n)
			fail_msg("no seed has met: %s", rows[i].name);
	}
}

static void every_seed_ends_well(void **state)
{
	struct sim_options options = { .settle_ns = SETTLE_NS };
	struct sim_seen seen = { 0 };
	uint64_t one = number_from("SKEP_SIM_SEED", 0), n = number_from("SKEP_SIM_SEEDS", SEEDS);
	uint32_t failures = 0;

	(void)state;
	options.verbose = one != 0;
	for (uint64_t seed = one ? one : 1; seed <= (one ? one : n) && failures < 5; seed++) {
		const char *wrong = sim_run(seed, &options, &seen);

		if (!wrong)
			continue;
		failures++;
		print_message("# SKEP_SIM_SEED=%llu: %s\n", (unsigned long long)seed, wrong);
	}
	assert_int_equal(failures, 0);
	if (!one && n >= SEEDS)
		print_seen(&seen);
}

/* Does one of the first seeds find that something is wrong? */
static uint32_t found(const struct sim_options *options)
{
	struct sim_seen seen = { 0 };
	uint32_t n = 0;

	for (uint64_t seed = 1; seed <= 3000 && !n; seed++)
		n += sim_run(seed, options, &seen) != NULL;
	return n;
}

static void a_logic_that_is_lied_to_is_found(void **state)
{
	(void)state;
	assert_true(found(&(struct sim_options){ .settle_ns = SETTLE_NS, .forget_priority = true }) > 0);
}

static void a_disk_that_lies_is_found(void **state)
{
	(void)state;
	assert_true(found(&(struct sim_options){ .settle_ns = SETTLE_NS, .forget_commits = true }) > 0);
}

static void trusting_the_network_too_early_is_found(void **state)
{
	(void)state;
	assert_true(found(&(struct sim_options){ .settle_ns = 0 }) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_seed_ends_well),
		cmocka_unit_test(a_logic_that_is_lied_to_is_found),
		cmocka_unit_test(a_disk_that_lies_is_found),
		cmocka_unit_test(trusting_the_network_too_early_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
