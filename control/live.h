/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_LIVE_H
#define CTL_LIVE_H
/*
 * What passes on a link now, for somebody who watches: a temporary job that writes short files, read as
 * they appear.
 */
#include "common/events.h"
#include "control/job.h"
#include "control/relay.h"

#include <stdatomic.h>

struct ctl_live_totals {
	_Atomic uint64_t sent_pkts, sent_bytes, dropped_pkts;
};

struct ctl_live_ask {
	const struct ctl_config *cfg;
	struct ctl_jobs *jobs;
	struct skep_events *events;
	struct ctl_live_totals *totals;
	char job[CTL_JOB_ID]; /* a temporary job; released when the relay has ended, or could not be started
			       */
	char link[CTL_LINK_NAME];
};

/* The fields of a job that suits: short files, few of them, hardly compressed. The caller's. */
json_t *ctl_live_job(const char *link, uint64_t duration_ns);
/* What ctl_relay_start says. */
int ctl_live_start(struct ctl_relays *relays, const struct ctl_live_ask *ask, struct ctl_relay **ret,
		   int *ret_fd, struct skep_err *err);

#endif
