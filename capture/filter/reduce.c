/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The user space side of bpf/reduce.bpf.c: loads it beside a link's prefilter, whose maps it shares, writes
 * what each job asks for, reads what was taken away.
 *
 * Everything here is map access through descriptors and one mapped page; frames pass meanwhile. Control
 * thread.
 */
#include "capture/filter/reduce.h"

#include "bpf/abi/skep_abi.h"
#include "bpf/reduce.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* Entries of the table of flows that one call of the kernel copies. */
#define LOOK_ENTRIES 4096u

struct flt_reduce {
	struct skep_reduce *skel;
	int n_cpus;
	uint32_t epoch;
	uint64_t earlier_flows; /* made by jobs whose counters were cleared since */
	struct skep_reduce_counters *per_cpu;
};

static int share(struct bpf_map *map, int fd, struct skep_err *err)
{
	int r = bpf_map__reuse_fd(map, fd);

	return r ? skep_err_set(err, r, "the reduce stage cannot share the map %s: %s", bpf_map__name(map),
				strerror(-r))
		 : 0;
}

static int load(struct flt_reduce *reduce, const struct flt_reduce_cfg *cfg, struct skep_err *err)
{
	struct skep_reduce *skel = reduce->skel;
	int r = share(skel->maps.progs, cfg->progs_fd, err);

	if (r == 0)
		r = share(skel->maps.scratch, cfg->scratch_fd, err);
	if (r == 0)
		r = share(skel->maps.counters, cfg->counters_fd, err);
	if (r)
		return r;
	skel->rodata->rejected_action = cfg->rejected_action;
	skel->rodata->seed = cfg->seed;
	if (!cfg->seed && getrandom((void *)&skel->rodata->seed, sizeof(skel->rodata->seed), 0) < 0)
		return skep_err_set(err, -errno, "no random seed for flow hashes: %s", strerror(errno));
	r = bpf_map__set_max_entries(skel->maps.flows, cfg->flows ? cfg->flows : FLT_REDUCE_FLOWS);
	if (r == 0)
		r = skep_reduce__load(skel);
	return r ? skep_err_set(err, r, "the kernel refused the program for sampling and cut-off: %s",
				strerror(-r))
		 : 0;
}

int flt_reduce_open(const struct flt_reduce_cfg *cfg, struct flt_reduce **ret, struct skep_err *err)
{
	struct flt_reduce *reduce = calloc(1, sizeof(*reduce));
	int r;

	if (!reduce)
		return skep_err_set(err, -ENOMEM, "no memory for sampling and cut-off");
	reduce->n_cpus = libbpf_num_possible_cpus();
	reduce->skel = skep_reduce__open();
	if (reduce->n_cpus > 0)
		reduce->per_cpu = calloc((size_t)reduce->n_cpus, sizeof(*reduce->per_cpu));
	r = reduce->skel && reduce->per_cpu ? load(reduce, cfg, err)
					    : skep_err_set(err, -ENOMEM, "no memory for sampling and cut-off");
	if (r) {
		(void)flt_reduce_close(reduce);
		return r;
	}
	*ret = reduce;
	return 0;
}

struct flt_reduce *flt_reduce_close(struct flt_reduce *reduce)
{
	if (reduce) {
		skep_reduce__destroy(reduce->skel);
		free(reduce->per_cpu);
	}
	free(reduce);
	return NULL;
}

int flt_reduce_prog_fd(const struct flt_reduce *reduce)
{
	return bpf_program__fd(reduce->skel->progs.reduce);
}

static void set_bit(volatile __u64 *mask, uint32_t slot, bool on)
{
	*mask = on ? *mask | 1ull << slot : *mask & ~(1ull << slot);
}

int flt_reduce_set(struct flt_reduce *reduce, uint32_t slot, const struct flt_reduction *reduction,
		   struct skep_err *err)
{
	static const struct flt_reduction nothing;
	const struct flt_reduction *want = reduction ? reduction : &nothing;
	const struct skep_reduce_job job = {
		.sample_every = want->sample_every,
		.flags = want->sample_by_flow ? SKEP_REDUCE_BY_FLOW : 0,
		.cutoff_pkts = want->cutoff_pkts,
		.cutoff_bytes = want->cutoff_bytes,
		.epoch = ++reduce->epoch,
	};
	bool by_flow =
		(want->sample_every > 1 && want->sample_by_flow) || want->cutoff_pkts || want->cutoff_bytes;
	struct flt_reduce_account before;
	int r = flt_reduce_account(reduce, slot, &before);

	set_bit(&reduce->skel->bss->reducing_jobs, slot, false);
	set_bit(&reduce->skel->bss->flow_jobs, slot, false);
	memset(reduce->per_cpu, 0, (size_t)reduce->n_cpus * sizeof(*reduce->per_cpu));
	if (r == 0 &&
	    bpf_map_update_elem(bpf_map__fd(reduce->skel->maps.reduced), &slot, reduce->per_cpu, BPF_ANY))
		r = -errno;
	if (r == 0 && bpf_map_update_elem(bpf_map__fd(reduce->skel->maps.reductions), &slot, &job, BPF_ANY))
		r = -errno;
	if (r)
		return skep_err_set(err, r, "sampling and cut-off cannot be set: %s", strerror(-r));
	reduce->earlier_flows += before.flows;
	set_bit(&reduce->skel->bss->flow_jobs, slot, by_flow);
	set_bit(&reduce->skel->bss->reducing_jobs, slot, flt_reduction_any(want));
	return 0;
}

int flt_reduce_account(const struct flt_reduce *reduce, uint32_t slot, struct flt_reduce_account *ret)
{
	struct flt_reduce_account sum = { 0 };

	if (bpf_map_lookup_elem(bpf_map__fd(reduce->skel->maps.reduced), &slot, reduce->per_cpu))
		return -errno;
	for (int i = 0; i < reduce->n_cpus; i++) {
		sum.matched_pkts += reduce->per_cpu[i].matched;
		sum.sampled_out_pkts += reduce->per_cpu[i].sampled_out;
		sum.cut_off_pkts += reduce->per_cpu[i].cut_off;
		sum.flows += reduce->per_cpu[i].flows;
	}
	*ret = sum;
	return 0;
}

/* Entries that are in the table of flows. */
static int count_flows(const struct flt_reduce *reduce, uint64_t *ret)
{
	const struct bpf_map *map = reduce->skel->maps.flows;
	_skep_free_ uint8_t *keys = malloc((size_t)LOOK_ENTRIES * bpf_map__key_size(map));
	_skep_free_ uint8_t *values = malloc((size_t)LOOK_ENTRIES * bpf_map__value_size(map));
	uint64_t n = 0;
	uint32_t at, got;

	if (!keys || !values)
		return -ENOMEM;
	for (bool first = true, end = false; !end; first = false) {
		int r;

		got = LOOK_ENTRIES;
		r = bpf_map_lookup_batch(bpf_map__fd(map), first ? NULL : &at, &at, keys, values, &got, NULL);
		end = r && errno == ENOENT; /* and not: fewer than fit, as buckets are given whole */
		if (r && !end)
			return -errno;
		n += got;
	}
	*ret = n;
	return 0;
}

int flt_reduce_forgotten(const struct flt_reduce *reduce, uint64_t *ret_flows)
{
	uint64_t made = reduce->earlier_flows, there = 0;
	struct flt_reduce_account account;
	int r;

	for (uint32_t slot = 0; slot < SKEP_MAX_JOBS; slot++) {
		r = flt_reduce_account(reduce, slot, &account);
		if (r)
			return r;
		made += account.flows;
	}
	r = count_flows(reduce, &there);
	if (r)
		return r;
	*ret_flows = made > there ? made - there : 0;
	return 0;
}
