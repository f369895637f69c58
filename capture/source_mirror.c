/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The source `mirror`: the mirror program on the link's XDP hook copies every frame into the BPF ring buffer
 * of its RX queue and lets it go on to the host. One source per RX queue.
 *
 * Nothing is taken away from the host; but attaching any XDP program has side effects (drivers may reset the
 * link; a veth peer loses TSO), so it is never chosen behind the user's back. A full ring costs a copy, never
 * a packet of the host.
 *
 * Tap functions: control thread. receive, release: see capture/ringbuf.c.
 */
#include "capture/ringbuf.h"
#include "capture/source.h"
#include "capture/xdp.h"

#include "bpf/mirror.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct mirror_source {
	struct cap_source head;
	struct cap_ringbuf *ring;
};

struct mirror_tap {
	struct cap_xdp xdp;
	struct skep_mirror *skel;
	struct mirror_source queues[CAP_MAX_QUEUES];
};

static struct mirror_tap *mirror_tap(struct cap_tap *tap)
{
	return (struct mirror_tap *)tap;
}

static int load_mirror(struct cap_xdp *xdp, bool hints)
{
	struct skep_mirror *skel = skep_mirror__open();
	int r;

	if (!skel)
		return -errno;
	skel->rodata->nic_timestamps = xdp->nic_timestamps;
	bpf_program__set_autoload(skel->progs.mirror_hints, false);
	if (hints)
		cap_xdp_bind_hints(xdp, skel->progs.mirror_hints);
	r = skep_mirror__load(skel);
	if (r) {
		skep_mirror__destroy(skel);
		return r;
	}
	mirror_tap(&xdp->head)->skel = skel;
	return 0;
}

static uint32_t mirror_backlog(struct cap_source *src)
{
	return cap_ringbuf_backlog(((struct mirror_source *)src)->ring);
}

static int open_queue(struct mirror_tap *tap, uint32_t queue, uint32_t ring_bytes, struct skep_err *err)
{
	struct cap_tap *head = &tap->xdp.head;
	struct mirror_source *src = &tap->queues[head->n_sources];
	int fd, r;

	r = cap_ringbuf_open(ring_bytes, &tap->xdp.clock, &src->ring, err);
	if (r)
		return r;
	fd = cap_ringbuf_fd(src->ring);
	if (bpf_map_update_elem(bpf_map__fd(tap->skel->maps.rings), &queue, &fd, BPF_ANY)) {
		r = -errno;
		src->ring = cap_ringbuf_close(src->ring);
		return skep_err_set(err, r, "%s queue %u: cannot hand the ring to the XDP program: %s",
				    tap->xdp.hook.ifname, queue, strerror(-r));
	}
	src->head = (struct cap_source){
		.ops = head->ops,
		.tap = head,
		.queue = queue,
		.ring_slots = cap_ringbuf_slots(src->ring),
		.backlog = mirror_backlog,
	};
	head->sources[head->n_sources++] = &src->head;
	return 0;
}

static int open_queues(struct mirror_tap *tap, struct skep_err *err)
{
	uint32_t bytes = CAP_MIRROR_RING_BYTES;
	uint16_t queues[CAP_MAX_QUEUES];
	uint32_t n;
	int r = cap_xdp_queues(&tap->xdp, queues, &n, err);

	while (!r && bytes > CAP_MIRROR_RING_MIN_BYTES && (uint64_t)n * bytes > CAP_MIRROR_TOTAL_BYTES)
		bytes /= 2;
	for (uint32_t i = 0; !r && i < n; i++)
		r = open_queue(tap, queues[i], bytes, err);
	return r;
}

static void describe(struct mirror_tap *tap, bool generic)
{
	struct cap_tap *head = &tap->xdp.head;

	snprintf(head->how, sizeof(head->how), "mirror (xdp %s, packets pass on), %u queue%s%s",
		 generic ? "generic" : "native", head->n_sources, head->n_sources == 1 ? "" : "s",
		 tap->xdp.hints && !generic ? ", NIC metadata" : "");
}

static struct cap_tap *mirror_close(struct cap_tap *head)
{
	struct mirror_tap *tap = mirror_tap(head);

	if (!tap)
		return NULL;
	cap_xdp_fini(&tap->xdp);
	for (uint32_t i = 0; i < head->n_sources; i++)
		tap->queues[i].ring = cap_ringbuf_close(tap->queues[i].ring);
	skep_mirror__destroy(tap->skel);
	free(tap);
	return NULL;
}

static void mirror_closep(struct mirror_tap **tap)
{
	*tap = (struct mirror_tap *)mirror_close((struct cap_tap *)*tap);
}

static int mirror_open(const struct cap_source_cfg *cfg, struct cap_tap **ret_tap, struct skep_err *err)
{
	SKEP_CLEANUP(mirror_closep) struct mirror_tap *tap = calloc(1, sizeof(*tap));
	int r;

	if (!tap)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", cfg->link);
	r = cap_xdp_init(&tap->xdp, &cap_source_mirror, cfg, err);
	if (!r)
		r = cap_xdp_load(&tap->xdp, load_mirror, err);
	if (!r)
		r = open_queues(tap, err);
	if (r)
		return r;
	describe(tap, cfg->xdp_mode == CAP_XDP_GENERIC);
	*ret_tap = &TAKE_PTR(tap)->xdp.head;
	return 0;
}

static int mirror_start(struct cap_tap *head, struct skep_err *err)
{
	struct mirror_tap *tap = mirror_tap(head);
	struct cap_xdp_progs progs = {
		bpf_program__fd(tap->skel->progs.mirror),
		bpf_program__fd(tap->skel->progs.mirror_hints),
	};
	int r = cap_xdp_start(&tap->xdp, &progs, err);

	if (!r)
		describe(tap, tap->xdp.hook.generic);
	return r;
}

static void mirror_stop(struct cap_tap *head)
{
	cap_xdp_stop(&mirror_tap(head)->xdp);
}

static void mirror_account(struct cap_tap *head, struct cap_kernel_account *ret)
{
	struct mirror_tap *tap = mirror_tap(head);
	struct skep_xdp_counters c;

	cap_xdp_counters(&tap->xdp, bpf_map__fd(tap->skel->maps.counters), &c);
	*ret = (struct cap_kernel_account){
		.offered = c.mirrored + c.ring_full + c.too_long,
		.mirror_ring_full = c.ring_full,
		.mirror_too_long = c.too_long,
		.nic_missed = cap_xdp_missed(&tap->xdp),
		.unserved = c.unserved,
	};
}

static int mirror_check(struct cap_tap *head, struct skep_err *err)
{
	bool mtu_changed; /* of no matter: every length has a record class */

	return cap_xdp_check(&mirror_tap(head)->xdp, &mtu_changed, err);
}

static int mirror_receive(struct cap_source *src, struct cap_batch *batch)
{
	return cap_ringbuf_receive(((struct mirror_source *)src)->ring, batch);
}

static void mirror_release(struct cap_source *src, struct cap_batch *batch)
{
	cap_ringbuf_release(((struct mirror_source *)src)->ring, batch);
}

const struct cap_source_ops cap_source_mirror = {
	.name = "mirror",
	.open = mirror_open,
	.start = mirror_start,
	.stop = mirror_stop,
	.account = mirror_account,
	.check = mirror_check,
	.close = mirror_close,
	.receive = mirror_receive,
	.release = mirror_release,
};
