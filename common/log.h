/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_LOG_H
#define SKEP_LOG_H
/*
 * Levelled log lines to stderr. Write fields as key=value ("link=%s queue=%u …"). Programs log once, where a
 * thing is handled; library code logs at SKEP_LOG_DEBUG only. Never on the packet path.
 */
#include "common/util.h"

#include <stdbool.h>

enum skep_log_level { SKEP_LOG_ERROR, SKEP_LOG_WARNING, SKEP_LOG_INFO, SKEP_LOG_DEBUG };

/* With skep_log_copy_to() the only globals of common/: lines above this level are not written. Starts as
 * SKEP_LOG_INFO. */
void skep_log_set_level(enum skep_log_level level);
bool skep_log_enabled(enum skep_log_level level);
/*
 * One line, one write(): lines of several threads never mix. Any thread; keeps errno. Control characters
 * become '?'.
 */
void skep_log_write(enum skep_log_level level, const char *fmt, ...) SKEP_PRINTF(2, 3);

/*
 * Each line that is written is also handed to `copy`, without the program's name and the line's end; NULL: to
 * nobody. It may be called by any thread, and must not log.
 */
void skep_log_copy_to(void (*copy)(enum skep_log_level level, const char *text));

/* Arguments are evaluated only if the line is written. */
#define skep_log(level, ...)                                \
	do {                                                \
		if (skep_log_enabled(level))                \
			skep_log_write(level, __VA_ARGS__); \
	} while (0)

#endif
