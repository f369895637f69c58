/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that every drop reason has a name of its own, that sums are complete, and that a reader beside a
 * writer never sees half of an account: with the counters of each publication all equal, none that is read
 * differs from the others.
 */
#include "unit.h"

#include "capture/account.h"

#include <pthread.h>

#define WORDS (sizeof(struct cap_account) / sizeof(uint64_t))

static void names_are_unique(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CAP_DROP_N; i++) {
		assert_non_null(cap_drop_name(i));
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(cap_drop_name(i), cap_drop_name(k));
	}
}

static void sums_are_complete(void **state)
{
	struct cap_account a, b;
	uint64_t *pa = (uint64_t *)&a, *pb = (uint64_t *)&b;

	(void)state;
	for (size_t i = 0; i < WORDS; i++) {
		pa[i] = i + 1;
		pb[i] = 1000 * (i + 1);
	}
	cap_account_add(&a, &b);
	for (size_t i = 0; i < WORDS; i++)
		assert_int_equal(pa[i], 1001 * (i + 1));
	for (unsigned i = 0; i < CAP_DROP_N; i++)
		a.dropped[i] = 1ull << i;
	assert_int_equal(cap_account_dropped(&a), (1ull << CAP_DROP_N) - 1);
}

static struct cap_account_slot slot;
static _Atomic bool stop;

static void *publisher(void *arg)
{
	struct cap_account a;

	(void)arg;
	for (uint64_t n = 1; !atomic_load(&stop); n++) {
		for (size_t i = 0; i < WORDS; i++)
			((uint64_t *)&a)[i] = n;
		cap_account_publish(&slot, &a);
	}
	return NULL;
}

static void readers_see_whole_accounts(void **state)
{
	pthread_t thread;
	uint64_t last = 0, moved = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, publisher, NULL), 0);
	for (int k = 0; k < 50000 || (moved < 100 && k < 100000000); k++) {
		struct cap_account a;

		cap_account_read(&slot, &a);
		for (size_t i = 1; i < WORDS; i++)
			if (((uint64_t *)&a)[i] != a.seen)
				fail_msg("counter %zu is of another moment", i);
		assert_true(a.seen >= last);
		moved += a.seen > last;
		last = a.seen;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_true(moved >= 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(sums_are_complete),
		cmocka_unit_test(readers_see_whole_accounts),
	};

	return cmocka_run_group_tests_name("account", tests, NULL, NULL);
}
