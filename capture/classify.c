/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Generations: every set of jobs that the kernel runs counts the frames it judged in a place of its own. When
 * a set was replaced and a grace period has passed its place is final, and its count is added to each job
 * that was in it. So a job's `seen` is exact although frames are judged all the while, and nothing is stopped
 * or waited for to count them.
 */
#include "capture/classify.h"

#include "bpf/abi/skep_abi.h"
#include "capture/grace.h"
#include "capture/loader.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

struct slot {
	bool in_set;
	uint64_t left;	/* number of the first generation without it */
	uint64_t seen;	/* in generations that are folded */
	struct skep_job_counters base;
};

struct cap_classify {
	struct cap_classify_cfg cfg;
	struct flt_jobset *set;
	struct cap_loader *loader; /* NULL: we change the set ourselves */
	uint32_t index;
	struct cap_grace *grace; /* NULL: the program is not attached yet */
	/* Generations by number, kept at number % SKEP_GENERATIONS: folded <= number <= running. */
	uint64_t running, folded;
	uint64_t jobs[SKEP_GENERATIONS];   /* mask of its jobs */
	uint64_t ticket[SKEP_GENERATIONS]; /* of the grace period after it was replaced */
	struct slot slots[SKEP_MAX_JOBS];
	void *percpu; /* scratch: the larger of the two structs for each CPU */
};

int cap_classify_new(const struct cap_classify_cfg *cfg, struct cap_classify **ret, struct skep_err *err)
{
	struct cap_classify *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return skep_err_set(err, -ENOMEM, "no memory for the job filters");
	c->cfg = *cfg;
	c->percpu = calloc((size_t)cfg->cpus, sizeof(struct skep_job_counters));
	r = c->percpu ? flt_jobset_new(&cfg->maps, cfg->serves, &c->set, err)
		      : skep_err_set(err, -ENOMEM, "no memory for the job filters");
	/* Nobody wants anything yet; and no frame is to pass for want of a program. */
	if (r == 0)
		r = flt_jobset_commit(c->set, 0, err);
	if (r) {
		cap_classify_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct cap_classify *cap_classify_free(struct cap_classify *c)
{
	if (c) {
		flt_jobset_free(c->set);
		free(c->percpu);
	}
	free(c);
	return NULL;
}

struct flt_jobset *cap_classify_set(struct cap_classify *c)
{
	return c->set;
}

void cap_classify_use_loader(struct cap_classify *c, struct cap_loader *loader, uint32_t index)
{
	c->loader = loader;
	c->index = index;
}

void cap_classify_use_grace(struct cap_classify *c, struct cap_grace *grace)
{
	c->grace = grace;
}

static uint64_t seen_in(struct cap_classify *c, uint64_t number)
{
	const struct skep_generation *g = c->percpu;
	uint32_t generation = number % SKEP_GENERATIONS;
	uint64_t sum = 0;

	_Static_assert(sizeof(*g) <= sizeof(struct skep_job_counters), "fits the scratch");
	if (bpf_map_lookup_elem(c->cfg.maps.generations_fd, &generation, c->percpu))
		return 0;
	for (int i = 0; i < c->cfg.cpus; i++)
		sum += g[i].seen;
	return sum;
}

static struct skep_job_counters job_counters(struct cap_classify *c, uint32_t slot)
{
	const struct skep_job_counters *j = c->percpu;
	struct skep_job_counters sum = { 0 };

	if (bpf_map_lookup_elem(c->cfg.jobs_fd, &slot, c->percpu))
		return sum;
	for (int i = 0; i < c->cfg.cpus; i++) {
		sum.wanted += j[i].wanted;
		sum.unserved += j[i].unserved;
	}
	return sum;
}

static int put(struct cap_classify *c, const struct flt_job_spec *spec, struct skep_err *err)
{
	return c->loader ? cap_loader_put(c->loader, c->index, spec, err) : flt_jobset_put(c->set, spec, err);
}

static int drop(struct cap_classify *c, uint32_t slot, struct skep_err *err)
{
	if (c->loader)
		return cap_loader_drop(c->loader, c->index, slot, err);
	flt_jobset_drop(c->set, slot);
	return 0;
}

static bool is_over(const struct cap_classify *c, uint64_t number)
{
	return number < c->running &&
	       (!c->grace || cap_grace_passed(c->grace, c->ticket[number % SKEP_GENERATIONS]));
}

/* Adds the counts of generations that are over to their jobs. */
static void fold(struct cap_classify *c)
{
	while (is_over(c, c->folded)) {
		uint64_t jobs = c->jobs[c->folded % SKEP_GENERATIONS], seen = seen_in(c, c->folded);

		for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++)
			if (jobs >> i & 1)
				c->slots[i].seen += seen;
		c->folded++;
	}
}

/* Makes the kernel run the set as it is now, with these jobs in it. */
static int commit(struct cap_classify *c, uint64_t jobs, struct skep_err *err)
{
	uint64_t next = c->running + 1;
	uint32_t place = next % SKEP_GENERATIONS;
	int r;

	fold(c);
	for (int i = 0; next - c->folded >= SKEP_GENERATIONS && i < 1000; i++) { /* a grace period is near */
		(void)nanosleep(&(struct timespec){ .tv_nsec = 2 * 1000 * 1000 }, NULL);
		fold(c);
	}
	if (next - c->folded >= SKEP_GENERATIONS)
		return skep_err_set(err, SKEP_E_BUSY, "the jobs of this link change too fast for the kernel");
	memset(c->percpu, 0, (size_t)c->cfg.cpus * sizeof(struct skep_job_counters));
	if (bpf_map_update_elem(c->cfg.maps.generations_fd, &place, c->percpu, BPF_ANY))
		return skep_err_set(err, -errno, "the counters of the filters cannot be reset: %s",
				    strerror(errno));
	r = c->loader ? cap_loader_commit(c->loader, c->index, place, err)
		      : flt_jobset_commit(c->set, place, err);
	if (r)
		return r;
	c->jobs[place] = jobs;
	c->running = next;
	if (c->grace)
		c->ticket[(next - 1) % SKEP_GENERATIONS] = cap_grace_ask(c->grace);
	return 0;
}

static uint64_t jobs_now(const struct cap_classify *c)
{
	return c->jobs[c->running % SKEP_GENERATIONS];
}

int cap_classify_prepare(struct cap_classify *c, const struct flt_job_spec *spec, struct skep_err *err)
{
	const struct slot *s = &c->slots[spec->slot];

	if (s->in_set) { /* the slot's last job could not be taken out when it ended */
		int r = cap_classify_remove(c, spec->slot, err);

		if (r)
			return r;
	}
	if (!spec->again && !cap_classify_settled(c, spec->slot))
		return skep_err_set(err, SKEP_E_BUSY, "the filter of the last job here has not left yet");
	return put(c, spec, err);
}

int cap_classify_add(struct cap_classify *c, uint32_t slot, bool again, struct skep_err *err)
{
	int r;

	if (!again)
		c->slots[slot] = (struct slot){ .base = job_counters(c, slot) };
	r = commit(c, jobs_now(c) | 1ull << slot, err);
	c->slots[slot].in_set = r == 0;
	return r;
}

int cap_classify_remove(struct cap_classify *c, uint32_t slot, struct skep_err *err)
{
	int r = drop(c, slot, err);

	if (r || !c->slots[slot].in_set)
		return r;
	r = commit(c, jobs_now(c) & ~(1ull << slot), err);
	if (r)
		return r;
	c->slots[slot].in_set = false;
	c->slots[slot].left = c->running;
	return 0;
}

bool cap_classify_settled(struct cap_classify *c, uint32_t slot)
{
	fold(c);
	return !c->slots[slot].in_set && c->folded >= c->slots[slot].left;
}

void cap_classify_count(struct cap_classify *c, uint32_t slot, struct cap_filter_count *ret)
{
	const struct slot *s = &c->slots[slot];
	struct skep_job_counters now = job_counters(c, slot);
	struct flt_reduce_account reduced;

	*ret = (struct cap_filter_count){
		.wanted = now.wanted - s->base.wanted,
		.unserved = now.unserved - s->base.unserved,
	};
	flt_jobset_reduced(c->set, slot, &reduced);
	ret->sampled_out = reduced.sampled_out_pkts;
	ret->cut_off = reduced.cut_off_pkts;
	/* Read after the others, so that it is never less than they are. */
	fold(c);
	ret->seen = s->seen;
	for (uint64_t g = c->folded; g <= c->running; g++)
		if (c->jobs[g % SKEP_GENERATIONS] >> slot & 1)
			ret->seen += seen_in(c, g);
}
