/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asks the driver for its receive hash (ETHTOOL_GRSSH). A Toeplitz hash gives both directions of a flow the
 * same value if its key repeats every 16 bits, as addresses and ports then add up the same in either order
 * (S. Woo, K. Park: Scalable TCP Session Monitoring with Symmetric Receive-side Scaling, KAIST 2012); any
 * hash does if the NIC combines source and destination before it (RXH_XFRM_SYM_XOR, _OR_XOR). Whoever has one
 * queue needs none of it.
 */
#include "control/rss.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define TOEPLITZ 1u	  /* ETH_RSS_HASH_TOP, which the kernel does not export */
#define SYMMETRIC_XFRM 3u /* RXH_XFRM_SYM_XOR | RXH_XFRM_SYM_OR_XOR */
#define INDIRECTIONS_MAX 4096u
#define KEY_MAX_BYTES 1024u

enum ctl_rss ctl_rss_judge(uint8_t function, uint8_t transformation, const uint8_t *key, size_t n)
{
	if (transformation & SYMMETRIC_XFRM)
		return CTL_RSS_SYMMETRIC;
	if (function != TOEPLITZ || n < 2)
		return CTL_RSS_UNKNOWN;
	for (size_t i = 2; i < n; i++)
		if (key[i] != key[i - 2])
			return CTL_RSS_APART;
	return CTL_RSS_SYMMETRIC;
}

static int ask(int fd, const char *link, struct ethtool_rxfh *rxfh)
{
	struct ifreq ifr = { 0 };

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.15s", link);
	ifr.ifr_data = (char *)rxfh;
	rxfh->cmd = ETHTOOL_GRSSH;
	return ioctl(fd, SIOCETHTOOL, &ifr);
}

enum ctl_rss ctl_rss_of(const char *link)
{
	_skep_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_rxfh sizes = { 0 };
	_skep_free_ struct ethtool_rxfh *rxfh = NULL;

	if (fd < 0 || ask(fd, link, &sizes) < 0 || !sizes.key_size || sizes.indir_size > INDIRECTIONS_MAX ||
	    sizes.key_size > KEY_MAX_BYTES)
		return CTL_RSS_UNKNOWN;
	rxfh = calloc(1, sizeof(*rxfh) + sizes.indir_size * sizeof(rxfh->rss_config[0]) + sizes.key_size);
	if (!rxfh)
		return CTL_RSS_UNKNOWN;
	rxfh->indir_size = sizes.indir_size;
	rxfh->key_size = sizes.key_size;
	if (ask(fd, link, rxfh) < 0)
		return CTL_RSS_UNKNOWN;
	/* The first of the reserved bytes is input_xfrm since Linux 6.8, and 0 before. */
	return ctl_rss_judge(rxfh->hfunc, rxfh->rsvd8[0],
			     (const uint8_t *)(rxfh->rss_config + rxfh->indir_size), rxfh->key_size);
}
