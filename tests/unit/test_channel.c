/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves of several jobs on one worker: one that ends gets all that was in the ring; a folder that is gone,
 * a full disk, failing writes or a reader that went away in one job cost another job nothing; a job that
 * leaves while its files cannot be opened is given up by name and takes no block of the pool with it;
 * writers that all need memory at once go on; a slow job does not take the blocks of the others; and every
 * account adds up, at every turn, none of which allocates.
 *
 * The worker's turns are made by the test's thread, frames by a source that never waits. The keeper is real,
 * and files are; what fails is made to fail by struct cap_io.
 */
#include "unit.h"
#include "alloctrap.h"
#include "tool.h"

#include "capture/capwrite.h"
#include "capture/keeper.h"
#include "capture/mono.h"
#include "capture/worker.h"

#include <signal.h>
#include <time.h>

#define MAX_JOBS 24u
#define FRAME_BYTES 1500u
#define TEXT_BYTES (1u << 20)

enum fault { NO_FAULT, NO_SPACE, NO_FOLDER, STUCK };

struct one {
	char name[16];
	enum fault fault;
	struct cap_job job;
	struct cap_output output;
	struct cap_channel channel;
	struct cap_keeper_lane keeper_lane;
};

struct bench {
	char *dir;
	struct cap_worker worker;
	struct cap_worker_source worker_source;
	struct cap_source source;
	struct cap_tap tap;
	struct cap_keeper keeper;
	struct cap_io io;
	struct one jobs[MAX_JOBS];
	_Atomic uint32_t n;
	uint32_t burst;		/* batches per turn */
	uint64_t wanted;	/* mask of the jobs that frames are for */
	uint64_t sent, at;
	_Atomic int32_t ring_error; /* of every write from now on */
	_Atomic bool let_go;	/* what is stuck goes on */
};

static struct bench *bench; /* sources and faults find it here */
static uint8_t text[TEXT_BYTES + FRAME_BYTES];

/* Words, so that it shrinks by about half. */
static void make_text(void)
{
	uint64_t seed = 7;

	for (uint32_t at = 0; at < sizeof(text); at++)
		text[at] = (uint8_t)("etaoin shrdlu0123"[tool_random(&seed) % 17]);
}

/* ---- the source ---- */

static int give(struct cap_source *source, struct cap_batch *batch)
{
	(void)source;
	batch->n = batch->frag_n = 0;
	if (bench->burst == 0)
		return 0;
	bench->burst--;
	for (; batch->n < CAP_BATCH; batch->n++) {
		bench->at = (bench->at + 7919) % TEXT_BYTES;
		batch->frames[batch->n] = (struct cap_frame){ .data = text + bench->at,
							      .len = FRAME_BYTES,
							      .cap_len = FRAME_BYTES,
							      .wire_len = FRAME_BYTES,
							      .ts_ns = 1 + bench->sent++,
							      .jobs = bench->wanted };
	}
	return (int)batch->n;
}

static void take_back(struct cap_source *source, struct cap_batch *batch)
{
	(void)source;
	batch->n = batch->frag_n = 0; /* as those of the kernel's rings */
}

static uint32_t backlog(struct cap_source *source)
{
	(void)source;
	return bench->burst * CAP_BATCH;
}

static const struct cap_source_ops ops = { .name = "bench", .receive = give, .release = take_back };

/* ---- faults ---- */

static const struct one *job_of_dir(int dirfd)
{
	for (uint32_t i = 0; i < bench->n; i++)
		if (bench->jobs[i].output.dirfd == dirfd)
			return &bench->jobs[i];
	return NULL;
}

static int open_faulty(void *arg, int dirfd, const char *name, int flags, mode_t mode)
{
	const struct one *job = job_of_dir(dirfd);
	const struct timespec nap = { .tv_nsec = 1000000 };

	(void)arg;
	if (job && job->fault == NO_SPACE)
		return -ENOSPC;
	if (job && job->fault == NO_FOLDER)
		return -ENOENT;
	while (job && job->fault == STUCK && !bench->let_go)
		nanosleep(&nap, NULL);
	return cap_io_kernel.openat(NULL, dirfd, name, flags, mode);
}

static int32_t write_faulty(void *arg, uint32_t len)
{
	(void)arg;
	(void)len;
	return atomic_load(&bench->ring_error);
}

/* ---- the bench ---- */

static void open_bench(uint32_t pool_blocks)
{
	static struct bench b;

	memset(&b, 0, sizeof(b));
	bench = &b;
	b.dir = tool_make_dir();
	b.io = cap_io_kernel;
	b.io.openat = open_faulty;
	b.io.ring_write = write_faulty;
	b.tap = (struct cap_tap){ .ops = &ops, .linktype = 1, .filters_jobs = true };
	b.source = (struct cap_source){ .ops = &ops, .tap = &b.tap };
	b.worker_source.src = &b.source;
	b.worker = (struct cap_worker){
		.name = "bench",
		.cpu = -1,
		.numa_node = -1,
		.pool_blocks = pool_blocks,
		.io = &b.io,
		.sources = &b.worker_source,
		.n_sources = 1,
		.sleep_max_ns = CAP_SLEEP_MAX_NS,
	};
	assert_int_equal(cap_worker_init(&b.worker, NULL), 0);
	assert_int_equal(cap_sink_enable(&b.worker.sink), 0);
	b.keeper.io = &b.io;
	b.keeper.retry_ns = 2 * SKEP_NSEC_PER_MSEC;
	assert_int_equal(cap_keeper_init(&b.keeper, NULL), 0);
	assert_int_equal(cap_keeper_start(&b.keeper, NULL), 0);
}

/* The next job; level 0: adaptive. */
static struct one *add_job(enum fault fault, int level, int stream_fd)
{
	struct one *o = &bench->jobs[bench->n];
	struct cap_keeper_lane *kl = &o->keeper_lane;
	struct cap_lane *lane = &o->channel.lane;
	char path[512];

	(void)snprintf(o->name, sizeof(o->name), "job%u", bench->n % MAX_JOBS);
	(void)snprintf(path, sizeof(path), "%s/%s", bench->dir, o->name);
	assert_int_equal(mkdir(path, 0700), 0);
	o->fault = fault;
	cap_job_init(&o->job);
	o->job.slot = bench->n;
	o->output.compressed = true;
	assert_int_equal(cap_output_open(&o->output, path, NULL), 0);
	if (stream_fd >= 0) {
		o->output.kind = CAP_OUTPUT_STREAM;
		o->output.stream_fd = stream_fd;
	}
	o->output.direct_io = CAP_AUTO;
	kl->output = &o->output;
	kl->job = &o->job;
	kl->tap = &bench->tap;
	kl->template = (struct cap_sidecar)CAP_SIDECAR_NULL;
	(void)snprintf(kl->link, sizeof(kl->link), "bench");
	cap_capwrite_pcap_header(kl->header, o->job.snaplen, 1);
	kl->header_bytes = CAP_CAPWRITE_PCAP_HEADER_BYTES;
	lane->job = &o->job;
	lane->files = &kl->files;
	lane->compressed = true;
	lane->header_raw_bytes = lane->segment_raw_bytes = kl->header_bytes;
	cap_level_init(&lane->level, level == 0, level);
	assert_int_equal(cap_channel_init(&o->channel, &bench->worker, NULL), 0);
	bench->n++; /* the keeper opens its file at once: faults must know it */
	cap_keeper_add(&bench->keeper, kl);
	assert_int_equal(cap_worker_add(&bench->worker, &o->channel, NULL), 0);
	return o;
}

static void check_accounts(void)
{
	for (uint32_t i = 0; i < bench->n; i++) {
		const struct cap_lane *lane = &bench->jobs[i].channel.lane;
		const struct cap_account *a = &lane->account;
		struct cap_account p;

		assert_int_equal(lane->received,
				 a->stored + a->rejected + cap_account_dropped(a) + a->pending);
		cap_account_read(&bench->jobs[i].channel.slot, &p);
		assert_int_equal(p.seen, p.stored + p.rejected + cap_account_dropped(&p));
	}
}

/* One turn with so many batches of frames for the jobs of the mask. */
static void turn(uint64_t wanted, uint32_t batches)
{
	bench->wanted = wanted;
	bench->burst = batches;
	(void)cap_worker_turn(&bench->worker);
	check_accounts();
}

static void turn_for(uint64_t ns)
{
	const struct timespec nap = { .tv_nsec = 100000 };
	const uint64_t from_ns = cap_mono_ns();

	while (cap_mono_ns() - from_ns < ns) {
		turn(0, 0);
		nanosleep(&nap, NULL);
	}
}

/* Turns until everything that was taken is in files; false after so many seconds. */
static bool settled(const struct one *o, uint32_t seconds)
{
	const struct timespec nap = { .tv_nsec = 100000 };
	const uint64_t until_ns = cap_mono_ns() + seconds * SKEP_NSEC_PER_SEC;

	while (o->channel.lane.account.pending && cap_mono_ns() < until_ns) {
		turn(0, 0);
		nanosleep(&nap, NULL);
	}
	return o->channel.lane.account.pending == 0;
}

/* Frames, and then so many turns that the job has worked them off: neither disk nor CPU is what it lacks. */
static void turn_at_ease(uint64_t wanted, uint32_t batches, const struct one *o)
{
	const uint64_t until_ns = cap_mono_ns() + 20 * SKEP_NSEC_PER_SEC;

	turn(wanted, batches);
	do
		turn(0, 0);
	while ((o->channel.lane.sealed.n || o->channel.writer.current || bench->worker.sink.inflight) &&
	       cap_mono_ns() < until_ns);
}

static void leave(struct one *o, bool abandon)
{
	const struct timespec nap = { .tv_nsec = 100000 };

	atomic_store(&o->channel.abandon, abandon);
	atomic_store(&o->channel.closing, true);
	for (int ms = 0; !atomic_load(&o->channel.gone); ms++) {
		assert_true(ms < 100000);
		turn(0, 0);
		nanosleep(&nap, NULL);
	}
	cap_keeper_close(&bench->keeper, &o->keeper_lane);
}

static void await_files(struct one *o)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	for (int ms = 0; !atomic_load(&o->keeper_lane.closed); ms++) {
		assert_true(ms < 20000);
		nanosleep(&nap, NULL);
	}
}

static uint64_t packets_in_files(const struct one *o)
{
	char *out;
	uint64_t n;
	size_t len;

	assert_int_equal(tool_run(&out, &len,
				  "for f in %s/%s/*.pcap.zst; do"
				  " zstd -dc $f | tcpdump --count -nr - 2>/dev/null; done"
				  " | awk '{n += $1} END {print n + 0}'",
				  bench->dir, o->name),
			 0);
	n = strtoull(out, NULL, 10);
	free(out);
	return n;
}

/* Everything that was meant for the job is in its files. */
static void expect_whole(struct one *o, uint64_t pkts)
{
	const struct cap_account *a = &o->channel.lane.account;

	assert_int_equal(a->stored, pkts);
	assert_int_equal(cap_account_dropped(a), 0);
	assert_int_equal(atomic_load(&o->keeper_lane.files.lost_pkts), 0);
	assert_int_equal(packets_in_files(o), pkts);
}

static void close_bench(void)
{
	for (uint32_t i = 0; i < bench->n; i++)
		if (!atomic_load(&bench->jobs[i].channel.gone))
			leave(&bench->jobs[i], true);
	/* With the last job every block is back: whatever went wrong, nothing of the pool is lost. */
	assert_int_equal(bench->worker.sink.inflight, 0);
	assert_int_equal(bench->worker.pool.n_free, bench->worker.pool.n_blocks);
	cap_keeper_stop(&bench->keeper);
	for (uint32_t i = 0; i < bench->n; i++) {
		cap_channel_fini(&bench->jobs[i].channel);
		cap_output_close(&bench->jobs[i].output);
	}
	cap_keeper_fini(&bench->keeper);
	cap_worker_fini(&bench->worker);
	tool_remove_dir(bench->dir);
}

/* ---- cases ---- */

/* Jobs come and go while one stays; what it has is what came. */
static void jobs_come_and_go(void **state)
{
	struct one *stays;
	uint64_t sent = 0;

	(void)state;
	open_bench(64);
	stays = add_job(NO_FAULT, 0, -1);
	for (int i = 0; i < 20; i++) {
		struct one *o = add_job(NO_FAULT, 0, -1);

		for (int k = 0; k < 10; k++) {
			turn(UINT64_MAX, 2);
			sent += 2 * CAP_BATCH;
			turn_for(SKEP_NSEC_PER_MSEC);
		}
		if (i % 2)
			leave(o, false);
	}
	leave(stays, false);
	await_files(stays);
	expect_whole(stays, sent);
	close_bench();
}

/* What is in the ring when a job ends is part of it, many turns' worth; what comes later is not. */
static void a_full_ring_is_taken_first(void **state)
{
	(void)state;
	for (int known = 0; known < 2; known++) {
		struct one *o;

		open_bench(64);
		bench->source.ring_slots = CAP_XSK_RING;
		bench->source.backlog = known ? backlog : NULL;
		o = add_job(NO_FAULT, 0, -1);
		turn(1, 1);
		assert_true(settled(o, 20));
		bench->burst = CAP_XSK_RING / CAP_BATCH;
		atomic_store(&o->channel.closing, true);
		bench->wanted = 1;
		while (bench->burst) {
			(void)cap_worker_turn(&bench->worker);
			check_accounts();
		}
		leave(o, false);
		await_files(o);
		expect_whole(o, CAP_BATCH + CAP_XSK_RING);
		close_bench();
	}
}

static void a_fault_stays_with_its_job(enum fault fault, enum cap_drop reason)
{
	struct one *good, *bad;
	uint64_t sent = 0;

	open_bench(64);
	good = add_job(NO_FAULT, 0, -1);
	bad = add_job(fault, 0, -1);
	turn(1, 1);
	assert_true(settled(good, 20)); /* it has its file */
	/* Until the keeper has said so, a packet without a block is dropped for want of blocks. */
	for (int k = 0; k < 20000 && !atomic_load(&bad->keeper_lane.files.blocked); k++)
		(void)usleep(1000);
	assert_int_not_equal(atomic_load(&bad->keeper_lane.files.blocked), 0);
	for (int k = 0; k < 400; k++) {
		turn_at_ease(3, 4, good);
		sent += 4 * CAP_BATCH;
	}
	assert_true(bad->channel.lane.account.dropped[reason] > 0);
	assert_int_equal(bad->channel.lane.account.stored, 0);
	leave(good, false);
	await_files(good);
	expect_whole(good, sent + CAP_BATCH);
	leave(bad, true);
	await_files(bad);
	assert_int_equal(bad->channel.lane.account.dropped[reason], sent);
	close_bench();
}

static void a_full_disk_stays_with_its_job(void **state)
{
	(void)state;
	a_fault_stays_with_its_job(NO_SPACE, CAP_DROP_DISK_FULL);
}

static void a_lost_folder_stays_with_its_job(void **state)
{
	(void)state;
	a_fault_stays_with_its_job(NO_FOLDER, CAP_DROP_WRITE_ERROR);
}

static void a_reader_that_goes_away_ends_only_its_job(void **state)
{
	struct one *good, *bad;
	uint64_t sent = 0;
	int pipe_fds[2];

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	open_bench(64);
	good = add_job(NO_FAULT, 0, -1);
	bad = add_job(NO_FAULT, 0, pipe_fds[1]);
	close(pipe_fds[0]);
	for (int k = 0; k < 200; k++) {
		turn(3, 4);
		sent += 4 * CAP_BATCH;
		turn_for(SKEP_NSEC_PER_MSEC);
	}
	assert_true(atomic_load(&bad->job.done));
	assert_int_equal(atomic_load(&bad->job.done_why), CAP_JOB_END_WRITE);
	leave(bad, true);
	leave(good, false);
	await_files(good);
	expect_whole(good, sent);
	close_bench();
}

/* For a while the disk refuses everything: both lose something, both go on, and both know what. */
static void both_recover_from_failing_writes(void **state)
{
	uint64_t sent = 0;

	(void)state;
	open_bench(64);
	(void)add_job(NO_FAULT, 0, -1);
	(void)add_job(NO_FAULT, CAP_LEVEL_STORE, -1);
	for (int k = 0; k < 300; k++) {
		atomic_store(&bench->ring_error, k >= 100 && k < 200 ? -EIO : 0);
		turn(3, 4);
		sent += 4 * CAP_BATCH;
		turn_for(SKEP_NSEC_PER_MSEC);
	}
	for (int i = 0; i < 2; i++) {
		struct one *o = &bench->jobs[i];
		const struct cap_account *a = &o->channel.lane.account;

		leave(o, false);
		await_files(o);
		assert_int_equal(a->stored + cap_account_dropped(a), sent);
		assert_true(a->dropped[CAP_DROP_WRITE_ERROR] > 0 && a->stored > sent / 4);
		assert_int_equal(packets_in_files(o),
				 a->stored - atomic_load(&o->keeper_lane.files.lost_pkts));
	}
	close_bench();
}

/* The keeper hangs in the file system: the job is given up, its packets by name, and waits for no disk. */
static void a_stuck_disk(void **state)
{
	struct one *good, *stuck;
	uint64_t sent = 0;

	(void)state;
	open_bench(48);
	good = add_job(NO_FAULT, 0, -1);
	turn(1, 1);
	assert_true(settled(good, 10));
	stuck = add_job(STUCK, 0, -1);
	for (int k = 0; k < 100; k++) {
		turn(3, 2);
		sent += 2 * CAP_BATCH;
		turn_for(SKEP_NSEC_PER_MSEC);
	}
	leave(stuck, true);
	assert_int_equal(stuck->channel.lane.account.stored, 0);
	assert_int_equal(cap_account_dropped(&stuck->channel.lane.account), sent);
	assert_false(atomic_load(&stuck->keeper_lane.closed));
	bench->let_go = true;
	await_files(stuck);
	leave(good, false);
	await_files(good);
	expect_whole(good, sent + CAP_BATCH);
	close_bench();
}

/* Jobs that never got a file take nothing of the pool with them, however many there were. */
static void blocked_jobs_take_no_block_with_them(void **state)
{
	struct one *good;

	(void)state;
	open_bench(32);
	good = add_job(NO_FAULT, 0, -1);
	for (uint32_t i = 1; i < MAX_JOBS; i++) {
		struct one *bad = add_job(NO_FOLDER, 0, -1);

		turn(1ull << i, 1);
		turn_for(3 * SKEP_NSEC_PER_MSEC);
		leave(bad, true);
	}
	turn_for(SKEP_NSEC_PER_SEC);
	assert_int_equal(bench->worker.pool.n_free, bench->worker.pool.n_blocks);
	turn(1, 4);
	leave(good, false);
	await_files(good);
	expect_whole(good, 4 * CAP_BATCH);
	close_bench();
}

/* Many writers that are in step all want a new block at the same moment, and there is none. */
static void writers_in_step_do_not_wait_for_each_other(void **state)
{
	const uint64_t all = (1ull << MAX_JOBS) - 1;
	uint64_t stored = 0, dropped = 0, sent = 0;

	(void)state;
	open_bench(40);
	for (uint32_t i = 0; i < MAX_JOBS; i++)
		(void)add_job(NO_FAULT, -50, -1);
	for (int k = 0; k < 600; k++) {
		turn(all, 32);
		sent += 32 * CAP_BATCH;
	}
	for (uint32_t i = 0; i < MAX_JOBS; i++) {
		const struct cap_account *a = &bench->jobs[i].channel.lane.account;

		assert_true(settled(&bench->jobs[i], 30));
		assert_int_equal(a->stored + cap_account_dropped(a), sent);
		stored += a->stored;
		dropped += cap_account_dropped(a);
	}
	assert_true(dropped > 0); /* or there was no need */
	assert_true(stored > 0);
	close_bench();
}

/* A level that is far too slow takes the blocks that are left over, and no more. */
static void a_slow_job_starves_nobody(void **state)
{
	struct one *quick, *slow;
	uint64_t sent = 0;

	(void)state;
	open_bench(48);
	slow = add_job(NO_FAULT, 9, -1);
	quick = add_job(NO_FAULT, CAP_LEVEL_STORE, -1);
	turn(3, 1);
	assert_true(settled(quick, 10) && settled(slow, 10));
	for (int k = 0; k < 500; k++) {
		turn_at_ease(3, 4, quick);
		sent += 4 * CAP_BATCH;
	}
	assert_true(slow->channel.lane.account.dropped[CAP_DROP_BUFFERS_FULL] > 0);
	leave(slow, false);
	leave(quick, false);
	await_files(quick);
	await_files(slow);
	expect_whole(quick, sent + CAP_BATCH);
	assert_int_equal(packets_in_files(slow), slow->channel.lane.account.stored);
	close_bench();
}

/* With many jobs, one of them without a disk, no turn allocates, maps, locks or says anything. */
static void nothing_is_allocated(void **state)
{
	const uint64_t all = (1ull << MAX_JOBS) - 1;

	(void)state;
	if (alloctrap_skipped())
		return;
	open_bench(64);
	for (uint32_t i = 0; i < MAX_JOBS; i++)
		(void)add_job(i == 5 ? NO_FOLDER : NO_FAULT, i % 3 ? 0 : CAP_LEVEL_STORE, -1);
	turn(all, 1);
	for (uint32_t i = 0; i < MAX_JOBS; i++)
		assert_true(i == 5 || settled(&bench->jobs[i], 30));
	atomic_store(&caught, 0);
	for (int k = 0; k < 400; k++) {
		bench->wanted = k % 2 ? all : 0x5555;
		bench->burst = 4;
		if (k == 200)
			atomic_fetch_add(&bench->jobs[1].channel.rotate_asked, 1);
		if (k == 300)
			atomic_store(&bench->jobs[2].channel.closing, true);
		armed = true;
		(void)cap_worker_turn(&bench->worker);
		armed = false;
		check_accounts();
	}
	alloctrap_expect_none();
	close_bench();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_come_and_go),
		cmocka_unit_test(a_full_ring_is_taken_first),
		cmocka_unit_test(a_full_disk_stays_with_its_job),
		cmocka_unit_test(a_lost_folder_stays_with_its_job),
		cmocka_unit_test(a_reader_that_goes_away_ends_only_its_job),
		cmocka_unit_test(both_recover_from_failing_writes),
		cmocka_unit_test(a_stuck_disk),
		cmocka_unit_test(blocked_jobs_take_no_block_with_them),
		cmocka_unit_test(nothing_is_allocated),
		cmocka_unit_test(a_slow_job_starves_nobody),
		cmocka_unit_test(writers_in_step_do_not_wait_for_each_other),
	};

	make_text();
	return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
