/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An AF_XDP socket leaves the lists of its network namespace when its last descriptor is closed, in the exit
 * of its process at the latest (xsk_release in net/xdp/xsk.c); its queue is free only when a kernel worker
 * got the RTNL lock. Both lists are asked: sock_diag, which names the queue but is not in every kernel, and
 * the number of AF_XDP sockets in /proc/net/protocols, which says enough if it is that of our own.
 */
#include "capture/xsk_held.h"

#include "capture/netlink.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/xdp_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct wanted {
	struct xdp_diag_info info;
	int found;
};

static int on_socket(const struct nlmsghdr *answer, void *arg)
{
	const struct nlattr *tb[XDP_DIAG_MAX + 1];
	struct wanted *w = arg;
	struct xdp_diag_info info;

	cap_netlink_msg_attrs(answer, sizeof(struct xdp_diag_msg), tb, XDP_DIAG_MAX);
	if (!tb[XDP_DIAG_INFO] || cap_netlink_len(tb[XDP_DIAG_INFO]) < sizeof(info))
		return 0;
	memcpy(&info, cap_netlink_data(tb[XDP_DIAG_INFO]), sizeof(info));
	w->found |= info.ifindex == w->info.ifindex && info.queue_id == w->info.queue_id;
	return 0;
}

/* As `ss --xdp` asks; -ENOENT without CONFIG_XDP_SOCKETS_DIAG. */
static int ask_diag(uint32_t ifindex, uint32_t queue)
{
	const struct xdp_diag_req request = { .sdiag_family = AF_XDP, .xdiag_show = XDP_SHOW_INFO };
	struct wanted wanted = { .info = { .ifindex = ifindex, .queue_id = queue } };
	struct cap_netlink nl = CAP_NETLINK_NULL;
	struct cap_netlink_msg msg;
	int r = cap_netlink_open(&nl, NETLINK_SOCK_DIAG);

	if (r < 0)
		return r;
	cap_netlink_begin(&msg, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &request, sizeof(request));
	r = cap_netlink_call(&nl, &msg, on_socket, &wanted);
	cap_netlink_close(&nl);
	return r < 0 ? r : wanted.found;
}

/* AF_XDP sockets of the namespace, ours included. */
static int count_sockets(uint32_t *ret)
{
	FILE *f = fopen("/proc/thread-self/net/protocols", "re");
	char line[256];
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (r && fgets(line, sizeof(line), f))
		if (sscanf(line, "XDP %*u %u", ret) == 1)
			r = 0;
	(void)fclose(f);
	return r;
}

int cap_xsk_held(uint32_t ifindex, uint32_t queue, uint32_t own)
{
	uint32_t n;
	int r = ask_diag(ifindex, queue);

	if (r >= 0)
		return r;
	r = count_sockets(&n);
	if (r < 0)
		return r;
	/* Somebody has one, on this queue or on another. */
	return n > own ? -EBUSY : 0;
}
