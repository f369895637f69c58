/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Builds the header templates of generated frames and, for the ways of sending that do not run in the kernel
 * and for the checker, whole frames. Addresses are of the benchmark networks (198.18.0.0/15 of RFC 2544,
 * 2001:2::/48 of RFC 5180), ports of the discard service, or 443 for the QUIC-like flows: nothing on a
 * network answers them. Pure functions.
 */
#include "bench/gen_frame.h"

#include <string.h>

/* The "simple IMIX": 7 small, 4 middle, 1 large (64, 594 and 1,518 bytes with FCS), spread evenly. */
static const uint16_t imix[SKEP_GEN_SIZES] = { 64, 590, 64, 64, 590, 64, 1514, 64, 590, 64, 590, 64 };

uint64_t bench_gen_frame_sum(const uint8_t *p, uint32_t len)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return len & 1 ? sum + ((uint32_t)p[len - 1] << 8) : sum;
}

static void template_ip(struct skep_gen_template *t, uint8_t *ip)
{
	static const uint8_t ip6_src[16] = { 0x20, 0x01, 0, 2, [8] = 1 },
			     ip6_dst[16] = { 0x20, 0x01, 0, 2, [8] = 2, [15] = 1 };

	if (t->is_ip6) {
		ip[0] = 0x60;
		ip[6] = t->is_tcp ? 6 : 17;
		ip[7] = 64;
		memcpy(ip + 8, ip6_src, 16);
		memcpy(ip + 24, ip6_dst, 16);
		t->l4_sum = (uint32_t)bench_gen_frame_sum(ip + 8, 32) + ip[6];
		return;
	}
	ip[0] = 0x45;
	ip[6] = 0x40; /* do not fragment */
	ip[8] = 64;
	ip[9] = t->is_tcp ? 6 : 17;
	memcpy(ip + 12, (const uint8_t[]){ 198, 18, 0, 0, 198, 19, 0, 1 }, 8);
	t->l3_sum = (uint32_t)bench_gen_frame_sum(ip, 20);
	t->l4_sum = (uint32_t)bench_gen_frame_sum(ip + 12, 8) + ip[9];
}

static void template_make(const struct bench_gen_options *o, int proto, bool ip6, struct skep_gen_template *t)
{
	uint8_t *l4, *tag;

	memset(t, 0, sizeof(*t));
	t->is_ip6 = ip6;
	t->is_tcp = proto == BENCH_GEN_TCP;
	t->l3 = o->vlan == BENCH_GEN_VLAN_NONE ? 14 : 18;
	t->l4 = t->l3 + (ip6 ? 40 : 20);
	t->tag = t->l4 + (t->is_tcp ? 20 : 8);
	memcpy(t->bytes, o->dst_mac, 6);
	memcpy(t->bytes + 6, (const uint8_t[]){ 0x02, 's', 'k', 'e', 'p', 1 }, 6);
	if (o->vlan != BENCH_GEN_VLAN_NONE) {
		skep_gen_put16(t->bytes + 12, 0x8100);
		skep_gen_put16(t->bytes + 14, o->vlan);
	}
	skep_gen_put16(t->bytes + t->l3 - 2, ip6 ? 0x86dd : 0x0800);
	template_ip(t, t->bytes + t->l3);
	l4 = t->bytes + t->l4;
	tag = t->bytes + t->tag;
	skep_gen_put16(l4 + 2, proto == BENCH_GEN_QUIC ? 443 : 9);
	if (t->is_tcp) {
		skep_gen_put32(l4 + 8, 1);
		l4[12] = 5 << 4;
		l4[13] = 0x18; /* PSH, ACK */
		skep_gen_put16(l4 + 14, 0xffff);
	}
	skep_gen_put32(tag, SKEP_GEN_MAGIC);
	tag[12] = (uint8_t)o->payload;
	tag[13] = (uint8_t)(o->seed >> 16);
	skep_gen_put16(tag + 14, o->seed & 0xffff);
	t->l4_sum += (uint32_t)bench_gen_frame_sum(l4, t->tag + SKEP_GEN_TAG_BYTES - t->l4);
}

static uint32_t templates_make(const struct bench_gen_options *o, struct skep_gen_template *templates)
{
	uint32_t n = 0;
	int proto, ip;

	for (proto = BENCH_GEN_UDP; proto < BENCH_GEN_PROTO_MIX; proto++) {
		for (ip = BENCH_GEN_IP4; ip < BENCH_GEN_IP_MIX; ip++) {
			if ((o->proto == BENCH_GEN_PROTO_MIX || o->proto == proto) &&
			    (o->ip == BENCH_GEN_IP_MIX || o->ip == ip))
				template_make(o, proto, ip == BENCH_GEN_IP6, &templates[n++]);
		}
	}
	return n;
}

static int sizes_make(const struct bench_gen_options *o, uint32_t head, struct skep_gen_cfg *cfg,
		      struct skep_err *err)
{
	uint32_t i;

	if (o->size != BENCH_GEN_SIZE_IMIX) {
		if (o->size < head)
			return skep_err_set(err, SKEP_E_USAGE,
					    "--size %u: the headers and the tag take %u bytes", o->size,
					    head);
		if (o->size > SKEP_GEN_FRAME_MAX)
			return skep_err_set(err, SKEP_E_USAGE, "--size %u: the longest frame is %u bytes",
					    o->size, SKEP_GEN_FRAME_MAX);
		cfg->n_sizes = 1;
		cfg->sizes[0] = cfg->page_len = o->size;
		return 0;
	}
	cfg->n_sizes = SKEP_GEN_SIZES;
	for (i = 0; i < SKEP_GEN_SIZES; i++)
		cfg->sizes[i] = SKEP_MAX(imix[i], head);
	for (i = 0; i < SKEP_GEN_SIZES; i++)
		cfg->page_len = SKEP_MAX(cfg->page_len, cfg->sizes[i]);
	return 0;
}

int bench_gen_frame_prepare(const struct bench_gen_options *o, struct skep_gen_cfg *cfg,
			    struct skep_gen_template templates[SKEP_GEN_TEMPLATES], struct skep_err *err)
{
	uint32_t i, head = 0;
	int r;

	memset(cfg, 0, sizeof(*cfg));
	cfg->n_templates = templates_make(o, templates);
	for (i = 0; i < cfg->n_templates; i++)
		head = SKEP_MAX(head, templates[i].tag + SKEP_GEN_TAG_BYTES);
	r = sizes_make(o, head, cfg, err);
	if (r)
		return r;
	/* a page that was always the same kind of frame still has its zeros */
	cfg->store_payload = o->payload != SKEP_GEN_ZERO || cfg->n_templates > 1;
	cfg->first_seq = o->first_seq;
	cfg->count = o->count;
	cfg->duration_ns = o->duration_ns;
	cfg->n_flows = o->flows;
	cfg->dry = o->dry;
	if (o->rate > 0 && o->rate_is_bits)
		cfg->per_byte_q = (uint64_t)(8e9 * 65536 / o->rate + 0.5);
	else if (o->rate > 0)
		cfg->per_frame_q = (uint64_t)(1e9 * 65536 / o->rate + 0.5);
	return 0;
}

uint32_t bench_gen_frame_build(const struct skep_gen_cfg *cfg,
			       struct skep_gen_template templates[SKEP_GEN_TEMPLATES],
			       struct bench_pool *pool, uint64_t seq, uint8_t *out)
{
	uint32_t len = cfg->sizes[seq % cfg->n_sizes], flow = (uint32_t)(seq % cfg->n_flows);
	struct skep_gen_template *t = &templates[flow % cfg->n_templates];
	uint32_t head = t->tag + SKEP_GEN_TAG_BYTES;
	const uint8_t *payload = bench_pool_payload(pool, seq, len - head);

	skep_gen_finish(t, seq, flow, len,
			skep_gen_needs_sum(t) ? bench_gen_frame_sum(payload, len - head) : 0);
	memcpy(out, t->bytes, head);
	memcpy(out + head, payload, len - head);
	return len;
}
