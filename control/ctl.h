/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_CTL_H
#define CTL_CTL_H
/*
 * The daemon as its handlers see it.
 */
#include "common/events.h"
#include "common/http.h"
#include "control/config.h"
#include "control/job.h"
#include "control/links.h"
#include "control/live.h"
#include "control/relay.h"
#include "control/tokens.h"

#define CTL_API_VERSION 1

struct ctl {
	struct ctl_config cfg;
	struct skep_http *http;
	struct skep_events *events;
	struct ctl_tokens *tokens;
	struct ctl_links *links;
	struct ctl_jobs *jobs;
	struct ctl_relays *relays;
	struct ctl_live_totals live_totals;
	uint64_t started_utc_ns;
};

#endif
