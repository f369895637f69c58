/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The packet path for an instruction counter: frames go through the AF_XDP source's own code, one worker, its
 * packer and its sink, on the bench of pathrig.h. No kernel puts them into the rings, so that it also runs
 * where BPF and AF_XDP do not, under valgrind; and it is not skep-capture, whose system call filter knows
 * nothing of valgrind. Not a test: bench/harness/callgrind.py runs it and reads what callgrind says.
 *
 * The AF_XDP source is included rather than linked, because its rings are its own business.
 */
#include "capture/xsk.c"

#include "pathrig.h"
#include "tool.h"

#define SLOTS CAP_XSK_RING
#define META_TS_BASE RIG_EPOCH_NS

static struct cap_xsk xsk;
static struct cap_meta_clock clock_of_xsk;
static uint32_t rx_prod, rx_cons, fill_prod, fill_cons, no_flags;
static struct xdp_desc rx_descs[SLOTS];
static uint64_t fill_addrs[2 * SLOTS];
static uint32_t given_in_turn; /* bytes of records */

/* What the kernel sets up at bind, in our own memory. */
static void make_rings(void)
{
	xsk.chunk = CAP_XSK_CHUNK_SMALL;
	xsk.chunk_mask = ~(uint64_t)(xsk.chunk - 1);
	xsk.slots = SLOTS;
	xsk.clock = &clock_of_xsk;
	xsk.fd = -1;
	assert_int_equal(map_area(&xsk, -1), 0);
	xsk.rx = (struct xsk_ring_cons){ .mask = SLOTS - 1, .size = SLOTS, .producer = &rx_prod,
					 .consumer = &rx_cons, .ring = rx_descs, .flags = &no_flags };
	xsk.fill = (struct xsk_ring_prod){ .mask = 2 * SLOTS - 1, .size = 2 * SLOTS, .producer = &fill_prod,
					   .consumer = &fill_cons, .ring = fill_addrs, .flags = &no_flags,
					   .cached_cons = 2 * SLOTS };
	for (uint32_t i = 0; i < SLOTS; i++)
		fill_addrs[i] = (uint64_t)i * xsk.chunk;
	fill_prod = xsk.fill.cached_prod = SLOTS;
}

/* What the kernel does for a frame: takes a buffer, writes frame and metadata, publishes it. */
static void deliver(struct rig *rig, uint64_t number)
{
	const uint64_t addr = fill_addrs[fill_cons++ & (2 * SLOTS - 1)] + HEADROOM;
	const uint32_t len = rig_frame(rig, 0, number, xsk.area + addr);
	struct skep_meta meta = { .jobs = rig_wanted(rig, number) ? UINT64_MAX : 0,
				  .ts_ns = META_TS_BASE + number * rig->cfg.ts_step_ns,
				  .magic = SKEP_META_MAGIC,
				  .wire_len = len };

	memcpy(xsk.area + addr - sizeof(meta), &meta, sizeof(meta));
	rx_descs[rx_prod & (SLOTS - 1)] = (struct xdp_desc){ .addr = addr, .len = len };
	__atomic_store_n(&rx_prod, rx_prod + 1, __ATOMIC_RELEASE);
}

static int receive(struct cap_source *head, struct cap_batch *batch)
{
	struct rig_source *src = (struct rig_source *)head;

	batch->n = batch->frag_n = 0;
	if (src->next == src->rig->cfg.n_pkts || atomic_load(&src->stop))
		return -ENODATA;
	/* As much in a turn as a turn packs (CAP_ZBLOCK_MAX), so that nothing is dropped. */
	if (given_in_turn + CAP_BATCH * (src->rig->cfg.size_max + 16) > CAP_ZBLOCK_MAX && given_in_turn) {
		given_in_turn = 0;
		return 0;
	}
	given_in_turn += CAP_BATCH * (src->rig->cfg.size_max + 16);
	for (uint32_t i = 0; i < CAP_BATCH && src->next < src->rig->cfg.n_pkts; i++)
		deliver(src->rig, src->next++);
	atomic_store(&src->given, src->next);
	return cap_xsk_receive(&xsk, batch);
}

static void release(struct cap_source *head, struct cap_batch *batch)
{
	(void)head;
	cap_xsk_release(&xsk, batch);
}

static const struct cap_source_ops xsk_ops = { .name = "xdp", .receive = receive, .release = release };

int main(int argc, char **argv)
{
	struct rig_cfg cfg = { .ops = &xsk_ops, .lossy = true, .base = "/dev/shm",
			       .pool_blocks = CAP_POOL_BLOCKS, .stuck_ms = 60000 };
	struct cap_account a;
	struct rig_read r;
	struct rig *rig;

	if (argc != 5) {
		(void)fprintf(stderr, "usage: pathcost BYTES random|text auto|store|LEVEL FRAMES\n");
		return 2;
	}
	cfg.size_min = cfg.size_max = (uint32_t)strtoul(argv[1], NULL, 10);
	cfg.payload = strcmp(argv[2], "text") == 0 ? RIG_TEXT : RIG_RANDOM;
	cfg.fixed_level = strcmp(argv[3], "auto") != 0;
	if (cfg.fixed_level)
		cfg.level = strcmp(argv[3], "store") == 0 ? CAP_LEVEL_STORE : (int)strtol(argv[3], NULL, 10);
	cfg.n_pkts = strtoull(argv[4], NULL, 10);
	if (cfg.size_min < 14 || cfg.size_min > 1514 || cfg.n_pkts == 0) {
		(void)fprintf(stderr, "pathcost: 14 to 1514 bytes, and a frame at least\n");
		return 2;
	}
	make_rings();
	rig = rig_new(&cfg, NULL);
	rig_run(rig);
	rig_verify(rig, &a, &r); /* what is counted has also done its work */
	(void)printf("{\"stored\":%llu,\"bytes_raw\":%llu,\"bytes_disk\":%llu}\n", (unsigned long long)a.stored,
		     (unsigned long long)a.bytes_raw, (unsigned long long)a.bytes_disk);
	rig_free(rig);
	if (a.stored != cfg.n_pkts)
		(void)fprintf(stderr, "pathcost: packets were dropped; give fewer\n");
	return a.stored == cfg.n_pkts ? 0 : 1;
}
