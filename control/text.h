/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_TEXT_H
#define CTL_TEXT_H
/*
 * A text that grows. One that found no memory stays failed, so that only the end needs to look.
 */
#include "common/util.h"

#include <stdbool.h>

struct ctl_text {
	char *data; /* the owner's (free) */
	size_t len, room;
	bool failed;
};

void ctl_text_add(struct ctl_text *text, const char *fmt, ...) SKEP_PRINTF(2, 3);

#endif
