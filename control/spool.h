/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_SPOOL_H
#define CTL_SPOOL_H
/*
 * The spool's quota and reserve: what it holds, and which segments go when it holds too much.
 */
#include "common/events.h"
#include "control/config.h"

#include <jansson.h>

struct ctl_spool;

struct ctl_spool *ctl_spool_new(const struct ctl_config *cfg,
				struct skep_events *events); /* NULL: no memory */
struct ctl_spool *ctl_spool_free(struct ctl_spool *spool);

/*
 * Looks, if it is time to, and removes what may be removed if it must. jobs gives the array of jobs as
 * clients see them, the callee's; it is only called if needed. One thread.
 */
void ctl_spool_look(struct ctl_spool *spool, json_t *(*jobs)(void *arg), void *arg);

struct ctl_spool_figures {
	uint64_t used_bytes;		      /* on disk, when it was last looked at */
	uint64_t collected_bytes;	      /* of these: could go */
	uint64_t freed_bytes, freed_segments; /* since the start */
	bool full;			      /* quota or reserve is not kept, and nothing may go */
};

/* Any thread. */
void ctl_spool_get_figures(struct ctl_spool *spool, struct ctl_spool_figures *ret);

#endif
