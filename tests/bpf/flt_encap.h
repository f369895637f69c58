/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_FLT_ENCAP_H
#define TEST_FLT_ENCAP_H
/* Random frames with packets inside: tags, labels, GRE, ERSPAN and VXLAN over IPv4 and IPv6, one in the
 * other; whole, cut short anywhere, damaged, and long. */
#include "tests/bpf/flt_packets.h"

#define PICK(n) (next_random(seed) % (n))

static inline size_t encap_ip(uint8_t *b, size_t at, int depth, uint64_t *seed);

/* What follows the MAC addresses and tags of a frame that nothing is inside of. */
static inline size_t encap_leaf(uint8_t *b, size_t at, uint64_t *seed)
{
	static uint8_t frame[512];
	uint32_t len = make_frame(frame, seed);

	memcpy(b + at, frame + 12, len - 12);
	return at + len - 12;
}

static inline size_t encap_labels(uint8_t *b, size_t at, int depth, uint64_t *seed)
{
	for (uint64_t n = PICK(3); n > 0; n--)
		at = put(b, at, "00064040");
	return encap_ip(b, put(b, at, "00064140"), depth, seed);
}

static inline size_t encap_ethernet(uint8_t *b, size_t at, int depth, uint64_t *seed)
{
	size_t end;

	at = put(b, at, PICK(2) ? "001122334455 665544332211" : "020000000001 020000000002");
	for (uint64_t n = PICK(3) == 0 ? 1 + PICK(3) : 0; n > 0; n--)
		at = put(b, at, PICK(2) ? "8100 0001" : PICK(2) ? "88a8 0064" : "9100 00c8");
	if (depth == 0)
		return encap_leaf(b, at, seed);
	if (PICK(5) == 0)
		return encap_labels(b, put(b, at, PICK(2) ? "8847" : "8848"), depth - 1, seed);
	end = encap_ip(b, at + 2, depth, seed);
	(void)put(b, at, b[at + 2] >> 4 == 6 ? "86dd" : "0800");
	return end;
}

static inline size_t encap_gre(uint8_t *b, size_t at, int depth, uint64_t *seed)
{
	uint8_t flags =
		(uint8_t)((PICK(3) == 0 ? 0x80 : 0) | (PICK(3) == 0 ? 0x20 : 0) | (PICK(3) == 0 ? 0x10 : 0));
	uint64_t what = PICK(7);
	size_t head = at;

	flags = what == 3 ? flags & 0x20 : what > 3 && what < 6 ? flags | 0x10 : flags;
	at = put(b, at, what == 0   ? "00000800"
			: what == 1 ? "00006558"
			: what == 2 ? "00008847"
			: what < 5  ? "000088be"
			: what == 5 ? "000022eb"
				    : "000086dd");
	b[head] = flags;
	for (int bit = 7; bit >= 4; bit--)
		if (flags & 1 << bit)
			at = put(b, at, "00000007");
	if (what == 0 || what == 6)
		return encap_ip(b, at, depth, seed);
	if (what == 2)
		return encap_labels(b, at, depth, seed);
	if (what == 4)
		at = put(b, at, "1064 0001 00000000");
	if (what == 5) {
		uint64_t form = PICK(3);

		at = put(b, at, form == 0   ? "2064 0001 00000000 00000000"
				: form == 1 ? "2064 0001 00000000 00000001 1000000000000000"
					    : "2064 0001 00000000 00000800");
		if (form == 2)
			return encap_ip(b, at, depth, seed);
	}
	return encap_ethernet(b, at, depth, seed);
}

static inline size_t encap_ip(uint8_t *b, size_t at, int depth, uint64_t *seed)
{
	static const char *const v4[] = { "c0a80101", "0a000001", "08080808", "c0a80102" };
	static const char *const v6[] = { "fe800000000000000000000000000001", "20010db8000000000000000000000001" };
	size_t proto;

	if (PICK(3)) {
		size_t ip = at, words = PICK(4) ? 5 : 5 + PICK(11);

		at = put(b, at, PICK(2) ? "4500 0000 0001" : "4500 0400 0001");
		b[ip] = (uint8_t)(0x40 | words);
		at = put(b, at, PICK(8) ? "0000 4000 0000" : PICK(2) ? "2000 4000 0000" : "00b9 4000 0000");
		at = put(b, put(b, at, v4[PICK(4)]), v4[PICK(4)]);
		for (size_t i = 5; i < words; i++)
			at = put(b, at, "01010101");
		proto = ip + 9;
	} else {
		proto = at + 6;
		at = put(b, at, PICK(2) ? "60000000 0000 0040" : "60000000 0400 0040");
		at = put(b, put(b, at, v6[PICK(2)]), v6[PICK(2)]);
		for (uint64_t n = PICK(4) == 0 ? 1 + PICK(3) : 0; n > 0; n--) {
			b[proto] = (uint8_t[]){ 0, 43, 60, 44, 51 }[PICK(5)];
			proto = at;
			at = put(b, at, "00000000 00000000");
			if (b[proto] == 51)
				at = put(b, at, "00000000");
		}
	}
	if (depth == 0) { /* plain transport */
		static const char *const ports[] = { "0050", "0035", "01bb", "0016" };

		b[proto] = PICK(2) ? 6 : 17;
		at = put(b, put(b, at, ports[PICK(4)]), ports[PICK(4)]);
		for (uint64_t n = PICK(60); n > 0; n--)
			b[at++] = (uint8_t)next_random(seed);
		return at;
	}
	if (PICK(4)) {
		b[proto] = 47;
		return encap_gre(b, at, depth - 1, seed);
	}
	b[proto] = 17;
	at = put(b, at, PICK(8) == 0 ? "c000 0035 0000 0000" : PICK(2) ? "c000 12b5 0000 0000" : "c000 2118 0400 0000");
	return encap_ethernet(b, put(b, at, "0800000000002a00"), depth - 1, seed);
}

static inline void add_encapsulated(struct packets *p, size_t n, uint64_t *seed)
{
	static uint8_t b[16384];

	for (size_t i = 0; i < n; i++) {
		uint32_t len = (uint32_t)encap_ethernet(b, 0, (int)PICK(5), seed);

		if (PICK(6) == 0)
			b[PICK(len)] ^= (uint8_t)(1u << PICK(8));
		add_packet(p, b, len, len);
		if (i % 3 == 0) {
			uint32_t cut = 14 + (uint32_t)PICK(len - 13);

			add_packet(p, b, cut, cut);
		}
		if (i % 32 == 0) { /* in several buffers of a page */
			for (size_t j = len; j < 9000; j++)
				b[j] = (uint8_t)j;
			add_packet(p, b, 5000 + (uint32_t)PICK(4000), 9000);
		}
	}
}
#undef PICK

#endif
