/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: the terms that are read off a compiled filter hold exactly the frames that libpcap's bpf_filter()
 * takes, wherever they are said to be exact, and never miss one elsewhere: for every expression of
 * filters.txt and for random combinations of hosts, nets, ports and protocols (FLT_SEED=N repeats a run),
 * over captures and generated frames, whole, cut and damaged. Plain expressions are exact. The sets below the
 * terms do what sets do.
 */
#include "tests/unit/unit.h"

#include "capture/filter/front.h"
#include "capture/filter/merge_terms.h"
#include "tests/bpf/flt_exprs.h"

#include <arpa/inet.h>
#include <time.h>

#define FILTERS SKEP_SOURCE_ROOT "/tests/bpf/filters.txt"

COLLECTED_PACKETS(3000, 4242)

/* A field of a frame as the terms see it; false: not (completely) in the frame. Written down once more, from
 * the header that defines them. */
static bool field(const struct packet *p, enum flt_class class, enum flt_dim dim, flt_number *ret)
{
	static const struct {
		enum flt_class class;
		enum flt_dim dim;
		uint32_t at, bytes;
	} places[] = {
		{ FLT_CLASS_IP4, FLT_DIM_PROTO, 23, 1 }, { FLT_CLASS_IP4, FLT_DIM_FRAG, 20, 2 },
		{ FLT_CLASS_IP4, FLT_DIM_SRC, 26, 4 },	 { FLT_CLASS_IP4, FLT_DIM_DST, 30, 4 },
		{ FLT_CLASS_IP4, FLT_DIM_SPORT, 14, 2 }, { FLT_CLASS_IP4, FLT_DIM_DPORT, 16, 2 },
		{ FLT_CLASS_IP6, FLT_DIM_PROTO, 20, 1 }, { FLT_CLASS_IP6, FLT_DIM_INNER, 54, 1 },
		{ FLT_CLASS_IP6, FLT_DIM_SRC, 22, 16 },	 { FLT_CLASS_IP6, FLT_DIM_DST, 38, 16 },
		{ FLT_CLASS_IP6, FLT_DIM_SPORT, 54, 2 }, { FLT_CLASS_IP6, FLT_DIM_DPORT, 56, 2 },
		{ FLT_CLASS_ARP, FLT_DIM_SRC, 28, 4 },	 { FLT_CLASS_ARP, FLT_DIM_DST, 38, 4 },
		{ FLT_CLASS_ARP, FLT_DIM_TYPE, 12, 2 },	 { FLT_CLASS_OTHER, FLT_DIM_TYPE, 12, 2 },
	};

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		uint32_t at = places[i].at;

		if (places[i].class != class || places[i].dim != dim)
			continue;
		if (class == FLT_CLASS_IP4 && (dim == FLT_DIM_SPORT || dim == FLT_DIM_DPORT)) {
			if (p->len < 15)
				return false;
			at += 4 * (p->bytes[14] & 0xfu);
		}
		if (p->len < at + places[i].bytes)
			return false;
		*ret = 0;
		for (uint32_t k = 0; k < places[i].bytes; k++)
			*ret = *ret << 8 | p->bytes[at + k];
		if (dim == FLT_DIM_FRAG)
			*ret = (*ret & 0x1fff) != 0;
		return true;
	}
	fail_msg("class %d has no field %d", class, dim);
	return false;
}

static enum flt_class class_of(const struct packet *p)
{
	switch (p->bytes[12] << 8 | p->bytes[13]) {
	case 0x0800:
		return FLT_CLASS_IP4;
	case 0x86dd:
		return FLT_CLASS_IP6;
	case 0x0806:
	case 0x8035:
		return FLT_CLASS_ARP;
	default:
		return FLT_CLASS_OTHER;
	}
}

static bool in_term(const struct packet *p, enum flt_class class, const struct flt_term *t)
{
	flt_number value;

	for (int d = 0; d < FLT_DIMS; d++)
		if (t->in[d] && !(field(p, class, (enum flt_dim)d, &value) && flt_set_holds(t->in[d], value)))
			return false;
	return true;
}

/* 0: as promised. */
static int check_packet(const struct flt_terms *t, const struct bpf_program *prog, const struct packet *p)
{
	enum flt_class class = class_of(p);
	const struct flt_class_terms *c = &t->of[class];
	bool want = flt_front_match(prog, p->bytes, p->len, p->len) > 0, held = false;

	for (uint32_t i = 0; i < c->n && !held; i++)
		held = in_term(p, class, &c->v[i]);
	if (class == FLT_CLASS_IP6 && c->partial && p->len < 54)
		return 0; /* asked, whatever the terms say */
	return c->exact ? want != held : want && !held;
}

struct read {
	struct bpf_program prog;
	struct flt_terms *terms;
};

static int read_terms(const char *expr, struct read *ret)
{
	struct skep_err err = SKEP_ERR_NULL;
	const struct flt_cbpf *insns;
	uint32_t n;
	int r;

	*ret = (struct read){ 0 };
	r = flt_front_compile(expr, 1, 262144, &ret->prog, &err);
	if (r)
		return r;
	insns = flt_front_insns(&ret->prog, &n);
	assert_int_equal(flt_terms_read(insns, n, &ret->terms, &err), 0);
	return 0;
}

static void read_done(struct read *r)
{
	flt_front_free(&r->prog);
	r->terms = flt_terms_free(r->terms);
}

static size_t check_packets(const char *expr, const struct read *r, const struct packets *with)
{
	size_t bad = 0;

	for (size_t i = 0; i < with->n; i++)
		if (check_packet(r->terms, &r->prog, &with->v[i]) && bad++ < 3)
			print_message("# \"%s\": packet %zu of %u bytes, class %d\n", expr, i, with->v[i].len,
				      class_of(&with->v[i]));
	return bad;
}

static void test_corpus(void **state)
{
	FILE *f = fopen(FILTERS, "re");
	size_t n = 0, exact = 0, bad = 0;
	const char *expr;

	(void)state;
	assert_non_null(f);
	while ((expr = next_expr(f))) {
		struct read r;

		assert_int_equal(read_terms(expr, &r), 0);
		n++;
		exact += flt_terms_exact(r.terms);
		bad += check_packets(expr, &r, &packets) > 0;
		read_done(&r);
	}
	fclose(f);
	print_message("# %zu expressions, %zu of them merged, %zu packets\n", n, exact, packets.n);
	assert_true(n >= 300);
	assert_int_equal(bad, 0);
}

static void test_plain_expressions_are_exact(void **state)
{
	static const char *const plain[] = {
		"",
		"ip",
		"ip6",
		"arp",
		"rarp",
		"tcp",
		"udp",
		"icmp",
		"icmp6",
		"sctp",
		"not ip",
		"not tcp",
		"tcp or udp or icmp",
		"ip proto 47",
		"ip6 proto 44",
		"ether proto 0x88cc",
		"port 53",
		"not port 53",
		"tcp port 80",
		"udp src port 53",
		"tcp dst port 22",
		"port 80 or 443 or 8080",
		"portrange 1-1023",
		"udp portrange 5000-6000",
		"host 192.168.1.1",
		"src host 10.0.0.1",
		"not host 192.168.1.1",
		"host 10.0.0.1 or 10.0.0.2 or 10.0.0.3",
		"net 10.0.0.0/8",
		"net 0.0.0.0/1",
		"not net 192.168.0.0/16",
		"src net 10.0.0.0/8 and not dst net 10.0.0.0/8",
		"host 2001:db8::1",
		"dst host ff02::fb",
		"net 2001:db8::/33",
		"net fe80::/65",
		"host 192.168.1.1 and tcp port 80",
		"host 10.0.0.1 and (port 80 or port 443)",
		"tcp port 80 and not host 10.0.0.1",
		"net 10.0.0.0/8 or net 172.16.0.0/12 or net 192.168.0.0/16",
		"(host 10.0.0.1 or host fe80::1) and (tcp or udp)",
		"udp port 67 or udp port 68",
		"tcp port 25 or tcp port 110 or tcp port 143",
		"arp or icmp or icmp6",
		"ip and not tcp and not udp",
		"ip[6:2] & 0x1fff != 0",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		struct read r;

		assert_int_equal(read_terms(plain[i], &r), 0);
		for (int c = 0; c < FLT_CLASSES; c++)
			if (!r.terms->of[c].exact)
				fail_msg("\"%s\" is not merged for frames of class %d", plain[i], c);
		assert_int_equal(check_packets(plain[i], &r, &packets), 0);
		read_done(&r);
	}
}

static void test_random_combinations(void **state)
{
	uint64_t s = seed_of_run();
	size_t rounds = getenv("FLT_ROUNDS") ? strtoull(getenv("FLT_ROUNDS"), NULL, 0) : 300, bad = 0,
	       exact = 0, ran = 0;
	struct packets mine = { 0 };

	(void)state;
	add_generated(&mine, 2000, &s);
	for (size_t i = 0; i < rounds && bad < 5; i++) {
		char expr[1600];
		struct read r;

		if (i % 4 == 0)
			random_expr(expr, sizeof(expr), 3, &s);
		else
			random_simple(expr, sizeof(expr), 3, &s);
		if (read_terms(expr, &r)) /* "expression rejects all packets" and the like */
			continue;
		ran++;
		exact += flt_terms_exact(r.terms);
		bad += check_packets(expr, &r, &mine) > 0;
		read_done(&r);
	}
	free_packets(&mine);
	print_message("# %zu random expressions, %zu of them merged\n", ran, exact);
	assert_true(ran >= rounds / 3);
	assert_int_equal(bad, 0);
}

/* A filter beyond every bound is still answered, and misses nothing. */
static void test_bounds(void **state)
{
	static char expr[6000];
	size_t at = 0;
	struct read r;

	(void)state;
	for (int i = 0; i < 60; i++)
		at += (size_t)snprintf(expr + at, sizeof(expr) - at, "%s(host 10.%d.1.1 and port %d)",
				       i ? " or " : "", i, 1000 + i);
	assert_int_equal(read_terms(expr, &r), 0);
	assert_false(flt_terms_exact(r.terms));
	assert_int_equal(check_packets("60 hosts, each with its port", &r, &packets), 0);
	read_done(&r);
}

static void same_bits(const struct flt_set *s, const uint8_t bits[256])
{
	assert_non_null(s);
	for (unsigned v = 0; v < 256; v++)
		assert_int_equal(flt_set_holds(s, v), bits[v]);
	for (uint32_t i = 1; i < s->n; i++)
		assert_true(s->v[i].first > s->v[i - 1].last + 1);
}

static void test_sets(void **state)
{
	uint64_t seed = 99;

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct flt_arena a = { .left_bytes = 1 << 20 };
		const struct flt_set *s = flt_set_range(&a, 0, 255), *t = flt_set_range(&a, 7, 7);
		uint8_t in_s[256], in_t[256] = { [7] = 1 }, both[256];

		memset(in_s, 1, sizeof(in_s));
		for (int step = 0; step < 12; step++) {
			unsigned first = (unsigned)(next_random(&seed) % 256),
				 last = SKEP_MIN(255u, first + (unsigned)(next_random(&seed) % 60));
			bool inside = next_random(&seed) % 4 == 0;
			struct flt_range by = { first, last };

			s = flt_set_cut(&a, s, by, inside);
			t = flt_set_join(&a, t, flt_set_range(&a, first, SKEP_MIN(last, first + 3)));
			for (unsigned v = 0; v < 256; v++) {
				in_s[v] &= (v >= first && v <= last) == inside;
				in_t[v] |= v >= first && v <= SKEP_MIN(last, first + 3);
			}
			same_bits(s, in_s);
			same_bits(t, in_t);
			for (unsigned v = 0; v < 256; v++)
				both[v] = in_s[v] | in_t[v];
			same_bits(flt_set_join(&a, s, t), both);
		}
		flt_arena_done(&a);
	}
}

static void test_arena_ends(void **state)
{
	struct flt_arena a = { .left_bytes = 1000 };

	(void)state;
	assert_non_null(flt_arena_take(&a, 900));
	assert_null(flt_arena_take(&a, 200));
	assert_true(a.full);
	assert_null(flt_arena_take(&a, 1));
	flt_arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_arena_ends),
		cmocka_unit_test(test_corpus),
		cmocka_unit_test(test_plain_expressions_are_exact),
		cmocka_unit_test(test_random_combinations),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests_name("flt_merge", tests, collect, drop);
}
