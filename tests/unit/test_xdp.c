/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves how a NIC's stamp becomes UTC: a clock that is kept on TAI or UTC is believed to the nanosecond, any
 * other is compared with ours, before and after it, also around the border between the two; that stamps are
 * taken only from a driver that has them for XDP; and that only a missing privilege is called one.
 */
#include "tests/unit/unit.h"

#include "capture/xdp.h"

#include <errno.h>
#include <string.h>

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

static void test_stamps_need_all_three(void **state)
{
	const struct cap_link_info has = { .hw_timestamps = CAP_YES,
					   .phc_index = 0,
					   .xdp_rx_metadata = CAP_LINK_META_TIMESTAMP | CAP_LINK_META_HASH };
	struct cap_link_info lacks;

	(void)state;
	assert_true(cap_xdp_gives_stamps(&has));
	lacks = has;
	lacks.xdp_rx_metadata = CAP_LINK_META_HASH; /* igb: it stamps, but tells no XDP program */
	assert_false(cap_xdp_gives_stamps(&lacks));
	lacks.xdp_rx_metadata = 0;
	assert_false(cap_xdp_gives_stamps(&lacks));
	lacks.xdp_rx_metadata = -1; /* unknown: what is not said is not promised */
	assert_false(cap_xdp_gives_stamps(&lacks));
	lacks = has;
	lacks.phc_index = -1;
	assert_false(cap_xdp_gives_stamps(&lacks));
	lacks = has;
	lacks.hw_timestamps = CAP_UNKNOWN;
	assert_false(cap_xdp_gives_stamps(&lacks));
	lacks.hw_timestamps = CAP_NO;
	assert_false(cap_xdp_gives_stamps(&lacks));
}

static int answer;

static int load_with_answer(struct cap_xdp *xdp, bool hints)
{
	(void)xdp;
	return hints ? -EOPNOTSUPP : answer;
}

static int refusal(int r, struct skep_err *err)
{
	struct cap_xdp xdp = { .hook.ifname = "nic0" };

	answer = r;
	*err = (struct skep_err)SKEP_ERR_NULL;
	return cap_xdp_load(&xdp, load_with_answer, err);
}

static void test_refusals_of_programs(void **state)
{
	struct skep_err err;

	(void)state;
	assert_int_equal(refusal(-EPERM, &err), SKEP_E_PRIVILEGE);
	assert_non_null(strstr(err.text, "nic0: not allowed"));
	assert_non_null(strstr(err.hint, "CAP_BPF"));
	assert_int_equal(refusal(-EACCES, &err), -EACCES);
	assert_non_null(strstr(err.text, "nic0: the kernel's verifier"));
	assert_null(strstr(err.hint, "CAP_"));
	assert_int_equal(refusal(-EINVAL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "Invalid argument"));
	assert_int_equal(refusal(0, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nic_clock),
		cmocka_unit_test(test_stamps_need_all_three),
		cmocka_unit_test(test_refusals_of_programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
