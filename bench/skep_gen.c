/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-gen: sends numbered frames through a link, paced or as fast as one core can, and says how many of them the far end
 * was really given. Sends only through the interface it is told to and changes nothing of it. docs/reference/bench.md describes it.
 */
#include "bench/gen_run.h"
#include "bench/link_stats.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t stop;

static const char help[] =
	"Usage: skep-gen -i IF [OPTION...]\n"
	"Sends numbered frames through IF and counts what the far end was given.\n"
	"\n"
	"  -i, --interface IF     where to send; its peer must have an XDP program or GRO\n"
	"      --size N|imix      bytes of a frame without FCS, 64 to 9234 (default 64)\n"
	"      --rate N[k|M|G][pps|bps]  frames or bits per second (default: as fast as possible)\n"
	"      --payload KIND     random (default), compressible or zero\n"
	"      --seed N           of the payload, 0 to 16777215 (default 1)\n"
	"      --flows N          addresses and ports, 1 to 65536 (default 1)\n"
	"      --proto P          udp (default), tcp, quic or mix\n"
	"      --ip V             4 (default), 6 or mix\n"
	"      --vlan ID          tag every frame\n"
	"      --dst-mac MAC      (default 02:73:6b:65:70:02, which no host has)\n"
	"      --first-seq N      first sequence number (default 0)\n"
	"      --count N          end after exactly N frames\n"
	"      --duration SEC     end after SEC seconds\n"
	"      --cpu N            send from this CPU\n"
	"      --json             say the result as one JSON object\n"
	"  -h, --help             this text\n";

enum { OPT_SIZE = 256, OPT_RATE, OPT_PAYLOAD, OPT_SEED, OPT_FLOWS, OPT_PROTO, OPT_IP, OPT_VLAN, OPT_MAC, OPT_FIRST, OPT_COUNT,
       OPT_DURATION, OPT_CPU, OPT_JSON };

static const struct option options[] = {
	{ "interface", required_argument, NULL, 'i' },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "payload", required_argument, NULL, OPT_PAYLOAD },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "flows", required_argument, NULL, OPT_FLOWS },
	{ "proto", required_argument, NULL, OPT_PROTO },
	{ "ip", required_argument, NULL, OPT_IP },
	{ "vlan", required_argument, NULL, OPT_VLAN },
	{ "dst-mac", required_argument, NULL, OPT_MAC },
	{ "first-seq", required_argument, NULL, OPT_FIRST },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "duration", required_argument, NULL, OPT_DURATION },
	{ "cpu", required_argument, NULL, OPT_CPU },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int parse_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct skep_err *err)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || v < min || v > max)
		return skep_err_set(err, SKEP_E_USAGE, "%s %s: not a whole number from %llu to %llu", name, text,
				    (unsigned long long)min, (unsigned long long)max);
	*ret = v;
	return 0;
}

static int parse_u32(const char *name, const char *text, uint64_t min, uint64_t max, uint32_t *ret, struct skep_err *err)
{
	uint64_t v = 0;
	int r = parse_number(name, text, min, max, &v, err);

	if (!r)
		*ret = (uint32_t)v;
	return r;
}

static int parse_rate(const char *text, struct bench_gen_options *o, struct skep_err *err)
{
	char *end;
	double v = strtod(text, &end);

	if (end != text && *end && strchr("kMG", *end))
		v *= *end == 'k' ? 1e3 : *end == 'M' ? 1e6 : 1e9, end++;
	o->rate_is_bits = strcmp(end, "bps") == 0;
	if (end == text || !(v >= 1 && v <= 1e12) || (*end && !o->rate_is_bits && strcmp(end, "pps") != 0)) {
		(void)skep_err_set(err, SKEP_E_USAGE, "--rate %s: not a rate of 1 or more", text);
		return skep_err_hint(err, "write 200kpps, 1.5Mpps or 2Gbps");
	}
	o->rate = v;
	return 0;
}

static int parse_duration(const char *text, uint64_t *ret_ns, struct skep_err *err)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v > 0 && v < 1e6))
		return skep_err_set(err, SKEP_E_USAGE, "--duration %s: not a number of seconds", text);
	*ret_ns = (uint64_t)(v * 1e9);
	return 0;
}

static int parse_mac(const char *text, uint8_t mac[6], struct skep_err *err)
{
	unsigned int b[6], i;
	int used = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &used) != 6 || text[used])
		return skep_err_set(err, SKEP_E_USAGE, "--dst-mac %s: not a MAC address", text);
	for (i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return 0;
}

static int parse_word(const char *name, const char *text, const char *const words[], const unsigned int values[], unsigned int *ret,
		      struct skep_err *err)
{
	unsigned int i;

	for (i = 0; words[i]; i++) {
		if (strcmp(words[i], text) == 0) {
			*ret = values[i];
			return 0;
		}
	}
	return skep_err_set(err, SKEP_E_USAGE, "%s %s: no such choice, see --help", name, text);
}

static int parse_option(int c, const char *arg, struct bench_gen_options *o, struct skep_err *err)
{
	static const char *const protos[] = { "udp", "tcp", "quic", "mix", NULL }, *const ips[] = { "4", "6", "mix", NULL };
	static const unsigned int proto_bits[] = { 1, 2, 4, 7 }, ip_bits[] = { 1, 2, 3 };
	unsigned int ip = 0;
	uint32_t cpu = 0;
	int r;

	switch (c) {
	case 'i':
		o->link = arg;
		return 0;
	case OPT_SIZE:
		if (strcmp(arg, "imix") == 0)
			o->size = BENCH_GEN_SIZE_IMIX;
		else
			return parse_u32("--size", arg, 58, SKEP_GEN_FRAME_MAX, &o->size, err);
		return 0;
	case OPT_RATE:
		return parse_rate(arg, o, err);
	case OPT_PAYLOAD:
		if (!bench_pool_kind_parse(arg, &o->payload))
			return skep_err_set(err, SKEP_E_USAGE, "--payload %s: not random, compressible or zero", arg);
		return 0;
	case OPT_SEED:
		return parse_u32("--seed", arg, 0, SKEP_GEN_SEED_MAX, &o->seed, err);
	case OPT_FLOWS:
		return parse_u32("--flows", arg, 1, 65536, &o->flows, err);
	case OPT_PROTO:
		return parse_word("--proto", arg, protos, proto_bits, &o->protos, err);
	case OPT_IP:
		r = parse_word("--ip", arg, ips, ip_bits, &ip, err);
		o->ip4 = ip & 1;
		o->ip6 = ip & 2;
		return r;
	case OPT_VLAN:
		return parse_u32("--vlan", arg, 0, 4095, &o->vlan, err);
	case OPT_MAC:
		return parse_mac(arg, o->dst_mac, err);
	case OPT_FIRST:
		return parse_number("--first-seq", arg, 0, UINT64_MAX / 2, &o->first_seq, err);
	case OPT_COUNT:
		return parse_number("--count", arg, 1, UINT64_MAX / 2, &o->count, err);
	case OPT_DURATION:
		return parse_duration(arg, &o->duration_ns, err);
	case OPT_CPU:
		r = parse_u32("--cpu", arg, 0, 1023, &cpu, err);
		o->cpu = (int)cpu;
		return r;
	case OPT_JSON:
		o->json = true;
		return 0;
	default:
		return skep_err_set(err, SKEP_E_USAGE, "unknown option or missing value, see --help");
	}
}

/* 1: help was printed */
static int parse(int argc, char **argv, struct bench_gen_options *o, struct skep_err *err)
{
	int c, r;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "i:h", options, NULL)) != -1) {
		if (c == 'h')
			return fputs(help, stdout) < 0 ? -EIO : -ECANCELED;
		r = parse_option(c, optarg, o, err);
		if (r)
			return r;
	}
	if (optind < argc)
		return skep_err_set(err, SKEP_E_USAGE, "%s: not an option, see --help", argv[optind]);
	if (!o->link)
		return skep_err_set(err, SKEP_E_USAGE, "no interface: say where to send with -i IF");
	return 0;
}

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
		(void)skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: frames of %u bytes do not fit its MTU of %d", o->link,
				   cfg->sizes[i], mtu);
		return skep_err_hint(err, "ip link set %s mtu %u, at both ends", o->link, cfg->sizes[i] - l2);
	}
	return r;
}

static int report(const struct bench_gen_options *o, const struct skep_gen_cfg *cfg, const struct bench_gen_result *result,
		  const struct bench_link_stats *before, const struct bench_link_stats *after)
{
	uint64_t refused = after->refused - before->refused, sent = result->attempted, bytes = result->attempted_bytes;
	uint64_t ns = result->last_ns - result->first_ns;
	double pps = ns && result->attempted > 1 ? (double)(result->attempted - 1) * 1e9 / (double)ns : 0;
	json_t *out;
	int r;

	if (after->known && refused <= sent) {
		sent -= refused;
		/* of IMIX, which sizes were refused is not known: their mean */
		bytes = cfg->n_sizes == 1 ? sent * cfg->sizes[0] : (uint64_t)((double)bytes * (double)sent / (double)result->attempted);
	}
	if (!o->json)
		return printf("%llu frames handed over, %llu refused by the peer, %llu sent, %.0f per second\n",
			      (unsigned long long)result->attempted, (unsigned long long)refused, (unsigned long long)sent, pps) < 0;
	out = json_pack("{s:I, s:o, s:I, s:I, s:I, s:I, s:f, s:I, s:b, s:s}", "attempted", (json_int_t)result->attempted, "refused",
			after->known ? json_integer((json_int_t)refused) : json_null(), "sent", (json_int_t)sent, "first_seq",
			(json_int_t)cfg->first_seq, "last_seq", (json_int_t)(cfg->first_seq + result->attempted) - 1, "duration_ns",
			(json_int_t)ns, "pps", pps, "bytes", (json_int_t)bytes, "gaps", refused != 0, "method", result->method);
	r = out ? json_dumpf(out, stdout, JSON_COMPACT) : -1;
	json_decref(out);
	return r || putchar('\n') == EOF || fflush(stdout);
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
	if (o->size > SKEP_GEN_LIVE_MAX)
		r = bench_gen_packet_run(o, &cfg, templates, &stop, &result, err);
	else
		r = bench_gen_live_run(o, &cfg, templates, &stop, &result, err);
	if (!r)
		r = bench_link_stats_read(o->link, &after, err);
	if (r)
		return r;
	if (after.known && result.method[0] == 'l' &&
	    after.accepted - before.accepted + after.refused - before.refused != result.attempted) {
		(void)skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: %llu frames were handed over, but its counters show only %llu", o->link,
				   (unsigned long long)result.attempted,
				   (unsigned long long)(after.accepted - before.accepted + after.refused - before.refused));
		return skep_err_hint(err, "the far end must have an XDP program or GRO (ethtool -K PEER gro on), "
					  "and nobody else may send through %s", o->link);
	}
	if (report(o, &cfg, &result, &before, &after))
		return skep_err_set(err, -EIO, "cannot write the result");
	return 0;
}

int main(int argc, char **argv)
{
	struct bench_gen_options o = {
		.size = 64, .seed = 1, .flows = 1, .protos = BENCH_GEN_PROTO_UDP, .ip4 = true, .vlan = BENCH_GEN_VLAN_NONE, .cpu = -1,
		.dst_mac = { 0x02, 's', 'k', 'e', 'p', 2 },
	};
	struct sigaction action = { .sa_handler = on_signal };
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	r = parse(argc, argv, &o, &err);
	if (r == -ECANCELED)
		return 0;
	if (!r)
		r = run(&o, &err);
	if (r)
		(void)fprintf(stderr, "skep-gen: %s%s%s\n", err.text, err.hint[0] ? "; " : "", err.hint);
	return skep_err_exit_code(r);
}
