/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_LINK_STATS_H
#define BENCH_LINK_STATS_H
/*
 * What a veth device says about the XDP frames it was given: ethtool's tx_queue_*_xdp_xmit and
 * _xdp_xmit_errors. They are counted in the peer's receive queues, the only place that knows, and shown at
 * the sending device.
 */
#include "common/err.h"

#include <stdbool.h>

struct bench_link_stats {
	bool known;	   /* false: the device has no such counters, accepted and refused are 0 */
	uint64_t accepted; /* frames that entered the peer's ring */
	uint64_t
		refused; /* frames that did not: the ring was full, or the frame longer than the peer's MTU */
	uint64_t tx_dropped; /* skbs (and XDP frames) that the device dropped; 32 bits, may wrap */
};

int bench_link_stats_read(const char *link, struct bench_link_stats *ret, struct skep_err *err);
int bench_link_stats_mtu(const char *link, int *ret_mtu, struct skep_err *err);

#endif
