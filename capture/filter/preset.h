/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_PRESET_H
#define FLT_PRESET_H
/*
 * Words for protocols that pcap-filter(7) has no word for; each stands for an expression and may be used like
 * one.
 */
#include <stddef.h>
#include <stdint.h>

struct flt_preset {
	const char *name;
	const char *expr;    /* pcap-filter(7); "" where it has no words for it */
	const char *meaning; /* exactly what is matched */
	const char *misses;  /* and what is not, or is wrongly; "" if nothing */
	uint32_t mark;	     /* SKEP_MARK_* that the look stage sets; 0: expr says it all */
};

const struct flt_preset *flt_preset_find(const char *word, size_t len);
/* The i-th preset in alphabetical order, NULL after the last. */
const struct flt_preset *flt_preset_at(size_t i);

#endif
