/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as frames of a job with sampling and a cut-off: never a bad access, and every frame is counted
 * once. The first byte chooses the reduction; then frames, each behind a byte with its length. The table of
 * flows is small, so that it forgets.
 */
#include "capture/filter/reducer.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flt_reducer *r = NULL;
	struct flt_reduce_account a;
	struct flt_reduction want;
	uint64_t n = 0, taken = 0;

	if (size < 1)
		return 0;
	want = (struct flt_reduction){ .sample_every = data[0] & 3, .sample_by_flow = data[0] & 4,
				       .cutoff_pkts = data[0] >> 3 & 3, .cutoff_bytes = data[0] >> 5 & 7 };
	assert(flt_reducer_new(&want, 1, 16, &r) == 0);
	for (size_t at = 1; at < size; n++) {
		uint32_t len = (uint32_t)SKEP_MIN((size_t)data[at], size - at - 1);

		taken += flt_reducer_take(r, data + at + 1, len, len + n % 3);
		at += 1 + len;
	}
	flt_reducer_account(r, &a);
	assert(a.matched_pkts == n && taken + a.sampled_out_pkts + a.cut_off_pkts == n);
	assert(flt_reducer_forgotten(r) <= a.flows);
	r = flt_reducer_free(r);
	return 0;
}
