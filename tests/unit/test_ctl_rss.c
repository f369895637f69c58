/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that a receive hash is called symmetric only if it is: the published symmetric key is, Microsoft's
 * well-known one is not, whatever the key is if the NIC combines both directions first; and that nothing is
 * claimed of a hash that is not known, or of a link without any.
 */
#include "tests/unit/unit.h"

#include "control/rss.h"

static void test_keys(void **state)
{
	static const uint8_t microsoft[] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
					     0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
					     0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
					     0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };
	uint8_t symmetric[40];

	(void)state;
	for (size_t i = 0; i < sizeof(symmetric); i++)
		symmetric[i] = i % 2 ? 0x5a : 0x6d;
	assert_int_equal(ctl_rss_judge(1, 0, symmetric, sizeof(symmetric)), CTL_RSS_SYMMETRIC);
	assert_int_equal(ctl_rss_judge(1, 0, microsoft, sizeof(microsoft)), CTL_RSS_APART);
	assert_int_equal(ctl_rss_judge(1, 1, microsoft, sizeof(microsoft)), CTL_RSS_SYMMETRIC);
	assert_int_equal(ctl_rss_judge(1, 2, microsoft, sizeof(microsoft)), CTL_RSS_SYMMETRIC);
	symmetric[39]++;
	assert_int_equal(ctl_rss_judge(1, 0, symmetric, sizeof(symmetric)), CTL_RSS_APART);
	assert_int_equal(ctl_rss_judge(2, 0, microsoft, sizeof(microsoft)), CTL_RSS_UNKNOWN);
	assert_int_equal(ctl_rss_judge(1, 0, microsoft, 0), CTL_RSS_UNKNOWN);
}

static void test_links_without(void **state)
{
	(void)state;
	assert_int_equal(ctl_rss_of("lo"), CTL_RSS_UNKNOWN);
	assert_int_equal(ctl_rss_of("nosuch0"), CTL_RSS_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_links_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
