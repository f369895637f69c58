/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_ARGS_H
#define BENCH_ARGS_H
/*
 * What the bench programs' command lines have in common.
 */
#include "common/err.h"

#include <jansson.h>
#include <stdbool.h>

/* "200kpps", "1.5Mpps", "2Gbps", "1000" (frames); per second, more than 0. */
int bench_args_rate(const char *what, const char *text, double *ret_rate, bool *ret_is_bits,
		    struct skep_err *err);
/* Writes the object as one line to stdout and drops the reference. NULL: no memory. 0 or -errno. */
int bench_args_print(json_t *object);
/* Says the refusal if there is one and returns the exit code for r. */
int bench_args_exit(const char *program, int r, const struct skep_err *err);

#endif
