/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The XDP hook of an interface.
 *
 * Attaching goes through a BPF link, not netlink: the kernel takes the program off when the process dies,
 * however it dies, and nobody can put another program in its place by accident (netlink gets EBUSY). libxdp's
 * dispatcher is not used: it needs freplace programs, which not every kernel allows, and costs up to a tenth
 * of the rate. Never detaches or replaces what it did not attach. Control thread only.
 */
#include "capture/hook.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/membarrier.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

void cap_hook_quiet(void)
{
	libbpf_set_print(NULL);
}

/* Id of the XDP program on the interface, in any mode; 0: none or unknown. */
static uint32_t attached_prog_id(int ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	if (bpf_xdp_query(ifindex, 0, &q))
		return 0;
	return SKEP_MAX(SKEP_MAX(q.prog_id, q.drv_prog_id), SKEP_MAX(q.skb_prog_id, q.hw_prog_id));
}

/* "program 17 'xdp_pass'"; the name needs CAP_SYS_ADMIN and is left out without. */
static void describe_prog(uint32_t id, char *buf, size_t size)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	_skep_close_ int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) && info.name[0])
		snprintf(buf, size, "program %u '%s'", id, info.name);
	else
		snprintf(buf, size, "program %u", id);
}

int cap_hook_free(int ifindex, const char *ifname, struct skep_err *err)
{
	uint32_t id = attached_prog_id(ifindex);
	char who[64];

	if (!id)
		return 0;
	describe_prog(id, who, sizeof(who));
	skep_err_set(err, SKEP_E_BUSY, "%s: another XDP program is attached (%s), and it is not replaced",
		     ifname, who);
	skep_err_hint(err, "stop what uses it (bpftool net show dev %s), or capture with --source afpacket",
		      ifname);
	return SKEP_E_BUSY;
}

static int explain_attach(const struct cap_hook *hook, int r, bool generic, struct skep_err *err)
{
	const char *mode = generic ? "generic" : "native";

	switch (-r) {
	case EBUSY:
	case EEXIST:
		if (cap_hook_free(hook->ifindex, hook->ifname, err))
			return SKEP_E_BUSY;
		return skep_err_set(err, SKEP_E_BUSY, "%s: the XDP hook is busy", hook->ifname);
	case EPERM:
	case EACCES:
		skep_err_set(err, SKEP_E_PRIVILEGE, "%s: not allowed to attach an XDP program", hook->ifname);
		skep_err_hint(err,
			      "run as root or with the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF");
		return SKEP_E_PRIVILEGE;
	case EOPNOTSUPP:
		return skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: the driver has no %s XDP", hook->ifname,
				    mode);
	case ERANGE:
	case EINVAL:
	case ENOSPC: /* a veth with fewer RX queues than its peer has TX queues */
		return skep_err_set(
			err, SKEP_E_UNSUPPORTED,
			"%s: the driver refuses %s XDP with the present MTU, offloads or queues (%s)",
			hook->ifname, mode, strerror(-r));
	case ENODEV:
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%s: the interface is gone", hook->ifname);
	default:
		return skep_err_set(err, r, "%s: cannot attach the XDP program (%s mode): %s", hook->ifname,
				    mode, strerror(-r));
	}
}

int cap_hook_attach(struct cap_hook *hook, int prog_fd, bool generic, struct skep_err *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd;

	fd = bpf_link_create(prog_fd, hook->ifindex, BPF_XDP, &opts);
	if (fd < 0)
		return explain_attach(hook, fd, generic, err);
	if (bpf_obj_get_info_by_fd(prog_fd, &info, &len)) {
		int r = -errno;

		close(fd);
		return skep_err_set(err, r, "%s: cannot read back the XDP program: %s", hook->ifname,
				    strerror(-r));
	}
	hook->prog_id = info.id;
	hook->generic = generic;
	hook->link_fd = fd;
	return 0;
}

void cap_hook_detach(struct cap_hook *hook)
{
	if (hook->link_fd < 0)
		return;
	/* Closing alone may be finished later by a kernel worker; the explicit call is done when it returns.
	 */
	bpf_link_detach(hook->link_fd);
	skep_closep(&hook->link_fd);
	/*
	 * A softirq that fetched the program pointer before may still be running it. Softirqs are RCU
	 * readers, and this waits for a grace period.
	 */
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

int cap_hook_check(const struct cap_hook *hook, uint32_t attached, struct skep_err *err)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info), id;

	if (hook->link_fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(hook->link_fd, &info, &len)) {
		int r = -errno;

		return skep_err_set(err, r, "%s: cannot query the XDP link: %s", hook->ifname, strerror(-r));
	}
	if (info.xdp.ifindex == (uint32_t)hook->ifindex && info.prog_id == hook->prog_id)
		return 0;
	/*
	 * The link itself may have got another program, or it was detached and the hook is empty or a
	 * stranger's.
	 */
	id = info.xdp.ifindex ? info.prog_id : attached;
	if (!id)
		return skep_err_set(err, SKEP_E_BUSY, "%s: somebody detached the XDP program", hook->ifname);
	skep_err_set(err, SKEP_E_BUSY, "%s: somebody replaced the XDP program: program %u is there now",
		     hook->ifname, id);
	skep_err_hint(err, "bpftool prog show id %u tells what it is", id);
	return SKEP_E_BUSY;
}

int cap_hook_counters(int map_fd, uint32_t queue, struct skep_xdp_counters *percpu, int cpus,
		      struct skep_xdp_counters *sum)
{
	if (bpf_map_lookup_elem(map_fd, &queue, percpu))
		return -errno;
	for (int i = 0; i < cpus; i++) {
		sum->seen += percpu[i].seen;
		sum->redirected += percpu[i].redirected;
		sum->unserved += percpu[i].unserved;
		sum->no_meta += percpu[i].no_meta;
		sum->mirrored += percpu[i].mirrored;
		sum->ring_full += percpu[i].ring_full;
		sum->too_long += percpu[i].too_long;
		sum->rejected += percpu[i].rejected;
	}
	return 0;
}
