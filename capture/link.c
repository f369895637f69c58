/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asks the kernel about links: rtnetlink for what every link has, the netdev genl family for XDP features,
 * ethtool for the driver, /sys/bus for the NUMA node. Not /sys/class/net: it shows the namespace it was
 * mounted in, not ours. Never changes a link. What a driver does not tell is "unknown", not an error. Control
 * thread only.
 */
#include "capture/link.h"

#include "capture/affinity.h"
#include "capture/ethtool.h"
#include "capture/link_host.h"
#include "capture/netlink.h"

#include <errno.h>
#include <fnmatch.h>
#include <linux/bpf.h>
#include <linux/genetlink.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* linux/netdev.h, which Debian 12's headers do not have yet (kernel 6.3; values are ABI). */
enum { NETDEV_CMD_DEV_GET_ = 1 };
enum {
	NETDEV_A_DEV_IFINDEX_ = 1,
	NETDEV_A_DEV_XDP_FEATURES_ = 3,
	NETDEV_A_DEV_XDP_ZC_MAX_SEGS_ = 4,
	NETDEV_A_DEV_XDP_RX_METADATA_FEATURES_ = 5
};

/*
 * Drivers whose own counters mean "lost before XDP" and are not in rx_missed_errors already: veth's skb path
 * to its ring; mlx5's port buffer (rx_out_of_buffer is in rx_missed_errors). virtio's rx_drops is not here:
 * it counts XDP_DROP too.
 */
static const struct {
	const char *driver;
	const char *counter; /* fnmatch(3) */
} drop_counters[] = {
	{ "veth", "rx_queue_[0-9]_drops" },
	{ "veth", "rx_queue_[0-9][0-9]_drops" },
	{ "veth", "rx_queue_[0-9][0-9][0-9]_drops" },
	{ "mlx5_core", "rx_discards_phy" },
};

/* Sockets of one inquiry. */
struct asker {
	struct cap_netlink route;
	struct cap_netlink genl;
	uint16_t netdev_family; /* 0: the kernel has none */
	int fd;			/* for ethtool */
};

#define ASKER_NULL                                                            \
	{                                                                     \
		.route = CAP_NETLINK_NULL, .genl = CAP_NETLINK_NULL, .fd = -1 \
	}

struct cap_link_watch {
	struct cap_netlink route;
	int fd;
	int ifindex;
};

static void asker_close(struct asker *a)
{
	cap_netlink_close(&a->route);
	cap_netlink_close(&a->genl);
	skep_closep(&a->fd);
}

static int on_family(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *tb[CTRL_ATTR_FAMILY_ID + 1];
	uint16_t id;

	cap_netlink_msg_attrs(h, sizeof(struct genlmsghdr), tb, CTRL_ATTR_FAMILY_ID);
	if (tb[CTRL_ATTR_FAMILY_ID] && cap_netlink_len(tb[CTRL_ATTR_FAMILY_ID]) >= sizeof(id)) {
		memcpy(&id, cap_netlink_data(tb[CTRL_ATTR_FAMILY_ID]), sizeof(id));
		*(uint16_t *)arg = id;
	}
	return 0;
}

static int asker_open(struct asker *a, struct skep_err *err)
{
	static const struct genlmsghdr get_family = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 };
	struct cap_netlink_msg msg;
	int r = cap_netlink_open(&a->route, NETLINK_ROUTE);

	if (r == 0) {
		a->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (a->fd < 0)
			a->fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (a->fd < 0)
			r = -errno;
	}
	if (r < 0)
		return skep_err_set(err, r, "asking about links: no socket: %s", strerror(-r));
	if (cap_netlink_open(&a->genl, NETLINK_GENERIC) < 0)
		return 0;
	cap_netlink_begin(&msg, GENL_ID_CTRL, 0, &get_family, sizeof(get_family));
	cap_netlink_put(&msg, CTRL_ATTR_FAMILY_NAME, "netdev", sizeof("netdev"));
	(void)cap_netlink_call(&a->genl, &msg, on_family, &a->netdev_family);
	return 0;
}

static void prog_name(uint32_t id, char *ret, size_t size)
{
	union bpf_attr attr = { .prog_id = id };
	struct bpf_prog_info info = { 0 };
	_skep_close_ int fd = (int)syscall(__NR_bpf, BPF_PROG_GET_FD_BY_ID, &attr, sizeof(attr));

	if (fd < 0)
		return;
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uint64_t)(uintptr_t)&info;
	if (syscall(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) == 0)
		(void)snprintf(ret, size, "%.15s", info.name);
}

static void parse_xdp(const struct nlattr *nest, enum cap_link_xdp_mode *ret_mode, uint32_t *ret_id)
{
	static const enum cap_link_xdp_mode modes[] = {
		[XDP_ATTACHED_NONE] = CAP_LINK_XDP_NONE,   [XDP_ATTACHED_DRV] = CAP_LINK_XDP_NATIVE,
		[XDP_ATTACHED_SKB] = CAP_LINK_XDP_GENERIC, [XDP_ATTACHED_HW] = CAP_LINK_XDP_OFFLOAD,
		[XDP_ATTACHED_MULTI] = CAP_LINK_XDP_MULTI,
	};
	const struct nlattr *tb[IFLA_XDP_MAX + 1];
	uint8_t attached = 0;

	*ret_mode = CAP_LINK_XDP_NONE;
	*ret_id = 0;
	if (!nest)
		return;
	cap_netlink_attrs(cap_netlink_data(nest), cap_netlink_len(nest), tb, IFLA_XDP_MAX);
	if (tb[IFLA_XDP_ATTACHED] && cap_netlink_len(tb[IFLA_XDP_ATTACHED]) >= 1)
		attached = *(const uint8_t *)cap_netlink_data(tb[IFLA_XDP_ATTACHED]);
	if (attached < ARRAY_LEN(modes))
		*ret_mode = modes[attached];
	*ret_id = cap_netlink_u32(tb[IFLA_XDP_PROG_ID], 0);
	for (int i = IFLA_XDP_DRV_PROG_ID; i <= IFLA_XDP_HW_PROG_ID && !*ret_id;
	     i++) /* MULTI: one of several */
		*ret_id = cap_netlink_u32(tb[i], 0);
}

static void parse_stats(const struct nlattr *a, struct cap_link_drops *ret)
{
	struct rtnl_link_stats64 s = { 0 };

	if (!a)
		return;
	memcpy(&s, cap_netlink_data(a), SKEP_MIN(sizeof(s), cap_netlink_len(a)));
	ret->rx_missed_errors = s.rx_missed_errors;
	ret->rx_fifo_errors = s.rx_fifo_errors;
	ret->rx_dropped = s.rx_dropped;
}

struct drop_sum {
	const char *driver;
	uint64_t sum;
};

static void on_counter(const char *counter, uint64_t value, void *arg)
{
	struct drop_sum *s = arg;

	for (size_t i = 0; i < ARRAY_LEN(drop_counters); i++)
		if (strcmp(drop_counters[i].driver, s->driver) == 0 &&
		    fnmatch(drop_counters[i].counter, counter, 0) == 0)
			s->sum += value;
}

static void add_driver_drops(int fd, const char *name, struct cap_link_drops *d)
{
	struct cap_ethtool_driver drv = { 0 };
	struct drop_sum s = { .driver = drv.driver };
	bool known = false;

	(void)cap_ethtool_driver(fd, name, &drv);
	for (size_t i = 0; i < ARRAY_LEN(drop_counters); i++)
		known |= strcmp(drop_counters[i].driver, drv.driver) == 0;
	if (known)
		(void)cap_ethtool_counters(fd, name, on_counter, &s);
	d->driver = s.sum;
	d->missed = d->rx_missed_errors + d->rx_fifo_errors + d->driver;
}

/* What the RTM_NEWLINK message says. */
static void parse_link(const struct nlmsghdr *h, struct cap_link_info *info)
{
	const struct ifinfomsg *ifi = NLMSG_DATA(h);
	const struct nlattr *tb[IFLA_MAX + 1], *li[IFLA_INFO_MAX + 1];

	memset(info, 0, sizeof(*info));
	cap_netlink_msg_attrs(h, sizeof(*ifi), tb, IFLA_MAX);
	info->ifindex = ifi->ifi_index;
	info->up = ifi->ifi_flags & IFF_UP;
	info->running = ifi->ifi_flags & IFF_RUNNING;
	info->loopback = ifi->ifi_flags & IFF_LOOPBACK;
	info->hw_type = ifi->ifi_type;
	info->ethernet = ifi->ifi_type == ARPHRD_ETHER || ifi->ifi_type == ARPHRD_LOOPBACK;
	info->mtu = cap_netlink_u32(tb[IFLA_MTU], 0);
	if (tb[IFLA_IFNAME])
		(void)snprintf(info->name, sizeof(info->name), "%.*s", (int)cap_netlink_len(tb[IFLA_IFNAME]),
			       (const char *)cap_netlink_data(tb[IFLA_IFNAME]));
	if (tb[IFLA_LINKINFO]) {
		cap_netlink_attrs(cap_netlink_data(tb[IFLA_LINKINFO]), cap_netlink_len(tb[IFLA_LINKINFO]), li,
				  IFLA_INFO_MAX);
		if (li[IFLA_INFO_KIND])
			(void)snprintf(info->kind, sizeof(info->kind), "%.*s",
				       (int)cap_netlink_len(li[IFLA_INFO_KIND]),
				       (const char *)cap_netlink_data(li[IFLA_INFO_KIND]));
	}
	/* Allocated queues: only says how many are in use where there is just one. */
	info->rx_queues = cap_netlink_u32(tb[IFLA_NUM_RX_QUEUES], 0) == 1 ? 1 : -1;
	parse_xdp(tb[IFLA_XDP], &info->xdp_mode, &info->xdp_prog_id);
	parse_stats(tb[IFLA_STATS64], &info->drops);
}

static enum cap_known known(bool is_known, bool value)
{
	return !is_known ? CAP_UNKNOWN : value ? CAP_YES : CAP_NO;
}

static void ask_ethtool(int fd, struct cap_link_info *info)
{
	static const char *const features[] = { "rx-gro", "rx-lro", "rx-gro-hw", "rx-vlan-hw-parse" };
	enum cap_known *const value[] = { &info->gro, &info->lro, &info->hw_gro, &info->rx_vlan };
	enum cap_known *const fixed[] = { &info->gro_fixed, &info->lro_fixed, &info->hw_gro_fixed,
					  &info->rx_vlan_fixed };
	struct cap_ethtool_feature f[ARRAY_LEN(features)] = { 0 };
	struct cap_ethtool_driver drv = { 0 };
	struct cap_ethtool_ts ts;
	uint32_t now, max;

	(void)cap_ethtool_driver(fd, info->name, &drv);
	(void)snprintf(info->driver, sizeof(info->driver), "%s", drv.driver);
	(void)snprintf(info->driver_version, sizeof(info->driver_version), "%s", drv.version);
	(void)snprintf(info->bus, sizeof(info->bus), "%s", drv.bus);
	info->speed_mbps = -1;
	(void)cap_ethtool_speed(fd, info->name, &info->speed_mbps);
	info->rx_queues_max = info->rx_queues;
	if (cap_ethtool_channels(fd, info->name, &now, &max) == 0) {
		info->rx_queues = (int)now;
		info->rx_queues_max = (int)max;
	}
	info->ring_rx = info->ring_rx_max = -1;
	if (cap_ethtool_rings(fd, info->name, &now, &max) == 0 && now) {
		info->ring_rx = (int)now;
		info->ring_rx_max = (int)max;
	}
	(void)cap_ethtool_features(fd, info->name, features, ARRAY_LEN(features), f);
	for (size_t i = 0; i < ARRAY_LEN(features); i++) {
		*value[i] = known(f[i].known, f[i].active);
		*fixed[i] = known(f[i].known, f[i].fixed);
	}
	info->hw_timestamps = CAP_UNKNOWN;
	info->phc_index = -1;
	if (cap_ethtool_timestamps(fd, info->name, &ts) == 0) {
		info->hw_timestamps = known(true, ts.hw_rx_all);
		info->phc_index = ts.phc_index;
	}
}

static int on_netdev(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *tb[NETDEV_A_DEV_XDP_RX_METADATA_FEATURES_ + 1];
	struct cap_link_info *info = arg;

	cap_netlink_msg_attrs(h, sizeof(struct genlmsghdr), tb, NETDEV_A_DEV_XDP_RX_METADATA_FEATURES_);
	info->xdp_features = (int64_t)cap_netlink_u64(tb[NETDEV_A_DEV_XDP_FEATURES_], (uint64_t)-1);
	info->xdp_zc_max_segs = cap_netlink_u32(tb[NETDEV_A_DEV_XDP_ZC_MAX_SEGS_], 0);
	info->xdp_rx_metadata =
		(int64_t)cap_netlink_u64(tb[NETDEV_A_DEV_XDP_RX_METADATA_FEATURES_], (uint64_t)-1);
	return 0;
}

static void ask_xdp(struct asker *a, struct cap_link_info *info)
{
	static const struct genlmsghdr dev_get = { .cmd = NETDEV_CMD_DEV_GET_, .version = 1 };
	struct cap_netlink_msg msg;
	uint32_t ifindex = (uint32_t)info->ifindex;

	info->xdp_features = info->xdp_rx_metadata = -1;
	if (a->netdev_family) {
		cap_netlink_begin(&msg, a->netdev_family, 0, &dev_get, sizeof(dev_get));
		cap_netlink_put(&msg, NETDEV_A_DEV_IFINDEX_, &ifindex, sizeof(ifindex));
		(void)cap_netlink_call(&a->genl, &msg, on_netdev, info);
	}
	if (info->xdp_prog_id)
		prog_name(info->xdp_prog_id, info->xdp_prog_name, sizeof(info->xdp_prog_name));
}

/* Everything that the link message itself does not say. */
static void complete(struct asker *a, const struct cap_link_host *host, struct cap_link_info *info)
{
	ask_ethtool(a->fd, info);
	ask_xdp(a, info);
	add_driver_drops(a->fd, info->name, &info->drops);
	info->numa_node = cap_affinity_node(info->bus);
	cap_affinity_cpus(info->numa_node, &info->cpus);
	info->irqs = cap_affinity_irqs(info->bus, &info->irq_cpus);
	info->default_route = cap_link_host_default(host, info->ifindex);
	info->control = cap_link_host_control(host, info->ifindex);
}

struct link_array {
	struct cap_link_info *links;
	size_t n;
};

static int on_link(const struct nlmsghdr *h, void *arg)
{
	struct link_array *a = arg;
	struct cap_link_info *more;

	if (h->nlmsg_type != RTM_NEWLINK)
		return 0;
	more = realloc(a->links, (a->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	a->links = more;
	parse_link(h, &more[a->n++]);
	return 0;
}

static int list_links(struct asker *a, struct link_array *ret, struct skep_err *err)
{
	static const struct ifinfomsg all = { .ifi_family = AF_UNSPEC };
	struct cap_netlink_msg msg;
	int r;

	cap_netlink_begin(&msg, RTM_GETLINK, NLM_F_DUMP, &all, sizeof(all));
	r = cap_netlink_call(&a->route, &msg, on_link, ret);
	return r < 0 ? skep_err_set(err, r, "listing links: %s", strerror(-r)) : 0;
}

int cap_link_list(struct cap_link_info **ret_links, size_t *ret_n, struct skep_err *err)
{
	SKEP_CLEANUP(asker_close) struct asker a = ASKER_NULL;
	_skep_free_ struct cap_link_host *host = NULL;
	struct link_array found = { 0 };
	int r = asker_open(&a, err);

	if (r == 0)
		r = cap_link_host_ask(&a.route, &host, err);
	if (r == 0)
		r = list_links(&a, &found, err);
	if (r != 0) {
		free(found.links);
		return r;
	}
	for (size_t i = 0; i < found.n; i++)
		complete(&a, host, &found.links[i]);
	*ret_links = found.links;
	*ret_n = found.n;
	return 0;
}

/* Letters that differ at the same place plus the difference in length: enough for "eht0" and "enp3s0f"
 * against names. */
static uint32_t unlikeness(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), shorter = SKEP_MIN(la, lb);
	uint32_t d = (uint32_t)(SKEP_MAX(la, lb) - shorter);

	for (size_t i = 0; i < shorter; i++)
		d += a[i] != b[i];
	return d;
}

static int refuse_unknown(const char *name, const struct link_array *found, struct skep_err *err)
{
	const char *best = NULL;
	/* More than two wrong letters, or more than half of them, is another word. */
	uint32_t best_d = (uint32_t)SKEP_MIN(strlen(name) / 2 + 1, 3);
	char names[300] = "";
	size_t at = 0;

	for (size_t i = 0; i < found->n; i++) {
		const char *n = found->links[i].name;
		uint32_t d = unlikeness(name, n);

		if (d < best_d) {
			best = n;
			best_d = d;
		}
		if (at + strlen(n) + 8 < sizeof(names))
			at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", at ? ", " : "", n);
		else if (at && at + 5 < sizeof(names) && names[at - 1] != '.')
			at += (size_t)snprintf(names + at, sizeof(names) - at, ", ...");
	}
	(void)skep_err_set(err, SKEP_E_NOT_FOUND, "link '%.32s': no such interface in this network namespace",
			   name);
	if (best)
		(void)skep_err_hint(err, "did you mean '%s'? there are: %s", best, names);
	else
		(void)skep_err_hint(err, "there are: %s", names);
	return SKEP_E_NOT_FOUND;
}

int cap_link_query(const char *name, struct cap_link_info *ret, struct skep_err *err)
{
	SKEP_CLEANUP(asker_close) struct asker a = ASKER_NULL;
	_skep_free_ struct cap_link_host *host = NULL;
	struct link_array found = { 0 };
	int r = asker_open(&a, err);

	if (r == 0)
		r = cap_link_host_ask(&a.route, &host, err);
	if (r == 0)
		r = list_links(&a, &found, err);
	if (r == 0) {
		r = SKEP_E_NOT_FOUND;
		for (size_t i = 0; i < found.n && r; i++) {
			if (strcmp(found.links[i].name, name) != 0)
				continue;
			complete(&a, host, &found.links[i]);
			*ret = found.links[i];
			r = 0;
		}
		if (r)
			r = refuse_unknown(name, &found, err);
	}
	free(found.links);
	return r;
}

int cap_link_check_tap(const struct cap_link_info *info, bool force, struct skep_err *err)
{
	const char *why = info->control		? "it carries the ssh connection of this session"
			  : info->default_route ? "it carries this host's default route"
			  : info->loopback	? "it carries this host's connections to itself"
						: NULL;

	if (!why || force)
		return 0;
	(void)skep_err_set(err, SKEP_E_UNSAFE,
			   "link %s as tap: %s, and a tap takes its packets away from the host", info->name,
			   why);
	(void)skep_err_hint(err,
			    "use --link-role host to leave the traffic alone, or --force to take it anyway");
	return SKEP_E_UNSAFE;
}

const char *cap_link_xdp_mode_name(enum cap_link_xdp_mode mode)
{
	static const char *const names[] = { "none", "native", "generic", "offload", "multi" };

	return names[mode];
}

int cap_link_watch_open(int ifindex, struct cap_link_watch **ret, struct skep_err *err)
{
	struct cap_link_watch *w = calloc(1, sizeof(*w));
	int r = w ? cap_netlink_open(&w->route, NETLINK_ROUTE) : -ENOMEM;

	if (r == 0) {
		w->ifindex = ifindex;
		w->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (w->fd >= 0) {
			*ret = w;
			return 0;
		}
		r = -errno;
		cap_netlink_close(&w->route);
	}
	free(w);
	return skep_err_set(err, r, "watching link %d: %s", ifindex, strerror(-r));
}

static int on_one_link(const struct nlmsghdr *h, void *arg)
{
	if (h->nlmsg_type == RTM_NEWLINK)
		parse_link(h, arg);
	return 0;
}

int cap_link_watch_look(struct cap_link_watch *w, struct cap_link_state *ret)
{
	struct ifinfomsg one = { .ifi_family = AF_UNSPEC, .ifi_index = w->ifindex };
	struct cap_link_info info = { 0 };
	struct cap_netlink_msg msg;
	uint32_t queues, max;
	int r;

	cap_netlink_begin(&msg, RTM_GETLINK, 0, &one, sizeof(one));
	r = cap_netlink_call(&w->route, &msg, on_one_link, &info);
	if (r < 0)
		return r;
	add_driver_drops(w->fd, info.name, &info.drops);
	*ret = (struct cap_link_state){
		.up = info.up,
		.running = info.running,
		.mtu = info.mtu,
		.rx_queues = info.rx_queues,
		.xdp_prog_id = info.xdp_prog_id,
		.xdp_mode = info.xdp_mode,
		.drops = info.drops,
	};
	memcpy(ret->name, info.name, sizeof(ret->name));
	if (cap_ethtool_channels(w->fd, info.name, &queues, &max) == 0)
		ret->rx_queues = (int)queues;
	return 0;
}

struct cap_link_watch *cap_link_watch_free(struct cap_link_watch *w)
{
	if (w) {
		cap_netlink_close(&w->route);
		skep_closep(&w->fd);
		free(w);
	}
	return NULL;
}
