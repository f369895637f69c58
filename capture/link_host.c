/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See link_host.h. A link counts as carrying the default route if a route of length 0 leaves through it, or
 * through a link that stands on it: its master (bridge, bond, VRF) or a VLAN, macvlan, tunnel above it.
 *
 * The ssh connection is found by SSH_CONNECTION; sudo removes it, so the environments of the parents are
 * looked at too, as far as this process may. Its link is the one with the server's address, and the one the
 * answers leave through. Never an error: who cannot be found is not there.
 */
#include "capture/link_host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Links of one namespace that are looked at; more than any probe has (SR-IOV: 4 x 256). Links beyond are not
 * followed. */
#define LINKS_MAX 4096u
#define PARENTS_MAX 32

struct host_link {
	int ifindex;
	int master; /* 0: none */
	int below;  /* IFLA_LINK of a link that stands on another; 0: none */
	bool is_default;
	bool is_control;
};

struct cap_link_host {
	uint32_t n;
	struct host_link links[LINKS_MAX];
	uint8_t server[16]; /* address of our end of the ssh connection */
	int family;	    /* 0: no ssh connection */
	size_t address_len;
};

static struct host_link *find(struct cap_link_host *host, int ifindex)
{
	for (uint32_t i = 0; i < host->n; i++)
		if (host->links[i].ifindex == ifindex)
			return &host->links[i];
	return NULL;
}

static void mark(struct cap_link_host *host, uint32_t ifindex, bool control)
{
	struct host_link *l = find(host, (int)ifindex);

	if (l && control)
		l->is_control = true;
	else if (l)
		l->is_default = true;
}

static int on_link(const struct nlmsghdr *h, void *arg)
{
	const struct ifinfomsg *ifi = NLMSG_DATA(h);
	const struct nlattr *tb[IFLA_MAX + 1], *li[IFLA_INFO_MAX + 1] = { 0 };
	struct cap_link_host *host = arg;
	struct host_link *l;
	bool pair = false;

	if (h->nlmsg_type != RTM_NEWLINK || host->n == LINKS_MAX)
		return 0;
	cap_netlink_msg_attrs(h, sizeof(*ifi), tb, IFLA_MAX);
	if (tb[IFLA_LINKINFO])
		cap_netlink_attrs(cap_netlink_data(tb[IFLA_LINKINFO]), cap_netlink_len(tb[IFLA_LINKINFO]), li,
				  IFLA_INFO_MAX);
	/* The IFLA_LINK of a veth or netkit is its other end, not what it stands on. */
	if (li[IFLA_INFO_KIND] && cap_netlink_len(li[IFLA_INFO_KIND]) >= 5)
		pair = memcmp(cap_netlink_data(li[IFLA_INFO_KIND]), "veth", 5) == 0 ||
		       memcmp(cap_netlink_data(li[IFLA_INFO_KIND]), "netki", 5) == 0;
	l = &host->links[host->n++];
	*l = (struct host_link){ .ifindex = ifi->ifi_index,
				 .master = (int)cap_netlink_u32(tb[IFLA_MASTER], 0) };
	if (!pair && !tb[IFLA_LINK_NETNSID])
		l->below = (int)cap_netlink_u32(tb[IFLA_LINK], 0);
	return 0;
}

/* Marks the links that a route leaves through: RTA_OIF, or each next hop of a multipath route. */
static void mark_route(struct cap_link_host *host, const struct nlattr **tb, bool control)
{
	const struct rtnexthop *nh;
	size_t len;

	mark(host, cap_netlink_u32(tb[RTA_OIF], 0), control);
	if (!tb[RTA_MULTIPATH])
		return;
	nh = cap_netlink_data(tb[RTA_MULTIPATH]);
	len = cap_netlink_len(tb[RTA_MULTIPATH]);
	while (len >= sizeof(*nh) && nh->rtnh_len >= sizeof(*nh) && nh->rtnh_len <= len) {
		size_t step = RTNH_ALIGN(nh->rtnh_len);

		mark(host, (uint32_t)nh->rtnh_ifindex, control);
		if (step > len)
			return;
		len -= step;
		nh = (const struct rtnexthop *)((const uint8_t *)nh + step);
	}
}

static int on_default_route(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *rtm = NLMSG_DATA(h);
	const struct nlattr *tb[RTA_MAX + 1];

	/* Type: an "unreachable default" (every IPv6 host has one on lo) goes nowhere. */
	if (h->nlmsg_type != RTM_NEWROUTE || rtm->rtm_dst_len != 0 || rtm->rtm_type != RTN_UNICAST)
		return 0;
	cap_netlink_msg_attrs(h, sizeof(*rtm), tb, RTA_MAX);
	mark_route(arg, tb, false);
	return 0;
}

static int on_route_back(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *tb[RTA_MAX + 1];

	if (h->nlmsg_type != RTM_NEWROUTE)
		return 0;
	cap_netlink_msg_attrs(h, sizeof(struct rtmsg), tb, RTA_MAX);
	mark_route(arg, tb, true);
	return 0;
}

static int on_address(const struct nlmsghdr *h, void *arg)
{
	const struct ifaddrmsg *ifa = NLMSG_DATA(h);
	const struct nlattr *tb[IFA_MAX + 1], *a;
	struct cap_link_host *host = arg;

	if (h->nlmsg_type != RTM_NEWADDR || ifa->ifa_family != host->family)
		return 0;
	cap_netlink_msg_attrs(h, sizeof(*ifa), tb, IFA_MAX);
	a = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
	if (a && cap_netlink_len(a) == host->address_len &&
	    memcmp(cap_netlink_data(a), host->server, host->address_len) == 0)
		mark(host, ifa->ifa_index, true);
	return 0;
}

/* SSH_CONNECTION out of a parent's environment; false where we may not read that. */
static bool parent_environment(pid_t pid, char *ret, size_t size)
{
	static const char key[] = "SSH_CONNECTION=";
	_skep_free_ char *line = NULL;
	char path[64];
	size_t room = 0;
	bool found = false;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && getdelim(&line, &room, '\0', f) > 0) {
		found = strncmp(line, key, sizeof(key) - 1) == 0;
		if (found)
			(void)snprintf(ret, size, "%s", line + sizeof(key) - 1);
	}
	(void)fclose(f);
	return found;
}

static pid_t parent_of(pid_t pid)
{
	char path[64], line[512], *p;
	int ppid = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	/* "PID (any name, even with parentheses) S PPID ..." */
	if (fgets(line, sizeof(line), f) && (p = strrchr(line, ')')) && sscanf(p + 1, " %*c %d", &ppid) != 1)
		ppid = 0;
	(void)fclose(f);
	return ppid;
}

/* "client port server port" of the session that this process belongs to. */
static bool ssh_connection(char *ret, size_t size)
{
	const char *own = getenv("SSH_CONNECTION");
	pid_t pid = getppid();

	if (own && own[0]) {
		(void)snprintf(ret, size, "%s", own);
		return true;
	}
	for (int i = 0; i < PARENTS_MAX && pid > 1; i++, pid = parent_of(pid))
		if (parent_environment(pid, ret, size))
			return true;
	return false;
}

/* An address in text, a zone ("%eth0") ignored, a mapped v4 address as v4. Returns the family, 0: not an
 * address. */
static int parse_address(char *text, uint8_t *ret, size_t *ret_len)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	text[strcspn(text, "%")] = '\0';
	*ret_len = 4;
	if (inet_pton(AF_INET, text, ret) == 1)
		return AF_INET;
	if (inet_pton(AF_INET6, text, ret) != 1)
		return 0;
	if (memcmp(ret, mapped, sizeof(mapped)) == 0) {
		memmove(ret, ret + 12, 4);
		return AF_INET;
	}
	*ret_len = 16;
	return AF_INET6;
}

static void ask_control(struct cap_netlink *route, struct cap_link_host *host)
{
	char connection[256], client_text[64], server_text[64];
	struct ifaddrmsg every = { 0 };
	struct rtmsg to = { 0 };
	struct cap_netlink_msg msg;
	uint8_t client[16];
	size_t client_len;

	if (!ssh_connection(connection, sizeof(connection)) ||
	    sscanf(connection, "%63s %*s %63s", client_text, server_text) != 2)
		return;
	host->family = parse_address(server_text, host->server, &host->address_len);
	if (!host->family)
		return;
	every.ifa_family = (uint8_t)host->family;
	cap_netlink_begin(&msg, RTM_GETADDR, NLM_F_DUMP, &every, sizeof(every));
	(void)cap_netlink_call(route, &msg, on_address, host);
	to.rtm_family = (uint8_t)parse_address(client_text, client, &client_len);
	if (!to.rtm_family)
		return;
	to.rtm_dst_len = (uint8_t)(client_len * 8);
	cap_netlink_begin(&msg, RTM_GETROUTE, 0, &to, sizeof(to));
	cap_netlink_put(&msg, RTA_DST, client, client_len);
	(void)cap_netlink_call(route, &msg, on_route_back, host);
}

/* From what the host uses down to what that stands on, until nothing changes; chains are short (VLAN on bond
 * on NIC). */
static void spread_down(struct cap_link_host *host)
{
	bool changed = true;

	while (changed) {
		changed = false;
		for (uint32_t i = 0; i < host->n; i++) {
			struct host_link *l = &host->links[i];
			const struct host_link *master = l->master ? find(host, l->master) : NULL;
			struct host_link *below = l->below ? find(host, l->below) : NULL;

			if (master) {
				changed |= (master->is_default && !l->is_default) ||
					   (master->is_control && !l->is_control);
				l->is_default |= master->is_default;
				l->is_control |= master->is_control;
			}
			if (below) {
				changed |= (l->is_default && !below->is_default) ||
					   (l->is_control && !below->is_control);
				below->is_default |= l->is_default;
				below->is_control |= l->is_control;
			}
		}
	}
}

int cap_link_host_ask(struct cap_netlink *route, struct cap_link_host **ret, struct skep_err *err)
{
	static const struct ifinfomsg all = { .ifi_family = AF_UNSPEC };
	static const int families[] = { AF_INET, AF_INET6 };
	_skep_free_ struct cap_link_host *host = calloc(1, sizeof(*host));
	struct cap_netlink_msg msg;
	int r;

	if (!host)
		return skep_err_set(err, -ENOMEM, "asking about routes: out of memory");
	cap_netlink_begin(&msg, RTM_GETLINK, NLM_F_DUMP, &all, sizeof(all));
	r = cap_netlink_call(route, &msg, on_link, host);
	for (size_t i = 0; i < ARRAY_LEN(families) && r == 0; i++) {
		struct rtmsg rtm = { .rtm_family = (uint8_t)families[i] };

		cap_netlink_begin(&msg, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
		r = cap_netlink_call(route, &msg, on_default_route, host);
		if (r == -EOPNOTSUPP ||
		    r == -EAFNOSUPPORT) /* a kernel without IPv6 has no IPv6 default route */
			r = 0;
	}
	if (r < 0)
		return skep_err_set(err, r, "asking for the default route: %s", strerror(-r));
	ask_control(route, host);
	spread_down(host);
	*ret = TAKE_PTR(host);
	return 0;
}

bool cap_link_host_default(const struct cap_link_host *host, int ifindex)
{
	const struct host_link *l = find((struct cap_link_host *)host, ifindex);

	return l && l->is_default;
}

bool cap_link_host_control(const struct cap_link_host *host, int ifindex)
{
	const struct host_link *l = find((struct cap_link_host *)host, ifindex);

	return l && l->is_control;
}
