/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The set of jobs of a link: see jobset.h. It holds each job's program in translated form, so that a change
 * of one job compiles only that one; the kernel gets the whole set anew at each commit.
 */
#include "capture/filter/jobset.h"

#include "bpf/abi/skep_inner.h"
#include "capture/filter/classifier.h"
#include "capture/filter/front.h"
#include "capture/filter/look.h"

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
	struct flt_code inside_code; /* with inside */
	uint32_t inside;
	uint32_t lists; /* bits of set->lists, one reference each */
	struct flt_reduction reduction;
	bool reduction_known; /* to the kernel */
};

struct flt_jobset {
	struct flt_jobset_maps maps;
	struct member members[SKEP_MAX_JOBS];
	struct flt_lists *lists;
	bool lists_changed;
	struct flt_look *look;	   /* NULL: not needed yet */
	struct flt_reduce *reduce; /* same */
	uint32_t needs, inside;	   /* that the look stage fills now */
};

static int open_look(struct flt_jobset *set, struct skep_err *err)
{
	const struct flt_look_cfg cfg = { .progs_fd = set->maps.progs_fd,
					  .scratch_fd = set->maps.scratch_fd };

	return set->look ? 0 : flt_look_open(&cfg, &set->look, err);
}

static int open_reduce(struct flt_jobset *set, struct skep_err *err)
{
	const struct flt_reduce_cfg cfg = {
		.progs_fd = set->maps.progs_fd,
		.scratch_fd = set->maps.scratch_fd,
		.counters_fd = set->maps.counters_fd,
		.rejected_action = set->maps.rejected_action,
	};

	return set->reduce ? 0 : flt_reduce_open(&cfg, &set->reduce, err);
}

int flt_jobset_new(const struct flt_jobset_maps *maps, bool everything, struct flt_jobset **ret,
		   struct skep_err *err)
{
	struct flt_jobset *set = calloc(1, sizeof(*set));
	int r;

	if (!set)
		return skep_err_set(err, -ENOMEM, "no memory for the job filters");
	set->maps = *maps;
	r = flt_lists_new(&set->lists, err);
	if (r == 0 && everything)
		r = open_look(set, err);
	if (r == 0 && everything)
		r = open_reduce(set, err);
	if (r) {
		flt_jobset_free(set);
		return r;
	}
	*ret = set;
	return 0;
}

struct flt_jobset *flt_jobset_free(struct flt_jobset *set)
{
	if (!set)
		return NULL;
	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++)
		flt_jobset_drop(set, i);
	flt_look_close(set->look);
	flt_reduce_close(set->reduce);
	flt_lists_free(set->lists);
	free(set);
	return NULL;
}

static int translate(const struct bpf_program *prog, struct member *m, struct skep_err *err)
{
	uint32_t n;
	const struct flt_cbpf *insns = flt_front_insns(prog, &n);
	int r = flt_translate(insns, n, FLT_LENGTH_FRAME, &m->code, err);

	return r || !m->inside ? r : flt_translate_inside(insns, n, FLT_LENGTH_FRAME, &m->inside_code, err);
}

static int compile(struct flt_jobset *set, const struct flt_job_spec *spec, struct member *m,
		   struct skep_err *err)
{
	const struct flt_ask ask = {
		.expr = spec->filter,
		.linktype = LINKTYPE_ETHERNET,
		.snaplen = ACCEPTED,
		.lists = set->lists,
		.patient = true,
	};
	struct bpf_program *prog = flt_front_new();
	int r;

	if (!prog)
		return skep_err_set(err, -ENOMEM, "no memory to compile a filter");
	r = flt_front_compile_ask(&ask, prog, &m->lists, err);
	if (r == 0) {
		r = translate(prog, m, err);
		flt_front_free(prog);
	}
	free(prog);
	return r;
}

static void empty(struct flt_jobset *set, struct member *m)
{
	flt_code_done(&m->code);
	flt_code_done(&m->inside_code);
	if (m->lists) {
		flt_lists_release(set->lists, m->lists);
		set->lists_changed = true;
	}
	*m = (struct member){ 0 };
}

int flt_jobset_put(struct flt_jobset *set, const struct flt_job_spec *spec, struct skep_err *err)
{
	struct member m = { .used = true,
			    .inside = spec->inside & SKEP_INNER_ALL,
			    .reduction = spec->reduction };
	int r;

	assert(spec->slot < SKEP_MAX_JOBS);
	r = compile(set, spec, &m, err);
	if (r) {
		empty(set, &m);
		return r;
	}
	set->lists_changed |= m.lists != 0;
	flt_jobset_drop(set, spec->slot);
	m.reduction_known = spec->again;
	set->members[spec->slot] = m;
	return 0;
}

void flt_jobset_drop(struct flt_jobset *set, uint32_t slot)
{
	empty(set, &set->members[slot]);
}

static int set_slot(struct flt_jobset *set, uint32_t slot, int fd, struct skep_err *err)
{
	int r = fd < 0 ? bpf_map_delete_elem(set->maps.progs_fd, &slot)
		       : bpf_map_update_elem(set->maps.progs_fd, &slot, &fd, BPF_ANY);

	if (r == 0 || (fd < 0 && errno == ENOENT))
		return 0;
	r = -errno;
	return skep_err_set(err, r, "the kernel refused the new set of filters: %s", strerror(-r));
}

struct wanted {
	uint32_t needs; /* FLT_NEEDS_* */
	uint32_t inside;
	bool reduce;
};

static struct wanted wanted_by_all(const struct flt_jobset *set)
{
	struct wanted w = { 0 };

	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++) {
		const struct member *m = &set->members[i];

		w.needs |= m->code.needs;
		w.inside |= m->inside;
		w.reduce |= flt_reduction_any(&m->reduction);
	}
	return w;
}

/* What new jobs need is there before their filters are. */
static int before(struct flt_jobset *set, const struct wanted *w, struct skep_err *err)
{
	int r = 0;

	if (w->needs || w->inside)
		r = open_look(set, err);
	if (r == 0 && w->reduce)
		r = open_reduce(set, err);
	if (r == 0 && set->look && set->lists_changed) {
		r = flt_look_set_lists(set->look, set->lists, err);
		set->lists_changed = r != 0;
	}
	/* Nothing is taken away yet: jobs that leave still run. */
	if (r == 0 && (w->needs || w->inside)) {
		set->needs |= w->needs;
		set->inside |= w->inside;
		r = flt_look_need(set->look, set->needs, set->inside);
		if (r == 0)
			r = set_slot(set, SKEP_PROG_LOOK, flt_look_prog_fd(set->look), err);
	}
	for (uint32_t i = 0; r == 0 && set->reduce && i < SKEP_MAX_JOBS; i++) {
		struct member *m = &set->members[i];

		if (!m->used || m->reduction_known)
			continue;
		/* Also where it asks for nothing: the slot's last job may have. */
		r = flt_reduce_set(set->reduce, i, &m->reduction, err);
		m->reduction_known = r == 0;
	}
	if (r == 0 && w->reduce)
		r = set_slot(set, SKEP_PROG_REDUCE, flt_reduce_prog_fd(set->reduce), err);
	return r;
}

/* What nobody needs any more costs nothing any more. */
static void after(struct flt_jobset *set, const struct wanted *w)
{
	set->needs = w->needs;
	set->inside = w->inside;
	if (set->look)
		(void)flt_look_need(set->look, w->needs, w->inside);
	if (!w->needs && !w->inside)
		(void)set_slot(set, SKEP_PROG_LOOK, -1, NULL);
	if (!w->reduce)
		(void)set_slot(set, SKEP_PROG_REDUCE, -1, NULL);
	if (flt_lists_sweep(set->lists) && set->look)
		set->lists_changed = flt_look_set_lists(set->look, set->lists, NULL) != 0;
}

static int classify(struct flt_jobset *set, uint32_t generation, struct skep_err *err)
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
	uint32_t n = 0;
	int r;

	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++) {
		const struct member *m = &set->members[i];

		if (m->used)
			jobs[n++] = (struct flt_job){
				.slot = i,
				.code = &m->code,
				.inside = m->inside,
				.inside_code = m->inside ? &m->inside_code : NULL,
			};
	}
	r = flt_classifier_load(jobs, n, &around, &fd, err);
	return r ? r : set_slot(set, SKEP_PROG_CLASSIFY, fd, err);
}

int flt_jobset_commit(struct flt_jobset *set, uint32_t generation, struct skep_err *err)
{
	const struct wanted w = wanted_by_all(set);
	int r = before(set, &w, err);

	if (r == 0)
		r = classify(set, generation, err);
	if (r == 0)
		after(set, &w);
	else
		set->lists_changed |= flt_lists_sweep(set->lists); /* or a list that is too long stays */
	return r;
}

void flt_jobset_reduced(const struct flt_jobset *set, uint32_t slot, struct flt_reduce_account *ret)
{
	*ret = (struct flt_reduce_account){ 0 };
	if (set->reduce)
		(void)flt_reduce_account(set->reduce, slot, ret);
}

void flt_jobset_forgotten(const struct flt_jobset *set, uint64_t *ret_quic, uint64_t *ret_cut_off)
{
	struct flt_look_account look;

	*ret_quic = *ret_cut_off = 0;
	if (set->look && flt_look_account(set->look, &look) == 0)
		*ret_quic = look.flows_evicted + look.flows_refused;
	if (set->reduce)
		(void)flt_reduce_forgotten(set->reduce, ret_cut_off);
}
