/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves where --trim cuts: after the headers of every stack it knows, at the last thing it understands of
 * any other; and that neither truncation at any byte nor random bytes make it read behind the frame (the
 * frame ends at a page that cannot be read).
 */
#include "tests/unit/bytes.h"

#include "capture/trim.h"

#define MAC "020000000001020000000002"
#define IP4(len, proto) "45000" len "00000000" "40" proto "0000" "0a0000010a000002"
#define IP6(next) "6000000000ff" next "40" "20010db8000000000000000000000001" "20010db8000000000000000000000002"
#define TCP "00500051" "00000001" "00000002" "5018ffff" "00000000"
#define TCP_OPTIONS "00500051" "00000001" "00000002" "8018ffff" "00000000" "0101080a0000000000000000"
#define UDP "0035003500100000"
#define PAYLOAD "deadbeefdeadbeefdeadbeefdeadbeef"

static const struct {
	const char *name, *hex;
	uint16_t linktype;
	uint32_t l3, l4; /* where l3+0 and l4 cut */
} stacks[] = {
	{ "udp", MAC "0800" IP4("030", "11") UDP PAYLOAD, 1, 34, 42 },
	{ "tcp", MAC "0800" IP4("030", "06") TCP PAYLOAD, 1, 34, 54 },
	{ "tcp with options", MAC "0800" IP4("030", "06") TCP_OPTIONS PAYLOAD, 1, 34, 66 },
	{ "sctp", MAC "0800" IP4("030", "84") "000100020000000300000004" PAYLOAD, 1, 34, 46 },
	{ "icmp", MAC "0800" IP4("030", "01") "0800000000010001" PAYLOAD, 1, 34, 42 },
	{ "ipv4 options", MAC "0800" "46000040000000004006" "0000" "0a0000010a000002" "01010101" TCP PAYLOAD, 1, 38, 58 },
	{ "later fragment", MAC "0800" "45000040000000104011" "0000" "0a0000010a000002" UDP PAYLOAD, 1, 34, 34 },
	{ "first fragment", MAC "0800" "45000040000020004011" "0000" "0a0000010a000002" UDP PAYLOAD, 1, 34, 42 },
	{ "gre", MAC "0800" IP4("030", "2f") "00000800" PAYLOAD, 1, 34, 34 },
	{ "ihl below 5", MAC "0800" "44000040000000004006" "0000" "0a0000010a000002" TCP PAYLOAD, 1, 14, 14 },
	{ "version 5", MAC "0800" "55000040000000004006" "0000" "0a0000010a000002" TCP PAYLOAD, 1, 14, 14 },
	{ "tcp offset below 5", MAC "0800" IP4("030", "06") "0050005100000001000000021018ffff00000000" PAYLOAD, 1, 34, 54 },
	{ "vlan", MAC "81000064" "0800" IP4("030", "11") UDP PAYLOAD, 1, 38, 46 },
	{ "qinq", MAC "88a80001" "81000064" "0800" IP4("030", "11") UDP PAYLOAD, 1, 42, 50 },
	{ "nine tags", MAC "81000001" "81000001" "81000001" "81000001" "81000001" "81000001" "81000001" "81000001" "81000001"
	  "0800" PAYLOAD, 1, 46, 46 },
	{ "mpls", MAC "8847" "00010040" "00020140" IP4("030", "11") UDP PAYLOAD, 1, 42, 50 },
	{ "mpls pseudo-wire", MAC "8847" "00010140" "00000000" PAYLOAD, 1, 18, 18 },
	{ "pppoe", MAC "8864" "110000010030" "0021" IP4("030", "11") UDP PAYLOAD, 1, 42, 50 },
	{ "arp", MAC "0806" "0001080006040001" MAC "0a000001" "0a000002" PAYLOAD, 1, 42, 42 },
	{ "lldp", MAC "88cc" PAYLOAD, 1, 14, 14 },
	{ "ipv6 udp", MAC "86dd" IP6("11") UDP PAYLOAD, 1, 54, 62 },
	{ "ipv6 hop, routing, tcp", MAC "86dd" IP6("00") "2b00000000000000" "0601000000000000" "0000000000000000" TCP PAYLOAD, 1,
	  78, 98 },
	{ "ipv6 first fragment", MAC "86dd" IP6("2c") "1100000100000001" UDP PAYLOAD, 1, 62, 70 },
	{ "ipv6 later fragment", MAC "86dd" IP6("2c") "1100000900000001" UDP PAYLOAD, 1, 62, 62 },
	{ "ipv6 ah", MAC "86dd" IP6("33") "11010000" "00000001" "00000002" UDP PAYLOAD, 1, 66, 74 },
	{ "ipv6 esp", MAC "86dd" IP6("32") PAYLOAD, 1, 54, 54 },
	{ "raw ipv4", IP4("030", "11") UDP PAYLOAD, 101, 20, 28 },
	{ "raw ipv6", IP6("11") UDP PAYLOAD, 229, 40, 48 },
	{ "cooked", "0000000100060200000000010000" "0800" IP4("030", "11") UDP PAYLOAD, 113, 36, 44 },
	{ "cooked 2", "0800" "0000" "00000001" "0001" "0006" "0200000000010000" IP4("030", "11") UDP PAYLOAD, 276, 40, 48 },
};

static void test_stacks(void **state)
{
	uint8_t bytes[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(stacks); i++) {
		struct cap_trim l3 = { .kind = CAP_TRIM_L3, .linktype = stacks[i].linktype };
		struct cap_trim l4 = { .kind = CAP_TRIM_L4, .linktype = stacks[i].linktype };
		uint32_t len = from_hex(stacks[i].hex, bytes);
		const uint8_t *data = at_wall(bytes, len);

		if (cap_trim_contiguous(&l3, data, len) != stacks[i].l3 ||
		    cap_trim_contiguous(&l4, data, len) != stacks[i].l4)
			print_message("# %s: %u %u\n", stacks[i].name, cap_trim_contiguous(&l3, data, len),
				      cap_trim_contiguous(&l4, data, len));
		assert_int_equal(cap_trim_contiguous(&l3, data, len), stacks[i].l3);
		assert_int_equal(cap_trim_contiguous(&l4, data, len), stacks[i].l4);
		l3.n = 4;
		assert_int_equal(cap_trim_contiguous(&l3, data, len), stacks[i].l3 + 4);
		l3.n = UINT32_MAX;
		assert_int_equal(cap_trim_contiguous(&l3, data, len), len);
	}
}

/* Cut at every byte: in a header everything is kept, behind the headers the result does not change. */
static void test_truncated(void **state)
{
	uint8_t bytes[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(stacks); i++) {
		struct cap_trim l4 = { .kind = CAP_TRIM_L4, .linktype = stacks[i].linktype };
		uint32_t whole = from_hex(stacks[i].hex, bytes);

		for (uint32_t len = 0; len <= whole; len++) {
			uint32_t keep = cap_trim_contiguous(&l4, at_wall(bytes, len), len);

			assert_true(keep <= len);
			if (len >= stacks[i].l4 && stacks[i].l4 > stacks[i].l3)
				assert_int_equal(keep, stacks[i].l4);
			else if (stacks[i].l4 > stacks[i].l3)
				assert_int_equal(keep, len);
			else /* what is not understood ends the walk, or is itself cut off */
				assert_true(keep == len || keep == stacks[i].l4);
		}
	}
}

static void test_random(void **state)
{
	static const uint16_t linktypes[] = { 0, 1, 101, 113, 228, 229, 276, 147 };
	uint8_t bytes[256];
	uint64_t x = 88172645463325252ull; /* xorshift64 (Marsaglia 2003) */

	(void)state;
	for (int i = 0; i < 200000; i++) {
		struct cap_trim trim = { .kind = (enum cap_trim_kind)(i % 4),
					 .linktype = linktypes[i / 4 % 8] };
		uint32_t len;

		for (size_t j = 0; j < sizeof(bytes); j += 8) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			memcpy(bytes + j, &x, 8);
		}
		trim.n = (uint32_t)(x >> 40);
		len = (uint32_t)(x & 0xff);
		if (i & 8) { /* far enough to be taken for IPv6 */
			memcpy(bytes + 12, "\x86\xdd\x60", 3);
			bytes[20] = (uint8_t)(i & 1 ? 0 : 43);
		}
		assert_true(cap_trim_contiguous(&trim, at_wall(bytes, len), len) <= len);
	}
}

static void test_unknown_link_type_is_not_cut(void **state)
{
	const uint8_t frame[64] = { 0x45 };

	(void)state;
	assert_int_equal(
		cap_trim_contiguous(&(struct cap_trim){ .kind = CAP_TRIM_L4, .linktype = 147 }, frame, 64),
		64);
	assert_int_equal(
		cap_trim_contiguous(&(struct cap_trim){ .kind = CAP_TRIM_BYTES, .n = 10, .linktype = 147 },
				    frame, 64),
		10);
}

/* The same frame in one buffer, and in three as a tag that was put back makes it. */
static void test_frame_in_buffers(void **state)
{
	static struct cap_batch batch;
	uint8_t bytes[2048] = { 0 };
	struct cap_frame *frame = &batch.frames[0];
	struct cap_trim l4 = { .kind = CAP_TRIM_L4 }, l3 = { .kind = CAP_TRIM_L3, .n = 1000 };

	(void)state;
	(void)from_hex(MAC "81000064" "0800" IP4("030", "11") UDP, bytes);
	*frame = (struct cap_frame){ .data = bytes, .len = 2000, .cap_len = 2000, .wire_len = 2000 };
	assert_int_equal(cap_trim_bytes(&l4, &batch, frame), 46);
	assert_int_equal(cap_trim_bytes(&l3, &batch, frame), 1038);
	batch.frags[0] = (struct cap_frag){ bytes + 12, 4 };
	batch.frags[1] = (struct cap_frag){ bytes + 16, 1984 };
	*frame = (struct cap_frame){
		.data = bytes, .len = 12, .cap_len = 2000, .wire_len = 2000, .frag_n = 2
	};
	assert_int_equal(cap_trim_bytes(&l4, &batch, frame), 46);
	assert_int_equal(cap_trim_bytes(&l3, &batch, frame), 1038);
	l3.n = 5000;
	assert_int_equal(cap_trim_bytes(&l3, &batch, frame), 2000);
	assert_int_equal(cap_trim_bytes(&(struct cap_trim){ .kind = CAP_TRIM_BYTES, .n = 64 }, &batch, frame),
			 64);
	assert_int_equal(cap_trim_bytes(&(struct cap_trim){ .kind = CAP_TRIM_NONE }, &batch, frame), 2000);
	frame->cap_len = 0;
	frame->len = 0;
	frame->frag_n = 0;
	assert_int_equal(cap_trim_bytes(&l4, &batch, frame), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stacks),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_unknown_link_type_is_not_cut),
		cmocka_unit_test(test_frame_in_buffers),
	};

	return cmocka_run_group_tests(tests, make_wall, NULL);
}
