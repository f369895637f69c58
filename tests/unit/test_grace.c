/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves of tickets for grace periods: one is not passed before a period that began after it was asked for
 * has ended; they pass in order, and each that passes wakes the control thread; those that come while a
 * period lasts share the next one; and stopping waits for the period that runs, not for those that nobody
 * began; where the kernel refuses to wait for one, so much time has to pass that none can last so long.
 *
 * The kernel's membarrier is called; syscall() of this program holds it at its door, so that a period lasts
 * as long as the test wants.
 */
#include "unit.h"

#include "capture/grace.h"
#include "common/util.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic bool held;
static _Atomic uint32_t begun, ended;
static _Atomic int refuse_with;

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

long syscall(long number, ...)
{
	static long (*real)(long number, ...);
	unsigned long a[6];
	va_list ap;
	long r;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (number != SYS_membarrier)
		return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	begun++;
	while (held)
		nap();
	if (refuse_with) {
		errno = refuse_with;
		r = -1;
	} else {
		r = real(number, a[0], a[1], a[2]);
	}
	ended++;
	return r;
}

static int wake_fd;

static struct cap_grace *start(void)
{
	struct cap_grace *g = NULL;

	held = false;
	refuse_with = 0;
	begun = ended = 0;
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(wake_fd >= 0);
	assert_int_equal(cap_grace_start(wake_fd, &g, NULL), 0);
	return g;
}

static void stop(struct cap_grace *g)
{
	assert_null(cap_grace_stop(g));
	close(wake_fd);
}

static void await(const struct cap_grace *g, uint64_t ticket)
{
	for (int ms = 0; !cap_grace_passed(g, ticket); ms++) {
		assert_true(ms < 20000);
		nap();
	}
}

static void await_begun(uint32_t n)
{
	for (int ms = 0; begun < n; ms++) {
		assert_true(ms < 20000);
		nap();
	}
}

static uint64_t wakes(void)
{
	uint64_t n = 0;

	return read(wake_fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void the_kernel_can_do_it(void **state)
{
	(void)state;
	assert_true(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) & MEMBARRIER_CMD_GLOBAL);
}

static void a_ticket_passes_and_tells(void **state)
{
	struct cap_grace *g = start();

	(void)state;
	for (uint64_t i = 1; i <= 20; i++) {
		uint64_t ticket = cap_grace_ask(g);

		assert_int_equal(ticket, i);
		assert_false(cap_grace_passed(g, ticket + 1));
		await(g, ticket);
		for (int ms = 0; !wakes(); ms++) {
			assert_true(ms < 20000);
			nap();
		}
	}
	assert_int_equal(ended, 20);
	stop(g);
}

/* What is asked for while a period lasts is not covered by it: it began too early. */
static void a_period_covers_only_what_came_before(void **state)
{
	struct cap_grace *g = start();
	uint64_t first, later[10];

	(void)state;
	held = true;
	first = cap_grace_ask(g);
	await_begun(1);
	for (int i = 0; i < 10; i++)
		later[i] = cap_grace_ask(g);
	for (int i = 0; i < 20; i++)
		nap();
	assert_false(cap_grace_passed(g, first));
	held = false;
	await(g, first);
	for (int i = 0; i < 10; i++)
		await(g, later[i]);
	assert_int_equal(ended, 2); /* one for all ten */
	stop(g);
}

static void tickets_pass_in_order(void **state)
{
	struct cap_grace *g = start();
	uint64_t last = 0, passed = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		last = cap_grace_ask(g);
		while (cap_grace_passed(g, passed + 1))
			passed++;
		for (uint64_t t = 1; t <= passed; t++)
			assert_true(cap_grace_passed(g, t));
		assert_true(passed <= last);
	}
	await(g, last);
	assert_true(ended < 200);
	stop(g);
}

/* With nohz_full the kernel has no such barrier: a refusal is not taken for a period that has passed. */
static void where_the_kernel_refuses_time_passes(void **state)
{
	struct cap_grace *g = start();
	struct timespec from, to;
	uint64_t ticket;

	(void)state;
	refuse_with = EINVAL;
	clock_gettime(CLOCK_MONOTONIC, &from);
	ticket = cap_grace_ask(g);
	await(g, ticket);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 >= 500);
	stop(g);
}

static void *let_go(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++)
		nap();
	held = false;
	return NULL;
}

static void stopping_waits_for_the_period_that_runs(void **state)
{
	struct cap_grace *g = start();
	pthread_t thread;

	(void)state;
	held = true;
	(void)cap_grace_ask(g);
	await_begun(1);
	(void)cap_grace_ask(g); /* nobody will begin that one */
	assert_int_equal(pthread_create(&thread, NULL, let_go, NULL), 0);
	stop(g);
	assert_int_equal(ended, 1);
	assert_int_equal(begun, 1);
	pthread_join(thread, NULL);
	assert_null(cap_grace_stop(NULL));
	g = start();
	stop(g); /* without having been asked */
	assert_int_equal(begun, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernel_can_do_it),
		cmocka_unit_test(a_ticket_passes_and_tells),
		cmocka_unit_test(a_period_covers_only_what_came_before),
		cmocka_unit_test(tickets_pass_in_order),
		cmocka_unit_test(where_the_kernel_refuses_time_passes),
		cmocka_unit_test(stopping_waits_for_the_period_that_runs),
	};

	return cmocka_run_group_tests_name("grace", tests, NULL, NULL);
}
