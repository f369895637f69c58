/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_LINK_HOST_H
#define CAP_LINK_HOST_H
/*
 * Which links the host itself lives on: default routes and the ssh connection that this process descends
 * from, followed down from bridges, bonds and VLANs to the links they stand on.
 */
#include "capture/netlink.h"
#include "common/err.h"

struct cap_link_host;

/* *ret is the caller's (free). */
int cap_link_host_ask(struct cap_netlink *route, struct cap_link_host **ret, struct skep_err *err);
bool cap_link_host_default(const struct cap_link_host *host, int ifindex);
bool cap_link_host_control(const struct cap_link_host *host, int ifindex);

#endif
