/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the terms of all jobs to tables.
 *
 * A field's values are cut into ranges at every bound that any job's set has; all values of a range are in
 * the same sets. Ranges that are in the same sets everywhere get the same id. A row then says, for term
 * number k, which jobs have the id in the set of their k-th term, and a frame matches job j if for some k bit
 * j is set in row k of every field. So the cost of a frame does not depend on the number of jobs, only (as 1,
 * 2, 4 or 8) on the number of terms of the most complicated one.
 *
 * 16-bit fields are indexed as they lie in the frame, without changing the order of bytes. Addresses go
 * through 16 bits, then nodes of 8: nodes exist only below prefixes that somebody asked for.
 *
 * Any thread; no state between calls.
 */
#include "capture/filter/merge_tables.h"

#include "capture/filter/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define MAX_COLUMNS 8u

/* One field of one class, which uses the space. */
struct use {
	enum flt_class class;
	enum flt_dim dim;
	uint32_t terms;
};

struct build {
	const struct flt_merge_job *jobs;
	uint32_t n;
	struct flt_tables *t;
	enum flt_space space;
	struct use uses[MAX_COLUMNS];
	uint32_t n_uses;
	flt_number *starts; /* of the ranges, ascending, the first is 0 */
	uint32_t n_starts;
	uint32_t words;	    /* u64 per signature: the rows of all uses side by side */
	uint64_t *sigs;	    /* per range */
	uint16_t *ids;	    /* per range */
	uint32_t *id_range; /* a range that has the id */
	uint32_t n_ids;
	uint64_t absent[MAX_COLUMNS * FLT_MAX_TERMS];
};

static const uint32_t space_bits[FLT_SPACES] = { 16, 8, 1, 16, 32, 128 };

enum flt_space flt_tables_space(enum flt_class class, enum flt_dim dim)
{
	switch (dim) {
	case FLT_DIM_TYPE:
		return FLT_SPACE_TYPE;
	case FLT_DIM_PROTO:
	case FLT_DIM_INNER:
		return FLT_SPACE_PROTO;
	case FLT_DIM_FRAG:
		return FLT_SPACE_FRAG;
	case FLT_DIM_SRC:
	case FLT_DIM_DST:
		return class == FLT_CLASS_IP6 ? FLT_SPACE_ADDR6 : FLT_SPACE_ADDR4;
	default:
		return FLT_SPACE_PORT;
	}
}

static const struct flt_class_terms anything = { .partial = true, .n = 1 };

static const struct flt_class_terms *terms_of(const struct flt_merge_job *job, enum flt_class class)
{
	return job->terms ? &job->terms->of[class] : &anything;
}

/* Room for n bytes, zeroed; its offset. 0 is never one: the first bytes are taken at the beginning. */
static uint32_t reserve(struct flt_tables *t, size_t n)
{
	uint32_t at = (uint32_t)skep_align_up(t->size, 8);

	if (n > FLT_MAX_TABLE_BYTES - at)
		return 0;
	if (at + n > t->cap) {
		uint32_t cap = SKEP_MAX(at + (uint32_t)n, t->cap * 2);
		unsigned char *p = realloc(t->bytes, cap);

		if (!p)
			return 0;
		memset(p + t->cap, 0, cap - t->cap);
		t->bytes = p;
		t->cap = cap;
	}
	t->size = at + (uint32_t)n;
	return at;
}

static uint64_t *words_at(struct flt_tables *t, uint32_t at)
{
	return (uint64_t *)(void *)(t->bytes + at);
}

static uint16_t *entries_at(struct flt_tables *t, uint32_t at)
{
	return (uint16_t *)(void *)(t->bytes + at);
}

static uint32_t mask_for(uint32_t n)
{
	uint32_t size = 1;

	while (size < n)
		size *= 2;
	return size - 1;
}

/* --- Classes: which fields matter, how many terms, what needs no look-up */

static int plan_class(struct build *b, enum flt_class class)
{
	struct flt_class_tables *c = &b->t->classes[class];
	uint64_t *always, asked = 0, ask_short = 0;

	*c = (struct flt_class_tables){ .terms = 1, .empty = true };
	for (uint32_t j = 0; j < b->n; j++) {
		const struct flt_class_terms *terms = terms_of(&b->jobs[j], class);

		c->terms = SKEP_MAX(c->terms, terms->n);
		c->empty = c->empty && terms->n == 0;
		asked |= terms->exact ? 0 : b->jobs[j].bit;
		ask_short |= terms->partial && class == FLT_CLASS_IP6 ? b->jobs[j].bit : 0;
		for (uint32_t k = 0; k < terms->n; k++)
			for (int d = 0; d < FLT_DIMS; d++)
				c->columns[d].used |= terms->v[k].in[d] != NULL;
	}
	while (1u << c->shift < c->terms * 8)
		c->shift++;
	c->asks = asked != 0;
	c->asks_short = ask_short != 0;
	c->always_at = reserve(b->t, (c->terms + 2) * 8);
	if (c->always_at == 0)
		return -E2BIG;
	always = words_at(b->t, c->always_at);
	for (uint32_t j = 0; j < b->n; j++)
		for (uint32_t k = 0; k < terms_of(&b->jobs[j], class)->n; k++)
			always[k] |= b->jobs[j].bit;
	always[c->terms] = asked;
	always[c->terms + 1] = ask_short;
	c->asked_at = c->always_at + c->terms * 8;
	c->short_at = c->asked_at + 8;
	return 0;
}

/* --- Spaces: ranges, ids, rows */

static int compare_numbers(const void *a, const void *b)
{
	const flt_number *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static const struct flt_set *set_of(const struct build *b, uint32_t job, const struct use *u, uint32_t k)
{
	return terms_of(&b->jobs[job], u->class)->v[k].in[u->dim];
}

#define FOR_EACH_SET(b, j, u, k)                           \
	for (uint32_t j = 0; j < (b)->n; j++)              \
		for (uint32_t u = 0; u < (b)->n_uses; u++) \
			for (uint32_t k = 0; k < terms_of(&(b)->jobs[j], (b)->uses[u].class)->n; k++)

static void find_uses(struct build *b)
{
	b->n_uses = b->words = 0;
	for (int c = 0; c < FLT_CLASSES; c++)
		for (int d = 0; d < FLT_DIMS; d++)
			if (b->t->classes[c].columns[d].used &&
			    flt_tables_space((enum flt_class)c, (enum flt_dim)d) == b->space) {
				b->uses[b->n_uses++] = (struct use){ .class = (enum flt_class)c,
								     .dim = (enum flt_dim)d,
								     .terms = b->t->classes[c].terms };
				b->words += b->t->classes[c].terms;
			}
}

static int cut_ranges(struct build *b)
{
	flt_number end = space_bits[b->space] == 128 ? 0 : (flt_number)1 << space_bits[b->space];
	size_t n = 2;
	uint32_t kept = 0;

	FOR_EACH_SET(b, j, u, k)
	{
		const struct flt_set *s = set_of(b, j, &b->uses[u], k);

		n += s ? 2 * (size_t)s->n : 0;
	}
	b->starts = malloc(n * sizeof(*b->starts));
	if (!b->starts)
		return -ENOMEM;
	n = 0;
	b->starts[n++] = 0;
	if (b->space == FLT_SPACE_FRAG)
		b->starts[n++] = 1;
	FOR_EACH_SET(b, j, u, k)
	{
		const struct flt_set *s = set_of(b, j, &b->uses[u], k);

		for (uint32_t i = 0; s && i < s->n; i++) {
			b->starts[n++] = s->v[i].first;
			if (s->v[i].last + 1 != end) /* 2^128 is 0 */
				b->starts[n++] = s->v[i].last + 1;
		}
	}
	qsort(b->starts, n, sizeof(*b->starts), compare_numbers);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || b->starts[i] != b->starts[kept - 1])
			b->starts[kept++] = b->starts[i];
	b->n_starts = kept;
	return 0;
}

/* The range that a value is in. */
static uint32_t range_of(const struct build *b, flt_number v)
{
	uint32_t low = 0, n = b->n_starts;

	while (n > 1) {
		uint32_t half = n / 2;

		if (b->starts[low + half] <= v)
			low += half;
		n -= half;
	}
	return low;
}

static flt_number range_last(const struct build *b, uint32_t range)
{
	flt_number top = space_bits[b->space] == 128 ? 0 : (flt_number)1 << space_bits[b->space];

	return (range + 1 < b->n_starts ? b->starts[range + 1] : top) - 1;
}

static int sign_ranges(struct build *b)
{
	b->sigs = calloc((size_t)b->n_starts * b->words, sizeof(*b->sigs));
	memset(b->absent, 0, sizeof(b->absent));
	if (!b->sigs)
		return -ENOMEM;
	for (uint32_t j = 0; j < b->n; j++)
		for (uint32_t u = 0, word = 0; u < b->n_uses; word += b->uses[u++].terms)
			for (uint32_t k = 0; k < terms_of(&b->jobs[j], b->uses[u].class)->n; k++) {
				const struct flt_set *s = set_of(b, j, &b->uses[u], k);

				if (!s)
					b->absent[word + k] |= b->jobs[j].bit;
				for (uint32_t i = 0; s && i < s->n; i++)
					for (uint32_t r = range_of(b, s->v[i].first);
					     r < b->n_starts && b->starts[r] <= s->v[i].last; r++)
						b->sigs[(size_t)r * b->words + word + k] |= b->jobs[j].bit;
			}
	for (uint32_t r = 0; r < b->n_starts; r++)
		for (uint32_t i = 0; i < b->words; i++)
			b->sigs[(size_t)r * b->words + i] |= b->absent[i];
	return 0;
}

static uint64_t hash_words(const uint64_t *v, uint32_t n)
{
	uint64_t h = 0;

	for (uint32_t i = 0; i < n; i++)
		h = (h ^ v[i]) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

/* Numbers the different signatures, with a hash table of open addressing. */
static int number_ranges(struct build *b)
{
	uint32_t mask = mask_for(b->n_starts * 2);
	_skep_free_ uint32_t *slots = calloc((size_t)mask + 1, sizeof(*slots)); /* range + 1 */

	b->ids = calloc(b->n_starts, sizeof(*b->ids));
	b->id_range = calloc(b->n_starts, sizeof(*b->id_range));
	if (!slots || !b->ids || !b->id_range)
		return -ENOMEM;
	b->n_ids = 0;
	for (uint32_t r = 0; r < b->n_starts; r++) {
		const uint64_t *sig = b->sigs + (size_t)r * b->words;
		uint32_t at = (uint32_t)hash_words(sig, b->words) & mask;

		while (slots[at] && memcmp(b->sigs + (size_t)(slots[at] - 1) * b->words, sig,
					   b->words * sizeof(*sig)) != 0)
			at = (at + 1) & mask;
		if (!slots[at] || b->space == FLT_SPACE_FRAG) { /* whose values are the ids */
			if (b->n_ids == FLT_TABLE_NODE - 1)
				return -E2BIG;
			slots[at] = r + 1;
			b->id_range[b->n_ids] = r;
			b->ids[r] = (uint16_t)b->n_ids++;
		} else {
			b->ids[r] = b->ids[slots[at] - 1];
		}
	}
	return 0;
}

static int write_rows(struct build *b)
{
	struct flt_space_table *s = &b->t->spaces[b->space];

	s->ids = b->n_ids;
	s->id_mask = mask_for(b->n_ids + 1);
	for (uint32_t u = 0, word = 0; u < b->n_uses; word += b->uses[u++].terms) {
		struct flt_class_tables *c = &b->t->classes[b->uses[u].class];
		struct flt_column *column = &c->columns[b->uses[u].dim];

		column->at = reserve(b->t, ((size_t)s->id_mask + 1) << c->shift);
		if (column->at == 0)
			return -E2BIG;
		for (uint32_t id = 0; id <= b->n_ids; id++)
			memcpy(b->t->bytes + column->at + ((size_t)id << c->shift),
			       id == b->n_ids ? b->absent + word
					      : b->sigs + (size_t)b->id_range[id] * b->words + word,
			       c->terms * sizeof(uint64_t));
	}
	return 0;
}

/* --- Spaces: from the value to the id */

static int write_flat(struct build *b)
{
	struct flt_space_table *s = &b->t->spaces[b->space];
	uint32_t values = 1u << space_bits[b->space];
	uint16_t *v;

	s->at = reserve(b->t, values * sizeof(*v));
	if (s->at == 0)
		return -E2BIG;
	v = entries_at(b->t, s->at);
	for (uint32_t r = 0; r < b->n_starts; r++)
		for (uint32_t i = (uint32_t)b->starts[r]; i <= (uint32_t)range_last(b, r); i++)
			v[values > 256 ? htons((uint16_t)i) : i] = b->ids[r];
	return 0;
}

/* A growing list of nodes; moves when it grows, so nobody keeps a pointer into it. */
struct nodes {
	uint16_t *v;
	uint32_t n, cap, depth;
};

static int new_node(struct nodes *nodes, uint32_t *ret)
{
	if (nodes->n == nodes->cap) {
		uint32_t cap = nodes->cap ? nodes->cap * 2 : 64;
		uint16_t *p = realloc(nodes->v, (size_t)cap * FLT_NODE_ENTRIES * sizeof(*p));

		if (!p)
			return -ENOMEM;
		nodes->v = p;
		nodes->cap = cap;
	}
	if (((size_t)nodes->n + 1) * FLT_NODE_ENTRIES * sizeof(*nodes->v) > FLT_MAX_TABLE_BYTES)
		return -E2BIG;
	*ret = nodes->n++;
	return 0;
}

/* True if all values from `first` to `last` have the id of range r, which `first` is in. */
static bool one_id(const struct build *b, uint32_t r, flt_number last)
{
	uint16_t id = b->ids[r];

	while (range_last(b, r) < last)
		if (b->ids[++r] != id)
			return false;
	return true;
}

/* Writes the node for the values with a common beginning of 128 (or 32) - bits bits; recursion is 14 deep. */
static int fill_node(struct build *b, struct nodes *nodes, flt_number base, uint32_t bits, uint32_t depth)
{
	uint32_t at, r = range_of(b, base);
	int e = new_node(nodes, &at);

	if (e < 0)
		return e;
	nodes->depth = SKEP_MAX(nodes->depth, depth);
	for (uint32_t i = 0; i < FLT_NODE_ENTRIES; i++) {
		flt_number first = base | (flt_number)i << (bits - 8);
		flt_number last = first | (((flt_number)1 << (bits - 8)) - 1);
		uint32_t child;

		while (range_last(b, r) < first)
			r++;
		if (one_id(b, r, last)) {
			nodes->v[at * FLT_NODE_ENTRIES + i] = b->ids[r];
			continue;
		}
		child = nodes->n;
		e = fill_node(b, nodes, first, bits - 8, depth + 1);
		if (e < 0)
			return e;
		nodes->v[at * FLT_NODE_ENTRIES + i] = (uint16_t)(FLT_TABLE_NODE | child);
	}
	return 0;
}

/* Most entries of the root lie in one range, with their neighbours. */
static int fill_root(struct build *b, struct nodes *nodes, uint32_t root_at)
{
	uint32_t bits = space_bits[b->space] - 16, r = 0;
	flt_number entry = (flt_number)1 << bits; /* values behind one */

	for (uint32_t i = 0; i < 65536;) {
		flt_number first = (flt_number)i << bits;
		uint32_t whole; /* entries from here that range r holds completely */
		int e;

		while (range_last(b, r) < first)
			r++;
		whole = (uint32_t)((range_last(b, r) - first) >> bits) +
			((range_last(b, r) & (entry - 1)) == entry - 1);
		for (uint32_t last = i + whole; i < last; i++)
			entries_at(b->t, root_at)[htons((uint16_t)i)] = b->ids[r];
		if (whole > 0)
			continue;
		if (one_id(b, r, first | (entry - 1))) {
			entries_at(b->t, root_at)[htons((uint16_t)i++)] = b->ids[r];
			continue;
		}
		entries_at(b->t, root_at)[htons((uint16_t)i++)] = (uint16_t)(FLT_TABLE_NODE | nodes->n);
		e = fill_node(b, nodes, first, bits, 1);
		if (e < 0)
			return e;
	}
	return nodes->n > FLT_TABLE_NODE ? -E2BIG : 0;
}

static int write_trie(struct build *b)
{
	struct flt_space_table *s = &b->t->spaces[b->space];
	struct nodes nodes = { 0 };
	int r;

	s->at = reserve(b->t, 65536 * sizeof(uint16_t));
	r = s->at == 0 ? -E2BIG : fill_root(b, &nodes, s->at);
	if (r == 0 && nodes.n > 0) {
		s->node_mask = mask_for(nodes.n);
		s->depth = nodes.depth;
		s->nodes_at = reserve(b->t, ((size_t)s->node_mask + 1) * FLT_NODE_ENTRIES * sizeof(uint16_t));
		if (s->nodes_at == 0)
			r = -E2BIG;
		else
			memcpy(b->t->bytes + s->nodes_at, nodes.v,
			       (size_t)nodes.n * FLT_NODE_ENTRIES * sizeof(uint16_t));
	}
	free(nodes.v);
	return r;
}

static int build_space(struct build *b)
{
	int r = cut_ranges(b);

	if (r == 0)
		r = sign_ranges(b);
	if (r == 0)
		r = number_ranges(b);
	if (r == 0)
		r = write_rows(b);
	if (r == 0 && space_bits[b->space] >= 32)
		r = write_trie(b);
	else if (r == 0 && b->space != FLT_SPACE_FRAG)
		r = write_flat(b);
	free(b->starts);
	free(b->sigs);
	free(b->ids);
	free(b->id_range);
	b->starts = NULL;
	b->sigs = NULL;
	b->ids = NULL;
	b->id_range = NULL;
	return r;
}

static uint32_t largest(const struct build *b)
{
	uint64_t most = 0;
	uint32_t at = 0;

	for (uint32_t j = 0; j < b->n; j++) {
		uint64_t ranges = 0;

		for (int c = 0; b->jobs[j].terms && c < FLT_CLASSES; c++) {
			const struct flt_class_terms *terms = &b->jobs[j].terms->of[c];

			for (uint32_t k = 0; k < terms->n; k++)
				for (int d = 0; d < FLT_DIMS; d++)
					ranges += terms->v[k].in[d] ? terms->v[k].in[d]->n : 0;
		}
		if (ranges > most) {
			most = ranges;
			at = j;
		}
	}
	return at;
}

int flt_tables_build(const struct flt_merge_job *jobs, uint32_t n, struct flt_tables *ret,
		     uint32_t *ret_largest)
{
	SKEP_CLEANUP(flt_tables_done) struct flt_tables t = { 0 };
	struct build b = { .jobs = jobs, .n = n, .t = &t };
	int r = reserve(&t, 8) == 0 && t.bytes ? 0 : -ENOMEM;

	for (int c = 0; r == 0 && c < FLT_CLASSES; c++)
		r = plan_class(&b, (enum flt_class)c);
	for (int s = 0; r == 0 && s < FLT_SPACES; s++) {
		b.space = (enum flt_space)s;
		find_uses(&b);
		if (b.n_uses > 0)
			r = build_space(&b);
	}
	if (r == -E2BIG)
		*ret_largest = largest(&b);
	if (r)
		return r;
	*ret = t;
	t = (struct flt_tables){ 0 };
	return 0;
}

void flt_tables_done(struct flt_tables *t)
{
	free(t->bytes);
	*t = (struct flt_tables){ 0 };
}
