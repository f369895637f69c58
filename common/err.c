/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fills struct skep_err; see err.h. Never logs and never exits: whoever handles the error does that, once,
 * with skep_err_print(). No state: any thread, each with its own struct.
 */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

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

/*
 * What came from outside (names, filters) cannot move the cursor or forge a line. Only a hint may have
 * several lines (a filter with a caret below it), each with the program's name; that is no sentence and gets
 * no full stop.
 */
static void print_text(FILE *out, const char *program, const char *text, bool lines)
{
	bool stop = !(lines && strchr(text, '\n')) && !(*text && strchr(".?!", text[strlen(text) - 1]));

	fprintf(out, "%s: ", program);
	for (; *text; text++) {
		if (lines && *text == '\n')
			fprintf(out, "\n%s: ", program);
		else
			fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
	}
	fputs(stop ? ".\n" : "\n", out);
}

void skep_err_print(FILE *out, const char *program, const struct skep_err *err)
{
	print_text(out, program, err->text, false);
	if (err->hint[0])
		print_text(out, program, err->hint, true);
}
