/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: for every expression of filters.txt the translated program loads, returns exactly what libpcap's
 * bpf_filter() returns for every packet (captures of $SKEP_PCAPS; generated, cut, damaged and multi-buffer
 * frames), and its length is the recorded one (filters.insns; FLT_RECORD=FILE writes a new one). Then the
 * same with random expressions over random packets, from a printed seed.
 *
 * FLT_SEED=N and FLT_ROUNDS=N change the random part.
 */
#include "capture/filter/front.h"
#include "capture/filter/run.h"
#include "tests/bpf/flt_exprs.h"
#include "tests/bpf/flt_packets.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

_Static_assert(sizeof(struct bpf_insn) == sizeof(struct flt_cbpf), "cBPF layout");

COLLECTED_PACKETS(3000, 20240607)

struct compiled {
	struct bpf_program cbpf;
	struct flt_code code;
	struct flt_loaded prog;
};

static void compiled_done(struct compiled *c)
{
	flt_run_unload(&c->prog);
	flt_code_done(&c->code);
	flt_front_free(&c->cbpf);
}

static int build(const char *expr, struct compiled *ret)
{
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	*ret = (struct compiled){ .prog = FLT_LOADED_NULL };
	r = flt_front_compile(expr, 1, 262144, &ret->cbpf, &err);
	if (r == 0)
		r = flt_translate((const struct flt_cbpf *)ret->cbpf.bf_insns, ret->cbpf.bf_len,
				  FLT_LENGTH_FRAME, &ret->code, &err);
	if (r == 0)
		r = flt_run_load(&ret->code, &ret->prog, &err);
	if (r)
		print_message("# \"%s\": %s\n", expr, err.text);
	return r;
}

/* Compares one packet; false and a message if the verdicts differ. */
static bool same(const char *expr, const struct compiled *c, const struct packet *p, size_t index,
		 uint32_t linear)
{
	/* In the kernel the frame is what it is: a packet that was cut when it was stored is a short frame.
	 */
	uint32_t want = bpf_filter(c->cbpf.bf_insns, p->bytes, p->len, p->len), got = 0;
	int r = flt_run_packet(
		&c->prog,
		&(struct flt_packet){
			.bytes = p->bytes, .len = p->len, .wire_len = p->len, .linear = linear },
		1, &got, NULL);

	if (r == 0 && want == got)
		return true;
	print_message("# \"%s\": packet %zu of %u bytes: libpcap %u, XDP %u (run %d)\n", expr, index, p->len,
		      want, got, r);
	return false;
}

static size_t recorded(const char *expr, uint32_t *ret)
{
	static char line[4096];
	FILE *f = fopen(FLT_FILES "/filters.insns", "re");
	size_t found = 0;

	while (f && fgets(line, sizeof(line), f)) {
		char *tab = strchr(line, '\t');

		line[strcspn(line, "\n")] = '\0';
		if (tab && strcmp(tab + 1, expr) == 0) {
			*ret = (uint32_t)strtoul(line, NULL, 10);
			found = 1;
		}
	}
	if (f)
		fclose(f);
	return found;
}

static void test_corpus(void **state)
{
	FILE *f = fopen(FLT_FILES "/filters.txt", "re"),
	     *record = getenv("FLT_RECORD") ? fopen(getenv("FLT_RECORD"), "we") : NULL;
	size_t n = 0, wrong = 0, runs = 0;
	const char *line;

	(void)state;
	assert_non_null(f);
	while ((line = next_expr(f))) {
		SKEP_CLEANUP(compiled_done) struct compiled c = { .prog = FLT_LOADED_NULL };
		size_t bad = 0;
		uint32_t insns = 0;

		n++;
		if (build(line, &c)) {
			wrong++;
			continue;
		}
		if (record) {
			fprintf(record, "%u\t%s\n", c.code.n, line);
		} else if (!recorded(line, &insns) || insns != c.code.n) {
			print_message("# \"%s\": %u instructions, recorded %u\n", line, c.code.n, insns);
			wrong++;
		}
		for (size_t i = 0; i < packets.n && bad < 3; i++, runs++)
			bad += !same(line, &c, &packets.v[i], i, 0);
		wrong += bad > 0;
	}
	fclose(f);
	if (record)
		fclose(record);
	print_message("# %zu expressions, %zu packets, %zu runs\n", n, packets.n, runs);
	assert_true(n >= 300);
	assert_int_equal(wrong, 0);
}

/* A frame whose first buffer ends early: every load that the pointers cannot make goes through the helper. */
static void test_small_first_buffer(void **state)
{
	static const char *const exprs[] = { "tcp port 80",
					     "ip6 and tcp port 443",
					     "tcp[tcpflags] & tcp-syn != 0",
					     "vlan and udp port 53",
					     "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
					     "udp[8] & 0xc0 = 0xc0",
					     "host 192.168.1.1",
					     "len > 100",
					     "ip6 protochain 17" };
	struct compiled first;
	uint32_t verdict;
	size_t bad = 0;

	(void)state;
	assert_int_equal(build("tcp port 80", &first), 0);
	if (flt_run_packet(&first.prog,
			   &(struct flt_packet){
				   .bytes = packets.v[0].bytes, .len = packets.v[0].len, .linear = 14 },
			   1, &verdict, NULL) < 0) {
		compiled_done(&first);
		print_message(
			"# this kernel cannot make a test frame with a small first buffer (Linux 6.18)\n");
		skip();
	}
	compiled_done(&first);
	for (size_t e = 0; e < ARRAY_LEN(exprs); e++) {
		SKEP_CLEANUP(compiled_done) struct compiled c = { .prog = FLT_LOADED_NULL };

		assert_int_equal(build(exprs[e], &c), 0);
		for (size_t i = 0; i < packets.n; i += 7)
			bad += !same(exprs[e], &c, &packets.v[i], i,
				     SKEP_MIN(14 + (uint32_t)(i % 60), packets.v[i].len));
	}
	assert_int_equal(bad, 0);
}

static void test_random(void **state)
{
	uint64_t s = seed_of_run();
	size_t rounds = getenv("FLT_ROUNDS") ? strtoull(getenv("FLT_ROUNDS"), NULL, 0) : 400, bad = 0,
	       ran = 0;
	struct packets mine = { 0 };

	(void)state;
	add_generated(&mine, 500, &s);
	for (size_t i = 0; i < rounds && bad < 5; i++) {
		SKEP_CLEANUP(compiled_done) struct compiled c = { .prog = FLT_LOADED_NULL };
		struct skep_err err = SKEP_ERR_NULL;
		struct bpf_program probe = { 0 };
		char expr[1600];
		int r;

		random_expr(expr, sizeof(expr), 3, &s);
		r = flt_front_compile(expr, 1, 262144, &probe, &err);
		flt_front_free(&probe);
		if (r) /* libpcap's own refusals: dividing by a constant zero, shifts, "rejects all packets",
			  vlan offsets */
			continue;
		ran++;
		if (build(expr, &c)) {
			bad++;
			continue;
		}
		for (size_t k = 0; k < mine.n && bad < 5; k++)
			bad += !same(expr, &c, &mine.v[k], k, 0);
	}
	free_packets(&mine);
	print_message("# %zu random expressions ran\n", ran);
	assert_true(ran >= rounds / 3);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_corpus),
		cmocka_unit_test(test_small_first_buffer),
		cmocka_unit_test(test_random),
	};

	if (geteuid() != 0) {
		puts("loading BPF programs needs root");
		return 77;
	}
	return cmocka_run_group_tests_name("flt_translate", tests, collect, drop);
}
