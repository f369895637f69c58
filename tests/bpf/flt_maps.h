/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_FLT_MAPS_H
#define TEST_FLT_MAPS_H
/* The maps of a link's chain of programs, and a program that stands for delivery, for tests of one stage. */
#define PCAP_DONT_INCLUDE_PCAP_BPF_H
#include "tests/bpf/flt_packets.h"

#include "bpf/abi/skep_abi.h"
#include "capture/filter/translate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sched.h>

/* What the program that stands for delivery returns. */
#define FLT_CHAIN_DELIVERED 7u

struct flt_chain {
	int progs_fd, scratch_fd, counters_fd, generations_fd, deliver_fd;
};

static inline int flt_chain_map(uint32_t type, const char *name, uint32_t value_size, uint32_t entries)
{
	int fd = bpf_map_create(type, name, 4, value_size, entries, NULL);

	if (fd < 0)
		abort();
	return fd;
}

static inline void flt_chain_open(struct flt_chain *c)
{
	static const struct flt_cbpf delivered = { .code = 0x06, .k = FLT_CHAIN_DELIVERED };
	struct flt_code code = FLT_CODE_NULL;
	uint32_t slot = SKEP_PROG_DELIVER;

	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_XDP_HAS_FRAGS,
		    .expected_attach_type = BPF_XDP);
	c->progs_fd = flt_chain_map(BPF_MAP_TYPE_PROG_ARRAY, "progs", 4, SKEP_PROG_N);
	c->scratch_fd = flt_chain_map(BPF_MAP_TYPE_PERCPU_ARRAY, "scratch", sizeof(struct skep_scratch), 1);
	c->counters_fd = flt_chain_map(BPF_MAP_TYPE_PERCPU_ARRAY, "counters", sizeof(struct skep_xdp_counters),
				       SKEP_MAX_QUEUES);
	c->generations_fd = flt_chain_map(BPF_MAP_TYPE_PERCPU_ARRAY, "generations", sizeof(struct skep_generation),
					  SKEP_GENERATIONS);
	if (flt_translate(&delivered, 1, FLT_LENGTH_FRAME, &code, NULL))
		abort();
	c->deliver_fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "deliver", "GPL", (const struct bpf_insn *)code.v, code.n,
				      &opts);
	if (c->deliver_fd < 0 || bpf_map_update_elem(c->progs_fd, &slot, &c->deliver_fd, 0))
		abort();
	flt_code_done(&code);
}

static inline void flt_chain_close(struct flt_chain *c)
{
	close(c->progs_fd);
	close(c->scratch_fd);
	close(c->counters_fd);
	close(c->generations_fd);
	close(c->deliver_fd);
}

/* The scratch values of all CPUs; the test runs on one of them, the others stay zero. */
static struct skep_scratch flt_chain_values[1024];

static inline void flt_chain_set_jobs(const struct flt_chain *c, uint64_t jobs)
{
	uint32_t zero = 0;

	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		flt_chain_values[i] = (struct skep_scratch){ .jobs = jobs };
	if (bpf_map_update_elem(c->scratch_fd, &zero, flt_chain_values, 0))
		abort();
}

/* Scratch of the CPU that we are on. */
static inline const struct skep_scratch *flt_chain_scratch(const struct flt_chain *c)
{
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(c->scratch_fd, &zero, flt_chain_values))
		abort();
	return &flt_chain_values[sched_getcpu()];
}

static inline uint64_t flt_chain_jobs(const struct flt_chain *c)
{
	return flt_chain_scratch(c)->jobs;
}

static inline uint64_t flt_chain_rejected(const struct flt_chain *c)
{
	static struct skep_xdp_counters counters[1024];
	uint64_t sum = 0;
	uint32_t queue = 0;

	if (bpf_map_lookup_elem(c->counters_fd, &queue, counters))
		abort();
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += counters[i].rejected;
	return sum;
}

#endif
