/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: every encapsulation is found where it is, alone and one in the other, with the kinds that lead to
 * it; what is truncated at any byte, malformed, or behind a kind that nobody asked for is not; each packet
 * found is the Ethernet frame it stands for; and nothing behind the frame is read (it ends at a page that
 * cannot be).
 */
#include "tests/unit/bytes.h"

#include "capture/filter/front.h"
#include "capture/filter/inside.h"

#define MAC "020000000001020000000002"
#define MAC2 "0200000000aa0200000000bb"
#define IP4(total, proto) "4500" total "00000000" "40" proto "0000" "0a0000010a000002"
#define IP6(payload, next) "60000000" payload next "40" "20010db8000000000000000000000001" "20010db8000000000000000000000002"
#define UDP(port, len) "c000" port len "0000"
#define INNER4 "45000020000000004011" "0000" "c0a80101" "c0a80102" "c0000035000c0000" "deadbeef"
#define INNER6 "60000000000c1140" "fe800000000000000000000000000001" "fe800000000000000000000000000002" "c0000035000c0000" "deadbeef"
#define FRAME4 MAC2 "0800" INNER4
#define VXLAN "0800000000002a00"
#define ERSPAN2 "1064000100000000"
#define ERSPAN3 "206400010000000000000000"

enum {
	V = SKEP_INNER_VLAN,
	Q = SKEP_INNER_QINQ,
	M = SKEP_INNER_MPLS,
	G = SKEP_INNER_GRE,
	E = SKEP_INNER_ERSPAN,
	X = SKEP_INNER_VXLAN,
	PART = SKEP_INNER_PART
};

static const struct {
	const char *name, *hex;
	uint32_t n;
	struct skep_inner want[SKEP_MAX_INNER];
} stacks[] = {
	{ "plain", MAC "0800" INNER4, 0, { { 0 } } },
	{ "vlan", MAC "81000064" "0800" INNER4, 1, { { 4, 0, V | V << 8, 0 } } },
	{ "vlan, 802.3", MAC "81000064" "0026" "424203", 1, { { 4, 0, V | V << 8, 0 } } },
	{ "service tag", MAC "88a80064" "0800" INNER4, 1, { { 4, 0, Q | Q << 8, 0 } } },
	{ "qinq", MAC "88a80064" "81000001" "0800" INNER4, 1, { { 8, 0, Q | Q << 8, 0 } } },
	{ "two 802.1Q tags", MAC "81000064" "81000001" "86dd" INNER6, 1, { { 8, 0, Q | Q << 8, 0 } } },
	{ "eight tags", MAC "91000001" "81000001" "81000001" "81000001" "81000001" "81000001" "81000001" "81000001" "0800" INNER4,
	  1, { { 32, 0, Q | Q << 8, 0 } } },
	{ "nine tags", MAC "91000001" "81000001" "81000001" "81000001" "81000001" "81000001" "81000001" "81000001" "81000001"
	  "0800" INNER4, 0, { { 0 } } },
	{ "mpls", MAC "8847" "00064140" INNER4, 1, { { 4, 0, M | M << 8, 0x0800 } } },
	{ "mpls, three labels, ipv6", MAC "8848" "00064040" "00064040" "00064140" INNER6, 1, { { 12, 0, M | M << 8, 0x86dd } } },
	{ "mpls pseudo-wire", MAC "8847" "00064140" "00000000" FRAME4, 0, { { 0 } } },
	{ "mpls in vlan", MAC "81000064" "8847" "00064140" INNER4, 2,
	  { { 4, 0, V | V << 8, 0 }, { 8, 0, V | M | M << 8, 0x0800 } } },
	{ "gre ipv4", MAC "0800" IP4("0038", "2f") "00000800" INNER4, 1, { { 24, 0, G | G << 8, 0x0800 } } },
	{ "gre ipv6 with checksum, key, sequence", MAC "0800" IP4("005c", "2f") "b00086dd" "00000000" "00000001" "00000002" INNER6, 1,
	  { { 36, 0, G | G << 8, 0x86dd } } },
	{ "gre key only", MAC "0800" IP4("003c", "2f") "20000800" "00000001" INNER4, 1, { { 28, 0, G | G << 8, 0x0800 } } },
	{ "gre says ipv6, carries ipv4", MAC "0800" IP4("0038", "2f") "000086dd" INNER4, 0, { { 0 } } },
	{ "gre over ipv6", MAC "86dd" IP6("0024", "2f") "00000800" INNER4, 1, { { 44, 0, G | G << 8, 0x0800 } } },
	{ "gre behind options", MAC "0800" "4600003c0000000040" "2f" "0000" "0a0000010a000002" "01010101" "00000800" INNER4, 1,
	  { { 28, 0, G | G << 8, 0x0800 } } },
	{ "gre behind hop-by-hop and destination", MAC "86dd" IP6("0034", "00") "3c00000000000000" "2f00000000000000" "00000800" INNER4,
	  1, { { 60, 0, G | G << 8, 0x0800 } } },
	{ "gre ethernet", MAC "0800" IP4("0046", "2f") "00006558" FRAME4, 1, { { 38, 38, G | G << 8, 0 } } },
	{ "gre mpls", MAC "0800" IP4("003c", "2f") "00008847" "00064140" INNER4, 2,
	  { { 24, 0, G | G << 8, 0x8847 }, { 28, 0, G | M | M << 8, 0x0800 } } },
	{ "gre with routing", MAC "0800" IP4("003c", "2f") "40000800" "00000000" INNER4, 0, { { 0 } } },
	{ "pptp", MAC "0800" IP4("003c", "2f") "3001880b" "00000000" "00000000" INNER4, 0, { { 0 } } },
	{ "gre carrying something else", MAC "0800" IP4("0038", "2f") "0000880b" INNER4, 0, { { 0 } } },
	{ "erspan I", MAC "0800" IP4("0046", "2f") "000088be" FRAME4, 1, { { 38, 38, E | E << 8, 0 } } },
	{ "erspan II", MAC "0800" IP4("0052", "2f") "100088be" "00000001" ERSPAN2 FRAME4, 1, { { 50, 50, E | E << 8, 0 } } },
	{ "erspan II with a wrong version", MAC "0800" IP4("0052", "2f") "100088be" "00000001" "3064000100000000" FRAME4, 0, { { 0 } } },
	{ "erspan III", MAC "0800" IP4("0056", "2f") "100022eb" "00000001" ERSPAN3 FRAME4, 1, { { 54, 54, E | E << 8, 0 } } },
	{ "erspan III with its platform's part", MAC "0800" IP4("005e", "2f") "100022eb" "00000001" "206400010000000000000001"
	  "1000000000000000" FRAME4, 1, { { 62, 62, E | E << 8, 0 } } },
	{ "erspan III of a packet", MAC "0800" IP4("0048", "2f") "100022eb" "00000001" "206400010000000000000800" INNER4, 1,
	  { { 40, 0, E | E << 8, 0x0800 } } },
	{ "erspan III of something else", MAC "0800" IP4("0048", "2f") "100022eb" "00000001" "206400010000000000000c00" INNER4, 0, { { 0 } } },
	{ "erspan II over ipv6, in a vlan, of a vlan", MAC "81000064" "86dd" IP6("0042", "2f") "100088be" "00000001" ERSPAN2 MAC2
	  "81000007" "0800" INNER4, 3,
	  { { 4, 0, V | V << 8, 0 }, { 74, 74, V | E | E << 8, 0 }, { 78, 74, V | E | V << 8, 0 } } },
	{ "vxlan", MAC "0800" IP4("0052", "11") UDP("12b5", "003e") VXLAN FRAME4, 1, { { 50, 50, X | X << 8, 0 } } },
	{ "vxlan, linux' port, ipv6", MAC "86dd" IP6("003e", "11") UDP("2118", "003e") VXLAN FRAME4, 1, { { 70, 70, X | X << 8, 0 } } },
	{ "vxlan without its flag", MAC "0800" IP4("0052", "11") UDP("12b5", "003e") "0000000000002a00" FRAME4, 0, { { 0 } } },
	{ "vxlan in a short datagram", MAC "0800" IP4("0052", "11") UDP("12b5", "001d") VXLAN FRAME4, 0, { { 0 } } },
	{ "vxlan by another port", MAC "0800" IP4("0052", "11") UDP("0035", "003e") VXLAN FRAME4, 0, { { 0 } } },
	{ "vxlan of gre", MAC "0800" IP4("0080", "11") UDP("12b5", "006c") VXLAN MAC2 "0800" IP4("0038", "2f") "00000800" INNER4, 2,
	  { { 50, 50, X | X << 8, 0 }, { 74, 50, X | G | G << 8, 0x0800 } } },
	{ "gre in gre in gre in gre in gre", MAC "0800" IP4("0098", "2f") "00000800" IP4("0080", "2f") "00000800" IP4("0068", "2f")
	  "00000800" IP4("0050", "2f") "00000800" IP4("0038", "2f") "00000800" INNER4, 4,
	  { { 24, 0, G | G << 8, 0x0800 }, { 48, 0, G | G << 8, 0x0800 }, { 72, 0, G | G << 8, 0x0800 },
	    { 96, 0, G | G << 8, 0x0800 } } },
	{ "first fragment", MAC "0800" "45000038000020004000" "0000" "0a0000010a000002" "00000800" INNER4, 0, { { 0 } } },
	{ "gre in a first fragment", MAC "0800" "4500003800002000402f" "0000" "0a0000010a000002" "00000800" INNER4, 1,
	  { { 24, 0, G | G << 8 | PART, 0x0800 } } },
	{ "gre in a later fragment", MAC "0800" "4500003800000010402f" "0000" "0a0000010a000002" "00000800" INNER4, 0, { { 0 } } },
	{ "gre in a first ipv6 fragment", MAC "86dd" IP6("002c", "2c") "2f00000100000001" "00000800" INNER4, 1,
	  { { 52, 0, G | G << 8 | PART, 0x0800 } } },
	{ "gre in a later ipv6 fragment", MAC "86dd" IP6("002c", "2c") "2f00000900000001" "00000800" INNER4, 0, { { 0 } } },
	{ "gre behind ah", MAC "0800" IP4("0044", "33") "2f010000" "00000001" "00000002" "00000800" INNER4, 1, { { 36, 0, G | G << 8, 0x0800 } } },
	{ "gre in an ip packet of no length", MAC "0800" IP4("0000", "2f") "00000800" INNER4, 1, { { 24, 0, G | G << 8, 0x0800 } } },
	{ "gre in an ip packet that ends before", MAC "0800" IP4("002b", "2f") "00000800" INNER4, 0, { { 0 } } },
	{ "gre in an ip packet that ends just behind", MAC "0800" IP4("002c", "2f") "00000800" INNER4, 1, { { 24, 0, G | G << 8, 0x0800 } } },
	{ "gre of a version that is none", MAC "0800" IP4("0038", "2f") "00000800" "55000020", 0, { { 0 } } },
	{ "ipv4 header too short", MAC "0800" "44000038000000004" "02f" "0000" "0a0000010a000002" "00000800" INNER4, 0, { { 0 } } },
	{ "ipv4 says ipv6", MAC "86dd" IP4("0038", "2f") "00000800" INNER4, 0, { { 0 } } },
	{ "ip in ip", MAC "0800" IP4("0034", "04") INNER4, 0, { { 0 } } },
};

static void expect(const char *name, const struct skep_inner *got, uint32_t n, const struct skep_inner *want,
		   uint32_t n_want)
{
	for (uint32_t i = 0; i < SKEP_MAX(n, n_want); i++) {
		if (i < n && i < n_want && memcmp(&got[i], &want[i], sizeof(*got)) == 0)
			continue;
		print_message("# %s: %u packets, not %u", name, n, n_want);
		if (i < n)
			print_message("; %u: at %u, addresses at %u, kind %04x, type %04x", i, got[i].off,
				      got[i].mac_off, got[i].kind, got[i].type);
		print_message("\n");
		fail();
	}
}

static void test_every_encapsulation(void **state)
{
	struct skep_inner got[SKEP_MAX_INNER];
	uint8_t bytes[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(stacks); i++) {
		uint32_t len = from_hex(stacks[i].hex, bytes);
		uint32_t n = flt_inside_find(at_wall(bytes, len), len, SKEP_INNER_ALL, got);

		expect(stacks[i].name, got, n, stacks[i].want, stacks[i].n);
	}
}

/* Bytes of the innermost packet's header that must be there: Ethernet's, an IP header without options, a
 * label. */
static uint32_t head_end(const struct skep_inner *p)
{
	return p->off + 14u + (p->type == 0x0800 ? 20u : p->type == 0x86dd ? 40u : p->type ? 4u : 0u);
}

static void test_truncated_at_every_byte(void **state)
{
	struct skep_inner got[SKEP_MAX_INNER];
	uint8_t bytes[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(stacks); i++) {
		uint32_t whole = from_hex(stacks[i].hex, bytes);

		for (uint32_t len = 0; len <= whole; len++) {
			uint32_t n = flt_inside_find(at_wall(bytes, len), len, SKEP_INNER_ALL, got), want = 0;

			while (want < stacks[i].n && head_end(&stacks[i].want[want]) <= len)
				want++;
			expect(stacks[i].name, got, n, stacks[i].want, want);
		}
	}
}

/* Of every set of kinds exactly those packets that only these kinds lead to. */
static void test_only_what_is_asked_for(void **state)
{
	struct skep_inner got[SKEP_MAX_INNER], want[SKEP_MAX_INNER];
	uint8_t bytes[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(stacks); i++) {
		uint32_t len = from_hex(stacks[i].hex, bytes);

		for (uint32_t kinds = 0; kinds <= SKEP_INNER_ALL; kinds++) {
			uint32_t n = flt_inside_find(bytes, len, kinds, got), n_want = 0;

			for (uint32_t k = 0; k < stacks[i].n; k++)
				if (flt_inside_wanted(&stacks[i].want[k], kinds))
					want[n_want++] = stacks[i].want[k];
			expect(stacks[i].name, got, n, want, n_want);
		}
	}
}

static void test_pieces(void **state)
{
	static const struct {
		const char *frame, *inside;
		bool copied;
	} cases[] = {
		{ MAC "88a80064" "81000001" "0800" INNER4, MAC "0800" INNER4, true },
		{ MAC "8847" "00064140" INNER6, MAC "86dd" INNER6, true },
		{ MAC "0800" IP4("0038", "2f") "00000800" INNER4, MAC "0800" INNER4, true },
		{ MAC "0800" IP4("0052", "11") UDP("12b5", "003e") VXLAN FRAME4, FRAME4, false },
	};
	uint8_t bytes[512], want[512], room[512];
	struct skep_inner inner[SKEP_MAX_INNER];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct flt_piece frame = { .cap_len = from_hex(cases[i].frame, bytes) }, p;
		uint32_t len = from_hex(cases[i].inside, want);

		frame.bytes = at_wall(bytes, frame.cap_len);
		frame.wire_len = frame.cap_len + 100;
		assert_int_equal(flt_inside_find(frame.bytes, frame.cap_len, SKEP_INNER_ALL, inner), 1);
		p = flt_inside_piece(&frame, &inner[0], room);
		assert_int_equal(p.cap_len, len);
		assert_int_equal(p.wire_len, len + 100);
		assert_memory_equal(p.bytes, want, len);
		assert_int_equal(p.bytes == room, cases[i].copied);
	}
}

static void test_match(void **state)
{
	static const struct {
		const char *expr, *frame;
		uint32_t kinds;
		bool want;
	} cases[] = {
		{ "host 192.168.1.1", MAC "0800" IP4("0038", "2f") "00000800" INNER4, 0, false },
		{ "host 192.168.1.1", MAC "0800" IP4("0038", "2f") "00000800" INNER4, G, true },
		{ "host 192.168.1.1", MAC "0800" IP4("0038", "2f") "00000800" INNER4, X, false },
		{ "host 10.0.0.1", MAC "0800" IP4("0038", "2f") "00000800" INNER4, G, true },
		/* Both terms must hold of the same packet. */
		{ "host 10.0.0.1 and host 192.168.1.1", MAC "0800" IP4("0038", "2f") "00000800" INNER4, G, false },
		{ "ether src 02:00:00:00:00:02 and udp port 53", MAC "0800" IP4("0038", "2f") "00000800" INNER4, G, true },
		{ "ether src 02:00:00:00:00:bb", MAC "0800" IP4("0052", "11") UDP("12b5", "003e") VXLAN FRAME4, X, true },
		{ "len = 46", MAC "81000064" "0800" INNER4, V, true },
		{ "len = 46", MAC "81000064" "0800" INNER4, 0, false },
		{ "udp", MAC "88a80064" "81000001" "0800" INNER4, V, false },
		{ "udp", MAC "88a80064" "81000001" "0800" INNER4, Q, true },
		{ "udp", MAC "81000064" "8847" "00064140" INNER4, M, false },
		{ "udp", MAC "81000064" "8847" "00064140" INNER4, V | M, true },
	};
	uint8_t bytes[512], room[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct bpf_program *prog = flt_front_new();
		struct flt_piece frame = { .bytes = bytes, .cap_len = from_hex(cases[i].frame, bytes) };

		frame.wire_len = frame.cap_len;
		assert_int_equal(flt_front_compile(cases[i].expr, 1, 262144, prog, NULL), 0);
		if ((flt_inside_match(prog, &frame, cases[i].kinds, room) > 0) != cases[i].want)
			fail_msg("case %zu: %s", i, cases[i].expr);
		flt_front_free(prog);
		free(prog);
	}
}

static void test_lists_of_kinds(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t kinds = 99;
	char text[64];

	(void)state;
	assert_int_equal(flt_inside_parse("--inside", "vxlan,gre,vxlan", SKEP_INNER_ALL, &kinds, &err), 0);
	assert_int_equal(kinds, G | X);
	flt_inside_text(SKEP_INNER_ALL, text, sizeof(text));
	assert_string_equal(text, "vlan,qinq,mpls,gre,erspan,vxlan");
	assert_int_equal(flt_inside_parse("--inside", text, SKEP_INNER_ALL, &kinds, &err), 0);
	assert_int_equal(kinds, SKEP_INNER_ALL);
	kinds = 99;
	assert_int_equal(flt_inside_parse("--inside", "gre,", SKEP_INNER_ALL, &kinds, &err), SKEP_E_USAGE);
	assert_int_equal(flt_inside_parse("--inside", "", SKEP_INNER_ALL, &kinds, &err), SKEP_E_USAGE);
	assert_int_equal(flt_inside_parse("--inside", "gre vxlan", SKEP_INNER_ALL, &kinds, &err), SKEP_E_USAGE);
	assert_int_equal(flt_inside_parse("--decap", "gre,vlan", G | E | X, &kinds, &err), SKEP_E_USAGE);
	assert_string_equal(err.text, "--decap: \"vlan\" is no kind of packet in a packet");
	assert_string_equal(err.hint, "Name some of gre,erspan,vxlan, with commas between");
	assert_int_equal(kinds, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_encapsulation),    cmocka_unit_test(test_truncated_at_every_byte),
		cmocka_unit_test(test_only_what_is_asked_for), cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_match),		       cmocka_unit_test(test_lists_of_kinds),
	};

	return cmocka_run_group_tests(tests, make_wall, NULL);
}
