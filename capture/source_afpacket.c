/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames from an AF_PACKET socket with a TPACKET_V3 ring: a copy of everything that passes a link, in and
 * out, while the host goes on living on it; and what serves links without XDP, and "any" (all links, Linux
 * cooked v2 headers).
 *
 * The kernel fills blocks and hands them over one by one; frames are seen in place, and a block goes back
 * when the batch with its last frame is released. A socket filter decides what the socket sees: nothing
 * before start and after stop, and never the outgoing copy of a loopback frame, which comes in again. What
 * the filter rejects is not counted by the kernel, so offered (tp_packets) = received by the worker + ring
 * full (tp_drops) holds exactly once stop() has returned and the worker has drained. For that, stop() waits
 * until no frame is under way in the kernel (an RCU grace period) and until the block that was being filled
 * is closed by its timer.
 *
 * VLAN tags that the NIC or the kernel took out are put back. Frames that GRO or a local sender merged are
 * shown as the host sees them, up to CAP_SNAPLEN_MAX bytes; wire_len is the true length of the merged frame.
 *
 * Promiscuous mode belongs to the socket: the kernel ends it when the socket is closed, however the process
 * ends.
 */
#include "capture/source.h"

#include "capture/link.h"
#include "capture/meta.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

/*
 * 1 MiB blocks: the largest frame (CAP_SNAPLEN_MAX) fits, and one hand-over per 700 full frames costs
 * nothing. 64 of them are 54 ms at 10 Gbit/s, as long as CAP_POOL_BLOCKS. More than four sockets share 256
 * MiB.
 */
#define BLOCK_BYTES CAP_MIB
#define BLOCKS 64u
#define BLOCKS_ALL 256u
#define BLOCKS_LEAST 16u
/*
 * A block that is not full is handed over after this long: ten wake-ups a second on a quiet link, and far
 * below CAP_FLUSH_NS, so that nothing gets old in the kernel.
 */
#define RETIRE_MS 100u
/* A 64-byte frame takes 160 bytes of a block (header 48, address 20, alignment); a guess at what is in front
 * of us. */
#define SLOT_BYTES 256u
/* Blocks that backlog() looks at: each is a cache miss. */
#define BACKLOG_BLOCKS 8u

#define LINKTYPE_ETHERNET_ 1
#define LINKTYPE_RAW_ 101
#define LINKTYPE_LINUX_SLL2_ 276
#define SLL2_BYTES 20u

/* Linux cooked v2: https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html; network order. */
struct sll2 {
	uint16_t protocol;
	uint16_t reserved;
	uint32_t ifindex;
	uint16_t hatype;
	uint8_t pkttype;
	uint8_t halen;
	uint8_t address[8];
};

_Static_assert(sizeof(struct sll2) == SLL2_BYTES, "cooked header");
_Static_assert(CAP_BATCH_FRAGS >= 2 * CAP_BATCH, "a tag and the rest for each frame");
_Static_assert(BLOCK_BYTES >= 2 * CAP_SNAPLEN_MAX, "the longest frame fits a block");

struct afpacket_source {
	struct cap_source head;
	int fd;
	uint8_t *ring;
	uint32_t n_blocks;
	bool cooked;

	/* worker */
	const struct tpacket3_hdr *cursor; /* next frame of the open block */
	uint32_t left;			   /* frames of the open block that were not received */
	uint32_t done;			   /* blocks from there that are exhausted */
	struct sll2 sll[CAP_BATCH];

	/* worker writes, control reads */
	uint64_t opened;      /* blocks opened since start */
	uint64_t opened_pkts; /* frames in them */
	uint64_t given_back;  /* blocks given back since start; those from here to opened are the worker's */
	uint64_t cut;	      /* frames longer than CAP_SNAPLEN_MAX */

	/* control */
	uint64_t offered, ring_full; /* PACKET_STATISTICS, added up: reading resets it */
};

struct afpacket_tap {
	struct cap_tap head;
	int ifindex; /* 0: any */
	bool cooked;
	bool loopback;
	bool started, stopped;
	int grace_fd; /* an unused packet socket: closing it waits for an RCU grace period */
	struct cap_link_watch *watch;
	uint64_t missed_base; /* the link's drops when we started */
	uint64_t missed;
	bool said_cut, said_down;
};

static struct tpacket_block_desc *block(const struct afpacket_source *s, uint64_t i)
{
	return (struct tpacket_block_desc *)(void *)(s->ring + (i % s->n_blocks) * BLOCK_BYTES);
}

static bool is_ready(const struct tpacket_block_desc *b)
{
	return __atomic_load_n(&b->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* ---- worker ---- */

static bool open_block(struct afpacket_source *s)
{
	const struct tpacket_block_desc *b = block(s, s->opened);

	/* All blocks may be ours: then the next one is the first that we have not given back. */
	if (s->done == s->n_blocks || !is_ready(b))
		return false;
	s->left = b->hdr.bh1.num_pkts;
	s->cursor = (const struct tpacket3_hdr *)(const void *)((const uint8_t *)b +
								b->hdr.bh1.offset_to_first_pkt);
	__atomic_store_n(&s->opened_pkts, s->opened_pkts + s->left, __ATOMIC_RELAXED);
	__atomic_store_n(&s->opened, s->opened + 1, __ATOMIC_RELEASE);
	if (!s->left)
		s->done++;
	return true;
}

static void give_back(struct afpacket_source *s)
{
	for (; s->done; s->done--) {
		__atomic_store_n(&block(s, s->given_back)->hdr.bh1.block_status, TP_STATUS_KERNEL,
				 __ATOMIC_RELEASE);
		__atomic_store_n(&s->given_back, s->given_back + 1, __ATOMIC_RELEASE);
	}
}

/* Puts the cooked header in front; a VLAN tag becomes its protocol plus four bytes. */
static void cook(struct afpacket_source *s, struct cap_batch *batch, struct cap_frame *f,
		 const struct tpacket3_hdr *h, const struct skep_meta *tag)
{
	const struct sockaddr_ll *from = (const void *)((const uint8_t *)h + TPACKET_ALIGN(sizeof(*h)));
	struct sll2 *sll = &s->sll[batch->n];
	uint16_t tci = htons(tag->vlan_tci);

	*sll = (struct sll2){
		.protocol = from->sll_protocol,
		.ifindex = htonl((uint32_t)from->sll_ifindex),
		.hatype = htons(from->sll_hatype),
		.pkttype = from->sll_pkttype,
		.halen = from->sll_halen,
	};
	memcpy(sll->address, from->sll_addr, sizeof(sll->address));
	if (tag->flags & SKEP_META_F_VLAN) {
		memcpy(batch->tags[batch->n], &tci, 2);
		memcpy(batch->tags[batch->n] + 2, &sll->protocol, 2);
		sll->protocol = htons(tag->vlan_tpid);
		cap_meta_add_frag(batch, f, batch->tags[batch->n], 4);
		f->cap_len += 4;
		f->wire_len += 4;
	}
	cap_meta_add_frag(batch, f, f->data, f->len);
	f->data = (const uint8_t *)sll;
	f->len = SLL2_BYTES;
	f->cap_len += SLL2_BYTES;
	f->wire_len += SLL2_BYTES;
}

static void fill(struct afpacket_source *s, struct cap_batch *batch, const struct tpacket3_hdr *h)
{
	struct cap_frame *f = &batch->frames[batch->n];
	struct skep_meta tag = { 0 };

	*f = (struct cap_frame){
		.data = (const uint8_t *)h + h->tp_mac,
		.len = h->tp_snaplen,
		.cap_len = h->tp_snaplen,
		.wire_len = h->tp_len,
		.frag_first = (uint16_t)batch->frag_n,
		.ts_ns = h->tp_sec * SKEP_NSEC_PER_SEC + h->tp_nsec,
		.jobs = ~0ull,
	};
	if (SKEP_UNLIKELY(h->tp_len > CAP_SNAPLEN_MAX))
		__atomic_store_n(&s->cut, s->cut + 1, __ATOMIC_RELAXED);
	if (SKEP_UNLIKELY(h->tp_status & TP_STATUS_VLAN_VALID)) {
		tag.flags = SKEP_META_F_VLAN;
		tag.vlan_tci = (uint16_t)h->hv1.tp_vlan_tci;
		tag.vlan_tpid = h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->hv1.tp_vlan_tpid : ETH_P_8021Q;
	}
	if (s->cooked)
		cook(s, batch, f, h, &tag);
	else if (tag.flags)
		cap_meta_put_tag(batch, f, &tag);
}

static int afpacket_receive(struct cap_source *src, struct cap_batch *batch)
{
	struct afpacket_source *s = (struct afpacket_source *)src;

	batch->n = 0;
	batch->frag_n = 0;
	while (batch->n < CAP_BATCH) {
		const struct tpacket3_hdr *h = s->cursor;

		if (!s->left) {
			if (!open_block(s))
				break;
			continue;
		}
		s->cursor = (const void *)((const uint8_t *)h + h->tp_next_offset);
		__builtin_prefetch(s->cursor);
		fill(s, batch, h);
		batch->n++;
		if (--s->left == 0)
			s->done++;
	}
	if (!batch->n) /* blocks without a frame */
		give_back(s);
	return (int)batch->n;
}

static void afpacket_release(struct cap_source *src, struct cap_batch *batch)
{
	batch->n = 0;
	give_back((struct afpacket_source *)src);
}

/*
 * The kernel wakes us once per block, so a long poll costs less than short sleeps: on a quiet link (5 s,
 * measured) a sleep of 1 ms took 91 ms of CPU, a poll of 1 ms 175 ms, a poll of 50 ms 3 ms. A link that is
 * down leaves an error in the socket, which would end every poll at once: it is taken out.
 */
static void afpacket_wait(struct cap_source *src, uint64_t max_ns)
{
	struct afpacket_source *s = (struct afpacket_source *)src;
	struct timespec t = { .tv_sec = (time_t)(max_ns / SKEP_NSEC_PER_SEC),
			      .tv_nsec = (long)(max_ns % SKEP_NSEC_PER_SEC) };
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	socklen_t len = sizeof(int);
	int e;

	if (s->left || is_ready(block(s, s->opened)))
		return;
	if (ppoll(&p, 1, &t, NULL) > 0 && (p.revents & POLLERR)) {
		(void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &len);
		(void)nanosleep(&t, NULL);
	}
}

static uint32_t afpacket_backlog(struct cap_source *src)
{
	const struct afpacket_source *s = (const struct afpacket_source *)src;
	uint32_t n = s->left, looked = SKEP_MIN(BACKLOG_BLOCKS, s->n_blocks - s->done - (s->left > 0));

	for (uint32_t i = 0; i < looked && is_ready(block(s, s->opened + i)); i++)
		n += block(s, s->opened + i)->hdr.bh1.num_pkts;
	return n;
}

/* ---- control ---- */

static int fail(const struct afpacket_tap *t, int r, const char *what, struct skep_err *err)
{
	if (r == -EPERM || r == -EACCES) {
		(void)skep_err_set(err, SKEP_E_PRIVILEGE, "link %s: %s needs CAP_NET_RAW", t->head.link,
				   what);
		(void)skep_err_hint(err, "run as root, or give the program the capability: setcap "
					 "cap_net_raw,cap_net_admin+ep");
		return SKEP_E_PRIVILEGE;
	}
	return skep_err_set(err, r, "link %s: %s: %s", t->head.link, what, strerror(-r));
}

/* accept false: nothing passes. Else everything up to snaplen, but not what a loopback device sends (it comes
 * in again). */
static int set_filter(const struct afpacket_tap *t, const struct afpacket_source *s, bool accept)
{
	uint32_t snaplen =
		t->head.cfg.snaplen ? SKEP_MIN(t->head.cfg.snaplen, CAP_SNAPLEN_MAX) : CAP_SNAPLEN_MAX;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_HATYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARPHRD_LOOPBACK, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, snaplen),
	};
	struct sock_filter nothing[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog all = { ARRAY_LEN(code), code }, none = { ARRAY_LEN(nothing), nothing };

	return setsockopt(s->fd, SOL_SOCKET, SO_ATTACH_FILTER, accept ? &all : &none, sizeof(all)) < 0
		       ? -errno
		       : 0;
}

static int make_ring(struct afpacket_source *s)
{
	struct tpacket_req3 req = {
		.tp_block_size = BLOCK_BYTES,
		.tp_block_nr = s->n_blocks,
		.tp_frame_size = 2048,
		.tp_frame_nr = s->n_blocks * (BLOCK_BYTES / 2048),
		.tp_retire_blk_tov = RETIRE_MS,
	};
	size_t bytes = (size_t)s->n_blocks * BLOCK_BYTES;
	void *ring;

	if (setsockopt(s->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0)
		return -errno;
	/* MAP_POPULATE: no page fault on the worker's path; the kernel's own writes need no mapping. */
	ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, s->fd, 0);
	if (ring == MAP_FAILED)
		return -errno;
	s->ring = ring;
	return 0;
}

/* The first socket asks for a group number that is nobody else's; the others join it. Bound sockets only. */
static int join_fanout(const struct afpacket_source *s, bool first, uint32_t *group)
{
	uint32_t arg = PACKET_FANOUT_HASH << 16;
	socklen_t len = sizeof(*group);

	arg |= first ? (uint32_t)PACKET_FANOUT_FLAG_UNIQUEID << 16 : *group & 0xffff;
	if (setsockopt(s->fd, SOL_PACKET, PACKET_FANOUT, &arg, sizeof(arg)) < 0)
		return -errno;
	if (first && getsockopt(s->fd, SOL_PACKET, PACKET_FANOUT, group, &len) < 0)
		return -errno;
	return 0;
}

static int open_source(struct afpacket_tap *t, struct afpacket_source *s, uint32_t *group,
		       struct skep_err *err)
{
	static const int version = TPACKET_V3;
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = t->ifindex };
	int r;

	/* Protocol 0: the socket is deaf until it is bound, and then its filter is there already. */
	s->fd = socket(AF_PACKET, (t->cooked ? SOCK_DGRAM : SOCK_RAW) | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return fail(t, -errno, "opening a packet socket", err);
	if (setsockopt(s->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0)
		return fail(t, -errno, "TPACKET_V3", err);
	r = make_ring(s);
	if (r < 0) {
		(void)fail(t, r, "making the packet ring", err);
		(void)skep_err_hint(err, "the ring takes %u MiB of memory", s->n_blocks);
		return err ? err->code : r;
	}
	r = set_filter(t, s, false);
	if (r < 0)
		return fail(t, r, "attaching a socket filter", err);
	if (bind(s->fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return fail(t, -errno, "binding the packet socket", err);
	if (t->head.n_sources > 1) {
		r = join_fanout(s, s->head.queue == 0, group);
		if (r < 0)
			return fail(t, r, "joining the fanout group", err);
	}
	return 0;
}

static struct cap_tap *afpacket_close(struct cap_tap *tap)
{
	struct afpacket_tap *t = (struct afpacket_tap *)tap;

	if (!t)
		return NULL;
	for (uint32_t i = 0; i < t->head.n_sources && t->head.sources; i++) {
		struct afpacket_source *s = (struct afpacket_source *)t->head.sources[i];

		if (!s)
			continue;
		if (s->ring)
			(void)munmap(s->ring, (size_t)s->n_blocks * BLOCK_BYTES);
		skep_closep(&s->fd);
		free(s);
	}
	free(t->head.sources);
	skep_closep(&t->grace_fd);
	(void)cap_link_watch_free(t->watch);
	free(t);
	return NULL;
}

static void say(const struct afpacket_tap *t, const char *sentence)
{
	if (t->head.cfg.say)
		t->head.cfg.say(t->head.cfg.say_arg, sentence);
}

/* What the link is, and so which bytes a frame starts with. */
static int describe(struct afpacket_tap *t, struct skep_err *err)
{
	struct cap_link_info info = { .numa_node = -1 };
	char sentence[200];
	int r;

	t->head.tags_kept = true;
	t->cooked = strcmp(t->head.link, "any") == 0;
	t->head.numa_node = -1;
	t->head.linktype = LINKTYPE_LINUX_SLL2_;
	if (t->cooked)
		return 0;
	r = cap_link_query(t->head.link, &info, err);
	if (r)
		return r;
	t->ifindex = info.ifindex;
	t->loopback = info.loopback;
	t->head.numa_node = info.numa_node;
	memcpy(t->head.driver, info.driver, sizeof(t->head.driver));
	if (info.ethernet)
		t->head.linktype = LINKTYPE_ETHERNET_;
	else if (info.hw_type == ARPHRD_NONE || info.hw_type == ARPHRD_RAWIP || info.hw_type == ARPHRD_SIT ||
		 info.hw_type == ARPHRD_TUNNEL || info.hw_type == ARPHRD_TUNNEL6)
		t->head.linktype = LINKTYPE_RAW_;
	else
		t->cooked = true;
	if (info.gro == CAP_YES || info.hw_gro == CAP_YES || info.lro == CAP_YES) {
		(void)snprintf(sentence, sizeof(sentence),
			       "link %s: the kernel merges TCP segments before a packet socket sees "
			       "them (GRO or LRO is on): frames may be longer than on the wire",
			       t->head.link);
		say(t, sentence);
	}
	return cap_link_watch_open(t->ifindex, &t->watch, err);
}

static int open_sources(struct afpacket_tap *t, struct skep_err *err)
{
	uint32_t n = t->head.n_sources, blocks = SKEP_MAX(SKEP_MIN(BLOCKS, BLOCKS_ALL / n), BLOCKS_LEAST),
		 group = 0;
	int r;

	t->head.sources = calloc(n, sizeof(struct cap_source *));
	if (!t->head.sources)
		return skep_err_set(err, -ENOMEM, "link %s: out of memory", t->head.link);
	for (uint32_t i = 0; i < n; i++) {
		struct afpacket_source *s =
			aligned_alloc(SKEP_CACHE_LINE, skep_align_up(sizeof(*s), SKEP_CACHE_LINE));

		if (!s)
			return skep_err_set(err, -ENOMEM, "link %s: out of memory", t->head.link);
		memset(s, 0, sizeof(*s));
		s->head = (struct cap_source){
			.ops = &cap_source_afpacket,
			.tap = &t->head,
			.queue = i,
			.ring_slots = blocks * (BLOCK_BYTES / SLOT_BYTES),
			.backlog = afpacket_backlog,
		};
		s->fd = -1;
		s->n_blocks = blocks;
		s->cooked = t->cooked;
		t->head.sources[i] = &s->head;
		r = open_source(t, s, &group, err);
		if (r)
			return r;
	}
	(void)snprintf(t->head.how, sizeof(t->head.how), "afpacket, TPACKET_V3, %u %s of %u MiB%s", n,
		       n > 1 ? "rings" : "ring", blocks, n > 1 ? ", fanout by flow hash" : "");
	return 0;
}

static int afpacket_open(const struct cap_source_cfg *cfg, struct cap_tap **ret_tap, struct skep_err *err)
{
	struct afpacket_tap *t;
	int r;

	if (cfg->timestamps == CAP_TS_HW) {
		(void)skep_err_set(err, SKEP_E_UNSUPPORTED,
				   "link %s: a packet socket gives the kernel's time stamps, not the NIC's",
				   cfg->link);
		(void)skep_err_hint(err, "use --timestamps kernel, or --source xdp on a link whose driver "
					 "has time stamps for XDP");
		return SKEP_E_UNSUPPORTED;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return skep_err_set(err, -ENOMEM, "link %s: out of memory", cfg->link);
	t->head.ops = &cap_source_afpacket;
	t->head.cfg = *cfg;
	t->head.n_sources = cfg->n_queues ? cfg->n_queues : 1;
	(void)snprintf(t->head.link, sizeof(t->head.link), "%s", cfg->link);
	t->grace_fd = -1;
	r = describe(t, err);
	if (r == 0) {
		t->grace_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
		r = t->grace_fd < 0 ? fail(t, -errno, "opening a packet socket", err) : open_sources(t, err);
	}
	if (r) {
		(void)afpacket_close(&t->head);
		return r;
	}
	*ret_tap = &t->head;
	return 0;
}

static int afpacket_start(struct cap_tap *tap, struct skep_err *err)
{
	struct afpacket_tap *t = (struct afpacket_tap *)tap;
	struct packet_mreq promisc = { .mr_ifindex = t->ifindex, .mr_type = PACKET_MR_PROMISC };
	struct cap_link_state now;

	if (t->watch && cap_link_watch_look(t->watch, &now) == 0)
		t->missed_base = now.drops.missed;
	/* One member is enough, and the membership ends with its socket. "any" is never promiscuous, as in
	 * tcpdump. */
	if (t->head.cfg.promisc && t->ifindex && !t->loopback &&
	    setsockopt(((struct afpacket_source *)t->head.sources[0])->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP,
		       &promisc, sizeof(promisc)) < 0)
		return fail(t, -errno, "promiscuous mode", err);
	for (uint32_t i = 0; i < t->head.n_sources; i++) {
		int r = set_filter(t, (struct afpacket_source *)t->head.sources[i], true);

		if (r < 0)
			return fail(t, r, "attaching a socket filter", err);
	}
	t->started = true;
	return 0;
}

static void read_statistics(struct afpacket_source *s)
{
	struct tpacket_stats_v3 st = { 0 };
	socklen_t len = sizeof(st);

	if (getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len) < 0)
		return;
	s->offered += st.tp_packets; /* includes tp_drops */
	s->ring_full += st.tp_drops;
}

/* Frames that the worker has opened or can open now: everything that was accepted, once the last block is
 * closed. */
static uint64_t visible_pkts(const struct afpacket_source *s)
{
	for (;;) {
		/* In this order: what is given back meanwhile makes the sum too small, never too large. */
		uint64_t given_back = __atomic_load_n(&s->given_back, __ATOMIC_ACQUIRE);
		uint64_t opened = __atomic_load_n(&s->opened, __ATOMIC_ACQUIRE),
			 end = given_back + s->n_blocks;
		uint64_t sum = __atomic_load_n(&s->opened_pkts, __ATOMIC_RELAXED);

		for (uint64_t i = opened; i < end && is_ready(block(s, i)); i++)
			sum += block(s, i)->hdr.bh1.num_pkts;
		if (__atomic_load_n(&s->opened, __ATOMIC_ACQUIRE) == opened)
			return sum;
	}
}

static void afpacket_stop(struct cap_tap *tap)
{
	static const struct timespec pause = { .tv_nsec = 5 * SKEP_NSEC_PER_MSEC };
	struct afpacket_tap *t = (struct afpacket_tap *)tap;

	if (t->stopped)
		return;
	t->stopped = true;
	for (uint32_t i = 0; i < t->head.n_sources; i++)
		(void)set_filter(t, (struct afpacket_source *)t->head.sources[i], false);
	skep_closep(
		&t->grace_fd); /* packet_release() waits for every frame that is under way in the kernel */
	for (uint32_t i = 0; i < t->head.n_sources; i++) {
		struct afpacket_source *s = (struct afpacket_source *)t->head.sources[i];

		/* The timer closes a block within two periods; twice that is only waited if the kernel is
		 * late. */
		for (uint32_t waited = 0; waited < 4 * RETIRE_MS; waited += 5) {
			read_statistics(s);
			if (visible_pkts(s) >= s->offered - s->ring_full)
				break;
			(void)nanosleep(&pause, NULL);
		}
	}
}

static void afpacket_account(struct cap_tap *tap, struct cap_kernel_account *ret)
{
	struct afpacket_tap *t = (struct afpacket_tap *)tap;
	struct cap_link_state now;

	*ret = (struct cap_kernel_account){ 0 };
	for (uint32_t i = 0; i < t->head.n_sources; i++) {
		struct afpacket_source *s = (struct afpacket_source *)t->head.sources[i];

		read_statistics(s);
		ret->offered += s->offered;
		ret->afpacket_ring_full += s->ring_full;
	}
	if (t->started && t->watch && cap_link_watch_look(t->watch, &now) == 0 &&
	    now.drops.missed >= t->missed_base)
		t->missed = now.drops.missed - t->missed_base;
	ret->nic_missed = t->missed;
}

static void check_cut(struct afpacket_tap *t)
{
	char sentence[160];

	for (uint32_t i = 0; i < t->head.n_sources && !t->said_cut; i++) {
		const struct afpacket_source *s = (const struct afpacket_source *)t->head.sources[i];

		if (!__atomic_load_n(&s->cut, __ATOMIC_RELAXED))
			continue;
		t->said_cut = true;
		(void)snprintf(sentence, sizeof(sentence),
			       "link %s: frames longer than %u bytes (merged by the kernel) are cut there",
			       t->head.link, CAP_SNAPLEN_MAX);
		say(t, sentence);
	}
}

/* A packet socket survives down and up by itself; only a link that is gone ends it. */
static int afpacket_check(struct cap_tap *tap, struct skep_err *err)
{
	struct afpacket_tap *t = (struct afpacket_tap *)tap;
	struct cap_link_state now;
	char sentence[160];
	int r;

	check_cut(t);
	if (!t->watch)
		return 0;
	r = cap_link_watch_look(t->watch, &now);
	if (r == -ENODEV)
		return skep_err_set(err, -ENODEV, "link %s: the interface was deleted", t->head.link);
	if (r < 0 || now.up == !t->said_down)
		return 0;
	t->said_down = !now.up;
	(void)snprintf(sentence, sizeof(sentence), "link %s: %s", t->head.link,
		       now.up ? "the interface is up again"
			      : "the interface was switched off; waiting for it");
	say(t, sentence);
	return 0;
}

const struct cap_source_ops cap_source_afpacket = {
	.name = "afpacket",
	.open = afpacket_open,
	.start = afpacket_start,
	.stop = afpacket_stop,
	.account = afpacket_account,
	.check = afpacket_check,
	.close = afpacket_close,
	.receive = afpacket_receive,
	.release = afpacket_release,
	.wait = afpacket_wait,
};
