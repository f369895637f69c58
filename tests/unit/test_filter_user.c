/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that a filter gives the same answer for a frame in one buffer and in several, uses the length on
 * the wire, and that a bad expression is refused with its column.
 */
#include "tests/unit/unit.h"

#include "capture/filter_user.h"

static uint8_t scratch[CAP_SNAPLEN_MAX];
static struct cap_batch batch;

/* Ethernet, VLAN 100, IPv4, UDP from 53 to 5353 (VLAN: 4 bytes further). */
static uint32_t make_frame(uint8_t *f, uint32_t payload)
{
	static const uint8_t head[46] = {
		2, 0, 0, 0,  0,	 1, 2, 0,  0, 0, 0, 2,	0x81, 0, 0, 100, 8,  0,	   0x45, 0, 0,	100, 0,
		0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0,    0, 2, 0,	 53, 0x14, 0xe9, 0, 80, 0,   0,
	};

	memcpy(f, head, sizeof(head));
	memset(f + sizeof(head), 0xab, payload);
	return sizeof(head) + payload;
}

static bool match(const char *expr, const struct cap_frame *frame)
{
	struct cap_filter_user *filter = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	bool yes;

	assert_int_equal(cap_filter_user_new(expr, 1, &filter, &err), 0);
	assert_non_null(filter);
	yes = cap_filter_user_match(filter, &batch, frame, scratch);
	assert_null(cap_filter_user_free(filter));
	return yes;
}

static void test_one_and_several_buffers_agree(void **state)
{
	static const struct {
		const char *expr;
		bool yes;
	} cases[] = {
		{ "vlan 100 and udp port 53", true },   { "vlan 101", false },
		{ "vlan and udp dst port 5353", true }, { "tcp", false },
		{ "vlan and host 10.0.0.2", true },     { "vlan and ip6", false },
		{ "greater 1046", true },               { "less 1000", false },
		{ "ether[1045] = 0xab", true },         { "ether[1046] = 0", false },
	};
	uint8_t bytes[2048];
	uint32_t len = make_frame(bytes, 1000);

	(void)state;
	batch.frags[3] = (struct cap_frag){ bytes + 12, 4 };
	batch.frags[4] = (struct cap_frag){ bytes + 16, len - 16 };
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cap_frame one = { .data = bytes, .len = len, .cap_len = len, .wire_len = len };
		struct cap_frame three = { .data = bytes,
					   .len = 12,
					   .cap_len = len,
					   .wire_len = len,
					   .frag_first = 3,
					   .frag_n = 2 };

		assert_int_equal(match(cases[i].expr, &one), cases[i].yes);
		assert_int_equal(match(cases[i].expr, &three), cases[i].yes);
	}
}

static void test_wire_length_and_empty_frames(void **state)
{
	uint8_t bytes[2048];
	struct cap_frame cut = { .data = bytes, .len = 60, .cap_len = 60, .wire_len = 9000 };
	struct cap_frame none = { .data = bytes };

	(void)state;
	make_frame(bytes, 1000);
	assert_true(match("greater 8000", &cut));
	assert_false(match("ether[100] = 0xab", &cut)); /* cut off: not there, though the memory is */
	assert_false(match("vlan", &none));
	assert_false(match("udp", &none));
}

static void test_empty_is_everything(void **state)
{
	struct cap_filter_user *filter = (void *)1;

	(void)state;
	assert_int_equal(cap_filter_user_new(" \n", 1, &filter, NULL), 0);
	assert_null(filter);
	assert_null(cap_filter_user_free(NULL));
}

static void test_bad_is_refused(void **state)
{
	struct cap_filter_user *filter = (void *)1;
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	assert_int_equal(cap_filter_user_new("udp prot 53", 1, &filter, &err), SKEP_E_USAGE);
	assert_int_equal(err.column, 5);
	assert_true(err.text[0] != '\0');
	assert_ptr_equal(filter, (void *)1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_and_several_buffers_agree),
		cmocka_unit_test(test_wire_length_and_empty_frames),
		cmocka_unit_test(test_empty_is_everything),
		cmocka_unit_test(test_bad_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
