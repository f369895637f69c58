/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Generations: every set of jobs that the kernel runs counts the frames it judged in a place of its own, one
 * of two in turn. After a change and a grace period the old place is final, and its count is added to each
 * job that was in the old set. So a job's `seen` is exact although frames are judged all the while, and
 * nothing is stopped to count them.
 */
#include "capture/classify.h"

#include "bpf/abi/skep_abi.h"
#include "capture/loader.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct slot {
	bool in_set;
	uint64_t seen; /* in generations that are over */
	struct skep_job_counters base;
};

struct cap_classify {
	struct cap_classify_cfg cfg;
	struct flt_jobset *set;
	struct cap_loader *loader; /* NULL: we change the set ourselves */
	uint32_t index;
	uint32_t generation; /* that runs */
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
	r = c->percpu ? flt_jobset_new(&cfg->maps, &c->set, err)
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

static uint64_t seen_in(struct cap_classify *c, uint32_t generation)
{
	const struct skep_generation *g = c->percpu;
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

/* Makes the kernel run the set as it is now, and settles the counts of the one before. */
static int commit(struct cap_classify *c, struct skep_err *err)
{
	uint32_t before = c->generation, next = before ^ 1;
	uint64_t seen;
	int r;

	/* Its programs ended a grace period ago: nobody counts here. */
	memset(c->percpu, 0, (size_t)c->cfg.cpus * sizeof(struct skep_job_counters));
	if (bpf_map_update_elem(c->cfg.maps.generations_fd, &next, c->percpu, BPF_ANY))
		return skep_err_set(err, -errno, "the counters of the filters cannot be reset: %s",
				    strerror(errno));
	r = c->loader ? cap_loader_commit(c->loader, c->index, next, err)
		      : flt_jobset_commit(c->set, next, err);
	if (r)
		return r;
	c->generation = next;
	/* XDP runs in softirqs, which are RCU readers; this waits until all that began before have ended. */
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	seen = seen_in(c, before);
	for (uint32_t i = 0; i < SKEP_MAX_JOBS; i++)
		if (c->slots[i].in_set)
			c->slots[i].seen += seen;
	return 0;
}

int cap_classify_prepare(struct cap_classify *c, const struct flt_job_spec *spec, struct skep_err *err)
{
	assert(!c->slots[spec->slot].in_set);
	return put(c, spec, err);
}

int cap_classify_add(struct cap_classify *c, uint32_t slot, bool again, struct skep_err *err)
{
	int r;

	if (!again)
		c->slots[slot] = (struct slot){ .base = job_counters(c, slot) };
	r = commit(c, err);
	if (r == 0)
		/* of the generation that runs now, not of the one that was settled */
		c->slots[slot].in_set = true;
	return r;
}

int cap_classify_remove(struct cap_classify *c, uint32_t slot, struct skep_err *err)
{
	int r = drop(c, slot, err);

	if (r == 0 && c->slots[slot].in_set)
		r = commit(c, err);
	if (r == 0)
		c->slots[slot].in_set = false;
	return r;
}

void cap_classify_count(struct cap_classify *c, uint32_t slot, struct cap_filter_count *ret)
{
	const struct slot *s = &c->slots[slot];
	struct skep_job_counters now = job_counters(c, slot);

	*ret = (struct cap_filter_count){
		.wanted = now.wanted - s->base.wanted,
		.unserved = now.unserved - s->base.unserved,
	};
	/* Read after the others, so that it is never less than they are. */
	ret->seen = s->seen + (s->in_set ? seen_in(c, c->generation) : 0);
}
