/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The packet path over queues and jobs, for an instruction counter: as many workers as queues, each with the
 * AF_XDP source's own code on rings in its own memory, and a channel for each job on each of them, written to
 * /dev/null. Every packet is wanted by all jobs, or by one of them in turns. As pathcost.c, which counts one
 * job on one queue in more detail, it is no test: bench/harness/scale.py runs it and reads callgrind's count.
 * What was counted is compared with the accounts of the jobs: a packet that was dropped has cost too little.
 *
 * The AF_XDP source is included rather than linked, because its rings are its own business.
 */
#include "capture/xsk.c"

#include "capture/capwrite.h"
#include "capture/keeper.h"
#include "capture/worker.h"

#include <stdlib.h>

#define SLOTS CAP_XSK_RING
#define EPOCH_NS UINT64_C(1700000000000000000)
#define MAX_QUEUES 16u
#define MAX_BYTES 1514u
/* Bytes of records that a turn is given: as much as it packs, so that nothing is dropped. */
#define TURN_BYTES CAP_ZBLOCK_MAX

struct queue {
	struct cap_source head;
	struct cap_xsk xsk;
	uint32_t rx_prod, rx_cons, fill_prod, fill_cons, no_flags;
	struct xdp_desc rx_descs[SLOTS];
	uint64_t fill_addrs[2 * SLOTS];
	uint64_t next;
	uint32_t given_in_turn;
	struct cap_worker worker;
	struct cap_worker_source source;
	struct cap_channel *channels;
	struct cap_keeper_lane *lanes;
};

static struct {
	uint32_t queues, jobs, bytes;
	uint64_t packets; /* of each queue */
	bool one;         /* each packet is one job's */
} cfg;
static struct queue queues[MAX_QUEUES];
static struct cap_job jobs[CAP_MAX_JOBS];
static struct cap_output output;
static struct cap_keeper keeper;
static struct cap_tap tap;
static struct cap_meta_clock clock_of_xsk;
static uint8_t pattern[MAX_BYTES];

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "pathscale: %s\n", what);
	exit(1);
}

/* What the kernel sets up at bind, in our own memory. */
static void make_rings(struct queue *q)
{
	struct cap_xsk *xsk = &q->xsk;

	xsk->chunk = CAP_XSK_CHUNK_SMALL;
	xsk->chunk_mask = ~(uint64_t)(xsk->chunk - 1);
	xsk->slots = SLOTS;
	xsk->clock = &clock_of_xsk;
	xsk->fd = -1;
	must(map_area(xsk, -1) == 0, "no memory for the rings");
	xsk->rx = (struct xsk_ring_cons){ .mask = SLOTS - 1, .size = SLOTS, .ring = q->rx_descs };
	xsk->rx.producer = &q->rx_prod;
	xsk->rx.consumer = &q->rx_cons;
	xsk->rx.flags = &q->no_flags;
	xsk->fill = (struct xsk_ring_prod){ .mask = 2 * SLOTS - 1, .size = 2 * SLOTS, .ring = q->fill_addrs };
	xsk->fill.producer = &q->fill_prod;
	xsk->fill.consumer = &q->fill_cons;
	xsk->fill.flags = &q->no_flags;
	xsk->fill.cached_cons = 2 * SLOTS;
	for (uint32_t i = 0; i < SLOTS; i++)
		q->fill_addrs[i] = (uint64_t)i * xsk->chunk;
	q->fill_prod = xsk->fill.cached_prod = SLOTS;
}

/* What the kernel does for a frame: takes a buffer, writes frame and metadata, publishes it. */
static void deliver(struct queue *q, uint64_t number)
{
	const uint64_t addr = q->fill_addrs[q->fill_cons++ & (2 * SLOTS - 1)] + HEADROOM;
	const uint64_t all = cfg.jobs == CAP_MAX_JOBS ? UINT64_MAX : (UINT64_C(1) << cfg.jobs) - 1;
	struct skep_meta meta = { .jobs = cfg.one ? UINT64_C(1) << number % cfg.jobs : all,
				  .ts_ns = EPOCH_NS + number * 1000,
				  .magic = SKEP_META_MAGIC,
				  .wire_len = cfg.bytes };

	memcpy(q->xsk.area + addr, pattern, cfg.bytes);
	memcpy(q->xsk.area + addr - sizeof(meta), &meta, sizeof(meta));
	q->rx_descs[q->rx_prod & (SLOTS - 1)] = (struct xdp_desc){ .addr = addr, .len = cfg.bytes };
	__atomic_store_n(&q->rx_prod, q->rx_prod + 1, __ATOMIC_RELEASE);
}

static int receive(struct cap_source *head, struct cap_batch *batch)
{
	struct queue *q = (struct queue *)head;
	const uint32_t a_batch = CAP_BATCH * (cfg.bytes + 16) * (cfg.one ? 1 : cfg.jobs);

	batch->n = batch->frag_n = 0;
	if (q->next == cfg.packets)
		return -ENODATA;
	if (q->given_in_turn && q->given_in_turn + a_batch > TURN_BYTES) {
		q->given_in_turn = 0;
		return 0;
	}
	q->given_in_turn += a_batch;
	for (uint32_t i = 0; i < CAP_BATCH && q->next < cfg.packets; i++)
		deliver(q, q->next++);
	return cap_xsk_receive(&q->xsk, batch);
}

static void release(struct cap_source *head, struct cap_batch *batch)
{
	cap_xsk_release(&((struct queue *)head)->xsk, batch);
}

static const struct cap_source_ops ops = { .name = "xdp", .receive = receive, .release = release };

static void say(void *arg, const char *sentence)
{
	(void)arg;
	(void)fprintf(stderr, "pathscale: %s\n", sentence);
}

static void make_jobs(void)
{
	for (uint32_t j = 0; j < cfg.jobs; j++) {
		cap_job_init(&jobs[j]);
		jobs[j].slot = j;
		jobs[j].snaplen = CAP_SNAPLEN_MAX;
	}
	output.compressed = true;
	must(cap_output_open(&output, "/dev/null", NULL) == 0, "/dev/null cannot be opened");
	keeper = (struct cap_keeper){ .io = &cap_io_kernel, .say = say };
	must(cap_keeper_init(&keeper, NULL) == 0, "no keeper");
}

static void make_channel(struct queue *q, uint32_t queue, uint32_t j)
{
	struct cap_keeper_lane *kl = &q->lanes[j];
	struct cap_lane *lane = &q->channels[j].lane;

	kl->output = &output;
	kl->job = &jobs[j];
	kl->tap = &tap;
	kl->template = (struct cap_sidecar)CAP_SIDECAR_NULL;
	kl->template.link = "scale";
	kl->template.format = "pcap";
	kl->template.compression = "zstd";
	(void)snprintf(kl->link, sizeof(kl->link), "scale");
	kl->queue = queue;
	kl->header_bytes = CAP_CAPWRITE_PCAP_HEADER_BYTES;
	cap_capwrite_pcap_header(kl->header, CAP_SNAPLEN_MAX, 1);
	lane->job = &jobs[j];
	lane->files = &kl->files;
	lane->compressed = true;
	lane->header_raw_bytes = lane->segment_raw_bytes = kl->header_bytes;
	cap_level_init(&lane->level, false, CAP_LEVEL_STORE);
	must(cap_channel_init(&q->channels[j], &q->worker, NULL) == 0, "no memory for a channel");
	must(cap_keeper_open(&keeper, kl, NULL) == 0, "no segment");
}

static void make_queue(uint32_t i)
{
	struct queue *q = &queues[i];
	struct cap_worker *w = &q->worker;

	make_rings(q);
	q->head = (struct cap_source){ .ops = &ops, .tap = &tap, .queue = i };
	q->source = (struct cap_worker_source){ .src = &q->head };
	(void)snprintf(w->name, sizeof(w->name), "worker-%u", i % MAX_QUEUES);
	w->cpu = -1;
	w->numa_node = -1;
	/* every job can fill one block while one is packed, one packed into and one written */
	w->pool_blocks = CAP_POOL_BLOCKS + CAP_POOL_SHARE * cfg.jobs;
	w->io = &cap_io_kernel;
	w->sources = &q->source;
	w->n_sources = 1;
	w->sleep_max_ns = CAP_SLEEP_MAX_NS;
	must(cap_worker_init(w, NULL) == 0, "no memory for a worker");
	q->channels = calloc(cfg.jobs, sizeof(*q->channels));
	q->lanes = calloc(cfg.jobs, sizeof(*q->lanes));
	must(q->channels && q->lanes, "no memory");
	for (uint32_t j = 0; j < cfg.jobs; j++)
		make_channel(q, i, j);
}

static void run(void)
{
	must(cap_keeper_start(&keeper, NULL) == 0, "the keeper does not start");
	for (uint32_t i = 0; i < cfg.queues; i++) {
		for (uint32_t j = 0; j < cfg.jobs; j++)
			must(cap_worker_add(&queues[i].worker, &queues[i].channels[j], NULL) == 0, "no packer");
		must(cap_worker_start(&queues[i].worker, NULL) == 0, "a worker does not start");
	}
	for (uint32_t i = 0; i < cfg.queues; i++)
		cap_worker_join(&queues[i].worker);
	cap_keeper_stop(&keeper);
}

static void clean(void)
{
	for (uint32_t i = 0; i < cfg.queues; i++) {
		struct queue *q = &queues[i];

		for (uint32_t j = 0; j < cfg.jobs; j++)
			cap_channel_fini(&q->channels[j]);
		cap_worker_fini(&q->worker);
		unmap_area(&q->xsk);
		free(q->channels);
		free(q->lanes);
	}
	cap_keeper_fini(&keeper);
	cap_output_close(&output);
}

/* Packets that the jobs stored, all together. */
static uint64_t stored(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < cfg.queues; i++)
		for (uint32_t j = 0; j < cfg.jobs; j++) {
			struct cap_account a;

			cap_account_read(&queues[i].channels[j].slot, &a);
			sum += a.stored;
		}
	return sum;
}

int main(int argc, char **argv)
{
	uint64_t packets, expected, found;

	if (argc == 6) {
		cfg.queues = (uint32_t)strtoul(argv[1], NULL, 10);
		cfg.jobs = (uint32_t)strtoul(argv[2], NULL, 10);
		cfg.bytes = (uint32_t)strtoul(argv[3], NULL, 10);
		cfg.one = strcmp(argv[4], "one") == 0;
		cfg.packets = strtoull(argv[5], NULL, 10);
	}
	if (argc != 6 || cfg.queues < 1 || cfg.queues > MAX_QUEUES || cfg.jobs < 1 ||
	    cfg.jobs > CAP_MAX_JOBS || cfg.bytes < 60 || cfg.bytes > MAX_BYTES || (!cfg.one && strcmp(argv[4], "all") != 0) || !cfg.packets) {
		(void)fprintf(stderr, "usage: pathscale QUEUES(1-16) JOBS(1-64) BYTES(60-1514) one|all PACKETS-OF-A-QUEUE\n");
		return 2;
	}
	for (uint32_t i = 0; i < MAX_BYTES; i++)
		pattern[i] = (uint8_t)(i * 131 + 7);
	make_jobs();
	for (uint32_t i = 0; i < cfg.queues; i++)
		make_queue(i);
	run();
	packets = cfg.packets * cfg.queues;
	expected = packets * (cfg.one ? 1 : cfg.jobs);
	found = stored();
	(void)printf("{\"packets\":%llu,\"stored\":%llu}\n", (unsigned long long)packets, (unsigned long long)found);
	clean();
	must(found == expected, "packets were dropped");
	return 0;
}
