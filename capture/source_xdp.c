/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The source `xdp`: the prefilter on the link's XDP hook, one AF_XDP socket per RX queue.
 *
 * open loads the program and binds the sockets; start puts the program on the hook, stop takes it off, close
 * frees. The link sees nothing before start. The program is always taken off before a socket is closed:
 * drivers have crashed over the reverse. In mode auto, start tries native and falls back to generic; a socket
 * in copy mode serves both, and a zero-copy socket exists only where the driver has native XDP.
 *
 * Frames of queues without a socket: dropped if the tap serves all queues (a tap's traffic is not for the
 * host; such a queue appeared later), passed to the host if the user chose queues (the others belong to
 * somebody else).
 *
 * Tap functions: control thread. receive, release: see capture/xsk.c.
 */
#include "capture/classify.h"
#include "capture/ringbuf.h"
#include "capture/source.h"
#include "capture/xdp.h"
#include "capture/xsk.h"

#include "bpf/prefilter.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

struct xdp_source {
	struct cap_source head;
	struct cap_xsk *xsk;
	struct cap_ringbuf *bell; /* NULL: none to be had; then every frame that comes ends a wait */
};

struct xdp_tap {
	struct cap_xdp xdp;
	struct skep_prefilter *skel;
	bool no_zero_copy; /* the driver says that it has none */
	bool gives_tags;   /* the program can ask the NIC for the tag that it took out of a frame */
	struct xdp_source queues[CAP_MAX_QUEUES];
};

static struct xdp_tap *xdp_tap(struct cap_tap *tap)
{
	return (struct xdp_tap *)tap;
}

static int load_prefilter(struct cap_xdp *xdp, bool hints)
{
	struct skep_prefilter *skel = skep_prefilter__open();
	int r;

	if (!skel)
		return -errno;
	skel->rodata->unserved_action = xdp->all_queues ? XDP_DROP : XDP_PASS;
	skel->rodata->nic_timestamps = xdp->nic_timestamps;
	skel->rodata->filtered = xdp->head.cfg.job_filters;
	bpf_program__set_autoload(skel->progs.prefilter_hints, false);
	if (hints)
		cap_xdp_bind_hints(xdp, skel->progs.prefilter_hints);
	r = skep_prefilter__load(skel);
	if (r) {
		skep_prefilter__destroy(skel);
		return r;
	}
	xdp_tap(&xdp->head)->skel = skel;
	return 0;
}

/* The jobs' filters, and behind them the program that delivers. */
static int open_filters(struct xdp_tap *tap, struct skep_err *err)
{
	const struct skep_prefilter *skel = tap->skel;
	const struct cap_classify_cfg cfg = {
		.maps = { .progs_fd = bpf_map__fd(skel->maps.progs),
			  .scratch_fd = bpf_map__fd(skel->maps.scratch),
			  .generations_fd = bpf_map__fd(skel->maps.generations),
			  .counters_fd = bpf_map__fd(skel->maps.counters),
			  .rejected_action = XDP_DROP },
		.jobs_fd = bpf_map__fd(skel->maps.jobs),
		.cpus = tap->xdp.cpus,
		.serves = tap->xdp.head.cfg.serves,
	};
	uint32_t slot = SKEP_PROG_DELIVER;
	int fd = bpf_program__fd(skel->progs.deliver);

	if (!tap->xdp.head.cfg.job_filters)
		return 0;
	if (bpf_map_update_elem(cfg.maps.progs_fd, &slot, &fd, BPF_ANY))
		return skep_err_set(err, -errno, "%s: the kernel refused the chain of XDP programs: %s",
				    tap->xdp.hook.ifname, strerror(errno));
	tap->xdp.head.filters_jobs = true;
	return cap_classify_new(&cfg, &tap->xdp.head.classify, err);
}

static uint32_t xdp_backlog(struct cap_source *src)
{
	return cap_xsk_backlog(((struct xdp_source *)src)->xsk);
}

/* Where the kernel refuses one, the worker sleeps in short naps. */
static void open_bell(struct xdp_tap *tap, struct xdp_source *src, uint32_t queue)
{
	int fd;

	if (cap_ringbuf_open(SKEP_BELL_BYTES, NULL, &src->bell, NULL) < 0)
		return;
	fd = cap_ringbuf_fd(src->bell);
	if (bpf_map_update_elem(bpf_map__fd(tap->skel->maps.bells), &queue, &fd, BPF_ANY))
		src->bell = cap_ringbuf_close(src->bell);
}

static int open_queue(struct xdp_tap *tap, uint32_t queue, struct skep_err *err)
{
	struct cap_tap *head = &tap->xdp.head;
	struct xdp_source *src = &tap->queues[head->n_sources];
	const struct cap_source_cfg *cfg = &head->cfg;
	struct cap_xsk_cfg xsk_cfg = {
		.ifname = tap->xdp.hook.ifname,
		.queue = queue,
		.mtu = tap->xdp.mtu,
		.numa_node = head->numa_node,
		.ring_slots = CAP_XSK_RING,
		.zero_copy = cfg->zero_copy,
		.need_wakeup = cfg->need_wakeup,
		.busy_poll = cfg->busy_poll,
		.say = cfg->say,
		.say_arg = cfg->say_arg,
	};
	int fd, r;

	/* Asked in vain, the kernel would have us map memory for it first. */
	if (cfg->xdp_mode == CAP_XDP_GENERIC || (tap->no_zero_copy && cfg->zero_copy == CAP_AUTO))
		xsk_cfg.zero_copy = CAP_OFF;
	r = cap_xsk_open(&xsk_cfg, &tap->xdp.clock, &src->xsk, err);
	if (r)
		return r;
	fd = cap_xsk_fd(src->xsk);
	if (bpf_map_update_elem(bpf_map__fd(tap->skel->maps.xsks), &queue, &fd, BPF_ANY)) {
		r = -errno;
		src->xsk = cap_xsk_close(src->xsk);
		return skep_err_set(err, r, "%s queue %u: cannot hand the socket to the XDP program: %s",
				    xsk_cfg.ifname, queue, strerror(-r));
	}
	open_bell(tap, src, queue);
	tap->xdp.native_only |= cap_xsk_zero_copy(src->xsk);
	tap->xdp.head.zero_copy = tap->xdp.native_only;
	src->head = (struct cap_source){
		.ops = head->ops,
		.tap = head,
		.queue = queue,
		.ring_slots = CAP_XSK_RING,
		.backlog = xdp_backlog,
		.bursts_wake = src->bell != NULL,
	};
	head->sources[head->n_sources++] = &src->head;
	return 0;
}

static void ask_driver(struct xdp_tap *tap)
{
	struct cap_link_info info;

	if (cap_link_query(tap->xdp.hook.ifname, &info, NULL))
		return;
	tap->no_zero_copy = info.xdp_features >= 0 && !(info.xdp_features & CAP_LINK_XDP_ZEROCOPY);
	tap->gives_tags = info.xdp_rx_metadata >= 0 && info.xdp_rx_metadata & CAP_LINK_META_VLAN;
}

static int open_queues(struct xdp_tap *tap, struct skep_err *err)
{
	uint16_t queues[CAP_MAX_QUEUES];
	uint32_t n;
	int r = cap_xdp_queues(&tap->xdp, queues, &n, err);

	ask_driver(tap);
	for (uint32_t i = 0; !r && i < n; i++)
		r = open_queue(tap, queues[i], err);
	return r;
}

static void describe(struct xdp_tap *tap, bool generic)
{
	struct cap_tap *head = &tap->xdp.head;
	uint32_t zero_copy = 0;
	char copy[48];

	for (uint32_t i = 0; i < head->n_sources; i++)
		zero_copy += cap_xsk_zero_copy(tap->queues[i].xsk);
	if (zero_copy && zero_copy < head->n_sources)
		snprintf(copy, sizeof(copy), "zero copy on %u", zero_copy);
	else
		snprintf(copy, sizeof(copy), "%s", zero_copy ? "zero copy" : "copy");
	snprintf(head->how, sizeof(head->how), "xdp %s, %s%s, %u queue%s%s", generic ? "generic" : "native",
		 copy, cap_xsk_multi_buffer(tap->queues[0].xsk) ? ", multi-buffer" : "", head->n_sources,
		 head->n_sources == 1 ? "" : "s", tap->xdp.hints && !generic ? ", NIC metadata" : "");
}

static struct cap_tap *xdp_close(struct cap_tap *head)
{
	struct xdp_tap *tap = xdp_tap(head);

	if (!tap)
		return NULL;
	cap_xdp_fini(&tap->xdp);
	for (uint32_t i = 0; i < head->n_sources; i++) {
		tap->queues[i].xsk = cap_xsk_close(tap->queues[i].xsk);
		tap->queues[i].bell = cap_ringbuf_close(tap->queues[i].bell);
	}
	head->classify = cap_classify_free(head->classify);
	skep_prefilter__destroy(tap->skel);
	free(tap);
	return NULL;
}

static void xdp_closep(struct xdp_tap **tap)
{
	*tap = (struct xdp_tap *)xdp_close((struct cap_tap *)*tap);
}

static int xdp_open(const struct cap_source_cfg *cfg, struct cap_tap **ret_tap, struct skep_err *err)
{
	SKEP_CLEANUP(xdp_closep) struct xdp_tap *tap = calloc(1, sizeof(*tap));
	int r;

	if (!tap)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", cfg->link);
	r = cap_xdp_init(&tap->xdp, &cap_source_xdp, cfg, err);
	if (!r)
		r = cap_xdp_load(&tap->xdp, load_prefilter, err);
	if (!r)
		r = open_filters(tap, err);
	if (!r)
		r = open_queues(tap, err);
	if (r)
		return r;
	describe(tap, cfg->xdp_mode == CAP_XDP_GENERIC);
	*ret_tap = &TAKE_PTR(tap)->xdp.head;
	return 0;
}

static int xdp_start(struct cap_tap *head, struct skep_err *err)
{
	struct xdp_tap *tap = xdp_tap(head);
	struct cap_xdp_progs progs = {
		bpf_program__fd(tap->skel->progs.prefilter),
		bpf_program__fd(tap->skel->progs.prefilter_hints),
	};
	int r = cap_xdp_start(&tap->xdp, &progs, err);

	if (r)
		return r;
	/*
	 * Any driver takes a program that asks for metadata, also one that has none to give (igb): then the
	 * tags are better left in the frames.
	 */
	head->tags_kept &= tap->gives_tags;
	describe(tap, tap->xdp.hook.generic);
	return 0;
}

static void xdp_stop(struct cap_tap *head)
{
	cap_xdp_stop(&xdp_tap(head)->xdp);
}

static void xdp_account(struct cap_tap *head, struct cap_kernel_account *ret)
{
	struct xdp_tap *tap = xdp_tap(head);
	struct cap_kernel_account a = { 0 };
	struct skep_xdp_counters c;
	uint64_t refused;

	cap_xdp_counters(&tap->xdp, bpf_map__fd(tap->skel->maps.counters), &c);
	a.offered = c.redirected;
	a.unserved = c.unserved;
	a.nic_missed = cap_xdp_missed(&tap->xdp);
	for (uint32_t i = 0; i < head->n_sources; i++) {
		struct cap_xsk_stats s;

		cap_xsk_stats(tap->queues[i].xsk, &s);
		a.rx_ring_full += s.rx_ring_full;
		a.fill_ring_empty += s.fill_ring_empty;
		a.rx_oversize += s.oversize;
	}
	/* veth counts a frame that the socket refused among its own drops too. */
	refused = a.rx_ring_full + a.fill_ring_empty + a.rx_oversize;
	if (strcmp(head->driver, "veth") == 0 && !tap->xdp.hook.generic)
		a.nic_missed -= SKEP_MIN(a.nic_missed, refused);
	*ret = a;
}

static int xdp_check(struct cap_tap *head, struct skep_err *err)
{
	struct xdp_tap *tap = xdp_tap(head);
	struct cap_xsk *first = tap->queues[0].xsk;
	bool mtu_changed;
	int r = cap_xdp_check(&tap->xdp, &mtu_changed, err);

	if (r)
		return r;
	for (uint32_t i = 0; i < head->n_sources; i++)
		cap_xsk_poke(tap->queues[i].xsk);
	if (!mtu_changed || cap_xsk_multi_buffer(first) || cap_xsk_fits(first, tap->xdp.mtu))
		return 0;
	return skep_err_set(
		err, SKEP_E_UNSUPPORTED,
		"%s: the MTU became %u, longer than a packet buffer; start again to capture such frames",
		tap->xdp.hook.ifname, tap->xdp.mtu);
}

static int xdp_receive(struct cap_source *src, struct cap_batch *batch)
{
	return cap_xsk_receive(((struct xdp_source *)src)->xsk, batch);
}

static void xdp_release(struct cap_source *src, struct cap_batch *batch)
{
	cap_xsk_release(((struct xdp_source *)src)->xsk, batch);
}

static void xdp_wait(struct cap_source *src, uint64_t max_ns)
{
	struct xdp_source *s = (struct xdp_source *)src;
	bool burst = s->bell && max_ns <= CAP_LONG_NAP_NS;
	struct pollfd pfd[2] = {
		{ .fd = burst ? cap_ringbuf_fd(s->bell) : cap_xsk_fd(s->xsk), .events = POLLIN },
		{ .fd = src->wake_fd > 0 ? src->wake_fd : -1, .events = POLLIN },
	};

	if (burst) {
		/* What rang while nobody slept; frames that rang meanwhile are in the ring, and seen here. */
		cap_ringbuf_skip(s->bell);
		if (cap_xsk_backlog(s->xsk) >= SKEP_BELL_EVERY)
			return;
	}
	(void)poll(pfd, 2, (int)(max_ns / SKEP_NSEC_PER_MSEC));
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
	.wait = xdp_wait,
};
