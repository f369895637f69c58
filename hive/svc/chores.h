/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_CHORES_H
#define HIVE_SVC_CHORES_H
/*
 * What has to be done with datasets now and then: imports looked at, copies made, what is over removed.
 */
#include "hive/svc/hive.h"

struct hive_chores;

int hive_chores_start(struct hive *hive, struct hive_chores **ret, struct skep_err *err);
/* Waits for what is under way. Takes NULL, returns NULL. */
struct hive_chores *hive_chores_stop(struct hive_chores *chores);

#endif
