/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_GEN_RUN_H
#define BENCH_GEN_RUN_H
/*
 * Sending what bench_gen_frame_prepare() prepared. Both ways return when count or duration is reached or
 * *stop is set (by a signal handler: the signal must not be restarted), and fill the result with what they
 * handed over.
 */
#include "bench/gen_frame.h"

#include <signal.h>

struct bench_gen_result {
	uint64_t attempted; /* frames handed over; their sequence numbers have no gap */
	uint64_t attempted_bytes;
	uint64_t first_ns; /* CLOCK_MONOTONIC */
	uint64_t last_ns;
	uint64_t late_ns;   /* paced: the most that a frame was behind its time */
	uint64_t waited_ns; /* the sending thread was ready and had no core; UINT64_MAX: unknown */
	bool live; /* by XDP live frames */
};

/* Pins the calling thread; -1: does nothing. */
int bench_gen_pin(int cpu, struct skep_err *err);
/* How long the calling thread has waited for a core since it began; UINT64_MAX: the kernel does not say. */
uint64_t bench_gen_waited_ns(void);
/* In the kernel, by XDP live frames. Frames up to SKEP_GEN_LIVE_MAX. */
int bench_gen_live_run(const struct bench_gen_options *o, struct skep_gen_cfg *cfg,
		       const struct skep_gen_template templates[SKEP_GEN_TEMPLATES],
		       volatile sig_atomic_t *stop, struct bench_gen_result *ret, struct skep_err *err);
/* Through a packet socket: slower, any length. */
int bench_gen_packet_run(const struct bench_gen_options *o, const struct skep_gen_cfg *cfg,
			 struct skep_gen_template templates[SKEP_GEN_TEMPLATES], volatile sig_atomic_t *stop,
			 struct bench_gen_result *ret, struct skep_err *err);

#endif
