/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, for every expression of filters.txt and for frames of captures ($SKEP_PCAPS) and generated ones
 * with packets inside (whole, cut anywhere, damaged, in several buffers): a job that looks inside wants a
 * frame in XDP exactly when libpcap wants the frame, or one of the packets inside that it asked for, taken
 * out and made an Ethernet frame; and user space says the same. The look stage finds in XDP what user space
 * finds. A job that does not look inside is not changed by what is there.
 */
#include "tests/bpf/flt_maps.h"
#include "tests/bpf/flt_encap.h"
#include "tests/bpf/flt_exprs.h"

#include "capture/filter/classifier.h"
#include "capture/filter/front.h"
#include "capture/filter/inside.h"
#include "capture/filter/look.h"

#include <sched.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define JOBS 64u

static struct packets packets;

/* Kinds that jobs look inside, by slot: all, one, none, some. */
static const uint32_t kinds_by_slot[] = { SKEP_INNER_ALL,
					  SKEP_INNER_GRE,
					  0,
					  SKEP_INNER_VLAN | SKEP_INNER_QINQ | SKEP_INNER_VXLAN,
					  SKEP_INNER_ALL & ~SKEP_INNER_MPLS,
					  SKEP_INNER_ERSPAN,
					  SKEP_INNER_ALL };


struct bench {
	struct flt_chain chain;
	struct bpf_program *cbpf[JOBS];
	struct flt_code code[JOBS], inside_code[JOBS];
	struct flt_job jobs[JOBS];
	uint32_t kinds[JOBS];
	uint32_t protochains; /* that look inside */
	struct flt_look *look;
	uint32_t n;
};

static void open_bench(struct bench *b)
{
	struct skep_err err = SKEP_ERR_NULL;

	*b = (struct bench){ 0 };
	flt_chain_open(&b->chain);
	if (flt_look_open(&(struct flt_look_cfg){ .progs_fd = b->chain.progs_fd,
						  .scratch_fd = b->chain.scratch_fd },
			  &b->look, &err))
		fail_msg("%s", err.text);
	assert_int_equal(flt_look_need(b->look, 0, SKEP_INNER_ALL), 0);
}

static void close_bench(struct bench *b)
{
	b->look = flt_look_close(b->look);
	flt_chain_close(&b->chain);
}

static void add_job_inside(struct bench *b, const char *expr, uint32_t kinds)
{
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t i = b->n++, n;
	const struct flt_cbpf *insns;
	int r;

	b->kinds[i] = kinds;
	/* 32 headers written out: 150,000 instructions to the verifier, of a million for all jobs together.
	 */
	if (strstr(expr, "protochain") && ++b->protochains > 1)
		b->kinds[i] = 0;
	b->cbpf[i] = flt_front_new();
	assert_int_equal(flt_front_compile(expr, 1, 65535, b->cbpf[i], &err), 0);
	insns = flt_front_insns(b->cbpf[i], &n);
	r = flt_translate(insns, n, FLT_LENGTH_FRAME, &b->code[i], &err);
	if (r == 0 && b->kinds[i])
		r = flt_translate_inside(insns, n, FLT_LENGTH_FRAME, &b->inside_code[i], &err);
	if (r)
		fail_msg("\"%s\": %s", expr, err.text);
	b->jobs[i] = (struct flt_job){ .slot = i, .code = &b->code[i], .inside = b->kinds[i],
				       .inside_code = b->kinds[i] ? &b->inside_code[i] : NULL };
}

static void add_job(struct bench *b, const char *expr)
{
	add_job_inside(b, expr, kinds_by_slot[b->n % ARRAY_LEN(kinds_by_slot)]);
}

static void load(struct bench *b)
{
	const struct flt_surroundings around = {
		.progs_fd = b->chain.progs_fd,
		.scratch_fd = b->chain.scratch_fd,
		.generations_fd = b->chain.generations_fd,
		.counters_fd = b->chain.counters_fd,
		.rejected_offset = offsetof(struct skep_xdp_counters, rejected),
		.rejected_action = XDP_DROP,
	};
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t slot = SKEP_PROG_CLASSIFY;
	int fd;

	if (flt_classifier_load(b->jobs, b->n, &around, &fd, &err))
		fail_msg("%s", err.text);
	assert_int_equal(bpf_map_update_elem(b->chain.progs_fd, &slot, &fd, 0), 0);
	close(fd);
}

static void unload(struct bench *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		flt_code_done(&b->code[i]);
		flt_code_done(&b->inside_code[i]);
		flt_front_free(b->cbpf[i]);
		free(b->cbpf[i]);
	}
	b->n = b->protochains = 0;
}

/* The packet as a frame by itself; by the meaning of struct skep_inner, not by the code under test. */
static uint32_t take_out(const struct packet *p, const struct skep_inner *inner, uint8_t *out)
{
	uint32_t len = p->len - inner->off;

	for (uint32_t i = 0; i < len; i++)
		out[i] = i < 12			    ? p->bytes[inner->mac_off + i]
			 : i < 14 && inner->type ? (uint8_t)(inner->type >> (i == 12 ? 8 : 0))
						    : p->bytes[inner->off + i];
	return len;
}

/* The jobs that libpcap wants the frame for. */
static uint64_t oracle(const struct bench *b, const struct packet *p, const struct skep_inner *inner,
		       uint32_t n)
{
	static uint8_t out[SKEP_MAX_INNER][65536];
	uint32_t len[SKEP_MAX_INNER];
	uint64_t want = 0;

	for (uint32_t k = 0; k < n; k++)
		len[k] = take_out(p, &inner[k], out[k]);
	for (uint32_t i = 0; i < b->n; i++) {
		bool takes = flt_front_match(b->cbpf[i], p->bytes, p->len, p->len) > 0;

		for (uint32_t k = 0; k < n && !takes; k++)
			takes = !((inner[k].kind & 0xff) & ~b->kinds[i]) &&
				flt_front_match(b->cbpf[i], out[k], len[k], len[k]) > 0;
		want |= (uint64_t)takes << i;
	}
	return want;
}

static uint64_t user_space(const struct bench *b, const struct packet *p)
{
	const struct flt_piece frame = { p->bytes, p->len, p->len };
	static uint8_t room[65536];
	uint64_t want = 0;

	for (uint32_t i = 0; i < b->n; i++)
		want |= (uint64_t)(flt_inside_match(b->cbpf[i], &frame, b->kinds[i], room) > 0) << i;
	return want;
}

/* Look stage and classifier; the look stage must find the same n packets. */
static uint64_t in_xdp(const struct bench *b, const struct packet *p, const struct skep_inner *inner,
		       uint32_t n, uint32_t linear)
{
	const struct skep_scratch *s;
	struct xdp_md ctx = { .data_end = linear ? linear : p->len };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->bytes, .data_size_in = p->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);

	flt_chain_set_jobs(&b->chain, 0);
	assert_int_equal(bpf_prog_test_run_opts(flt_look_prog_fd(b->look), &opts), 0);
	s = flt_chain_scratch(&b->chain);
	assert_int_equal(s->n_inner, n);
	assert_memory_equal(s->inner, inner, n * sizeof(*inner));
	assert_int_equal(opts.retval, s->jobs ? FLT_CHAIN_DELIVERED : XDP_DROP);
	return s->jobs;
}

static size_t compare(const struct bench *b, size_t step, bool short_buffers)
{
	struct skep_inner inner[SKEP_MAX_INNER];
	size_t bad = 0;

	for (size_t i = 0; i < packets.n && bad < 10; i += step) {
		const struct packet *p = &packets.v[i];
		uint32_t n = flt_inside_find(p->bytes, p->len, SKEP_INNER_ALL, inner);
		uint32_t linear = short_buffers ? SKEP_MIN(14 + (uint32_t)(i % 120), p->len) : 0;
		uint64_t want = oracle(b, p, inner, n), user = user_space(b, p),
			 xdp = in_xdp(b, p, inner, n, linear);

		if (want == user && want == xdp)
			continue;
		bad++;
		print_message("# packet %zu of %u bytes, %u inside: libpcap %016llx, user space %016llx, XDP %016llx\n",
			      i, p->len, n, (unsigned long long)want, (unsigned long long)user,
			      (unsigned long long)xdp);
	}
	return bad;
}

/* filters.txt, JOBS at a time. */
static size_t each_set(bool (*run)(const struct bench *b, size_t *bad), size_t *ret_bad)
{
	struct bench b;
	FILE *f = fopen(FLT_FILES "/filters.txt", "re");
	size_t n = 0;
	bool on = true;

	assert_non_null(f);
	open_bench(&b);
	while (on) {
		const char *expr = next_expr(f);

		if (expr) {
			add_job(&b, expr);
			n++;
		}
		if (b.n < JOBS && expr)
			continue;
		load(&b);
		on = run(&b, ret_bad) && expr;
		unload(&b);
	}
	fclose(f);
	close_bench(&b);
	return n;
}

static bool run_all(const struct bench *b, size_t *bad)
{
	*bad += compare(b, 1, false);
	return *bad == 0;
}

static bool run_short(const struct bench *b, size_t *bad)
{
	*bad += compare(b, 11, true);
	return *bad == 0;
}

static void test_corpus(void **state)
{
	size_t bad = 0, n = each_set(run_all, &bad);

	(void)state;
	print_message("# %zu expressions, %zu packets\n", n, packets.n);
	assert_int_equal(bad, 0);
	assert_true(n >= 300);
}

/* A first buffer that ends anywhere, also in the middle of a header. */
static void test_small_first_buffer(void **state)
{
	struct xdp_md ctx = { .data_end = 14 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packets.v[0].bytes, .data_size_in = packets.v[0].len,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);
	struct bench b;
	size_t bad = 0;
	int r;

	(void)state;
	open_bench(&b);
	r = bpf_prog_test_run_opts(flt_look_prog_fd(b.look), &opts);
	close_bench(&b);
	if (r) {
		print_message("# this kernel cannot make a test frame with a small first buffer (Linux 6.18)\n");
		skip();
	}
	(void)each_set(run_short, &bad);
	assert_int_equal(bad, 0);
}

/* Bytes of the Ethernet header by every width and offset, and offsets that are computed. */
static void test_header_bytes(void **state)
{
	struct bench b;
	size_t bad;
	char expr[128];

	(void)state;
	open_bench(&b);
	for (uint32_t at = 0; at < 16; at++)
		for (uint32_t size = 1; size <= 4 && b.n < JOBS; size *= 2) {
			(void)snprintf(expr, sizeof(expr), "ether[%u:%u] & 0x5f > 0x11", at, size);
			add_job(&b, expr);
		}
	for (uint32_t at = 0; b.n < JOBS; at++) {
		(void)snprintf(expr, sizeof(expr), "ether[(ether[%u] & 15) + %u:%u] & 0x2f < 7", at % 14, at / 3,
			       1u << at % 3);
		add_job(&b, expr);
	}
	load(&b);
	bad = compare(&b, 1, false) + compare(&b, 3, true);
	unload(&b);
	close_bench(&b);
	assert_int_equal(bad, 0);
}

/* As many different jobs as there can be, all looking inside everything, and filters of which nobody must be
 * asked. */
static void test_full_set(void **state)
{
	static const uint32_t ports[] = { 80, 53, 443, 22 };
	struct bench b;
	size_t bad;
	char expr[64];

	(void)state;
	open_bench(&b);
	for (uint32_t i = 0; i < JOBS; i++) {
		if (i % 2)
			(void)snprintf(expr, sizeof(expr), "port %u", i < 8 ? ports[i / 2] : 1000 + i);
		else
			(void)snprintf(expr, sizeof(expr), "host 192.168.1.%u and tcp", i / 2);
		add_job_inside(&b, expr, SKEP_INNER_ALL);
	}
	load(&b);
	bad = compare(&b, 1, false);
	unload(&b);
	close_bench(&b);
	assert_int_equal(bad, 0);
}

/* Random expressions and packets. FLT_SEED=N and FLT_ROUNDS=N change it. */
static void test_random(void **state)
{
	const char *seed_text = getenv("FLT_SEED"), *rounds_text = getenv("FLT_ROUNDS");
	uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : (uint64_t)time(NULL) * 2 + 1, s = seed | 1;
	size_t rounds = rounds_text ? strtoull(rounds_text, NULL, 0) : 200, ran = 0, bad = 0;
	struct packets mine = { 0 }, others = packets;
	struct bench b;

	(void)state;
	print_message("# FLT_SEED=%llu\n", (unsigned long long)seed);
	add_encapsulated(&mine, 600, &s);
	packets = mine;
	open_bench(&b);
	for (size_t i = 0; i < rounds; i++) {
		struct bpf_program *probe = flt_front_new();
		char expr[1600];

		random_expr(expr, sizeof(expr), 3, &s);
		/* libpcap's own refusals: dividing by zero, "rejects all packets", vlan offsets */
		if (flt_front_compile(expr, 1, 65535, probe, NULL) == 0) {
			add_job(&b, expr);
			ran++;
		}
		flt_front_free(probe);
		free(probe);
		if (b.n < JOBS && i + 1 < rounds)
			continue;
		load(&b);
		bad += compare(&b, 1, false);
		unload(&b);
	}
	close_bench(&b);
	packets = others;
	free_packets(&mine);
	print_message("# %zu random expressions ran\n", ran);
	assert_true(ran >= rounds / 3);
	assert_int_equal(bad, 0);
}

/* The packets of this test do have what it is about. */
static void test_packets_have_all_kinds(void **state)
{
	struct skep_inner inner[SKEP_MAX_INNER];
	size_t by_kind[8] = { 0 }, by_number[SKEP_MAX_INNER + 1] = { 0 };

	(void)state;
	for (size_t i = 0; i < packets.n; i++) {
		uint32_t n = flt_inside_find(packets.v[i].bytes, packets.v[i].len, SKEP_INNER_ALL, inner);

		by_number[n]++;
		for (uint32_t k = 0; k < n; k++)
			for (int bit = 0; bit < 6; bit++)
				by_kind[bit] += SKEP_INNER_LAST(inner[k].kind) == 1u << bit;
	}
	print_message("# frames with 0 to 4 inside: %zu %zu %zu %zu %zu; vlan %zu, qinq %zu, mpls %zu, gre "
		      "%zu, erspan "
		      "%zu, vxlan %zu\n",
		      by_number[0], by_number[1], by_number[2], by_number[3], by_number[4], by_kind[0],
		      by_kind[1], by_kind[2], by_kind[3], by_kind[4], by_kind[5]);
	for (int i = 0; i < 5; i++)
		assert_true(by_number[i] > 200);
	for (int i = 0; i < 6; i++)
		assert_true(by_kind[i] > 200);
}

static int collect(void **state)
{
	uint64_t seed = 31337;
	cpu_set_t one;

	(void)state;
	/* Per-CPU maps: stay on one. */
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
	add_captures(&packets);
	add_encapsulated(&packets, 4000, &seed);
	add_generated(&packets, 500, &seed);
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
		cmocka_unit_test(test_packets_have_all_kinds),
		cmocka_unit_test(test_corpus),
		cmocka_unit_test(test_small_first_buffer),
		cmocka_unit_test(test_header_bytes),
		cmocka_unit_test(test_full_set),
		cmocka_unit_test(test_random),
	};

	if (geteuid() != 0) {
		puts("loading BPF programs needs root");
		return 77;
	}
	return cmocka_run_group_tests_name("flt_inside", tests, collect, drop);
}
