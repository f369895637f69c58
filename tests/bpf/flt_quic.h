/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_FLT_QUIC_H
#define TEST_FLT_QUIC_H
/* Frames with QUIC, or with what nearly is, for the tests of the look stage and of its twin in user space. */
#include "tests/bpf/flt_packets.h"

struct quic_shape {
	uint8_t ip;	  /* 4 or 6 */
	uint8_t ext;	  /* bytes of IPv4 options, or IPv6 extension headers (8 bytes each), see make_quic */
	uint8_t client;	  /* last byte of the client's address */
	uint16_t port;	  /* the client's; the server's is 443 */
	bool back;	  /* from the server */
	uint8_t first;	  /* first byte of the payload */
	uint32_t version; /* behind it */
	uint8_t dcid, scid; /* lengths */
	uint16_t payload;   /* bytes of UDP payload; what is not said is 0xcc */
};

#define QUIC_V1 1u

/* A client's first packet; change what is to be different. */
#define QUIC_INITIAL                                                                               \
	{                                                                                          \
		.ip = 4, .client = 1, .port = 50000, .first = 0xc3, .version = QUIC_V1, .dcid = 8, \
		.payload = 1200                                                                    \
	}

static inline void put16(uint8_t *b, size_t at, uint32_t v)
{
	b[at] = (uint8_t)(v >> 8);
	b[at + 1] = (uint8_t)v;
}

static inline size_t put_ip4(uint8_t *b, const struct quic_shape *q)
{
	size_t words = 5 + q->ext / 4, at = 14;

	put(b, 12, "0800");
	memset(b + at, 0, words * 4);
	b[at] = (uint8_t)(0x40 | words);
	put16(b, at + 2, (uint32_t)(words * 4 + 8 + q->payload));
	b[at + 8] = 64;
	b[at + 9] = 17;
	put(b, at + (q->back ? 16 : 12), "0a000000");
	b[at + (q->back ? 19 : 15)] = q->client;
	put(b, at + (q->back ? 12 : 16), "c6336401");
	memset(b + at + 20, 1, words * 4 - 20);
	return at + words * 4;
}

/* Extension headers, in this order: hop by hop, destination options, routing, fragment (the first one). */
static inline size_t put_ip6(uint8_t *b, const struct quic_shape *q)
{
	static const uint8_t types[] = { 0, 60, 43, 44, 60, 60, 60, 60 };
	size_t at = 14 + 40, n = q->ext / 8, next = 20;

	put(b, 12, "86dd 60000000");
	put16(b, 18, (uint32_t)(n * 8 + 8 + q->payload));
	b[21] = 64;
	put(b, q->back ? 38 : 22, "20010db8000000000000000000000000");
	b[(q->back ? 38 : 22) + 15] = q->client;
	put(b, q->back ? 22 : 38, "20010db80000000000000000000000ff");
	for (size_t i = 0; i < n && i < sizeof(types); i++) {
		b[next] = types[i];
		next = at;
		put(b, at, types[i] == 44 ? "0000000100000007" : "0000010400000000");
		at += 8;
	}
	b[next] = 17;
	return at;
}

/* Returns the number of bytes; at most 14 + 40 + 64 + 8 + payload. */
static inline uint32_t make_quic(uint8_t *b, const struct quic_shape *q)
{
	size_t at;

	put(b, 0, "001122334455 665544332211");
	at = q->ip == 4 ? put_ip4(b, q) : put_ip6(b, q);
	put16(b, at, q->back ? 443 : q->port);
	put16(b, at + 2, q->back ? q->port : 443);
	put16(b, at + 4, 8u + q->payload);
	put16(b, at + 6, 0);
	memset(b + at + 8, 0xcc, q->payload);
	if (q->payload > 0)
		b[at + 8] = q->first;
	if (q->payload >= 7u + q->dcid + q->scid && q->first & 0x80) {
		put16(b, at + 9, q->version >> 16);
		put16(b, at + 11, q->version & 0xffff);
		b[at + 13] = q->dcid;
		b[at + 14 + q->dcid] = q->scid;
	}
	return (uint32_t)(at + 8 + q->payload);
}

/* Nearly anything: flows from a small set, known and unknown versions, long and short headers, cut frames. */
static inline void add_quic(struct packets *p, size_t n, uint64_t *seed)
{
	static const uint32_t versions[] = { 0,		 1,	     2,		 0x6b3343cf, 0xff00001d,
					     0xff000022, 0xff000015, 0xff000023, 0x1a2a3a4a, 0xfaceb002,
					     0x51303436, 0x51303433, 0x54303531, 0xdeadbeef };
	static uint8_t b[4096];
#define R(n) (next_random(seed) % (n))
	for (size_t i = 0; i < n; i++) {
		struct quic_shape q = {
			.ip = R(2) ? 4 : 6,
			.ext = (uint8_t)(R(3) ? 0 : 8 * R(8)),
			.client = (uint8_t)R(24),
			.port = (uint16_t)(50000 + R(4)),
			.back = R(2),
			.first = (uint8_t)(R(3) ? 0x40 | R(256) : R(256)),
			.version = versions[R(sizeof(versions) / sizeof(versions[0]))],
			.dcid = (uint8_t)R(23),
			.scid = (uint8_t)R(23),
			.payload = (uint16_t)(R(4)   ? R(80)
					      : R(8) ? R(1400)
						     : 0),
		};
		uint32_t len = make_quic(b, &q);

		if (q.version == 0x51303436 && q.payload > 20)
			b[len - q.payload + 5] = R(2) ? 0x50 : 0x05;
		if (R(6) == 0)
			b[12 + R(30)] ^= (uint8_t)(1u << R(8));
		add_packet(p, b, R(5) ? len : 14 + (uint32_t)R(len - 13), len);
	}
#undef R
}

/* The frame inside another one: VLAN, QinQ, MPLS, GRE, ERSPAN II, VXLAN. Returns the number of bytes. */
static inline uint32_t wrap_frame(uint8_t *out, const uint8_t *b, uint32_t len, int how)
{
	static const char *const heads[] = { "8100 0064",
					     "88a8 00c8 8100 0064",
					     "8847 00064140",
					     "00000800",
					     "100088be 00000001 1064000100000000",
					     "c00012b5 00000000 0800000000002a00" };
	size_t at = put(out, 0, "020000000001 020000000002"), from = how < 2 ? 12 : how < 4 ? 14 : 0;

	if (how >= 3) {
		at = put(out, at, "0800 45000000 00010000");
		at = put(out, at, how == 5 ? "4011" : "402f");
		at = put(out, at, "0000 0a000001 0a000002");
	}
	at = put(out, at, heads[how]);
	memcpy(out + at, b + from, len - from);
	at += len - from;
	if (how >= 3)
		put16(out, 16, (uint32_t)at - 14);
	return (uint32_t)at;
}

static inline void add_wrapped_quic(struct packets *p, size_t n, uint64_t *seed)
{
	struct packets plain = { 0 };
	static uint8_t out[4096];

	add_quic(&plain, n, seed);
	for (size_t i = 0; i < plain.n; i++) {
		uint32_t len;

		if (plain.v[i].len < 34)
			continue;
		len = wrap_frame(out, plain.v[i].bytes, plain.v[i].len, (int)(next_random(seed) % 6));
		add_packet(p, out, len, len);
	}
	free_packets(&plain);
}

#endif
