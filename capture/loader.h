/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_LOADER_H
#define CAP_LOADER_H
/*
 * A small process that keeps the privileges an engine has given up, for the two things that a set of jobs
 * which changes still needs: compiling a filter (libpcap, hostile text) and loading the new programs into the
 * kernel. It holds CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON and answers its engine only; it ends with it.
 *
 * Start it when every tap is open, before privileges are dropped and before any thread. Control thread.
 */
#include "capture/filter/jobset.h"

#include <sys/types.h>

struct cap_loader;

struct cap_loader_cfg {
	struct flt_jobset *const *sets;
	uint32_t n;
	/* Whom it becomes, as far as files are concerned: those that lists of addresses are read from. */
	bool change_user;
	uid_t uid;
	gid_t gid;
};

/* The sets are shared by fork: from here on change them through the loader only. */
int cap_loader_start(const struct cap_loader_cfg *cfg, struct cap_loader **ret, struct skep_err *err);
/* Takes NULL, returns NULL. */
struct cap_loader *cap_loader_stop(struct cap_loader *loader);

/* It has ended, which nobody asked it to: no job can come or go any more. */
bool cap_loader_gone(const struct cap_loader *loader);

/* As in jobset.h, on the set with that index. -EPIPE: the loader is gone. */
int cap_loader_put(struct cap_loader *loader, uint32_t set, const struct flt_job_spec *spec,
		   struct skep_err *err);
int cap_loader_drop(struct cap_loader *loader, uint32_t set, uint32_t slot, struct skep_err *err);
int cap_loader_commit(struct cap_loader *loader, uint32_t set, uint32_t generation, struct skep_err *err);

#endif
