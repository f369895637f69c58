/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, by really ending engines in every way on a real link: the offload that was changed is as before
 * after a normal end, SIGSEGV, SIGTERM and SIGKILL of the engine; after SIGKILL of engine and guard the next
 * start puts it back; a live engine's link is respected; what somebody else changed is left alone; a state
 * file of another namespace is not touched.
 */
#include "capture/ethtool.h"
#include "capture/guard.h"

#include "netns.h"
#include "tool.h"

#include <net/if.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#define FEATURE "rx-gro"

static bool in_netns;
static char *dir;

static bool feature_is_on(void)
{
	const char *feature = FEATURE;
	struct cap_ethtool_feature f;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(cap_ethtool_features(fd, "vb", &feature, 1, &f), 0);
	assert_true(f.known && !f.fixed);
	close(fd);
	return f.active;
}

static int files(void)
{
	char *out = NULL;
	int n;

	assert_int_equal(tool_run(&out, NULL, "ls -A %s | wc -l", dir), 0);
	n = (int)strtol(out, NULL, 10);
	free(out);
	return n;
}

static struct cap_guard *start(void)
{
	struct cap_guard_cfg cfg = { .state_dir = dir };
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_guard *g = NULL;
	int r = cap_guard_start(&cfg, &g, &err);

	if (r)
		print_message("# %s\n", err.text);
	assert_int_equal(r, 0);
	return g;
}

/* Up to two seconds for a guard to do its work. */
static bool restored(void)
{
	for (int i = 0; i < 200; i++) {
		if (!feature_is_on() && files() == 0)
			return true;
		usleep(10000);
	}
	return false;
}

/* An engine in a process of its own: switches the offload, says so, then waits to be ended. *ret_guard: the
 * guard's pid. */
static pid_t engine(pid_t *ret_guard)
{
	char byte = 0, *out = NULL;
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct cap_guard_cfg cfg = { .state_dir = dir };
		struct cap_guard *g = NULL;

		(void)signal(SIGSEGV, SIG_DFL);
		(void)signal(SIGTERM, SIG_DFL);
		close(ready[0]);
		if (cap_guard_start(&cfg, &g, NULL) == 0 &&
		    cap_guard_offload(g, "vb", FEATURE, true, NULL) == 0)
			(void)!write(ready[1], "x", 1);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	assert_true(feature_is_on());
	assert_int_equal(files(), 1);
	assert_int_equal(tool_run(&out, NULL, "cat /proc/%d/task/%d/children", (int)pid, (int)pid), 0);
	*ret_guard = (pid_t)strtol(out, NULL, 10);
	assert_true(*ret_guard > 1);
	free(out);
	return pid;
}

static void need_netns(void)
{
	if (!in_netns)
		skip();
	assert_false(feature_is_on());
	assert_int_equal(files(), 0);
}

static void normal_end(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_guard *g;

	(void)state;
	need_netns();
	g = start();
	assert_int_equal(cap_guard_offload(g, "vb", FEATURE, false, &err), 0); /* is so already */
	assert_int_equal(cap_guard_offload(g, "vb", FEATURE, true, &err), 0);
	assert_true(feature_is_on());
	assert_int_equal(files(), 1);
	assert_int_equal(cap_guard_end(&g, &err), 0);
	assert_null(g);
	assert_false(feature_is_on());
	assert_int_equal(files(), 0);
	assert_int_equal(cap_guard_end(&g, &err), 0);
}

static void refusals(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_guard *g;

	(void)state;
	need_netns();
	g = start();
	assert_int_equal(cap_guard_offload(g, "nothere", FEATURE, true, &err), SKEP_E_NOT_FOUND);
	assert_int_equal(cap_guard_offload(g, "vb", "rx-nonsense", true, &err), SKEP_E_UNSUPPORTED);
	assert_int_equal(cap_guard_offload(g, "vb", "rx-lro", true, &err),
			 SKEP_E_UNSUPPORTED); /* fixed off on veth */
	assert_non_null(strstr(err.text, "rx-lro"));
	assert_int_equal(cap_guard_end(&g, &err), 0);
	assert_int_equal(files(), 0);
}

static void ends_by(int how)
{
	pid_t guard, pid;

	need_netns();
	pid = engine(&guard);
	assert_int_equal(kill(pid, how), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(restored());
}

static void sigsegv(void **state)
{
	(void)state;
	ends_by(SIGSEGV);
}

static void sigterm(void **state)
{
	(void)state;
	ends_by(SIGTERM);
}

static void sigkill(void **state)
{
	(void)state;
	ends_by(SIGKILL);
}

static void guard_ignores_sigterm(void **state)
{
	pid_t guard, pid;

	(void)state;
	need_netns();
	pid = engine(&guard);
	assert_int_equal(kill(guard, SIGINT), 0);
	assert_int_equal(kill(guard, SIGTERM), 0);
	usleep(50000);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(restored());
}

static void remember(void *arg, const char *sentence)
{
	(void)snprintf(arg, 300, "%s", sentence);
}

/* Kills the guard first, so that it can do nothing, then the engine. */
static void kill_both(void)
{
	pid_t guard, pid = engine(&guard);

	assert_int_equal(kill(guard, SIGKILL), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	usleep(50000);
	assert_true(feature_is_on());
	assert_int_equal(files(), 1);
}

static void everything_killed(void **state)
{
	char said[300] = "", *path = NULL;
	struct cap_guard_cfg cfg = { .state_dir = dir, .say = remember, .say_arg = said };
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_guard *g = NULL;

	(void)state;
	need_netns();
	kill_both();
	/* A file of another namespace, of an engine as dead: not ours to touch. */
	assert_true(asprintf(&path, "%s/link-1-vb.json", dir) > 0);
	assert_int_equal(
		tool_run(NULL, NULL,
			 "sed 's/\"netns\": [0-9]*/\"netns\": 1/' %s/link-*-vb.json > %s.x && mv %s.x %s",
			 dir, path, path, path),
		0);
	assert_int_equal(cap_guard_start(&cfg, &g, &err), 0);
	assert_false(feature_is_on());
	assert_non_null(strstr(said, "link vb"));
	assert_int_equal(files(), 1);
	assert_int_equal(cap_guard_end(&g, &err), 0);
	assert_int_equal(unlink(path), 0);
	free(path);
}

static void another_link_of_that_name(void **state)
{
	struct cap_guard *g;

	(void)state;
	need_netns();
	kill_both();
	assert_int_equal(netns_run("ip link del vb"), 0);
	assert_int_equal(netns_run("ip link add vb type veth peer name va"), 0);
	assert_int_equal(netns_run("ethtool -K vb gro on"), 0);
	g = start();
	assert_true(feature_is_on()); /* the administrator's */
	assert_int_equal(files(), 0);
	assert_int_equal(cap_guard_end(&g, NULL), 0);
	assert_int_equal(netns_run("ethtool -K vb gro off"), 0);
}

static void changed_by_somebody_else(void **state)
{
	struct cap_guard *g;

	(void)state;
	need_netns();
	g = start();
	assert_int_equal(cap_guard_offload(g, "vb", FEATURE, true, NULL), 0);
	assert_int_equal(netns_run("ethtool -K vb gro off"), 0);
	assert_int_equal(cap_guard_end(&g, NULL), 0);
	assert_false(feature_is_on());
	assert_int_equal(files(), 0);
}

static void live_engine_is_respected(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_guard *g;
	pid_t guard, pid;
	char text[32];

	(void)state;
	need_netns();
	pid = engine(&guard);
	g = start();
	assert_true(feature_is_on());
	assert_int_equal(cap_guard_claim(g, "vb", &err), SKEP_E_BUSY);
	(void)snprintf(text, sizeof(text), "pid %d", (int)pid);
	assert_non_null(strstr(err.text, text));
	assert_int_equal(cap_guard_claim(g, "va", &err), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(cap_guard_claim(g, "vb", &err),
			 0); /* whoever is quicker, we or its guard: it was put back */
	assert_false(feature_is_on());
	assert_int_equal(cap_guard_end(&g, &err), 0);
	assert_true(restored());
}

static void broken_state_file(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_guard *g;
	char *path = NULL;
	struct stat ns;

	(void)state;
	need_netns();
	assert_int_equal(stat("/proc/self/ns/net", &ns), 0);
	assert_true(asprintf(&path, "%s/link-%llu-vb.json", dir, (unsigned long long)ns.st_ino) > 0);
	tool_write_file(path, "{\"version\": 1}", 14);
	g = start();
	assert_int_equal(cap_guard_claim(g, "vb", &err), SKEP_E_BAD_DATA);
	assert_true(err.hint[0] != '\0');
	assert_int_equal(cap_guard_end(&g, &err), 0);
	assert_int_equal(unlink(path), 0);
	free(path);
}

static void no_state_directory(void **state)
{
	struct cap_guard_cfg cfg = { .state_dir = "/proc/no/such" };
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_guard *g = NULL;

	(void)state;
	assert_true(cap_guard_start(&cfg, &g, &err) < 0);
	assert_null(g);
	assert_non_null(strstr(err.text, "/proc/no/such"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(normal_end),
		cmocka_unit_test(refusals),
		cmocka_unit_test(sigsegv),
		cmocka_unit_test(sigterm),
		cmocka_unit_test(sigkill),
		cmocka_unit_test(guard_ignores_sigterm),
		cmocka_unit_test(everything_killed),
		cmocka_unit_test(another_link_of_that_name),
		cmocka_unit_test(changed_by_somebody_else),
		cmocka_unit_test(live_engine_is_respected),
		cmocka_unit_test(broken_state_file),
		cmocka_unit_test(no_state_directory),
	};
	int r;

	in_netns = netns_enter();
	dir = tool_make_dir();
	r = cmocka_run_group_tests_name("guard", tests, NULL, NULL);
	tool_remove_dir(dir);
	return r;
}
