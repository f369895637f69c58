/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_LINK_H
#define CAP_LINK_H
/*
 * Facts about a network interface, of the caller's network namespace. Everything here only reads and needs no
 * privilege (exception: xdp_prog_name stays empty without CAP_SYS_ADMIN).
 *
 * What can be unknown is -1 (cap_known: CAP_UNKNOWN; strings: empty) and every user must cope with that: a
 * veth has no NUMA node and no rings, an interface that is down has no speed, kernels before 6.3 do not tell
 * XDP features.
 */
#include "common/err.h"

#include <net/if.h>
#include <sched.h>
#include <stdbool.h>

enum cap_known { CAP_UNKNOWN = -1, CAP_NO = 0, CAP_YES = 1 };

enum cap_link_xdp_mode {
	CAP_LINK_XDP_NONE,
	CAP_LINK_XDP_NATIVE,
	CAP_LINK_XDP_GENERIC,
	CAP_LINK_XDP_OFFLOAD,
	CAP_LINK_XDP_MULTI
};

/* Bits of xdp_features: the kernel's enum netdev_xdp_act (Documentation/netlink/specs/netdev.yaml). */
#define CAP_LINK_XDP_BASIC 0x01u
#define CAP_LINK_XDP_REDIRECT 0x02u
#define CAP_LINK_XDP_NDO_XMIT 0x04u
#define CAP_LINK_XDP_ZEROCOPY 0x08u
#define CAP_LINK_XDP_RX_SG 0x20u /* multi-buffer frames */
/* Bits of xdp_rx_metadata: enum netdev_xdp_rx_metadata. */
#define CAP_LINK_META_TIMESTAMP 0x01u
#define CAP_LINK_META_HASH 0x02u
#define CAP_LINK_META_VLAN 0x04u

/* Drop counters below XDP and sockets, since the link exists; never reset by us. */
struct cap_link_drops {
	uint64_t rx_missed_errors; /* rtnl: no room in the NIC or host too slow */
	uint64_t rx_fifo_errors;   /* rtnl: the same in the words of older drivers */
	uint64_t rx_dropped;	   /* rtnl: driver, but also the stack behind the tap (unknown protocols) */
	uint64_t
		driver; /* ethtool -S, the counters known to mean it for this driver; 0 where none is known */
	uint64_t missed; /* the sum that stands for "lost before the tap": missed + fifo + driver */
};

struct cap_link_info {
	char name[IF_NAMESIZE];
	int ifindex;
	char kind[32]; /* "veth", "bridge", "vlan" …; empty for hardware */
	bool up;       /* IFF_UP: switched on */
	bool running;  /* IFF_RUNNING: carrier */
	bool loopback;
	int hw_type;   /* ARPHRD_*: 1 Ethernet, 772 loopback (also Ethernet headers), 65534 none (tun,
			  wireguard) */
	bool ethernet; /* frames start with an Ethernet header */
	uint32_t mtu;
	int64_t speed_mbps; /* -1 */

	char driver[32]; /* empty: unknown */
	char driver_version[32];
	char bus[32];	   /* PCI address; empty for virtual links */
	int rx_queues;	   /* -1 */
	int rx_queues_max; /* -1 */
	int ring_rx;	   /* -1: descriptors per RX queue */
	int ring_rx_max;   /* -1 */

	int numa_node;	/* -1 */
	cpu_set_t cpus; /* CPUs to run on: the node's, or all that are allowed where the node is unknown */
	int irqs;	/* 0: unknown */
	cpu_set_t irq_cpus; /* where the interrupts arrive now; empty if irqs is 0 */

	enum cap_known gro, lro, hw_gro,
		rx_vlan; /* offloads that change what a tap sees; UNKNOWN: no such feature here */
	enum cap_known gro_fixed, lro_fixed, hw_gro_fixed, rx_vlan_fixed;
	enum cap_known hw_timestamps; /* the NIC can stamp every received frame */
	int phc_index;		      /* -1: /dev/ptpN of the NIC */

	int64_t xdp_features;	  /* -1, else CAP_LINK_XDP_* bits */
	int64_t xdp_rx_metadata;  /* -1, else CAP_LINK_META_* bits */
	uint32_t xdp_zc_max_segs; /* 0: unknown */
	enum cap_link_xdp_mode xdp_mode;
	uint32_t xdp_prog_id;	/* 0: none attached */
	char xdp_prog_name[16]; /* empty: none, or not allowed to know */

	struct cap_link_drops drops;

	bool default_route; /* carries a default route, v4 or v6, any table; also as part of a bridge, bond or
			       VLAN that does */
	bool control;	    /* carries the ssh connection that this process came from */
};

/* SKEP_E_NOT_FOUND names the links there are, and the one that was probably meant. */
int cap_link_query(const char *name, struct cap_link_info *ret, struct skep_err *err);
/* All links of the namespace by ifindex; *ret_links is the caller's (free). */
int cap_link_list(struct cap_link_info **ret_links, size_t *ret_n, struct skep_err *err);
/*
 * SKEP_E_UNSAFE if taking every frame away from the host would surprise somebody: default route, control
 * connection, loopback. Always 0 with force.
 */
int cap_link_check_tap(const struct cap_link_info *info, bool force, struct skep_err *err);
const char *cap_link_xdp_mode_name(enum cap_link_xdp_mode mode);

/*
 * Looking again and again, also after privileges are gone: the sockets are opened once; a look only uses
 * sendto, recvfrom and ioctl on them. Follows the link by its index through renames.
 */
struct cap_link_watch;

struct cap_link_state {
	char name[IF_NAMESIZE];
	bool up, running;
	uint32_t mtu;
	int rx_queues;	      /* -1 */
	uint32_t xdp_prog_id; /* 0: none */
	enum cap_link_xdp_mode xdp_mode;
	struct cap_link_drops drops;
};

int cap_link_watch_open(int ifindex, struct cap_link_watch **ret, struct skep_err *err);
/* -ENODEV: the link is gone (deleted, or moved to another namespace). */
int cap_link_watch_look(struct cap_link_watch *w, struct cap_link_state *ret);
struct cap_link_watch *cap_link_watch_free(struct cap_link_watch *w);

#endif
