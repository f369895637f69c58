/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the packet path stores exactly what it is given: for pcap and pcapng, compressed, stored and
 * plain, in one buffer or several, with VLAN tags put back, with rejected frames, frames of 0 to 256 KiB,
 * on tmpfs and on a disk, every byte comes back in order from files that are whole; the account adds up
 * after every turn (pathrig checks it); `zstd` and `tcpdump` agree.
 */
#include "pathrig.h"
#include "tool.h"

static void run(const struct rig_cfg *cfg, uint64_t expect_pkts, struct rig_read *ret)
{
	struct rig *rig = rig_new(cfg, NULL);
	struct cap_account a;

	assert_non_null(rig);
	rig_run(rig);
	assert_false(rig->aborted);
	rig_verify(rig, &a, ret);
	assert_int_equal(a.stored, expect_pkts);
	assert_int_equal(cap_account_dropped(&a), 0);
	assert_int_equal(a.seen, a.stored + a.rejected);
	assert_int_equal(ret->n_parts, 0);
	rig_free(rig);
}

static void every_form(void **state)
{
	static const struct rig_cfg forms[] = {
		{ .payload = RIG_TEXT },
		{ .payload = RIG_RANDOM },
		{ .payload = RIG_ZERO },
		{ .payload = RIG_PHASES, .phase_pkts = 4000 },
		{ .payload = RIG_TEXT, .fixed_level = true, .level = 1 },
		{ .payload = RIG_TEXT, .fixed_level = true, .level = CAP_LEVEL_STORE },
		{ .payload = RIG_RANDOM, .plain = true },
		{ .payload = RIG_PHASES, .phase_pkts = 3000, .pack_threads = 2 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
		for (unsigned k = 0; k < 8; k++) {
			struct rig_cfg cfg = forms[i];
			struct rig_read r;

			cfg.seed = 8 * i + k;
			cfg.n_pkts = 12000;
			cfg.size_min = 14;
			cfg.size_max = 1514;
			cfg.pcapng = k & 1;
			cfg.frags = k & 2;
			cfg.base = k & 4 ? "/var/tmp" : "/dev/shm";
			cfg.sidecar = true;
			run(&cfg, cfg.n_pkts, &r);
			assert_int_equal(r.n_files, 1);
			assert_int_equal(r.n_sidecars, 1);
		}
	}
}

static void odd_sizes(void **state)
{
	static const uint32_t sizes[][2] = { { 0, 0 },		 { 0, 3 },	{ 14, 14 },
					     { 60, 60 },	 { 0, 9018 },	{ 65535, 65535 },
					     { 131040, 131072 }, { 0, 262144 }, { 262144, 262144 } };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		for (unsigned k = 0; k < 6; k++) {
			struct rig_cfg cfg = {
				.seed = i, .size_min = sizes[i][0], .size_max = sizes[i][1], .frags = true
			};
			struct rig_read r;

			cfg.payload = k % 3 == 0 ? RIG_TEXT : RIG_RANDOM;
			cfg.fixed_level = k % 3 == 1;
			cfg.level = CAP_LEVEL_STORE;
			cfg.plain = k == 2;
			cfg.pcapng = k >= 3;
			cfg.n_pkts = 40000000 / (cfg.size_max + 2000);
			run(&cfg, cfg.n_pkts, &r);
		}
	}
}

static void rejected_frames_are_counted(void **state)
{
	struct rig_cfg cfg = {
		.payload = RIG_TEXT, .n_pkts = 30000, .size_min = 60, .size_max = 200, .reject_every = 3
	};
	struct rig_read r;

	(void)state;
	run(&cfg, 20000, &r);
	cfg.reject_every = 1;
	run(&cfg, 0, &r);
	assert_int_equal(r.n_files, 1); /* no packet at all: a valid empty file */
	cfg.plain = true;
	run(&cfg, 0, &r);
	assert_int_equal(r.n_files, 1);
	cfg.n_pkts = 0;
	run(&cfg, 0, &r);
}

static void snaplen_cuts(void **state)
{
	struct rig_cfg cfg = { .payload = RIG_TEXT,
			       .n_pkts = 20000,
			       .size_min = 0,
			       .size_max = 1514,
			       .snaplen = 96,
			       .frags = true };
	struct rig_read r;

	(void)state;
	run(&cfg, cfg.n_pkts, &r);
	cfg.pcapng = true;
	run(&cfg, cfg.n_pkts, &r);
}

static void several_workers(void **state)
{
	struct rig_cfg cfg = { .payload = RIG_TEXT,
			       .n_pkts = 20000,
			       .size_min = 60,
			       .size_max = 1514,
			       .n_workers = 3,
			       .sidecar = true };
	struct rig_read r;

	(void)state;
	run(&cfg, 60000, &r);
	assert_int_equal(r.n_files, 3);
	cfg.pcapng = true;
	run(&cfg, 60000, &r);
}

/* Several sources in one file (-i A -i B -w FILE): nothing is lost, each source keeps its order. */
static void sources_are_merged(void **state)
{
	struct rig_cfg cfg = { .payload = RIG_TEXT,
			       .n_pkts = 20000,
			       .size_min = 60,
			       .size_max = 1514,
			       .n_sources = 3,
			       .pcapng = true,
			       .frags = true };
	struct rig_read r;

	(void)state;
	run(&cfg, 60000, &r);
	assert_int_equal(r.n_files, 1);
	cfg.batch = 7;
	cfg.reject_every = 4;
	run(&cfg, 45000, &r);
}

/* Payload that does not compress costs a thousandth at most; when it changes, so does the layout. */
static void random_payload_stays_its_size(void **state)
{
	struct rig_cfg cfg = { .payload = RIG_RANDOM, .n_pkts = 40000, .size_min = 1400, .size_max = 1514 };
	struct rig_read r;
	uint64_t raw;

	(void)state;
	run(&cfg, cfg.n_pkts, &r);
	raw = r.raw_bytes + 24;
	if (r.disk_bytes * 1000 > raw * 1001)
		fail_msg("%llu bytes became %llu", (unsigned long long)raw, (unsigned long long)r.disk_bytes);
	cfg.payload = RIG_PHASES;
	cfg.phase_pkts = 20000; /* half random, half text */
	run(&cfg, cfg.n_pkts, &r);
	assert_true(r.disk_bytes < raw * 9 / 10);
}

/* Other people's programs find the same: one frame, whole, and as many packets. */
static void oracles_agree(void **state)
{
	struct rig_cfg cfg = {
		.payload = RIG_PHASES, .phase_pkts = 3000, .n_pkts = 20000, .size_min = 60, .size_max = 1514
	};

	(void)state;
	for (int pcapng = 0; pcapng < 2; pcapng++) {
		struct rig *rig;
		char *out;
		size_t n;

		cfg.pcapng = pcapng;
		rig = rig_new(&cfg, NULL);
		rig_run(rig);
		rig_assert_ok(rig);
		assert_int_equal(tool_run(&out, &n, "zstd -tq %s/*.zst", rig->dir), 0);
		free(out);
		assert_int_equal(
			tool_run(&out, &n, "zstd -dc %s/*.zst | tcpdump --count -nr - 2>/dev/null", rig->dir),
			0);
		assert_int_equal((int)strtol(out, NULL, 10), cfg.n_pkts);
		free(out);
		rig_free(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form),
		cmocka_unit_test(odd_sizes),
		cmocka_unit_test(rejected_frames_are_counted),
		cmocka_unit_test(snaplen_cuts),
		cmocka_unit_test(several_workers),
		cmocka_unit_test(sources_are_merged),
		cmocka_unit_test(random_payload_stays_its_size),
		cmocka_unit_test(oracles_agree),
	};

	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
