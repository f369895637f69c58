/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: 64 different jobs (and jobs that share a filter) in one program say for every packet exactly which
 * of them libpcap would take it for; a frame for nobody is counted once and ends with the action asked for,
 * any other goes on to the program that delivers; and a program for 64 jobs is accepted within the time that
 * adding a job may take, several times over.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* Both libraries have a struct bpf_insn; libpcap steps back when told so. */
#define PCAP_DONT_INCLUDE_PCAP_BPF_H

#include "bpf/abi/skep_abi.h"
#include "capture/filter/classifier.h"
#include "capture/filter/front.h"
#include "capture/filter/merge_terms.h"
#include "tests/bpf/flt_exprs.h"
#include "tests/bpf/flt_packets.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The verdict of the program that stands for delivery. */
#define DELIVERED 7u
#define JOBS 64u

static const char *const filters[] = { "tcp",
				       "udp",
				       "ip6",
				       "arp",
				       "tcp port 80",
				       "udp port 53",
				       "host 192.168.1.1",
				       "net 10.0.0.0/8",
				       "vlan",
				       "icmp or icmp6",
				       "tcp[tcpflags] & tcp-syn != 0",
				       "portrange 1-1023",
				       "not ip",
				       "greater 200",
				       "less 64",
				       "ether multicast",
				       "ip6 protochain 17",
				       "dns",
				       "tls",
				       "mpls",
				       "ip[6:2] & 0x1fff != 0",
				       "src net 192.168.0.0/16",
				       "sctp",
				       "tcp" };

COLLECTED_PACKETS(1500, 77)

struct bench {
	struct bpf_program *cbpf[JOBS];
	struct flt_code code[JOBS];
	char exprs[JOBS][200];
	struct flt_job jobs[JOBS];
	struct flt_surroundings around;
	int fd, deliver_fd;
};

static bool can_compile(const char *expr)
{
	struct bpf_program *prog = flt_front_new();
	bool can = flt_front_compile(expr, 1, 65535, prog, NULL) == 0;

	flt_front_free(prog);
	free(prog);
	return can;
}

static void compile(struct bench *b, uint32_t i, const char *expr)
{
	struct skep_err err = SKEP_ERR_NULL;
	const struct flt_cbpf *insns;
	uint32_t n;

	(void)snprintf(b->exprs[i], sizeof(b->exprs[i]), "%s", expr);
	b->cbpf[i] = flt_front_new();
	assert_non_null(b->cbpf[i]);
	assert_int_equal(flt_front_compile(expr, 1, 65535, b->cbpf[i], &err), 0);
	insns = flt_front_insns(b->cbpf[i], &n);
	assert_int_equal(flt_translate(insns, n, FLT_LENGTH_FRAME, &b->code[i], &err), 0);
	b->jobs[i] = (struct flt_job){ .slot = i, .code = &b->code[i] };
}

static int per_cpu_map(uint32_t value_size, uint32_t entries)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "test", 4, value_size, entries, NULL);

	assert_true(fd >= 0);
	return fd;
}

static void open_bench(struct bench *b)
{
	static const struct flt_cbpf delivered = { .code = 0x06, .k = DELIVERED };
	struct flt_code code;
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t slot = SKEP_PROG_DELIVER;

	*b = (struct bench){ .fd = -1 };
	b->around = (struct flt_surroundings){
		.scratch_fd = per_cpu_map(sizeof(struct skep_scratch), 1),
		.generations_fd = per_cpu_map(sizeof(struct skep_generation), SKEP_GENERATIONS),
		.generation = 1,
		.counters_fd = per_cpu_map(sizeof(struct skep_xdp_counters), SKEP_MAX_QUEUES),
		.rejected_offset = offsetof(struct skep_xdp_counters, rejected),
		.rejected_action = XDP_DROP
	};
	b->around.progs_fd = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "test", 4, 4, SKEP_PROG_N, NULL);
	assert_true(b->around.progs_fd >= 0);
	assert_int_equal(flt_translate(&delivered, 1, FLT_LENGTH_FRAME, &code, &err), 0);
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_XDP_HAS_FRAGS,
		    .expected_attach_type = BPF_XDP);
	b->deliver_fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "deliver", "GPL", (const struct bpf_insn *)code.v,
				      code.n, &opts);
	assert_true(b->deliver_fd >= 0);
	flt_code_done(&code);
	assert_int_equal(bpf_map_update_elem(b->around.progs_fd, &slot, &b->deliver_fd, 0), 0);
}

static void empty_bench(struct bench *b)
{
	for (uint32_t i = 0; i < JOBS; i++) {
		flt_code_done(&b->code[i]);
		flt_front_free(b->cbpf[i]);
		free(b->cbpf[i]);
		b->cbpf[i] = NULL;
	}
	skep_closep(&b->fd);
}

static void close_bench(struct bench *b)
{
	empty_bench(b);
	close(b->around.scratch_fd);
	close(b->around.generations_fd);
	close(b->around.counters_fd);
	close(b->around.progs_fd);
	close(b->deliver_fd);
}

static void load(struct bench *b, uint32_t n)
{
	struct skep_err err = SKEP_ERR_NULL;

	if (flt_classifier_load(b->jobs, n, &b->around, &b->fd, &err))
		fail_msg("%s", err.text);
}

/* Sum (which = rejected) or the one value that is not zero (the verdict) over all CPUs. */
static uint64_t read_map(int fd, uint32_t size, uint32_t offset)
{
	static uint8_t values[1024 * 80];
	uint64_t sum = 0, one;
	uint32_t zero = 0;
	int cpus = libbpf_num_possible_cpus();

	assert_int_equal(bpf_map_lookup_elem(fd, &zero, values), 0);
	for (int i = 0; i < cpus; i++) {
		memcpy(&one, values + (size_t)i * size + offset, sizeof(one));
		sum += one;
	}
	return sum;
}

static void clear_verdict(int fd)
{
	static const struct skep_scratch zeros[1024];
	uint32_t zero = 0;

	assert_int_equal(bpf_map_update_elem(fd, &zero, zeros, 0), 0);
}

/*
 * Runs the program over one packet; the first `linear` bytes in the first buffer, 0: as many as fit. Returns
 * what the program returned.
 */
static uint32_t run(const struct bench *b, const struct packet *p, uint32_t linear)
{
	struct xdp_md ctx = { .data_end = linear };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->bytes, .data_size_in = p->len, .repeat = 1);

	if (linear > 0) {
		opts.ctx_in = &ctx;
		opts.ctx_size_in = sizeof(ctx);
	}
	assert_int_equal(bpf_prog_test_run_opts(b->fd, &opts), 0);
	return opts.retval;
}

/* small: with first buffers that end anywhere in the headers. */
static size_t compare(struct bench *b, uint32_t n, size_t step, bool small)
{
	uint64_t rejected =
		read_map(b->around.counters_fd, sizeof(struct skep_xdp_counters), b->around.rejected_offset);
	size_t bad = 0;

	for (size_t i = 0; i < packets.n; i += step) {
		const struct packet *p = &packets.v[i];
		uint64_t want = 0, got, now;
		uint32_t verdict;

		for (uint32_t j = 0; j < n; j++)
			if (flt_front_match(b->cbpf[j], p->bytes, p->len, p->len) > 0)
				want |= 1ull << b->jobs[j].slot;
		clear_verdict(b->around.scratch_fd);
		verdict = run(b, p, small ? SKEP_MIN(14 + (uint32_t)(i % 60), p->len) : 0);
		got = read_map(b->around.scratch_fd, sizeof(struct skep_scratch), 0);
		now = read_map(b->around.counters_fd, sizeof(struct skep_xdp_counters),
			       b->around.rejected_offset);
		if (got != want || verdict != (want ? DELIVERED : XDP_DROP) ||
		    now - rejected != (want == 0)) {
			print_message("# packet %zu: want %llx, got %llx, verdict %u\n", i,
				      (unsigned long long)want, (unsigned long long)got, verdict);
			bad++;
		}
		rejected = now;
	}
	return bad;
}

static void test_each_job_as_if_alone(void **state)
{
	struct bench b;
	char expr[64];

	(void)state;
	open_bench(&b);
	for (uint32_t i = 0; i < JOBS; i++) {
		if (i < ARRAY_LEN(filters))
			(void)snprintf(expr, sizeof(expr), "%s", filters[i]);
		else
			(void)snprintf(expr, sizeof(expr), "port %u and %s",
				       (unsigned[]){ 80, 53, 443, 22 }[i % 4], filters[i % 3]);
		compile(&b, i, expr);
	}
	load(&b, JOBS);
	assert_int_equal(compare(&b, JOBS, 3, false), 0);
	close_bench(&b);
}

/* Loads the jobs that were compiled, compares, and leaves the bench empty. */
static size_t judge(struct bench *b, uint32_t n, size_t step)
{
	size_t bad;

	load(b, n);
	bad = compare(b, n, step, false);
	if (bad)
		for (uint32_t i = 0; i < n; i++)
			print_message("# job %u: %s\n", i, b->exprs[i]);
	empty_bench(b);
	return bad;
}

/* Every expression there is, 64 at a time: what is merged and what is not, side by side. */
static void test_corpus_in_sets_of_64(void **state)
{
	FILE *f = fopen(FLT_FILES "/filters.txt", "re");
	size_t n = 0, merged = 0, bad = 0;
	struct bench b;
	const char *expr;

	(void)state;
	assert_non_null(f);
	open_bench(&b);
	while ((expr = next_expr(f))) {
		compile(&b, n % JOBS, expr);
		merged += flt_terms_exact(b.code[n % JOBS].terms);
		if (++n % JOBS == 0)
			bad += judge(&b, JOBS, 5);
	}
	bad += judge(&b, n % JOBS, 5);
	fclose(f);
	close_bench(&b);
	print_message("# %zu expressions, %zu of them merged\n", n, merged);
	assert_true(n >= 300);
	assert_int_equal(bad, 0);
}

static void test_random_sets(void **state)
{
	uint64_t s = seed_of_run();
	size_t sets = getenv("FLT_SETS") ? strtoull(getenv("FLT_SETS"), NULL, 0) : 8, bad = 0, merged = 0;
	struct bench b;

	(void)state;
	open_bench(&b);
	for (size_t set = 0; set < sets; set++) {
		uint32_t n = 1 + (uint32_t)(next_random(&s) % JOBS);

		for (uint32_t i = 0; i < n;) {
			char expr[1600];

			/* Every second set is of merged jobs mostly: that is what makes large tables. */
			if (set % 2 == 0 || i % 8 == 0)
				random_simple(expr, sizeof(expr), (int)(next_random(&s) % 4), &s);
			else
				random_expr(expr, sizeof(expr), 2, &s);
			if (!can_compile(expr))
				continue;
			compile(&b, i, expr);
			b.jobs[i].slot = (i * 7 + (uint32_t)set) % JOBS;
			merged += flt_terms_exact(b.code[i++].terms);
		}
		bad += judge(&b, n, 5);
	}
	close_bench(&b);
	print_message("# %zu sets, %zu jobs merged\n", sets, merged);
	assert_int_equal(bad, 0);
}

/* Frames whose first buffer ends early: what is merged, and what is not, fetches the rest with a helper. */
static void test_small_first_buffer(void **state)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packets.v[0].bytes, .data_size_in = packets.v[0].len,
		    .repeat = 1);
	struct xdp_md ctx = { .data_end = 14 };
	struct bench b;

	(void)state;
	open_bench(&b);
	for (uint32_t i = 0; i < ARRAY_LEN(filters); i++)
		compile(&b, i, filters[i]);
	load(&b, ARRAY_LEN(filters));
	opts.ctx_in = &ctx;
	opts.ctx_size_in = sizeof(ctx);
	if (bpf_prog_test_run_opts(b.fd, &opts)) {
		close_bench(&b);
		print_message("# this kernel cannot make a test frame with a small first buffer\n");
		skip();
	}
	assert_int_equal(compare(&b, ARRAY_LEN(filters), 7, true), 0);
	close_bench(&b);
}

/*
 * Of a set that is compiled: what the kernel says of the program, to see growth. The kernel rewrites some
 * instructions, so other versions may say a little more or less.
 */
static struct bpf_prog_info info_of(struct bench *b, uint32_t n)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	load(b, n);
	assert_int_equal(bpf_obj_get_info_by_fd(b->fd, &info, &len), 0);
	empty_bench(b);
	return info;
}

/*
 * Sets of merged jobs are a program of a constant size; other jobs stand within it and cost no call, and no
 * more instructions than they have.
 */
static void test_sizes(void **state)
{
	static const struct {
		const char *what, *filter;
		uint32_t jobs, insns, functions;
	} sets[] = {
		{ "no job", NULL, 0, 103, 1 },
		{ "one port", "port 1", 1, 426, 3 },
		{ "64 ports", "port %u", 64, 426, 3 },
		{ "64 hosts", "host 192.0.2.%u", 64, 480, 3 },
		{ "64 hosts and ports", "host 192.0.2.%u and udp port 7%u", 64, 507, 2 },
		{ "64 IPv6 hosts", "host 2001:db8::%u", 64, 751, 2 },
		{ "64 other filters", "udp[8:2] = %u", 64, 6036, 2 },
	};
	struct bench b;
	size_t bad = 0;

	(void)state;
	open_bench(&b);
	for (size_t s = 0; s < ARRAY_LEN(sets); s++) {
		struct bpf_prog_info info;
		char expr[100];

		for (uint32_t i = 0; i < sets[s].jobs; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			(void)snprintf(expr, sizeof(expr), sets[s].filter, i + 1, i + 1);
#pragma GCC diagnostic pop
			compile(&b, i, expr);
		}
		info = info_of(&b, sets[s].jobs);
		print_message("# %s: %u instructions, %u verified, %u functions\n", sets[s].what,
			      info.xlated_prog_len / 8, info.verified_insns, info.nr_jited_ksyms);
		bad += info.xlated_prog_len / 8 > sets[s].insns + sets[s].insns / 10 ||
		       info.nr_jited_ksyms != sets[s].functions ||
		       info.verified_insns > 2 * (info.xlated_prog_len / 8);
	}
	close_bench(&b);
	assert_int_equal(bad, 0);
}

/* Long lists: more addresses than tables for them may have; the job is then asked itself. */
static void test_many_addresses(void **state)
{
	static char expr[JOBS][16384];
	struct bench b;

	(void)state;
	open_bench(&b);
	for (uint32_t i = 0; i < 16; i++) {
		size_t at = (size_t)snprintf(expr[i], sizeof(expr[i]), "src host 192.168.1.1");

		for (int k = 0; k < 60; k++)
			at += (size_t)snprintf(expr[i] + at, sizeof(expr[i]) - at,
					       i % 2 ? " or 2001:db8:%x:%x::%x" : " or 10.%d.%d.%d", i, k,
					       (i * 16 + k) % 250);
		compile(&b, i, expr[i]);
	}
	assert_int_equal(judge(&b, 16, 7), 0);
	close_bench(&b);
}

static void test_few_jobs_reject_the_rest(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	compile(&b, 0, "tcp port 80");
	compile(&b, 1, "udp port 53");
	b.jobs[1].slot = 63;
	load(&b, 2);
	assert_int_equal(compare(&b, 2, 3, false), 0);
	skep_closep(&b.fd);
	load(&b, 0);
	assert_int_equal(compare(&b, 0, 50, false), 0);
	close_bench(&b);
}

/* libpcap allows 64 KiB of text; the verifier has its limits in one piece. */
static void test_huge_filters_become_functions(void **state)
{
	static char expr[60000];
	struct bench b;

	(void)state;
	open_bench(&b);
	for (uint32_t i = 0; i < 4; i++) {
		size_t at = (size_t)snprintf(expr, sizeof(expr), "ip[8] = %u", i);

		for (uint32_t k = 0; k < 400; k++)
			at += (size_t)snprintf(expr + at, sizeof(expr) - at, " or udp[8:2] = %u",
					       1000 * i + k);
		compile(&b, i, expr);
	}
	compile(&b, 4, "port 53");
	assert_int_equal(judge(&b, 5, 5), 0);
	close_bench(&b);
}

static void test_jobs_are_added_quickly(void **state)
{
	struct timespec from, to;
	struct bench b;
	char expr[64];

	(void)state;
	open_bench(&b);
	for (uint32_t i = 0; i < JOBS; i++) {
		(void)snprintf(expr, sizeof(expr), "tcp port %u or host 10.0.0.%u", 1000 + i, i);
		compile(&b, i, expr);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	load(&b, JOBS);
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_message("# 64 jobs loaded in %.1f ms\n",
		      (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	/* Exponential growth, which this is to catch, takes seconds for 16 jobs. */
	assert_true(to.tv_sec - from.tv_sec < 2);
	close_bench(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_job_as_if_alone),
		cmocka_unit_test(test_corpus_in_sets_of_64),
		cmocka_unit_test(test_random_sets),
		cmocka_unit_test(test_small_first_buffer),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_many_addresses),
		cmocka_unit_test(test_few_jobs_reject_the_rest),
		cmocka_unit_test(test_huge_filters_become_functions),
		cmocka_unit_test(test_jobs_are_added_quickly),
	};

	if (geteuid() != 0) {
		puts("loading BPF programs needs root");
		return 77;
	}
	return cmocka_run_group_tests_name("flt_classifier", tests, collect, drop);
}
