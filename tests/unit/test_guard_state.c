/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that a state file comes back as it was written, that nothing else is believed (torn at every byte,
 * hostile, a symbolic link), that an engine is told from another process with its pid, and that undoing
 * touches only what is still as the engine left it, on the very link. (How a guard uses this: test_guard.c.)
 */
#include "capture/ethtool.h"
#include "capture/guard_state.h"

#include "netns.h"
#include "tool.h"

#include <net/if.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

static char *dir;
static int fd;
static bool in_netns;

static int make_dir(void **state)
{
	(void)state;
	in_netns = netns_enter();
	dir = tool_make_dir();
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0;
}

static int remove_dir(void **state)
{
	(void)state;
	close(fd);
	tool_remove_dir(dir);
	return 0;
}

static struct cap_guard_state example(void)
{
	return (struct cap_guard_state){
		.engine = { .pid = 4711,
			    .start = 1234567890123,
			    .boot = "6a5b0f6e-0d0c-4f3e-9b3c-000000000001" },
		.netns = 4026531840,
		.link = "eth0",
		.ifindex = 7,
		.n = 3,
		.changes = { { "rx-gro", true, false },
			     { "rx-lro", false, true },
			     { "rx-vlan-hw-parse", true, true } },
	};
}

static void engines_are_told_apart(void **state)
{
	struct cap_guard_engine me, other;
	int pipes[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(cap_guard_engine_of(getpid(), &me), 0);
	assert_int_equal(me.pid, getpid());
	assert_int_equal(strlen(me.boot), 36);
	assert_true(cap_guard_engine_alive(&me));
	other = me;
	other.start++; /* the pid was given to a later process */
	assert_false(cap_guard_engine_alive(&other));
	other = me;
	other.boot[0] ^= 1; /* of before the last start of the machine */
	assert_false(cap_guard_engine_alive(&other));
	assert_int_equal(cap_guard_engine_of(0x7fffffff, &other), -ESRCH);

	/* A process may call itself anything. */
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)prctl(PR_SET_NAME, "a) Z 1 (b\n");
		(void)!write(pipes[1], "r", 1);
		(void)pause();
	}
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(cap_guard_engine_of(pid, &other), 0);
	assert_true(other.start >= me.start && cap_guard_engine_alive(&other));
	/* Dead, though not reaped. */
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	assert_false(cap_guard_engine_alive(&other));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(pipes[0]);
	close(pipes[1]);
}

static void it_comes_back_as_it_was(void **state)
{
	struct cap_guard_state s = example(), back;
	struct skep_err err = SKEP_ERR_NULL;
	char path[100];

	(void)state;
	cap_guard_state_path(&s, path, sizeof(path));
	assert_string_equal(path, "link-4026531840-eth0.json");
	assert_int_equal(cap_guard_state_read(fd, path, &back, &err), -ENOENT);
	for (uint32_t n = 0; n <= 3; n++) { /* each replaces the one before */
		s.n = n;
		memset(s.changes + n, 0, sizeof(s.changes[0]) * (CAP_GUARD_CHANGES - n));
		for (uint32_t i = 0; i < n; i++)
			s.changes[i] = example().changes[i];
		assert_int_equal(cap_guard_state_write(fd, &s, &err), 0);
		memset(&back, 0x5a, sizeof(back));
		assert_int_equal(cap_guard_state_read(fd, path, &back, &err), 0);
		assert_true(back.engine.pid == s.engine.pid && back.engine.start == s.engine.start &&
			    back.netns == s.netns && back.ifindex == s.ifindex && back.n == n);
		assert_string_equal(back.engine.boot, s.engine.boot);
		assert_string_equal(back.link, s.link);
		for (uint32_t i = 0; i < n; i++) {
			assert_string_equal(back.changes[i].feature, s.changes[i].feature);
			assert_true(back.changes[i].was == s.changes[i].was &&
				    back.changes[i].set == s.changes[i].set);
		}
	}
	assert_int_equal(cap_guard_state_write(-1, &s, &err), -EBADF);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(unlinkat(fd, path, 0), 0);
}

static void read_is(const char *text, size_t n, int want)
{
	struct cap_guard_state back, before;
	struct skep_err err = SKEP_ERR_NULL;
	char path[4200];
	int r;

	(void)snprintf(path, sizeof(path), "%s/s.json", dir);
	tool_write_file(path, text, n);
	memset(&back, 0x5a, sizeof(back));
	before = back;
	r = cap_guard_state_read(fd, "s.json", &back, &err);
	if (r != want)
		fail_msg("%d, not %d: %.*s", r, want, (int)n, text);
	if (r > 0) {
		assert_memory_equal(&back, &before, sizeof(back));
		assert_non_null(strstr(err.text, "s.json"));
		assert_non_null(strstr(err.hint, "ethtool -k"));
	}
}

static void nothing_else_is_believed(void **state)
{
#define STATE(pid, link, changes)                                                                \
	"{\"version\":1,\"pid\":" pid ",\"start\":5,\"boot\":\"b\",\"netns\":6,\"link\":\"" link \
	"\",\"ifindex\":7,\"offloads\":[" changes "]}"
#define CHANGE "{\"feature\":\"rx-gro\",\"was\":true,\"set\":false}"
	static const char good[] = STATE("4711", "eth0", CHANGE);
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		STATE("0", "eth0", CHANGE),
		STATE("-1", "eth0", CHANGE),
		STATE("\"1\"", "eth0", CHANGE),
		STATE("4711", "../../eth0", CHANGE),
		STATE("4711", "a-name-of-sixteen", CHANGE),
		STATE("4711", "eth0", "1"),
		STATE("4711", "eth0", "{\"feature\":\"rx-gro\"}"),
		STATE("4711", "eth0", "{\"feature\":1,\"was\":true,\"set\":false}"),
		STATE("4711", "eth0",
		      "{\"feature\":\"a-feature-of-thirty-two-letters-x\",\"was\":true,\"set\":false}"),
		STATE("4711", "eth0",
		      CHANGE "," CHANGE "," CHANGE "," CHANGE "," CHANGE "," CHANGE "," CHANGE "," CHANGE
			     "," CHANGE),
		"{\"version\":2,\"pid\":4711,\"start\":5,\"boot\":\"b\",\"netns\":6,\"link\":\"eth0\","
		"\"ifindex\":7,"
		"\"offloads\":[]}",
	};
	struct cap_guard_state back;
	struct skep_err err;
	char *large;

	(void)state;
	read_is(good, strlen(good), 0);
	for (size_t n = 1; n < strlen(good); n++)
		read_is(good, n, SKEP_E_BAD_DATA);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		read_is(bad[i], strlen(bad[i]), SKEP_E_BAD_DATA);
	large = malloc(100000); /* longer than any of ours */
	memset(large, ' ', 100000);
	memcpy(large + 100000 - strlen(good), good, strlen(good));
	read_is(large, 100000, SKEP_E_BAD_DATA);
	free(large);
	assert_int_equal(symlinkat("s.json", fd, "link.json"), 0);
	assert_int_equal(cap_guard_state_read(fd, "link.json", &back, &err), -ELOOP);
}

static bool active(const char *feature)
{
	const int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct cap_ethtool_feature f;

	assert_int_equal(cap_ethtool_features(s, "vb", &feature, 1, &f), 0);
	close(s);
	return f.active;
}

static void undoes_what_is_still_so(void **state)
{
	const int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct cap_guard_state st = { .n = 1 };
	char said[300] = "";

	(void)state;
	if (!in_netns)
		skip();
	(void)snprintf(st.link, sizeof(st.link), "vb");
	st.ifindex = (int)if_nametoindex("vb");
	assert_int_equal(netns_run("ethtool -K vb gro on"), 0);
	st.changes[0] = (struct cap_guard_change){ "rx-gro", false, true };
	st.ifindex++; /* another link that has the name now */
	assert_int_equal(cap_guard_state_undo(s, &st, said, sizeof(said)), 0);
	assert_true(active("rx-gro"));
	st.ifindex--;
	assert_int_equal(cap_guard_state_undo(s, &st, said, sizeof(said)), 0);
	assert_false(active("rx-gro"));
	assert_int_equal(cap_guard_state_undo(s, &st, said, sizeof(said)), 0); /* done already */
	assert_string_equal(said, "");
	/* One that cannot be undone does not keep the others from it, and is named. */
	assert_int_equal(netns_run("ethtool -K vb gro on"), 0);
	st.changes[1] = (struct cap_guard_change){ "no-such-feature", true, false };
	st.n = 2;
	assert_true(cap_guard_state_undo(s, &st, said, sizeof(said)) < 0);
	assert_non_null(strstr(said, "link vb: no-such-feature could not be put back"));
	assert_false(active("rx-gro"));
	close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(engines_are_told_apart),
		cmocka_unit_test(it_comes_back_as_it_was),
		cmocka_unit_test(nothing_else_is_believed),
		cmocka_unit_test(undoes_what_is_still_so),
	};

	return cmocka_run_group_tests_name("guard_state", tests, make_dir, remove_dir);
}
