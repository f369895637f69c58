/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_XSK_HELD_H
#define CAP_XSK_HELD_H
/*
 * Does a program hold a receive queue of this network namespace with an AF_XDP socket, or does only the
 * kernel still hold what is left of a dead program's? Needs no privilege. Control thread.
 */
#include <stdint.h>

/*
 * own: AF_XDP sockets that this process has on other queues. 1: held; 0: no program has a socket there;
 * -errno: not to be known.
 */
int cap_xsk_held(uint32_t ifindex, uint32_t queue, uint32_t own);

#endif
