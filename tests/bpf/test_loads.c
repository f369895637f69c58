/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that this kernel takes every program there is: those of bpf/, with and without the NIC's metadata,
 * and the programs made of the filters of filters.txt, in sets of 64 jobs as a link runs them, plain and with
 * a look inside tunnels. No packet is run: what the programs do is the subject of the other tests, and on the
 * slow machines of tests/vm those would take too long. Each case writes how long the kernel took.
 *
 * test_loads [FILE]: other filters than those of filters.txt.
 */
#include <bpf/libbpf.h>

/* Both libraries have a struct bpf_insn; libpcap steps back when told so. */
#define PCAP_DONT_INCLUDE_PCAP_BPF_H

#include "bpf/abi/skep_gen.h"
#include "bpf/abi/skep_inner.h"
#include "bpf/gen.skel.h"
#include "bpf/mirror.skel.h"
#include "bpf/rxnull.skel.h"
#include "capture/filter/jobset.h"
#include "tests/bpf/chain.h"
#include "tests/bpf/flt_exprs.h"
#include "tests/bpf/rig.h"

#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#ifndef BPF_F_XDP_DEV_BOUND_ONLY
#define BPF_F_XDP_DEV_BOUND_ONLY (1U << 6)
#endif

/* The file of filters; another one where the sources are not at hand. */
static const char *filters = FLT_FILES "/filters.txt";

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void tell(const char *what, uint32_t n, uint64_t since_ns)
{
	printf("# %s: %u loaded, %.2f s\n", what, n, (double)(now_ns() - since_ns) / 1e9);
}

static void programs_of_the_generator_and_the_peer(void **state)
{
	uint64_t since = now_ns();
	struct skep_gen *gen = skep_gen__open_and_load();
	struct skep_rxnull *rxnull = skep_rxnull__open_and_load();

	(void)state;
	assert_non_null(gen);
	assert_non_null(rxnull);
	tell("gen, rxnull", 2, since);
	skep_gen__destroy(gen);
	skep_rxnull__destroy(rxnull);
}

static void mirror_without_metadata(void **state)
{
	uint64_t since = now_ns();
	struct skep_mirror *skel = skep_mirror__open();

	(void)state;
	assert_non_null(skel);
	bpf_program__set_autoload(skel->progs.mirror_hints, false);
	assert_int_equal(skep_mirror__load(skel), 0);
	tell("mirror", 1, since);
	skep_mirror__destroy(skel);
}

static void bind_to_near(struct bpf_program *prog)
{
	bpf_program__set_ifindex(prog, if_nametoindex(RIG_NEAR));
	bpf_program__set_flags(prog, bpf_program__flags(prog) | BPF_F_XDP_DEV_BOUND_ONLY);
}

/* Linux 6.3 and later: a kernel that does not know the flag says EINVAL, and skep goes on without. */
static void programs_that_read_the_nic_s_metadata(void **state)
{
	uint64_t since = now_ns();
	struct skep_prefilter *prefilter = skep_prefilter__open();
	struct skep_mirror *mirror = skep_mirror__open();
	int r;

	(void)state;
	assert_non_null(prefilter);
	assert_non_null(mirror);
	rig_make_pair(1500, 1);
	prefilter->rodata->nic_timestamps = mirror->rodata->nic_timestamps = true;
	prefilter->rodata->filtered = true;
	bind_to_near(prefilter->progs.prefilter_hints);
	bind_to_near(mirror->progs.mirror_hints);
	r = skep_prefilter__load(prefilter);
	if (r == 0) {
		assert_int_equal(skep_mirror__load(mirror), 0);
		tell("prefilter, mirror with metadata", 2, since);
	}
	skep_prefilter__destroy(prefilter);
	skep_mirror__destroy(mirror);
	rig_delete_pair();
	if (r == -EINVAL) {
		printf("# before Linux 6.3 no program is bound to a device\n");
		skip();
	}
	assert_int_equal(r, 0);
}

/* Fills the set from the file; how many jobs it has now. */
static uint32_t fill(struct flt_jobset *set, FILE *f, uint32_t inside, uint32_t *unknown)
{
	const char *expr = NULL;
	uint32_t n = 0;

	while (n < SKEP_MAX_JOBS && (expr = next_expr(f))) {
		const struct flt_job_spec job = { .slot = n,
						  .filter = expr,
						  .inside = inside,
						  .reduction = { .sample_every = n % 3 } };
		struct skep_err err = SKEP_ERR_NULL;
		int r, tries = 0;

		do /* half a second is enough for libpcap on a real machine only */
			r = flt_jobset_put(set, &job, &err);
		while (r && strstr(err.text, "took too long") && ++tries < 5);
		if (r == 0)
			n++;
		else
			++*unknown;
	}
	return n;
}

/* The chain, the look and the reduce stage, and then one set after the other in it, as jobs come and go. */
static void load_sets(uint32_t inside, uint32_t at_most)
{
	FILE *f = fopen(filters, "re");
	struct flt_jobset *set = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t n, sets = 0, unknown = 0;
	struct chain chain;

	assert_non_null(f);
	chain_open(&chain);
	if (flt_jobset_new(&chain.maps, true, &set, &err))
		fail_msg("%s", err.text);
	while (sets < at_most && (n = fill(set, f, inside, &unknown)) > 0) {
		uint64_t since = now_ns();

		if (flt_jobset_commit(set, sets++ % SKEP_GENERATIONS, &err))
			fail_msg("set %u: %s", sets, err.text);
		tell(inside ? "filters in one program, also inside" : "filters in one program", n, since);
		for (uint32_t i = 0; i < n; i++)
			flt_jobset_drop(set, i);
	}
	assert_true(sets == at_most || sets >= 4);
	assert_true(unknown <= 8);
	set = flt_jobset_free(set);
	chain_close(&chain);
	assert_int_equal(fclose(f), 0);
}

static void every_filter_in_sets_of_64(void **state)
{
	(void)state;
	load_sets(0, UINT32_MAX);
}

static void a_set_that_looks_inside(void **state)
{
	(void)state;
	load_sets(SKEP_INNER_ALL, 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_of_the_generator_and_the_peer),
		cmocka_unit_test(mirror_without_metadata),
		cmocka_unit_test(programs_that_read_the_nic_s_metadata),
		cmocka_unit_test(every_filter_in_sets_of_64),
		cmocka_unit_test(a_set_that_looks_inside),
	};

	if (argc > 1)
		filters = argv[1];
	if (!rig_enter())
		return 77;
	return cmocka_run_group_tests_name("loads", tests, NULL, NULL);
}
