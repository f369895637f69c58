/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_SCRATCH_H
#define FLT_SCRATCH_H
/*
 * Loads from struct skep_scratch in classic BPF: predicates that cBPF has no word for are written as byte
 * accesses far beyond every frame, and become loads with an absolute offset in a range that nothing else has.
 *
 * What a user writes at such offsets stays what it is to libpcap: beyond the frame, no match.
 */
#include "capture/filter/translate.h"

#include <stdbool.h>

/*
 * Offset of the scratch in a program that is done. For libpcap it is at one of the offsets BASE + i * STEP,
 * i < PLACES, one that the user's text does not name. All are positive as int32.
 */
#define FLT_SCRATCH_BASE 0x53000000u
#define FLT_SCRATCH_STEP 0x10000u
#define FLT_SCRATCH_PLACES 1024u
/* Where a load goes that must never find anything. */
#define FLT_SCRATCH_NEVER 0x7fffff00u

_Static_assert(FLT_SCRATCH_BASE + FLT_SCRATCH_PLACES * FLT_SCRATCH_STEP < FLT_SCRATCH_NEVER,
	       "never is beyond");

/* Does the instruction read the scratch? Its offset there is k - FLT_SCRATCH_BASE. */
bool flt_scratch_is_load(const struct flt_cbpf *p);

/*
 * Gives loads whose offset is a constant (libpcap without its optimiser writes `ether[5]` with an index
 * register) that offset, with the same meaning. 0 or -ENOMEM.
 */
int flt_scratch_fold(struct flt_cbpf *v, uint32_t n);

/*
 * Tells our loads from the user's. The program was compiled from a text with our accesses at `base`, the twin
 * from the same text with them at `twin_base`: what moved is ours and goes to FLT_SCRATCH_BASE, what stayed
 * is the user's and, where it could be taken for ours, is sent to FLT_SCRATCH_NEVER. twin NULL: the text has
 * no byte access of the user's, every one in the range is ours. base 0: the text has none of ours. False if
 * the two differ in anything else: arithmetic led the user to our loads, and libpcap joined them.
 */
bool flt_scratch_settle(struct flt_cbpf *v, uint32_t n, uint32_t base, const struct flt_cbpf *twin,
			uint32_t twin_base);

/* FLT_NEEDS_* (look.h) of a program. */
uint32_t flt_scratch_needs(const struct flt_cbpf *v, uint32_t n);

/* The name of the field at an offset of the scratch, "scratch" if there is none. */
const char *flt_scratch_name(uint32_t offset);

#endif
