/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fills struct skep_err; see err.h. Never logs and never exits: whoever handles the error does that, once.
 */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int skep_err_set(struct skep_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	err->column = 0;
	err->hint[0] = '\0';
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

int skep_err_hint(struct skep_err *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return 0;
	va_start(ap, fmt);
	(void)vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	return err->code;
}

int skep_err_exit_code(int r)
{
	return r == 0 ? 0 : r == SKEP_E_USAGE ? 2 : 1;
}

void skep_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}
