/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes given to the pcap and pcapng reader: never a bad access; and the same packets, end and refusal
 * whether they come at once or in pieces. The first byte: strict or not; the second: the size of the pieces.
 */
#include "capture/capfile.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct outcome {
	int r;
	uint64_t pkts;
	uint64_t whole;
	uint64_t sum; /* over lengths, times and bytes */
	bool truncated;
};

static void add(struct outcome *o, const struct cap_capfile_packet *p)
{
	o->pkts++;
	o->sum = o->sum * 31 + p->ts_ns + p->cap_len + p->wire_len + p->iface + p->offset;
	for (uint32_t i = 0; i < p->cap_len; i++)
		o->sum = o->sum * 31 + p->data[i];
	assert(p->cap_len <= CAP_SNAPLEN_MAX);
}

static struct outcome read_in_pieces(const uint8_t *data, size_t size, bool strict, size_t piece)
{
	_cap_capfile_free_ struct cap_capfile *f = NULL;
	struct cap_capfile_packet packet;
	struct skep_err err = SKEP_ERR_NULL;
	struct outcome o = { 0 };
	const int r = cap_capfile_new("input", strict, &f);

	assert(r == 0);
	for (;;) {
		uint8_t *p;
		size_t n;

		while ((o.r = cap_capfile_next(f, &packet, &err)) == 0)
			add(&o, &packet);
		if (o.r != -EAGAIN)
			break;
		p = cap_capfile_room(f, &n);
		assert(n > 0);
		n = SKEP_MIN(n, SKEP_MIN(piece, size));
		if (n == 0)
			cap_capfile_finish(f);
		else
			memcpy(p, data, n);
		cap_capfile_fed(f, n);
		data += n;
		size -= n;
	}
	assert(o.r == -ENODATA || (o.r > 0 && err.text[0]));
	o.whole = cap_capfile_whole(f);
	o.truncated = cap_capfile_truncated(f);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome once, pieces;

	if (size < 2)
		return 0;
	once = read_in_pieces(data + 2, size - 2, data[0] & 1, SIZE_MAX);
	pieces = read_in_pieces(data + 2, size - 2, data[0] & 1, 1u + data[1]);
	assert(once.r == pieces.r && once.pkts == pieces.pkts && once.whole == pieces.whole &&
	       once.sum == pieces.sum);
	assert(once.truncated == pieces.truncated && once.whole <= size - 2);
	return 0;
}
