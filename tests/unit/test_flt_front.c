/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: the front end accepts what libpcap accepts and gives its very program; refuses with the right
 * column, reason and hint; never lets a name reach a resolver; writes presets out; and answers 10,000 random
 * token strings, 64 KiB of nesting, thousands of hosts, control characters and option-like strings, each
 * within a second.
 */
#include "tests/unit/unit.h"

#include "capture/filter/front.h"
#include "capture/filter/limits.h"
#include "capture/filter/preset.h"
#include "capture/filter/unroll.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <time.h>

/*
 * The promise is a second; on a machine that does other things too, the wall clock may say more. Under a
 * sanitizer a fork copies terabytes of shadow page tables: fewer rounds, and no promise.
 */
#ifdef __SANITIZE_ADDRESS__
#define ANSWER_MS 30000
#define ROUNDS 200
#else
#define ANSWER_MS 1500
#define ROUNDS 10000
#endif

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int compile(const char *expr, struct skep_err *err)
{
	struct bpf_program prog = { 0 };
	int64_t start = now_ms();
	int r = flt_front_compile(expr, 1, 65535, &prog, err);

	assert_true(now_ms() - start < ANSWER_MS);
	if (r == 0)
		assert_true(prog.bf_len > 0);
	else
		assert_true(prog.bf_len == 0 && err->text[0] != '\0');
	flt_front_free(&prog);
	return r;
}

static void test_same_program_as_libpcap(void **state)
{
	static const char *const exprs[] = { "tcp port 80",
					     "host 10.0.0.1 or net 192.168.0.0/16",
					     "ip6 and udp portrange 1-9",
					     "tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn",
					     "vlan 5 and (arp or mpls)",
					     "ether host 1:2:3:4:5:6",
					     "host fe80::1",
					     "len > 5",
					     "ether proto \\ip",
					     "ether dst 0011.2233.4455",
					     "port 80 or 443 or 8080",
					     "not (tcp && udp port 53) || icmp[0] == 8" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(exprs); i++) {
		pcap_t *p = pcap_open_dead(DLT_EN10MB, 65535);
		struct bpf_program want, got = { 0 };
		struct skep_err err = SKEP_ERR_NULL;

		assert_int_equal(pcap_compile(p, &want, exprs[i], 1, 0), 0);
		assert_int_equal(flt_front_compile(exprs[i], 1, 65535, &got, &err), 0);
		assert_int_equal(got.bf_len, want.bf_len);
		assert_memory_equal(got.bf_insns, want.bf_insns, want.bf_len * sizeof(*want.bf_insns));
		flt_front_free(&got);
		pcap_freecode(&want);
		pcap_close(p);
	}
}

static void test_empty_is_everything(void **state)
{
	static const char *const exprs[] = { "", " ", "\t\n ", NULL };
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(exprs); i++) {
		struct bpf_program prog = { 0 };

		assert_int_equal(flt_front_compile(exprs[i], 1, 1234, &prog, &err), 0);
		assert_int_equal(flt_front_match(&prog, "x", 1, 1), 1234);
		flt_front_free(&prog);
	}
}

static void test_refusals_point_at_the_place(void **state)
{
	static const struct {
		const char *expr;
		int column;
		const char *text, *hint;
	} cases[] = {
		{ "tpc port 80", 1, "not a word", "\"tcp\"" },
		{ "tcp prot 80", 5, "not a word", "\"port\"" },
		{ "port 80 adn udp", 9, "syntax error", "\"and\"" },
		{ "tcp and and udp", 9, "syntax error", "^" },
		{ "tcp port 80 udp", 13, "syntax error", "^" },
		{ "tcp port", 9, "ends too early", "^" },
		{ "host 1.2.3.4 and", 17, "ends too early", "^" },
		{ "tcp and (udp or icmp", 9, "never closed", "^" },
		{ "tcp)", 4, "closes nothing", "^" },
		{ "tcp[12) = 0", 7, "closes nothing", "^" },
		{ "port 99999 and tcp", 6, "illegal port", "^" },
		{ "udp or port http-x", 13, "unknown port", "^" },
		{ "ether[0:3] = 1", 10, "data size", "^" },
		{ "tcp @", 5, "\"@\" is not part", "^" },
		{ "tcp\x01", 4, "0x01", "ASCII" },
		{ "tcp \xc3\xbc", 5, "non-ASCII", "ASCII" },
		{ "host example.com", 6, "DNS", "number" },
		{ "tcp and src example.com", 13, "DNS", "number" },
		{ "net local", 5, "DNS", "number" },
		{ "gateway router", 9, "DNS", "number" },
		{ "host 1.1.1.1 or example.com", 17, "DNS", "number" },
		{ "host 1.1.1.1 or (port 80) or example.com", 30, "DNS", "number" },
		{ "ether host printer", 12, "DNS", "number" },
		{ "inbound and tcp", 1, "not known of Ethernet", "ether src" },
		{ "-w /etc/passwd", 2, "not a word", "^" },
		{ "dns and udp prot 5", 13, "not a word", "\"port\"" },
		{ "(tls or ssh) adn tcp", 14, "not a word", "\"and\"" },
		{ "dns or port 99999", 13, "illegal port", "^" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct skep_err err = SKEP_ERR_NULL;

		assert_int_equal(compile(cases[i].expr, &err), SKEP_E_USAGE);
		if (err.column != cases[i].column || !strstr(err.text, cases[i].text) ||
		    !strstr(err.hint, cases[i].hint))
			fail_msg("\"%s\": column %d, \"%s\", \"%s\"", cases[i].expr, err.column, err.text,
				 err.hint);
	}
}

static void test_names_of_ports_are_ports(void **state)
{
	static const char *const exprs[] = { "port http", "tcp port ssh or http", "port (80 or http)",
					     "ip proto \\tcp" };
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(exprs); i++)
		assert_int_equal(compile(exprs[i], &err), 0);
	/* "ssh" in a list of ports is port 22, not the preset. */
	_skep_free_ char *text = NULL;
	assert_int_equal(flt_front_expand("port 80 or ssh", 1, &text, &err), 0);
	assert_string_equal(text, "port 80 or ssh");
}

static void test_presets_compile_and_combine(void **state)
{
	const struct flt_preset *p;
	struct skep_err err = SKEP_ERR_NULL;
	size_t n = 0;
	char expr[128];

	(void)state;
	for (; (p = flt_preset_at(n)); n++) {
		_skep_free_ char *text = NULL;

		assert_ptr_equal(flt_preset_find(p->name, strlen(p->name)), p);
		assert_int_equal(compile(p->name, &err), 0);
		(void)snprintf(expr, sizeof(expr), "not %s and (ip6 or %s)", p->name, p->name);
		assert_int_equal(flt_front_expand(expr, 1, &text, &err), 0);
		assert_non_null(strstr(text, p->expr));
		assert_true(n == 0 || strcmp(flt_preset_at(n - 1)->name, p->name) < 0);
	}
	assert_true(n >= 10);
}

static void fill(char *text, size_t size, const char *word, const char *last)
{
	size_t len = 0, n = strlen(word);

	while (len + n + strlen(last) < size) {
		memcpy(text + len, word, n);
		len += n;
	}
	(void)snprintf(text + len, size - len, "%s", last);
}

static void test_hostile_sizes_are_answered(void **state)
{
	static const char *const words[][2] = { { "(", "" },
						{ "(", "tcp" },
						{ "not ", "tcp" },
						{ "!", "tcp" },
						{ "tcp and ", "tcp" },
						{ "tcp[", "0" },
						{ "ether[ether[", "0" },
						{ ":", "" },
						{ "1:", "1" },
						{ "1.", "1" },
						{ "a", "" },
						{ "-", "" },
						{ "1+", "1 = 1" },
						{ "host 1.2.3.4 or ", "tcp" },
						{ "net 10.0.0.0/8 or ", "tcp" },
						{ "port 1 or 2 or ", "tcp" },
						{ "vlan and ", "ip" },
						{ "mpls and ", "ip" },
						{ "ip6 protochain 6 or ", "tcp" },
						{ "geneve and ", "ip" },
						{ "tls or ", "dns" },
						{ " ", "" },
						{ "\\", "" },
						{ "&&", "" },
						{ "((tcp) or ", "udp" } };
	static char text[FLT_MAX_TEXT_BYTES + 1];
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		fill(text, sizeof(text), words[i][0], words[i][1]);
		(void)compile(text, &err);
	}
	static char longer[2 * FLT_MAX_TEXT_BYTES];
	fill(longer, sizeof(longer), "tcp and ", "tcp");
	assert_int_equal(compile(longer, &err), SKEP_E_USAGE);
}

static void test_thousands_of_hosts(void **state)
{
	static char text[FLT_MAX_TEXT_BYTES];
	struct skep_err err = SKEP_ERR_NULL;
	size_t len = 0;

	(void)state;
	for (unsigned i = 0; i < 3000; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%shost 10.0.%u.%u", i ? " or " : "",
					i >> 8, i & 255);
	assert_int_equal(compile(text, &err), SKEP_E_USAGE);
	assert_non_null(strstr(err.text, "too complex"));
}

static void test_random_tokens(void **state)
{
	static const char *const tokens[] = {
		"tcp",	 "udp",		"host",	    "net",	"port",	      "portrange",   "and",
		"or",	 "not",		"(",	    ")",	"[",	      "]",	     "0",
		"1",	 "65536",	"0x1f",	    "10.0.0.1", "fe80::1",    "1:2:3:4:5:6", "10.0.0.0/8",
		"/",	 "=",		"!=",	    "<",	">",	      "&",	     "|",
		"+",	 "-",		"*",	    "vlan",	"mpls",	      "src",	     "dst",
		"ether", "proto",	"\\tcp",    "less",	"greater",    "len",	     "broadcast",
		"foo",	 "example.com", "dns",	    "tls",	"-w",	      "--help",	     "$(id)",
		"`id`",	 ";",		"%s%n",	    "ip6",	"protochain", "llc",	     "type",
		"mask",	 "tcpflags",	"icmptype", "gateway",	"1-2",	      "\"",	     "'",
		"::",	 "quic",	"in",	    "@x",	"host in @x", "ether[0x53000018:4]"
	};
	uint64_t seed = 0x9e3779b97f4a7c15ull;
	size_t accepted = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct skep_err err = SKEP_ERR_NULL;
		char text[512] = "";
		size_t len = 0;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		for (uint64_t k = 0, n = 1 + (seed >> 33) % 8; k < n; k++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s ",
						tokens[(seed >> 33) % ARRAY_LEN(tokens)]);
		}
		if (compile(text, &err) == 0)
			accepted++;
		else
			assert_true(err.column <= (int)len + 1);
	}
	assert_true(accepted > ROUNDS / 1000);
}

/* Loops are written out, and the meaning stays: IPv6 with three extension headers in front of UDP. */
static void test_protochain(void **state)
{
	uint8_t packet[120] = {
		[12] = 0x86, [13] = 0xdd, [14] = 0x60, [20] = 0, [54] = 60, [62] = 43, [70] = 17
	};
	struct bpf_program prog = { 0 }, original;
	struct skep_err err = SKEP_ERR_NULL;
	pcap_t *p = pcap_open_dead(DLT_EN10MB, 65535);

	(void)state;
	assert_int_equal(flt_front_compile("ip6 protochain 17", 1, 65535, &prog, &err), 0);
	assert_int_equal(pcap_compile(p, &original, "ip6 protochain 17", 1, 0), 0);
	assert_int_equal(flt_has_loop((const struct flt_cbpf *)original.bf_insns, original.bf_len), 1);
	assert_int_equal(flt_has_loop((const struct flt_cbpf *)prog.bf_insns, prog.bf_len), 0);
	for (uint32_t len = 0; len <= sizeof(packet); len++)
		assert_int_equal(flt_front_match(&prog, packet, len, len),
				 bpf_filter(original.bf_insns, packet, len, len));
	assert_int_equal(flt_front_match(&prog, packet, sizeof(packet), sizeof(packet)), 65535);
	packet[70] = 6;
	assert_int_equal(flt_front_match(&prog, packet, sizeof(packet), sizeof(packet)), 0);
	flt_front_free(&prog);
	pcap_freecode(&original);
	pcap_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_program_as_libpcap),
		cmocka_unit_test(test_empty_is_everything),
		cmocka_unit_test(test_refusals_point_at_the_place),
		cmocka_unit_test(test_names_of_ports_are_ports),
		cmocka_unit_test(test_presets_compile_and_combine),
		cmocka_unit_test(test_hostile_sizes_are_answered),
		cmocka_unit_test(test_thousands_of_hosts),
		cmocka_unit_test(test_random_tokens),
		cmocka_unit_test(test_protochain),
	};

	return cmocka_run_group_tests_name("flt_front", tests, NULL, NULL);
}
