/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log lines: "program: level: text" on stderr, one write() each, at most SKEP_LOG_LINE bytes; what is longer
 * is cut. Never allocates and never fails: a log that cannot be written is lost. What came from outside
 * (names, filters) cannot forge a line, because control characters are replaced. Any thread may call; the
 * level is one relaxed atomic.
 */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#define SKEP_LOG_LINE 1024

static _Atomic int log_level = SKEP_LOG_INFO;
static void (*_Atomic log_copy)(enum skep_log_level level, const char *text);

void skep_log_set_level(enum skep_log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

void skep_log_copy_to(void (*copy)(enum skep_log_level level, const char *text))
{
	atomic_store(&log_copy, copy);
}

bool skep_log_enabled(enum skep_log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void skep_log_write(enum skep_log_level level, const char *fmt, ...)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	void (*copy)(enum skep_log_level, const char *) = atomic_load(&log_copy);
	int saved = errno, head, n, m;
	char line[SKEP_LOG_LINE];
	va_list ap;

	head = n = snprintf(line, sizeof(line), "%.64s: %s: ", program_invocation_short_name, names[level]);
	errno = saved; /* for %m */
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	n += m < 0 ? 0 : m;
	n = SKEP_MIN(n, (int)sizeof(line) - 1);
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n] = '\0';
	if (copy)
		copy(level, line + head);
	line[n++] = '\n';
	while (write(STDERR_FILENO, line, (size_t)n) < 0 && errno == EINTR)
		;
	errno = saved;
}
