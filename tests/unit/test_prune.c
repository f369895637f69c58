/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that no block is passed over in which libpcap's interpreter finds a packet that the filter matches:
 * random packets (options, fragments, extension headers, tags, cut at any byte) in blocks, random filters;
 * and that blocks are passed over at all, where a flow is in one of many.
 */
#include "tool.h"
#include "unit.h"

#include "capture/filter/front.h"
#include "capture/prune.h"
#include "capture/sidecar.h"

#include <pcap/bpf.h>
#include <stdio.h>

#define BLOCKS 40u
#define PER_BLOCK 12u
#define FRAME_MAX 128u

struct frame {
	uint8_t bytes[FRAME_MAX];
	uint32_t len;
};

static struct frame frames[BLOCKS][PER_BLOCK];
static uint64_t seed = 4711;

static uint32_t below(uint32_t n)
{
	return (uint32_t)(tool_random(&seed) % n);
}

static const uint16_t ports[] = { 53, 80, 443, 1024, 5060, 40000, 65535 };
static const uint8_t protos[] = { 6, 17, 132, 1, 58, 44, 0, 50 };

static void random_ip4(uint8_t *p)
{
	*p = (uint8_t)(10 + below(2));
	p[1] = (uint8_t)below(3);
	p[2] = (uint8_t)below(3);
	p[3] = (uint8_t)below(6);
}

static void random_ip6(uint8_t *p)
{
	static const uint8_t prefix[5] = { 0x20, 0x01, 0x0d, 0xb8, 0 };

	memset(p, 0, 16);
	memcpy(p, prefix, sizeof(prefix));
	p[3] = (uint8_t)(0xb8 + below(2));
	p[5] = (uint8_t)below(2);
	p[7] = (uint8_t)below(2);
	p[15] = (uint8_t)below(6);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void random_ports(uint8_t *p)
{
	put16(p, ports[below(ARRAY_LEN(ports))]);
	put16(p + 2, ports[below(ARRAY_LEN(ports))]);
}

/* Everything behind the EtherType, from `at` on. */
static void random_payload(struct frame *f, uint16_t type, uint32_t at)
{
	uint8_t *p = f->bytes + at;

	for (uint32_t i = at; i < FRAME_MAX; i++)
		f->bytes[i] = (uint8_t)tool_random(&seed);
	if (type == 0x0800) {
		p[0] = (uint8_t)(0x40 | (below(4) ? 5 : below(16)));
		put16(p + 6, below(4) ? 0 : (uint16_t)below(0x4000));
		p[9] = protos[below(ARRAY_LEN(protos))];
		random_ip4(p + 12);
		random_ip4(p + 16);
		random_ports(p + 4 * (p[0] & 15));
	} else if (type == 0x86dd) {
		p[6] = protos[below(ARRAY_LEN(protos))];
		random_ip6(p + 8);
		random_ip6(p + 24);
		random_ports(p + 40);
		if (p[6] == 44)
			p[40] = protos[below(ARRAY_LEN(protos))];
	} else if (type == 0x0806 || type == 0x8035) {
		random_ip4(p + 14);
		random_ip4(p + 24);
	}
}

static void random_frame(struct frame *f)
{
	static const uint16_t types[] = { 0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806,
					  0x8035, 0x8100, 0x88a8, 0x88cc, 46 };
	uint16_t type = types[below(ARRAY_LEN(types))];
	uint32_t at = 14;

	memset(f, 0, sizeof(*f));
	put16(f->bytes + 12, type);
	while (type == 0x8100 || type == 0x88a8) {
		put16(f->bytes + at, (uint16_t)(100 + below(3)));
		type = types[below(ARRAY_LEN(types))];
		put16(f->bytes + at + 2, type);
		at += 4;
		if (at > 22)
			type = 0;
	}
	random_payload(f, type, at);
	f->len = below(3) ? FRAME_MAX : below(FRAME_MAX + 1);
}

/* ---- filters ---- */

struct text {
	char s[4096];
	size_t n;
};

static void say(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->s + t->n, sizeof(t->s) - t->n, fmt, ap);
	va_end(ap);
	assert_true(t->n < sizeof(t->s));
}

static const char *direction(void)
{
	static const char *const words[] = { "", "src ", "dst ", "src and dst " };

	return words[below(ARRAY_LEN(words))];
}

static void say_address(struct text *t)
{
	uint8_t a[16];

	if (below(2)) {
		random_ip4(a);
		say(t, "%shost %u.%u.%u.%u", direction(), a[0], a[1], a[2], a[3]);
	} else {
		random_ip6(a);
		say(t, "%shost 2001:d%02x:%x:%x::%x", direction(), a[3], a[5], a[7], a[15]);
	}
}

static void say_net(struct text *t)
{
	static const uint8_t prefixes[] = { 8, 12, 16, 20, 24, 28 };

	switch (below(4)) {
	case 0:
		say(t, "%snet 2001:db8::/32", direction());
		break;
	case 1:
		say(t, "%snet 2001:db8:%u:%u::/64", direction(), below(2), below(2));
		break;
	default: {
		uint32_t bits = prefixes[below(ARRAY_LEN(prefixes))];
		uint32_t net = (10 + below(2)) << 24 | below(3) << 16 | below(3) << 8;

		net &= ~0u << (32 - bits);
		say(t, "%snet %u.%u.%u.%u/%u", direction(), net >> 24, net >> 16 & 255, net >> 8 & 255,
		    net & 255, bits);
	}
	}
}

static void say_port(struct text *t)
{
	static const char *const protocols[] = { "", "tcp ", "udp ", "sctp " };

	say(t, "%s%s", protocols[below(ARRAY_LEN(protocols))], direction());
	if (below(4))
		say(t, "port %u", ports[below(ARRAY_LEN(ports))]);
	else
		say(t, "portrange %u-%u", 50 + below(400), 450 + below(40000));
}

static void say_term(struct text *t)
{
	static const char *const others[] = {
		"tcp",
		"udp",
		"icmp",
		"icmp6",
		"ip",
		"ip6",
		"arp",
		"rarp",
		"greater 60",
		"less 50",
		"ip broadcast",
		"ip6 proto 44",
		"ip proto 50",
		"ip[6:2] & 0x1fff = 0",
		"tcp[tcpflags] & tcp-syn != 0",
		"ether proto 0x88cc",
		"ip6 protochain 6",
		"ether[0] = 0",
		"ip[0] & 0xf = 5",
		"ip6[7] > 5",
		"udp[2:2] = 53",
	};

	switch (below(4)) {
	case 0:
		say_address(t);
		break;
	case 1:
		say_net(t);
		break;
	case 2:
		say_port(t);
		break;
	default:
		say(t, "%s", others[below(ARRAY_LEN(others))]);
	}
}

static void say_filter(struct text *t, uint32_t depth)
{
	if (depth == 0 || below(3) == 0) {
		if (below(6) == 0)
			say(t, "not ");
		say_term(t);
		return;
	}
	say(t, "(");
	say_filter(t, depth - 1);
	say(t, below(3) ? ") and (" : ") or (");
	say_filter(t, depth - 1);
	say(t, ")");
}

/* ---- the test ---- */

static char *dir;
static int fd;

static int enter(void **state)
{
	(void)state;
	dir = tool_make_dir();
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0;
}

static int leave(void **state)
{
	(void)state;
	close(fd);
	tool_remove_dir(dir);
	return 0;
}

static struct cap_sidecar_entry index_[BLOCKS];
static struct cap_sidecar sidecar = CAP_SIDECAR_NULL;

/* The sketch of all frames, as a file; sidecar is what belongs to it. */
static void make_sketch(void)
{
	struct cap_sketch_maker *m = cap_sketch_maker_new();

	assert_non_null(m);
	for (uint32_t b = 0; b < BLOCKS; b++) {
		for (uint32_t i = 0; i < PER_BLOCK; i++)
			cap_sketch_add(m, frames[b][i].bytes, frames[b][i].len);
		index_[b].file_offset = 100 + b;
		assert_int_equal(cap_sketch_end_block(m, 100 + b), 0);
	}
	sidecar.index = index_;
	sidecar.n_index = BLOCKS;
	sidecar.bytes_disk = 7777;
	assert_int_equal(cap_sketch_write(m, fd, "x.pcap", &sidecar), 0);
	assert_null(cap_sketch_maker_free(m));
}

static uint32_t matches_in(const struct bpf_program *prog, uint32_t block)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < PER_BLOCK; i++)
		n += bpf_filter(prog->bf_insns, frames[block][i].bytes, FRAME_MAX, frames[block][i].len) != 0;
	return n;
}

/* Blocks that are passed over; fails if one of them has a match. */
static uint32_t passed_over(const char *filter, uint32_t *ret_without)
{
	struct bpf_program prog = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_prune *prune = NULL;
	uint32_t passed = 0;
	bool *hopeless = NULL;
	char path[4200];

	if (flt_front_compile(filter, 1, 262144, &prog, &err)) {
		/* what can never match is refused by libpcap's compiler */
		if (!strstr(err.text, "rejects all packets"))
			print_message("# %s: %s\n", filter, err.text);
		return 0;
	}
	assert_int_equal(cap_prune_new((const struct flt_cbpf *)prog.bf_insns, prog.bf_len, &prune, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/x.pcap", dir);
	if (prune) {
		hopeless = cap_prune_blocks(prune, path, &sidecar);
		assert_non_null(hopeless);
	}
	for (uint32_t b = 0; b < BLOCKS; b++) {
		uint32_t n = matches_in(&prog, b);
		bool may = !hopeless || !hopeless[b];

		if (n && !may)
			fail_msg("%s: block %u has %u matches and is passed over", filter, b, n);
		passed += !may;
		*ret_without += n == 0;
	}
	free(hopeless);
	assert_null(cap_prune_free(prune));
	flt_front_free(&prog);
	return passed;
}

static void random_filters_lose_nothing(void **state)
{
	uint32_t passed = 0, without = 0;

	(void)state;
	for (int round = 0; round < 12; round++) {
		for (uint32_t b = 0; b < BLOCKS; b++)
			for (uint32_t i = 0; i < PER_BLOCK; i++)
				random_frame(&frames[b][i]);
		make_sketch();
		for (int i = 0; i < 60; i++) {
			struct text t = { .n = 0 };

			say_filter(&t, below(4));
			passed += passed_over(t.s, &without);
		}
	}
	print_message("# %u of %u blocks without a match were passed over\n", passed, without);
	assert_true(passed > without / 4);
}

/* What each of these asks for is in block 17 only. */
static void a_flow_is_found_where_it_is(void **state)
{
	static const char *const filters[] = {
		"host 192.0.2.7",
		"src host 192.0.2.7 and tcp dst port 7777",
		"port 7777",
		"net 192.0.2.0/24",
		"net 192.0.0.0/20",
		"host 10.0.0.1 and port 7777",
		"tcp dst portrange 7770-7780",
		"host 192.0.2.7 or host 192.0.2.8",
		"net 192.0.0.0/8",
	};
	struct frame *flow = &frames[17][3];
	uint32_t without = 0;

	(void)state;
	for (uint32_t b = 0; b < BLOCKS; b++)
		for (uint32_t i = 0; i < PER_BLOCK; i++)
			random_frame(&frames[b][i]);
	put16(flow->bytes + 12, 0x0800);
	random_payload(flow, 0x0800, 14);
	flow->len = FRAME_MAX;
	flow->bytes[14] = 0x45;
	put16(flow->bytes + 20, 0);
	flow->bytes[23] = 6;
	memcpy(flow->bytes + 26, (uint8_t[]){ 192, 0, 2, 7 }, 4);
	memcpy(flow->bytes + 30, (uint8_t[]){ 10, 0, 0, 1 }, 4);
	put16(flow->bytes + 34, 80);
	put16(flow->bytes + 36, 7777);
	make_sketch();
	for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
		uint32_t passed = passed_over(filters[i], &without);

		/* one wrong "perhaps" in 256 is in order */
		if (passed + 3 < BLOCKS - 1)
			fail_msg("%s: only %u of %u blocks are passed over", filters[i], passed, BLOCKS);
	}
}

static void filters_that_a_sketch_knows_nothing_of(void **state)
{
	static const char *const filters[] = { "greater 60", "ether[0] = 7", "host 10.0.0.1 or greater 100" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
		struct bpf_program prog = { 0 };
		struct cap_prune *prune = NULL;

		assert_int_equal(flt_front_compile(filters[i], 1, 262144, &prog, NULL), 0);
		assert_int_equal(
			cap_prune_new((const struct flt_cbpf *)prog.bf_insns, prog.bf_len, &prune, NULL), 0);
		if (prune)
			fail_msg("%s: a sketch can tell?", filters[i]);
		flt_front_free(&prog);
	}
	assert_null(cap_prune_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_filters_lose_nothing, enter, leave),
		cmocka_unit_test_setup_teardown(a_flow_is_found_where_it_is, enter, leave),
		cmocka_unit_test(filters_that_a_sketch_knows_nothing_of),
	};

	return cmocka_run_group_tests_name("prune", tests, NULL, NULL);
}
