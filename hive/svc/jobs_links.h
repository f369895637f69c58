/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_JOBS_LINKS_H
#define HIVE_SVC_JOBS_LINKS_H
/*
 * Which links somebody means, and may use; and what they may capture there.
 */
#include "hive/svc/jobs.h"

struct hive_chosen {
	struct hive_job_link parts[HIVE_JOB_LINKS_MAX]; /* names and ids only */
	uint32_t n;
	char *forced_filter; /* that the actor's groups force on all of them; NULL: none */
};

void hive_chosen_free(struct hive_chosen *chosen);

static inline void hive_chosen_freep(struct hive_chosen **chosen)
{
	hive_chosen_free(*chosen);
}

#define _hive_chosen_ SKEP_CLEANUP(hive_chosen_freep)

struct hive_link_names {
	const char *const *names; /* one "*": all that the actor may use */
	uint32_t n;
};
/* 0 with complaints: some are wrong. -errno. */
int hive_choose_links(struct hive_tx *tx, const struct hive_actor *actor,
		      const struct hive_link_names *names, struct hive_chosen *ret,
		      struct hive_complaints *complaints);
/* One more, by its id: SKEP_E_NOT_FOUND if the actor may not use it. */
int hive_choose_link(struct hive_tx *tx, const struct hive_actor *actor, const struct hive_link *link,
		     struct hive_chosen *chosen, struct hive_complaints *complaints);
/* own AND forced, either may be NULL; *ret is the caller's, NULL: everything. */
int hive_filter_both(const char *own, const char *forced, char **ret);

#endif
