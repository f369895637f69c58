/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The set of jobs of a link: see jobset.h. It holds each job's program in translated form, so that a change of
 * one job compiles only that one; the kernel gets the whole set anew at each commit.
 */
#include "capture/filter/jobset.h"

#include "bpf/abi/skep_abi.h"
#include "capture/filter/classifier.h"
#include "capture/filter/front.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINKTYPE_ETHERNET 1
/* What an accepting filter returns; any number but 0 is yes. */
#define ACCEPTED 262144u

struct member {
	bool used;
	struct flt_code code;
};

struct flt_jobset {
	struct flt_jobset_maps maps;
	struct member members[SKEP_MAX_JOBS];
};

int flt_jobset_new(const struct flt_jobset_maps *maps, struct flt_jobset **ret, struct skep_err *err)
{
	struct flt_jobset *set = calloc(1, sizeof(*set));

	if (!set)
		return skep_err_set(err, -ENOMEM, "no memory for the job filters");
	set->maps = *maps;
	*ret = set;
	return 0;
}

struct flt_jobset *flt_jobset_free(struct flt_jobset *set)
{
	for (uint32_t i = 0; set && i < SKEP_MAX_JOBS; i++)
		flt_jobset_drop(set, i);
	free(set);
	return NULL;
}

static int translate(const char *filter, struct flt_code *ret, struct skep_err *err)
{
	struct bpf_program *prog = flt_front_new();
	const struct flt_cbpf *insns;
	uint32_t n;
	int r;

	if (!prog)
		return skep_err_set(err, -ENOMEM, "no memory to compile a filter");
	r = flt_front_compile(filter, LINKTYPE_ETHERNET, ACCEPTED, prog, err);
	if (r == 0) {
		insns = flt_front_insns(prog, &n);
		r = flt_translate(insns, n, FLT_LENGTH_FRAME, ret, err);
		flt_front_free(prog);
	}
	free(prog);
	return r;
}

int flt_jobset_put(struct flt_jobset *set, const struct flt_job_spec *spec, struct skep_err *err)
{
	struct flt_code code = FLT_CODE_NULL;
	int r;

	assert(spec->slot < SKEP_MAX_JOBS);
	r = translate(spec->filter, &code, err);
	if (r)
		return r;
	flt_jobset_drop(set, spec->slot);
	set->members[spec->slot] = (struct member){ .used = true, .code = code };
	return 0;
}

void flt_jobset_drop(struct flt_jobset *set, uint32_t slot)
{
	struct member *m = &set->members[slot];

	if (m->used)
		flt_code_done(&m->code);
	memset(m, 0, sizeof(*m));
}

int flt_jobset_commit(struct flt_jobset *set, uint32_t generation, struct skep_err *err)
{
	const struct flt_surroundings around = {
		.progs_fd = set->maps.progs_fd,
		.scratch_fd = set->maps.scratch_fd,
		.generations_fd = set->maps.generations_fd,
		.generation = generation,
		.counters_fd = set->maps.counters_fd,
		.rejected_offset = offsetof(struct skep_xdp_counters, rejected),
		.rejected_action = set->maps.rejected_action,
	};
	struct flt_job jobs[SKEP_MAX_JOBS];
	_skep_close_ int fd = -1;
	uint32_t n = 0, slot = SKEP_PROG_CLASSIFY;
	int r;

	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++)
		if (set->members[i].used)
			jobs[n++] = (struct flt_job){ .slot = i, .code = &set->members[i].code };
	r = flt_classifier_load(jobs, n, &around, &fd, err);
	if (r)
		return r;
	if (bpf_map_update_elem(set->maps.progs_fd, &slot, &fd, BPF_ANY) == 0)
		return 0;
	r = -errno;
	return skep_err_set(err, r, "the kernel refused the new set of filters: %s", strerror(-r));
}
