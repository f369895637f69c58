/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds the reason in the log of the kernel's verifier: the log ends with a line of statistics, and the line
 * before it says why. Never asks the kernel itself. Pure function.
 */
#include "capture/filter/verifier.h"

#include <stdio.h>
#include <string.h>

void flt_verifier_words(char *log, char *ret, size_t size)
{
	char *end = strstr(log, "processed "), *line = log;

	if (end)
		*end = '\0';
	for (size_t n = strlen(log); n > 0 && log[n - 1] == '\n'; n--)
		log[n - 1] = '\0';
	end = strrchr(log, '\n');
	if (end)
		line = end + 1;
	(void)snprintf(ret, size, "%s", line);
}
