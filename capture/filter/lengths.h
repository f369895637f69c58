/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_LENGTHS_H
#define FLT_LENGTHS_H
/*
 * The table of all lists (flt_lists_table) for look-ups by hashing: binary search over the prefix lengths
 * that there are (Waldvogel, Varghese, Turner, Plattner: Scalable High Speed IP Routing Lookups, SIGCOMM
 * 1997).
 */
#include "capture/filter/list.h"

struct flt_lengths {
	/* Prefix lengths that there are, ascending. */
	uint8_t bits4[33], bits6[129];
	uint32_t n4, n6;
	/*
	 * Prefixes, and markers: a prefix cut to a length at which the search for it must go on to longer
	 * ones. Each mask is the answer for an address of which nothing longer is there. Sorted, all
	 * different.
	 */
	struct flt_prefix *v;
	size_t n; /* IPv4 first */
};

#define FLT_LENGTHS_NULL \
	{                \
		0        \
	}

/* From a table as flt_lists_table makes it. 0 or -ENOMEM. */
int flt_lengths_make(const struct flt_prefix *table, size_t n, struct flt_lengths *ret);
void flt_lengths_done(struct flt_lengths *l);

#endif
