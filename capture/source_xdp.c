/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The source `xdp`: the prefilter on the link's XDP hook, one AF_XDP socket per RX queue.
 *
 * open loads the program and binds the sockets; start puts the program on the hook, stop takes it off, close frees. The link sees
 * nothing before start. The program is always taken off before a socket is closed: drivers have crashed over the reverse.
 * In mode auto, start tries native and falls back to generic; a socket in copy mode serves both, and a zero-copy socket
 * exists only where the driver has native XDP.
 *
 * Frames of queues without a socket: dropped if the tap serves all queues (a tap's traffic is not for the host; such a queue
 * appeared later), passed to the host if the user chose queues (the others belong to somebody else).
 *
 * Tap functions: control thread. receive, release: see capture/xsk.c.
 */
#include "capture/hook.h"
#include "capture/source.h"
#include "capture/xsk.h"

#include "bpf/prefilter.skel.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timex.h>

/* Linux 6.3; the program may call the functions that read the NIC's metadata. */
#ifndef BPF_F_XDP_DEV_BOUND_ONLY
#define BPF_F_XDP_DEV_BOUND_ONLY (1U << 6)
#endif

static_assert(CAP_MAX_QUEUES <= SKEP_MAX_QUEUES, "the socket map holds every queue");

struct xdp_source {
	struct cap_source head;
	struct cap_xsk *xsk;
};

struct xdp_tap {
	struct cap_tap head;
	struct skep_prefilter *skel;
	struct cap_hook hook;
	struct cap_xsk_clock clock;
	struct skep_xdp_counters *percpu; /* scratch of cap_hook_counters */
	int cpus;
	int promisc_fd;
	int control_fd;          /* for interface ioctls */
	uint32_t mtu;
	uint32_t link_queues;    /* RX queues of the link at open */
	bool was_down;
	bool all_queues;
	bool hints;              /* the program variant that reads the NIC's metadata is loaded */
	struct xdp_source sources[CAP_MAX_QUEUES];
	struct cap_source *source_ptrs[CAP_MAX_QUEUES];
};

static struct xdp_tap *xdp_tap(struct cap_tap *tap)
{
	return (struct xdp_tap *)tap;
}

static void say(const struct cap_source_cfg *cfg, const char *sentence)
{
	if (cfg->say)
		cfg->say(cfg->say_arg, sentence);
}

/* --- Facts of the interface ------------------------------------------------------------------------------------ */

static int iface_ioctl(const struct xdp_tap *tap, unsigned long request, struct ifreq *ifr)
{
	if (!if_indextoname((unsigned int)tap->hook.ifindex, ifr->ifr_name))
		return -ENODEV;
	return ioctl(tap->control_fd, request, ifr) ? -errno : 0;
}

static int read_mtu(const struct xdp_tap *tap, uint32_t *ret)
{
	struct ifreq ifr = { 0 };
	int r = iface_ioctl(tap, SIOCGIFMTU, &ifr);

	if (!r)
		*ret = (uint32_t)ifr.ifr_mtu;
	return r;
}

/* RX queues; 1 where the driver does not say. */
static uint32_t read_queues(const struct xdp_tap *tap)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };
	struct ifreq ifr = { .ifr_data = (void *)&ch };

	if (iface_ioctl(tap, SIOCETHTOOL, &ifr))
		return 1;
	return SKEP_MAX(1u, ch.rx_count + ch.combined_count);
}

static void read_driver(struct xdp_tap *tap)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq ifr = { .ifr_data = (void *)&info };

	if (iface_ioctl(tap, SIOCETHTOOL, &ifr))
		return;
	snprintf(tap->head.driver, sizeof(tap->head.driver), "%.31s", info.driver);
}

static int read_numa_node(const char *ifname)
{
	char path[64 + IF_NAMESIZE];
	int node = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device/numa_node", ifname);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &node) != 1)
		node = -1;
	fclose(f);
	return node;
}

/* --- Clock ----------------------------------------------------------------------------------------------------- */

/* The kernel's TAI is its UTC plus this many seconds; 0 until somebody (chrony, ptp4l) has set it, then 37. */
static void refresh_clock(struct xdp_tap *tap)
{
	struct timex tx = { 0 };
	int64_t offset_ns;

	if (adjtimex(&tx) < 0)
		return;
	offset_ns = -(int64_t)tx.tai * (int64_t)SKEP_NSEC_PER_SEC;
	__atomic_store_n(&tap->clock.tai_to_utc_ns, offset_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&tap->clock.nic_to_utc_ns, offset_ns, __ATOMIC_RELAXED);
}

/* --- Program --------------------------------------------------------------------------------------------------- */

static int load_variant(struct xdp_tap *tap, bool hints)
{
	struct skep_prefilter *skel = skep_prefilter__open();
	int r;

	if (!skel)
		return -errno;
	skel->rodata->unserved_action = tap->all_queues ? XDP_DROP : XDP_PASS;
	skel->rodata->rejected_action = XDP_DROP;
	bpf_program__set_autoload(skel->progs.prefilter_hints, hints);
	if (hints) {
		bpf_program__set_ifindex(skel->progs.prefilter_hints, (uint32_t)tap->hook.ifindex);
		bpf_program__set_flags(skel->progs.prefilter_hints,
				       bpf_program__flags(skel->progs.prefilter_hints) | BPF_F_XDP_DEV_BOUND_ONLY);
	}
	r = skep_prefilter__load(skel);
	if (r) {
		skep_prefilter__destroy(skel);
		return r;
	}
	tap->skel = skel;
	tap->hints = hints;
	return 0;
}

static int load_program(struct xdp_tap *tap, struct skep_err *err)
{
	const struct cap_source_cfg *cfg = &tap->head.cfg;
	int r = -EOPNOTSUPP;

	cap_hook_quiet();
	/* Also for its VLAN tag, which is nowhere else once the NIC took it out of the frame. */
	if (cfg->xdp_mode != CAP_XDP_GENERIC)
		r = load_variant(tap, true);
	if (r && cfg->timestamps == CAP_TS_HW) {
		skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: the driver gives XDP no hardware time stamps", tap->hook.ifname);
		skep_err_hint(err, "use --timestamps kernel");
		return SKEP_E_UNSUPPORTED;
	}
	if (r)
		r = load_variant(tap, false);
	if (r == -EPERM || r == -EACCES) {
		skep_err_set(err, SKEP_E_PRIVILEGE, "%s: not allowed to load an XDP program", tap->hook.ifname);
		skep_err_hint(err, "run as root or with the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF");
		return SKEP_E_PRIVILEGE;
	}
	if (r)
		return skep_err_set(err, r, "%s: the kernel refuses the XDP program: %s", tap->hook.ifname, strerror(-r));
	return 0;
}

/* --- Sockets --------------------------------------------------------------------------------------------------- */

static uint32_t xdp_backlog(struct cap_source *src)
{
	return cap_xsk_backlog(((struct xdp_source *)src)->xsk);
}

static int open_queue(struct xdp_tap *tap, uint32_t queue, struct skep_err *err)
{
	struct xdp_source *src = &tap->sources[tap->head.n_sources];
	const struct cap_source_cfg *cfg = &tap->head.cfg;
	struct cap_xsk_cfg xsk_cfg = {
		.ifname = tap->hook.ifname,
		.queue = queue,
		.mtu = tap->mtu,
		.numa_node = tap->head.numa_node,
		.ring_slots = CAP_XSK_RING,
		.zero_copy = cfg->xdp_mode == CAP_XDP_GENERIC ? CAP_OFF : cfg->zero_copy,
		.need_wakeup = cfg->need_wakeup,
		.busy_poll = cfg->busy_poll,
	};
	int fd, r;

	r = cap_xsk_open(&xsk_cfg, &tap->clock, &src->xsk, err);
	if (r)
		return r;
	fd = cap_xsk_fd(src->xsk);
	if (bpf_map_update_elem(bpf_map__fd(tap->skel->maps.xsks), &queue, &fd, BPF_ANY)) {
		r = -errno;
		src->xsk = cap_xsk_close(src->xsk);
		return skep_err_set(err, r, "%s queue %u: cannot hand the socket to the XDP program: %s", tap->hook.ifname,
				    queue, strerror(-r));
	}
	src->head = (struct cap_source){
		.ops = tap->head.ops, .tap = &tap->head, .queue = queue, .ring_slots = CAP_XSK_RING, .backlog = xdp_backlog,
	};
	tap->source_ptrs[tap->head.n_sources++] = &src->head;
	return 0;
}

static int open_sockets(struct xdp_tap *tap, struct skep_err *err)
{
	const struct cap_source_cfg *cfg = &tap->head.cfg;
	uint32_t n = tap->all_queues ? SKEP_MIN(tap->link_queues, CAP_MAX_QUEUES) : cfg->n_queues;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t queue = tap->all_queues ? i : cfg->queues[i];
		int r;

		if (queue >= tap->link_queues) {
			skep_err_set(err, SKEP_E_NOT_FOUND, "%s: there is no queue %u, the last one is %u", tap->hook.ifname, queue,
				     tap->link_queues - 1);
			skep_err_hint(err, "ethtool -l %s shows the queues", tap->hook.ifname);
			return SKEP_E_NOT_FOUND;
		}
		r = open_queue(tap, queue, err);
		if (r)
			return r;
	}
	return 0;
}

static void describe(struct xdp_tap *tap, bool generic)
{
	uint32_t zero_copy = 0;
	char copy[48];

	for (uint32_t i = 0; i < tap->head.n_sources; i++)
		zero_copy += cap_xsk_zero_copy(tap->sources[i].xsk);
	if (zero_copy && zero_copy < tap->head.n_sources)
		snprintf(copy, sizeof(copy), "zero copy on %u", zero_copy);
	else
		snprintf(copy, sizeof(copy), "%s", zero_copy ? "zero copy" : "copy");
	snprintf(tap->head.how, sizeof(tap->head.how), "xdp %s, %s%s, %u queue%s%s", generic ? "generic" : "native", copy,
		 cap_xsk_multi_buffer(tap->sources[0].xsk) ? ", multi-buffer" : "", tap->head.n_sources,
		 tap->head.n_sources == 1 ? "" : "s", tap->hints && !generic ? ", NIC metadata" : "");
}

/* --- The vtable ------------------------------------------------------------------------------------------------ */

static struct cap_tap *xdp_close(struct cap_tap *head)
{
	struct xdp_tap *tap = xdp_tap(head);

	if (!tap)
		return NULL;
	cap_hook_detach(&tap->hook);
	for (uint32_t i = 0; i < tap->head.n_sources; i++)
		tap->sources[i].xsk = cap_xsk_close(tap->sources[i].xsk);
	skep_prefilter__destroy(tap->skel);
	skep_closep(&tap->promisc_fd); /* the kernel ends promiscuous mode with the socket */
	skep_closep(&tap->control_fd);
	free(tap->percpu);
	free(tap);
	return NULL;
}

static void xdp_closep(struct xdp_tap **tap)
{
	*tap = (struct xdp_tap *)xdp_close((struct cap_tap *)*tap);
}

static int find_interface(struct xdp_tap *tap, struct skep_err *err)
{
	const char *name = tap->head.cfg.link;

	snprintf(tap->hook.ifname, sizeof(tap->hook.ifname), "%s", name);
	snprintf(tap->head.link, sizeof(tap->head.link), "%s", name);
	tap->hook.ifindex = (int)if_nametoindex(name);
	if (!tap->hook.ifindex) {
		skep_err_set(err, SKEP_E_NOT_FOUND, "%s: there is no such interface", name);
		skep_err_hint(err, "skep-capture -D lists the interfaces");
		return SKEP_E_NOT_FOUND;
	}
	tap->control_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (tap->control_fd < 0)
		return skep_err_set(err, -errno, "%s: cannot open a socket: %s", name, strerror(errno));
	if (read_mtu(tap, &tap->mtu))
		return skep_err_set(err, -EIO, "%s: cannot read its MTU", name);
	tap->link_queues = read_queues(tap);
	tap->head.numa_node = read_numa_node(name);
	read_driver(tap);
	return 0;
}

static int xdp_open(const struct cap_source_cfg *cfg, struct cap_tap **ret_tap, struct skep_err *err)
{
	SKEP_CLEANUP(xdp_closep) struct xdp_tap *tap = calloc(1, sizeof(*tap));
	int r;

	if (!tap)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", cfg->link);
	tap->hook = (struct cap_hook)CAP_HOOK_NULL;
	tap->promisc_fd = tap->control_fd = -1;
	tap->head.ops = &cap_source_xdp;
	tap->head.cfg = *cfg;
	tap->head.linktype = 1;
	tap->head.sources = tap->source_ptrs;
	tap->all_queues = cfg->n_queues == 0;
	tap->cpus = libbpf_num_possible_cpus();
	if (tap->cpus <= 0)
		return skep_err_set(err, tap->cpus, "cannot count the CPUs");
	tap->percpu = calloc((size_t)tap->cpus, sizeof(*tap->percpu));
	if (!tap->percpu)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", cfg->link);
	r = find_interface(tap, err);
	if (!r)
		r = cap_hook_free(tap->hook.ifindex, tap->hook.ifname, err);
	if (!r)
		r = load_program(tap, err);
	if (!r)
		r = open_sockets(tap, err);
	if (r)
		return r;
	tap->head.hw_timestamps = tap->hints;
	refresh_clock(tap);
	describe(tap, cfg->xdp_mode == CAP_XDP_GENERIC);
	*ret_tap = &TAKE_PTR(tap)->head;
	return 0;
}

static int make_promiscuous(struct xdp_tap *tap, struct skep_err *err)
{
	struct packet_mreq mr = { .mr_ifindex = tap->hook.ifindex, .mr_type = PACKET_MR_PROMISC };
	int r;

	tap->promisc_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (tap->promisc_fd >= 0 &&
	    !setsockopt(tap->promisc_fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mr, sizeof(mr)))
		return 0;
	r = -errno;
	skep_closep(&tap->promisc_fd);
	return skep_err_set(err, r, "%s: cannot make it promiscuous: %s", tap->hook.ifname, strerror(-r));
}

static int attach(struct xdp_tap *tap, struct skep_err *err)
{
	const struct cap_source_cfg *cfg = &tap->head.cfg;
	struct bpf_program *native = tap->hints ? tap->skel->progs.prefilter_hints : tap->skel->progs.prefilter;
	struct skep_err why = SKEP_ERR_NULL;
	char sentence[sizeof(why.text) + 64];
	int r;

	if (cfg->xdp_mode != CAP_XDP_GENERIC) {
		r = cap_hook_attach(&tap->hook, bpf_program__fd(native), false, &why);
		if (!r)
			return 0;
		if (r != SKEP_E_UNSUPPORTED || cfg->xdp_mode == CAP_XDP_NATIVE || cfg->zero_copy == CAP_ON ||
		    cfg->timestamps == CAP_TS_HW) {
			if (err)
				*err = why;
			return r;
		}
		snprintf(sentence, sizeof(sentence), "%s; falls back to generic XDP", why.text);
		say(cfg, sentence);
	}
	return cap_hook_attach(&tap->hook, bpf_program__fd(tap->skel->progs.prefilter), true, err);
}

static int xdp_start(struct cap_tap *head, struct skep_err *err)
{
	struct xdp_tap *tap = xdp_tap(head);
	int r = head->cfg.promisc ? make_promiscuous(tap, err) : 0;

	if (r)
		return r;
	r = attach(tap, err);
	if (r) {
		skep_closep(&tap->promisc_fd);
		return r;
	}
	describe(tap, tap->hook.generic);
	head->hw_timestamps = tap->hints && !tap->hook.generic;
	return 0;
}

static void xdp_stop(struct cap_tap *head)
{
	struct xdp_tap *tap = xdp_tap(head);

	cap_hook_detach(&tap->hook);
	skep_closep(&tap->promisc_fd);
}

static void xdp_account(struct cap_tap *head, struct cap_kernel_account *ret)
{
	struct xdp_tap *tap = xdp_tap(head);
	int map_fd = bpf_map__fd(tap->skel->maps.counters);
	struct cap_kernel_account a = { 0 };

	for (uint32_t queue = 0; queue < SKEP_MAX_QUEUES; queue++) {
		struct skep_xdp_counters c;

		if (cap_hook_counters(map_fd, queue, tap->percpu, tap->cpus, &c))
			continue;
		a.offered += c.redirected;
		a.unserved += c.unserved;
	}
	for (uint32_t i = 0; i < head->n_sources; i++) {
		struct cap_xsk_stats s;

		cap_xsk_stats(tap->sources[i].xsk, &s);
		a.rx_ring_full += s.rx_ring_full;
		a.fill_ring_empty += s.fill_ring_empty;
		a.rx_oversize += s.oversize;
	}
	*ret = a;
}

/* The link going down and up is no reason to stop; it is said once each way. */
static void note_link_state(struct xdp_tap *tap)
{
	struct ifreq ifr = { 0 };
	char sentence[128];
	bool down;

	if (iface_ioctl(tap, SIOCGIFFLAGS, &ifr))
		return;
	down = !(ifr.ifr_flags & IFF_UP) || !(ifr.ifr_flags & IFF_RUNNING);
	if (down == tap->was_down)
		return;
	tap->was_down = down;
	snprintf(sentence, sizeof(sentence), down ? "%s: the link is down; capture goes on when it is up again"
						  : "%s: the link is up again",
		 tap->hook.ifname);
	say(&tap->head.cfg, sentence);
}

static int check_mtu(struct xdp_tap *tap, struct skep_err *err)
{
	uint32_t mtu = tap->mtu;

	if (read_mtu(tap, &mtu) || mtu == tap->mtu)
		return 0;
	tap->mtu = mtu;
	if (cap_xsk_multi_buffer(tap->sources[0].xsk) || mtu + 22 <= cap_xsk_buffer_bytes(tap->sources[0].xsk))
		return 0;
	return skep_err_set(err, SKEP_E_UNSUPPORTED,
			    "%s: the MTU became %u, longer than a buffer (%u bytes); start again to capture such frames",
			    tap->hook.ifname, mtu, cap_xsk_buffer_bytes(tap->sources[0].xsk));
}

static int check_queues(struct xdp_tap *tap, struct skep_err *err)
{
	uint32_t queues = read_queues(tap);

	if (queues == tap->link_queues)
		return 0;
	if (!tap->all_queues && queues > tap->link_queues) {
		tap->link_queues = queues;
		return 0;
	}
	return skep_err_set(err, SKEP_E_UNSUPPORTED,
			    "%s: the number of RX queues changed from %u to %u; start again to capture them all",
			    tap->hook.ifname, tap->link_queues, queues);
}

static int xdp_check(struct cap_tap *head, struct skep_err *err)
{
	struct xdp_tap *tap = xdp_tap(head);
	int r;

	refresh_clock(tap);
	if (tap->hook.link_fd < 0)
		return 0;
	r = cap_hook_check(&tap->hook, err);
	if (r)
		return r;
	note_link_state(tap);
	for (uint32_t i = 0; i < head->n_sources; i++)
		cap_xsk_poke(tap->sources[i].xsk);
	r = check_mtu(tap, err);
	return r ? r : check_queues(tap, err);
}

static int xdp_receive(struct cap_source *src, struct cap_batch *batch)
{
	return cap_xsk_receive(((struct xdp_source *)src)->xsk, batch);
}

static void xdp_release(struct cap_source *src, struct cap_batch *batch)
{
	cap_xsk_release(((struct xdp_source *)src)->xsk, batch);
}

const struct cap_source_ops cap_source_xdp = {
	.name = "xdp",
	.open = xdp_open,
	.start = xdp_start,
	.stop = xdp_stop,
	.account = xdp_account,
	.check = xdp_check,
	.close = xdp_close,
	.receive = xdp_receive,
	.release = xdp_release,
};
