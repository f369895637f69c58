/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_LOOK_H
#define FLT_LOOK_H
/*
 * The look stage of a link (bpf/look.bpf.c): fills what filters read that cBPF has no word for, namely the
 * mark of QUIC flows and the bits of address lists, and where packets inside the frame are, into struct
 * skep_scratch. It is loaded only when a job needs it.
 *
 * Control thread. flt_look_open and flt_look_set_lists need CAP_BPF, the first also CAP_NET_ADMIN.
 */
#include "capture/filter/list.h"
#include "common/err.h"

#include <stdint.h>

/*
 * What a program reads of struct skep_scratch: flt_code.needs, flt_needs(). A link's look stage fills what
 * any of its jobs needs.
 */
#define FLT_NEEDS_MARKS 0x1u
#define FLT_NEEDS_LISTS 0x2u

struct flt_look;

struct flt_look_cfg {
	int progs_fd;	   /* PROG_ARRAY with SKEP_PROG_N slots: where the frame goes on */
	int scratch_fd;	   /* PERCPU_ARRAY of one struct skep_scratch */
	uint32_t flows;	   /* remembered at most; 0: FLT_LOOK_FLOWS */
	uint32_t prefixes; /* of all lists together, at most; 0: FLT_LOOK_PREFIXES */
};

/* Loads the program with maps of its own and the two given ones (which it does not close). */
int flt_look_open(const struct flt_look_cfg *cfg, struct flt_look **ret, struct skep_err *err);
struct flt_look *flt_look_close(struct flt_look *look);
/* For progs[SKEP_PROG_LOOK]; stays the look's own. */
int flt_look_prog_fd(const struct flt_look *look);

/*
 * What to fill from the next frame on: FLT_NEEDS_* and SKEP_INNER_* of all jobs together. Order for a job
 * that comes: lists, needs, slot LOOK, slot CLASSIFY; for one that goes the other way round. 0 or -errno.
 */
int flt_look_need(struct flt_look *look, uint32_t needs, uint32_t inside);

/*
 * Makes the lists of the context the ones that are looked up, from one frame to the next. SKEP_E_NO_SPACE if
 * they are too many. On failure nothing has changed.
 * Always the same context for one look stage; quick if its table is the same as at the last call.
 */
int flt_look_set_lists(struct flt_look *look, const struct flt_lists *lists, struct skep_err *err);

struct flt_look_account {
	uint64_t flows_added; /* QUIC flows that were seen to begin */
	uint64_t flows_known; /* remembered now */
	/* Forgotten to make room; exact while no frame passes. Their later packets are not marked. */
	uint64_t flows_evicted;
	uint64_t flows_refused; /* the table took no new flow: not remembered at all */
	uint64_t prefixes;	/* of the lists now */
};

int flt_look_account(const struct flt_look *look, struct flt_look_account *ret);

#endif
