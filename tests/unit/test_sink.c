/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves what a slow, a stuck and a vanishing receiver do: through a pipe that is read ten times slower
 * than frames come, drops are counted exactly as buffers_full and memory stays flat; a pipe that nobody
 * reads does not keep the capture from ending; when the reader goes away the job ends and nothing follows.
 * And what a kill at any moment leaves: copies of the .part file, taken while it is written, hold every
 * packet that was counted as stored, and all that came more than a second before. And that the ring does
 * nothing but write.
 */
#include "pathrig.h"
#include "tool.h"

#include "capture/mono.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

struct reader {
	int fd;
	int out;              /* -1: forgotten */
	struct rig *slower;   /* ten times slower than this one's source gives; NULL: as fast as it goes */
	uint64_t stop_after;  /* bytes; then the pipe is closed */
	uint64_t got;
};

/* At least; without limit when all is given, for then the pipe must run dry. */
static uint64_t given_bytes(struct rig *rig)
{
	uint64_t given = atomic_load(&rig->sources[0].given);

	return given < rig->cfg.n_pkts ? given * rig->cfg.size_min : UINT64_MAX;
}

static void *read_pipe(void *arg)
{
	static uint8_t buf[65536];
	struct reader *r = arg;
	ssize_t n;

	while ((n = read(r->fd, buf, sizeof(buf))) > 0) {
		r->got += (uint64_t)n;
		if (r->out >= 0 && write(r->out, buf, (size_t)n) != n)
			abort();
		if (r->stop_after && r->got >= r->stop_after)
			break;
		while (r->slower && 10 * r->got > given_bytes(r->slower))
			(void)usleep(500);
	}
	close(r->fd);
	return NULL;
}

static struct rig_cfg fast(int fd)
{
	return (struct rig_cfg){ .payload = RIG_RANDOM,
				 .n_pkts = 60000,
				 .size_min = 1400,
				 .size_max = 1500,
				 .lossy = true,
				 .pace_ns = 250000,
				 .stream_fd = fd };
}

/* The reader keeps to a tenth of what the source has given, however fast that goes on this machine. */
static void ten_times_slower(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct reader reader = { 0 };
		struct rig_cfg cfg;
		struct cap_account a;
		struct rig_read r;
		struct rig *rig;
		pthread_t thread;
		char path[300];
		int fds[2];

		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		cfg = fast(fds[1]);
		cfg.plain = i;
		rig = rig_new(&cfg, NULL);
		close(fds[1]);
		(void)snprintf(path, sizeof(path), "%s/rig-q0-000001.pcap%s", rig->dir, i ? "" : ".zst");
		reader.fd = fds[0];
		reader.slower = rig;
		reader.out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(reader.out >= 0);
		assert_int_equal(pthread_create(&thread, NULL, read_pipe, &reader), 0);
		rig_run(rig);
		assert_false(rig->aborted);
		cap_output_close(&rig->output);
		pthread_join(thread, NULL);
		close(reader.out);
		rig_verify(rig, &a, &r);
		assert_int_equal(a.seen, cfg.n_pkts);
		assert_int_equal(a.stored + a.dropped[CAP_DROP_BUFFERS_FULL], cfg.n_pkts);
		/* 32 blocks hold 24,000 frames, a tenth has been read */
		assert_true(a.dropped[CAP_DROP_BUFFERS_FULL] > cfg.n_pkts / 3);
		assert_true(a.stored > 10000);
		rig_free(rig);
	}
}

static void nobody_reads(void **state)
{
	struct rig_cfg cfg;
	struct cap_account a;
	struct rig *rig;
	uint64_t before;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	cfg = fast(fds[1]);
	cfg.stuck_ms = 200;
	rig = rig_new(&cfg, NULL);
	before = cap_mono_ns();
	rig_run(rig);
	assert_true(cap_mono_ns() - before < 5 * SKEP_NSEC_PER_SEC);
	assert_true(rig->aborted);
	rig_assert_ok(rig);
	rig_totals(rig, &a);
	assert_int_equal(a.stored, 0);
	assert_int_equal(cap_account_dropped(&a), a.seen);
	rig_free(rig);
	close(fds[0]);
	close(fds[1]);
}

static void the_reader_goes_away(void **state)
{
	struct reader reader = { .out = -1, .stop_after = 3000000 };
	struct rig_cfg cfg;
	struct cap_account a;
	struct rig *rig;
	pthread_t thread;
	int fds[2];

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN); /* as the engine does */
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	cfg = fast(fds[1]);
	cfg.n_pkts = 10000000;
	rig = rig_new(&cfg, NULL);
	close(fds[1]);
	reader.fd = fds[0];
	assert_int_equal(pthread_create(&thread, NULL, read_pipe, &reader), 0);
	rig_run(rig);
	pthread_join(thread, NULL);
	rig_assert_ok(rig);
	rig_totals(rig, &a);
	assert_int_equal(atomic_load(&rig->job.done_why), CAP_JOB_END_WRITE);
	/* a pipe holds 64 KiB, and one write more was under way */
	assert_true(a.bytes_raw <= reader.got + 65536 + 2 * CAP_BLOCK_BYTES);
	assert_true(a.dropped[CAP_DROP_WRITE_ERROR] > 0);
	assert_int_equal(rig->channels[0].writer.n_segments, 1);
	rig_free(rig);
}

#define HISTORY 65536u
/*
 * Turns in which the worker packs a block (a slice of at most 128 KiB each), submits it and reaps the answer.
 * What must be readable is judged by the worker's own clock, that many turns ago: on a machine that is busy
 * with something else a thread may be away for a second.
 */
#define TURNS_TO_DISK 32u

/* Which frame was next at which turn; written by the worker, read behind n. */
struct history {
	_Atomic uint32_t n;
	struct {
		uint64_t ns, number;
	} at[HISTORY];
};

static void note(struct rig *rig, uint32_t worker, uint64_t number)
{
	struct history *h = rig->cfg.arg;
	uint32_t n = atomic_load(&h->n);

	(void)worker;
	if (n == HISTORY)
		return;
	h->at[n].ns = cap_mono_ns();
	h->at[n].number = number;
	atomic_store(&h->n, n + 1);
}

/* The first frame that need not be readable now. */
static uint64_t must_be_there(const struct history *h)
{
	uint32_t n = atomic_load(&h->n);
	uint64_t number = 0, before_ns;

	assert_true(n < HISTORY); /* else it says nothing about now */
	if (n <= TURNS_TO_DISK || h->at[n - TURNS_TO_DISK].ns < SKEP_NSEC_PER_SEC)
		return 0;
	before_ns = h->at[n - TURNS_TO_DISK].ns - SKEP_NSEC_PER_SEC;
	for (uint32_t i = 0; i < n && h->at[i].ns <= before_ns; i++)
		number = h->at[i].number;
	return number;
}

/* Copies while it is being written, as kill -9 would leave it. */
static void copy(const char *from, const char *to)
{
	char *data;
	size_t n;

	data = tool_read_file(from, &n);
	tool_write_file(to, data, n);
	free(data);
}

static void torn_at_any_moment(void **state)
{
	static const uint64_t paces[] = { 40000000, 1000000 };
	struct history *h = calloc(1, sizeof(*h));
	uint64_t asked_for = 0;

	(void)state;
	assert_non_null(h);
	for (unsigned i = 0; i < 4; i++) {
		struct rig_cfg cfg = { .payload = i < 2 ? RIG_TEXT : RIG_PHASES,
				       .phase_pkts = 5000,
				       .size_min = 60,
				       .size_max = 1514,
				       .lossy = true,
				       .pace_ns = paces[i % 2],
				       .each_turn = note,
				       .arg = h,
				       .plain = i == 3 };
		char part[300], torn[300];
		struct rig *rig;
		struct cap_account a;

		cfg.n_pkts = UINT32_MAX;
		atomic_store(&h->n, 0);
		rig = rig_new(&cfg, NULL);
		(void)snprintf(part, sizeof(part), "%s/rig-q0-000001.pcap%s.part", rig->dir,
			       cfg.plain ? "" : ".zst");
		(void)snprintf(torn, sizeof(torn), "%s/torn", rig->dir);
		rig_start(rig);
		for (unsigned k = 0; k < 6; k++) {
			uint64_t pkts, last, must;

			(void)usleep(200000 + 37000 * k);
			must = must_be_there(h);
			asked_for += must;
			rig_totals(rig, &a);
			copy(part, torn);
			pkts = rig_read_torn(rig, torn, 0, &last);
			if (pkts < a.stored)
				fail_msg("%llu packets were stored, %llu can be read",
					 (unsigned long long)a.stored, (unsigned long long)pkts);
			if (last < must && cap_account_dropped(&a) == 0)
				fail_msg("packet %llu came a second ago, %llu is the last that can be read",
					 (unsigned long long)must, (unsigned long long)last);
		}
		rig_stop(rig);
		rig_wait(rig);
		rig_assert_ok(rig);
		rig_totals(rig, &a);
		assert_true(a.stored > 0);
		rig_free(rig);
	}
	assert_true(asked_for > 0); /* else nothing was a second old */
	free(h);
}

/* One request past the sink; its result. */
static int request(struct cap_sink *sink, void (*prepare)(struct io_uring_sqe *sqe, int fd), int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&sink->ring);
	struct io_uring_cqe *cqe;
	int r;

	prepare(sqe, fd);
	io_uring_sqe_set_data(sqe, NULL);
	r = io_uring_submit_and_wait(&sink->ring, 1);
	if (r < 0)
		return r;
	assert_int_equal(io_uring_peek_cqe(&sink->ring, &cqe), 0);
	r = cqe->res;
	io_uring_cqe_seen(&sink->ring, cqe);
	return r;
}

static uint8_t byte;

static void ask_write(struct io_uring_sqe *sqe, int fd)
{
	io_uring_prep_write(sqe, fd, &byte, 1, 0);
}

static void ask_read(struct io_uring_sqe *sqe, int fd)
{
	io_uring_prep_read(sqe, fd, &byte, 1, 0);
}

static void ask_open(struct io_uring_sqe *sqe, int fd)
{
	io_uring_prep_openat(sqe, fd, "/etc/passwd", O_RDONLY | O_CLOEXEC, 0);
}

static void ask_socket(struct io_uring_sqe *sqe, int fd)
{
	(void)fd;
	io_uring_prep_socket(sqe, AF_INET, SOCK_STREAM, 0, 0);
}

static void ask_unlink(struct io_uring_sqe *sqe, int fd)
{
	io_uring_prep_unlinkat(sqe, fd, "/nonexistent", 0);
}

static void ask_linked(struct io_uring_sqe *sqe, int fd)
{
	io_uring_prep_write(sqe, fd, &byte, 1, 0);
	sqe->flags |= IOSQE_ASYNC;
}

/* Whoever gets hold of the process gets no way around its system call filter with the ring. */
static void the_ring_only_writes(void **state)
{
	static void (*const refused[])(struct io_uring_sqe *sqe, int fd) = { ask_read, ask_open, ask_socket,
									     ask_unlink, ask_linked };
	char path[] = "/tmp/skep-sink-XXXXXX";
	const int fd = mkstemp(path);
	struct cap_pool pool = { 0 };
	struct cap_sink sink = { 0 };

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(cap_pool_init(&pool, 2, -1, NULL), 0);
	assert_int_equal(cap_sink_init(&sink, &pool, &cap_io_kernel, NULL), 0);
	assert_int_equal(cap_sink_enable(&sink), 0);
	if (!sink.restricted) {
		print_message("# this kernel has no IORING_REGISTER_RESTRICTIONS (Linux 5.10)\n");
		skip();
	}
	assert_int_equal(request(&sink, ask_write, fd), 1);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		assert_int_equal(request(&sink, refused[i], fd), -EACCES);
	assert_int_equal(io_uring_register_files(&sink.ring, &fd, 1), -EACCES);
	assert_int_equal(request(&sink, ask_write, fd), 1); /* and it still does its work */
	cap_sink_fini(&sink);
	cap_pool_fini(&pool);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_times_slower),
		cmocka_unit_test(nobody_reads),
		cmocka_unit_test(the_reader_goes_away),
		cmocka_unit_test(torn_at_any_moment),
		cmocka_unit_test(the_ring_only_writes),
	};

	return cmocka_run_group_tests_name("sink", tests, NULL, NULL);
}
