/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_PACKETS_H
#define CTL_PACKETS_H
/*
 * The packets of a job out of all its segments: one pcap in order of time, found by `skep-capture extract`.
 */
#include "control/config.h"
#include "control/relay.h"

struct ctl_packets_ask {
	char job[32];
	uint32_t lives;		 /* how many the job's engines had */
	char *filter;		 /* taken (free); NULL or "": all */
	uint64_t from_ns, to_ns; /* first and last moment; UINT64_MAX: no end */
	uint64_t max_bytes;	 /* of the pcap, whole records; 0: no limit */
	bool pcapng;		 /* then there is no max_bytes */
};

/* What ctl_relay_start says. What the program refuses comes as the relay's end. */
int ctl_packets_start(const struct ctl_config *cfg, struct ctl_relays *relays,
		      const struct ctl_packets_ask *ask, struct ctl_relay **ret, int *ret_fd,
		      struct skep_err *err);

#endif
