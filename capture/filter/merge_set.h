/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_MERGE_SET_H
#define FLT_MERGE_SET_H
/*
 * Sets of numbers of up to 128 bits (a port, a protocol, an address) as sorted ranges that do not touch. A
 * set never changes; the functions make new ones in an arena, which frees them all at once.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

__extension__ typedef unsigned __int128 flt_number;

struct flt_range {
	flt_number first, last;
};

struct flt_set {
	uint32_t n;
	struct flt_range v[];
};

struct flt_chunk;

/* Memory up to a limit. `full` stays set once a wish was refused; what was made since is not to be used. */
struct flt_arena {
	struct flt_chunk *chunks;
	size_t left_bytes;
	bool full;
};

void flt_arena_done(struct flt_arena *a);
/* Zeroed, aligned for any type; NULL and `full` beyond the limit. */
void *flt_arena_take(struct flt_arena *a, size_t bytes);

/* All return NULL only when the arena is full. */
const struct flt_set *flt_set_range(struct flt_arena *a, flt_number first, flt_number last);
/* The part of s inside [first, last], or outside of it. May be empty. */
const struct flt_set *flt_set_cut(struct flt_arena *a, const struct flt_set *s, struct flt_range by,
				  bool inside);
const struct flt_set *flt_set_join(struct flt_arena *a, const struct flt_set *s, const struct flt_set *t);
const struct flt_set *flt_set_copy(struct flt_arena *a, const struct flt_set *s);
bool flt_set_same(const struct flt_set *s, const struct flt_set *t);
bool flt_set_holds(const struct flt_set *s, flt_number value);

#endif
