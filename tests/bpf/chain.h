/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_BPF_CHAIN_H
#define TESTS_BPF_CHAIN_H
/*
 * A link's whole chain of programs (bpf/prefilter.bpf.c and what the jobs add to it) without a link: frames
 * are given to the entry with BPF_PROG_TEST_RUN, and the socket that they are redirected to is a real one, on
 * the loopback of the test's namespace.
 *
 * The traffic is small enough to be judged by hand: a frame is what struct chain_frame says, and each filter
 * of chain_filters has its meaning beside it in C, so that what the programs count can be compared with what
 * they should have.
 */
#include "bpf/prefilter.skel.h"
#include "capture/classify.h"
#include "capture/xsk.h"

#include <stdbool.h>

struct chain {
	struct skep_prefilter *skel;
	struct cap_xsk *xsk;
	struct flt_jobset_maps maps;
	int cpus;
};

void chain_open(struct chain *chain);
void chain_close(struct chain *chain);
/* The socket takes no frame from here on, or does again. */
void chain_serve(struct chain *chain, bool served);
struct cap_classify *chain_classify(const struct chain *chain, bool serves);
/* Sum over the CPUs of the queue that test runs come from. */
struct skep_xdp_counters chain_counters(const struct chain *chain);

struct chain_frame {
	bool ip;	/* else: the type for experiments */
	uint8_t proto;	/* 6 or 17 */
	uint8_t src, dst; /* 198.51.100.N, 203.0.113.N */
	uint16_t sport, dport;
	uint8_t ttl;
	uint16_t len;	/* of the frame, at least 60 */
};

struct chain_filter {
	const char *text;
	bool (*wants)(const struct chain_frame *f);
};

extern const struct chain_filter chain_filters[];
extern const uint32_t chain_n_filters;

struct chain_frame chain_random_frame(uint64_t *seed);
/* Frames with the same number are of the same flow, those with different numbers are not. */
uint32_t chain_flow(const struct chain_frame *f);
#define CHAIN_FLOWS 33u
/* Gives the frame to the entry program; the jobs that it was delivered for, 0 if it was rejected. */
uint64_t chain_run(const struct chain *chain, const struct chain_frame *f);
/* The same, for frames that find no socket: false if it was rejected. */
bool chain_run_unserved(const struct chain *chain, const struct chain_frame *f);
/* Runs on one of the allowed CPUs from here on. */
void chain_pin(uint32_t nth);

#endif
