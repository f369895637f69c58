/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves how a NIC's stamp becomes UTC: a clock that is kept on TAI or UTC is believed to the nanosecond, any
 * other is compared with ours, before and after it, also around the border between the two.
 */
#include "tests/unit/unit.h"

#include "capture/xdp.h"

#define UTC_NS 1795262743869390967
#define TAI_NS (37 * (int64_t)SKEP_NSEC_PER_SEC)
#define MS ((int64_t)SKEP_NSEC_PER_MSEC)

static void test_nic_clock(void **state)
{
	(void)state;
	/* On UTC or TAI, however jittery the comparison. */
	assert_true(cap_xdp_nic_to_utc_ns(UTC_NS, UTC_NS, -TAI_NS) == 0);
	assert_true(cap_xdp_nic_to_utc_ns(UTC_NS + 49 * MS, UTC_NS, -TAI_NS) == 0);
	assert_true(cap_xdp_nic_to_utc_ns(UTC_NS - 49 * MS, UTC_NS, -TAI_NS) == 0);
	assert_true(cap_xdp_nic_to_utc_ns(UTC_NS + TAI_NS, UTC_NS, -TAI_NS) == -TAI_NS);
	assert_true(cap_xdp_nic_to_utc_ns(UTC_NS + TAI_NS - 49 * MS, UTC_NS, -TAI_NS) == -TAI_NS);
	/* Free-running: from the boot of the NIC, a second off, and in the future. */
	assert_true(cap_xdp_nic_to_utc_ns(5, UTC_NS, -TAI_NS) == UTC_NS - 5);
	assert_true(cap_xdp_nic_to_utc_ns(UTC_NS + 1000 * MS, UTC_NS, -TAI_NS) == -1000 * MS);
	assert_true(cap_xdp_nic_to_utc_ns(UTC_NS + 50 * MS, UTC_NS, -TAI_NS) == -50 * MS);
	assert_true(cap_xdp_nic_to_utc_ns(UTC_NS + TAI_NS + 50 * MS, UTC_NS, -TAI_NS) == -TAI_NS - 50 * MS);
	/* The kernel does not know TAI: a NIC on TAI is then a free-running one. */
	assert_true(cap_xdp_nic_to_utc_ns(UTC_NS + TAI_NS, UTC_NS, 0) == -TAI_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nic_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
