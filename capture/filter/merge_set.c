/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sets of numbers, see merge_set.h. Every operation is one walk over the ranges. Nothing is freed but the
 * whole arena; a limit on its size keeps a hostile filter from taking more. Any thread; no state but the
 * arena.
 */
#include "capture/filter/merge_set.h"

#include "common/util.h"

#include <string.h>

#define CHUNK_BYTES 16384u

struct flt_chunk {
	struct flt_chunk *next;
	size_t used, size;
	_Alignas(flt_number) unsigned char bytes[];
};

void flt_arena_done(struct flt_arena *a)
{
	while (a->chunks) {
		struct flt_chunk *next = a->chunks->next;

		free(a->chunks);
		a->chunks = next;
	}
}

void *flt_arena_take(struct flt_arena *a, size_t bytes)
{
	struct flt_chunk *c = a->chunks;
	void *p;

	bytes = skep_align_up(bytes, _Alignof(flt_number));
	if (a->full || bytes > a->left_bytes) {
		a->full = true;
		return NULL;
	}
	if (!c || c->size - c->used < bytes) {
		size_t size = SKEP_MAX(bytes, CHUNK_BYTES);

		c = malloc(sizeof(*c) + size);
		if (!c) {
			a->full = true;
			return NULL;
		}
		*c = (struct flt_chunk){ .next = a->chunks, .size = size };
		a->chunks = c;
	}
	p = c->bytes + c->used;
	c->used += bytes;
	a->left_bytes -= bytes;
	return memset(p, 0, bytes);
}

static struct flt_set *make(struct flt_arena *a, uint32_t n)
{
	return flt_arena_take(a, sizeof(struct flt_set) + n * sizeof(struct flt_range));
}

const struct flt_set *flt_set_range(struct flt_arena *a, flt_number first, flt_number last)
{
	struct flt_set *s = make(a, 1);

	if (s) {
		s->n = 1;
		s->v[0] = (struct flt_range){ .first = first, .last = last };
	}
	return s;
}

const struct flt_set *flt_set_copy(struct flt_arena *a, const struct flt_set *s)
{
	struct flt_set *r = make(a, s->n);

	if (r)
		memcpy(r, s, sizeof(*s) + s->n * sizeof(s->v[0]));
	return r;
}

/* Appends a range that begins behind all that are there; one that touches the last becomes part of it. */
static void append(struct flt_set *s, struct flt_range r)
{
	struct flt_range *last = s->n > 0 ? &s->v[s->n - 1] : NULL;

	if (last && (r.first <= last->last || r.first == last->last + 1))
		last->last = SKEP_MAX(last->last, r.last);
	else
		s->v[s->n++] = r;
}

const struct flt_set *flt_set_cut(struct flt_arena *a, const struct flt_set *s, struct flt_range by,
				  bool inside)
{
	struct flt_set *r = make(a, s->n + 1);

	for (uint32_t i = 0; r && i < s->n; i++) {
		struct flt_range v = s->v[i];

		if (inside) {
			if (v.last >= by.first && v.first <= by.last)
				append(r, (struct flt_range){ .first = SKEP_MAX(v.first, by.first),
							      .last = SKEP_MIN(v.last, by.last) });
			continue;
		}
		if (v.first < by.first)
			append(r, (struct flt_range){ .first = v.first,
						      .last = SKEP_MIN(v.last, by.first - 1) });
		if (v.last > by.last)
			append(r,
			       (struct flt_range){ .first = SKEP_MAX(v.first, by.last + 1), .last = v.last });
	}
	return r;
}

const struct flt_set *flt_set_join(struct flt_arena *a, const struct flt_set *s, const struct flt_set *t)
{
	struct flt_set *r = make(a, s->n + t->n);
	uint32_t i = 0, j = 0;

	while (r && (i < s->n || j < t->n)) {
		bool from_s = j == t->n || (i < s->n && s->v[i].first <= t->v[j].first);

		append(r, from_s ? s->v[i] : t->v[j]);
		i += from_s;
		j += !from_s;
	}
	return r;
}

bool flt_set_same(const struct flt_set *s, const struct flt_set *t)
{
	if (s == t)
		return true;
	return s && t && s->n == t->n && memcmp(s->v, t->v, s->n * sizeof(s->v[0])) == 0;
}

bool flt_set_holds(const struct flt_set *s, flt_number value)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (value >= s->v[i].first && value <= s->v[i].last)
			return true;
	return false;
}
