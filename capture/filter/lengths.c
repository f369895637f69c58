/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Longest-prefix match with few hash look-ups: none for a length that no prefix has, one where all are hosts,
 * at most six for IPv4 and eight for IPv6. A trie of 100,000 addresses asks for a cache line at each of some
 * 17 branches, one after the other.
 *
 * The search halves the list of lengths: a hit means "this, or something longer", a miss "something shorter".
 * A marker makes a hit where only something longer is there; its mask is the answer if that something is not
 * the one that is looked for, so the search never has to turn back. No state; any thread.
 */
#include "capture/filter/lengths.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void cut(struct flt_prefix *p, unsigned bits)
{
	for (unsigned i = 0; i < sizeof(p->addr); i++) {
		unsigned left = bits > 8 * i ? bits - 8 * i : 0;

		if (left < 8)
			p->addr[i] &= (uint8_t) ~(0xffu >> left);
	}
	p->bits = (uint8_t)bits;
}

static void list_lengths(const struct flt_prefix *table, size_t n, struct flt_lengths *ret)
{
	bool has4[33] = { false }, has6[129] = { false };

	for (size_t i = 0; i < n; i++)
		*(table[i].version == 4 ? &has4[table[i].bits] : &has6[table[i].bits]) = true;
	for (unsigned b = 0; b <= 32; b++)
		if (has4[b])
			ret->bits4[ret->n4++] = (uint8_t)b;
	for (unsigned b = 0; b <= 128; b++)
		if (has6[b])
			ret->bits6[ret->n6++] = (uint8_t)b;
}

/* The prefix and its markers; around[0..depth) are the prefixes that hold it, each the one before it. */
static size_t put(const struct flt_lengths *l, const struct flt_prefix *p,
		  const struct flt_prefix *const *around, size_t depth, struct flt_prefix *out)
{
	const uint8_t *bits = p->version == 4 ? l->bits4 : l->bits6;
	size_t low = 0, high = p->version == 4 ? l->n4 : l->n6, n = 0;

	while (low < high) {
		size_t mid = (low + high) / 2, known = depth;

		if (bits[mid] > p->bits) {
			high = mid;
			continue;
		}
		out[n] = *p;
		if (bits[mid] == p->bits)
			return n + 1;
		cut(&out[n], bits[mid]);
		while (known > 0 && around[known - 1]->bits > bits[mid])
			known--;
		out[n++].mask = known > 0 ? around[known - 1]->mask : 0;
		low = mid + 1;
	}
	return n; /* never: the prefix's length is among them */
}

/* Entries before equal ones are joined: a prefix of one of n lengths has log2(n) + 1 at most. */
static size_t entries_max(const struct flt_lengths *l, size_t n)
{
	size_t most = l->n4 > l->n6 ? l->n4 : l->n6, steps = 1;

	while (most >>= 1)
		steps++;
	return n * steps;
}

int flt_lengths_make(const struct flt_prefix *table, size_t n, struct flt_lengths *ret)
{
	const struct flt_prefix *around[129];
	struct flt_lengths l = FLT_LENGTHS_NULL;
	size_t depth = 0;

	list_lengths(table, n, &l);
	l.v = calloc(entries_max(&l, n) + 1, sizeof(*l.v));
	if (!l.v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		while (depth > 0 && !flt_list_covers(around[depth - 1], &table[i]))
			depth--;
		l.n += put(&l, &table[i], around, depth, l.v + l.n);
		around[depth++] = &table[i];
	}
	l.n = flt_list_sort(l.v, l.n);
	*ret = l;
	return 0;
}

void flt_lengths_done(struct flt_lengths *l)
{
	free(l->v);
	*l = (struct flt_lengths)FLT_LENGTHS_NULL;
}
