/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring of the last log lines. Log lines never hold secrets (they name things by their ids), so these do not
 * either. One lock, held for a copy of a line. Any thread.
 */
#include "hive/svc/logs.h"

#include "common/log.h"

#include <stdio.h>
#include <time.h>

#define LINES 2000u /* about 1 MB, of which only what was written is in memory */

const char *const hive_log_level_names[] = { "error", "warning", "info", "debug", NULL };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct hive_log_line lines[LINES];
static int64_t last_id;

static void keep(enum skep_log_level level, const char *text)
{
	struct hive_log_line *line;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	pthread_mutex_lock(&lock);
	line = &lines[++last_id % LINES];
	line->id = last_id;
	line->time_ns = (int64_t)now.tv_sec * (int64_t)SKEP_NSEC_PER_SEC + now.tv_nsec;
	line->level = (int64_t)level;
	(void)snprintf(line->text, sizeof(line->text), "%s", text);
	pthread_mutex_unlock(&lock);
}

void hive_logs_keep(void)
{
	skep_log_copy_to(keep);
}

int hive_logs_read(const struct hive_actor *actor, const struct hive_logs_wish *wish,
		   struct hive_log_line *ret, uint32_t *ret_n, int64_t *ret_last)
{
	uint32_t n = 0;
	int64_t id;

	if (!hive_actor_can(actor, HIVE_RIGHT_AUDIT))
		return SKEP_E_PRIVILEGE;
	pthread_mutex_lock(&lock);
	/* an id of before a restart, or one that was never given: from the oldest on */
	id = wish->after > last_id ? 0 : wish->after;
	for (id = SKEP_MAX(id + 1, last_id - (int64_t)LINES + 1); id <= last_id && n < wish->room; id++)
		if (id > 0 && lines[id % LINES].level <= wish->level)
			ret[n++] = lines[id % LINES];
	*ret_last = id - 1;
	pthread_mutex_unlock(&lock);
	*ret_n = n;
	return 0;
}
