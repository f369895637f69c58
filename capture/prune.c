/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A filter's terms (capture/filter/merge_terms.h: sets of values for each field, read off the compiled
 * program, never smaller than what matches) become questions to a sketch. A block can match if it has, for
 * some term, a value in each of the term's sets. Values are asked one by one, networks by the longest prefix
 * that sketches keep; a set that has neither few values nor a prefix is not asked about. So a wrong answer
 * costs time, never a packet.
 *
 * What holds of the values holds of one packet only together, and the sketch knows them only apart: a block
 * in which one packet has the address and another one the port is read in vain.
 *
 * Any thread; nothing is shared but what is read.
 */
#include "capture/prune.h"

#include "capture/filter/merge_terms.h"
#include "capture/sidecar.h"

#include <errno.h>
#include <string.h>

/* More questions than this about one set cost more than they save: a block is decoded in half a millisecond.
 */
#define SET_MAX 4096u

/* "One of these", or anything if it is not asked. */
struct question {
	uint32_t n;
	struct cap_sketch_key *keys;
};

struct term {
	enum cap_sketch_class class;
	uint32_t n;
	struct question of[FLT_DIMS];
};

struct cap_prune {
	uint32_t n;
	struct term v[FLT_CLASSES * FLT_MAX_TERMS];
	bool partial_ip6;
};

static const enum cap_sketch_class classes[FLT_CLASSES] = {
	[FLT_CLASS_IP4] = CAP_SKETCH_IP4,
	[FLT_CLASS_IP6] = CAP_SKETCH_IP6,
	[FLT_CLASS_ARP] = CAP_SKETCH_ARP,
	[FLT_CLASS_OTHER] = CAP_SKETCH_OTHER,
};

static uint64_t values_of(const struct flt_set *set)
{
	flt_number sum = 0;

	for (uint32_t i = 0; i < set->n && sum <= SET_MAX; i++)
		sum += set->v[i].last - set->v[i].first + 1;
	return sum > SET_MAX ? SET_MAX + 1u : (uint64_t)sum;
}

/* All values are protocols with ports. */
static bool only_with_ports(const struct flt_set *protos)
{
	if (!protos || values_of(protos) > 256)
		return false;
	for (uint32_t i = 0; i < protos->n; i++)
		for (flt_number v = protos->v[i].first; v <= protos->v[i].last; v++)
			if (!cap_sketch_has_ports((uint8_t)v))
				return false;
	return true;
}

/* Sketches keep ports of some packets only; is the term about no others? */
static bool ports_are_kept(enum cap_sketch_class class, const struct flt_term *term)
{
	const struct flt_set *frag = term->in[FLT_DIM_FRAG];

	if (class == CAP_SKETCH_IP4 && (!frag || flt_set_holds(frag, 1)))
		return false;
	return class != CAP_SKETCH_ARP && class != CAP_SKETCH_OTHER &&
	       only_with_ports(term->in[FLT_DIM_PROTO]);
}

/* One question for each value of a small set. */
static int ask_values(enum cap_sketch_class class, int dim, const struct flt_set *set, struct question *ret)
{
	uint64_t n = values_of(set);

	if (n > SET_MAX)
		return 0;
	ret->keys = calloc(n + 1, sizeof(*ret->keys));
	if (!ret->keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->n; i++)
		for (flt_number v = set->v[i].first; v <= set->v[i].last; v++)
			ret->keys[ret->n++] = dim == FLT_DIM_TYPE ? cap_sketch_of_type((uint16_t)v)
					      : dim == FLT_DIM_PROTO
						      ? cap_sketch_of_proto(class, (uint8_t)v)
						      : cap_sketch_of_port(dim == FLT_DIM_DPORT, (uint16_t)v);
	return 0;
}

/* The bits that both ends of the range have in common, of an address of `bits`. */
static uint32_t common_bits(struct flt_range r, uint32_t bits)
{
	uint32_t n = bits;

	for (flt_number differ = r.first ^ r.last; differ; differ >>= 1)
		n--;
	return n;
}

static int ask_addresses(enum cap_sketch_class class, int dim, const struct flt_set *set,
			 struct question *ret)
{
	uint32_t bits = class == CAP_SKETCH_IP6 ? 128 : 32;

	if (set->n > SET_MAX)
		return 0;
	ret->keys = calloc(set->n + 1u, sizeof(*ret->keys));
	if (!ret->keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->n; i++) {
		uint32_t prefix = cap_sketch_prefix(class, common_bits(set->v[i], bits));
		uint8_t address[16];

		if (prefix == 0) { /* no question would do */
			free(ret->keys);
			*ret = (struct question){ 0 };
			return 0;
		}
		for (uint32_t k = 0; k < bits / 8; k++)
			address[k] = (uint8_t)(set->v[i].first >> (bits - 8 - 8 * k));
		ret->keys[ret->n++] = cap_sketch_of_address(class, dim == FLT_DIM_DST, address, prefix);
	}
	return 0;
}

static int ask(enum cap_sketch_class class, const struct flt_term *term, int dim, struct question *ret)
{
	const struct flt_set *set = term->in[dim];

	if (!set)
		return 0;
	switch (dim) {
	case FLT_DIM_SRC:
	case FLT_DIM_DST:
		return ask_addresses(class, dim, set, ret);
	case FLT_DIM_SPORT:
	case FLT_DIM_DPORT:
		return ports_are_kept(class, term) ? ask_values(class, dim, set, ret) : 0;
	case FLT_DIM_TYPE:
	case FLT_DIM_PROTO:
		return ask_values(class, dim, set, ret);
	default: /* fragments: rare, and not kept */
		return 0;
	}
}

static int add_term(struct cap_prune *p, enum cap_sketch_class class, const struct flt_term *term)
{
	struct term *t = &p->v[p->n++];

	t->class = class;
	for (int dim = 0; dim < FLT_DIMS; dim++) {
		int r = ask(class, term, dim, &t->of[t->n]);

		if (r)
			return r;
		t->n += t->of[t->n].keys != NULL;
	}
	return 0;
}

/* Must each block be read that has any frame but ARP? */
static bool says_nothing(const struct cap_prune *p)
{
	const uint32_t most = 1u << CAP_SKETCH_IP4 | 1u << CAP_SKETCH_IP6 | 1u << CAP_SKETCH_OTHER;
	uint32_t open = 0;

	for (uint32_t i = 0; i < p->n; i++)
		if (p->v[i].n == 0)
			open |= 1u << p->v[i].class;
	return (open & most) == most;
}

static void prune_unref(struct cap_prune **p)
{
	cap_prune_free(*p);
}

static void terms_unref(struct flt_terms **t)
{
	flt_terms_free(*t);
}

int cap_prune_new(const struct flt_cbpf *prog, uint32_t n, struct cap_prune **ret, struct skep_err *err)
{
	SKEP_CLEANUP(prune_unref) struct cap_prune *p = calloc(1, sizeof(*p));
	SKEP_CLEANUP(terms_unref) struct flt_terms *terms = NULL;
	int r = p ? flt_terms_read(prog, n, &terms, err) : -ENOMEM;

	for (int c = 0; r == 0 && c < FLT_CLASSES; c++)
		for (uint32_t i = 0; r == 0 && i < terms->of[c].n; i++)
			r = add_term(p, classes[c], &terms->of[c].v[i]);
	if (r)
		return skep_err_set(err, r, "no memory for the questions to the index");
	p->partial_ip6 = terms->of[FLT_CLASS_IP6].partial;
	*ret = says_nothing(p) ? NULL : TAKE_PTR(p);
	return 0;
}

struct cap_prune *cap_prune_free(struct cap_prune *p)
{
	if (!p)
		return NULL;
	for (uint32_t i = 0; i < p->n; i++)
		for (uint32_t k = 0; k < FLT_DIMS; k++)
			free(p->v[i].of[k].keys);
	free(p);
	return NULL;
}

static bool may_hold_one(const struct question *q, const struct cap_sketch_block *b)
{
	for (uint32_t i = 0; i < q->n; i++)
		if (cap_sketch_may_hold(b, &q->keys[i]))
			return true;
	return false;
}

static bool may_hold(enum cap_sketch_class class, const struct cap_sketch_block *b)
{
	struct cap_sketch_key key = cap_sketch_of_class(class);

	return cap_sketch_may_hold(b, &key);
}

static bool may_match(const struct cap_prune *p, const struct cap_sketch_block *b)
{
	struct cap_sketch_key short_ip6 = cap_sketch_of_short_ip6();

	if (p->partial_ip6 && cap_sketch_may_hold(b, &short_ip6))
		return true;
	for (uint32_t i = 0; i < p->n; i++) {
		const struct term *t = &p->v[i];
		bool all = may_hold(t->class, b);

		for (uint32_t k = 0; all && k < t->n; k++)
			all = may_hold_one(&t->of[k], b);
		if (all)
			return true;
	}
	return false;
}

struct asking {
	const struct cap_prune *prune;
	bool *hopeless;
};

static void look(void *arg, size_t i, const struct cap_sketch_block *b)
{
	struct asking *a = arg;

	a->hopeless[i] = !may_match(a->prune, b);
}

bool *cap_prune_blocks(const struct cap_prune *p, const char *path, const struct cap_sidecar *sc)
{
	struct asking a = { .prune = p, .hopeless = calloc(sc->n_index, sizeof(bool)) };

	if (a.hopeless && cap_sketch_scan(path, sc, look, &a) == 0)
		return a.hopeless;
	free(a.hopeless);
	return NULL;
}
