/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves of a link's set of jobs, with the whole chain of programs in the kernel: what a change needs (the
 * look stage, the reduce stage, lists of addresses) is on the link when it needs it and no longer; a filter
 * that is refused leaves the set as it was; 64 jobs of every kind at once get their own frames; a list of
 * addresses is that of its job, also where the slot had another; each commit counts where it is told to.
 *
 * And of the loader process: it does the same for an engine that has no privileges; it has the user and the
 * three capabilities that it should have, and reads files as that user; it ends with its engine.
 */
#include "tests/bpf/chain.h"

#include "bpf/abi/skep_inner.h"
#include "capture/loader.h"
#include "tests/bpf/rig.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define NOBODY 65534

static struct flt_jobset *new_set(const struct chain *chain, bool everything)
{
	struct flt_jobset *set = NULL;
	struct skep_err err = SKEP_ERR_NULL;

	if (flt_jobset_new(&chain->maps, everything, &set, &err))
		fail_msg("%s", err.text);
	return set;
}

static void put(struct flt_jobset *set, const struct flt_job_spec *spec)
{
	struct skep_err err = SKEP_ERR_NULL;

	if (flt_jobset_put(set, spec, &err))
		fail_msg("%s: %s", spec->filter, err.text);
}

static void commit(struct flt_jobset *set, uint32_t generation)
{
	struct skep_err err = SKEP_ERR_NULL;

	if (flt_jobset_commit(set, generation, &err))
		fail_msg("%s", err.text);
}

static bool on_link(const struct chain *chain, uint32_t slot)
{
	uint32_t id = 0;

	return bpf_map_lookup_elem(chain->maps.progs_fd, &slot, &id) == 0 && id != 0;
}

static uint64_t seen_in(const struct chain *chain, uint32_t generation)
{
	static struct skep_generation percpu[SKEP_MAX_CPUS];
	uint64_t sum = 0;

	assert_int_equal(bpf_map_lookup_elem(chain->maps.generations_fd, &generation, percpu), 0);
	for (int i = 0; i < chain->cpus; i++)
		sum += percpu[i].seen;
	return sum;
}

static struct chain_frame udp_from(uint8_t src)
{
	return (struct chain_frame){
		.ip = true, .proto = 17, .src = src, .dst = 2, .sport = 1003, .dport = 53, .ttl = 3, .len = 80
	};
}

static void stages_come_and_go(void **state)
{
	const struct flt_job_spec plain = { .slot = 0, .filter = "udp" },
				  quic = { .slot = 1, .filter = "quic" },
				  inside = { .slot = 2, .filter = "udp", .inside = SKEP_INNER_ALL },
				  sampled = { .slot = 3, .reduction = { .sample_every = 2 } };
	const struct chain_frame f = udp_from(1);

	(void)state;
	for (int everything = 0; everything < 2; everything++) {
		struct chain chain;
		struct flt_jobset *set;

		chain_open(&chain);
		set = new_set(&chain, everything);
		commit(set, 0);
		assert_true(on_link(&chain, SKEP_PROG_CLASSIFY));
		assert_int_equal(chain_run(&chain, &f), 0);
		put(set, &plain);
		commit(set, 1);
		assert_false(on_link(&chain, SKEP_PROG_LOOK) || on_link(&chain, SKEP_PROG_REDUCE));
		assert_int_equal(chain_run(&chain, &f), 1);
		put(set, &quic);
		put(set, &inside);
		commit(set, 2);
		assert_true(on_link(&chain, SKEP_PROG_LOOK) && !on_link(&chain, SKEP_PROG_REDUCE));
		assert_int_equal(chain_run(&chain, &f), 1 | 1 << 2);
		flt_jobset_drop(set, 1);
		put(set, &sampled);
		commit(set, 3);
		assert_true(on_link(&chain, SKEP_PROG_LOOK) && on_link(&chain, SKEP_PROG_REDUCE));
		assert_int_equal(chain_run(&chain, &f), 1 | 1 << 2 | 1 << 3);
		assert_int_equal(chain_run(&chain, &f), 1 | 1 << 2);
		flt_jobset_drop(set, 2);
		flt_jobset_drop(set, 3);
		commit(set, 4);
		assert_false(on_link(&chain, SKEP_PROG_LOOK) || on_link(&chain, SKEP_PROG_REDUCE));
		assert_int_equal(chain_run(&chain, &f), 1);
		set = flt_jobset_free(set);
		/* Whoever had the set is gone; the link goes on as it was. */
		assert_int_equal(chain_run(&chain, &f), 1);
		chain_close(&chain);
	}
}

static void commits_count_where_they_are_told_to(void **state)
{
	const struct flt_job_spec job = { .slot = 5, .filter = "udp" };
	const struct chain_frame f = udp_from(1);
	struct chain chain;
	struct flt_jobset *set;

	(void)state;
	chain_open(&chain);
	set = new_set(&chain, false);
	for (uint32_t g = 0; g < SKEP_GENERATIONS; g++) {
		if (g % 2)
			put(set, &job);
		else
			flt_jobset_drop(set, 5);
		commit(set, g);
		for (uint32_t i = 0; i < g; i++)
			assert_int_equal(chain_run(&chain, &f), g % 2 ? 1 << 5 : 0);
	}
	for (uint32_t g = 0; g < SKEP_GENERATIONS; g++)
		assert_int_equal(seen_in(&chain, g), g);
	set = flt_jobset_free(set);
	chain_close(&chain);
}

static void a_refused_filter_leaves_the_set(void **state)
{
	static const char *const bad[] = { "udp prt 53", "host example.invalid", "net in @/nonexistent/list",
					   "(((" };
	struct flt_job_spec job = { .slot = 8, .filter = "udp" };
	const struct chain_frame f = udp_from(1);
	struct chain chain;
	struct flt_jobset *set;

	(void)state;
	chain_open(&chain);
	set = new_set(&chain, false);
	put(set, &job);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct skep_err err = SKEP_ERR_NULL;

		job.filter = bad[i];
		assert_true(flt_jobset_put(set, &job, &err) > 0);
		assert_true(err.text[0] != '\0');
		commit(set, (uint32_t)i);
		assert_int_equal(chain_run(&chain, &f), 1 << 8);
	}
	set = flt_jobset_free(set);
	chain_close(&chain);
}

static void sixty_four_jobs_of_every_kind(void **state)
{
	static const uint32_t every[] = { 0, 1, 3 };
	uint64_t turns[SKEP_MAX_JOBS] = { 0 }, seed = 11;
	struct chain chain;
	struct flt_jobset *set;

	(void)state;
	chain_pin(0);
	chain_open(&chain);
	set = new_set(&chain, true);
	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++) {
		const struct flt_job_spec job = { .slot = i,
						  .filter = chain_filters[i % chain_n_filters].text,
						  .inside = i % 5 == 4 ? SKEP_INNER_ALL : 0,
						  .reduction = { .sample_every = every[i % 3] } };

		put(set, &job);
	}
	commit(set, 1);
	for (uint32_t n = 0; n < 2000; n++) {
		const struct chain_frame f = chain_random_frame(&seed);
		uint64_t expect = 0;

		for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++)
			if (chain_filters[i % chain_n_filters].wants(&f) &&
			    (every[i % 3] < 2 || turns[i]++ % every[i % 3] == 0))
				expect |= 1ull << i;
		assert_true(chain_run(&chain, &f) == expect);
	}
	set = flt_jobset_free(set);
	chain_close(&chain);
}

/* ---- lists ---- */

static void write_list(const char *path, uint8_t first, uint8_t last, mode_t mode)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	for (unsigned n = first; n <= last; n++)
		fprintf(f, "198.51.100.%u\n", n);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void make_dir(char *dir, size_t n)
{
	(void)snprintf(dir, n, "/tmp/skep-jobset-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
}

/* The slots of lists are used again as those of jobs are. */
static void lists_are_those_of_their_jobs(void **state)
{
	char dir[64], path[96], filter[128];
	struct chain chain;
	struct flt_jobset *set;
	uint8_t first[8] = { 0 };

	(void)state;
	make_dir(dir, sizeof(dir));
	(void)snprintf(path, sizeof(path), "%s/list", dir);
	(void)snprintf(filter, sizeof(filter), "src host in @%s and udp", path);
	chain_open(&chain);
	set = new_set(&chain, true);
	for (uint32_t turn = 0; turn < 40; turn++) {
		const uint32_t slot = turn * 3 % 8;
		const struct flt_job_spec job = { .slot = slot, .filter = filter };
		uint64_t expect = 0;

		/* Eight jobs at most, each with the list that was in the file when it came. */
		if (turn % 5 == 4) {
			flt_jobset_drop(set, slot);
			first[slot] = 0;
		} else {
			first[slot] = (uint8_t)(1 + turn * 7 % 200);
			write_list(path, first[slot], (uint8_t)(first[slot] + 9), 0644);
			put(set, &job);
		}
		commit(set, turn);
		for (unsigned src = 1; src < 256; src += 3) {
			const struct chain_frame f = udp_from((uint8_t)src);

			expect = 0;
			for (uint32_t i = 0; i < 8; i++)
				if (first[i] && src >= first[i] && src <= first[i] + 9u)
					expect |= 1ull << i;
			if (chain_run(&chain, &f) != expect)
				fail_msg("turn %u, source %u: not for %llx", turn, src,
					 (unsigned long long)expect);
		}
	}
	set = flt_jobset_free(set);
	chain_close(&chain);
	(void)unlink(path);
	(void)rmdir(dir);
}

/* ---- the loader ---- */

static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%d", &child) != 1)
		child = 0;
	if (f)
		fclose(f);
	return child;
}

/* A line of /proc/PID/status, without its name. */
static void status_line(pid_t pid, const char *name, char *ret, size_t n)
{
	char path[64], line[256];
	FILE *f;

	ret[0] = '\0';
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			(void)snprintf(ret, n, "%s", line + strlen(name) + 2);
	fclose(f);
}

static void expect_capabilities(pid_t pid, const char *which, uint64_t expect)
{
	char line[256];

	status_line(pid, which, line, sizeof(line));
	assert_true(strtoull(line, NULL, 16) == expect);
}

static struct cap_loader *start_loader(struct flt_jobset **set, bool change_user)
{
	const struct cap_loader_cfg cfg = {
		.sets = set, .n = 1, .change_user = change_user, .uid = NOBODY, .gid = NOBODY
	};
	struct cap_loader *loader = NULL;
	struct skep_err err = SKEP_ERR_NULL;

	assert_int_equal(cap_loader_start(&cfg, &loader, &err), 0);
	return loader;
}

static void the_loader_has_only_what_it_needs(void **state)
{
	const struct flt_job_spec all = { .slot = 0 };
	const uint64_t three = 1ull << CAP_NET_ADMIN | 1ull << CAP_PERFMON | 1ull << CAP_BPF;

	(void)state;
	for (int change_user = 0; change_user < 2; change_user++) {
		const unsigned user = change_user ? NOBODY : 0;
		const struct chain_frame f = udp_from(1);
		struct cap_loader *loader;
		struct flt_jobset *set;
		struct chain chain;
		char line[256];
		unsigned id[4];
		pid_t pid;

		chain_open(&chain);
		set = new_set(&chain, true);
		loader = start_loader(&set, change_user);
		assert_int_equal(cap_loader_put(loader, 0, &all, NULL), 0); /* it has become what it is */
		pid = child_of(getpid());
		assert_true(pid > 0);
		expect_capabilities(pid, "CapEff", three);
		expect_capabilities(pid, "CapPrm", three);
		expect_capabilities(pid, "CapInh", 0);
		expect_capabilities(pid, "CapAmb", 0);
		status_line(pid, "NoNewPrivs", line, sizeof(line));
		assert_string_equal(line, "1\n");
		for (int gid = 0; gid < 2; gid++) {
			status_line(pid, gid ? "Gid" : "Uid", line, sizeof(line));
			assert_int_equal(sscanf(line, "%u %u %u %u", &id[0], &id[1], &id[2], &id[3]), 4);
			for (int i = 0; i < 4; i++)
				assert_int_equal(id[i], user);
		}
		status_line(pid, "Groups", line, sizeof(line));
		if (change_user)
			assert_int_equal(strspn(line, " \t\n"), strlen(line));
		assert_int_equal(cap_loader_commit(loader, 0, 1, NULL), 0);
		assert_int_equal(chain_run(&chain, &f), 1);
		loader = cap_loader_stop(loader);
		assert_int_equal(kill(pid, 0), -1);
		set = flt_jobset_free(set);
		chain_close(&chain);
	}
}

/* Words, hint and column are those of the refusal in the process; and what there is not is not touched. */
static void refusals_travel(void **state)
{
	const struct flt_job_spec bad = { .slot = 1, .filter = "udp prt 5" };
	const struct flt_job_spec good = { .slot = 1, .filter = "udp" };
	const struct chain_frame f = udp_from(1);
	struct skep_err there = SKEP_ERR_NULL, here = SKEP_ERR_NULL;
	struct flt_jobset *set, *own;
	struct cap_loader *loader;
	struct chain chain;

	(void)state;
	chain_open(&chain);
	set = new_set(&chain, true);
	own = new_set(&chain, false);
	loader = start_loader(&set, true);
	assert_int_equal(flt_jobset_put(own, &bad, &here), SKEP_E_USAGE);
	assert_int_equal(cap_loader_put(loader, 0, &bad, &there), SKEP_E_USAGE);
	assert_int_equal(there.code, here.code);
	assert_int_equal(there.column, here.column);
	assert_string_equal(there.text, here.text);
	assert_string_equal(there.hint, here.hint);
	assert_int_equal(cap_loader_commit(loader, 0, SKEP_GENERATIONS, &there), -EINVAL);
	assert_int_equal(cap_loader_commit(loader, 1, 0, &there), -EINVAL);
	assert_int_equal(cap_loader_drop(loader, 0, SKEP_MAX_JOBS, &there), -EINVAL);
	assert_int_equal(cap_loader_drop(loader, UINT32_MAX, 0, &there), -EINVAL);
	assert_int_equal(cap_loader_put(loader, 0, &good, &there), 0);
	assert_int_equal(cap_loader_commit(loader, 0, 1, &there), 0);
	assert_int_equal(chain_run(&chain, &f), 1 << 1);
	assert_int_equal(cap_loader_drop(loader, 0, 1, &there), 0);
	assert_int_equal(cap_loader_commit(loader, 0, 2, &there), 0);
	assert_int_equal(chain_run(&chain, &f), 0);
	loader = cap_loader_stop(loader);
	own = flt_jobset_free(own);
	set = flt_jobset_free(set);
	chain_close(&chain);
}

static void files_are_read_as_that_user(void **state)
{
	char dir[64], open_path[96], secret_path[96], filter[128];
	struct flt_job_spec job = { .slot = 2, .filter = filter };
	const struct chain_frame f = udp_from(5);
	struct skep_err err = SKEP_ERR_NULL;
	struct flt_jobset *set;
	struct cap_loader *loader;
	struct chain chain;

	(void)state;
	make_dir(dir, sizeof(dir));
	(void)snprintf(open_path, sizeof(open_path), "%s/open", dir);
	(void)snprintf(secret_path, sizeof(secret_path), "%s/secret", dir);
	write_list(open_path, 1, 9, 0644);
	write_list(secret_path, 1, 9, 0600);
	chain_open(&chain);
	set = new_set(&chain, true);
	loader = start_loader(&set, true);
	(void)snprintf(filter, sizeof(filter), "src host in @%s", secret_path);
	assert_true(cap_loader_put(loader, 0, &job, &err) != 0);
	assert_non_null(strstr(err.text, "Permission denied"));
	(void)snprintf(filter, sizeof(filter), "src host in @%s", open_path);
	assert_int_equal(cap_loader_put(loader, 0, &job, &err), 0);
	assert_int_equal(cap_loader_commit(loader, 0, 1, &err), 0);
	assert_int_equal(chain_run(&chain, &f), 1 << 2);
	loader = cap_loader_stop(loader);
	set = flt_jobset_free(set);
	chain_close(&chain);
	(void)unlink(open_path);
	(void)unlink(secret_path);
	(void)rmdir(dir);
}

/* An engine that is killed, and one that ends: nothing is left of the loader, whatever it is told to do. */
static void the_loader_ends_with_its_engine(void **state)
{
	const struct timespec nap = { .tv_nsec = 5000000 };
	struct flt_jobset *set;
	struct chain chain;
	pid_t engine, loader_pid = 0;
	int ms = 0;

	(void)state;
	chain_open(&chain);
	set = new_set(&chain, true);
	engine = fork();
	if (engine == 0) {
		(void)start_loader(&set, true);
		for (;;)
			(void)pause();
	}
	assert_true(engine > 0);
	while (!loader_pid && ms++ < 2000) {
		nanosleep(&nap, NULL);
		loader_pid = child_of(engine);
	}
	assert_true(loader_pid > 0);
	(void)kill(loader_pid, SIGTERM);
	(void)kill(loader_pid, SIGINT);
	for (int i = 0; i < 20; i++)
		nanosleep(&nap, NULL);
	assert_int_equal(kill(loader_pid, 0), 0); /* a Ctrl-C on the terminal is the engine's business */
	(void)kill(engine, SIGKILL);
	(void)waitpid(engine, NULL, 0);
	for (ms = 0; kill(loader_pid, 0) == 0 && ms < 2000; ms++) {
		char line[256];

		status_line(loader_pid, "State", line, sizeof(line));
		if (strchr(line, 'Z')) /* whoever inherited it has not looked yet */
			break;
		nanosleep(&nap, NULL);
	}
	assert_true(ms < 2000);
	set = flt_jobset_free(set);
	chain_close(&chain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stages_come_and_go),
		cmocka_unit_test(commits_count_where_they_are_told_to),
		cmocka_unit_test(a_refused_filter_leaves_the_set),
		cmocka_unit_test(sixty_four_jobs_of_every_kind),
		cmocka_unit_test(lists_are_those_of_their_jobs),
		cmocka_unit_test(the_loader_has_only_what_it_needs),
		cmocka_unit_test(refusals_travel),
		cmocka_unit_test(files_are_read_as_that_user),
		cmocka_unit_test(the_loader_ends_with_its_engine),
	};

	if (!rig_enter())
		return 77;
	return cmocka_run_group_tests_name("jobset", tests, NULL, NULL);
}
