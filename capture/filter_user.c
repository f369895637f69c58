/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A job's filter in user space: libpcap's interpreter on the frame where it lies. Frames in several buffers
 * (jumbo frames, tags that were put back) are first copied together, because the interpreter wants one piece.
 *
 * The only file beside the filter front that includes libpcap's header. Immutable after new(); any number of
 * threads match.
 */
#include "capture/filter_user.h"

#include "capture/filter/front.h"

#include <errno.h>
#include <pcap/bpf.h>
#include <string.h>

struct cap_filter_user {
	struct bpf_program prog;
};

int cap_filter_user_new(const char *expr, uint16_t linktype, struct cap_filter_user **ret,
			struct skep_err *err)
{
	_skep_free_ struct cap_filter_user *filter = NULL;
	int r;

	if (!expr || expr[strspn(expr, " \t\r\n")] == '\0') {
		*ret = NULL;
		return 0;
	}
	filter = calloc(1, sizeof(*filter));
	if (!filter)
		return skep_err_set(err, -ENOMEM, "filter: not enough memory");
	r = flt_front_compile(expr, linktype, CAP_SNAPLEN_MAX, &filter->prog, err);
	if (r == 0)
		*ret = TAKE_PTR(filter);
	return r;
}

struct cap_filter_user *cap_filter_user_free(struct cap_filter_user *filter)
{
	if (filter)
		flt_front_free(&filter->prog);
	free(filter);
	return NULL;
}

bool cap_filter_user_match(const struct cap_filter_user *filter, const struct cap_batch *batch,
			   const struct cap_frame *frame, uint8_t *scratch)
{
	const uint8_t *data = frame->data;
	uint32_t len = SKEP_MIN(frame->len, frame->cap_len);

	if (frame->frag_n) {
		len = cap_trim_gather(batch, frame, scratch, SKEP_MIN(frame->cap_len, CAP_SNAPLEN_MAX));
		data = scratch;
	}
	return bpf_filter(filter->prog.bf_insns, data, frame->wire_len, len) != 0;
}
