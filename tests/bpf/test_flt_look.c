/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves of the look stage in the kernel: with captures ($SKEP_PCAPS) and generated frames (QUIC and what is
 * nearly QUIC, plain, cut, damaged, in tunnels), in order, a job with presets and lists wants exactly the
 * frames in XDP that the evaluator wants in user space, whatever part of the frame is in the first buffer,
 * and looking inside or not; the table of flows keeps its bound, and says how many it forgot; sets of lists
 * come and go and every address is always in exactly the lists that have it; without filters the frame goes
 * on, wanted by all.
 */
#include "tests/bpf/flt_maps.h" /* first: two libraries have a struct bpf_insn */

#include "tests/bpf/flt_encap.h"
#include "tests/bpf/flt_quic.h"

#include "capture/filter/classifier.h"
#include "capture/filter/eval.h"
#include "capture/filter/front.h"
#include "capture/filter/inside.h"
#include "capture/filter/look.h"
#include "capture/filter/run.h"

#include <arpa/inet.h>
#include <errno.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
	const char *expr;
	uint32_t inside;
} filters[] = {
	{ "quic", 0 },
	{ "not quic", 0 },
	{ "udp and not quic", 0 },
	{ "quic and host 10.0.0.1", 0 },
	{ "quic or tcp port 80", 0 },
	{ "ip6 and quic and greater 100", 0 },
	{ "quic and udp[8] & 0x80 = 0", 0 },
	{ "net in @a", 0 },
	{ "host in @b", 0 },
	{ "src net in @a", 0 },
	{ "dst net in @b", 0 },
	{ "src and dst net in @b", 0 },
	{ "not host in @a", 0 },
	{ "tcp and not (src net in @a or dst net in @b)", 0 },
	{ "quic and src net in @a", 0 },
	{ "net in @a and net in @b and not udp port 53", 0 },
	{ "arp host in @b", 0 },
	{ "tcp port 443", 0 },
	{ "dns", 0 },
	{ "quic", SKEP_INNER_ALL },
	{ "not quic", SKEP_INNER_ALL },
	{ "quic and ip6", SKEP_INNER_VLAN | SKEP_INNER_QINQ },
	{ "quic and src net in @a", SKEP_INNER_VXLAN },
	{ "src net in @b", SKEP_INNER_ALL & ~SKEP_INNER_GRE },
	{ "quic and less 200", SKEP_INNER_ERSPAN },
	{ "dst net in @b", SKEP_INNER_GRE | SKEP_INNER_MPLS },
	{ "tcp port 80", SKEP_INNER_ALL },
};

#define JOBS ARRAY_LEN(filters)

static const char list_a[] = "10.0.0.0/8\n192.168.0.0/16\n2001:db8::/32\n# more\n10.0.0.1\n8.8.8.8\n";
static const char list_b[] = "10.0.0.1\n192.168.1.0/24\nfe80::1\n2001:db8::ff\n0.0.0.0\n198.51.100.1\n";

struct bench {
	struct flt_chain chain;
	struct flt_lists *lists;
	struct flt_look *look;
	struct bpf_program *cbpf[JOBS];
	struct flt_eval *eval[JOBS];
	struct flt_code code[JOBS], inside_code[JOBS];
	struct flt_job jobs[JOBS];
	int fd;
};

static struct packets packets;

/* @a and @b as paths of the test's own; the context has them by that name, so no file is read. */
static void expand_names(const char *expr, const char *dir, char *out, size_t size)
{
	size_t n = 0;

	for (; *expr && n + 80 < size; expr++) {
		if (*expr == '@')
			n += (size_t)snprintf(out + n, size - n, "@%s/", dir);
		else
			out[n++] = *expr;
	}
	out[n] = '\0';
}

static char *write_lists(void)
{
	static char dir[] = "/tmp/skep-look-XXXXXX";
	static bool made;
	char path[64];

	if (made)
		return dir;
	assert_non_null(mkdtemp(dir));
	made = true;
	for (int i = 0; i < 2; i++) {
		FILE *f;

		(void)snprintf(path, sizeof(path), "%s/%c", dir, 'a' + i);
		f = fopen(path, "we");
		assert_non_null(f);
		assert_true(fputs(i ? list_b : list_a, f) >= 0);
		assert_int_equal(fclose(f), 0);
	}
	return dir;
}

static void add_job(struct bench *b, uint32_t i)
{
	struct skep_err err = SKEP_ERR_NULL;
	const struct flt_cbpf *insns;
	char expr[512];
	struct flt_ask ask = { .expr = expr, .linktype = 1, .snaplen = 65535, .lists = b->lists };
	uint32_t n, used = 0;
	int r;

	expand_names(filters[i].expr, write_lists(), expr, sizeof(expr));
	b->cbpf[i] = flt_front_new();
	r = flt_front_compile_ask(&ask, b->cbpf[i], &used, &err);
	if (r == 0) {
		insns = flt_front_insns(b->cbpf[i], &n);
		r = flt_translate(insns, n, FLT_LENGTH_FRAME, &b->code[i], &err);
	}
	if (r == 0 && filters[i].inside)
		r = flt_translate_inside(insns, n, FLT_LENGTH_FRAME, &b->inside_code[i], &err);
	if (r == 0)
		r = flt_eval_new(b->cbpf[i], b->lists, 0, &b->eval[i], &err);
	if (r)
		fail_msg("\"%s\": %s", expr, err.text);
	b->jobs[i] = (struct flt_job){ .slot = i, .code = &b->code[i] };
	if (filters[i].inside) {
		b->jobs[i].inside = filters[i].inside;
		b->jobs[i].inside_code = &b->inside_code[i];
	}
}

static void open_look(struct bench *b, uint32_t flows, uint32_t prefixes)
{
	struct flt_look_cfg cfg = { .flows = flows, .prefixes = prefixes };
	struct skep_err err = SKEP_ERR_NULL;

	*b = (struct bench){ .fd = -1 };
	flt_chain_open(&b->chain);
	cfg.progs_fd = b->chain.progs_fd;
	cfg.scratch_fd = b->chain.scratch_fd;
	assert_int_equal(flt_lists_new(&b->lists, &err), 0);
	if (flt_look_open(&cfg, &b->look, &err))
		fail_msg("%s", err.text);
}

static void close_bench(struct bench *b)
{
	for (uint32_t i = 0; i < JOBS; i++) {
		flt_eval_free(b->eval[i]);
		flt_code_done(&b->code[i]);
		flt_code_done(&b->inside_code[i]);
		if (b->cbpf[i])
			flt_front_free(b->cbpf[i]);
		free(b->cbpf[i]);
	}
	flt_look_close(b->look);
	flt_lists_free(b->lists);
	skep_closep(&b->fd);
	flt_chain_close(&b->chain);
}

static void open_bench(struct bench *b)
{
	struct flt_surroundings around = { .rejected_offset = offsetof(struct skep_xdp_counters, rejected),
					   .rejected_action = XDP_DROP };
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t slot = SKEP_PROG_CLASSIFY, needs = 0, inside = 0;

	open_look(b, 0, 0);
	for (uint32_t i = 0; i < JOBS; i++) {
		add_job(b, i);
		needs |= b->code[i].needs;
		inside |= filters[i].inside;
	}
	assert_int_equal(needs, FLT_NEEDS_MARKS | FLT_NEEDS_LISTS);
	around.progs_fd = b->chain.progs_fd;
	around.scratch_fd = b->chain.scratch_fd;
	around.generations_fd = b->chain.generations_fd;
	around.counters_fd = b->chain.counters_fd;
	if (flt_classifier_load(b->jobs, JOBS, &around, &b->fd, &err) ||
	    flt_look_set_lists(b->look, b->lists, &err))
		fail_msg("%s", err.text);
	assert_int_equal(flt_look_need(b->look, needs, inside), 0);
	assert_int_equal(bpf_map_update_elem(b->chain.progs_fd, &slot, &b->fd, 0), 0);
}

/* What the chain of look, filters and delivery returns for a frame. */
static uint32_t run_look(const struct bench *b, const struct packet *p, uint32_t linear)
{
	struct xdp_md ctx = { .data_end = linear ? linear : p->len };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->bytes, .data_size_in = p->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);

	if (bpf_prog_test_run_opts(flt_look_prog_fd(b->look), &opts))
		fail_msg("test run: %s", strerror(errno));
	return opts.retval;
}

static uint64_t in_xdp(const struct bench *b, const struct packet *p, uint32_t linear)
{
	uint32_t action = run_look(b, p, linear);

	assert_true(action == XDP_DROP || action == FLT_CHAIN_DELIVERED);
	return action == XDP_DROP ? 0 : flt_chain_jobs(&b->chain);
}

static uint64_t in_user_space(const struct bench *b, const struct packet *p)
{
	const struct flt_piece frame = { p->bytes, p->len, p->len };
	static uint8_t room[65536];
	uint64_t mask = 0;

	for (uint32_t i = 0; i < JOBS; i++) {
		bool takes = filters[i].inside
				     ? flt_eval_match_inside(b->eval[i], &frame, filters[i].inside, room) > 0
				     : flt_eval_match(b->eval[i], p->bytes, p->len, p->len) > 0;

		mask |= (uint64_t)takes << i;
	}
	return mask;
}

static bool has_small_buffers(const struct bench *b)
{
	struct xdp_md ctx = { .data_end = 14 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packets.v[0].bytes, .data_size_in = packets.v[0].len,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);

	return bpf_prog_test_run_opts(flt_look_prog_fd(b->look), &opts) == 0;
}

static void compare(bool small)
{
	size_t bad = 0, taken[JOBS] = { 0 };
	struct flt_look_account account;
	uint64_t added, evicted;
	struct bench b;

	open_bench(&b);
	if (small && !has_small_buffers(&b)) {
		close_bench(&b);
		print_message(
			"# this kernel cannot make a test frame with a small first buffer (Linux 6.18)\n");
		skip();
	}
	for (size_t i = 0; i < packets.n && bad < 10; i++) {
		const struct packet *p = &packets.v[i];
		uint32_t linear = small ? SKEP_MIN(14 + (uint32_t)(i % 90), p->len) : 0;
		uint64_t user = in_user_space(&b, p), xdp = in_xdp(&b, p, linear);

		for (uint32_t k = 0; k < JOBS; k++)
			taken[k] += user >> k & 1;
		if (user == xdp)
			continue;
		bad++;
		print_message("# packet %zu of %u bytes: user space %08llx, XDP %08llx\n", i, p->len,
			      (unsigned long long)user, (unsigned long long)xdp);
	}
	assert_int_equal(bad, 0);
	assert_int_equal(flt_look_account(b.look, &account), 0);
	flt_eval_flows(b.eval[19], &added, &evicted); /* quic inside everything */
	print_message("# %zu packets, %llu flows of QUIC, %zu packets of them, %zu with those inside\n",
		      packets.n, (unsigned long long)account.flows_added, taken[0], taken[19]);
	assert_int_equal(account.flows_added, added);
	assert_int_equal(account.flows_evicted + evicted + account.flows_refused, 0);
	for (uint32_t k = 0; k < JOBS; k++)
		assert_true(taken[k] > 20);
	close_bench(&b);
}

static void test_xdp_is_user_space(void **state)
{
	(void)state;
	compare(false);
}

static void test_small_first_buffer(void **state)
{
	(void)state;
	compare(true);
}

/* skep-filter's way: one filter behind a look stage of its own, the packet's length from its metadata. */
static void test_run_load(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	for (uint32_t i = 0; i < JOBS; i++) {
		SKEP_CLEANUP(flt_run_unload) struct flt_loaded prog = FLT_LOADED_NULL;
		SKEP_CLEANUP(flt_code_done) struct flt_code code = FLT_CODE_NULL;
		struct skep_err err = SKEP_ERR_NULL;
		uint32_t n, verdict = 0;
		const struct flt_cbpf *insns = flt_front_insns(b.cbpf[i], &n);

		if (filters[i].inside)
			continue;
		assert_int_equal(flt_translate(insns, n, FLT_LENGTH_META, &code, &err), 0);
		if (flt_run_load_lists(&code, b.lists, &prog, &err))
			fail_msg("%s", err.text);
		for (size_t k = 0; k < packets.n; k += k < 2000 ? 1 : 7) {
			const struct packet *p = &packets.v[k];
			const struct flt_packet run = { .bytes = p->bytes,
							.len = p->len,
							.wire_len = p->wire_len };

			assert_int_equal(flt_run_packet(&prog, &run, 1, &verdict, NULL), 0);
			if (verdict != flt_eval_match(b.eval[i], p->bytes, p->wire_len, p->len))
				fail_msg("\"%s\": packet %zu: XDP %u", filters[i].expr, k, verdict);
		}
	}
	close_bench(&b);
}

static void test_nothing_to_look_for(void **state)
{
	struct quic_shape q = QUIC_INITIAL;
	uint8_t bytes[2048];
	struct packet p = { .len = make_quic(bytes, &q), .bytes = bytes };
	struct flt_look_account account;
	struct bench b;

	(void)state;
	open_look(&b, 0, 0);
	flt_chain_set_jobs(&b.chain, 5);
	/* No classifier: everybody wants it; nothing is looked for before somebody needs it. */
	assert_int_equal(run_look(&b, &p, 0), FLT_CHAIN_DELIVERED);
	assert_true(flt_chain_jobs(&b.chain) == UINT64_MAX);
	assert_int_equal(flt_chain_scratch(&b.chain)->facts[0].marks, 0);
	assert_int_equal(flt_look_account(b.look, &account), 0);
	assert_int_equal(account.flows_added, 0);
	assert_int_equal(flt_look_need(b.look, FLT_NEEDS_MARKS, 0), 0);
	assert_int_equal(run_look(&b, &p, 0), FLT_CHAIN_DELIVERED);
	assert_int_equal(flt_chain_scratch(&b.chain)->facts[0].marks, 1);
	assert_int_equal(flt_look_need(b.look, 0, 0), 0);
	assert_int_equal(run_look(&b, &p, 0), FLT_CHAIN_DELIVERED);
	assert_int_equal(flt_chain_scratch(&b.chain)->facts[0].marks, 0);
	close_bench(&b);
}

/* Ways through the program multiply easily: all of it inlined took the verifier 0.4 s. */
static void test_verifier_is_quick(void **state)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	struct bench b;

	(void)state;
	open_look(&b, 0, 0);
	assert_int_equal(bpf_obj_get_info_by_fd(flt_look_prog_fd(b.look), &info, &len), 0);
	print_message("# %u instructions, of which the verifier walked %u\n",
		      info.xlated_prog_len / (uint32_t)sizeof(struct bpf_insn), info.verified_insns);
	assert_true(info.verified_insns < 60000); /* 0: a kernel before 5.16 does not tell */
	close_bench(&b);
}

static void test_flows_have_a_bound(void **state)
{
	enum { ROOM = 4096, FLOWS = 20000 };
	struct quic_shape q = QUIC_INITIAL, favourite = QUIC_INITIAL;
	uint8_t bytes[2048], loved[2048];
	struct packet p = { .bytes = bytes }, love = { .bytes = loved };
	struct flt_look_account account;
	struct bench b;

	(void)state;
	open_look(&b, ROOM, 0);
	assert_int_equal(flt_look_need(b.look, FLT_NEEDS_MARKS, 0), 0);
	favourite.client = 250;
	love.len = make_quic(loved, &favourite);
	(void)run_look(&b, &love, 0);
	favourite.first = 0x40;
	love.len = make_quic(loved, &favourite);
	for (uint32_t i = 0; i < FLOWS; i++) {
		q.port = (uint16_t)(i % 10000 + 1);
		q.client = (uint8_t)(i / 10000);
		p.len = make_quic(bytes, &q);
		(void)run_look(&b, &p, 0);
		(void)run_look(&b, &love, 0);
		assert_int_equal(flt_chain_scratch(&b.chain)->facts[0].marks, 1); /* it speaks, so it stays */
	}
	assert_int_equal(flt_look_account(b.look, &account), 0);
	print_message("# %llu flows: %llu known, %llu forgotten, %llu refused\n",
		      (unsigned long long)account.flows_added, (unsigned long long)account.flows_known,
		      (unsigned long long)account.flows_evicted, (unsigned long long)account.flows_refused);
	assert_int_equal(account.flows_added, FLOWS + 1);
	assert_int_equal(account.flows_refused, 0);
	assert_true(account.flows_known <= ROOM && account.flows_known > ROOM / 2);
	assert_int_equal(account.flows_known + account.flows_evicted, account.flows_added);
	close_bench(&b);
}

/* An Ethernet frame from an address, of IPv4 or IPv6. */
static void make_from(struct packet *p, uint8_t version, const uint8_t *addr)
{
	memset(p->bytes, 0, 60);
	put(p->bytes, 12, version == 4 ? "0800 45" : "86dd 60");
	memcpy(p->bytes + (version == 4 ? 26 : 22), addr, version == 4 ? 4 : 16);
	p->len = 60;
}

static void check_addresses(struct bench *b, uint64_t *seed)
{
	struct flt_ranges *ranges = NULL;
	uint8_t bytes[64], addr[16];
	struct packet p = { .bytes = bytes };

	assert_int_equal(flt_ranges_new(b->lists, &ranges, NULL), 0);
	for (int i = 0; i < 400; i++) {
		uint8_t version = i % 2 ? 4 : 6;

		for (int k = 0; k < 16; k++)
			addr[k] =
				k < 2 || k == (version == 4 ? 3 : 15) ? (uint8_t)(next_random(seed) % 3) : 0;
		make_from(&p, version, addr);
		(void)run_look(b, &p, 0);
		assert_int_equal(flt_chain_scratch(&b->chain)->facts[0].src_lists,
				 flt_ranges_find(ranges, version, addr));
	}
	flt_ranges_free(ranges);
}

static uint32_t random_list(struct flt_lists *l, uint64_t *seed)
{
	char text[8192], addr[INET6_ADDRSTRLEN];
	uint32_t index = 0;
	size_t n = 0;

	for (uint64_t lines = 1 + next_random(seed) % 40; lines > 0; lines--) {
		int version = next_random(seed) % 2 ? 4 : 6;
		unsigned bits = (unsigned)(next_random(seed) % (version == 4 ? 33 : 129));
		uint8_t a[16] = { 0 };

		for (unsigned k = 0; k < 16; k++)
			if (k < 2 || k == (version == 4 ? 3 : 15))
				a[k] = (uint8_t)(next_random(seed) % 3);
		for (unsigned k = bits; k < (version == 4 ? 32u : 128u); k++)
			a[k / 8] &= (uint8_t) ~(1u << (7 - k % 8));
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s/%u\n",
				      inet_ntop(version == 4 ? AF_INET : AF_INET6, a, addr, sizeof(addr)),
				      bits);
	}
	assert_int_equal(flt_lists_add(l, "random", text, n, &index, NULL), 0);
	return index;
}

static void test_lists_come_and_go(void **state)
{
	struct flt_look_account account;
	uint64_t seed = 271828;
	struct bench b;

	(void)state;
	open_look(&b, 0, 0);
	assert_int_equal(flt_look_need(b.look, FLT_NEEDS_LISTS, 0), 0);
	for (int round = 0; round < 60; round++) {
		uint32_t have = flt_lists_mask(b.lists), out = have & (uint32_t)next_random(&seed);

		flt_lists_release(b.lists, round == 59 ? have : out);
		if (round % 3 == 0)
			check_addresses(&b, &seed); /* until the sweep nothing has changed */
		if (round % 5 > 1 || round == 59)
			(void)flt_lists_sweep(b.lists);
		for (uint64_t n = next_random(&seed) % 4; n > 0 && round < 59; n--)
			if (flt_lists_mask(b.lists) != UINT32_MAX)
				(void)random_list(b.lists, &seed);
		assert_int_equal(flt_look_set_lists(b.look, b.lists, NULL), 0);
		check_addresses(&b, &seed);
	}
	assert_int_equal(flt_look_account(b.look, &account), 0);
	assert_int_equal(account.prefixes, 0);
	close_bench(&b);
}

static void test_too_many_prefixes(void **state)
{
	char text[64 * 300];
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t index;
	size_t n = 0;
	uint64_t seed = 3;
	struct bench b;

	(void)state;
	open_look(&b, 0, 200);
	assert_int_equal(flt_look_need(b.look, FLT_NEEDS_LISTS, 0), 0);
	(void)random_list(b.lists, &seed);
	assert_int_equal(flt_look_set_lists(b.look, b.lists, &err), 0);
	for (int i = 0; i < 300; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "203.0.%d.%d\n", i / 200, i % 200);
	assert_int_equal(flt_lists_add(b.lists, "many", text, n, &index, &err), 0);
	assert_int_equal(flt_look_set_lists(b.look, b.lists, &err), SKEP_E_NO_SPACE);
	assert_true(err.text[0] != '\0');
	flt_lists_release(b.lists, 1u << index);
	assert_true(flt_lists_sweep(b.lists));
	check_addresses(&b, &seed); /* the others are as they were */
	assert_int_equal(flt_look_set_lists(b.look, b.lists, &err), 0);
	check_addresses(&b, &seed);
	close_bench(&b);
}

static void test_long_list(void **state)
{
	enum { LINES = 100000 };
	char *text = malloc((size_t)LINES * 40);
	struct timespec from, to;
	uint64_t seed = 17;
	uint8_t bytes[64];
	struct packet p = { .bytes = bytes };
	struct bench b;
	uint32_t index, addr;
	size_t n = 0;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < LINES; i++) {
		uint32_t v = (uint32_t)next_random(&seed);

		n += (size_t)snprintf(text + n, 40, i % 2 ? "%u.%u.%u.%u\n" : "2001:db8:%x:%x:%x::%x\n",
				      v >> 24, v >> 16 & 0xff, v >> 8 & 0xff, v & 0xff);
	}
	open_look(&b, 0, 0);
	assert_int_equal(flt_look_need(b.look, FLT_NEEDS_LISTS, 0), 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	assert_int_equal(flt_lists_add(b.lists, "long", text, n, &index, NULL), 0);
	assert_int_equal(flt_look_set_lists(b.look, b.lists, NULL), 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	print_message("# %d addresses read and in the kernel after %ld ms of processor time\n", LINES,
		      (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000);
	assert_true(to.tv_sec - from.tv_sec < 2);
	seed = 17;
	(void)next_random(&seed);
	addr = htonl((uint32_t)next_random(&seed));
	make_from(&p, 4, (const uint8_t *)&addr);
	(void)run_look(&b, &p, 0);
	assert_int_equal(flt_chain_scratch(&b.chain)->facts[0].src_lists, 1u << index);
	close_bench(&b);
	free(text);
}

static int collect(void **state)
{
	uint64_t seed = 8080;
	cpu_set_t one;

	(void)state;
	/* Per-CPU maps: stay on one. */
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
	add_quic(&packets, 6000, &seed);
	add_wrapped_quic(&packets, 6000, &seed);
	add_generated(&packets, 2000, &seed);
	add_encapsulated(&packets, 1500, &seed);
	add_captures(&packets);
	return 0;
}

static int drop(void **state)
{
	char path[64];

	(void)state;
	free_packets(&packets);
	for (int i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s/%c", write_lists(), 'a' + i);
		(void)unlink(path);
	}
	(void)rmdir(write_lists());
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xdp_is_user_space),
		cmocka_unit_test(test_small_first_buffer),
		cmocka_unit_test(test_run_load),
		cmocka_unit_test(test_verifier_is_quick),
		cmocka_unit_test(test_nothing_to_look_for),
		cmocka_unit_test(test_flows_have_a_bound),
		cmocka_unit_test(test_lists_come_and_go),
		cmocka_unit_test(test_too_many_prefixes),
		cmocka_unit_test(test_long_list),
	};

	if (geteuid() != 0) {
		puts("loading BPF programs needs root");
		return 77;
	}
	return cmocka_run_group_tests_name("flt_look", tests, collect, drop);
}
