/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_HOOKS_H
#define HIVE_SVC_HOOKS_H
/*
 * Webhooks: what happens to somebody's jobs is sent to an address of theirs. Deliveries are rows, written in
 * the transaction of what happened, so none is lost; each is sent at least once.
 */
#include "hive/db/plans.h"
#include "hive/svc/things.h"

struct hive_hooks;

int hive_hooks_start(struct hive *hive, struct hive_hooks **ret, struct skep_err *err);
/* Waits for the calls under way: at most 10 s. Returns NULL; takes NULL. */
struct hive_hooks *hive_hooks_stop(struct hive_hooks *hooks);

/* The deliveries of a webhook that the actor may see. */
int hive_webhook_deliveries(struct hive *hive, const struct hive_actor *actor, int64_t id,
			    struct hive_list *list, struct hive_rows *ret,
			    struct hive_complaints *complaints);
/* Sends a "test" soon; ret is the delivery, the caller's. */
int hive_webhook_test(struct hive *hive, const struct hive_actor *actor, int64_t id,
		      struct hive_delivery *ret, struct hive_complaints *complaints);

#endif
