/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves of an engine on a link of its own what requests on its socket do not reach: a job whose disk hangs
 * ends, with an account that adds up, and its neighbour loses nothing; when the loader has died jobs go on
 * and end, new ones are refused, and a job that cannot be resumed stays paused; a job that cannot be started
 * for want of a thread leaves its slot to the next one.
 */
#include "capture/engine.h"
#include "tests/bpf/rig.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define FRAMES 5000u

static struct cap_engine engine;
static struct cap_engine_job jobs[3];
static struct cap_io io;
static char folder[64];
static int sender = -1;
static char said[512];
static _Atomic int stuck_dir = -1;
static _Atomic int threads_left = -1; /* that can be made; -1: as many as one likes */

/* Takes the place of the C library's, to let a thread be refused as a container's limit would. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *arg), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *arg), void *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	if (threads_left == 0)
		return EAGAIN;
	if (threads_left > 0)
		threads_left--;
	return real(thread, attr, start, arg);
}

static int open_slowly(void *arg, int dirfd, const char *name, int flags, mode_t mode)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	(void)arg;
	while (stuck_dir == dirfd)
		nanosleep(&nap, NULL);
	return cap_io_kernel.openat(NULL, dirfd, name, flags, mode);
}

static void listen_to(void *arg, const char *sentence)
{
	(void)arg;
	(void)snprintf(said, sizeof(said), "%s", sentence);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void start_engine(uint32_t queues, uint32_t pack_threads)
{
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	rig_make_pair(1500, queues);
	sender = rig_packet_socket(RIG_FAR);
	(void)snprintf(folder, sizeof(folder), "/tmp/skep-engine-XXXXXX");
	assert_non_null(mkdtemp(folder));
	io = cap_io_kernel;
	io.openat = open_slowly;
	memset(&engine, 0, sizeof(engine));
	engine.cfg = (struct cap_engine_cfg){
		.links = { { .link = RIG_NEAR,
			     .kind = CAP_SOURCE_XDP,
			     .role = CAP_ROLE_TAP,
			     .promisc = true,
			     .need_wakeup = true,
			     .job_filters = true,
			     .serves = true } },
		.n_links = 1,
		.pool_bytes = 40u << 20,
		.pack_threads = pack_threads,
		.loader = true,
		.io = &io,
		.say = listen_to,
	};
	r = cap_engine_open(&engine, &err);
	if (r == 0)
		r = cap_engine_attach(&engine, &err);
	if (r == 0)
		r = cap_engine_start(&engine, &err);
	if (r)
		fail_msg("%s", err.text);
	assert_int_equal(engine.n_workers, queues);
}

static void stop_engine(void)
{
	cap_engine_stop(&engine);
	cap_engine_close(&engine);
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
		cap_output_close(&jobs[i].output);
	close(sender);
	rig_delete_pair();
	assert_int_equal(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static struct cap_engine_job *make_job(uint32_t i)
{
	struct cap_engine_job *ej = &jobs[i];
	char path[128];

	memset(ej, 0, sizeof(*ej));
	cap_job_init(&ej->job);
	(void)snprintf(ej->job.name, sizeof(ej->job.name), "job%u", i);
	(void)snprintf(path, sizeof(path), "%s/job%u", folder, i);
	(void)mkdir(path, 0700);
	ej->job.filter_text = "ether proto 0x88b5"; /* what rig_send_many sends */
	ej->level_auto = true;
	ej->output.compressed = true;
	assert_int_equal(cap_output_open(&ej->output, path, NULL), 0);
	return ej;
}

static void wait_ms(uint32_t ms)
{
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		(void)cap_engine_wait(&engine, 5, NULL, 0);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < (long)ms);
}

static void wait_state(const struct cap_engine_job *ej, enum cap_engine_job_state state)
{
	for (int i = 0; ej->state != state; i++) {
		if (i > 4000)
			fail_msg("%s is in state %u, not %u", ej->job.name, ej->state, state);
		(void)cap_engine_wait(&engine, 5, NULL, 0);
	}
}

static void wait_stored(struct cap_engine_job *ej, uint64_t pkts)
{
	struct cap_engine_totals t;

	for (int i = 0; i < 4000; i++) {
		(void)cap_engine_wait(&engine, 5, NULL, 0);
		cap_engine_totals(&engine, ej, &t);
		if (t.account.stored == pkts)
			return;
	}
	fail_msg("%s has stored %llu, not %llu", ej->job.name, (unsigned long long)t.account.stored,
		 (unsigned long long)pkts);
}

static void add(struct cap_engine_job *ej)
{
	struct skep_err err = SKEP_ERR_NULL;

	if (cap_engine_add(&engine, ej, &err))
		fail_msg("%s: %s", ej->job.name, err.text);
}

static void expect_sum(const struct cap_engine_job *ej, uint64_t stored, uint64_t dropped)
{
	const struct cap_account *a = &ej->totals.account;

	assert_int_equal(a->pending, 0);
	assert_int_equal(a->seen, a->stored + a->rejected + cap_account_dropped(a));
	assert_int_equal(a->stored, stored);
	assert_int_equal(cap_account_dropped(a), dropped);
	assert_int_equal(a->dropped[CAP_DROP_UNACCOUNTED], 0);
	assert_int_equal(ej->totals.complete, dropped == 0 && !ej->forced);
}

static void a_job_whose_disk_hangs_ends(void **state)
{
	struct cap_engine_job *good, *stuck;

	(void)state;
	start_engine(1, 0);
	good = make_job(0);
	add(good);
	rig_send_many(sender, 1, 100);
	wait_stored(good, 1); /* the keeper has made its file */
	stuck = make_job(1);
	stuck_dir = stuck->output.dirfd;
	add(stuck);
	rig_send_many(sender, FRAMES, 300);
	wait_ms(300);
	cap_engine_leave(&engine, stuck, CAP_JOB_END_STOPPED);
	wait_state(stuck, CAP_ENGINE_JOB_FILING); /* given up; only the keeper is still out there */
	assert_true(stuck->forced);
	stuck_dir = -1;
	wait_state(stuck, CAP_ENGINE_JOB_ENDED);
	expect_sum(stuck, 0, FRAMES);
	cap_engine_forget(&engine, stuck);
	cap_engine_leave(&engine, good, CAP_JOB_END_STOPPED);
	wait_state(good, CAP_ENGINE_JOB_ENDED);
	expect_sum(good, FRAMES + 1, 0);
	cap_engine_forget(&engine, good);
	stop_engine();
}

static pid_t loader_pid(void)
{
	char path[64];
	int pid = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	fclose(f);
	return pid;
}

static void the_loader_dies(void **state)
{
	struct cap_engine_job *runs, *paused, *late;
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	start_engine(1, 0);
	runs = make_job(0);
	paused = make_job(1);
	add(runs);
	add(paused);
	rig_send_many(sender, FRAMES, 200);
	wait_stored(runs, FRAMES);
	assert_int_equal(cap_engine_pause(&engine, paused, &err), 0);
	assert_int_equal(kill(loader_pid(), SIGKILL), 0);
	rig_send_many(sender, FRAMES, 200);
	wait_stored(runs, 2 * FRAMES);
	assert_true(cap_engine_resume(&engine, paused, &err) != 0);
	assert_non_null(strstr(err.text, "is gone"));
	assert_int_equal(paused->state, CAP_ENGINE_JOB_PAUSED);
	assert_true(atomic_load(&paused->job.paused));
	cap_engine_leave(&engine, paused, CAP_JOB_END_STOPPED);
	wait_state(paused, CAP_ENGINE_JOB_ENDED);
	expect_sum(paused, FRAMES, 0);
	cap_engine_forget(&engine, paused);
	/* Its filter stays in the kernel, because nobody can take it out. */
	cap_engine_leave(&engine, runs, CAP_JOB_END_STOPPED);
	assert_non_null(strstr(said, "is gone"));
	wait_state(runs, CAP_ENGINE_JOB_ENDED);
	assert_int_equal(runs->totals.account.stored, 2 * FRAMES);
	cap_engine_forget(&engine, runs);
	late = make_job(2);
	err = (struct skep_err)SKEP_ERR_NULL;
	assert_true(cap_engine_add(&engine, late, &err) != 0 && !late->failed);
	assert_non_null(strstr(err.text, "is gone"));
	stop_engine();
}

static void a_job_that_gets_no_thread_leaves_its_slot(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_engine_job *bad, *good;

	(void)state;
	start_engine(2, 1);
	for (int n = 0; n < 2; n++) { /* the first worker's packer, the second one's */
		bad = make_job(0);
		threads_left = n;
		assert_true(cap_engine_add(&engine, bad, &err) != 0 && bad->failed);
		threads_left = -1;
		assert_non_null(strstr(err.text, "packer"));
		wait_state(bad, CAP_ENGINE_JOB_ENDED);
		cap_engine_forget(&engine, bad);
		cap_output_close(&bad->output);
	}
	good = make_job(1);
	add(good);
	assert_int_equal(good->job.slot, 0);
	rig_send_many(sender, FRAMES, 200);
	wait_stored(good, FRAMES);
	cap_engine_leave(&engine, good, CAP_JOB_END_STOPPED);
	wait_state(good, CAP_ENGINE_JOB_ENDED);
	expect_sum(good, FRAMES, 0);
	cap_engine_forget(&engine, good);
	stop_engine();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_job_whose_disk_hangs_ends),
		cmocka_unit_test(the_loader_dies),
		cmocka_unit_test(a_job_that_gets_no_thread_leaves_its_slot),
	};

	if (!rig_enter())
		return 77;
	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
