/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-gen: sends numbered frames through a link, paced or as fast as one core can, and says how many of them
 * the far end was really given. Sends only through the interface it is told to and changes nothing of it.
 * docs/reference/bench.md describes it.
 */
#include "bench/args.h"
#include "bench/gen_run.h"
#include "bench/link_stats.h"
#include "common/opts.h"
#include "common/parse.h"

#include <errno.h>
#include <jansson.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static int call_size(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct bench_gen_options *o = cfg;
	uint64_t size = BENCH_GEN_SIZE_IMIX;
	int r = strcmp(value, "imix") == 0 ? 0
					   : skep_parse_uint(what, value, 58, SKEP_GEN_FRAME_MAX, &size, err);

	o->size = (uint32_t)size;
	return r;
}

static int call_rate(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct bench_gen_options *o = cfg;

	return bench_args_rate(what, value, &o->rate, &o->rate_is_bits, err);
}

static int call_vlan(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct bench_gen_options *o = cfg;
	uint64_t id = 0;
	int r = skep_parse_uint(what, value, 0, 4095, &id, err);

	o->vlan = (uint32_t)id;
	return r;
}

static int call_cpu(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct bench_gen_options *o = cfg;
	uint64_t cpu = 0;
	int r = skep_parse_uint(what, value, 0, CPU_SETSIZE - 1, &cpu, err);

	o->cpu = (int)cpu;
	return r;
}

static int call_mac(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct bench_gen_options *o = cfg;
	unsigned int b[6], i;
	int used = 0;

	if (sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &used) !=
		    6 ||
	    value[used]) {
		(void)skep_err_set(err, SKEP_E_USAGE, "%s %s: not a MAC address", what, value);
		return skep_err_hint(err, "write six bytes in hexadecimal, like 02:00:5e:10:00:01");
	}
	for (i = 0; i < 6; i++)
		o->dst_mac[i] = (uint8_t)b[i];
	return 0;
}

static const char *const payloads[] = { "random", "compressible", "zero", NULL };
static const char *const protos[] = { "udp", "tcp", "quic", "mix", NULL };
static const char *const ips[] = { "4", "6", "mix", NULL };

#define AT(field) .offset = offsetof(struct bench_gen_options, field)

static const struct skep_opt table[] = {
	SKEP_OPT_HEADING("Where"),
	BENCH_ARGS_INTERFACE(struct bench_gen_options, "send there; its peer must have an XDP program or GRO"),
	{ .name = "cpu", .type = SKEP_OPT_CALL, .arg = "N", .call = call_cpu, .help = "send from this CPU" },
	SKEP_OPT_HEADING("What"),
	{ .name = "size",
	  .type = SKEP_OPT_CALL,
	  .arg = "N|imix",
	  .call = call_size,
	  .fallback = "64",
	  .help = "bytes of a frame without FCS, up to 9234" },
	{ .name = "payload",
	  .type = SKEP_OPT_CHOICE,
	  .arg = "KIND",
	  .choices = payloads,
	  .fallback = "random",
	  AT(payload) },
	{ .name = "seed",
	  .type = SKEP_OPT_UINT32,
	  .arg = "N",
	  .max = SKEP_GEN_SEED_MAX,
	  .fallback = "1",
	  AT(seed),
	  .help = "of the payload" },
	{ .name = "flows",
	  .type = SKEP_OPT_UINT32,
	  .arg = "N",
	  .min = 1,
	  .max = 65536,
	  .fallback = "1",
	  AT(flows),
	  .help = "source addresses and ports" },
	{ .name = "proto",
	  .type = SKEP_OPT_CHOICE,
	  .arg = "P",
	  .choices = protos,
	  .fallback = "udp",
	  AT(proto) },
	{ .name = "ip", .type = SKEP_OPT_CHOICE, .arg = "V", .choices = ips, .fallback = "4", AT(ip) },
	{ .name = "vlan", .type = SKEP_OPT_CALL, .arg = "ID", .call = call_vlan, .help = "tag every frame" },
	{ .name = "dst-mac",
	  .type = SKEP_OPT_CALL,
	  .arg = "MAC",
	  .call = call_mac,
	  .fallback = "one that no host has" },
	{ .name = "first-seq",
	  .type = SKEP_OPT_UINT64,
	  .arg = "N",
	  .max = UINT64_MAX / 2,
	  .fallback = "0",
	  AT(first_seq),
	  .help = "first sequence number" },
	SKEP_OPT_HEADING("How much"),
	{ .name = "rate",
	  .type = SKEP_OPT_CALL,
	  .arg = "N[pps|bps]",
	  .call = call_rate,
	  .fallback = "as fast as possible",
	  .help = "200kpps, 1.5Mpps, 2Gbps" },
	{ .name = "count",
	  .type = SKEP_OPT_UINT64,
	  .arg = "N",
	  .min = 1,
	  .max = UINT64_MAX / 2,
	  AT(count),
	  .help = "end after exactly N frames" },
	{ .name = "duration",
	  .letter = 'd',
	  .type = SKEP_OPT_DURATION,
	  .arg = "TIME",
	  AT(duration_ns),
	  .help = "end after TIME: 10, 0.5s, 2m" },
	SKEP_OPT_HEADING("Other"),
	{ .name = "dry",
	  .type = SKEP_OPT_FLAG,
	  AT(dry),
	  .help = "build the frames, send none: the limit of the generator" },
	{ .name = "json", .type = SKEP_OPT_FLAG, AT(json), .help = "say the result as one JSON object" },
	BENCH_ARGS_HELP,
};

static const struct skep_opts opts = {
	.program = "skep-gen",
	.usage = (const char *const[]){ "-i IF [OPTION...]", NULL },
	.about = "Sends numbered frames through an interface and counts what the far end was given.",
	.table = table,
	.n = ARRAY_LEN(table),
};

/* Frames that are longer than the MTU allows would vanish without being counted anywhere. */
static int check_link(const struct bench_gen_options *o, const struct skep_gen_cfg *cfg, struct skep_err *err)
{
	uint32_t i, l2 = o->vlan == BENCH_GEN_VLAN_NONE ? 14 : 18;
	int mtu, r;

	if (!if_nametoindex(o->link))
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%s: no such interface", o->link);
	r = bench_link_stats_mtu(o->link, &mtu, err);
	for (i = 0; !r && i < cfg->n_sizes; i++) {
		if (cfg->sizes[i] - l2 <= (uint32_t)mtu)
			continue;
		(void)skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: frames of %u bytes do not fit its MTU of %d",
				   o->link, cfg->sizes[i], mtu);
		return skep_err_hint(err, "ip link set %s mtu %u, at both ends", o->link, cfg->sizes[i] - l2);
	}
	return r;
}

/* What the device says it dropped between the two looks. */
static uint64_t refused_frames(const struct bench_gen_result *result, const struct bench_link_stats *before,
			       const struct bench_link_stats *after)
{
	return result->live ? after->refused - before->refused : after->tx_dropped - before->tx_dropped;
}

static int report(const struct bench_gen_options *o, const struct skep_gen_cfg *cfg,
		  const struct bench_gen_result *result, uint64_t refused, bool known)
{
	uint64_t sent = result->attempted - refused, bytes = result->attempted_bytes,
		 ns = result->last_ns - result->first_ns;
	double pps = ns && result->attempted > 1 ? (double)(result->attempted - 1) * 1e9 / (double)ns : 0;
	json_t *out;

	/* of IMIX, which sizes were refused is not known: the mean */
	if (refused)
		bytes = cfg->n_sizes == 1
				? sent * cfg->sizes[0]
				: (uint64_t)((double)bytes * (double)sent / (double)result->attempted);
	if (!o->json) {
		(void)printf(
			"%llu frames handed over, %llu refused by the peer, %llu sent, %.0f per second\n",
			(unsigned long long)result->attempted, (unsigned long long)refused,
			(unsigned long long)sent, pps);
		return fflush(stdout) ? -errno : 0;
	}
	out = json_pack("{s:I, s:o, s:I, s:I, s:I, s:I, s:f, s:I, s:o, s:I, s:b, s:s}", "attempted",
			(json_int_t)result->attempted, "refused",
			known ? json_integer((json_int_t)refused) : json_null(), "sent", (json_int_t)sent,
			"first_seq", (json_int_t)cfg->first_seq, "last_seq",
			(json_int_t)(cfg->first_seq + result->attempted) - 1, "duration_ns", (json_int_t)ns,
			"pps", pps, "late_ns", (json_int_t)result->late_ns, "waited_ns",
			result->waited_ns == UINT64_MAX ? json_null()
							: json_integer((json_int_t)result->waited_ns),
			"bytes", (json_int_t)bytes, "gaps", refused != 0, "method",
			result->live ? "live" : "packet");
	return bench_args_print(out);
}

/* Frames that the counters of a veth do not show went nowhere. */
static int check_delivery(const char *link, const struct bench_gen_result *result,
			  const struct bench_link_stats *before, const struct bench_link_stats *after,
			  struct skep_err *err)
{
	uint64_t shown = after->accepted - before->accepted + after->refused - before->refused;

	if (!result->live || !after->known || shown == result->attempted)
		return 0;
	(void)skep_err_set(err, SKEP_E_UNSUPPORTED,
			   "%s: %llu frames were handed over, but its counters show %llu", link,
			   (unsigned long long)result->attempted, (unsigned long long)shown);
	return skep_err_hint(err,
			     "the far end must have an XDP program or GRO (ethtool -K PEER gro on), and "
			     "nobody else may send "
			     "XDP frames through %s meanwhile",
			     link);
}

static int run(struct bench_gen_options *o, struct skep_err *err)
{
	struct skep_gen_template templates[SKEP_GEN_TEMPLATES];
	struct bench_link_stats before, after;
	struct bench_gen_result result = { 0 };
	struct skep_gen_cfg cfg;
	int r;

	r = bench_gen_frame_prepare(o, &cfg, templates, err);
	if (!r)
		r = check_link(o, &cfg, err);
	if (!r)
		r = bench_link_stats_read(o->link, &before, err);
	if (r)
		return r;
	if (o->dry && o->size > SKEP_GEN_LIVE_MAX)
		return skep_err_set(err, SKEP_E_UNSUPPORTED, "--dry: only for frames up to %u bytes",
				    SKEP_GEN_LIVE_MAX);
	if (o->size > SKEP_GEN_LIVE_MAX)
		r = bench_gen_packet_run(o, &cfg, templates, &bench_args_stop, &result, err);
	else
		r = bench_gen_live_run(o, &cfg, templates, &bench_args_stop, &result, err);
	if (!r)
		r = bench_link_stats_read(o->link, &after, err);
	if (r)
		return r;
	r = o->dry ? 0 : check_delivery(o->link, &result, &before, &after, err);
	if (!r &&
	    report(o, &cfg, &result, refused_frames(&result, &before, &after), after.known || !result.live))
		r = skep_err_set(err, -EIO, "cannot write the result");
	return r;
}

int main(int argc, char **argv)
{
	struct bench_gen_options o = {
		.size = 64,
		.seed = 1,
		.flows = 1,
		.vlan = BENCH_GEN_VLAN_NONE,
		.cpu = -1,
		.dst_mac = { 0x02, 's', 'k', 'e', 'p', 2 },
	};
	struct skep_opts_words words = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	bench_args_catch_signals();
	r = bench_args_parse(&opts, argc, argv, &o, &words, &err);
	if (words.help)
		return 0;
	if (!r && words.n)
		r = skep_err_set(&err, SKEP_E_USAGE, "%s: not an option, see --help", words.words[0]);
	else if (!r && !o.link)
		r = skep_err_set(&err, SKEP_E_USAGE, "no interface: say where to send with -i IF");
	if (!r)
		r = run(&o, &err);
	return bench_args_exit("skep-gen", r, &err);
}
