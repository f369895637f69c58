/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_LIST_H
#define FLT_LIST_H
/*
 * Files of addresses for `net in @FILE` and `host in @FILE`: at most 32 at a time share one context, each
 * with a number that is its bit in skep_scratch.src_lists and dst_lists.
 *
 * One address or prefix a line, IPv4 and IPv6 mixed, # begins a comment; host bits behind the prefix are
 * refused (10.0.0.1/8). One thread at a time.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLT_MAX_LISTS 32u

struct flt_lists;

struct flt_list_info {
	const char *name;  /* as it was written; borrowed */
	uint32_t entries;  /* lines with an address, duplicates too */
	uint32_t ip4, ip6; /* different prefixes */
};

/* An entry of all lists together. The mask has the bits of the lists that hold it or a shorter prefix of it.
 */
struct flt_prefix {
	uint8_t addr[16]; /* as on the wire; IPv4 in the first four */
	uint8_t bits;	  /* prefix length */
	uint8_t version;  /* 4 or 6 */
	uint16_t zero;
	uint32_t mask;
};

/* Sorts by version, address, length, and joins equal prefixes, with all their bits; returns how many are
 * left. */
size_t flt_list_sort(struct flt_prefix *v, size_t n);
/* Is all of q in p? */
bool flt_list_covers(const struct flt_prefix *p, const struct flt_prefix *q);

int flt_lists_new(struct flt_lists **ret, struct skep_err *err);
/* Takes NULL, returns NULL. */
struct flt_lists *flt_lists_free(struct flt_lists *l);

/*
 * Reads the file, or shares the list that was read from it before if the file is the same since; takes a
 * reference. Refusals (SKEP_E_USAGE) name file and line.
 */
int flt_lists_open(struct flt_lists *l, const char *path, uint32_t *ret_index, struct skep_err *err);
/* The same for text that somebody else has read; name is for refusals, and never opened. */
int flt_lists_add(struct flt_lists *l, const char *name, const char *text, size_t n, uint32_t *ret_index,
		  struct skep_err *err);
/*
 * Takes one more reference to, or gives one back of, each list in the mask. A list without any keeps its
 * number and stays in the table, because programs that read its bit may still run, until flt_lists_sweep, or
 * until there is no other number for a new one.
 */
void flt_lists_hold(struct flt_lists *l, uint32_t mask);
void flt_lists_release(struct flt_lists *l, uint32_t mask);
/* Forgets lists without references; was there any? Their entries leave the kernel with the next table. */
bool flt_lists_sweep(struct flt_lists *l);

/* Changes whenever the table does. */
uint64_t flt_lists_version(const struct flt_lists *l);
/* Lists with references. */
uint32_t flt_lists_mask(const struct flt_lists *l);
/* Facts of one; NULL: there is none with that number. */
const struct flt_list_info *flt_lists_info(const struct flt_lists *l, uint32_t index);

/*
 * All lists as one table: sorted by version, address, length; no duplicates. ret is freed by the caller.
 * Linear but for sorting.
 */
int flt_lists_table(const struct flt_lists *l, struct flt_prefix **ret, size_t *ret_n, struct skep_err *err);

/* Lists for user space: which address is in which list. Immutable; any thread. */
struct flt_ranges;
int flt_ranges_new(const struct flt_lists *l, struct flt_ranges **ret, struct skep_err *err);
struct flt_ranges *flt_ranges_free(struct flt_ranges *r);
/* addr as on the wire: 4 or 16 bytes. */
uint32_t flt_ranges_find(const struct flt_ranges *r, uint8_t version, const void *addr);

#endif
