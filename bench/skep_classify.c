/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-classify: what job filters in XDP cost. It runs the prefilter and the sets of jobs that skep-capture
 * runs, without a worker behind them, on jobs that match nothing that skep-gen sends.
 *
 * On a link (-i) it holds a set of jobs and counts, for the comparison of rates with XDP_DROP and with other
 * programs. Without, it measures by itself: the time of one frame for several numbers of jobs, with
 * BPF_PROG_TEST_RUN (one frame over and over: what the instructions cost, not the caches), and the time from
 * a job's words to the set that judges frames, one job after the other exchanged in a full set.
 *
 * One thread; leaves the interface as it was (the programs hang on a link that ends with the process).
 */
#include "bench/args.h"
#include "bpf/abi/skep_inner.h"
#include "bpf/prefilter.skel.h"
#include "bpf/rxnull.skel.h"
#include "capture/filter/jobset.h"
#include "common/opts.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Frames of one measurement, about as many microseconds as a time slice, and how many measurements the
 * smallest is taken of: what others do on the machine can only make one longer. */
#define REPEAT 20000
#define TRIES 60
/* Exchanges of a job: the 99th percentile is the second largest. */
#define EXCHANGES 200u

/*
 * The last four measure one frame only: merged filters that also look inside, at a frame that nothing is in
 * and at one with a tunnel; filters that match, whose jobs take nothing of the flow by sampling or after its
 * first packet.
 */
enum kind { KIND_MERGED, KIND_GENERAL, KIND_MIXED, KIND_INSIDE, KIND_TUNNEL, KIND_SAMPLED, KIND_CUT_OFF };

struct classify_options {
	const char *link;
	uint32_t jobs;
	int kind;
};

struct chain {
	struct skep_prefilter *skel;
	struct flt_jobset *set;
	uint32_t generation;
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static const char *const kinds[] = { "merged", "general", "mixed", NULL };
static const char *const frame_kinds[] = { "merged", "general", "mixed",   "inside",
					   "tunnel", "sampled", "cut off", NULL };

static const struct skep_opt table[] = {
	{ .name = "interface",
	  .letter = 'i',
	  .type = SKEP_OPT_STRING,
	  .arg = "IF",
	  .fallback = "none: measure one frame",
	  .offset = offsetof(struct classify_options, link),
	  .help = "judge the frames that arrive there" },
	{ .name = "jobs",
	  .type = SKEP_OPT_UINT32,
	  .arg = "N",
	  .max = SKEP_MAX_JOBS,
	  .fallback = "0",
	  .offset = offsetof(struct classify_options, jobs),
	  .help = "on the link" },
	{ .name = "kind",
	  .type = SKEP_OPT_CHOICE,
	  .arg = "KIND",
	  .choices = kinds,
	  .fallback = "merged",
	  .offset = offsetof(struct classify_options, kind),
	  .help = "of the jobs on the link" },
	{ .name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "show this text" },
};

static const struct skep_opts opts = {
	.program = "skep-classify",
	.usage = (const char *const[]){ "[-i IF] [OPTION...]", NULL },
	.about = "Measures what job filters in XDP cost, with jobs that match nothing.",
	.table = table,
	.n = ARRAY_LEN(table),
};

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/*
 * A filter that no frame of skep-gen matches (UDP to ports 9 and 443, 198.18.0.0/15, TTL 64). Those of the
 * general kind look at bytes of every such frame. `salt` makes another one of the same shape.
 */
static void write_filter(enum kind kind, uint32_t i, uint32_t salt, char *out, size_t size)
{
	bool general = kind == KIND_GENERAL || (kind == KIND_MIXED && i % 4 == 3);
	uint32_t n = i + SKEP_MAX_JOBS * (salt % 100);

	if (general && i % 3 == 0)
		(void)snprintf(out, size, "udp[8:2] = %u", 50000 + n);
	else if (general && i % 3 == 1)
		(void)snprintf(out, size, "ip[8] = %u and ip[1] & 0xfc = %u", 65 + i, 4 * (salt % 60));
	else if (general)
		(void)snprintf(out, size, "udp[4:2] > 60000 and greater %u", 70 + n);
	else if (i % 4 == 0)
		(void)snprintf(out, size, "udp port %u", 30000 + n);
	else if (i % 4 == 1)
		(void)snprintf(out, size, "host 192.0.%u.%u", n / 250, n % 250 + 1);
	else if (i % 4 == 2)
		(void)snprintf(out, size, "net 198.%u.%u.0/24", n / 250, n % 250);
	else
		(void)snprintf(out, size, "tcp port %u and host 203.0.113.%u", 1000 + n, i + 1);
}

static int put_job(struct chain *c, enum kind kind, uint32_t slot, uint32_t salt, struct skep_err *err)
{
	struct flt_job_spec spec = { .slot = slot };
	char filter[200] = "udp port 9";

	if (kind < KIND_SAMPLED)
		write_filter(kind, slot, salt, filter, sizeof(filter));
	else if (kind == KIND_SAMPLED)
		spec.reduction = (struct flt_reduction){ .sample_every = UINT32_MAX, .sample_by_flow = true };
	else
		spec.reduction = (struct flt_reduction){ .cutoff_pkts = 1 };
	spec.filter = filter;
	spec.inside = kind == KIND_INSIDE || kind == KIND_TUNNEL ? SKEP_INNER_ALL : 0;
	return flt_jobset_put(c->set, &spec, err);
}

static int commit(struct chain *c, struct skep_err *err)
{
	c->generation = (c->generation + 1) % SKEP_GENERATIONS;
	return flt_jobset_commit(c->set, c->generation, err);
}

/* Exactly n jobs of a kind. */
static int set_jobs(struct chain *c, enum kind kind, uint32_t n, struct skep_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < SKEP_MAX_JOBS && r == 0; i++) {
		flt_jobset_drop(c->set, i);
		if (i < n)
			r = put_job(c, kind, i, 0, err);
	}
	return r ? r : commit(c, err);
}

static void chain_close(struct chain *c)
{
	c->set = flt_jobset_free(c->set);
	skep_prefilter__destroy(c->skel);
}

static int chain_open(struct chain *c, struct skep_err *err)
{
	uint32_t slot = SKEP_PROG_DELIVER;
	int fd, r;

	*c = (struct chain){ .skel = skep_prefilter__open() };
	if (!c->skel)
		return skep_err_set(err, -errno, "cannot open the prefilter: %s", strerror(errno));
	c->skel->rodata->filtered = true;
	(void)bpf_program__set_autoload(c->skel->progs.prefilter_hints, false);
	r = skep_prefilter__load(c->skel);
	if (r)
		return skep_err_set(err, r, "the kernel refuses the prefilter: %s", strerror(-r));
	fd = bpf_program__fd(c->skel->progs.deliver);
	if (bpf_map_update_elem(bpf_map__fd(c->skel->maps.progs), &slot, &fd, BPF_ANY))
		return skep_err_set(err, -errno, "cannot join the programs: %s", strerror(errno));
	return flt_jobset_new(
		&(struct flt_jobset_maps){ .progs_fd = bpf_map__fd(c->skel->maps.progs),
					   .scratch_fd = bpf_map__fd(c->skel->maps.scratch),
					   .generations_fd = bpf_map__fd(c->skel->maps.generations),
					   .counters_fd = bpf_map__fd(c->skel->maps.counters),
					   .rejected_action = XDP_DROP },
		false, &c->set, err);
}

/* --- On a link */

static int read_counters(const struct chain *c, struct skep_xdp_counters *ret, struct skep_err *err)
{
	size_t cpus = (size_t)SKEP_MAX(libbpf_num_possible_cpus(), 1);
	_skep_free_ struct skep_xdp_counters *each = calloc(cpus, sizeof(*each));

	*ret = (struct skep_xdp_counters){ 0 };
	if (!each)
		return skep_err_set(err, -ENOMEM, "no memory for the counters");
	for (uint32_t queue = 0; queue < SKEP_MAX_QUEUES; queue++) {
		if (bpf_map__lookup_elem(c->skel->maps.counters, &queue, sizeof(queue), each,
					 cpus * sizeof(*each), 0))
			return skep_err_set(err, -errno, "cannot read the counters: %s", strerror(errno));
		for (size_t i = 0; i < cpus; i++) {
			ret->seen += each[i].seen;
			ret->rejected += each[i].rejected;
		}
	}
	return 0;
}

static int run_on_link(struct chain *c, const struct classify_options *o, struct skep_err *err)
{
	int ifindex = (int)if_nametoindex(o->link), r;
	const struct timespec nap = { .tv_nsec = 10 * SKEP_NSEC_PER_MSEC };
	struct skep_xdp_counters sum;
	struct bpf_link *link;

	if (!ifindex)
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%s: no such interface", o->link);
	r = set_jobs(c, (enum kind)o->kind, o->jobs, err);
	if (r)
		return r;
	link = bpf_program__attach_xdp(c->skel->progs.prefilter, ifindex);
	if (!link)
		return skep_err_set(err, errno == EBUSY ? SKEP_E_BUSY : -errno,
				    "%s: cannot attach the XDP program: %s", o->link, strerror(errno));
	(void)fputs("skep-classify: ready\n", stderr);
	while (!stop)
		(void)nanosleep(&nap, NULL);
	(void)bpf_link__destroy(link);
	r = read_counters(c, &sum, err);
	if (r)
		return r;
	r = bench_args_print(
		json_pack("{s:I, s:I}", "seen", (json_int_t)sum.seen, "rejected", (json_int_t)sum.rejected));
	return r ? skep_err_set(err, r, "cannot write the result: %s", strerror(-r)) : 0;
}

/* --- One frame */

/* A frame like those of skep-gen: UDP on IPv4, 64 bytes on the wire. */
static const uint8_t frame[60] = {
	0x02, 0,    0, 0,  0, 2,  0x02, 0, 0,  0,  0, 1, 0x08, 0x00,			  /* Ethernet */
	0x45, 0,    0, 46, 0, 1,  0x40, 0, 64, 17, 0, 0, 198,  18,   0, 1, 198, 19, 0, 1, /* IPv4 */
	0x27, 0x10, 0, 9,  0, 26, 0,	0,						  /* UDP */
};

/* In VXLAN. */
static const uint8_t tunnel_head[50] = {
	0x02, 0,    0,	  0,	0, 2,  0x02, 0, 0,    0,  0, 1, 0x08, 0x00,		    /* Ethernet */
	0x45, 0,    0,	  96,	0, 1,  0x40, 0, 64,   17, 0, 0, 198,  18, 0, 1, 198, 19, 0, 1, /* IPv4 */
	0xc0, 0x00, 0x12, 0xb5, 0, 76, 0,    0, 0x08, 0,  0, 0, 0,    0,  1, 0,		    /* UDP, VXLAN */
};

/* Nanoseconds that a program takes for the frame, the smallest of a few means. */
static int time_frame(int prog_fd, bool tunnel, double *ret_ns, struct skep_err *err)
{
	uint8_t bytes[sizeof(tunnel_head) + sizeof(frame)];
	uint32_t best = UINT32_MAX, len = sizeof(frame);

	memcpy(bytes, frame, sizeof(frame));
	if (tunnel) {
		memcpy(bytes, tunnel_head, sizeof(tunnel_head));
		memcpy(bytes + sizeof(tunnel_head), frame, sizeof(frame));
		len = sizeof(bytes);
	}
	for (int i = 0; i < TRIES; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = bytes, .data_size_in = len, .repeat = REPEAT);

		if (bpf_prog_test_run_opts(prog_fd, &run))
			return skep_err_set(err, -errno, "cannot run the program: %s", strerror(errno));
		if (run.retval != XDP_DROP)
			return skep_err_set(err, -EIO, "a job of the benchmark wants its frame");
		best = SKEP_MIN(best, run.duration);
	}
	*ret_ns = best;
	return 0;
}

static int time_drop(json_t *into, struct skep_err *err)
{
	struct skep_rxnull *skel = skep_rxnull__open_and_load();
	double ns;
	int r;

	if (!skel)
		return skep_err_set(err, -errno, "the kernel refuses the XDP programs: %s", strerror(errno));
	r = time_frame(bpf_program__fd(skel->progs.rx_drop), false, &ns, err);
	skep_rxnull__destroy(skel);
	if (r == 0 && json_object_set_new(into, "drop_ns", json_real(ns)))
		r = skep_err_set(err, -ENOMEM, "no memory for the result");
	return r;
}

static int time_sets(struct chain *c, json_t *into, struct skep_err *err)
{
	static const uint32_t counts[] = { 0, 1, 8, 16, 32, 64 };
	json_t *points = json_array();

	if (json_object_set_new(into, "frames", points))
		return skep_err_set(err, -ENOMEM, "no memory for the result");
	for (int kind = 0; frame_kinds[kind]; kind++)
		for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
			double ns;
			int r = set_jobs(c, (enum kind)kind, counts[i], err);

			if (r == 0)
				r = time_frame(bpf_program__fd(c->skel->progs.prefilter),
					       kind == KIND_TUNNEL, &ns, err);
			if (r)
				return r;
			if (json_array_append_new(points, json_pack("{s:s, s:i, s:f}", "kind", frame_kinds[kind],
								    "jobs", (int)counts[i], "ns", ns)))
				return skep_err_set(err, -ENOMEM, "no memory for the result");
		}
	return 0;
}

static int compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Exchanges one job of a full set, again and again. */
static int time_changes(struct chain *c, json_t *into, struct skep_err *err)
{
	static double whole[EXCHANGES], load[EXCHANGES];
	json_t *changes = json_array();

	if (json_object_set_new(into, "changes", changes))
		return skep_err_set(err, -ENOMEM, "no memory for the result");
	for (int kind = 0; kinds[kind]; kind++) {
		int r = set_jobs(c, (enum kind)kind, SKEP_MAX_JOBS, err);

		for (uint32_t i = 0; i < EXCHANGES && r == 0; i++) {
			double start = now_ms(), compiled;

			r = put_job(c, (enum kind)kind, i % SKEP_MAX_JOBS, 1 + i / SKEP_MAX_JOBS, err);
			compiled = now_ms();
			if (r == 0)
				r = commit(c, err);
			whole[i] = now_ms() - start;
			load[i] = now_ms() - compiled;
		}
		if (r)
			return r;
		qsort(whole, EXCHANGES, sizeof(*whole), compare_doubles);
		qsort(load, EXCHANGES, sizeof(*load), compare_doubles);
		if (json_array_append_new(changes,
					  json_pack("{s:s, s:i, s:f, s:f, s:f, s:f}", "kind", kinds[kind],
						    "jobs", SKEP_MAX_JOBS, "p50_ms", whole[EXCHANGES / 2],
						    "p99_ms", whole[EXCHANGES * 99 / 100 - 1], "load_p50_ms",
						    load[EXCHANGES / 2], "load_p99_ms",
						    load[EXCHANGES * 99 / 100 - 1])))
			return skep_err_set(err, -ENOMEM, "no memory for the result");
	}
	return 0;
}

static int measure(struct chain *c, struct skep_err *err)
{
	json_t *result = json_object();
	int r = time_drop(result, err);

	if (r == 0)
		r = time_sets(c, result, err);
	if (r == 0)
		r = time_changes(c, result, err);
	if (r) {
		json_decref(result);
		return r;
	}
	r = bench_args_print(result);
	return r ? skep_err_set(err, r, "cannot write the result: %s", strerror(-r)) : 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct classify_options o = { 0 };
	struct skep_opts_words words = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	struct chain chain = { 0 };
	int r;

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	r = skep_opts_parse(&opts, argc, argv, &o, &words, &err);
	if (!r && words.help) {
		skep_opts_help(&opts, stdout);
		return 0;
	}
	if (!r && words.n)
		r = skep_err_set(&err, SKEP_E_USAGE, "%s: there are options only", words.words[0]);
	if (!r)
		r = chain_open(&chain, &err);
	if (!r)
		r = o.link ? run_on_link(&chain, &o, &err) : measure(&chain, &err);
	chain_close(&chain);
	return bench_args_exit("skep-classify", r, &err);
}
