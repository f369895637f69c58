/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_CLASSIFY_H
#define CAP_CLASSIFY_H
/*
 * The filters of a tap's jobs, run by the kernel, and what they counted. Joining and leaving lose and double
 * no frame of another job. Control thread.
 */
#include "capture/filter/jobset.h"
#include "capture/source.h"

struct cap_classify;
struct cap_grace;
struct cap_loader;

struct cap_classify_cfg {
	struct flt_jobset_maps maps;
	int jobs_fd; /* PERCPU_ARRAY of struct skep_job_counters */
	int cpus;    /* possible ones */
	bool serves; /* jobs of any kind will come when privileges are gone */
};

int cap_classify_new(const struct cap_classify_cfg *cfg, struct cap_classify **ret, struct skep_err *err);
/* Takes NULL, returns NULL. */
struct cap_classify *cap_classify_free(struct cap_classify *classify);

struct flt_jobset *cap_classify_set(struct cap_classify *classify);
/* From here on changes go through the loader, which knows the set by this index. */
void cap_classify_use_loader(struct cap_classify *classify, struct cap_loader *loader, uint32_t index);
/* The program is attached from here on: changes are final only after a grace period. */
void cap_classify_use_grace(struct cap_classify *classify, struct cap_grace *grace);

/* Compiles the job's filter, which can be refused; changes nothing that runs. Undone by remove. */
int cap_classify_prepare(struct cap_classify *classify, const struct flt_job_spec *spec,
			 struct skep_err *err);
/*
 * The filter that was prepared joins. `again`: it was here before and was taken out for a while (pause); its
 * counts go on. When it returns 0 frames have been judged for the job since shortly before.
 */
int cap_classify_add(struct cap_classify *classify, uint32_t slot, bool again, struct skep_err *err);
/* The job's filter leaves, if it is there; programs that know it may still run for a moment. */
int cap_classify_remove(struct cap_classify *classify, uint32_t slot, struct skep_err *err);
/*
 * No program that knows the job runs any more on any CPU: its counts are final, and every frame that was
 * meant for it is in a socket's ring.
 */
bool cap_classify_settled(struct cap_classify *classify, uint32_t slot);
void cap_classify_count(struct cap_classify *classify, uint32_t slot, struct cap_filter_count *ret);

#endif
