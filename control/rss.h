/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_RSS_H
#define CTL_RSS_H
/*
 * Do both directions of a flow reach the same receive queue?
 */
#include "common/util.h"

enum ctl_rss { CTL_RSS_UNKNOWN, CTL_RSS_SYMMETRIC, CTL_RSS_APART };

/* As the driver says it; changes nothing. */
enum ctl_rss ctl_rss_of(const char *link);
/*
 * By hash function (ETH_RSS_HASH_* bits), transformation of its input (RXH_XFRM_* bits, Linux 6.8) and key.
 */
enum ctl_rss ctl_rss_judge(uint8_t function, uint8_t transformation, const uint8_t *key, size_t n);

#endif
