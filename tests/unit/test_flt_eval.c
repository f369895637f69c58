/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: the user-space evaluator says of each expression of filters.txt what libpcap says, for generated
 * frames (whole, cut, damaged), also when a term with a list makes it use its own interpreter; `quic` knows
 * QUIC's long header and nothing near it, keeps the flow both ways and only that, whatever comes before;
 * `host in @FILE` means what the same addresses written out mean to libpcap; byte accesses of the user's
 * never reach the scratch; where a preset or a list cannot stand the refusal says so; the table of flows has
 * its bound, and counts what it forgets.
 */
#include "tests/unit/tool.h"

#include "capture/filter/eval.h"
#include "capture/filter/flows.h"
#include "capture/filter/front.h"
#include "capture/filter/scratch.h"
#include "capture/filter/view.h"
#include "tests/bpf/flt_exprs.h"
#include "tests/bpf/flt_quic.h"

#include "bpf/abi/skep_quic.h"

#define FILTERS SKEP_SOURCE_ROOT "/tests/bpf/filters.txt"

struct compiled {
	struct bpf_program prog;
	struct flt_lists *lists;
	struct flt_eval *eval;
};

static int build_for(int linktype, struct compiled *c, const char *expr, uint32_t flows, struct skep_err *err)
{
	struct flt_ask ask = { .expr = expr, .linktype = linktype, .snaplen = 65535 };
	uint32_t used = 0;
	int r;

	memset(c, 0, sizeof(*c));
	assert_int_equal(flt_lists_new(&c->lists, NULL), 0);
	ask.lists = c->lists;
	r = flt_front_compile_ask(&ask, &c->prog, &used, err);
	assert_int_equal(flt_lists_mask(c->lists), r ? 0 : used);
	if (r == 0)
		r = flt_eval_new(&c->prog, c->lists, flows, &c->eval, err);
	if (r == 0)
		flt_eval_set_linktype(c->eval, linktype);
	return r;
}

static int build(struct compiled *c, const char *expr, uint32_t flows, struct skep_err *err)
{
	return build_for(1, c, expr, flows, err);
}

static void must_build(struct compiled *c, const char *expr)
{
	struct skep_err err = SKEP_ERR_NULL;

	if (build(c, expr, 0, &err))
		fail_msg("\"%s\": %s", expr, err.text);
}

static void done(struct compiled *c)
{
	flt_eval_free(c->eval);
	flt_front_free(&c->prog);
	flt_lists_free(c->lists);
}

static bool takes(struct compiled *c, const struct quic_shape *q)
{
	uint8_t b[2048];
	uint32_t len = make_quic(b, q);

	return flt_eval_match(c->eval, b, len, len) > 0;
}

static char *list_file(const char *dir, const char *text)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/list", dir) > 0);
	tool_write_file(path, text, strlen(text));
	return path;
}

/* The template with the path where it says %s; returns the number of bytes. */
static size_t write_path(char *out, size_t size, const char *template, const char *path)
{
	const char *at;
	size_t n = 0;

	while ((at = strstr(template, "%s"))) {
		n += (size_t)snprintf(out + n, size - n, "%.*s%s", (int)(at - template), template, path);
		template = at + 2;
	}
	return n + (size_t)snprintf(out + n, size - n, "%s", template);
}

/* A term that is never false changes nothing but the interpreter. */
static void test_interpreter_is_libpcaps(void **state)
{
	char *dir = tool_make_dir(), *path = list_file(dir, "203.0.113.77\n"), expr[5000];
	struct packets packets = { 0 };
	FILE *f = fopen(FILTERS, "re");
	uint64_t seed = 20261121;
	size_t n = 0, bad = 0;
	const char *line;

	(void)state;
	assert_non_null(f);
	add_generated(&packets, 400, &seed);
	add_quic(&packets, 200, &seed);
	while ((line = next_expr(f)) && bad < 5) {
		struct bpf_program plain = { 0 };
		struct compiled c;

		assert_int_equal(flt_front_compile(line, 1, 65535, &plain, NULL), 0);
		(void)snprintf(expr, sizeof(expr), "not net in @%s and (%s)", path, line);
		must_build(&c, expr);
		assert_true(flt_eval_looks(c.eval) || plain.bf_len <= 2);
		for (size_t i = 0; i < packets.n; i++) {
			const struct packet *p = &packets.v[i];
			uint32_t want = flt_front_match(&plain, p->bytes, p->wire_len, p->len);

			if (flt_eval_match(c.eval, p->bytes, p->wire_len, p->len) == want)
				continue;
			print_message("# \"%s\": packet %zu: libpcap %u\n", line, i, want);
			bad++;
			break;
		}
		n++;
		done(&c);
		flt_front_free(&plain);
	}
	fclose(f);
	free_packets(&packets);
	free(path);
	tool_remove_dir(dir);
	assert_int_equal(bad, 0);
	assert_true(n >= 300);
}

static void test_long_headers(void **state)
{
	static const struct {
		uint8_t first;
		uint32_t version;
		uint8_t dcid, scid;
		uint16_t payload;
		bool want;
	} cases[] = {
		{ 0xc0, 1, 8, 0, 1200, true },
		{ 0xff, 1, 20, 20, 1200, true },
		{ 0xc0, 0x6b3343cf, 8, 8, 1200, true },
		{ 0xc0, 0xff00001d, 8, 8, 1200, true },
		{ 0xc0, 0xff000022, 8, 8, 1200, true },
		{ 0xc0, 0xff000016, 0, 0, 8, true },
		{ 0xc0, 0xff000015, 8, 8, 1200, false },
		{ 0xc0, 0xff000023, 8, 8, 1200, false },
		{ 0xc0, 0x0a0a0a0a, 8, 8, 1200, true },
		{ 0xc0, 0xfafafafa, 8, 8, 1200, true },
		{ 0xc0, 0x1a2a3a4b, 8, 8, 1200, false },
		{ 0xc0, 0xfaceb002, 8, 8, 1200, true },
		{ 0xc0, 0xfacea002, 8, 8, 1200, false },
		{ 0xc0, 0x51303530, 8, 0, 1200, true },
		{ 0xc0, 2, 8, 8, 1200, false },
		{ 0xc0, 0xffffffff, 8, 8, 1200, false },
		{ 0x80, 1, 8, 0, 1200, false }, /* no fixed bit */
		{ 0x40, 1, 8, 0, 1200, false }, /* short */
		{ 0x00, 1, 8, 0, 1200, false },
		{ 0xc0, 1, 21, 0, 1200, false },
		{ 0xc0, 1, 8, 21, 1200, false },
		{ 0xc0, 1, 8, 0, 15, false }, /* nothing behind the IDs */
		{ 0xc0, 1, 8, 0, 16, true },
		{ 0xc0, 0, 8, 8, 23 + 4, true }, /* version negotiation */
		{ 0xc0, 0, 8, 8, 23, false },
		{ 0xc0, 0, 8, 8, 23 + 6, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (int six = 0; six < 2; six++) {
			struct quic_shape q = { .ip = six ? 6 : 4,
						.client = 7,
						.port = 40000,
						.first = cases[i].first,
						.version = cases[i].version,
						.dcid = cases[i].dcid,
						.scid = cases[i].scid,
						.payload = cases[i].payload };
			struct compiled c;

			must_build(&c, "quic");
			if (takes(&c, &q) != cases[i].want)
				fail_msg("case %zu, IPv%u", i, q.ip);
			done(&c);
		}
}

static void test_flow_is_kept(void **state)
{
	struct quic_shape q = QUIC_INITIAL, other = QUIC_INITIAL;
	struct compiled c, not ;
	uint64_t added, evicted;

	(void)state;
	must_build(&c, "quic");
	must_build(&not, "not quic and udp");
	for (uint8_t ip = 4; ip <= 6; ip += 2) {
		q.ip = other.ip = ip;
		q.first = 0x41;
		assert_false(takes(&c, &q)); /* nobody knows yet */
		assert_true(takes(&not, &q));
		q.first = 0xc3;
		assert_true(takes(&c, &q));
		assert_false(takes(&not, &q));
		for (int back = 0; back < 2; back++) {
			q.back = back;
			for (unsigned first = 0; first < 256; first += 5) {
				q.first = (uint8_t)first;
				q.version = 0xdeadbeef;
				q.payload = 1;
				assert_true(takes(&c, &q));
				assert_false(takes(&not, &q));
			}
			q.payload = 0; /* keeps a NAT's entry alive */
			assert_false(takes(&c, &q));
			assert_true(takes(&not, &q));
		}
		other.first = 0x41;
		other.port = 50001;
		assert_false(takes(&c, &other));
		other.port = 50000;
		other.client = 2;
		assert_false(takes(&c, &other));
		other.client = 1;
		assert_true(takes(&c, &other));
		q = (struct quic_shape)QUIC_INITIAL;
	}
	flt_eval_flows(c.eval, &added, &evicted);
	assert_int_equal(added, 2);
	assert_int_equal(evicted, 0);
	done(&c);
	done(&not );
}

/* Flows are learnt from frames that the filter does not take. */
static void test_flow_is_learnt_beside_the_filter(void **state)
{
	struct quic_shape q = QUIC_INITIAL;
	struct compiled c;

	(void)state;
	must_build(&c, "src host 198.51.100.1 and quic and less 100");
	assert_false(takes(&c, &q));
	q.back = true;
	q.first = 0x40;
	q.payload = 30;
	assert_true(takes(&c, &q));
	q.payload = 300;
	assert_false(takes(&c, &q));
	done(&c);
}

static void test_headers_in_front(void **state)
{
	struct quic_shape q = QUIC_INITIAL;
	uint8_t b[2048], tagged[2048];
	uint32_t len;
	struct compiled c;

	(void)state;
	must_build(&c, "quic");
	for (q.ip = 4; q.ip <= 6; q.ip += 2)
		for (q.ext = 0; q.ext <= (q.ip == 4 ? 40 : 56); q.ext += q.ip == 4 ? 4 : 8) {
			q.client++;
			/* Six extension headers are followed. */
			assert_int_equal(takes(&c, &q), q.ip == 4 || q.ext <= 48);
		}
	q = (struct quic_shape)QUIC_INITIAL;
	len = make_quic(b, &q);
	for (uint32_t cut = 0; cut < len; cut++) { /* six bytes of payload are enough, wherever it was cut */
		uint8_t *copy = malloc(cut ? cut : 1);

		assert_non_null(copy);
		memcpy(copy, b, cut);
		done(&c);
		must_build(&c, "quic");
		assert_int_equal(flt_eval_match(c.eval, copy, len, cut) > 0, cut >= 14 + 20 + 8 + 6);
		free(copy);
	}
	b[14 + 7] = 1; /* a later fragment */
	assert_int_equal(flt_eval_match(c.eval, b, len, len), 0);
	b[14 + 6] = 0x20; /* the first of several */
	b[14 + 7] = 0;
	assert_true(flt_eval_match(c.eval, b, len, len) > 0);
	memcpy(tagged, b, 12);
	put(tagged, 12, "81000064");
	memcpy(tagged + 16, b + 12, len - 12);
	assert_int_equal(flt_eval_match(c.eval, tagged, len + 4, len + 4), 0);
	b[14 + 9] = 6;
	assert_int_equal(flt_eval_match(c.eval, b, len, len), 0);
	done(&c);
}

/* The same IP packets behind other link headers, and behind none. */
static void test_other_link_types(void **state)
{
	static const struct {
		int linktype;
		const char *head; /* TTTT: the ether type; FF: the address family, as on Linux */
	} kinds[] = {
		{ 0, "FF000000" },
		{ 101, "" },
		{ 108, "000000FF" },
		{ 113, "0000000100060011223344550000TTTT" },
		{ 276, "TTTT00000000000100010006001122334455 0000" },
	};
	static const char *const exprs[] = { "quic", "udp and not quic", "net in @%s",
					     "ip6 and src net in @%s",
					     "quic and dst host in @%s and greater 40" };
	char *dir = tool_make_dir(), *path = list_file(dir, "10.0.0.0/29\n2001:db8::2\n"), expr[400];
	struct packets packets = { 0 };
	uint64_t seed = 77;

	(void)state;
	add_quic(&packets, 2000, &seed);
	for (size_t e = 0; e < ARRAY_LEN(exprs); e++)
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
			struct skep_err err = SKEP_ERR_NULL;
			struct compiled ether, other;
			size_t hits = 0;

			(void)write_path(expr, sizeof(expr), exprs[e], path);
			must_build(&ether, expr);
			if (build_for(kinds[k].linktype, &other, expr, 0, &err))
				fail_msg("\"%s\": %s", expr, err.text);
			for (size_t i = 0; i < packets.n; i++) {
				const struct packet *p = &packets.v[i];
				char head[64], *type, *family;
				uint8_t b[4096];
				size_t n;
				bool want, six = p->bytes[12] == 0x86;

				/* Frames whose ether type and IP version agree. */
				if (p->len < 54 ||
				    memcmp(p->bytes + 12, six ? "\x86\xdd" : "\x08\x00", 2) != 0 ||
				    p->bytes[14] >> 4 != (six ? 6 : 4) || p->wire_len < p->len)
					continue;
				(void)snprintf(head, sizeof(head), "%s", kinds[k].head);
				type = strstr(head, "TTTT");
				if (type)
					memcpy(type, six ? "86dd" : "0800", 4);
				family = strstr(head, "FF");
				if (family)
					memcpy(family, six ? "0a" : "02", 2);
				n = put(b, 0, head);
				memcpy(b + n, p->bytes + 14, p->len - 14);
				/* `greater` counts the link header: of the same length here. */
				want = flt_eval_match(ether.eval, p->bytes, 1000, p->len) > 0;
				hits += want;
				if ((flt_eval_match(other.eval, b, 1000, (uint32_t)(p->len - 14 + n)) > 0) !=
				    want)
					fail_msg("\"%s\" of link type %d: packet %zu, Ethernet %d", expr,
						 kinds[k].linktype, i, want);
			}
			assert_true(hits > 5);
			done(&ether);
			done(&other);
		}
	free_packets(&packets);
	free(path);
	tool_remove_dir(dir);
}

/* The same addresses in a list and written out, for libpcap. */
static void test_lists_are_their_addresses(void **state)
{
	static const char *const terms[][2] = {
		{ "host in @%s", "(net 192.168.0.0/16 or host 8.8.8.8 or net fe80::/10 or host ::1)" },
		{ "net in @%s", "(net 192.168.0.0/16 or host 8.8.8.8 or net fe80::/10 or host ::1)" },
		{ "src net in @%s",
		  "(src net 192.168.0.0/16 or src host 8.8.8.8 or src net fe80::/10 or src host ::1)" },
		{ "dst host in @\"%s\"",
		  "(dst net 192.168.0.0/16 or dst host 8.8.8.8 or dst net fe80::/10 or dst host ::1)" },
		{ "src or dst in @%s", "(net 192.168.0.0/16 or host 8.8.8.8 or net fe80::/10 or host ::1)" },
		{ "src && dst net in @%s",
		  "(src net 192.168.0.0/16 or src host 8.8.8.8 or src net fe80::/10 or src host ::1) and "
		  "(dst net 192.168.0.0/16 or dst host 8.8.8.8 or dst net fe80::/10 or dst host ::1)" },
		{ "ip host in @%s", "(ip net 192.168.0.0/16 or ip host 8.8.8.8)" },
		{ "arp dst host in @%s", "(arp dst net 192.168.0.0/16 or arp dst host 8.8.8.8)" },
		{ "ip6 src net in @%s", "(ip6 src net fe80::/10 or ip6 src host ::1)" },
		{ "tcp and not (dst net in @%s or port 80)",
		  "tcp and not ((dst net 192.168.0.0/16 or dst host 8.8.8.8 or dst net fe80::/10 or dst host "
		  "::1) or "
		  "port 80)" },
	};
	char *dir = tool_make_dir(),
	     *path = list_file(dir, "192.168.0.0/16\n192.168.1.1\n8.8.8.8\nfe80::/10\n::1\n"), expr[400];
	struct packets packets = { 0 };
	uint64_t seed = 4711;

	(void)state;
	add_generated(&packets, 6000, &seed);
	for (size_t t = 0; t < ARRAY_LEN(terms); t++) {
		struct bpf_program plain = { 0 };
		struct compiled c;
		size_t hits = 0;

		(void)write_path(expr, sizeof(expr), terms[t][0], path);
		must_build(&c, expr);
		assert_int_equal(flt_front_compile(terms[t][1], 1, 65535, &plain, NULL), 0);
		for (size_t i = 0; i < packets.n; i++) {
			const struct packet *p = &packets.v[i];
			bool want = flt_front_match(&plain, p->bytes, p->len, p->len) > 0;

			/* Cut in the middle of its addresses a frame is in no list; libpcap may know one of
			 * them. */
			if (p->len < 14 + 40)
				continue;
			hits += want;
			if ((flt_eval_match(c.eval, p->bytes, p->len, p->len) > 0) != want)
				fail_msg("\"%s\": packet %zu: libpcap %d", expr, i, want);
		}
		assert_true(hits > 10);
		done(&c);
		flt_front_free(&plain);
	}
	free_packets(&packets);
	free(path);
	tool_remove_dir(dir);
}

/* What libpcap says of offsets beyond the frame, also where ours are, and computed ones. */
static void test_users_offsets_stay_theirs(void **state)
{
	static const char *const never[] = {
		"ether[0x53000000:4] = 0",
		"ether[0x53000018:4] >= 0",
		"ether[0x53000018] >= 0",
		"ether[0x53000000 + 24:4] >= 0",
		"ether[0xfffff008:4] >= 0",
		"ether[0x7fffffff] >= 0",
		"ether[0x80000000] >= 0",
		"ether[0x53010018:4] >= 0",
		"ether[0x5300001c:4] >= 0",
		"(ip and ether[0x53000018:4] >= 0) or (ip6 and ether[0x53000018:4] >= 0)",
	};

	uint8_t b[2048];
	struct quic_shape q = QUIC_INITIAL;
	uint32_t len = make_quic(b, &q);
	char expr[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		struct bpf_program plain = { 0 };
		struct compiled c;

		must_build(&c, never[i]);
		assert_false(flt_eval_looks(c.eval));
		assert_int_equal(flt_eval_match(c.eval, b, len, len), 0);
		done(&c);
		/* Beside a preset: quic is true, the user's term never, and it ends the filter. */
		(void)snprintf(expr, sizeof(expr), "quic and (%s)", never[i]);
		must_build(&c, expr);
		assert_true(flt_eval_looks(c.eval));
		assert_int_equal(flt_eval_match(c.eval, b, len, len), 0);
		done(&c);
		(void)snprintf(expr, sizeof(expr), "quic or (%s)", never[i]);
		must_build(&c, expr);
		assert_true(flt_eval_match(c.eval, b, len, len) > 0);
		done(&c);
		flt_front_free(&plain);
	}
}

/* Libpcap without its optimiser: accesses are indirect, with a constant in the index register. */
static void test_folding(void **state)
{
	pcap_t *p = pcap_open_dead(1, 65535);
	struct bpf_program prog, twin;
	struct flt_cbpf *v;
	uint32_t ours = 0, two = 0;

	(void)state;
	assert_non_null(p);
	assert_int_equal(pcap_compile(p, &prog,
				      "ether[0x53040018:4] & 1 != 0 and ether[2:2] = 5 and "
				      "ether[0x53000018:4] = 7 and ether[ether[3]] = 9",
				      0, 0),
			 0);
	assert_int_equal(pcap_compile(p, &twin,
				      "ether[0x53050018:4] & 1 != 0 and ether[2:2] = 5 and "
				      "ether[0x53000018:4] = 7 and ether[ether[3]] = 9",
				      0, 0),
			 0);
	v = (struct flt_cbpf *)prog.bf_insns;
	assert_int_equal(prog.bf_len, twin.bf_len);
	assert_int_equal(flt_scratch_fold(v, prog.bf_len), 0);
	assert_int_equal(flt_scratch_fold((struct flt_cbpf *)twin.bf_insns, twin.bf_len), 0);
	assert_true(
		flt_scratch_settle(v, prog.bf_len, 0x53040000, (struct flt_cbpf *)twin.bf_insns, 0x53050000));
	for (uint32_t i = 0; i < prog.bf_len; i++) {
		ours += flt_scratch_is_load(&v[i]);
		two += v[i].code == 0x28 && v[i].k == 2; /* ldh [2] */
	}
	assert_int_equal(ours, 1);
	assert_int_equal(two, 1);
	/* A user who reads where ours are in one of the two only: not to be told apart. */
	((struct flt_cbpf *)twin.bf_insns)[0].k ^= 1;
	assert_false(flt_scratch_settle(v, prog.bf_len, FLT_SCRATCH_BASE, (struct flt_cbpf *)twin.bf_insns,
					0x53050000));
	pcap_freecode(&prog);
	pcap_freecode(&twin);
	pcap_close(p);
}

/* Too many terms for libpcap's optimiser. */
static void test_long_filters(void **state)
{
	struct quic_shape q = QUIC_INITIAL;
	char *expr = malloc(65536);
	size_t built = 0;

	(void)state;
	assert_non_null(expr);
	for (unsigned hosts = 50; hosts <= 250; hosts += 50) {
		struct skep_err err = SKEP_ERR_NULL;
		struct compiled c;
		size_t n =
			(size_t)snprintf(expr, 65536, "quic and ether[12:2] = 0x0800 and not (host 1.2.3.4");

		for (unsigned i = 0; i < hosts; i++)
			n += (size_t)snprintf(expr + n, 65536 - n, " or host 172.%u.%u.%u", i & 15,
					      i * 7 & 255, i & 255);
		(void)snprintf(expr + n, 65536 - n, ")");
		if (build(&c, expr, 0, &err) == 0) {
			print_message("# %u hosts: %u instructions\n", hosts, c.prog.bf_len);
			built++;
			assert_true(takes(&c, &q));
			q.ip = 6;
			assert_false(takes(&c, &q));
			q.ip = 4;
			q.client++;
			q.first = 0x40;
			assert_false(takes(&c, &q));
			q.first = 0xc0;
		} else {
			assert_non_null(strstr(err.text, "too complex"));
		}
		done(&c);
	}
	assert_true(built > 0);
	free(expr);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *expr;
		int linktype, code, column;
		const char *words;
	} cases[] = {
		{ "vlan and quic", 1, SKEP_E_USAGE, 10, "cannot stand behind \"vlan\"" },
		{ "mpls and not net in @/x", 1, SKEP_E_USAGE, 14, "cannot stand behind \"mpls\"" },
		{ "quic", 127, SKEP_E_UNSUPPORTED, 1, "Ethernet frames and IP packets only" },
		{ "net in @/x", 9, SKEP_E_UNSUPPORTED, 1, "Ethernet frames and IP packets only" },
		{ "tcp and port in @/x", 1, SKEP_E_USAGE, 14, "\"host\" or \"net\" is missing" },
		{ "in @/x", 1, SKEP_E_USAGE, 1, "\"host\" or \"net\" is missing" },
		{ "net in", 1, SKEP_E_USAGE, 5, "wants a file" },
		{ "net in 10.0.0.0/8", 1, SKEP_E_USAGE, 5, "wants a file" },
		{ "net @/x", 1, SKEP_E_USAGE, 5, "\"in\" is missing" },
		{ "@/x", 1, SKEP_E_USAGE, 1, "\"in\" is missing" },
		{ "net in @", 1, SKEP_E_USAGE, 8, "\"@\"" },
		{ "net in @\"/x", 1, SKEP_E_USAGE, 8, "\"@\"" },
		{ "net in @\"\"", 1, SKEP_E_USAGE, 8, "\"@\"" },
		{ "ether host in @/x", 1, SKEP_E_USAGE, 1, "only ip, ip6, arp and rarp" },
		{ "udp src net in @/x", 1, SKEP_E_USAGE, 1, "only ip, ip6, arp and rarp" },
		{ "ra host in @/x", 1, SKEP_E_USAGE, 1, "only src and dst" },
		{ "tcp and net in @/dev/null", 1, SKEP_E_USAGE, 9, "regular file" },
		{ "net in @/nowhere/at/all", 1, SKEP_E_NOT_FOUND, 1, "/nowhere/at/all" },
		{ "quic and not quic", 1, SKEP_E_USAGE, 0, "can never be true" },
	};
	struct flt_lists *lists = NULL;

	(void)state;
	assert_int_equal(flt_lists_new(&lists, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct flt_ask ask = {
			.expr = cases[i].expr, .linktype = cases[i].linktype, .snaplen = 99, .lists = lists
		};
		struct skep_err err = SKEP_ERR_NULL;
		struct bpf_program prog = { 0 };
		uint32_t used = 5;
		int r = flt_front_compile_ask(&ask, &prog, &used, &err);

		if (r != cases[i].code || !strstr(err.text, cases[i].words) ||
		    (cases[i].column && err.column != cases[i].column))
			fail_msg("\"%s\": %d, column %d: %s", cases[i].expr, r, err.column, err.text);
		assert_int_equal(used, 5);
		assert_int_equal(flt_lists_mask(lists), 0);
	}
	flt_lists_free(lists);
	/* Where no file may be named. */
	{
		struct skep_err err = SKEP_ERR_NULL;
		struct bpf_program prog = { 0 };

		assert_int_equal(flt_front_compile("tcp and net in @/etc/passwd", 1, 99, &prog, &err),
				 SKEP_E_USAGE);
		assert_int_equal(err.column, 16);
		assert_non_null(strstr(err.text, "files cannot be named"));
	}
}

/* Anything that can be put together is refused or runs, and references to lists are neither lost nor kept. */
static void test_random_tokens(void **state)
{
	static const char *const tokens[] = {
		"quic",
		"not",
		"(",
		")",
		"and",
		"or",
		"net in @%s",
		"src host in @%s",
		"ip6 dst in @\"%s\"",
		"in",
		"@%s",
		"tcp",
		"vlan",
		"dns",
		"udp port 53",
		"ether[0x53000018:4] = 1",
		"host",
		"len",
		"src or dst net in @%s",
		"udp[0x53000000 + 24] > 0",
		"greater 60",
		"/",
		"10.0.0.1",
	};
	char *dir = tool_make_dir(), *path = list_file(dir, "10.0.0.0/8\n"), text[2048];
	struct packets packets = { 0 };
	uint64_t seed = 1234567;
	size_t accepted = 0;

	(void)state;
	add_quic(&packets, 50, &seed);
	for (int round = 0; round < 1500; round++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct compiled c;
		size_t len = 0;

		for (uint64_t k = 0, n = 1 + tool_random(&seed) % 7; k < n; k++) {
			len += write_path(text + len, sizeof(text) - len,
					  tokens[tool_random(&seed) % ARRAY_LEN(tokens)], path);
			len += (size_t)snprintf(text + len, sizeof(text) - len, " ");
		}
		if (build(&c, text, 1024, &err) == 0) {
			for (size_t i = 0; i < packets.n; i++)
				(void)flt_eval_match(c.eval, packets.v[i].bytes, packets.v[i].wire_len,
						     packets.v[i].len);
			accepted++;
		} else {
			assert_true(err.text[0] && err.column >= 0 && err.column <= (int)len + 1);
		}
		done(&c);
	}
	print_message("# %zu of 1500 were accepted\n", accepted);
	assert_true(accepted > 50);
	free_packets(&packets);
	free(path);
	tool_remove_dir(dir);
}

static void test_flows_have_a_bound(void **state)
{
	enum { ROOM = 1024, FLOWS = 20000 };
	struct flt_flows *f = NULL;
	struct skep_flow_key key = { .proto = 17, .version = 4 }, favourite = { .proto = 17, .low_port = 9 };
	uint64_t added, evicted, known = 0;

	(void)state;
	assert_int_equal(flt_flows_new(ROOM, &f, NULL), 0);
	flt_flows_add(f, &favourite);
	for (uint32_t i = 1; i <= FLOWS; i++) {
		key.low[0] = i;
		flt_flows_add(f, &key);
		flt_flows_add(f, &key);
		assert_true(flt_flows_has(f, &key));
		assert_true(flt_flows_has(f, &favourite)); /* it speaks, so it stays */
	}
	flt_flows_count(f, &added, &evicted);
	assert_int_equal(added, FLOWS + 1);
	for (uint32_t i = 1; i <= FLOWS; i++) {
		key.low[0] = i;
		known += flt_flows_has(f, &key);
	}
	assert_int_equal(added - evicted, known + 1);
	assert_true(known + 1 <= ROOM && known > ROOM * 9 / 10);
	flt_flows_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interpreter_is_libpcaps),
		cmocka_unit_test(test_long_headers),
		cmocka_unit_test(test_flow_is_kept),
		cmocka_unit_test(test_flow_is_learnt_beside_the_filter),
		cmocka_unit_test(test_headers_in_front),
		cmocka_unit_test(test_other_link_types),
		cmocka_unit_test(test_lists_are_their_addresses),
		cmocka_unit_test(test_users_offsets_stay_theirs),
		cmocka_unit_test(test_folding),
		cmocka_unit_test(test_long_filters),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_random_tokens),
		cmocka_unit_test(test_flows_have_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
