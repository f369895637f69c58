/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One AF_XDP socket with its own UMEM.
 *
 * A buffer of the UMEM is always in exactly one place: the fill ring (waiting for a frame), the kernel or NIC
 * (being filled), the RX ring (received), or the present batch (lent to the worker; its RX slots are kept
 * until release, so the ring itself is the list of what was lent). There are as many buffers as slots of the
 * RX ring and half as many as of the fill ring, so neither overflows. A frame of several buffers is taken
 * whole or left for the next batch.
 *
 * What it never does: copy, allocate or log after open, or call the kernel while frames flow and nobody asks
 * for a kick.
 *
 * Counting (net/xdp/xsk.c of Linux 6.6 to 6.18). For each frame that the program redirects to a bound socket
 * the kernel does exactly one of: put it into the RX ring; rx_queue_full++ (XDP_STATISTICS rx_ring_full);
 * rx_dropped++. In copy mode rx_dropped means "no buffer" or "longer than a buffer, and no multi-buffer
 * socket"; a missing buffer also counts in rx_fill_ring_empty_descs, so adding both would count the frame
 * twice. In zero-copy mode it is the driver that finds the fill ring empty, before any frame exists:
 * rx_fill_ring_empty_descs then counts attempts, not frames, and is left out.
 */
#include "capture/xsk.h"

#include "capture/mono.h"
#include "capture/xsk_held.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <numa.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <xdp/xsk.h>

/* Linux 6.6; Debian 12's headers are older than its backported kernels. */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* XDP_PACKET_HEADROOM: the kernel keeps this much of each buffer in front of the frame. */
#define HEADROOM 256u
/* Ethernet header, and two VLAN tags. */
#define LINK_OVERHEAD 22u
/*
 * Some NICs know the size of a buffer in KiB only (igb, igc, ixgbe's 82599): of 1,792 bytes they use 1,024,
 * and what a frame is longer comes as a frame of its own. So a zero-copy buffer counts for its whole KiB.
 */
#define NIC_BUFFER_STEP 1024u
#define ZERO_COPY_ROOM ((CAP_XSK_CHUNK_LARGE - HEADROOM) / NIC_BUFFER_STEP * NIC_BUFFER_STEP)
/* We never send, but a UMEM cannot be made without a completion ring. */
#define COMPLETION_SLOTS 64u
#define HUGE_BYTES (2u * CAP_MIB)
/*
 * Waiting for a queue. A socket that a program holds stays, so that is refused within a second; a process
 * that is about to exit has that time. What the kernel still holds of a dead one goes when a kernel worker
 * gets the RTNL lock: milliseconds, but seconds where namespaces come and go. In between: it cannot be known.
 */
#define BIND_PAUSE_NS (20 * SKEP_NSEC_PER_MSEC)
#define BIND_SAY_NS (200 * SKEP_NSEC_PER_MSEC)
#define BIND_HELD_NS (300 * SKEP_NSEC_PER_MSEC)
#define BIND_UNKNOWN_NS (600 * SKEP_NSEC_PER_MSEC)
#define BIND_DEAD_NS (10 * SKEP_NSEC_PER_SEC)
/* How far ahead of the frame at hand its successors are fetched into the cache. */
#define PREFETCH_AHEAD 4u
/* Busy polling as Suricata, DPDK and Knot have it. */
#define BUSY_POLL_USEC 20
#define BUSY_POLL_BUDGET 64

static_assert(CAP_XSK_CHUNK_SMALL > HEADROOM + 1518 + 4,
	      "a full Ethernet frame with two tags fits a small chunk");
static_assert(SKEP_META_BYTES <= HEADROOM, "metadata fit the headroom");

struct cap_xsk {
	/* The worker's. */
	struct xsk_ring_cons rx;
	struct xsk_ring_prod fill;
	uint8_t *area;
	uint64_t chunk_mask;
	const struct cap_meta_clock *clock;
	uint32_t lent; /* RX slots of the present batch */
	int fd;
	bool need_wakeup;
	bool busy_poll;
	uint64_t
		received; /* written by the worker, read relaxed by the control thread; so are the next two */
	uint64_t too_many;
	uint64_t no_meta;

	/* The control thread's. */
	struct xsk_ring_cons completion;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	struct cap_xsk *next; /* of ours */
	uint64_t area_bytes;
	uint64_t poked_at;
	uint32_t ifindex;
	uint32_t queue;
	uint32_t slots;
	uint32_t chunk;
	bool zero_copy;
	bool multi_buffer;
};

/* What this process has bound. The control thread's. */
static struct cap_xsk *ours;

static void bump(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/*
 * --- Receive: the worker's thread
 * ------------------------------------------------------------------------------
 */

static void kick(struct cap_xsk *xsk)
{
	/* EAGAIN, EBUSY and ENETDOWN all mean "ask again later", and the flag stays up. */
	recvfrom(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static void give_back(struct cap_xsk *xsk, uint32_t n)
{
	uint32_t from = xsk->rx.cached_cons - n, to = 0;
	uint32_t reserved = xsk_ring_prod__reserve(&xsk->fill, n, &to);

	assert(reserved == n);
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&xsk->fill, to + i) =
			xsk_ring_cons__rx_desc(&xsk->rx, from + i)->addr & xsk->chunk_mask;
	xsk_ring_prod__submit(&xsk->fill, n);
	xsk_ring_cons__release(&xsk->rx, n);
}

static uint64_t utc_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Buffers of the frame whose first descriptor is `at`; 0: its end is not among the `avail` descriptors. */
static uint32_t frame_buffers(const struct xsk_ring_cons *rx, uint32_t at, uint32_t avail)
{
	for (uint32_t n = 1; n <= avail; n++)
		if (!(xsk_ring_cons__rx_desc(rx, at + n - 1)->options & XDP_PKT_CONTD))
			return n;
	return 0;
}

/* The frame of one buffer, or the first of more. */
static void fill_frame(struct cap_xsk *xsk, struct cap_batch *batch, struct cap_frame *frame,
		       const struct xdp_desc *desc)
{
	uint8_t *data = xsk->area + desc->addr;
	struct skep_meta *meta = (struct skep_meta *)(data - SKEP_META_BYTES);
	uint32_t len = desc->len;

	*frame = (struct cap_frame){
		.data = data,
		.len = len,
		.cap_len = len,
		.frag_first = (uint16_t)batch->frag_n,
	};
	if (SKEP_LIKELY(meta->magic == SKEP_META_MAGIC)) {
		meta->magic = 0; /* the buffer is reused, perhaps for a frame without metadata */
		cap_meta_apply(batch, frame, meta, xsk->clock);
	} else {
		bump(&xsk->no_meta, 1);
		frame->jobs = ~0ull;
		frame->ts_ns = utc_now_ns();
	}
}

/* Its further buffers; there is room for them. */
static void add_buffers(struct cap_xsk *xsk, struct cap_batch *batch, struct cap_frame *frame, uint32_t at,
			uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&xsk->rx, at + i);

		cap_meta_add_frag(batch, frame, xsk->area + desc->addr, desc->len);
		frame->cap_len += desc->len;
	}
}

static void prefetch(const struct cap_xsk *xsk, uint32_t at)
{
	const uint8_t *next = xsk->area + xsk_ring_cons__rx_desc(&xsk->rx, at)->addr;

	__builtin_prefetch(next - SKEP_META_BYTES, 1);
	__builtin_prefetch(next + SKEP_CACHE_LINE);
}

int cap_xsk_receive(struct cap_xsk *xsk, struct cap_batch *batch)
{
	struct xsk_ring_cons *rx = &xsk->rx;
	uint32_t avail, at = rx->cached_cons, taken = 0, count = 0;

	batch->frag_n = 0;
	if (xsk->busy_poll)
		kick(xsk);
	rx->cached_prod = __atomic_load_n(rx->producer, __ATOMIC_ACQUIRE);
	avail = rx->cached_prod - at;
	while (count < CAP_BATCH && taken < avail) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(rx, at + taken);
		struct cap_frame *frame = &batch->frames[count];
		uint32_t n = 1;

		if (SKEP_UNLIKELY(desc->options & XDP_PKT_CONTD))
			n = frame_buffers(rx, at + taken, avail - taken);
		if (SKEP_UNLIKELY(!n))
			break;
		if (SKEP_UNLIKELY(n - 1 + CAP_META_FRAGS > CAP_BATCH_FRAGS - batch->frag_n)) {
			if (count)
				break;
			bump(&xsk->too_many, 1);
			taken += n;
			continue;
		}
		if (taken + PREFETCH_AHEAD < avail)
			prefetch(xsk, at + taken + PREFETCH_AHEAD);
		fill_frame(xsk, batch, frame, desc);
		if (SKEP_UNLIKELY(n > 1))
			add_buffers(xsk, batch, frame, at + taken, n);
		frame->wire_len = SKEP_MAX(frame->wire_len, frame->cap_len);
		count++;
		taken += n;
	}
	batch->n = count;
	rx->cached_cons += taken;
	xsk->lent = taken;
	bump(&xsk->received, count);
	if (SKEP_UNLIKELY(!count)) {
		if (taken)
			cap_xsk_release(xsk, batch);
		else if (xsk->need_wakeup && xsk_ring_prod__needs_wakeup(&xsk->fill))
			kick(xsk);
	}
	return (int)count;
}

void cap_xsk_release(struct cap_xsk *xsk, struct cap_batch *batch)
{
	give_back(xsk, xsk->lent);
	xsk->lent = 0;
	batch->n = 0;
	batch->frag_n = 0;
	if (xsk->need_wakeup && xsk_ring_prod__needs_wakeup(&xsk->fill))
		kick(xsk);
}

uint32_t cap_xsk_backlog(struct cap_xsk *xsk)
{
	return __atomic_load_n(xsk->rx.producer, __ATOMIC_RELAXED) - xsk->rx.cached_cons;
}

/*
 * --- Open and close: the control thread
 * ------------------------------------------------------------------------
 */

static void unmap_area(struct cap_xsk *xsk)
{
	if (xsk->area)
		munmap(xsk->area, xsk->area_bytes);
	xsk->area = NULL;
}

/* Memory of the node, touched so that the worker never faults; huge pages if there are enough free ones. */
static int map_area(struct cap_xsk *xsk, int numa_node)
{
	uint64_t bytes = skep_align_up((uint64_t)xsk->slots * xsk->chunk, HUGE_BYTES);

	for (int huge = 1; huge >= 0; huge--) {
		void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | (huge ? MAP_HUGETLB : 0), -1, 0);

		if (p == MAP_FAILED)
			continue;
		if (numa_node >= 0 && numa_available() >= 0)
			numa_tonode_memory(p, bytes,
					   numa_node); /* a preference; nothing to do about a refusal */
		if (!huge)
			madvise(p, bytes, MADV_HUGEPAGE);
		/*
		 * Unlike a plain touch this fails in words when the node has no huge page left, not by
		 * SIGBUS.
		 */
		if (madvise(p, bytes, MADV_POPULATE_WRITE) && (huge || errno == ENOMEM)) {
			munmap(p, bytes);
			continue;
		}
		/* a fork would copy the pages that the socket has pinned */
		(void)madvise(p, bytes, MADV_DONTFORK);
		xsk->area = p;
		xsk->area_bytes = bytes;
		return 0;
	}
	return -ENOMEM;
}

static void drop_socket(struct cap_xsk *xsk)
{
	if (xsk->socket)
		xsk_socket__delete(xsk->socket);
	xsk->socket = NULL;
	if (xsk->umem)
		xsk_umem__delete(xsk->umem);
	xsk->umem = NULL;
}

/*
 * One attempt with the given bind flags; starts from nothing, because a socket whose bind failed cannot be
 * reused.
 */
static int try_bind(struct cap_xsk *xsk, const struct cap_xsk_cfg *cfg, uint16_t flags)
{
	struct xsk_umem_config umem_cfg = {
		/*
		 * Twice the buffers there are: the kernel publishes frames in the RX ring before it moves the
		 * fill ring's consumer (xsk_flush), so for a moment what is given back is in there twice.
		 */
		.fill_size = 2 * xsk->slots,
		.comp_size = COMPLETION_SLOTS,
		.frame_size = xsk->chunk,
	};
	struct xsk_socket_config socket_cfg = {
		.rx_size = xsk->slots,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = flags,
	};
	uint32_t at = 0;
	int r;

	/* libxdp sets the rings up on the assumption that they are zero. */
	memset(&xsk->rx, 0, sizeof(xsk->rx));
	memset(&xsk->fill, 0, sizeof(xsk->fill));
	memset(&xsk->completion, 0, sizeof(xsk->completion));
	r = xsk_umem__create(&xsk->umem, xsk->area, (uint64_t)xsk->slots * xsk->chunk, &xsk->fill,
			     &xsk->completion, &umem_cfg);
	if (r)
		return r;
	if (xsk_ring_prod__reserve(&xsk->fill, xsk->slots, &at) != xsk->slots)
		return -EIO;
	for (uint32_t i = 0; i < xsk->slots; i++)
		*xsk_ring_prod__fill_addr(&xsk->fill, at + i) = (uint64_t)i * xsk->chunk;
	xsk_ring_prod__submit(&xsk->fill, xsk->slots);
	r = xsk_socket__create(&xsk->socket, cfg->ifname, cfg->queue, xsk->umem, &xsk->rx, NULL, &socket_cfg);
	if (r) {
		xsk->socket = NULL;
		drop_socket(xsk);
	}
	return r;
}

/* As cap_xsk_held; a second socket of our own on a queue has no chance either. */
static int is_held(uint32_t ifindex, uint32_t queue)
{
	uint32_t own = 0;

	for (const struct cap_xsk *x = ours; x; x = x->next, own++)
		if (x->ifindex == ifindex && x->queue == queue)
			return 1;
	return cap_xsk_held(ifindex, queue, own);
}

static void say_waiting(const struct cap_xsk_cfg *cfg)
{
	char sentence[160];

	if (!cfg->say)
		return;
	(void)snprintf(sentence, sizeof(sentence),
		       "%s queue %u: waits for the kernel to release the AF_XDP socket of a program that has ended",
		       cfg->ifname, cfg->queue);
	cfg->say(cfg->say_arg, sentence);
}

static int bind_patiently(struct cap_xsk *xsk, const struct cap_xsk_cfg *cfg, uint16_t flags)
{
	const uint64_t from_ns = cap_mono_ns();
	bool said = false;

	for (;;) {
		int r = try_bind(xsk, cfg, flags), held;
		uint64_t waited_ns;

		if (r != -EBUSY)
			return r;
		waited_ns = cap_mono_ns() - from_ns;
		held = is_held(if_nametoindex(cfg->ifname), cfg->queue);
		if (waited_ns >= (held > 0 ? BIND_HELD_NS : held < 0 ? BIND_UNKNOWN_NS : BIND_DEAD_NS))
			return r;
		if (held == 0 && waited_ns >= BIND_SAY_NS && !said) {
			say_waiting(cfg);
			said = true;
		}
		nanosleep(&(struct timespec){ .tv_nsec = BIND_PAUSE_NS }, NULL);
	}
}

/* Memory for buffers of this size; kept if it is there already. */
static int use_chunk(struct cap_xsk *xsk, uint32_t chunk, int numa_node)
{
	if (xsk->area && xsk->chunk == chunk)
		return 0;
	unmap_area(xsk);
	xsk->chunk = chunk;
	xsk->chunk_mask = ~(uint64_t)(chunk - 1);
	return map_area(xsk, numa_node);
}

/*
 * Best first: zero copy; copy with multi-buffer frames (which also takes what offloads merged beyond the
 * MTU); plain copy for kernels before 6.6. Multi-buffer zero copy is asked for only if the MTU needs it,
 * because few drivers have it.
 */
static int bind_best(struct cap_xsk *xsk, const struct cap_xsk_cfg *cfg)
{
	uint32_t longest = cfg->mtu + LINK_OVERHEAD;
	uint32_t large = CAP_XSK_CHUNK_LARGE;
	uint32_t copied = longest <= CAP_XSK_CHUNK_SMALL - HEADROOM ? CAP_XSK_CHUNK_SMALL : large;
	bool needs_sg = longest > ZERO_COPY_ROOM;
	uint16_t common = cfg->need_wakeup ? XDP_USE_NEED_WAKEUP : 0;
	const struct {
		uint16_t flags;
		uint32_t chunk;
		bool allowed;
	} ways[] = {
		{ XDP_ZEROCOPY | XDP_USE_SG, large, cfg->zero_copy != CAP_OFF && needs_sg },
		{ XDP_ZEROCOPY, large, cfg->zero_copy != CAP_OFF && !needs_sg },
		{ XDP_COPY | XDP_USE_SG, copied, cfg->zero_copy != CAP_ON },
		{ XDP_COPY, copied, cfg->zero_copy != CAP_ON },
	};
	int r = -EOPNOTSUPP;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		if (!ways[i].allowed)
			continue;
		r = use_chunk(xsk, ways[i].chunk, cfg->numa_node);
		if (!r)
			r = bind_patiently(xsk, cfg, (uint16_t)(common | ways[i].flags));
		if (!r) {
			xsk->zero_copy = ways[i].flags & XDP_ZEROCOPY;
			xsk->multi_buffer = ways[i].flags & XDP_USE_SG;
			return 0;
		}
		if (r == -EBUSY || r == -EPERM || r == -ENODEV || r == -ENETDOWN)
			return r;
	}
	return r;
}

static int explain_bind(const struct cap_xsk_cfg *cfg, int r, struct skep_err *err)
{
	switch (-r) {
	case EBUSY:
		skep_err_set(err, SKEP_E_BUSY, "%s queue %u: another AF_XDP socket holds it", cfg->ifname,
			     cfg->queue);
		skep_err_hint(err, "stop the program that has it (ss --xdp lists them), or leave the queue "
				   "out with --queues");
		return SKEP_E_BUSY;
	case EPERM:
		skep_err_set(err, SKEP_E_PRIVILEGE, "%s: not allowed to open an AF_XDP socket", cfg->ifname);
		skep_err_hint(err,
			      "run as root or with the capabilities CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF");
		return SKEP_E_PRIVILEGE;
	case EINVAL:
	case EOPNOTSUPP:
		if (cfg->zero_copy == CAP_ON) {
			skep_err_set(err, SKEP_E_UNSUPPORTED,
				     "%s queue %u: the driver has no zero copy for this queue and MTU",
				     cfg->ifname, cfg->queue);
			skep_err_hint(err, "use --zero-copy auto, which copies where it must");
			return SKEP_E_UNSUPPORTED;
		}
		return skep_err_set(err, SKEP_E_UNSUPPORTED, "%s queue %u: no AF_XDP socket there (%s)",
				    cfg->ifname, cfg->queue, strerror(-r));
	case ENOMEM:
	case ENOBUFS:
		skep_err_set(err, SKEP_E_NO_SPACE, "%s queue %u: not enough memory for %u packet buffers",
			     cfg->ifname, cfg->queue, cfg->ring_slots);
		skep_err_hint(err, "raise the locked-memory limit (ulimit -l), or capture on fewer queues");
		return SKEP_E_NO_SPACE;
	default:
		return skep_err_set(err, r, "%s queue %u: cannot bind an AF_XDP socket: %s", cfg->ifname,
				    cfg->queue, strerror(-r));
	}
}

/* Failures only cost the option its effect. */
static void prefer_busy_poll(int fd)
{
	int on = 1, usec = BUSY_POLL_USEC, budget = BUSY_POLL_BUDGET;

	setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &usec, sizeof(usec));
	setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof(budget));
}

static void xsk_closep(struct cap_xsk **xsk)
{
	*xsk = cap_xsk_close(*xsk);
}

int cap_xsk_open(const struct cap_xsk_cfg *cfg, const struct cap_meta_clock *clock, struct cap_xsk **ret,
		 struct skep_err *err)
{
	SKEP_CLEANUP(xsk_closep)
	struct cap_xsk *xsk = aligned_alloc(SKEP_CACHE_LINE, skep_align_up(sizeof(*xsk), SKEP_CACHE_LINE));
	int r;

	if (!xsk)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", cfg->ifname);
	memset(xsk, 0, sizeof(*xsk));
	xsk->clock = clock;
	xsk->slots = cfg->ring_slots;
	xsk->need_wakeup = cfg->need_wakeup;
	xsk->busy_poll = cfg->busy_poll;
	r = bind_best(xsk, cfg);
	if (r)
		return explain_bind(cfg, r, err);
	xsk->fd = xsk_socket__fd(xsk->socket);
	if (cfg->busy_poll)
		prefer_busy_poll(xsk->fd);
	xsk->ifindex = if_nametoindex(cfg->ifname);
	xsk->queue = cfg->queue;
	xsk->next = ours;
	ours = xsk;
	*ret = TAKE_PTR(xsk);
	return 0;
}

struct cap_xsk *cap_xsk_close(struct cap_xsk *xsk)
{
	if (!xsk)
		return NULL;
	for (struct cap_xsk **at = &ours; *at; at = &(*at)->next)
		if (*at == xsk) {
			*at = xsk->next;
			break;
		}
	drop_socket(xsk);
	unmap_area(xsk);
	free(xsk);
	return NULL;
}

void cap_xsk_stats(struct cap_xsk *xsk, struct cap_xsk_stats *ret)
{
	struct xdp_statistics s = { 0 };
	socklen_t len = sizeof(s);
	uint64_t too_many = __atomic_load_n(&xsk->too_many, __ATOMIC_RELAXED);
	uint64_t empty = 0;

	if (getsockopt(xsk->fd, SOL_XDP, XDP_STATISTICS, &s, &len))
		memset(&s, 0, sizeof(s));
	if (!xsk->zero_copy) {
		/*
		 * A frame of several buffers that finds too few, but not none, leaves
		 * rx_fill_ring_empty_descs alone.
		 */
		empty = xsk->multi_buffer ? s.rx_dropped : SKEP_MIN(s.rx_dropped, s.rx_fill_ring_empty_descs);
	}
	*ret = (struct cap_xsk_stats){
		.received = __atomic_load_n(&xsk->received, __ATOMIC_RELAXED),
		.rx_ring_full = s.rx_ring_full,
		.fill_ring_empty = empty,
		.oversize = s.rx_dropped - empty + too_many,
		.no_meta = __atomic_load_n(&xsk->no_meta, __ATOMIC_RELAXED),
	};
}

void cap_xsk_poke(struct cap_xsk *xsk)
{
	uint64_t received = __atomic_load_n(&xsk->received, __ATOMIC_RELAXED);
	struct pollfd p = { .fd = xsk->fd, .events = POLLIN };

	if (received == xsk->poked_at)
		poll(&p, 1, 0);
	xsk->poked_at = received;
}

int cap_xsk_fd(const struct cap_xsk *xsk)
{
	return xsk->fd;
}

bool cap_xsk_zero_copy(const struct cap_xsk *xsk)
{
	return xsk->zero_copy;
}

bool cap_xsk_multi_buffer(const struct cap_xsk *xsk)
{
	return xsk->multi_buffer;
}

bool cap_xsk_fits(const struct cap_xsk *xsk, uint32_t mtu)
{
	return mtu + LINK_OVERHEAD <= (xsk->zero_copy ? ZERO_COPY_ROOM : xsk->chunk - HEADROOM);
}
