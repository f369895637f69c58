/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the sources on the XDP hook share.
 *
 * The interface is remembered by its index, so a rename does not lose it. Facts are read at open and compared
 * at check; nothing about the interface is changed here but promiscuous mode, by a packet socket whose
 * closing ends it, and the program on its hook. From start on only descriptors that are open already are
 * used: by then privileges are gone, and a filter forbids new sockets and other BPF commands than looking.
 *
 * Control thread.
 */
#include "capture/xdp.h"

#include <assert.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>

/* Linux 6.3; the program may call the functions that read the NIC's metadata. */
#ifndef BPF_F_XDP_DEV_BOUND_ONLY
#define BPF_F_XDP_DEV_BOUND_ONLY (1U << 6)
#endif

/* The clock id of an open /dev/ptpN (clock_getres(2), "Dynamic clocks"). */
#define PHC_CLOCK(fd) ((clockid_t)((~(clockid_t)(fd) << 3) | 3))

static_assert(CAP_MAX_QUEUES <= SKEP_MAX_QUEUES, "the maps hold every queue");

static void say(const struct cap_xdp *xdp, const char *sentence)
{
	if (xdp->head.cfg.say)
		xdp->head.cfg.say(xdp->head.cfg.say_arg, sentence);
}

/*
 * --- Clocks
 * ----------------------------------------------------------------------------------------------------
 */

int64_t cap_xdp_nic_to_utc_ns(int64_t nic_ns, int64_t utc_ns, int64_t tai_to_utc_ns)
{
	const int64_t kept_ns =
		50 * (int64_t)SKEP_NSEC_PER_MSEC; /* worse than any kept clock, better than any chance */
	int64_t ahead_ns = nic_ns - utc_ns;

	if (ahead_ns > -kept_ns && ahead_ns < kept_ns)
		return 0;
	if (ahead_ns + tai_to_utc_ns > -kept_ns && ahead_ns + tai_to_utc_ns < kept_ns)
		return tai_to_utc_ns;
	return -ahead_ns;
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts = { 0 };

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * (int64_t)SKEP_NSEC_PER_SEC + ts.tv_nsec;
}

/* The kernel's TAI is its UTC plus this many seconds; 0 until somebody (chrony, ptp4l) has set it, then 37.
 */
static void refresh_clock(struct cap_xdp *xdp)
{
	struct timex tx = { 0 };
	int64_t tai_to_utc_ns, before_ns, nic_ns, after_ns;

	if (adjtimex(&tx) < 0)
		return;
	tai_to_utc_ns = -(int64_t)tx.tai * (int64_t)SKEP_NSEC_PER_SEC;
	__atomic_store_n(&xdp->clock.tai_to_utc_ns, tai_to_utc_ns, __ATOMIC_RELAXED);
	if (xdp->phc_fd < 0)
		return;
	before_ns = clock_ns(CLOCK_REALTIME);
	nic_ns = clock_ns(PHC_CLOCK(xdp->phc_fd));
	after_ns = clock_ns(CLOCK_REALTIME);
	__atomic_store_n(&xdp->clock.nic_to_utc_ns,
			 cap_xdp_nic_to_utc_ns(nic_ns, before_ns + (after_ns - before_ns) / 2, tai_to_utc_ns),
			 __ATOMIC_RELAXED);
}

bool cap_xdp_gives_stamps(const struct cap_link_info *info)
{
	return info->hw_timestamps == CAP_YES && info->phc_index >= 0 && info->xdp_rx_metadata >= 0 &&
	       info->xdp_rx_metadata & CAP_LINK_META_TIMESTAMP;
}

/* Without its clock at hand a NIC's stamps cannot be told from nonsense, so they are not used. */
static void open_nic_clock(struct cap_xdp *xdp, const struct cap_link_info *info)
{
	char path[32];

	if (xdp->head.cfg.timestamps == CAP_TS_KERNEL || !cap_xdp_gives_stamps(info))
		return;
	snprintf(path, sizeof(path), "/dev/ptp%d", info->phc_index);
	xdp->phc_fd = open(path, O_RDONLY | O_CLOEXEC);
	xdp->nic_timestamps = xdp->phc_fd >= 0;
}

/*
 * --- Open and close
 * --------------------------------------------------------------------------------------------
 */

static int find_interface(struct cap_xdp *xdp, struct skep_err *err)
{
	struct cap_link_info info;
	int r = cap_link_query(xdp->head.cfg.link, &info, err);

	if (r)
		return r;
	snprintf(xdp->hook.ifname, sizeof(xdp->hook.ifname), "%s", info.name);
	snprintf(xdp->head.link, sizeof(xdp->head.link), "%s", info.name);
	snprintf(xdp->head.driver, sizeof(xdp->head.driver), "%s", info.driver);
	xdp->hook.ifindex = info.ifindex;
	xdp->mtu = info.mtu;
	xdp->link_queues = info.rx_queues > 0 ? (uint32_t)info.rx_queues : 1;
	xdp->queues_max = info.rx_queues_max > 0 ? SKEP_MAX((uint32_t)info.rx_queues_max, xdp->link_queues)
						 : SKEP_MAX_QUEUES;
	xdp->queues_max = SKEP_MIN(xdp->queues_max, SKEP_MAX_QUEUES);
	xdp->head.numa_node = info.numa_node;
	open_nic_clock(xdp, &info);
	return cap_link_watch_open(info.ifindex, &xdp->watch, err);
}

int cap_xdp_init(struct cap_xdp *xdp, const struct cap_source_ops *ops, const struct cap_source_cfg *cfg,
		 struct skep_err *err)
{
	int r;

	cap_hook_quiet();
	xdp->hook = (struct cap_hook)CAP_HOOK_NULL;
	xdp->promisc_fd = xdp->phc_fd = -1;
	xdp->head.ops = ops;
	xdp->head.cfg = *cfg;
	xdp->head.linktype = 1;
	xdp->head.sources = xdp->sources;
	xdp->all_queues = cfg->n_queues == 0;
	xdp->cpus = libbpf_num_possible_cpus();
	if (xdp->cpus <= 0)
		return skep_err_set(err, xdp->cpus ? xdp->cpus : -EIO, "cannot count the CPUs");
	xdp->percpu = calloc((size_t)xdp->cpus, sizeof(*xdp->percpu));
	if (!xdp->percpu)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", cfg->link);
	r = find_interface(xdp, err);
	if (r)
		return r;
	refresh_clock(xdp);
	return cap_hook_free(xdp->hook.ifindex, xdp->hook.ifname, err);
}

void cap_xdp_fini(struct cap_xdp *xdp)
{
	cap_xdp_stop(xdp);
	skep_closep(&xdp->phc_fd);
	xdp->watch = cap_link_watch_free(xdp->watch);
	free(xdp->percpu);
	xdp->percpu = NULL;
}

void cap_xdp_bind_hints(const struct cap_xdp *xdp, struct bpf_program *prog)
{
	bpf_program__set_autoload(prog, true);
	bpf_program__set_ifindex(prog, (uint32_t)xdp->hook.ifindex);
	bpf_program__set_flags(prog, bpf_program__flags(prog) | BPF_F_XDP_DEV_BOUND_ONLY);
}

/* A missing capability is EPERM; EACCES is the verifier's word for an access that it does not allow. */
static int explain_load(const struct cap_xdp *xdp, int r, struct skep_err *err)
{
	if (r == -EPERM) {
		skep_err_set(err, SKEP_E_PRIVILEGE, "%s: not allowed to load an XDP program",
			     xdp->hook.ifname);
		skep_err_hint(err,
			      "run as root or with the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF");
		return SKEP_E_PRIVILEGE;
	}
	if (r != -EACCES)
		return skep_err_set(err, r, "%s: the kernel refuses the XDP program: %s", xdp->hook.ifname,
				    strerror(-r));
	skep_err_set(err, r, "%s: the kernel's verifier (or a security module) refuses the XDP program",
		     xdp->hook.ifname);
	skep_err_hint(err, "no capability helps; report it with this kernel's version (uname -r), and capture "
			   "with --source afpacket");
	return r;
}

int cap_xdp_load(struct cap_xdp *xdp, int (*load)(struct cap_xdp *xdp, bool hints), struct skep_err *err)
{
	const struct cap_source_cfg *cfg = &xdp->head.cfg;
	int r = -EOPNOTSUPP;

	if (cfg->xdp_mode != CAP_XDP_GENERIC) {
		r = load(xdp, true);
		xdp->hints = !r;
	}
	if (cfg->timestamps == CAP_TS_HW && r != -EPERM && (r || !xdp->nic_timestamps)) {
		skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: no hardware time stamps for XDP from this NIC",
			     xdp->hook.ifname);
		skep_err_hint(err, "use --timestamps kernel");
		return SKEP_E_UNSUPPORTED;
	}
	if (r)
		r = load(xdp, false);
	if (r)
		return explain_load(xdp, r, err);
	xdp->head.hw_timestamps = xdp->hints && xdp->nic_timestamps;
	return 0;
}

int cap_xdp_queues(const struct cap_xdp *xdp, uint16_t queues[CAP_MAX_QUEUES], uint32_t *ret_n,
		   struct skep_err *err)
{
	const struct cap_source_cfg *cfg = &xdp->head.cfg;
	uint32_t n = xdp->all_queues ? SKEP_MIN(xdp->link_queues, CAP_MAX_QUEUES) : cfg->n_queues;

	for (uint32_t i = 0; i < n; i++) {
		queues[i] = xdp->all_queues ? (uint16_t)i : cfg->queues[i];
		if (queues[i] < xdp->link_queues)
			continue;
		skep_err_set(err, SKEP_E_NOT_FOUND, "%s: there is no queue %u, the last one is %u",
			     xdp->hook.ifname, queues[i], xdp->link_queues - 1);
		skep_err_hint(err, "ethtool -l %s shows the queues", xdp->hook.ifname);
		return SKEP_E_NOT_FOUND;
	}
	*ret_n = n;
	return 0;
}

static int make_promiscuous(struct cap_xdp *xdp, struct skep_err *err)
{
	struct packet_mreq mr = { .mr_ifindex = xdp->hook.ifindex, .mr_type = PACKET_MR_PROMISC };
	int r;

	xdp->promisc_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (xdp->promisc_fd >= 0 &&
	    !setsockopt(xdp->promisc_fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mr, sizeof(mr)))
		return 0;
	r = -errno;
	skep_closep(&xdp->promisc_fd);
	return skep_err_set(err, r, "%s: cannot make it promiscuous: %s", xdp->hook.ifname, strerror(-r));
}

/* After native mode failed with r. What the user asked for by name is not swapped for something that cannot
 * do it. */
static bool may_be_generic(const struct cap_xdp *xdp, int r)
{
	const struct cap_source_cfg *cfg = &xdp->head.cfg;

	if (r == SKEP_E_BUSY || r == SKEP_E_PRIVILEGE || r == SKEP_E_NOT_FOUND || xdp->native_only)
		return false;
	return cfg->xdp_mode == CAP_XDP_AUTO && cfg->zero_copy != CAP_ON && cfg->timestamps != CAP_TS_HW;
}

static int attach(struct cap_xdp *xdp, const struct cap_xdp_progs *progs, struct skep_err *err)
{
	const struct cap_source_cfg *cfg = &xdp->head.cfg;
	struct skep_err why = SKEP_ERR_NULL;
	char sentence[sizeof(why.text) + 64];
	int r;

	if (cfg->xdp_mode != CAP_XDP_GENERIC) {
		r = cap_hook_attach(&xdp->hook, xdp->hints ? progs->hints_fd : progs->plain_fd, false, &why);
		if (!r)
			return 0;
		if (!may_be_generic(xdp, r)) {
			if (err)
				*err = why;
			return r;
		}
		snprintf(sentence, sizeof(sentence), "%s; falls back to generic XDP", why.text);
		say(xdp, sentence);
	}
	return cap_hook_attach(&xdp->hook, progs->plain_fd, true, err);
}

int cap_xdp_start(struct cap_xdp *xdp, const struct cap_xdp_progs *progs, struct skep_err *err)
{
	struct cap_link_state state;
	int r = xdp->head.cfg.promisc ? make_promiscuous(xdp, err) : 0;

	if (r)
		return r;
	if (!cap_link_watch_look(xdp->watch, &state))
		xdp->missed_before = state.drops.missed;
	r = attach(xdp, progs, err);
	if (r) {
		skep_closep(&xdp->promisc_fd);
		return r;
	}
	xdp->head.hw_timestamps = xdp->hints && xdp->nic_timestamps && !xdp->hook.generic;
	xdp->head.tags_kept = xdp->hints && !xdp->hook.generic;
	return 0;
}

void cap_xdp_stop(struct cap_xdp *xdp)
{
	cap_hook_detach(&xdp->hook);
	skep_closep(&xdp->promisc_fd); /* the kernel ends promiscuous mode with the socket */
}

void cap_xdp_counters(struct cap_xdp *xdp, int map_fd, struct skep_xdp_counters *ret)
{
	struct skep_xdp_counters sum = { 0 };

	for (uint32_t queue = 0; queue < xdp->queues_max; queue++)
		cap_hook_counters(map_fd, queue, xdp->percpu, xdp->cpus, &sum);
	*ret = sum;
}

uint64_t cap_xdp_missed(const struct cap_xdp *xdp)
{
	struct cap_link_state state;

	if (cap_link_watch_look(xdp->watch, &state) || state.drops.missed < xdp->missed_before)
		return 0;
	return state.drops.missed - xdp->missed_before;
}

/*
 * --- Watch
 * -----------------------------------------------------------------------------------------------------
 */

/* The link going down and up is no reason to stop; it is said once each way. */
static void note_link_state(struct cap_xdp *xdp, const struct cap_link_state *state)
{
	bool down = !state->up || !state->running;
	char sentence[128];

	if (down == xdp->was_down)
		return;
	xdp->was_down = down;
	snprintf(sentence, sizeof(sentence),
		 down ? "%s: the link is down; capture goes on when it is up again"
		      : "%s: the link is up again",
		 xdp->hook.ifname);
	say(xdp, sentence);
}

static int check_queues(struct cap_xdp *xdp, const struct cap_link_state *state, struct skep_err *err)
{
	uint32_t queues = state->rx_queues > 0 ? (uint32_t)state->rx_queues : xdp->link_queues;

	if (queues == xdp->link_queues)
		return 0;
	if (!xdp->all_queues && queues > xdp->link_queues) {
		xdp->link_queues = queues;
		return 0;
	}
	return skep_err_set(
		err, SKEP_E_UNSUPPORTED,
		"%s: the number of RX queues changed from %u to %u; start again to capture them all",
		xdp->hook.ifname, xdp->link_queues, queues);
}

int cap_xdp_check(struct cap_xdp *xdp, bool *ret_mtu_changed, struct skep_err *err)
{
	struct cap_link_state state;
	int r;

	*ret_mtu_changed = false;
	refresh_clock(xdp);
	if (xdp->hook.link_fd < 0)
		return 0;
	r = cap_link_watch_look(xdp->watch, &state);
	if (r == -ENODEV)
		return skep_err_set(err, SKEP_E_NOT_FOUND,
				    "%s: the interface was deleted or moved to another namespace",
				    xdp->hook.ifname);
	if (r)
		return 0; /* no answer this time */
	r = cap_hook_check(&xdp->hook, state.xdp_prog_id, err);
	if (r)
		return r;
	note_link_state(xdp, &state);
	*ret_mtu_changed = state.mtu != xdp->mtu;
	xdp->mtu = state.mtu;
	return check_queues(xdp, &state, err);
}
