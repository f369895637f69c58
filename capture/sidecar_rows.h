/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SIDECAR_ROWS_H
#define CAP_SIDECAR_ROWS_H
/* The rows of the index in a sidecar's text, for sidecar.c only. */
#include "capture/sidecar.h"

#define CAP_SIDECAR_COLUMNS 7u
_Static_assert(sizeof(struct cap_sidecar_entry) == CAP_SIDECAR_COLUMNS * sizeof(uint64_t),
	       "an entry is its columns, in order");

struct cap_sidecar_rows {
	size_t at;		     /* in the text: behind the "[" of the index */
	struct cap_sidecar_entry *v; /* the caller frees it */
	size_t n;
};

/*
 * False if the text is not as we write it (the index last, no blanks in it, no number near 2^63): then it may
 * still be a sidecar. True: text[0, at), "]}" is what is left of it, right or wrong.
 */
bool cap_sidecar_rows_read(const char *text, size_t n, struct cap_sidecar_rows *ret);

#endif
