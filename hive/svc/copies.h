/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_COPIES_H
#define HIVE_SVC_COPIES_H
/*
 * Datasets to destinations.
 */
#include "hive/svc/hive.h"

/* Makes one copy that waits. 0: there was one; -ENOENT: there is none. Minutes to hours. */
int hive_copy_next(struct hive *hive);

#endif
