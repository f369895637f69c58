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
#include "tests/bpf/flt_packets.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* XDP_* and the verdict of the program that stands for delivery; <linux/bpf.h> cannot be included beside
 * libpcap's header. */
#define DROP 1u
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

static struct packets packets;

struct bench {
	struct bpf_program *cbpf[JOBS];
	struct flt_code code[JOBS];
	struct flt_job jobs[JOBS];
	struct flt_surroundings around;
	int fd, deliver_fd;
};

static void compile(struct bench *b, uint32_t i, const char *expr)
{
	struct skep_err err = SKEP_ERR_NULL;
	const struct flt_cbpf *insns;
	uint32_t n;

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
	b->around =
		(struct flt_surroundings){ .scratch_fd = per_cpu_map(sizeof(struct skep_scratch), 1),
					   .generations_fd = per_cpu_map(sizeof(struct skep_generation),
									 SKEP_GENERATIONS),
					   .generation = 1,
					   .counters_fd = per_cpu_map(sizeof(struct skep_xdp_counters),
								      SKEP_MAX_QUEUES),
					   .rejected_offset = offsetof(struct skep_xdp_counters, rejected),
					   .rejected_action = XDP_DROP };
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

static void close_bench(struct bench *b)
{
	for (uint32_t i = 0; i < JOBS; i++) {
		flt_code_done(&b->code[i]);
		flt_front_free(b->cbpf[i]);
		free(b->cbpf[i]);
	}
	close(b->around.scratch_fd);
	close(b->around.generations_fd);
	close(b->around.counters_fd);
	close(b->around.progs_fd);
	close(b->deliver_fd);
	skep_closep(&b->fd);
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

static size_t compare(struct bench *b, uint32_t n, size_t step)
{
	uint64_t rejected =
		read_map(b->around.counters_fd, sizeof(struct skep_xdp_counters), b->around.rejected_offset);
	size_t bad = 0;

	for (size_t i = 0; i < packets.n; i += step) {
		const struct packet *p = &packets.v[i];
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->bytes, .data_size_in = p->len,
			    .repeat = 1);
		uint64_t want = 0, got, now;

		for (uint32_t j = 0; j < n; j++)
			if (flt_front_match(b->cbpf[j], p->bytes, p->len, p->len) > 0)
				want |= 1ull << b->jobs[j].slot;
		clear_verdict(b->around.scratch_fd);
		assert_int_equal(bpf_prog_test_run_opts(b->fd, &opts), 0);
		got = read_map(b->around.scratch_fd, sizeof(struct skep_scratch), 0);
		now = read_map(b->around.counters_fd, sizeof(struct skep_xdp_counters),
			       b->around.rejected_offset);
		if (got != want || opts.retval != (want ? DELIVERED : XDP_DROP) ||
		    now - rejected != (want == 0)) {
			print_message("# packet %zu: want %llx, got %llx, verdict %u\n", i,
				      (unsigned long long)want, (unsigned long long)got, opts.retval);
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
	assert_int_equal(compare(&b, JOBS, 3), 0);
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
	assert_int_equal(compare(&b, 2, 3), 0);
	skep_closep(&b.fd);
	load(&b, 0);
	assert_int_equal(compare(&b, 0, 50), 0);
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

static int collect(void **state)
{
	uint64_t seed = 77;

	(void)state;
	add_captures(&packets);
	add_generated(&packets, 1500, &seed);
	return 0;
}

static int drop(void **state)
{
	(void)state;
	free_packets(&packets);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_job_as_if_alone),
		cmocka_unit_test(test_few_jobs_reject_the_rest),
		cmocka_unit_test(test_jobs_are_added_quickly),
	};

	if (geteuid() != 0) {
		puts("loading BPF programs needs root");
		return 77;
	}
	return cmocka_run_group_tests_name("flt_classifier", tests, collect, drop);
}
