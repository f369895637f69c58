/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Appends formatted pieces to a text in memory. Never writes a half piece: without memory the text stays as
 * it was and says so. No state: any thread.
 */
#include "control/text.h"

#include <stdarg.h>
#include <stdio.h>

void ctl_text_add(struct ctl_text *text, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && !text->failed && text->len + (size_t)n + 1 > text->room) {
		size_t room = SKEP_MAX(2 * text->room, text->len + (size_t)n + 4096);
		char *data = realloc(text->data, room);

		text->failed = !data;
		if (data) {
			text->data = data;
			text->room = room;
		}
	}
	if (n >= 0 && !text->failed)
		text->len += (size_t)vsnprintf(text->data + text->len, text->room - text->len, fmt, again);
	va_end(again);
}
