/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a frame for the parsers of addresses, transport headers and QUIC, which XDP runs too: never a
 * bad access (the frame is on the heap, of its exact size); headers that are found are inside the frame; a
 * long header has its bits; the flow's key is the same both ways, with no byte left unset.
 */
#include "capture/filter/view.h"

#include "bpf/abi/skep_quic.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	const struct skep_view v = { .bytes = copy, .len = (uint32_t)size };
	struct skep_addrs addrs, back;
	struct skep_transport t, there;
	struct skep_flow_key key, other;

	assert(copy);
	memcpy(copy, data, size);
	skep_addrs_read(&v, &addrs);
	assert(addrs.version == 0 || addrs.version == 4 || addrs.version == 6);
	skep_transport_read(&v, &addrs, &t);
	if (t.ports) {
		assert(t.there && t.at >= 34 && t.at + 4 <= size);
		(void)skep_quic_has_payload(&v, t.at);
		if (skep_quic_is_long(&v, t.at)) {
			/* Enough was there to say so, and the two bits are set. */
			assert(size >= t.at + 14 && (copy[t.at + 8] & 0xc0) == 0xc0);
			assert(skep_quic_has_payload(&v, t.at));
		}
	}
	back = addrs;
	memcpy(back.src, addrs.dst, sizeof(back.src));
	memcpy(back.dst, addrs.src, sizeof(back.dst));
	there = t;
	there.src = t.dst;
	there.dst = t.src;
	memset(&key, 0xaa, sizeof(key));
	memset(&other, 0x55, sizeof(other));
	skep_flow_key_make(&addrs, &t, &key);
	skep_flow_key_make(&back, &there, &other);
	assert(memcmp(&key, &other, sizeof(key)) == 0);
	free(copy);
	return 0;
}
