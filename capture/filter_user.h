/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_FILTER_USER_H
#define CAP_FILTER_USER_H
/*
 * A job's filter in user space. Matching allocates nothing, locks nothing and cannot fail, so any worker may
 * call it. Presets like `quic` learn flows from the frames they are given: one filter sees all frames of a
 * link, those of all its queues too.
 */
#include "capture/frame.h"
#include "capture/trim.h"
#include "common/err.h"

#include <stdbool.h>

struct cap_filter_user;

/*
 * Compiles a tcpdump expression for frames of a link type (LINKTYPE_*). An empty one gives NULL, which is
 * everything. Files of addresses that it names are read here. Refusals are flt_front_compile_ask's, with the
 * column.
 */
int cap_filter_user_new(const char *expr, uint16_t linktype, struct cap_filter_user **ret,
			struct skep_err *err);
/*
 * From now on the filter also matches frames in which a packet matches that only `kinds` (SKEP_INNER_*,
 * filter/inside.h) lead to. Before the first match; Ethernet only. NULL is everything, and stays that.
 */
void cap_filter_user_look_inside(struct cap_filter_user *filter, uint32_t kinds);
/*
 * The compiled program, the filter's own, if it is all that there is to the filter: so that a frame's bytes
 * and length alone decide. NULL: there is more (presets that learn, lists, packets inside), or no filter.
 */
struct flt_cbpf;
const struct flt_cbpf *cap_filter_user_program(const struct cap_filter_user *filter, uint32_t *ret_n);
/* Takes NULL, returns NULL. */
struct cap_filter_user *cap_filter_user_free(struct cap_filter_user *filter);

/*
 * Does the filter want the frame? scratch (CAP_SNAPLEN_MAX bytes, the caller's own) makes a frame of several
 * buffers, or a packet inside of one, contiguous; for others it is not touched. frags are the batch's.
 */
bool cap_filter_user_match(const struct cap_filter_user *filter, const struct cap_batch *batch,
			   const struct cap_frame *frame, uint8_t *scratch);

#endif
