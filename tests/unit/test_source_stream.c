/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that a command's pcap stream arrives whole and as it comes, that a command that fails is reported in
 * words, and that nothing of a command is left after close, not even of one that ignores SIGTERM, has
 * children, or whose user was killed with -9.
 */
#include "capture/capwrite.h"
#include "capture/source.h"
#include "tool.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

static char *dir;

static int make_dir(void **state)
{
	uint8_t file[CAP_CAPWRITE_PCAP_HEADER_BYTES + 3 * (CAP_CAPWRITE_PCAP_RECORD_BYTES + 20)] = { 0 };
	char path[4096];

	(void)state;
	dir = tool_make_dir();
	cap_capwrite_pcap_header(file, 262144, 1);
	for (size_t i = 0; i < 3; i++)
		cap_capwrite_pcap_record(file + CAP_CAPWRITE_PCAP_HEADER_BYTES +
						 i * (CAP_CAPWRITE_PCAP_RECORD_BYTES + 20),
					 1700000000000000000 + i, 20, 20);
	assert_true(snprintf(path, sizeof(path), "%s/three.pcap", dir) > 0);
	tool_write_file(path, file, sizeof(file));
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	tool_remove_dir(dir);
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The command, with DIR as the folder of the test. */
static char *command_of(const char *fmt)
{
	char *command = NULL;

	assert_true(asprintf(&command, "cd '%s' && %s", dir, fmt) > 0);
	return command;
}

/* Receives until something else than frames or "none now" comes, or n frames are there. */
static int receive(struct cap_tap *tap, uint32_t n, uint32_t *ret_n)
{
	static struct cap_batch batch;
	const uint64_t end = now_ms() + 10000;

	*ret_n = 0;
	while (*ret_n < n && now_ms() < end) {
		const int r = tap->ops->receive(tap->sources[0], &batch);

		if (r < 0)
			return r;
		*ret_n += (uint32_t)r;
		if (r > 0)
			tap->ops->release(tap->sources[0], &batch);
		else
			tap->ops->wait(tap->sources[0], 50000000);
	}
	return 0;
}

static void a_command_is_read_to_its_end(void **state)
{
	_skep_free_ char *command = command_of("cat three.pcap; sleep 0.2");
	const struct cap_source_cfg cfg = { .stream_command = command };
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL;
	uint32_t n;

	(void)state;
	if (cap_source_stream.open(&cfg, &tap, &err))
		fail_msg("%s", err.text);
	assert_int_equal(tap->linktype, 1);
	assert_string_equal(tap->link, "stream");
	assert_int_equal(receive(tap, UINT32_MAX, &n), -ENODATA);
	assert_int_equal(n, 3);
	assert_int_equal(cap_source_stream.check(tap, &err), 0);
	cap_source_stream.close(tap);
}

static void frames_come_while_it_runs(void **state)
{
	_skep_free_ char *command = command_of("cat three.pcap; exec sleep 1000");
	const struct cap_source_cfg cfg = { .stream_command = command };
	struct cap_tap *tap = NULL;
	static struct cap_batch batch;
	uint64_t t;
	uint32_t n;

	(void)state;
	assert_int_equal(cap_source_stream.open(&cfg, &tap, NULL), 0);
	assert_int_equal(receive(tap, 3, &n), 0);
	assert_int_equal(n, 3);
	t = now_ms();
	assert_int_equal(tap->ops->receive(tap->sources[0], &batch), 0);
	tap->ops->wait(tap->sources[0], 20000000);
	assert_in_range(now_ms() - t, 15, 5000);
	assert_int_equal(cap_source_stream.check(tap, NULL), 0);
	cap_source_stream.stop(tap);
	assert_int_equal(tap->ops->receive(tap->sources[0], &batch), -ENODATA);
	t = now_ms();
	cap_source_stream.close(tap);
	assert_in_range(now_ms() - t, 0, 1500);
}

static void a_failing_command_is_reported(void **state)
{
	static const struct {
		const char *command;
		bool opens;
		const char *says;
	} cases[] = {
		{ "cat three.pcap; exit 3", true, "exit status 3" },
		{ "cat three.pcap; kill -9 $$", true, "signal 9" },
		{ "no-such-program-anywhere", false, "did not find it" },
		{ "exit 7", false, "exit status 7" },
		{ "echo this is not pcap", false, "neither pcap nor pcapng" },
		{ "head -c 70 three.pcap; exit 0", true, "cut off" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_skep_free_ char *command = command_of(cases[i].command);
		const struct cap_source_cfg cfg = { .stream_command = command };
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap = NULL;
		uint32_t n;
		int r = cap_source_stream.open(&cfg, &tap, &err);

		assert_int_equal(r == 0, cases[i].opens);
		if (r == 0) {
			assert_true(receive(tap, UINT32_MAX, &n) < 0);
			assert_int_equal(n, i == 5 ? 1 : 3);
			r = cap_source_stream.check(tap, &err);
			cap_source_stream.close(tap);
		}
		assert_true(r > 0);
		if (!strstr(err.text, cases[i].says))
			fail_msg("\"%s\": \"%s\" does not say \"%s\"", cases[i].command, err.text,
				 cases[i].says);
	}
}

/*
 * Each command opens a FIFO for writing before it says anything, and whatever it starts inherits that: the
 * FIFO hangs up when the last of them is gone, and not before. (Looking for a mark in /proc would miss a
 * process between its fork and its exec.)
 */
static bool all_gone(int fifo, int timeout_ms)
{
	struct pollfd pfd = { .fd = fifo, .events = POLLIN };

	assert_true(poll(&pfd, 1, timeout_ms) >= 0);
	return pfd.revents & POLLHUP;
}

static void nothing_is_left(void **state)
{
	static const char *const commands[] = {
		"exec 9>fifo; cat three.pcap; sleep 1000 & sleep 1000 & wait",
		"exec 9>fifo; trap '' TERM; cat three.pcap; sh -c 'while :; do sleep 0.2; done'",
		"exec 9>fifo; cat three.pcap; (sleep 1000 &) ; exit 0",
	};
	char path[4096];

	(void)state;
	assert_true(snprintf(path, sizeof(path), "%s/fifo", dir) > 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	for (size_t i = 0; i < 2 * ARRAY_LEN(commands); i++) {
		const int fifo = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		_skep_free_ char *command = command_of(commands[i / 2]);
		const struct cap_source_cfg cfg = { .stream_command = command };
		struct cap_tap *tap = NULL;
		uint32_t n;
		int status;
		pid_t pid;

		assert_true(fifo >= 0);
		if (i % 2 == 0) {
			assert_int_equal(cap_source_stream.open(&cfg, &tap, NULL), 0);
			assert_int_equal(receive(tap, 3, &n), 0);
			assert_false(all_gone(fifo, 0));
			cap_source_stream.close(tap);
			assert_true(all_gone(fifo, 0));
			close(fifo);
			continue;
		}
		/* The same, but whoever opened it is killed. */
		pid = fork();
		if (pid == 0) {
			if (cap_source_stream.open(&cfg, &tap, NULL) == 0)
				kill(getpid(), SIGKILL);
			_exit(1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_true(all_gone(fifo, 20000));
		close(fifo);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_is_read_to_its_end),
		cmocka_unit_test(frames_come_while_it_runs),
		cmocka_unit_test(a_failing_command_is_reported),
		cmocka_unit_test(nothing_is_left),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
