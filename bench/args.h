/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_ARGS_H
#define BENCH_ARGS_H
/*
 * What the bench programs' command lines have in common.
 */
#include "common/clock.h"
#include "common/err.h"
#include "common/opts.h"

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>

/* Rows that mean the same in every table. */
#define BENCH_ARGS_HELP                                                                                      \
	{                                                                                                    \
		.name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "show this text"               \
	}
#define BENCH_ARGS_INTERFACE(cfg, words)                                                                     \
	{                                                                                                    \
		.name = "interface", .letter = 'i', .type = SKEP_OPT_STRING, .arg = "IF",                    \
		.offset = offsetof(cfg, link), .help = words                                                 \
	}

/* Set by the first SIGINT or SIGTERM after bench_args_catch_signals, which does not restart system calls. */
extern volatile sig_atomic_t bench_args_stop;
void bench_args_catch_signals(void);

/* As skep_opts_parse; --help is answered, and words->help says that there is nothing else to do. */
int bench_args_parse(const struct skep_opts *opts, int argc, char **argv, void *cfg,
		     struct skep_opts_words *words, struct skep_err *err);

static inline uint64_t bench_args_now_ns(void)
{
	return skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC);
}

/* "200kpps", "1.5Mpps", "2Gbps", "1000" (frames); per second, more than 0. */
int bench_args_rate(const char *what, const char *text, double *ret_rate, bool *ret_is_bits,
		    struct skep_err *err);
/* Writes the object as one line to stdout and drops the reference. NULL: no memory. 0 or -errno. */
int bench_args_print(json_t *object);
/* Says the refusal if there is one and returns the exit code for r. */
int bench_args_exit(const char *program, int r, const struct skep_err *err);

#endif
