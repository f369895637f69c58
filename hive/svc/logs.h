/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_LOGS_H
#define HIVE_SVC_LOGS_H
/*
 * The last lines of the program's own log, for those who may see them without a shell on the machine.
 */
#include "hive/svc/hive.h"

#define HIVE_LOG_TEXT 512 /* what is longer is cut */

struct hive_log_line {
	int64_t id; /* ascending, without gaps while the program runs */
	int64_t time_ns;
	int64_t level; /* index into hive_log_level_names */
	char text[HIVE_LOG_TEXT];
};

extern const char *const hive_log_level_names[];

/* Keeps lines from now on: once, before other threads are there. */
void hive_logs_keep(void);
/*
 * Up to `room` lines after the id, of this level or worse, oldest first. *ret_last: the id to go on after.
 * SKEP_E_PRIVILEGE: the actor may not see them.
 */
struct hive_logs_wish {
	int64_t after, level;
	uint32_t room;
};
int hive_logs_read(const struct hive_actor *actor, const struct hive_logs_wish *wish,
		   struct hive_log_line *ret, uint32_t *ret_n, int64_t *ret_last);

#endif
