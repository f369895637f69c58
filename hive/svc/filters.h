/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_FILTERS_H
#define HIVE_SVC_FILTERS_H
/*
 * Questions about a filter before a job is made of it, asked of the probes of the links: they run the very
 * code that would capture.
 */
#include "hive/probe/client.h"
#include "hive/svc/jobs_links.h"

#define HIVE_ESTIMATE_PROBES_MAX 16
#define HIVE_ESTIMATE_SECONDS_MAX 30
#define HIVE_ESTIMATES_MAX 3 /* at once: each holds a thread of the server and one of each probe */

/*
 * Is it right? ret_probe: who has said so. links.n 0: any probe of a link that the actor may use.
 * SKEP_E_BUSY: none of them answers now.
 */
struct hive_filter_wish {
	const char *filter; /* NULL: everything (estimates only) */
	struct hive_link_names links;
	int64_t seconds;
};
int hive_filter_check(struct hive *hive, const struct hive_actor *actor, const struct hive_filter_wish *wish,
		      struct hive_checked *ret, char ret_probe[static HIVE_NAME_MAX + 1],
		      struct hive_complaints *complaints);

struct hive_estimated {
	int64_t link_id;
	char link[HIVE_NAME_MAX + 1];
	struct hive_rate rate;
	char problem[256]; /* "": rate holds */
};

/*
 * How much would it match on each link, with the filter that the actor's groups force? Takes the seconds, and
 * up to 20 more. *ret is the caller's. SKEP_E_BUSY: too many of these at once.
 */
int hive_filter_estimate(struct hive *hive, const struct hive_actor *actor,
			 const struct hive_filter_wish *wish, struct hive_estimated **ret, uint32_t *ret_n,
			 struct hive_complaints *complaints);

#endif
