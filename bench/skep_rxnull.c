/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-rxnull: receives and forgets. Two limits for the benchmark: XDP_DROP (what the link and the kernel can
 * deliver at all), and AF_XDP receive alone (copy or zero copy: descriptors are taken and given back, no byte
 * is looked at). With --sleep 0, the default, it spins, which is the fastest that one core can do. One queue,
 * one thread; leaves the interface as it was (the programs hang on a link that ends with the process).
 */
#include "bench/args.h"
#include "bpf/abi/skep_abi.h"
#include "bpf/rxnull.skel.h"
#include "common/opts.h"

#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <xdp/xsk.h>

#define RING 16384u
#define CHUNK 2048u
#define BATCH 64u
/* a closed socket is torn down later; the next one on that queue waits for it */
#define BIND_TRIES 50u

enum mode { MODE_DROP, MODE_AFXDP };

struct null_options {
	const char *link;
	int mode;
	uint32_t queue;
	uint64_t duration_ns;
	uint64_t sleep_ns;
};

struct receiver {
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	struct xsk_ring_prod fill;
	struct xsk_ring_cons completion; /* libxdp wants one; unused */
	struct xsk_ring_cons rx;
	void *area;
	uint64_t received;
};

static const char *const modes[] = { "drop", "afxdp", NULL };

static const struct skep_opt table[] = {
	BENCH_ARGS_INTERFACE(struct null_options, "receive there"),
	{ .name = "mode",
	  .type = SKEP_OPT_CHOICE,
	  .arg = "MODE",
	  .choices = modes,
	  .fallback = "drop",
	  .offset = offsetof(struct null_options, mode) },
	{ .name = "queue",
	  .type = SKEP_OPT_UINT32,
	  .arg = "N",
	  .max = SKEP_MAX_QUEUES - 1,
	  .fallback = "0",
	  .offset = offsetof(struct null_options, queue),
	  .help = "of AF_XDP" },
	{ .name = "sleep",
	  .type = SKEP_OPT_DURATION,
	  .arg = "TIME",
	  .fallback = "0, spin",
	  .offset = offsetof(struct null_options, sleep_ns),
	  .help = "pause when there is nothing" },
	{ .name = "duration",
	  .letter = 'd',
	  .type = SKEP_OPT_DURATION,
	  .arg = "TIME",
	  .fallback = "until a signal",
	  .offset = offsetof(struct null_options, duration_ns) },
	BENCH_ARGS_HELP,
};

static const struct skep_opts opts = {
	.program = "skep-rxnull",
	.usage = (const char *const[]){ "-i IF [OPTION...]", NULL },
	.about = "Receives frames and forgets them: the limits that a capture is compared with.",
	.table = table,
	.n = ARRAY_LEN(table),
};

static int receiver_bind(struct receiver *rx, const struct null_options *o)
{
	struct xsk_socket_config cfg = { .rx_size = RING,
					 .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD };
	struct timespec pause = { .tv_nsec = 20 * SKEP_NSEC_PER_MSEC };
	unsigned int i;
	int r = -EBUSY;

	for (i = 0; i < BIND_TRIES && r == -EBUSY && !bench_args_stop; i++) {
		r = xsk_socket__create(&rx->socket, o->link, o->queue, rx->umem, &rx->rx, NULL, &cfg);
		if (r == -EBUSY)
			(void)nanosleep(&pause, NULL);
	}
	return r;
}

static int receiver_open(struct receiver *rx, const struct null_options *o, int map_fd, struct skep_err *err)
{
	struct xsk_umem_config cfg = { .fill_size = RING * 2, .comp_size = 64, .frame_size = CHUNK };
	size_t bytes = (size_t)RING * 2 * CHUNK;
	uint32_t i, at = 0;
	int r;

	rx->area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
			0);
	if (rx->area == MAP_FAILED) {
		rx->area = NULL;
		return skep_err_set(err, -errno, "cannot allocate %zu bytes: %s", bytes, strerror(errno));
	}
	r = xsk_umem__create(&rx->umem, rx->area, bytes, &rx->fill, &rx->completion, &cfg);
	if (r)
		return skep_err_set(err, r, "cannot register the buffers: %s", strerror(-r));
	(void)xsk_ring_prod__reserve(&rx->fill, RING * 2, &at);
	for (i = 0; i < RING * 2; i++)
		*xsk_ring_prod__fill_addr(&rx->fill, at + i) = (uint64_t)i * CHUNK;
	xsk_ring_prod__submit(&rx->fill, RING * 2);
	r = receiver_bind(rx, o);
	if (!r)
		r = xsk_socket__update_xskmap(rx->socket, map_fd);
	return r ? skep_err_set(err, r, "%s: cannot bind an AF_XDP socket to queue %u: %s", o->link, o->queue,
				strerror(-r))
		 : 0;
}

static void receiver_close(struct receiver *rx)
{
	if (rx->socket)
		xsk_socket__delete(rx->socket);
	if (rx->umem)
		(void)xsk_umem__delete(rx->umem);
	if (rx->area)
		(void)munmap(rx->area, (size_t)RING * 2 * CHUNK);
}

/* Takes what is there and gives the buffers back at once; the fill ring is as large as the area, so there is
 * always room. */
static uint32_t receive(struct receiver *rx)
{
	uint32_t from = 0, to = 0, n = xsk_ring_cons__peek(&rx->rx, BATCH, &from), i;

	if (!n)
		return 0;
	(void)xsk_ring_prod__reserve(&rx->fill, n, &to);
	for (i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&rx->fill,
					  to + i) = xsk_ring_cons__rx_desc(&rx->rx, from + i)->addr &
						    ~(uint64_t)(CHUNK - 1);
	xsk_ring_prod__submit(&rx->fill, n);
	xsk_ring_cons__release(&rx->rx, n);
	rx->received += n;
	return n;
}

static void loop(struct receiver *rx, const struct null_options *o)
{
	uint64_t end = o->duration_ns ? bench_args_now_ns() + o->duration_ns : UINT64_MAX;
	struct timespec nap = { .tv_nsec = (long)SKEP_MIN(o->sleep_ns, SKEP_NSEC_PER_SEC - 1) };
	uint32_t turns = 0;

	if (!rx->socket)
		nap.tv_nsec = 10 * SKEP_NSEC_PER_MSEC;
	while (!bench_args_stop) {
		bool idle = !rx->socket || receive(rx) == 0;

		if (idle && nap.tv_nsec)
			(void)nanosleep(&nap, NULL);
		/* the clock is looked at now and then, under load too */
		if (((idle && nap.tv_nsec) || ++turns % 1024 == 0) && bench_args_now_ns() >= end)
			break;
	}
	while (rx->socket && receive(rx) > 0)
		;
}

static uint64_t count_seen(const struct skep_rxnull *skel)
{
	int n = libbpf_num_possible_cpus(), i;
	uint32_t zero = 0;
	uint64_t sum = 0;
	_skep_free_ uint64_t *each = calloc((size_t)SKEP_MAX(n, 1), sizeof(*each));

	if (!each ||
	    bpf_map__lookup_elem(skel->maps.seen, &zero, sizeof(zero), each, (size_t)n * sizeof(*each), 0))
		return 0;
	for (i = 0; i < n; i++)
		sum += each[i];
	return sum;
}

static int report(const struct skep_rxnull *skel, const struct receiver *rx, uint64_t ns,
		  struct skep_err *err)
{
	struct xdp_statistics stats = { 0 };
	socklen_t size = sizeof(stats);
	struct rusage use;
	double cpu_s;
	int r;

	(void)getrusage(RUSAGE_SELF, &use);
	cpu_s = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
		(double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
	if (rx->socket && getsockopt(xsk_socket__fd(rx->socket), SOL_XDP, XDP_STATISTICS, &stats, &size))
		return skep_err_set(err, -errno, "cannot read the socket's statistics: %s", strerror(errno));
	r = bench_args_print(json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "seen", (json_int_t)count_seen(skel), "received",
		(json_int_t)rx->received, "rx_ring_full", (json_int_t)stats.rx_ring_full, "fill_ring_empty",
		(json_int_t)stats.rx_fill_ring_empty_descs, "rx_dropped", (json_int_t)stats.rx_dropped,
		"duration_ns", (json_int_t)ns, "cpu_s", cpu_s));
	return r ? skep_err_set(err, r, "cannot write the result: %s", strerror(-r)) : 0;
}

static int run_attached(struct skep_rxnull *skel, const struct null_options *o, int ifindex,
			struct skep_err *err)
{
	struct bpf_program *prog = o->mode == MODE_DROP ? skel->progs.rx_drop : skel->progs.rx_socket;
	struct receiver rx = { 0 };
	struct bpf_link *link = NULL;
	uint64_t start;
	int r = 0;

	if (o->mode == MODE_AFXDP)
		r = receiver_open(&rx, o, bpf_map__fd(skel->maps.sockets), err);
	if (!r) {
		link = bpf_program__attach_xdp(prog, ifindex);
		if (!link)
			r = skep_err_set(err, errno == EBUSY ? SKEP_E_BUSY : -errno,
					 "%s: cannot attach the XDP program: %s", o->link, strerror(errno));
	}
	if (!r) {
		(void)fputs("skep-rxnull: ready\n", stderr);
		start = bench_args_now_ns();
		loop(&rx, o);
		r = report(skel, &rx, bench_args_now_ns() - start, err);
	}
	/* the program goes first: frames must not be redirected to a socket that is going */
	(void)bpf_link__destroy(link);
	receiver_close(&rx);
	return r;
}

static int run(const struct null_options *o, struct skep_err *err)
{
	int ifindex = (int)if_nametoindex(o->link), r;
	struct skep_rxnull *skel;

	if (!ifindex)
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%s: no such interface", o->link);
	skel = skep_rxnull__open_and_load();
	if (!skel)
		return skep_err_set(err, -errno, "the kernel refuses the XDP programs: %s", strerror(errno));
	r = run_attached(skel, o, ifindex, err);
	skep_rxnull__destroy(skel);
	return r;
}

int main(int argc, char **argv)
{
	struct null_options o = { 0 };
	struct skep_opts_words words = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	bench_args_catch_signals();
	r = bench_args_parse(&opts, argc, argv, &o, &words, &err);
	if (words.help)
		return 0;
	if (!r && (!o.link || words.n))
		r = skep_err_set(&err, SKEP_E_USAGE, "say where to receive with -i IF, and nothing else");
	if (!r)
		r = run(&o, &err);
	return bench_args_exit("skep-rxnull", r, &err);
}
