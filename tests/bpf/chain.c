/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The chain of chain.h. One thread; what fails is a bug of the rig, or of the programs, and fails the test.
 */
#include "tests/bpf/chain.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void chain_open(struct chain *chain)
{
	static struct cap_meta_clock clock;
	struct cap_xsk_cfg cfg = {
		.ifname = "lo", .mtu = 1500, .numa_node = -1, .ring_slots = 64, .zero_copy = CAP_OFF,
	};
	uint32_t slot = SKEP_PROG_DELIVER;
	struct skep_err err = SKEP_ERR_NULL;
	struct skep_prefilter *skel = skep_prefilter__open();
	int fd;

	assert_non_null(skel);
	skel->rodata->unserved_action = XDP_PASS;
	skel->rodata->filtered = true;
	bpf_program__set_autoload(skel->progs.prefilter_hints, false);
	assert_int_equal(skep_prefilter__load(skel), 0);
	*chain = (struct chain){
		.skel = skel,
		.maps = { .progs_fd = bpf_map__fd(skel->maps.progs),
			  .scratch_fd = bpf_map__fd(skel->maps.scratch),
			  .generations_fd = bpf_map__fd(skel->maps.generations),
			  .counters_fd = bpf_map__fd(skel->maps.counters),
			  .rejected_action = XDP_DROP },
		.cpus = libbpf_num_possible_cpus(),
	};
	fd = bpf_program__fd(skel->progs.deliver);
	assert_int_equal(bpf_map_update_elem(chain->maps.progs_fd, &slot, &fd, BPF_ANY), 0);
	if (cap_xsk_open(&cfg, &clock, &chain->xsk, &err))
		fail_msg("%s", err.text);
	chain_serve(chain, true);
}

void chain_close(struct chain *chain)
{
	chain->xsk = cap_xsk_close(chain->xsk);
	skep_prefilter__destroy(chain->skel);
}

void chain_serve(struct chain *chain, bool served)
{
	uint32_t queue = 0;
	int fd = cap_xsk_fd(chain->xsk), map = bpf_map__fd(chain->skel->maps.xsks);

	assert_int_equal(served ? bpf_map_update_elem(map, &queue, &fd, BPF_ANY)
				: bpf_map_delete_elem(map, &queue),
			 0);
}

struct cap_classify *chain_classify(const struct chain *chain, bool serves)
{
	const struct cap_classify_cfg cfg = {
		.maps = chain->maps,
		.jobs_fd = bpf_map__fd(chain->skel->maps.jobs),
		.cpus = chain->cpus,
		.serves = serves,
	};
	struct cap_classify *classify = NULL;
	struct skep_err err = SKEP_ERR_NULL;

	if (cap_classify_new(&cfg, &classify, &err))
		fail_msg("%s", err.text);
	return classify;
}

struct skep_xdp_counters chain_counters(const struct chain *chain)
{
	static struct skep_xdp_counters percpu[SKEP_MAX_CPUS];
	struct skep_xdp_counters sum = { 0 };
	uint32_t queue = 0;

	assert_true(chain->cpus <= (int)ARRAY_LEN(percpu));
	assert_int_equal(bpf_map_lookup_elem(chain->maps.counters_fd, &queue, percpu), 0);
	for (int i = 0; i < chain->cpus; i++) {
		sum.seen += percpu[i].seen;
		sum.redirected += percpu[i].redirected;
		sum.unserved += percpu[i].unserved;
		sum.rejected += percpu[i].rejected;
		sum.no_meta += percpu[i].no_meta;
	}
	return sum;
}

/* ---- filters, and what they mean ---- */

static bool all(const struct chain_frame *f)
{
	(void)f;
	return true;
}

static bool udp(const struct chain_frame *f)
{
	return f->ip && f->proto == 17;
}

static bool tcp_port_80(const struct chain_frame *f)
{
	return f->ip && f->proto == 6 && (f->sport == 80 || f->dport == 80);
}

static bool src_port(const struct chain_frame *f)
{
	return f->ip && f->sport == 1003;
}

static bool host(const struct chain_frame *f)
{
	return f->ip && (f->src == 2 || f->dst == 2);
}

static bool net(const struct chain_frame *f)
{
	return f->ip && f->dst < 4;
}

static bool short_lived(const struct chain_frame *f)
{
	return f->ip && f->ttl < 3;
}

static bool is_long(const struct chain_frame *f)
{
	return f->len >= 200;
}

static bool not_ip(const struct chain_frame *f)
{
	return !f->ip;
}

static bool either(const struct chain_frame *f)
{
	return f->ip && ((f->proto == 17 && f->dport == 53) || (f->proto == 6 && f->ttl > 2));
}

const struct chain_filter chain_filters[] = {
	{ "", all },
	{ "udp", udp },
	{ "tcp port 80", tcp_port_80 },
	{ "src port 1003", src_port },
	{ "host 198.51.100.2 or host 203.0.113.2", host },
	{ "dst net 203.0.113.0/30", net },
	{ "ip[8] < 3", short_lived },
	{ "len >= 200", is_long },
	{ "not ip", not_ip },
	{ "udp dst port 53 or (tcp and ip[8] > 2)", either },
};
const uint32_t chain_n_filters = ARRAY_LEN(chain_filters);

/* ---- frames ---- */

static uint64_t draw(uint64_t *seed, uint64_t below)
{
	*seed ^= *seed >> 12; /* xorshift64* */
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return (*seed * 0x2545f4914f6cdd1dull >> 32) % below;
}

struct chain_frame chain_random_frame(uint64_t *seed)
{
	static const uint16_t sports[] = { 80, 1003 }, dports[] = { 53, 80 };
	struct chain_frame f = {
		.ip = draw(seed, 8) > 0,
		.ttl = (uint8_t)(1 + draw(seed, 4)),
		.len = (uint16_t)(60 + draw(seed, 300)),
	};

	if (f.ip) {
		f.proto = draw(seed, 2) ? 6 : 17;
		f.src = (uint8_t)(1 + draw(seed, 2));
		f.dst = (uint8_t)(2 + 3 * draw(seed, 2));
		f.sport = sports[draw(seed, 2)];
		f.dport = dports[draw(seed, 2)];
	}
	return f;
}

uint32_t chain_flow(const struct chain_frame *f)
{
	if (!f->ip)
		return 0;
	/* the five choices of chain_random_frame; 0 is for the others */
	return 1 + (uint32_t)((f->proto == 6) | (f->src == 2) << 1 | (f->dst == 5) << 2 |
			      (f->sport == 80) << 3 | (f->dport == 80) << 4);
}

static void build(const struct chain_frame *f, uint8_t *out)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	const uint16_t ports[2] = { htons(f->sport), htons(f->dport) };
	const uint16_t total = htons((uint16_t)(f->len - 14));

	memset(out, 0, f->len);
	memcpy(out, macs, 12);
	memcpy(out + 12, f->ip ? (uint8_t[]){ 8, 0 } : (uint8_t[]){ 0x88, 0xb5 }, 2);
	if (!f->ip)
		return;
	out[14] = 0x45;
	memcpy(out + 16, &total, 2);
	out[22] = f->ttl;
	out[23] = f->proto;
	memcpy(out + 26, (uint8_t[]){ 198, 51, 100, f->src, 203, 0, 113, f->dst }, 8);
	memcpy(out + 34, ports, 4);
}

static uint32_t run(const struct chain *chain, const struct chain_frame *f, uint8_t *out, uint32_t room)
{
	static uint8_t in[1600];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = f->len, .data_out = out,
		    .data_size_out = room, .repeat = 1);

	build(f, in);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(chain->skel->progs.prefilter), &opts), 0);
	return opts.retval;
}

uint64_t chain_run(const struct chain *chain, const struct chain_frame *f)
{
	static uint8_t out[1600 + SKEP_META_BYTES];
	struct skep_meta m;

	if (run(chain, f, out, sizeof(out)) != XDP_REDIRECT)
		return 0;
	memcpy(&m, out, sizeof(m));
	assert_int_equal(m.magic, SKEP_META_MAGIC);
	assert_int_equal(m.wire_len, f->len);
	assert_true(m.jobs != 0);
	return m.jobs;
}

bool chain_run_unserved(const struct chain *chain, const struct chain_frame *f)
{
	static uint8_t out[1600 + SKEP_META_BYTES];
	uint32_t action = run(chain, f, out, sizeof(out));

	assert_true(action == XDP_PASS || action == XDP_DROP);
	return action == XDP_PASS;
}

void chain_pin(uint32_t nth)
{
	static cpu_set_t allowed;
	static bool known;
	cpu_set_t one;
	uint32_t n = 0;

	if (!known)
		assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	known = true;
	nth %= (uint32_t)CPU_COUNT(&allowed);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && n++ == nth)
			CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}
