/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads a device's ethtool statistics by ioctl and sums those that say what became of XDP frames. Changes
 * nothing.
 */
#include "bench/link_stats.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int ask(int fd, const char *link, void *what)
{
	struct ifreq req = { .ifr_data = what };

	(void)snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", link);
	return ioctl(fd, SIOCETHTOOL, &req) < 0 ? -errno : 0;
}

/* "tx_queue_3_xdp_xmit" with suffix "xdp_xmit": yes */
static bool is_counter(const char *name, const char *suffix)
{
	size_t n = strnlen(name, ETH_GSTRING_LEN), m = strlen(suffix);

	return n > m && strncmp(name, "tx_queue_", 9) == 0 && memcmp(name + n - m, suffix, m) == 0;
}

static int read_tx_dropped(const char *link, uint64_t *ret)
{
	struct ifaddrs *list, *at;

	if (getifaddrs(&list))
		return -errno;
	for (at = list; at; at = at->ifa_next) {
		if (at->ifa_addr && at->ifa_addr->sa_family == AF_PACKET && strcmp(at->ifa_name, link) == 0)
			*ret = ((const struct rtnl_link_stats *)at->ifa_data)->tx_dropped;
	}
	freeifaddrs(list);
	return 0;
}

int bench_link_stats_read(const char *link, struct bench_link_stats *ret, struct skep_err *err)
{
	struct {
		struct ethtool_sset_info head;
		uint32_t n;
	} info = { .head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_STATS } };
	_skep_free_ struct ethtool_gstrings *names = NULL;
	_skep_free_ struct ethtool_stats *values = NULL;
	struct bench_link_stats sum = { 0 };
	_skep_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t i;
	int r;

	if (fd < 0)
		return skep_err_set(err, -errno, "socket: %s", strerror(errno));
	r = read_tx_dropped(link, &sum.tx_dropped);
	if (!r)
		r = ask(fd, link, &info);
	if (r == -EOPNOTSUPP) {
		*ret = sum;
		return 0;
	}
	if (r)
		return skep_err_set(err, r, "%s: cannot read its statistics: %s", link, strerror(-r));
	names = calloc(1, sizeof(*names) + (size_t)info.n * ETH_GSTRING_LEN);
	values = calloc(1, sizeof(*values) + (size_t)info.n * sizeof(uint64_t));
	if (!names || !values)
		return skep_err_set(err, -ENOMEM, "no memory for %u statistics", info.n);
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_STATS;
	names->len = info.n;
	values->cmd = ETHTOOL_GSTATS;
	values->n_stats = info.n;
	r = ask(fd, link, names);
	if (!r)
		r = ask(fd, link, values);
	if (r == -EOPNOTSUPP) {
		*ret = sum;
		return 0;
	}
	if (r)
		return skep_err_set(err, r, "%s: cannot read its statistics: %s", link, strerror(-r));
	for (i = 0; i < info.n; i++) {
		const char *name = (const char *)names->data + (size_t)i * ETH_GSTRING_LEN;

		if (is_counter(name, "_xdp_xmit_errors")) {
			sum.refused += values->data[i];
		} else if (is_counter(name, "_xdp_xmit")) {
			sum.accepted += values->data[i];
			sum.known = true;
		}
	}
	*ret = sum;
	return 0;
}

int bench_link_stats_mtu(const char *link, int *ret_mtu, struct skep_err *err)
{
	_skep_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { 0 };

	(void)snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", link);
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &req) < 0)
		return skep_err_set(err, -errno, "%s: cannot read its MTU: %s", link, strerror(errno));
	*ret_mtu = req.ifr_mtu;
	return 0;
}
