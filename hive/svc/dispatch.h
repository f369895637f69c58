/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_DISPATCH_H
#define HIVE_SVC_DISPATCH_H
/*
 * Carries out what the job logic wants: threads that turn the logic, ask the probes, collect and build.
 */
#include "hive/svc/hive.h"

struct hive_dispatch;

int hive_dispatch_start(struct hive *hive, struct hive_dispatch **ret, struct skep_err *err);
/* There is something to decide: the logic is turned now, not at its next turn. Any thread; not in a lock. */
void hive_dispatch_poke(struct hive *hive);
/* Has the job logic been turned, and what it decided saved, within so long? */
bool hive_dispatch_alive(struct hive_dispatch *dispatch, uint64_t within_ns);
/* Waits for what is under way, at most as long as a probe may take to answer. Returns NULL; takes NULL. */
struct hive_dispatch *hive_dispatch_stop(struct hive_dispatch *dispatch);

#endif
