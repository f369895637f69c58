/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fills struct skep_err; see err.h. Never logs and never exits: whoever handles the error does that, once,
 * with skep_err_print(). No state: any thread, each with its own struct.
 */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>

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

/* What came from outside (names, filters) cannot move the cursor or forge a line. */
static void print_sentence(FILE *out, const char *program, const char *text)
{
	fprintf(out, "%s: ", program);
	for (; *text; text++)
		fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
	fputs(".\n", out);
}

void skep_err_print(FILE *out, const char *program, const struct skep_err *err)
{
	print_sentence(out, program, err->text);
	if (err->hint[0])
		print_sentence(out, program, err->hint);
}

void skep_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}
