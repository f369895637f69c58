/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks received frames of the generator. A frame's payload follows from its tag (sequence number, kind,
 * seed) and its length, so it is made anew and compared byte by byte; nothing has to be kept of what was
 * sent. Frames that were cut (snaplen) are compared as far as they go.
 */
#include "bench/seq.h"
#include "bench/gen_frame.h"

#include <errno.h>
#include <string.h>

/* A tag further ahead than this is damaged: 2^33 frames are an hour at 2.4 million a second, and a bitmap of
 * 1 GiB. */
#define SEQ_SPAN_MAX (1ull << 33)

struct view {
	uint32_t l3;
	uint32_t tag;
	bool is_ip6;
};

static uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

/* Finds the tag; false: the frame is none of the generator's. */
static bool find_tag(const uint8_t *f, uint32_t len, struct view *v)
{
	uint32_t proto;

	v->l3 = 14;
	if (len >= 18 && (get16(f + 12) == 0x8100 || get16(f + 12) == 0x88a8))
		v->l3 = 18;
	if (len < v->l3 + 40)
		return false;
	v->is_ip6 = get16(f + v->l3 - 2) == 0x86dd;
	if (!v->is_ip6 && (get16(f + v->l3 - 2) != 0x0800 || f[v->l3] != 0x45))
		return false;
	proto = f[v->l3 + (v->is_ip6 ? 6 : 9)];
	if (proto != 6 && proto != 17)
		return false;
	v->tag = v->l3 + (v->is_ip6 ? 40 : 20) + (proto == 6 ? 20 : 8);
	return len >= v->tag + SKEP_GEN_TAG_BYTES && get32(f + v->tag) == SKEP_GEN_MAGIC;
}

static int find_pool(struct bench_seq *seq, uint32_t kind, uint32_t seed, struct bench_pool **ret)
{
	uint32_t i;

	*ret = NULL;
	if (kind >= SKEP_GEN_PAYLOADS)
		return 0;
	for (i = 0; i < BENCH_SEQ_POOLS; i++) {
		if (!seq->pools[i]) {
			*ret = seq->pools[i] = bench_pool_new((enum skep_gen_payload)kind, seed);
			return *ret ? 0 : -ENOMEM;
		}
		if ((uint32_t)seq->pools[i]->kind == kind && seq->pools[i]->seed == seed) {
			*ret = seq->pools[i];
			return 0;
		}
	}
	return 0;
}

static int is_intact(struct bench_seq *seq, const uint8_t *f, uint32_t len, uint32_t wire_len,
		     const struct view *v, uint64_t number)
{
	uint32_t head = v->tag + SKEP_GEN_TAG_BYTES, ip_len;
	const uint8_t *tag = f + v->tag;
	struct bench_pool *pool;
	int r;

	ip_len = v->is_ip6 ? get16(f + v->l3 + 4) + 40 : get16(f + v->l3 + 2);
	if (ip_len + v->l3 != wire_len || wire_len > SKEP_GEN_FRAME_MAX)
		return 0;
	if (!v->is_ip6 && skep_gen_fold(bench_gen_frame_sum(f + v->l3, 20)) != 0xffff)
		return 0;
	r = find_pool(seq, tag[12], (uint32_t)tag[13] << 16 | get16(tag + 14), &pool);
	if (r || !pool)
		return r;
	return memcmp(f + head, bench_pool_payload(pool, number, wire_len - head), len - head) == 0;
}

/* 1: the number had come before; 0: it is new. */
static int mark(struct bench_seq *seq, uint64_t offset)
{
	uint64_t bits = SKEP_MAX(seq->seen_bits * 2, 1ull << 20);
	uint8_t *more;
	int was;

	if (offset >= seq->seen_bits) {
		while (bits <= offset)
			bits *= 2;
		more = realloc(seq->seen, bits / 8);
		if (!more)
			return -ENOMEM;
		memset(more + seq->seen_bits / 8, 0, (bits - seq->seen_bits) / 8);
		seq->seen = more;
		seq->seen_bits = bits;
	}
	was = seq->seen[offset / 8] >> (offset % 8) & 1;
	seq->seen[offset / 8] |= (uint8_t)(1u << (offset % 8));
	return was;
}

int bench_seq_add(struct bench_seq *seq, const uint8_t *frame, uint32_t len, uint32_t wire_len)
{
	uint64_t number;
	struct view v;
	int r;

	if (!find_tag(frame, len, &v)) {
		seq->foreign++;
		return 0;
	}
	seq->frames++;
	seq->bytes += len;
	number = (uint64_t)get32(frame + v.tag + 4) << 32 | get32(frame + v.tag + 8);
	r = is_intact(seq, frame, len, wire_len, &v, number);
	if (r < 0)
		return r;
	seq->corrupted += r == 0;
	if (number < seq->first || number - seq->first >= SEQ_SPAN_MAX) {
		seq->stray++;
		return 0;
	}
	r = mark(seq, number - seq->first);
	if (r < 0)
		return r;
	seq->duplicated += r == 1;
	seq->reordered += seq->unique && number < seq->max;
	if (r == 0) {
		seq->min = seq->unique ? SKEP_MIN(seq->min, number) : number;
		seq->max = seq->unique ? SKEP_MAX(seq->max, number) : number;
		seq->unique++;
	}
	return 0;
}

uint64_t bench_seq_lost(const struct bench_seq *seq, uint64_t last)
{
	uint64_t i, here = 0, expected = last >= seq->first ? last - seq->first + 1 : 0;

	for (i = 0; i < expected && i < seq->seen_bits; i++)
		here += seq->seen[i / 8] >> (i % 8) & 1;
	return expected - here;
}

void bench_seq_done(struct bench_seq *seq)
{
	uint32_t i;

	for (i = 0; i < BENCH_SEQ_POOLS; i++)
		seq->pools[i] = bench_pool_free(seq->pools[i]);
	free(seq->seen);
	seq->seen = NULL;
}
