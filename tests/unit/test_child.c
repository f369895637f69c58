/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves what a stream command gets and what is left of it: the shell's words, our end of its stdout and
 * nothing else of ours, signals as a shell expects them; its end is told once it is there; and after stop, or
 * our own death, there is none of its processes, not of one that ignores signals or has children. Each of its
 * processes holds a FIFO open, so that this is known and not guessed.
 */
#include "tool.h"
#include "unit.h"

#include "capture/child.h"
#include "capture/mono.h"

#include <poll.h>
#include <signal.h>

static char *dir;

static int make_dir(void **state)
{
	(void)state;
	dir = tool_make_dir();
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	tool_remove_dir(dir);
	return 0;
}

static struct cap_child run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static struct cap_child run(const char *fmt, ...)
{
	struct cap_child k = CAP_CHILD_NULL;
	struct skep_err err = SKEP_ERR_NULL;
	char command[5000];
	va_list ap;

	va_start(ap, fmt);
	assert_true(vsnprintf(command, sizeof(command), fmt, ap) < (int)sizeof(command));
	va_end(ap);
	if (cap_child_run(command, &k, &err))
		fail_msg("%s", err.text);
	return k;
}

/* Everything that it writes until it closes stdout, as a text. */
static char *output(const struct cap_child *k)
{
	char *text = calloc(1, 1 << 16);
	size_t n = 0;
	ssize_t got;

	while ((got = read(k->out, text + n, (1 << 16) - 1 - n)) > 0)
		n += (size_t)got;
	assert_int_equal(got, 0);
	return text;
}

static void its_end_is_told(void **state)
{
	static const struct {
		const char *command, *says;
		int exit, signal;
	} cases[] = {
		{ "echo one; echo 'two  three'", "one\ntwo  three\n", 0, 0 },
		{ "printf x; exit 3", "x", 3, 0 },
		{ "kill -9 $$", "", 0, SIGKILL },
		{ "kill -15 $$", "", 0, SIGTERM },
		{ "cat", "", 0, 0 }, /* stdin is empty, not ours */
		{ "exec 2>&-; no-such-program-anywhere", "", 127, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cap_child k = run("%s", cases[i].command);
		_skep_free_ char *text = output(&k);

		assert_string_equal(text, cases[i].says);
		assert_true(cap_child_ended(&k, 20000));
		assert_true(cap_child_ended(&k, 0)); /* remembered */
		if (cases[i].signal)
			assert_true(WIFSIGNALED(k.status) && WTERMSIG(k.status) == cases[i].signal);
		else
			assert_true(WIFEXITED(k.status) && WEXITSTATUS(k.status) == cases[i].exit);
		cap_child_stop(&k);
		cap_child_stop(&k); /* twice is harmless */
		assert_int_equal(k.pid, -1);
	}
}

static void waiting_for_it_ends(void **state)
{
	struct cap_child k = run("exec sleep 1000");
	const uint64_t from_ns = cap_mono_ns();

	(void)state;
	assert_false(cap_child_ended(&k, 0));
	assert_false(cap_child_ended(&k, 50));
	assert_true(cap_mono_ns() - from_ns >= 50 * SKEP_NSEC_PER_MSEC);
	cap_child_stop(&k);
	cap_child_stop(&(struct cap_child)CAP_CHILD_NULL);
}

/* Whatever we ignore, hold or block is not the command's business. */
static void it_gets_nothing_of_ours(void **state)
{
	const int leak = open("/dev/zero", O_RDONLY); /* not close-on-exec, on purpose */
	sigset_t all, old;
	struct cap_child k;
	_skep_free_ char *text = NULL;

	(void)state;
	assert_true(leak >= 0);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_IGN);
	sigfillset(&all);
	assert_int_equal(sigprocmask(SIG_BLOCK, &all, &old), 0);
	k = run("ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0; "
		"grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2; exit 4");
	text = output(&k);
	/* 3 is the folder that ls itself reads */
	assert_string_equal(text, "0 1 2 3 /dev/null\n0000000000000000\n0000000000000000\n");
	assert_true(cap_child_ended(&k, 20000));
	assert_int_equal(WEXITSTATUS(k.status), 4);
	(void)signal(SIGCHLD, SIG_DFL);
	cap_child_stop(&k);
	assert_int_equal(sigprocmask(SIG_SETMASK, &old, NULL), 0);
	close(leak);
}

/* True when no process has the FIFO open for writing any more. */
static bool all_gone(int fifo, int timeout_ms)
{
	struct pollfd pfd = { .fd = fifo, .events = POLLIN };

	assert_true(poll(&pfd, 1, timeout_ms) >= 0);
	return pfd.revents & POLLHUP;
}

static void nothing_is_left(void **state)
{
	static const struct {
		const char *command;
		unsigned at_least_ms; /* the grace of two seconds */
	} cases[] = {
		{ "echo; exec sleep 1000", 0 },
		{ "sleep 1000 & sleep 1000 & echo; wait", 0 },
		{ "(sleep 1000 &); echo; exit 0", 0 },
		{ "sh -c 'sh -c \"sleep 1000 & wait\" & wait' & echo; exit 1", 0 },
		{ "trap '' TERM INT HUP; echo; while :; do sleep 0.2; done", 2000 },
		{ "trap 'exit 0' TERM; echo; while :; do sleep 0.05; done", 0 },
		{ "echo; kill -STOP $$; sleep 1000", 0 }, /* stopped, it takes no SIGTERM */
	};
	char path[4200];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const int fifo = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		struct cap_child k = run("exec 9>'%s'; %s", path, cases[i].command);
		uint64_t from_ns;
		char byte;

		assert_int_equal(read(k.out, &byte, 1), 1); /* it runs */
		assert_false(all_gone(fifo, 0));
		from_ns = cap_mono_ns();
		cap_child_stop(&k);
		assert_true(all_gone(fifo, 0));
		assert_true(cap_mono_ns() - from_ns >= cases[i].at_least_ms * SKEP_NSEC_PER_MSEC);
		close(fifo);
	}
	assert_int_equal(unlink(path), 0);
}

static void our_death_ends_it(void **state)
{
	char path[4200];
	int fifo, status;
	pid_t pid;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	fifo = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	pid = fork();
	if (pid == 0) {
		struct cap_child k = run("exec 9>'%s'; echo; sleep 1000 & wait", path);
		char byte;

		if (read(k.out, &byte, 1) == 1)
			(void)kill(getpid(), SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(all_gone(fifo, 20000));
	close(fifo);
	assert_int_equal(unlink(path), 0);
}

/* More than the pipe holds: the command waits, and all of it arrives. */
static void large_output(void **state)
{
	struct cap_child k = run("head -c 5000000 /dev/zero");
	static uint8_t buf[65536];
	uint64_t sum = 0;
	ssize_t n;

	(void)state;
	assert_false(cap_child_ended(&k, 50));
	while ((n = read(k.out, buf, sizeof(buf))) > 0)
		sum += (uint64_t)n;
	assert_int_equal(sum, 5000000);
	assert_true(cap_child_ended(&k, 20000));
	cap_child_stop(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_end_is_told),	   cmocka_unit_test(waiting_for_it_ends),
		cmocka_unit_test(it_gets_nothing_of_ours), cmocka_unit_test(nothing_is_left),
		cmocka_unit_test(our_death_ends_it),	   cmocka_unit_test(large_output),
	};

	return cmocka_run_group_tests_name("child", tests, make_dir, remove_dir);
}
