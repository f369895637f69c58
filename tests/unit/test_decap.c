/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: the frame that --decap stores is the inner one, byte for byte, wherever the buffers of the frame
 * end; with an Ethernet header of its own where there was none; one tunnel is taken off, the outermost of
 * those asked for; what is no such tunnel, or a fragment of one, stays as it was; lengths, snaplen and trim
 * are those of the inner frame; the source's batch is not touched, and everything is counted.
 */
#include "tests/unit/bytes.h"

#include "capture/decap.h"
#include "capture/trim.h"

#define MAC "020000000001020000000002"
#define MAC2 "0200000000aa0200000000bb"
#define IP4(total, proto) "4500" total "00000000" "40" proto "0000" "0a0000010a000002"
#define UDP4789 "c00012b500000000"
#define VXLAN "0800000000002a00"
#define INNER4 "45000020000000004011" "0000" "c0a80101" "c0a80102" "c0000035000c0000" "deadbeef"
#define FRAME4 MAC2 "0800" INNER4
#define IN_VXLAN MAC "0800" IP4("0000", "11") UDP4789 VXLAN
#define IN_ERSPAN MAC "0800" IP4("0000", "2f") "100088be" "00000001" "1064000100000000"

static const struct {
	const char *kinds, *frame, *stored;
} cases[] = {
	{ "vxlan", IN_VXLAN FRAME4, FRAME4 },
	{ "erspan", IN_ERSPAN FRAME4, FRAME4 },
	{ "erspan", MAC "81000064" "8847" "00064140" IP4("0000", "2f") "100088be" "00000001" "1064000100000000" FRAME4, FRAME4 },
	{ "erspan", MAC "0800" IP4("0000", "2f") "100022eb" "00000001" "206400010000000000000800" INNER4, MAC "0800" INNER4 },
	{ "gre", MAC "0800" IP4("0000", "2f") "00000800" INNER4, MAC "0800" INNER4 },
	{ "gre", MAC "0800" IP4("0000", "2f") "00008847" "00064140" INNER4, MAC "8847" "00064140" INNER4 },
	{ "gre", MAC "81000064" "0800" IP4("0000", "2f") "200086dd" "00000001" "60000000000811400000000000000000000000000000000100000000"
	  "000000000000000000000002" "c000003500080000",
	  MAC "86dd" "60000000000811400000000000000000000000000000000100000000000000000000000000000002" "c000003500080000" },
	{ "gre", MAC "0800" IP4("0000", "2f") "00006558" MAC2 "81000007" "0800" INNER4, MAC2 "81000007" "0800" INNER4 },
	/* One in the other: one is taken off; the first that is asked for. */
	{ "gre,erspan,vxlan", IN_VXLAN IN_ERSPAN FRAME4, IN_ERSPAN FRAME4 },
	{ "erspan", IN_VXLAN IN_ERSPAN FRAME4, FRAME4 },
	{ "gre", IN_VXLAN MAC2 "0800" IP4("0000", "2f") "00000800" INNER4, MAC2 "0800" INNER4 },
	/* Nothing of the kind. */
	{ "gre", IN_VXLAN FRAME4, IN_VXLAN FRAME4 },
	{ "vxlan", FRAME4, FRAME4 },
	{ "gre", MAC "0800" "4500003800002000402f" "0000" "0a0000010a000002" "00000800" INNER4,
	  MAC "0800" "4500003800002000402f" "0000" "0a0000010a000002" "00000800" INNER4 },
	{ "gre", MAC "0800" IP4("0000", "2f") "00000800" "4500", MAC "0800" IP4("0000", "2f") "00000800" "4500" },
	{ "gre", "0200", "0200" },
	{ "gre", "", "" },
};

static struct cap_decap *open_decap(const char *kinds)
{
	struct cap_decap *d = NULL;
	uint32_t bits;

	assert_int_equal(cap_decap_parse(kinds, &bits, NULL), 0);
	assert_int_equal(cap_decap_new(bits, &d), 0);
	return d;
}

/* The frame as batch->frames[7], cut into buffers behind `first` and, if there is more, `second` bytes. */
static void lay_out(struct cap_batch *batch, const uint8_t *bytes, uint32_t len, uint32_t first,
		    uint32_t second)
{
	struct cap_frame *f = &batch->frames[7];

	*f = (struct cap_frame){ .data = bytes,
				 .len = SKEP_MIN(first, len),
				 .cap_len = len,
				 .wire_len = len + 1000,
				 .frag_first = 5,
				 .ts_ns = 42,
				 .jobs = 3 };
	if (first < len)
		batch->frags[5 + f->frag_n++] =
			(struct cap_frag){ bytes + first, SKEP_MIN(second, len) - first };
	if (first < len && second < len)
		batch->frags[5 + f->frag_n++] = (struct cap_frag){ bytes + second, len - second };
}

static void expect(const struct cap_batch *got, const uint8_t *want, uint32_t len, uint32_t wire_len)
{
	const struct cap_frame *f = &got->frames[0];
	uint8_t bytes[512];

	assert_int_equal(f->cap_len, len);
	assert_int_equal(f->wire_len, wire_len);
	assert_int_equal(f->ts_ns, 42);
	assert_int_equal(cap_trim_gather(got, f, bytes, sizeof(bytes)), len);
	assert_memory_equal(bytes, want, len);
}

static void test_stored_frame(void **state)
{
	static struct cap_batch batch, before;
	uint8_t bytes[512], want[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cap_decap *d = open_decap(cases[i].kinds);
		uint32_t len = from_hex(cases[i].frame, bytes), stored = from_hex(cases[i].stored, want);
		uint32_t wire = len + 1000 - (len - stored), runs = 0;
		bool inner = strcmp(cases[i].frame, cases[i].stored) != 0;
		struct cap_decap_account account;

		for (uint32_t first = 0; first <= len; first++)
			for (uint32_t second = first; second <= len; second += 1 + first % 7, runs++) {
				lay_out(&batch, bytes, len, first, second);
				before = batch;
				expect(cap_decap_look(d, &batch, 7), want, stored, wire);
				expect(cap_decap_take(d, &batch, 7), want, stored, wire);
				assert_memory_equal(&batch, &before, sizeof(batch));
			}
		cap_decap_account(d, &account);
		assert_int_equal(account.decapsulated_pkts, inner ? runs : 0);
		assert_int_equal(account.unchanged_pkts, inner ? 0 : runs);
		d = cap_decap_free(d);
	}
}

/* Looks come first, for a whole batch; what is taken later is what was seen then. */
static void test_batch(void **state)
{
	static struct cap_batch batch;
	static uint8_t bytes[3][512];
	struct cap_decap *d = open_decap("vxlan,gre");
	struct cap_decap_account account;
	const char *const frames[] = { IN_VXLAN FRAME4, FRAME4, MAC "0800" IP4("0000", "2f") "00000800" INNER4 };
	const char *const stored[] = { FRAME4, FRAME4, MAC "0800" INNER4 };
	uint8_t want[512];

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t len = from_hex(frames[i], bytes[i]);

		batch.frames[i] = (struct cap_frame){
			.data = bytes[i], .len = len, .cap_len = len, .wire_len = len, .ts_ns = 42
		};
	}
	for (uint32_t i = 0; i < 3; i++)
		(void)cap_decap_look(d, &batch, i);
	for (uint32_t i = 3; i-- > 0;) {
		uint32_t len = from_hex(stored[i], want);

		expect(cap_decap_take(d, &batch, i), want, len, len);
	}
	cap_decap_account(d, &account);
	assert_int_equal(account.decapsulated_pkts, 2);
	assert_int_equal(account.unchanged_pkts, 1);
	d = cap_decap_free(d);
}

static void test_trim_sees_the_inner_frame(void **state)
{
	static struct cap_batch batch;
	const struct cap_trim l4 = { .kind = CAP_TRIM_L4, .linktype = 1 };
	struct cap_decap *d = open_decap("gre");
	const struct cap_batch *got;
	uint8_t bytes[512];
	uint32_t len = from_hex(MAC "0800" IP4("0000", "2f") "00000800" INNER4, bytes);

	(void)state;
	lay_out(&batch, bytes, len, len, len);
	got = cap_decap_look(d, &batch, 7);
	assert_int_equal(cap_trim_bytes(&l4, got, &got->frames[0]), 14 + 20 + 8);
	d = cap_decap_free(d);
}

static void test_refusals(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t kinds = 7;

	(void)state;
	assert_int_equal(cap_decap_parse("mpls", &kinds, &err), SKEP_E_USAGE);
	assert_int_equal(cap_decap_parse("", &kinds, &err), SKEP_E_USAGE);
	assert_int_equal(kinds, 7);
	assert_null(cap_decap_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stored_frame),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_trim_sees_the_inner_frame),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
