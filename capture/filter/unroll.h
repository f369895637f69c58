/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_UNROLL_H
#define FLT_UNROLL_H
/*
 * Takes the loops out of a cBPF program.
 */
#include "capture/filter/translate.h"

/* True if the program jumps back anywhere. */
int flt_has_loop(const struct flt_cbpf *in, uint32_t n);

/*
 * Copies the program with each loop written out FLT_LOOP_ROUNDS times; a packet that would go round once more
 * does not match. ret is allocated. Refuses nested loops and jumps into the middle of one, which libpcap does
 * not make.
 */
int flt_unroll(const struct flt_cbpf *in, uint32_t n, struct flt_cbpf **ret, uint32_t *ret_n,
	       struct skep_err *err);

#endif
