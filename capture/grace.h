/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_GRACE_H
#define CAP_GRACE_H
/*
 * Waits for RCU grace periods on a thread of its own: tens of milliseconds, on a busy machine some hundred.
 * XDP programs run in softirqs, which are RCU readers; when a grace period that began after a program was
 * taken out has passed, no CPU runs it any more.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct cap_grace;

/* wake_fd: eventfd that is told whenever one has passed. */
int cap_grace_start(int wake_fd, struct cap_grace **ret, struct skep_err *err);
/* Takes NULL, returns NULL. Waits for the period that runs. */
struct cap_grace *cap_grace_stop(struct cap_grace *grace);
/* A grace period from now on; the ticket tells when it has passed. Several that wait share one. */
uint64_t cap_grace_ask(struct cap_grace *grace);
bool cap_grace_passed(const struct cap_grace *grace, uint64_t ticket);

#endif
