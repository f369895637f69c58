/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_LINKS_H
#define CTL_LINKS_H
/*
 * What this machine and its links can do (as skep-capture --probe says it), and how fast they are (as
 * /sys/class/net counts). Any thread.
 */
#include "common/err.h"
#include "control/config.h"

#include <jansson.h>

struct ctl_links;

struct ctl_links *ctl_links_new(const struct ctl_config *cfg); /* NULL: no memory; cfg is borrowed */
struct ctl_links *ctl_links_free(struct ctl_links *links);

/* Asks skep-capture again unless its answer is younger than that. */
int ctl_links_refresh(struct ctl_links *links, uint64_t max_age_ns, struct skep_err *err);
/* Its last answer, the caller's to keep and not to change; NULL: there is none yet. */
json_t *ctl_links_probe(struct ctl_links *links);

/* Reads the counters; once a second, by one thread. */
void ctl_links_sample(struct ctl_links *links);

enum ctl_counter {
	CTL_RX_PACKETS,
	CTL_RX_BYTES,
	CTL_TX_PACKETS,
	CTL_TX_BYTES,
	CTL_RX_DROPPED,
	CTL_RX_MISSED,
	CTL_RX_FIFO,
	CTL_COUNTERS
};

extern const char *const ctl_counter_names[CTL_COUNTERS]; /* as in /sys/class/net/LINK/statistics */

struct ctl_counters {
	char link[CTL_LINK_NAME];
	uint64_t now[CTL_COUNTERS];
	double per_second[CTL_COUNTERS]; /* between the last two samples; negative: not known yet */
};

/* false: there is no such link, or it was not sampled yet. */
bool ctl_links_counters(struct ctl_links *links, const char *name, struct ctl_counters *ret);
/* All links; returns how many of room. */
uint32_t ctl_links_all(struct ctl_links *links, struct ctl_counters *ret, uint32_t room);

#endif
