/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, with the whole chain of programs in the kernel: while jobs come, go, pause and resume at random, a
 * thousand times, with frames in between on one CPU and another, each frame is delivered for exactly the jobs
 * that should have it, and each job's seen, wanted, unserved, sampled and cut-off counts are those of a model
 * in C at every look; the same with grace periods, and with the loader process in between; a slot that is
 * used again begins at zero; more changes than there are generations within one grace period lose no count;
 * what is refused changes nothing; and when the loader has died that is said, and costs no job its counts.
 */
#include "tests/bpf/chain.h"

#include "capture/grace.h"
#include "capture/loader.h"
#include "tests/bpf/rig.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#include <cmocka.h>

#define CPUS 2u
#define CHANGES 1000u

enum model_state { FREE, RUNS, PAUSED, PARTING };

struct model_job {
	enum model_state state;
	uint32_t filter;
	struct flt_reduction reduction;
	struct cap_filter_count count;
	uint64_t turn[CPUS];
	uint64_t flows[CHAIN_FLOWS];
};

struct bench {
	struct chain chain;
	struct cap_classify *classify;
	struct cap_grace *grace;
	struct cap_loader *loader;
	int wake_fd;
	struct model_job jobs[SKEP_MAX_JOBS];
	uint64_t seed;
	uint32_t cpu;
	bool served;
	uint32_t changes, ended;
};

static uint64_t draw(struct bench *b, uint64_t below)
{
	b->seed = b->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (b->seed >> 33) % below;
}

static void open_bench(struct bench *b, bool grace, bool loader, uint64_t seed)
{
	struct skep_err err = SKEP_ERR_NULL;

	memset(b, 0, sizeof(*b));
	b->seed = seed;
	b->served = true;
	b->wake_fd = -1;
	chain_pin(0);
	chain_open(&b->chain);
	b->classify = chain_classify(&b->chain, loader);
	if (loader) {
		struct flt_jobset *sets[1] = { cap_classify_set(b->classify) };
		const struct cap_loader_cfg cfg = { .sets = sets, .n = 1 };

		assert_int_equal(cap_loader_start(&cfg, &b->loader, &err), 0);
		cap_classify_use_loader(b->classify, b->loader, 0);
	}
	if (grace) {
		b->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_true(b->wake_fd >= 0);
		assert_int_equal(cap_grace_start(b->wake_fd, &b->grace, &err), 0);
		cap_classify_use_grace(b->classify, b->grace);
	}
}

static void close_bench(struct bench *b)
{
	b->grace = cap_grace_stop(b->grace);
	b->loader = cap_loader_stop(b->loader);
	b->classify = cap_classify_free(b->classify);
	chain_close(&b->chain);
	skep_closep(&b->wake_fd);
}

static struct flt_job_spec spec_of(const struct bench *b, uint32_t slot, bool again)
{
	return (struct flt_job_spec){ .slot = slot,
				      .filter = chain_filters[b->jobs[slot].filter].text,
				      .reduction = b->jobs[slot].reduction,
				      .again = again };
}

static void join(struct bench *b, uint32_t slot, bool again)
{
	struct skep_err err = SKEP_ERR_NULL;
	const struct flt_job_spec spec = spec_of(b, slot, again);

	if (cap_classify_prepare(b->classify, &spec, &err) ||
	    cap_classify_add(b->classify, slot, again, &err))
		fail_msg("slot %u, %s: %s", slot, spec.filter, err.text);
	b->jobs[slot].state = RUNS;
	b->changes++;
}

static void come(struct bench *b, uint32_t slot)
{
	struct model_job *j = &b->jobs[slot];

	*j = (struct model_job){ .filter = (uint32_t)draw(b, chain_n_filters) };
	if (draw(b, 3) == 0)
		j->reduction.sample_every = 2 + (uint32_t)draw(b, 4);
	if (draw(b, 3) == 0)
		j->reduction.cutoff_pkts = 1 + draw(b, 20);
	join(b, slot, false);
}

static void leave(struct bench *b, uint32_t slot, enum model_state next)
{
	struct skep_err err = SKEP_ERR_NULL;

	if (b->jobs[slot].state == RUNS) {
		if (cap_classify_remove(b->classify, slot, &err))
			fail_msg("slot %u: %s", slot, err.text);
		b->changes++;
	}
	b->jobs[slot].state = next;
}

/* What the programs should do with the frame; the jobs that it is delivered for. */
static uint64_t judge(struct bench *b, const struct chain_frame *f)
{
	uint64_t mask = 0;

	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++) {
		struct model_job *j = &b->jobs[i];

		if (j->state != RUNS)
			continue;
		j->count.seen++;
		if (!chain_filters[j->filter].wants(f))
			continue;
		if (j->reduction.sample_every > 1) {
			if (j->turn[b->cpu]) {
				j->turn[b->cpu]--;
				j->count.sampled_out++;
				continue;
			}
			j->turn[b->cpu] = j->reduction.sample_every - 1;
		}
		if (j->reduction.cutoff_pkts &&
		    j->flows[chain_flow(f)]++ >= j->reduction.cutoff_pkts) {
			j->count.cut_off++;
			continue;
		}
		if (b->served)
			j->count.wanted++;
		else
			j->count.unserved++;
		mask |= 1ull << i;
	}
	return mask;
}

static void send_frames(struct bench *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct chain_frame f = chain_random_frame(&b->seed);
		uint64_t mask = judge(b, &f);

		if (!b->served)
			assert_int_equal(chain_run_unserved(&b->chain, &f), mask != 0);
		else if (chain_run(&b->chain, &f) != mask)
			fail_msg("change %u: delivered for other jobs than %llx", b->changes,
				 (unsigned long long)mask);
	}
}

static void compare(struct bench *b, uint32_t slot)
{
	const struct cap_filter_count *want = &b->jobs[slot].count;
	struct cap_filter_count have;

	cap_classify_count(b->classify, slot, &have);
	if (memcmp(&have, want, sizeof(have)) != 0)
		fail_msg("after %u changes slot %u (%s) has seen %llu wanted %llu unserved %llu sampled "
			 "out %llu cut off %llu instead of %llu %llu %llu %llu %llu",
			 b->changes, slot, chain_filters[b->jobs[slot].filter].text,
			 (unsigned long long)have.seen, (unsigned long long)have.wanted,
			 (unsigned long long)have.unserved,
			 (unsigned long long)have.sampled_out, (unsigned long long)have.cut_off,
			 (unsigned long long)want->seen, (unsigned long long)want->wanted,
			 (unsigned long long)want->unserved, (unsigned long long)want->sampled_out,
			 (unsigned long long)want->cut_off);
}

static void compare_all(struct bench *b)
{
	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++)
		if (b->jobs[i].state != FREE)
			compare(b, i);
}

/* Jobs whose filters can no longer run: their counts are final, their slots free. */
static void settle(struct bench *b)
{
	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++)
		if (b->jobs[i].state == PARTING && cap_classify_settled(b->classify, i)) {
			compare(b, i);
			b->jobs[i].state = FREE;
			b->ended++;
		}
}

static void settle_until_none(struct bench *b)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	bool left = true;

	for (int ms = 0; left; ms++) {
		assert_true(ms < 10000);
		settle(b);
		left = false;
		for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++)
			left |= b->jobs[i].state == PARTING;
		if (left)
			nanosleep(&nap, NULL);
	}
}

static void change(struct bench *b)
{
	uint32_t slot = (uint32_t)draw(b, SKEP_MAX_JOBS);

	switch (b->jobs[slot].state) {
	case FREE:
		come(b, slot);
		break;
	case RUNS:
		leave(b, slot, draw(b, 4) ? PARTING : PAUSED);
		break;
	case PAUSED:
		if (draw(b, 4))
			join(b, slot, true);
		else
			leave(b, slot, PARTING);
		break;
	case PARTING:
		break;
	}
}

static void play(struct bench *b, uint32_t changes)
{
	while (b->changes < changes) {
		if (draw(b, 8) == 0) {
			b->cpu = (uint32_t)draw(b, CPUS);
			chain_pin(b->cpu);
		}
		if (draw(b, 50) == 0) {
			b->served = !b->served;
			chain_serve(&b->chain, b->served);
		}
		change(b);
		send_frames(b, (uint32_t)draw(b, 12));
		settle(b);
		if (draw(b, 10) == 0)
			compare_all(b);
	}
	compare_all(b);
}

static void check_link(struct bench *b)
{
	struct skep_xdp_counters c = chain_counters(&b->chain);

	assert_true(c.seen > 1000);
	assert_int_equal(c.seen, c.redirected + c.unserved + c.rejected);
	assert_int_equal(c.no_meta, 0);
}

static void a_thousand_changes(bool grace, bool loader, uint64_t seed)
{
	static struct bench b;

	open_bench(&b, grace, loader, seed);
	play(&b, CHANGES);
	assert_true(b.ended > CHANGES / 4);
	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++)
		if (b.jobs[i].state != FREE)
			leave(&b, i, PARTING);
	settle_until_none(&b);
	check_link(&b);
	close_bench(&b);
}

static void counts_are_exact(void **state)
{
	(void)state;
	a_thousand_changes(false, false, 1);
}

static void counts_are_exact_with_grace_periods(void **state)
{
	(void)state;
	a_thousand_changes(true, false, 2);
}

static void counts_are_exact_with_the_loader(void **state)
{
	(void)state;
	a_thousand_changes(true, true, 3);
}

/*
 * Takes the place of the C library's, to make a grace period last: the one that is asked for while it is held
 * begins, and passes when it is let go.
 */
static _Atomic bool held;

long syscall(long number, ...)
{
	static long (*real)(long number, ...);
	const struct timespec nap = { .tv_nsec = 1000000 };
	unsigned long a[6];
	va_list ap;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	while (number == SYS_membarrier && held)
		nanosleep(&nap, NULL);
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* As many changes as there are places for generations, while the first grace period lasts: then a refusal. */
static void a_grace_period_that_lasts(void **state)
{
	static struct bench b;
	struct skep_err err = SKEP_ERR_NULL;
	struct flt_job_spec spec;

	(void)state;
	open_bench(&b, true, false, 8);
	held = true;
	b.jobs[0] = (struct model_job){ .filter = 0 };
	join(&b, 0, false);
	b.jobs[1] = (struct model_job){ .filter = 1 };
	while (b.changes < SKEP_GENERATIONS - 1) {
		if (b.jobs[1].state == RUNS)
			leave(&b, 1, PAUSED);
		else
			join(&b, 1, b.changes > 1);
		send_frames(&b, 3);
	}
	compare_all(&b);
	spec = (struct flt_job_spec){ .slot = 2, .filter = "tcp" };
	assert_int_equal(cap_classify_prepare(b.classify, &spec, &err), 0);
	assert_int_equal(cap_classify_add(b.classify, 2, false, &err), SKEP_E_BUSY);
	assert_non_null(strstr(err.text, "too fast"));
	assert_int_equal(cap_classify_remove(b.classify, 2, NULL), 0);
	send_frames(&b, 10);
	compare_all(&b);
	assert_int_equal(b.jobs[1].state, PAUSED); /* with the last change: no grace period has followed */
	b.jobs[1].state = PARTING;
	settle(&b);
	assert_int_equal(b.ended, 0);
	held = false;
	settle_until_none(&b);
	play(&b, b.changes + 200);
	close_bench(&b);
}

/* Generations come round several times while one job stays: commit waits for places, nothing is lost. */
static void more_changes_than_generations(void **state)
{
	static struct bench b;

	(void)state;
	open_bench(&b, true, false, 4);
	b.jobs[0] = (struct model_job){ .filter = 0 };
	join(&b, 0, false);
	for (uint32_t i = 0; i < 3 * SKEP_GENERATIONS; i++) {
		if (b.jobs[1].state == FREE) {
			b.jobs[1] = (struct model_job){ .filter = 1 };
			join(&b, 1, false);
		} else {
			/* A slot is free only when its filter is gone for sure; so it pauses. */
			leave(&b, 1, PAUSED);
			join(&b, 1, true);
		}
		send_frames(&b, 2);
	}
	assert_int_equal(b.jobs[0].count.seen, 6 * SKEP_GENERATIONS);
	compare_all(&b);
	close_bench(&b);
}

static void a_slot_used_again_begins_at_zero(void **state)
{
	static struct bench b;

	(void)state;
	open_bench(&b, true, false, 5);
	for (int turn = 0; turn < 4; turn++) {
		const struct cap_filter_count none = { 0 };
		struct cap_filter_count count;

		/* Every second job reduces: what the slot's last job asked for must be forgotten, too. */
		b.jobs[7] = (struct model_job){ .filter = 0 };
		if (turn % 2 == 0)
			b.jobs[7].reduction = (struct flt_reduction){ .sample_every = 3, .cutoff_pkts = 2 };
		join(&b, 7, false);
		cap_classify_count(b.classify, 7, &count);
		assert_memory_equal(&count, &none, sizeof(count));
		send_frames(&b, 100);
		assert_int_equal(b.jobs[7].count.seen, 100);
		assert_int_equal(b.jobs[7].count.sampled_out > 0, turn % 2 == 0);
		leave(&b, 7, PARTING);
		send_frames(&b, 50);
		settle_until_none(&b);
	}
	close_bench(&b);
}

/* A filter with a mistake, in a set of others: words and column, and the others count on. */
static void a_refusal_changes_nothing(void **state)
{
	static struct bench b;
	static char endless[70000];

	(void)state;
	memset(endless, '(', sizeof(endless) - 1);
	for (int loader = 0; loader < 2; loader++) {
		struct flt_job_spec bad = { .slot = 9, .filter = "udp prt 5" };
		struct skep_err err = SKEP_ERR_NULL;

		open_bench(&b, true, loader, 6);
		b.jobs[3] = (struct model_job){ .filter = 1 };
		join(&b, 3, false);
		send_frames(&b, 20);
		assert_int_equal(cap_classify_prepare(b.classify, &bad, &err), SKEP_E_USAGE);
		assert_int_equal(err.column, 5);
		assert_true(err.text[0] && err.hint[0]);
		bad.filter = endless;
		err = (struct skep_err)SKEP_ERR_NULL;
		assert_int_equal(cap_classify_prepare(b.classify, &bad, &err), SKEP_E_USAGE);
		if (!strstr(err.text, "long"))
			fail_msg("%s", err.text);
		/* As the engine undoes a preparation: it never joined, so nothing changes. */
		assert_int_equal(cap_classify_remove(b.classify, 9, NULL), 0);
		send_frames(&b, 20);
		compare_all(&b);
		b.jobs[9] = (struct model_job){ .filter = 2 };
		join(&b, 9, false);
		send_frames(&b, 100);
		compare_all(&b);
		close_bench(&b);
	}
}

static pid_t child_of_ours(void)
{
	char path[64];
	FILE *f;
	int pid = 0;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	fclose(f);
	return pid;
}

static void expect_gone(int r, const struct skep_err *err)
{
	assert_int_equal(r, -EPIPE);
	assert_non_null(strstr(err->text, "is gone"));
}

/* The jobs that are there stay, and count; a slot that cannot be emptied is not given to another. */
static void a_dead_loader_is_told(void **state)
{
	static struct bench b;
	struct skep_err err = SKEP_ERR_NULL;
	struct flt_job_spec spec = { .slot = 5, .filter = "udp" };

	(void)state;
	open_bench(&b, true, true, 7);
	b.jobs[4] = (struct model_job){ .filter = 1 };
	join(&b, 4, false);
	send_frames(&b, 30);
	assert_int_equal(kill(child_of_ours(), SIGKILL), 0);
	expect_gone(cap_classify_prepare(b.classify, &spec, &err), &err);
	expect_gone(cap_classify_remove(b.classify, 4, &err), &err);
	assert_false(cap_classify_settled(b.classify, 4));
	send_frames(&b, 30);
	compare_all(&b);
	spec.slot = 4;
	err = (struct skep_err)SKEP_ERR_NULL;
	expect_gone(cap_classify_prepare(b.classify, &spec, &err), &err);
	close_bench(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_are_exact),
		cmocka_unit_test(counts_are_exact_with_grace_periods),
		cmocka_unit_test(counts_are_exact_with_the_loader),
		cmocka_unit_test(a_grace_period_that_lasts),
		cmocka_unit_test(more_changes_than_generations),
		cmocka_unit_test(a_slot_used_again_begins_at_zero),
		cmocka_unit_test(a_refusal_changes_nothing),
		cmocka_unit_test(a_dead_loader_is_told),
	};

	if (!rig_enter())
		return 77;
	return cmocka_run_group_tests_name("classify", tests, NULL, NULL);
}
