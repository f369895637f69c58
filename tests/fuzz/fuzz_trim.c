/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a frame, of any link type that --trim knows, in one buffer or in three: never a bad access,
 * never more than there is, and the same cut wherever the buffers end. The first three bytes choose.
 */
#include "capture/trim.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t linktypes[] = { 0, 1, 101, 113, 228, 229, 276, 147 };
	static struct cap_batch batch;
	struct cap_frame *frame = &batch.frames[0];
	struct cap_trim trim;
	uint32_t len, first, keep;

	if (size < 3)
		return 0;
	trim = (struct cap_trim){ .kind = data[0] % 4,
				  .n = data[1] * 3u,
				  .linktype = linktypes[data[0] / 4 % 8] };
	first = data[2];
	data += 3;
	len = (uint32_t)size - 3;
	keep = cap_trim_contiguous(&trim, data, len);
	assert(keep <= len);
	if (len > CAP_TRIM_LOOK)
		return 0; /* of a frame in buffers only so much is looked at */
	first = SKEP_MIN(first, len);
	*frame = (struct cap_frame){
		.data = data, .len = first, .cap_len = len, .wire_len = len, .frag_n = 2
	};
	batch.frags[0] = (struct cap_frag){ data + first, (len - first) / 2 };
	batch.frags[1] =
		(struct cap_frag){ data + first + (len - first) / 2, len - first - (len - first) / 2 };
	assert(cap_trim_bytes(&trim, &batch, frame) == keep);
	return 0;
}
