/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A job's filter in user space, on the frame where it lies: libpcap's interpreter, or ours where the filter
 * has presets or lists that cBPF has no words for. Frames in several buffers (jumbo frames, tags that were
 * put back) are first copied together, because the interpreters want one piece.
 *
 * The only file beside the filter front that includes libpcap's header. Any number of threads match; what
 * they share of flows needs no lock (filter/flows.c).
 */
#include "capture/filter_user.h"

#include "capture/filter/eval.h"
#include "capture/filter/front.h"
#include "capture/filter/inside.h"
#include "capture/filter/list.h"

#include <errno.h>
#include <pcap/bpf.h>
#include <string.h>

struct cap_filter_user {
	struct bpf_program prog;
	struct flt_eval *eval; /* NULL: libpcap's interpreter knows all of it */
	uint32_t inside;       /* kinds */
};

static void lists_unref(struct flt_lists **lists)
{
	flt_lists_free(*lists);
}

int cap_filter_user_new(const char *expr, uint16_t linktype, struct cap_filter_user **ret,
			struct skep_err *err)
{
	SKEP_CLEANUP(lists_unref) struct flt_lists *lists = NULL;
	struct cap_filter_user *filter;
	struct flt_ask ask = { .expr = expr, .linktype = linktype, .snaplen = CAP_SNAPLEN_MAX };
	int r;

	if (!expr || expr[strspn(expr, " \t\r\n")] == '\0') {
		*ret = NULL;
		return 0;
	}
	filter = calloc(1, sizeof(*filter));
	if (!filter)
		return skep_err_set(err, -ENOMEM, "filter: not enough memory");
	r = flt_lists_new(&lists, err);
	ask.lists = lists;
	ask.patient = true;
	if (r == 0)
		r = flt_front_compile_ask(&ask, &filter->prog, &(uint32_t){ 0 }, err);
	if (r == 0)
		r = flt_eval_new(&filter->prog, lists, 0, &filter->eval, err);
	if (r) {
		cap_filter_user_free(filter);
		return r;
	}
	flt_eval_set_linktype(filter->eval, linktype);
	if (!flt_eval_looks(filter->eval))
		filter->eval = flt_eval_free(filter->eval);
	*ret = filter;
	return 0;
}

struct cap_filter_user *cap_filter_user_free(struct cap_filter_user *filter)
{
	if (!filter)
		return NULL;
	flt_eval_free(filter->eval);
	flt_front_free(&filter->prog);
	free(filter);
	return NULL;
}

void cap_filter_user_look_inside(struct cap_filter_user *filter, uint32_t kinds)
{
	if (filter)
		filter->inside = kinds;
}

const struct flt_cbpf *cap_filter_user_program(const struct cap_filter_user *filter, uint32_t *ret_n)
{
	if (!filter || filter->eval || filter->inside)
		return NULL;
	return flt_front_insns(&filter->prog, ret_n);
}

/* The second half of scratch is for packets inside of frames that are in the first half: no link has longer
 * ones. */
static bool match_inside(const struct cap_filter_user *filter, const uint8_t *data, uint32_t wire_len,
			 uint32_t len, uint8_t *scratch)
{
	bool gathered = data == scratch;
	const struct flt_piece p = { .bytes = data,
				     .cap_len = gathered ? SKEP_MIN(len, CAP_SNAPLEN_MAX / 2) : len,
				     .wire_len = wire_len };
	uint8_t *room = gathered ? scratch + CAP_SNAPLEN_MAX / 2 : scratch;

	if (filter->eval)
		return flt_eval_match_inside(filter->eval, &p, filter->inside, room) != 0;
	return flt_inside_match(&filter->prog, &p, filter->inside, room) != 0;
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
	if (filter->inside)
		return match_inside(filter, data, frame->wire_len, len, scratch);
	if (filter->eval)
		return flt_eval_match(filter->eval, data, frame->wire_len, len) != 0;
	return bpf_filter(filter->prog.bf_insns, data, frame->wire_len, len) != 0;
}
