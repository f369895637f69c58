/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_EVAL_H
#define FLT_EVAL_H
/*
 * Runs a compiled filter in user space with everything the look stage knows: marks and address lists, from
 * the very parsers that XDP runs. Programs without them go to libpcap's interpreter.
 */
#include "capture/filter/list.h"
#include "common/err.h"

#include <stdbool.h>

struct bpf_program; /* <pcap/bpf.h> */
struct flt_eval;

/*
 * The program is borrowed and outlives the evaluator; the contents of lists (may be NULL) are copied. flows
 * is how many flows are remembered (a power of two, 8 at least); 0: FLT_LOOK_FLOWS.
 */
int flt_eval_new(const struct bpf_program *prog, const struct flt_lists *lists, uint32_t flows,
		 struct flt_eval **ret, struct skep_err *err);
/* Packets are of this link type (LINKTYPE_*) and not Ethernet frames. Before the first match. */
void flt_eval_set_linktype(struct flt_eval *e, int linktype);
/* Takes NULL, returns NULL. */
struct flt_eval *flt_eval_free(struct flt_eval *e);

/*
 * 0, or what the filter accepts. Every frame of the link must be given, in order: flows are learnt from those
 * that the filter does not take, too. Any number of threads at once, as they share the flows; allocates
 * nothing, locks nothing, cannot fail.
 */
uint32_t flt_eval_match(struct flt_eval *e, const void *bytes, uint32_t wire_len, uint32_t cap_len);
/*
 * The same for the frame and then, until one matches, for each packet inside that a job looks at that looks
 * inside `kinds` (inside.h). room: frame->cap_len bytes at least.
 */
struct flt_piece;
uint32_t flt_eval_match_inside(struct flt_eval *e, const struct flt_piece *frame, uint32_t kinds,
			       uint8_t *room);

/* Does the program read anything of the look stage? */
bool flt_eval_looks(const struct flt_eval *e);

/* Flows learnt and forgotten to make room, since the beginning. */
void flt_eval_flows(const struct flt_eval *e, uint64_t *ret_added, uint64_t *ret_evicted);

#endif
