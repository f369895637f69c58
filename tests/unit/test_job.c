/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that limits are exact: packets, bytes and duration by time stamps, with one worker and with
 * several that share the job, also when packets were dropped and given back; that files are cut by size,
 * by time and by bytes on disk, each of them whole on its own; and that -b files:N keeps the last N of
 * each queue with their sidecars, and no other's.
 */
#include "pathrig.h"
#include "tool.h"

#include <assert.h>
#include <pthread.h>

static struct cap_account run_rig(struct rig *rig, enum cap_job_end why, struct rig_read *ret)
{
	struct cap_account a;

	assert_non_null(rig);
	rig_run(rig);
	rig_verify(rig, &a, ret);
	assert_int_equal(ret->n_parts, 0);
	assert_int_equal(atomic_load(&rig->job.done_why), why);
	/* what came behind the end is counted, too: nothing vanishes */
	for (uint32_t i = 0; i < rig->cfg.n_workers; i++)
		assert_int_equal(rig->worker_sources[i].received,
				 rig->channels[i].lane.received + rig->channels[i].lane.account.after_end);
	rig_free(rig);
	return a;
}

static struct cap_account run(const struct rig_cfg *cfg, enum cap_job_end why, struct rig_read *ret)
{
	return run_rig(rig_new(cfg, NULL), why, ret);
}

static void packets_exact(void **state)
{
	static const uint64_t limits[] = { 1, 2, 63, 64, 65, 127, 1000, 9999 };
	struct rig_read r;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(limits); i++) {
		struct rig_cfg cfg = { .payload = RIG_TEXT,
				       .n_pkts = 20000,
				       .size_min = 60,
				       .size_max = 300,
				       .limit_pkts = limits[i],
				       .reject_every = i % 2 ? 3 : 0 };
		struct cap_account a = run(&cfg, CAP_JOB_END_PKTS, &r);

		assert_int_equal(a.stored, limits[i]);
		assert_int_equal(r.first, cfg.reject_every ? 1 : 0);
		/* the job ends with its last packet: no rejected frame behind it belongs to it */
		assert_int_equal(a.seen, r.last + 1);
	}
}

static void packets_exact_over_workers(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		struct rig_cfg cfg = { .payload = RIG_TEXT,
				       .n_pkts = 200000,
				       .size_min = 60,
				       .size_max = 300,
				       .n_workers = 2 + i % 2,
				       .seed = i,
				       .limit_pkts = 30001 + i,
				       .lossy = i % 4 == 3 };
		struct rig_read r;
		struct cap_account a = run(&cfg, CAP_JOB_END_PKTS, &r);

		if (!cfg.lossy)
			assert_int_equal(a.stored, cfg.limit_pkts);
		assert_true(a.stored <= cfg.limit_pkts);
	}
}

static void bytes_exact(void **state)
{
	static const uint64_t limits[] = { 100, 76, 75, 5000, 1000000, 1234567 };

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_LEN(limits); i++) {
		struct rig_cfg cfg = { .payload = RIG_TEXT,
				       .n_pkts = 40000,
				       .size_min = 60,
				       .size_max = i < 6 ? 60 : 1000,
				       .limit_bytes = limits[i % 6] };
		uint64_t fit = 0, bytes = 0;
		uint8_t buf[1000];
		struct rig *rig = rig_new(&cfg, NULL);
		struct cap_account a;
		struct rig_read r;

		for (;; fit++) {
			uint32_t record = 16 + rig_frame(rig, 0, fit, buf);

			if (bytes + record > cfg.limit_bytes)
				break;
			bytes += record;
		}
		rig_free(rig);
		a = run(&cfg, CAP_JOB_END_BYTES, &r);
		assert_int_equal(a.stored, fit); /* as many as fit, in order, and no more */
		assert_int_equal(a.bytes_raw, bytes);
	}
}

static void duration_exact(void **state)
{
	struct rig_cfg cfg = { .payload = RIG_TEXT,
			       .n_pkts = 50000,
			       .size_min = 60,
			       .size_max = 100,
			       .duration_ns = 12345678,
			       .ts_step_ns = 1000 };
	struct rig_read r;

	(void)state;
	assert_int_equal(run(&cfg, CAP_JOB_END_DURATION, &r).stored, 12346); /* 0, 1000, …, 12345000 */
	cfg.duration_ns = 12345000;
	assert_int_equal(run(&cfg, CAP_JOB_END_DURATION, &r).stored, 12345); /* the end is not part of it */
}

/* A disk that is busy until the lane has dropped something. On the worker's thread, like the account. */
static int32_t busy_until_a_drop(void *arg, uint32_t len)
{
	const struct rig *rig = arg;

	(void)len;
	return cap_account_dropped(&rig->channels[0].lane.account) ? 0 : -EAGAIN;
}

/* A full pool drops; what was dropped is given back, and later packets fill the budget to the packet. */
static void dropped_packets_are_given_back(void **state)
{
	struct cap_io io = cap_io_kernel;
	struct rig_cfg cfg = { .payload = RIG_RANDOM,
			       .n_pkts = UINT32_MAX, /* as many as it takes */
			       .size_min = 1500,
			       .size_max = 1500,
			       .lossy = true,
			       .pool_blocks = 16,
			       .limit_pkts = 60000,
			       .io = &io };
	struct rig *rig = rig_new(&cfg, NULL);
	struct rig_read r;
	struct cap_account a;

	(void)state;
	io.arg = rig;
	io.ring_write = busy_until_a_drop;
	a = run_rig(rig, CAP_JOB_END_PKTS, &r);
	assert_true(cap_account_dropped(&a) > 0); /* else this proves nothing */
	assert_int_equal(a.stored, cfg.limit_pkts);
}

/*
 * Two threads take and give back at once; what is left is exact at the end, and nobody ever gets more than
 * there is.
 */
static struct cap_job shared;
static _Atomic int64_t held;

static void *taker(void *arg)
{
	uint64_t x = (uintptr_t)arg;

	for (int i = 0; i < 300000; i++) {
		uint32_t want = (uint32_t)(tool_random(&x) % 64 + 1), got = cap_job_take_pkts(&shared, want);

		assert(got <= want && atomic_fetch_add(&held, got) + got <= 100);
		atomic_fetch_sub(&held, got);
		cap_job_refund(&shared, got, 0);
		if (cap_job_take_bytes(&shared, want))
			cap_job_refund(&shared, 0, want);
	}
	return NULL;
}

static void budgets_are_exact_between_threads(void **state)
{
	pthread_t threads[2];

	(void)state;
	cap_job_init(&shared);
	shared.limits_pkts = shared.limits_bytes = true;
	atomic_store(&shared.budget->pkts_left, 100);
	atomic_store(&shared.budget->bytes_left, 1000);
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, taker, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&shared.budget->pkts_left), 100);
	assert_int_equal(atomic_load(&shared.budget->bytes_left), 1000);
}

static void rotates_by_size(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct rig_cfg cfg = { .payload = i % 3 == 1 ? RIG_RANDOM : RIG_TEXT,
				       .n_pkts = 20000,
				       .size_min = 60,
				       .size_max = 1514,
				       .rotate_raw = 3000000,
				       .plain = i % 3 == 2,
				       .pcapng = i >= 3,
				       .sidecar = true };
		struct rig_read r;
		struct cap_account a = run(&cfg, CAP_JOB_RUNS, &r);

		assert_int_equal(a.stored, cfg.n_pkts);
		assert_true(r.max_raw <= cfg.rotate_raw);
		assert_int_equal(r.n_sidecars, r.n_files);
		/* full but for one packet */
		assert_true(r.n_files <= a.bytes_raw / (cfg.rotate_raw - 1700) + 1);
	}
}

static void one_packet_per_file(void **state)
{
	struct rig_cfg cfg = {
		.payload = RIG_TEXT, .n_pkts = 60, .size_min = 60, .size_max = 1514, .rotate_raw = 1
	};
	struct rig_read r;

	(void)state;
	assert_int_equal(run(&cfg, CAP_JOB_RUNS, &r).stored, 60);
	assert_int_equal(r.n_files, 60); /* a packet that is larger than a file still gets one */
}

static void rotates_by_time(void **state)
{
	struct rig_cfg cfg = { .payload = RIG_TEXT,
			       .n_pkts = 20000,
			       .size_min = 60,
			       .size_max = 100,
			       .rotate_ns = 2500000,
			       .ts_step_ns = 1000 };
	struct rig_read r;

	(void)state;
	assert_int_equal(run(&cfg, CAP_JOB_RUNS, &r).stored, 20000);
	assert_int_equal(r.n_files,
			 8); /* 20 ms in pieces of 2.5 ms: by the packets' time, however long the run took */
	assert_true(r.max_span_ns < cfg.rotate_ns);
}

static void rotates_by_bytes_on_disk(void **state)
{
	struct rig_cfg cfg = { .payload = RIG_RANDOM,
			       .n_pkts = 20000,
			       .size_min = 60,
			       .size_max = 1514,
			       .rotate_disk = 3000000,
			       .fixed_level = true,
			       .level = CAP_LEVEL_STORE,
			       .pace_ns = SKEP_NSEC_PER_MSEC };
	struct rig_read r;

	(void)state;
	assert_int_equal(run(&cfg, CAP_JOB_RUNS, &r).stored, 20000);
	assert_true(r.n_files >= 3);
	/* about: a block that is full, one that is filling, and those that wait */
	assert_true(r.max_disk <= cfg.rotate_disk + 4 * CAP_BLOCK_BYTES);
}

static void keeps_the_last_files_of_each_queue(void **state)
{
	struct rig_cfg cfg = { .payload = RIG_TEXT,
			       .n_pkts = 4000,
			       .size_min = 60,
			       .size_max = 300,
			       .rotate_raw = 100000,
			       .n_workers = 2,
			       .sidecar = true,
			       .keep_files = 3 };
	struct rig *rig = rig_new(&cfg, NULL);
	struct rig_read r;
	char *out;

	(void)state;
	/* two queues of which one's name begins with the other's */
	rig->keeper_lanes[1].queue = 0;
	(void)snprintf(rig->keeper_lanes[1].link, sizeof(rig->keeper_lanes[1].link), "rig-q0-rig");
	rig_run(rig);
	rig_assert_ok(rig);
	assert_int_equal(tool_run(&out, NULL, "cd %s && ls | grep -c '^rig-q0-0.*pcap.zst$'", rig->dir), 0);
	assert_int_equal(strtol(out, NULL, 10), 3);
	free(out);
	assert_int_equal(tool_run(&out, NULL, "cd %s && ls | grep -c '^rig-q0-rig-q0-.*pcap.zst$'", rig->dir),
			 0);
	assert_int_equal(strtol(out, NULL, 10), 3);
	free(out);
	assert_int_equal(tool_run(&out, NULL, "ls %s | grep -c json", rig->dir), 0);
	assert_int_equal(strtol(out, NULL, 10), 6); /* no sidecar without its file */
	free(out);
	rig_free(rig);

	cfg.n_workers = 1;
	rig = rig_new(&cfg, NULL);
	rig_run(rig);
	rig_read(rig, &r);
	assert_int_equal(r.n_files, 3);
	assert_int_equal(r.last, cfg.n_pkts - 1);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_exact),
		cmocka_unit_test(packets_exact_over_workers),
		cmocka_unit_test(bytes_exact),
		cmocka_unit_test(duration_exact),
		cmocka_unit_test(dropped_packets_are_given_back),
		cmocka_unit_test(budgets_are_exact_between_threads),
		cmocka_unit_test(rotates_by_size),
		cmocka_unit_test(one_packet_per_file),
		cmocka_unit_test(rotates_by_time),
		cmocka_unit_test(rotates_by_bytes_on_disk),
		cmocka_unit_test(keeps_the_last_files_of_each_queue),
	};

	return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
