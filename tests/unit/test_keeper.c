/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves what happens when the disk is full, on a real small file system (tmpfs in a mount namespace of
 * this process): packets are dropped as disk_full and counted exactly, what was written is whole, the
 * reserve is kept, waiting costs no processor time and no memory, writing goes on when there is space, or
 * the job ends if it was told to. And that a full disk is refused at the start.
 */
#include "pathrig.h"
#include "tool.h"

#include "capture/mono.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#define RESERVE (4u * CAP_MIB)

static char mnt[64];

static uint64_t free_now(void)
{
	struct statvfs s;

	assert_int_equal(statvfs(mnt, &s), 0);
	return (uint64_t)s.f_bavail * s.f_frsize;
}

/* Leaves so much free. */
static void fill_to(uint64_t bytes)
{
	char path[96];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/filler", mnt);
	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)(free_now() - bytes)), 0);
	close(fd);
}

static bool small_disk(void)
{
	if (!mnt[0]) {
		print_message("# needs root: a file system of its own\n");
		skip();
	}
	return mnt[0];
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint64_t resident_bytes(void)
{
	unsigned long total, pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &total, &pages), 2);
	fclose(f);
	return pages * 4096ull;
}

/*
 * Waits until the account says that packets are dropped because the disk is full (or what a lossless
 * source sees: the lane blocked).
 */
static void wait_full(struct rig *rig, uint64_t more_than)
{
	for (int i = 0; i < 5000; i++) {
		struct cap_account a;

		rig_totals(rig, &a);
		if (rig->cfg.lossy ? a.dropped[CAP_DROP_DISK_FULL] > more_than
				   : atomic_load(&rig->keeper_lanes[0].files.blocked) != 0)
			return;
		assert_true(free_now() + CAP_MIB / 4 >= RESERVE);
		(void)usleep(1000);
	}
	fail_msg("the disk never got full");
}

/* Frames that fill the small disk, a megabyte in 11 ms, without end unless the test says when. */
static struct rig_cfg filling(void)
{
	return (struct rig_cfg){ .base = mnt,
				 .payload = RIG_RANDOM,
				 .n_pkts = UINT32_MAX,
				 .size_min = 1400,
				 .size_max = 1500,
				 .lossy = true,
				 .pace_ns = SKEP_NSEC_PER_MSEC,
				 .reserve_bytes = RESERVE };
}

/* On a disk with room for 10 MiB. */
static struct rig *nearly_full(const struct rig_cfg *cfg)
{
	struct rig *rig;

	fill_to(RESERVE + 10 * CAP_MIB);
	rig = rig_new(cfg, NULL);
	assert_non_null(rig);
	return rig;
}

/* Waits until so many packets more than now have been stored. */
static void wait_stored(struct rig *rig, uint64_t more)
{
	struct cap_account a;
	uint64_t until;

	rig_totals(rig, &a);
	until = a.stored + more;
	for (int i = 0; i < 20000 && a.stored < until; i++) {
		(void)usleep(1000);
		rig_totals(rig, &a);
	}
	assert_true(a.stored >= until);
}

static void full_and_space_again(void **state)
{
	(void)state;
	if (!small_disk())
		return;
	for (unsigned i = 0; i < 3; i++) {
		struct rig_cfg cfg = filling();
		struct rig *rig;
		struct rig_read r;
		struct cap_account a;
		uint64_t number, before;

		cfg.plain = i == 1;
		cfg.sidecar = cfg.fixed_level = i == 2;
		cfg.level = 1;
		rig = nearly_full(&cfg);
		rig_start(rig);
		wait_full(rig, 0);
		before = resident_bytes();
		(void)usleep(200000);
		assert_true(resident_bytes() < before + 4 * CAP_MIB);
		assert_true(free_now() + CAP_MIB / 4 >= RESERVE);
		rig_totals(rig, &a);
		assert_true(a.stored > 0);
		number = atomic_load(&rig->sources[0].given);
		fill_to(RESERVE + 200 * CAP_MIB);
		/* more than the pool holds: what came after the fill is among them */
		wait_stored(rig, 40000);
		rig_stop(rig);
		rig_wait(rig);
		rig_verify(rig, &a, &r);
		/* When there is space again memory is still full for a moment: that has its own name. */
		assert_int_equal(a.stored + a.dropped[CAP_DROP_DISK_FULL] + a.dropped[CAP_DROP_BUFFERS_FULL],
				 a.seen);
		assert_true(number < r.last);
		assert_int_equal(r.n_parts, 0);
		rig_free(rig);
	}
}

/* It never gets better: the capture ends by itself, and what fitted is there. */
static void full_to_the_end(void **state)
{
	struct rig_cfg cfg = filling();

	(void)state;
	if (!small_disk())
		return;
	cfg.n_pkts = 40000;
	cfg.stuck_ms = 200;
	cfg.sidecar = true;
	for (unsigned i = 0; i < 2; i++) {
		struct rig *rig;
		struct rig_read r;
		struct cap_account a;

		cfg.plain = i;
		rig = nearly_full(&cfg);
		rig_run(rig);
		assert_true(rig->aborted);
		rig_verify(rig, &a, &r);
		assert_int_equal(a.stored + a.dropped[CAP_DROP_DISK_FULL], cfg.n_pkts);
		assert_true(r.disk_bytes > 6 * CAP_MIB); /* all but what was promised and not used */
		assert_int_equal(r.n_parts, 0);
		assert_true(free_now() + CAP_MIB / 4 >= RESERVE);
		rig_free(rig);
	}
}

static void waiting_costs_nothing(void **state)
{
	struct rig_cfg cfg = filling();
	struct rig *rig;
	struct rig_read r;
	struct cap_account a;
	uint64_t cpu;

	(void)state;
	if (!small_disk())
		return;
	cfg.n_pkts = 40000;
	cfg.lossy = false;
	cfg.pace_ns = 0;
	cfg.retry_ns = 200 * SKEP_NSEC_PER_MSEC;
	rig = nearly_full(&cfg);
	rig_start(rig);
	wait_full(rig, 0);
	(void)usleep(50000);
	cpu = cpu_ns();
	(void)usleep(500000);
	cpu = cpu_ns() - cpu;
	if (cpu > 75 * SKEP_NSEC_PER_MSEC)
		fail_msg("half a second of waiting took %llu ms of processor time",
			 (unsigned long long)(cpu / SKEP_NSEC_PER_MSEC));
	fill_to(RESERVE + 200 * CAP_MIB);
	rig_wait(rig);
	rig_verify(rig, &a, &r);
	assert_int_equal(a.stored, cfg.n_pkts); /* a source that can wait loses nothing */
	rig_free(rig);
}

static void stops_when_told_to(void **state)
{
	struct rig_cfg cfg = filling();
	struct rig *rig;
	struct rig_read r;
	struct cap_account a;

	(void)state;
	if (!small_disk())
		return;
	cfg.stop_when_full = true;
	cfg.stuck_ms = 200;
	rig = nearly_full(&cfg);
	rig_run(rig);
	rig_verify(rig, &a, &r);
	assert_int_equal(atomic_load(&rig->job.done_why), CAP_JOB_END_DISK_FULL);
	assert_true(r.disk_bytes > 6 * CAP_MIB);
	rig_free(rig);
}

static void refused_at_the_start(void **state)
{
	struct rig_cfg cfg = { .base = mnt,
			       .payload = RIG_ZERO,
			       .n_pkts = 1,
			       .size_min = 60,
			       .size_max = 60,
			       .reserve_bytes = RESERVE };
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	if (!small_disk())
		return;
	fill_to(RESERVE + CAP_MIB / 2);
	assert_null(rig_new(&cfg, &err));
	assert_int_equal(err.code, SKEP_E_NO_SPACE);
	assert_non_null(strstr(err.text, "not enough disk"));
	assert_true(err.hint[0]);
}

static int setup(void **state)
{
	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 0;
	(void)snprintf(mnt, sizeof(mnt), "/tmp/skep-full-XXXXXX");
	if (!mkdtemp(mnt) || mount("skep-full", mnt, "tmpfs", 0, "size=320m") < 0) {
		(void)rmdir(mnt);
		mnt[0] = '\0';
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (mnt[0]) {
		(void)umount2(mnt, MNT_DETACH);
		(void)rmdir(mnt);
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_and_space_again),
		cmocka_unit_test(full_to_the_end),
		cmocka_unit_test(waiting_costs_nothing),
		cmocka_unit_test(stops_when_told_to),
		cmocka_unit_test(refused_at_the_start),
	};

	return cmocka_run_group_tests_name("keeper", tests, setup, teardown);
}
