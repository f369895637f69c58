/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a frame: looking inside and --decap never read a bad byte; packets found lie in the frame,
 * each behind the one before, of kinds that were asked for; a frame cut shorter has no packets that the whole
 * one has not; --decap stores what was found, wherever the buffers end. The first two bytes choose the kinds
 * and the buffers.
 */
#include "capture/decap.h"
#include "capture/filter/inside.h"
#include "capture/trim.h"

#include <assert.h>
#include <string.h>

#define FRAME_MAX 4096u

static void check_found(const uint8_t *data, uint32_t len, uint32_t kinds)
{
	static uint8_t room[FRAME_MAX];
	const struct flt_piece frame = { data, len, len + 10 };
	struct skep_inner inner[SKEP_MAX_INNER], less[SKEP_MAX_INNER];
	uint32_t n = flt_inside_find(data, len, kinds, inner), n_less;

	assert(n <= SKEP_MAX_INNER);
	for (uint32_t i = 0; i < n; i++) {
		struct flt_piece p = flt_inside_piece(&frame, &inner[i], room);

		assert(flt_inside_wanted(&inner[i], kinds) && SKEP_INNER_LAST(inner[i].kind));
		assert(inner[i].off + 14u <= len && inner[i].mac_off + 12u <= len &&
		       inner[i].mac_off <= inner[i].off);
		assert(i == 0 || inner[i].off > inner[i - 1].off);
		assert(p.cap_len >= 14 && p.wire_len == p.cap_len + 10);
		for (uint32_t b = 0; b < p.cap_len; b++)
			assert((p.bytes[b] | 1) > 0);
	}
	n_less = flt_inside_find(data, len / 2, kinds, less);
	assert(n_less <= n && memcmp(inner, less, n_less * sizeof(*less)) == 0);
}

static void check_decap(const uint8_t *data, uint32_t len, uint32_t first)
{
	static struct cap_batch batch;
	static uint8_t one[FRAME_MAX + 14], many[FRAME_MAX + 14];
	struct cap_frame *f = &batch.frames[0];
	struct cap_decap *d = NULL;
	const struct cap_batch *got;
	uint32_t n;

	assert(cap_decap_new(SKEP_INNER_ALL, &d) == 0);
	*f = (struct cap_frame){ .data = data, .len = len, .cap_len = len, .wire_len = len };
	got = cap_decap_look(d, &batch, 0);
	n = cap_trim_gather(got, &got->frames[0], one, sizeof(one));
	assert(n == got->frames[0].cap_len && n == got->frames[0].wire_len && n <= len);
	f->len = first = SKEP_MIN(first, len);
	f->frag_n = 2;
	batch.frags[0] = (struct cap_frag){ data + first, (len - first) / 3 };
	batch.frags[1] =
		(struct cap_frag){ data + first + (len - first) / 3, len - first - (len - first) / 3 };
	(void)cap_decap_look(d, &batch, 0);
	got = cap_decap_take(d, &batch, 0);
	assert(cap_trim_gather(got, &got->frames[0], many, sizeof(many)) == n && memcmp(one, many, n) == 0);
	d = cap_decap_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size - 2 > FRAME_MAX)
		return 0;
	check_found(data + 2, (uint32_t)size - 2, data[0] & SKEP_INNER_ALL);
	check_decap(data + 2, (uint32_t)size - 2, data[1]);
	return 0;
}
