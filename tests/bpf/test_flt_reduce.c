/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, of the reduce stage run by the kernel and of its twin in user space, on the same frames: exactly
 * one of N packets in a row is taken; of flows about one in N, both directions and all fragments together,
 * and both sides choose the same ones; a flow's first N packets or bytes pass and no more; sampling comes
 * before the cut-off; every frame is counted once; jobs that ask for nothing are left alone; a frame for
 * nobody is rejected, any other delivered.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/abi/skep_abi.h"
#include "capture/filter/reducer.h"
#include "capture/filter/translate.h"
#include "tests/bpf/flt_maps.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <linux/bpf.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SEED 0x5eed5eed5eedull

struct bench {
	struct flt_chain chain;
	struct flt_reduce *reduce;
};

static void open_bench(struct bench *b, uint32_t flows)
{
	struct skep_err err = SKEP_ERR_NULL;

	flt_chain_open(&b->chain);
	if (flt_reduce_open(&(struct flt_reduce_cfg){ .progs_fd = b->chain.progs_fd,
						      .scratch_fd = b->chain.scratch_fd,
						      .counters_fd = b->chain.counters_fd,
						      .rejected_action = XDP_DROP,
						      .flows = flows,
						      .seed = SEED },
			    &b->reduce, &err))
		fail_msg("%s", err.text);
}

static void close_bench(struct bench *b)
{
	b->reduce = flt_reduce_close(b->reduce);
	flt_chain_close(&b->chain);
}

static void set(struct bench *b, uint32_t slot, const struct flt_reduction *r)
{
	struct skep_err err = SKEP_ERR_NULL;

	if (flt_reduce_set(b->reduce, slot, r, &err))
		fail_msg("%s", err.text);
}

/* Gives the frame to the stage as if the jobs' filters had wanted it; the jobs that it is left for. */
static uint64_t run(struct bench *b, const uint8_t *frame, uint32_t len, uint64_t jobs)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .repeat = 1);
	uint64_t left;

	flt_chain_set_jobs(&b->chain, jobs);
	assert_int_equal(bpf_prog_test_run_opts(flt_reduce_prog_fd(b->reduce), &opts), 0);
	left = flt_chain_jobs(&b->chain);
	assert_int_equal(opts.retval, left ? FLT_CHAIN_DELIVERED : XDP_DROP);
	return left;
}

struct tuple {
	uint32_t src, dst;
	uint16_t sport, dport;
	uint8_t proto;
	uint16_t tags;	   /* VLAN tags in front */
	uint16_t fragment; /* flags and offset of the IPv4 header */
	bool ipv6;
};

static uint32_t build(const struct tuple *t, uint8_t *out, uint32_t payload)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	uint16_t type = htons(t->ipv6 ? 0x86dd : 0x0800), ports[2] = { htons(t->sport), htons(t->dport) };
	uint32_t at = 12, addrs[2] = { htonl(t->src), htonl(t->dst) };

	memset(out, 0, 64 + payload + 40);
	memcpy(out, macs, 12);
	for (uint16_t i = 0; i < t->tags; i++, at += 4)
		memcpy(out + at, (uint8_t[]){ 0x81, 0, 0, (uint8_t)(i + 1) }, 4);
	memcpy(out + at, &type, 2);
	at += 2;
	if (t->ipv6) {
		out[at] = 0x60;
		out[at + 6] = t->proto;
		memcpy(out + at + 8, &addrs[0], 4);
		memcpy(out + at + 24, &addrs[1], 4);
		at += 40;
	} else {
		out[at] = 0x45;
		out[at + 6] = (uint8_t)(t->fragment >> 8);
		out[at + 7] = (uint8_t)t->fragment;
		out[at + 9] = t->proto;
		memcpy(out + at + 12, addrs, 8);
		at += 20;
	}
	memcpy(out + at, ports, 4);
	return at + 4 + payload;
}

static struct tuple reversed(struct tuple t)
{
	return (struct tuple){ t.dst, t.src, t.dport, t.sport, t.proto, t.tags, t.fragment, t.ipv6 };
}

static struct flt_reducer *twin(const struct flt_reduction *r, uint32_t flows)
{
	struct flt_reducer *reducer = NULL;

	assert_int_equal(flt_reducer_new(r, SEED, flows, &reducer), 0);
	return reducer;
}

static void expect_account(const struct bench *b, const struct flt_reducer *user, uint64_t matched,
			   uint64_t sampled_out, uint64_t cut_off)
{
	struct flt_reduce_account a[2] = { { 0 } };

	assert_int_equal(flt_reduce_account(b->reduce, 0, &a[0]), 0);
	flt_reducer_account(user, &a[1]);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(a[i].matched_pkts, matched);
		assert_int_equal(a[i].sampled_out_pkts, sampled_out);
		assert_int_equal(a[i].cut_off_pkts, cut_off);
	}
}

static void test_one_of_n_packets(void **state)
{
	static const uint32_t every[] = { 1, 2, 3, 10, 1000 };
	struct tuple t = { 0x0a000001, 0x0a000002, 1000, 53, 17, 0, 0, false };
	uint8_t frame[256];
	struct bench b;

	(void)state;
	open_bench(&b, 0);
	for (size_t e = 0; e < sizeof(every) / sizeof(every[0]); e++) {
		const struct flt_reduction r = { .sample_every = every[e] };
		struct flt_reducer *user = twin(&r, 0);
		uint32_t n = every[e] * 3, taken = 0;

		set(&b, 0, &r);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t len = build(&t, frame, 10);
			bool want = i % every[e] == 0;

			t.sport++;
			assert_int_equal(run(&b, frame, len, 1), want);
			assert_int_equal(flt_reducer_take(user, frame, len, len), want);
			taken += want;
		}
		assert_int_equal(taken, 3);
		if (every[e] > 1) /* a job that asks for nothing is not looked at */
			expect_account(&b, user, n, n - taken, 0);
		user = flt_reducer_free(user);
	}
	close_bench(&b);
}

static void test_flows_stay_together(void **state)
{
	const struct flt_reduction r = { .sample_every = 8, .sample_by_flow = true };
	struct flt_reducer *user = twin(&r, 0);
	uint32_t flows = 0, taken = 0, frames = 0;
	uint8_t frame[256];
	struct bench b;

	(void)state;
	open_bench(&b, 0);
	set(&b, 0, &r);
	for (uint32_t i = 0; i < 4000; i++) {
		struct tuple t = { 0x0a000000 + i / 7,
				   0x0a010000 + i % 7,
				   (uint16_t)(1024 + i),
				   443,
				   i % 2 ? 6 : 17,
				   (uint16_t)(i % 3),
				   0,
				   i % 5 == 0 };
		struct tuple back = reversed(t);
		uint32_t len = build(&t, frame, 10);
		bool first = run(&b, frame, len, 1);

		assert_int_equal(flt_reducer_take(user, frame, len, len), first);
		len = build(&back, frame, 30);
		assert_int_equal(run(&b, frame, len, 1), first);
		assert_int_equal(flt_reducer_take(user, frame, len, len), first);
		flows++;
		taken += first;
		frames += 2;
	}
	print_message("# %u of %u flows, 1 in 8 asked for\n", taken, flows);
	/* Binomial: 500 expected, standard deviation 21. */
	assert_in_range(taken, 500 - 5 * 21, 500 + 5 * 21);
	expect_account(&b, user, frames, frames - 2 * taken, 0);
	user = flt_reducer_free(user);
	close_bench(&b);
}

/* All fragments of a packet go the same way as all others between the two addresses. */
static void test_fragments_stay_together(void **state)
{
	static const uint16_t fragments[] = { 0x2000, 0x2010, 0x0020 };
	const struct flt_reduction r = { .sample_every = 2, .sample_by_flow = true };
	struct flt_reducer *user = twin(&r, 0);
	uint32_t taken = 0;
	uint8_t frame[256];
	struct bench b;

	(void)state;
	open_bench(&b, 0);
	set(&b, 0, &r);
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t votes = 0;

		for (int f = 0; f < 6; f++) {
			struct tuple t = {
				0x0a000000 + i,	  0x0a010000, (uint16_t)(i * 77 + (uint32_t)f), 53, 17, 0,
				fragments[f / 2], false
			};
			struct tuple back = reversed(t);
			uint32_t len = build(f % 2 ? &back : &t, frame, 10);
			bool took = run(&b, frame, len, 1);

			assert_int_equal(flt_reducer_take(user, frame, len, len), took);
			votes += took;
		}
		assert_true(votes == 0 || votes == 6);
		taken += votes == 6;
	}
	assert_in_range(taken, 60, 140);
	user = flt_reducer_free(user);
	close_bench(&b);
}

static void test_other_frames_by_mac_pair(void **state)
{
	const struct flt_reduction r = { .cutoff_pkts = 2 };
	struct flt_reducer *user = twin(&r, 0);
	uint8_t there[60] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xcc }, back[60] = { 0 }, other[60];
	const uint8_t *const frames[] = { there, back, there, other, back };
	static const bool want[] = { true, true, false, true, false };
	struct bench b;

	(void)state;
	memcpy(back, there + 6, 6);
	memcpy(back + 6, there, 6);
	memcpy(back + 12, there + 12, 2);
	memcpy(other, there, sizeof(other));
	other[5] = 9;
	open_bench(&b, 0);
	set(&b, 0, &r);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(run(&b, frames[i], 60, 1), want[i]);
		assert_int_equal(flt_reducer_take(user, frames[i], 60, 60), want[i]);
	}
	expect_account(&b, user, 5, 0, 2);
	user = flt_reducer_free(user);
	close_bench(&b);
}

static void test_cut_off_is_exact(void **state)
{
	static const struct {
		struct flt_reduction r;
		uint32_t pkts; /* of 104 bytes each that pass */
	} cases[] = {
		{ { .cutoff_pkts = 1 }, 1 },
		{ { .cutoff_pkts = 10 }, 10 },
		{ { .cutoff_bytes = 1 }, 1 },
		{ { .cutoff_bytes = 104 }, 1 },
		{ { .cutoff_bytes = 105 }, 2 },
		{ { .cutoff_bytes = 1000 }, 10 },
		{ { .cutoff_pkts = 3, .cutoff_bytes = 1000 }, 3 },
		{ { .cutoff_pkts = 30, .cutoff_bytes = 1000 }, 10 },
		/* 20 of the 40 packets of each flow are left by sampling; of those the first 5. */
		{ { .sample_every = 2, .cutoff_pkts = 5 }, 5 },
	};
	uint8_t frame[256];
	struct bench b;

	(void)state;
	open_bench(&b, 0);
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		const struct flt_reduction *r = &cases[c].r;
		struct flt_reducer *user = twin(r, 0);
		uint32_t passed[50] = { 0 }, sampled_out = r->sample_every ? 1000 : 0;
		struct flt_reduce_account account;

		set(&b, 0, r);
		for (uint32_t i = 0; i < 40 * 50; i++) {
			/* Flow by flow, so that sampling leaves every second packet of each. */
			uint32_t flow = i / 40;
			struct tuple t = {
				0x0a000000 + flow, 0x0a010000, (uint16_t)(1024 + flow), 443, 6, 0, 0, flow % 2
			};
			struct tuple back = reversed(t);
			uint32_t len = build(i % 4 > 1 ? &back : &t, frame, flow % 2 ? 46 : 66);
			bool took;

			assert_int_equal(len, 104);
			took = run(&b, frame, len, 1);
			assert_int_equal(flt_reducer_take(user, frame, len, len), took);
			passed[flow] += took;
		}
		for (int i = 0; i < 50; i++)
			assert_int_equal(passed[i], cases[c].pkts);
		expect_account(&b, user, 2000, sampled_out, 2000 - sampled_out - 50 * cases[c].pkts);
		assert_int_equal(flt_reduce_account(b.reduce, 0, &account), 0);
		assert_int_equal(account.flows, 50);
		user = flt_reducer_free(user);
	}
	close_bench(&b);
}

static void test_jobs_do_not_touch_each_other(void **state)
{
	struct tuple t = { 0x0a000001, 0x0a000002, 1000, 53, 17, 0, 0, false };
	struct flt_reduce_account account;
	uint8_t frame[256];
	struct bench b;
	uint32_t len = build(&t, frame, 10);

	(void)state;
	open_bench(&b, 0);
	set(&b, 3, &(struct flt_reduction){ .cutoff_pkts = 2 });
	set(&b, 63, &(struct flt_reduction){ .sample_every = 2 });
	set(&b, 5, &(struct flt_reduction){ 0 });
	/* Slot 0 and 5 ask for nothing; 3 has had two packets; 63 takes every second. */
	assert_int_equal(run(&b, frame, len, 1ull << 63 | 0x29), 1ull << 63 | 0x29);
	assert_int_equal(run(&b, frame, len, 1ull << 63 | 0x29), 0x29);
	assert_int_equal(run(&b, frame, len, 1ull << 63 | 0x29), 1ull << 63 | 0x21);
	assert_int_equal(run(&b, frame, len, 0x8), 0);
	assert_int_equal(run(&b, frame, len, 1ull << 63), 0);
	assert_int_equal(flt_chain_rejected(&b.chain), 2);
	assert_int_equal(run(&b, frame, len, 0x20), 0x20);
	/* The next job in the slot begins with nothing behind it. */
	set(&b, 3, NULL);
	set(&b, 3, &(struct flt_reduction){ .cutoff_pkts = 1 });
	assert_int_equal(run(&b, frame, len, 0x8), 0x8);
	assert_int_equal(run(&b, frame, len, 0x8), 0);
	assert_int_equal(flt_reduce_account(b.reduce, 3, &account), 0);
	assert_int_equal(account.matched_pkts, 2);
	assert_int_equal(account.cut_off_pkts, 1);
	close_bench(&b);
}

/* More flows than are remembered: they begin again, and that is said. */
static void test_bounded(void **state)
{
	const struct flt_reduction r = { .cutoff_pkts = 1 };
	struct flt_reducer *user = twin(&r, 1024);
	uint64_t forgotten = 0;
	uint8_t frame[256];
	struct bench b;

	(void)state;
	open_bench(&b, 1024);
	set(&b, 0, &r);
	for (uint32_t i = 0; i < 20000; i++) {
		struct tuple t = { 0x0a000000 + i, 0x0b000000, 1, 2, 6, 0, 0, false };
		uint32_t len = build(&t, frame, 0);

		assert_true(run(&b, frame, len, 1) && flt_reducer_take(user, frame, len, len));
	}
	assert_int_equal(flt_reduce_forgotten(b.reduce, &forgotten), 0);
	print_message("# 20000 flows, room for 1024: %llu forgotten in XDP, %llu in user space\n",
		      (unsigned long long)forgotten, (unsigned long long)flt_reducer_forgotten(user));
	assert_in_range(forgotten, 20000 - 1024, 20000);
	assert_int_equal(flt_reducer_forgotten(user), 20000 - 1024);
	user = flt_reducer_free(user);
	close_bench(&b);
}

/* Every packet of real captures, cut at any length too: both sides decide alike, and nothing is read out of
 * bounds. */
static void test_twins_agree(void **state)
{
	const struct flt_reduction r = {
		.sample_every = 3, .sample_by_flow = true, .cutoff_pkts = 5, .cutoff_bytes = 3000
	};
	struct flt_reducer *user = twin(&r, 0);
	struct packets packets = { 0 };
	uint64_t seed = 4711, taken = 0;
	size_t bad = 0;
	struct bench b;

	(void)state;
	add_captures(&packets);
	add_generated(&packets, 3000, &seed);
	open_bench(&b, 0);
	set(&b, 0, &r);
	for (size_t i = 0; i < packets.n; i++) {
		bool in_xdp = run(&b, packets.v[i].bytes, packets.v[i].len, 1);

		taken += in_xdp;
		bad += flt_reducer_take(user, packets.v[i].bytes, packets.v[i].len, packets.v[i].len) !=
		       in_xdp;
	}
	print_message("# %zu packets, %llu taken\n", packets.n, (unsigned long long)taken);
	assert_int_equal(bad, 0);
	assert_in_range(taken, packets.n / 100, packets.n / 2);
	free_packets(&packets);
	user = flt_reducer_free(user);
	close_bench(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_of_n_packets),
		cmocka_unit_test(test_flows_stay_together),
		cmocka_unit_test(test_fragments_stay_together),
		cmocka_unit_test(test_other_frames_by_mac_pair),
		cmocka_unit_test(test_cut_off_is_exact),
		cmocka_unit_test(test_jobs_do_not_touch_each_other),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_twins_agree),
	};
	cpu_set_t one;

	if (geteuid() != 0) {
		puts("loading BPF programs needs root");
		return 77;
	}
	/* Sampling by packet counts per CPU: stay on one. */
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
	return cmocka_run_group_tests_name("flt_reduce", tests, NULL, NULL);
}
