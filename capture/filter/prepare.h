/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_PREPARE_H
#define FLT_PREPARE_H
/*
 * What libpcap is given instead of the user's text.
 */
#include "capture/filter/front.h"
#include "capture/filter/token.h"

/* A filter on its way to libpcap; everything is owned but lists. */
struct flt_prepared {
	struct flt_tokens tokens; /* of text, or of the user's where text is NULL */
	char *text;		  /* presets, marks and lists written out; NULL: there are none */
	uint32_t *origin;	  /* byte of text -> byte of the user's; NULL: the same */
	char *twin; /* text with marks and lists elsewhere; NULL: not needed (flt_scratch_settle) */
	uint32_t base, twin_base; /* where marks and lists are in the two; base 0: there are none */
	struct flt_lists *lists;  /* borrowed */
	uint32_t used;		  /* references taken of lists */
};

#define FLT_PREPARED_NULL \
	{                 \
		0         \
	}

/* Checks and writes out. ret is emptied by flt_prepare_done, also after failure. */
int flt_prepare(const struct flt_ask *ask, struct flt_prepared *ret, struct skep_err *err);
/* Gives back references to lists, too: whoever keeps them sets used to 0 before. */
void flt_prepare_done(struct flt_prepared *p);

/* flt_front_expand's text. */
int flt_prepare_expand(const char *expr, int linktype, char **ret, struct skep_err *err);

#endif
