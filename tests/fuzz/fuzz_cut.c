/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a capture that is cut: whole or in pieces, the same comes out and the same is said of it;
 * never more than went in, never more packets than the limit. The first three bytes choose format, limits and
 * pieces.
 */
#include "common/util.h"
#include "hive/export/cut.h"

#include <assert.h>
#include <string.h>

struct out {
	uint8_t data[65536];
	size_t n;
};

static int put(void *arg, const uint8_t *data, size_t n)
{
	struct out *out = arg;

	assert(out->n + n <= sizeof(out->data));
	memcpy(out->data + out->n, data, n);
	out->n += n;
	return 0;
}

static int cut_it(struct hive_cut *cut, const uint8_t *data, size_t size, size_t piece, struct out *out)
{
	int r = 0;

	out->n = 0;
	for (size_t at = 0; r == 0 && at < size; at += piece)
		r = hive_cut_feed(cut, data + at, SKEP_MIN(piece, size - at),
				  &(struct hive_cut_to){ put, out });
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct out whole, pieces;
	struct hive_cut cut = { 0 }, again;
	int r;

	if (size < 3 || size > sizeof(whole.data))
		return 0;
	cut.pcapng = data[0] & 1;
	cut.pkts_max = data[0] >> 1 & 15;
	cut.bytes_max = data[0] & 0x80 ? data[1] * 16 : 0;
	again = cut;
	r = cut_it(&cut, data + 3, size - 3, size, &whole);
	assert(cut_it(&again, data + 3, size - 3, (size_t)data[2] % 40 + 1, &pieces) == r);
	assert(whole.n <= size - 3 && whole.n == pieces.n && memcmp(whole.data, pieces.data, whole.n) == 0);
	assert(cut.pkts == again.pkts && cut.bytes == again.bytes && cut.over == again.over);
	assert((!cut.pkts_max || cut.pkts <= cut.pkts_max) && (!cut.bytes_max || cut.bytes <= cut.bytes_max));
	return 0;
}
