/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that after start the packet path allocates nothing, maps nothing, takes no lock and writes
 * nothing to stderr: over 10^6 packets in each layout, while the keeper beside it does all of that. The
 * calls are caught by functions of the same name in this program; only the worker's thread, between its
 * first turns and the end of the source, is listened to. A caught call is reported with its backtrace.
 */
#include "pathrig.h"
#include "alloctrap.h"
#include "tool.h"

static uint64_t armed_pkts;

/* On the worker's thread. */
static void arm(struct rig *rig, uint32_t worker, uint64_t number)
{
	(void)worker;
	armed = number > 4096 && number + CAP_BATCH < rig->cfg.n_pkts;
	armed_pkts = armed ? number : armed_pkts;
}

static void run(struct rig_cfg cfg)
{
	struct cap_account a;
	struct rig_read r;
	struct rig *rig;

	cfg.n_pkts = 1000000;
	cfg.size_min = 60;
	cfg.size_max = 300;
	cfg.each_turn = arm;
	rig = rig_new(&cfg, NULL);
	atomic_store(&caught, 0);
	rig_run(rig);
	armed = false;
	alloctrap_expect_none();
	assert_true(armed_pkts > 990000);
	rig_verify(rig, &a, &r);
	assert_int_equal(a.stored, cfg.n_pkts);
	if (cfg.rotate_raw)
		assert_true(r.n_files > 10);
	rig_free(rig);
}

static void the_trap_catches(void **state)
{
	/* through pointers, or the compiler knows better */
	void *(*volatile take)(size_t n) = malloc;
	void (*volatile give)(void *p) = free;

	(void)state;
	if (alloctrap_skipped())
		return;
	atomic_store(&caught, 0);
	armed = true;
	give(take(100));
	armed = false;
	assert_int_equal(atomic_load(&caught), 2);
	assert_string_equal(what, "malloc");
}

static void compressed_auto(void **state)
{
	(void)state;
	if (!alloctrap_skipped())
		run((struct rig_cfg){ .payload = RIG_PHASES, .phase_pkts = 50000 });
}

static void compressed_fixed(void **state)
{
	(void)state;
	if (!alloctrap_skipped())
		run((struct rig_cfg){ .payload = RIG_TEXT,
				      .fixed_level = true,
				      .level = 1,
				      .pcapng = true,
				      .frags = true });
}

static void stored(void **state)
{
	(void)state;
	if (!alloctrap_skipped())
		run((struct rig_cfg){ .payload = RIG_RANDOM, .fixed_level = true, .level = CAP_LEVEL_STORE });
}

static void plain(void **state)
{
	(void)state;
	if (!alloctrap_skipped())
		run((struct rig_cfg){ .payload = RIG_RANDOM, .plain = true });
}

static void rotating(void **state)
{
	(void)state;
	if (!alloctrap_skipped())
		run((struct rig_cfg){ .payload = RIG_TEXT, .rotate_raw = 10000000, .sidecar = true });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_trap_catches),
		cmocka_unit_test(compressed_auto),
		cmocka_unit_test(compressed_fixed),
		cmocka_unit_test(stored),
		cmocka_unit_test(plain),
		cmocka_unit_test(rotating),
	};

	return cmocka_run_group_tests_name("worker_alloc", tests, NULL, NULL);
}
