/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_BPF_GEN_H
#define SKEP_BPF_GEN_H
/*
 * The frames of the traffic generator: what the BPF program that sends them and the programs that build and
 * check them in user space must agree on. One frame is
 *
 *   Ethernet [802.1Q] IPv4|IPv6 UDP|TCP   tag (16 bytes)   payload
 *
 * and everything in it follows from its sequence number, its length and the settings of the run.
 * Tag, at the first byte of the UDP or TCP payload:
 *
 *   0  "SKPG" (its first byte, 0x53, is also a valid first byte of a QUIC short header: fixed bit set)
 *   4  sequence number, 64 bits, network order
 *  12  kind of payload: 0 random, 1 compressible, 2 zero
 *  13  seed of the payload pool, 24 bits, network order
 */
#include "bpf/abi/skep_abi.h"

#define SKEP_GEN_MAGIC 0x534b5047u /* "SKPG" */
#define SKEP_GEN_TAG_BYTES 16u
#define SKEP_GEN_SEED_MAX 0xffffffu

enum skep_gen_payload { SKEP_GEN_RANDOM, SKEP_GEN_COMPRESSIBLE, SKEP_GEN_ZERO, SKEP_GEN_PAYLOADS };

/*
 * The payload pool: 32 MiB, four times the window of zstd's level 19 and 64 times that of level 1, so no
 * match reaches the round before. A slice that begins near the end runs on into the tail, which repeats the
 * pool's first bytes.
 */
#define SKEP_GEN_POOL_BYTES (32u << 20)
#define SKEP_GEN_POOL_TAIL 16384u
/* Live frames lie in one page with head and tail room; longer frames take another way. */
#define SKEP_GEN_LIVE_MAX 2048u
#define SKEP_GEN_FRAME_MAX 9234u /* MTU 9,216 + Ethernet + one tag */

/* udp, tcp and quic, each over IPv4 and IPv6 */
#define SKEP_GEN_TEMPLATES 6u
/* frame lengths are taken in turn: one entry for a fixed size, twelve for IMIX */
#define SKEP_GEN_SIZES 12u

/* Room for Ethernet + tag + IPv6 + TCP + our tag = 94 bytes; 160 because a verifier wants masks (offsets <
 * 128), not sums. */
#define SKEP_GEN_HEAD_BYTES 160u

struct skep_gen_template {
	SKEP_ABI_U8
	bytes[SKEP_GEN_HEAD_BYTES]; /* headers and tag; what varies is 0 until a frame is finished */
	SKEP_ABI_U32 l3;	    /* offset of the IP header */
	SKEP_ABI_U32 l4;	    /* offset of the UDP or TCP header */
	SKEP_ABI_U32 tag;	    /* offset of the tag */
	SKEP_ABI_U32 is_ip6;
	SKEP_ABI_U32 is_tcp;
	SKEP_ABI_U32 l3_sum; /* sum of the IPv4 header's constant 16-bit words */
	SKEP_ABI_U32 l4_sum; /* the same of pseudo header, L4 header and tag */
	SKEP_ABI_U32 pad;
};

struct skep_gen_cfg {
	SKEP_ABI_U64 first_seq;
	SKEP_ABI_U64 count;	  /* frames to hand over; 0: no limit */
	SKEP_ABI_U64 duration_ns; /* 0: no limit */
	/* Pacing: a frame of n bytes takes per_frame_q + n * per_byte_q of time, in ns << 16; both 0: flat
	 * out. */
	SKEP_ABI_U64 per_frame_q;
	SKEP_ABI_U64 per_byte_q;
	SKEP_ABI_U32 ifindex;
	SKEP_ABI_U32 n_templates;
	SKEP_ABI_U32 n_sizes;
	SKEP_ABI_U32 n_flows;
	SKEP_ABI_U32 store_payload; /* 0: the payload is all zero and never written */
	SKEP_ABI_U32 sizes[SKEP_GEN_SIZES];
	SKEP_ABI_U32 dry;      /* build frames, send none */
	SKEP_ABI_U32 page_len; /* the longest of them: what a page holds before it is cut */
};

/* Written by the sending program alone, read by the program that runs it. */
struct skep_gen_state {
	SKEP_ABI_U64 attempted; /* frames handed over for transmission */
	SKEP_ABI_U64 attempted_bytes;
	SKEP_ABI_U64 start_ns; /* CLOCK_MONOTONIC of the first frame */
	SKEP_ABI_U64 last_ns;  /* of the last one */
	SKEP_ABI_U64 next_q;   /* pacing: when the next frame is due, after start_ns, ns << 16 */
	SKEP_ABI_U64 gate_q;   /* pacing: not before, so that arrears are made up at twice the rate, not in a
				  burst */
	SKEP_ABI_U64 late_ns;  /* pacing: how long after it was due the latest frame was handed over */
	SKEP_ABI_U64 errors;   /* frames that could not be built: always 0 unless there is a defect */
	SKEP_ABI_U32 done;     /* count or duration reached */
	SKEP_ABI_U32 pad;
};

/*
 * Where in the pool the payload of frame seq begins; len = bytes after the tag. Neighbours lie next to each
 * other, so that nothing repeats before the whole pool was used; and any one bit of seq changes the place, so
 * that a damaged number shows: 17 bits each are folded into the 22 that count (odd multiples of 8, modulo
 * 2^25).
 */
static inline SKEP_ABI_U32 skep_gen_slice(SKEP_ABI_U64 seq, SKEP_ABI_U32 len)
{
	SKEP_ABI_U64 n = seq ^ (seq >> 17) ^ (seq >> 34) ^ (seq >> 51);

	return (SKEP_ABI_U32)((n * (((len + 7u) & ~7u) | 8u)) & (SKEP_GEN_POOL_BYTES - 1));
}

static inline void skep_gen_put16(SKEP_ABI_U8 *p, SKEP_ABI_U32 v)
{
	p[0] = (SKEP_ABI_U8)(v >> 8);
	p[1] = (SKEP_ABI_U8)v;
}

static inline void skep_gen_put32(SKEP_ABI_U8 *p, SKEP_ABI_U32 v)
{
	skep_gen_put16(p, v >> 16);
	skep_gen_put16(p + 2, v & 0xffff);
}

/* Folds a sum of 16-bit words (RFC 1071). */
static inline SKEP_ABI_U32 skep_gen_fold(SKEP_ABI_U64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (SKEP_ABI_U32)sum;
}

/* Does the frame's L4 checksum cover the payload? UDP over IPv4 may do without (RFC 768), and does: it is the
 * fast case. */
static inline int skep_gen_needs_sum(const struct skep_gen_template *t)
{
	return t->is_tcp || t->is_ip6;
}

/*
 * Completes the template for one frame: lengths, addresses and ports of its flow, sequence number, checksums.
 * payload_sum: sum of the payload's 16-bit words in network order, if skep_gen_needs_sum().
 */
static inline void skep_gen_finish(struct skep_gen_template *t, SKEP_ABI_U64 seq, SKEP_ABI_U32 flow,
				   SKEP_ABI_U32 len, SKEP_ABI_U64 payload_sum)
{
	SKEP_ABI_U8 *ip = t->bytes + (t->l3 & 63), *l4 = t->bytes + (t->l4 & 63),
		    *tag = t->bytes + (t->tag & 127);
	SKEP_ABI_U32 host = flow & 0xffff, port = 1024 + (flow & 0x7fff), l4_len = len - t->l4;
	SKEP_ABI_U32 tcp_seq = (SKEP_ABI_U32)seq * 1460;
	SKEP_ABI_U64 sum;

	skep_gen_put32(tag + 4, (SKEP_ABI_U32)(seq >> 32));
	skep_gen_put32(tag + 8, (SKEP_ABI_U32)seq);
	if (t->is_ip6) {
		skep_gen_put16(ip + 4, len - t->l3 - 40);
		skep_gen_put16(ip + 22, host);
	} else {
		skep_gen_put16(ip + 2, len - t->l3);
		skep_gen_put16(ip + 14, host);
		skep_gen_put16(ip + 10,
			       ~skep_gen_fold((SKEP_ABI_U64)t->l3_sum + (len - t->l3) + host) & 0xffff);
	}
	skep_gen_put16(l4, port);
	if (t->is_tcp)
		skep_gen_put32(l4 + 4, tcp_seq);
	else
		skep_gen_put16(l4 + 4, l4_len);
	if (!skep_gen_needs_sum(t))
		return;
	sum = payload_sum + t->l4_sum + host + port + l4_len /* pseudo header */ + (seq >> 48) +
	      ((seq >> 32) & 0xffff) + ((seq >> 16) & 0xffff) + (seq & 0xffff);
	sum += t->is_tcp ? (tcp_seq >> 16) + (tcp_seq & 0xffff) : l4_len;
	sum = ~skep_gen_fold(sum) & 0xffff;
	skep_gen_put16(l4 + (t->is_tcp ? 16 : 6), sum ? (SKEP_ABI_U32)sum : 0xffff);
}

#endif
