/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads a filter's terms off its compiled form (cBPF), not its text: so whatever the words were, the meaning
 * is libpcap's, and a word that nobody here thought of is only an instruction that is not understood.
 *
 * For each class of frames every way through the program is walked with the EtherType fixed. A way carries,
 * for each field it loaded, the set of values that lead along it; a load means the field must be in the
 * frame, because libpcap rejects otherwise. A way that accepts is a term. What the walk does not understand
 * (arithmetic, lengths, loads of other bytes) takes both branches and makes the class inexact: its terms then
 * hold more frames than match, never fewer.
 *
 * Two terms that differ in one set only are one term with the union. So `port 80 or 443`, on three protocols,
 * is two terms: source, destination.
 *
 * Loads from offsets of 2^31 and more are not understood on purpose: libpcap rejects there, but other parts
 * of the compiler use such offsets for bytes that are not in the frame.
 *
 * Any thread; no state between calls. Steps, ways and memory are bounded; beyond, the class is inexact.
 */
#include "capture/filter/merge_terms.h"

#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <string.h>

#define TYPE_IP4 0x0800u
#define TYPE_IP6 0x86ddu
#define TYPE_ARP 0x0806u
#define TYPE_RARP 0x8035u

/* Bounds of one class's walk: a thousand times what filters of people need, and done within a millisecond or
 * two. */
#define MAX_STEPS 20000u
#define MAX_WAYS 256u
#define MAX_OPEN_TERMS 64u
#define WALK_BYTES (4u << 20)
#define KEPT_BYTES (16u << 20)

/* Fields as the program loads them: the IPv6 addresses in four words each. */
enum field {
	F_TYPE,
	F_PROTO,
	F_FRAG,
	F_INNER,
	F_SRC,
	F_DST,
	F_SPORT,
	F_DPORT,
	F_SRC6,
	F_DST6 = F_SRC6 + 4,
	F_N = F_DST6 + 4,
};

enum value_kind { V_UNKNOWN, V_CONST, V_FIELD, V_HEADER /* 4 * ([14] & 15) */ };

struct value {
	enum value_kind kind;
	enum field field;
	uint32_t k; /* V_CONST: the number; V_FIELD: the mask that was applied */
};

struct way {
	uint32_t pc;
	struct value a, x;
	const struct flt_set *in[F_N]; /* NULL: not loaded */
	bool exact, header;	       /* header: byte 14 was loaded */
};

struct walk {
	const struct flt_cbpf *prog;
	uint32_t n;
	enum flt_class class;
	const struct flt_set *types;
	struct flt_arena arena;
	struct way ways[MAX_WAYS];
	uint32_t n_ways, steps;
	struct flt_term terms[MAX_OPEN_TERMS];
	uint32_t n_terms;
	bool exact, partial;
	bool lost; /* beyond a bound */
};

static const struct value unknown = { .kind = V_UNKNOWN };

static uint32_t field_max(enum field f)
{
	if (f == F_PROTO || f == F_INNER)
		return 0xff;
	return f == F_TYPE || f == F_FRAG || f == F_SPORT || f == F_DPORT ? 0xffff : UINT32_MAX;
}

/* The field at an absolute offset of a class's frames; F_N: none that is known. */
static enum field field_at(enum flt_class class, uint32_t size, uint32_t k)
{
	static const struct {
		enum flt_class class;
		uint32_t size, k;
		enum field field;
	} places[] = {
		{ FLT_CLASS_IP4, BPF_B, 23, F_PROTO },	  { FLT_CLASS_IP4, BPF_H, 20, F_FRAG },
		{ FLT_CLASS_IP4, BPF_W, 26, F_SRC },	  { FLT_CLASS_IP4, BPF_W, 30, F_DST },
		{ FLT_CLASS_IP6, BPF_B, 20, F_PROTO },	  { FLT_CLASS_IP6, BPF_B, 54, F_INNER },
		{ FLT_CLASS_IP6, BPF_H, 54, F_SPORT },	  { FLT_CLASS_IP6, BPF_H, 56, F_DPORT },
		{ FLT_CLASS_IP6, BPF_W, 22, F_SRC6 },	  { FLT_CLASS_IP6, BPF_W, 26, F_SRC6 + 1 },
		{ FLT_CLASS_IP6, BPF_W, 30, F_SRC6 + 2 }, { FLT_CLASS_IP6, BPF_W, 34, F_SRC6 + 3 },
		{ FLT_CLASS_IP6, BPF_W, 38, F_DST6 },	  { FLT_CLASS_IP6, BPF_W, 42, F_DST6 + 1 },
		{ FLT_CLASS_IP6, BPF_W, 46, F_DST6 + 2 }, { FLT_CLASS_IP6, BPF_W, 50, F_DST6 + 3 },
		{ FLT_CLASS_ARP, BPF_W, 28, F_SRC },	  { FLT_CLASS_ARP, BPF_W, 38, F_DST },
	};

	if (size == BPF_H && k == 12)
		return F_TYPE;
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (places[i].class == class && places[i].size == size && places[i].k == k)
			return places[i].field;
	return F_N;
}

static struct value load_field(struct walk *w, struct way *y, enum field f)
{
	if (!y->in[f])
		y->in[f] = f == F_FRAG ? flt_set_range(&w->arena, 0, 1)
				       : flt_set_range(&w->arena, 0, field_max(f));
	return (struct value){ .kind = V_FIELD, .field = f, .k = field_max(f) };
}

static struct value load(struct walk *w, struct way *y, const struct flt_cbpf *p)
{
	enum field f = F_N;

	if (BPF_MODE(p->code) == BPF_ABS)
		f = field_at(w->class, BPF_SIZE(p->code), p->k);
	else if (w->class == FLT_CLASS_IP4 && y->x.kind == V_HEADER && BPF_SIZE(p->code) == BPF_H)
		f = p->k == 14 ? F_SPORT : p->k == 16 ? F_DPORT : F_N;
	if (f != F_N)
		return load_field(w, y, f);
	y->exact = false;
	return unknown;
}

static void step_load(struct walk *w, struct way *y, const struct flt_cbpf *p)
{
	bool into_a = BPF_CLASS(p->code) == BPF_LD;
	struct value v = unknown;

	switch (BPF_MODE(p->code)) {
	case BPF_IMM:
		v = (struct value){ .kind = V_CONST, .k = p->k };
		break;
	case BPF_ABS:
	case BPF_IND:
		v = load(w, y, p);
		break;
	case BPF_MSH:
		if (w->class == FLT_CLASS_IP4 && p->k == 14) {
			v.kind = V_HEADER;
			y->header = true;
		} else {
			y->exact = false;
		}
		break;
	default: /* the length, M[] */
		y->exact = false;
	}
	*(into_a ? &y->a : &y->x) = v;
}

static void step_alu(struct way *y, const struct flt_cbpf *p)
{
	uint8_t op = BPF_OP(p->code);

	if (op == BPF_AND && BPF_SRC(p->code) == BPF_K && y->a.kind == V_FIELD) {
		y->a.k &= p->k;
		return;
	}
	y->a = unknown;
	if (op == BPF_DIV || op == BPF_MOD) /* rejects where X is 0 */
		y->exact = false;
}

/* mask is the upper part of the field: so what differs in its bits is a range. */
static bool is_prefix(uint32_t mask, uint32_t max)
{
	uint32_t rest = max & ~mask;

	return mask != 0 && (mask & ~max) == 0 && (rest & (rest + 1)) == 0;
}

/*
 * The values of the field for which the test is true, as one range; false: it is not one, or unknown. An
 * empty range has first > last.
 */
static bool test_range(const struct value *v, const struct flt_cbpf *p, struct flt_range *ret)
{
	uint32_t max = field_max(v->field), k = p->k, mask = v->k;
	const struct flt_range none = { .first = 1, .last = 0 };

	if (BPF_SRC(p->code) != BPF_K)
		return false;
	if (v->field == F_FRAG) {
		if (BPF_OP(p->code) == BPF_JSET && (k & mask) == 0x1fff)
			*ret = (struct flt_range){ 1, 1 };
		else if (BPF_OP(p->code) == BPF_JEQ && mask == 0x1fff && k == 0)
			*ret = (struct flt_range){ 0, 0 };
		else
			return false;
		return true;
	}
	if (!is_prefix(mask, max))
		return false;
	switch (BPF_OP(p->code)) {
	case BPF_JEQ:
		*ret = (k & ~mask) != 0 ? none : (struct flt_range){ k, k | (max & ~mask) };
		return true;
	case BPF_JSET:
		k &= mask;
		if (k == 0) {
			*ret = none;
			return true;
		}
		if (!is_prefix(k, max))
			return false;
		*ret = (struct flt_range){ k & -k, max };
		return true;
	case BPF_JGT:
	case BPF_JGE:
		if (mask != max)
			return false;
		*ret = (struct flt_range){ (flt_number)k + (BPF_OP(p->code) == BPF_JGT), max };
		return true;
	default:
		return false;
	}
}

static bool const_test(const struct flt_cbpf *p, uint32_t a)
{
	switch (BPF_OP(p->code)) {
	case BPF_JEQ:
		return a == p->k;
	case BPF_JGT:
		return a > p->k;
	case BPF_JGE:
		return a >= p->k;
	default:
		return (a & p->k) != 0;
	}
}

static void fork_way(struct walk *w, const struct way *y, uint32_t pc, const struct flt_set *in)
{
	struct way *to;

	if (in && in->n == 0)
		return;
	if (w->n_ways == MAX_WAYS) {
		w->lost = true;
		return;
	}
	to = &w->ways[w->n_ways++];
	*to = *y;
	to->pc = pc;
	if (in)
		to->in[y->a.field] = in;
	else
		to->exact = false;
}

/* Returns true if the way goes on by itself (one successor). */
static bool step_jump(struct walk *w, struct way *y, const struct flt_cbpf *p)
{
	uint32_t t = y->pc + 1 + p->jt, f = y->pc + 1 + p->jf;
	struct flt_range by;

	if (BPF_OP(p->code) == BPF_JA) {
		y->pc += 1 + p->k;
		return true;
	}
	if (y->a.kind == V_CONST && BPF_SRC(p->code) == BPF_K) {
		y->pc = const_test(p, y->a.k) ? t : f;
		return true;
	}
	if (t == f) {
		y->pc = t;
		return true;
	}
	if (y->a.kind == V_FIELD && test_range(&y->a, p, &by)) {
		const struct flt_set *in = y->in[y->a.field];
		bool empty = by.first > by.last;
		const struct flt_set *yes = empty ? NULL : flt_set_cut(&w->arena, in, by, true);
		const struct flt_set *no = empty ? in : flt_set_cut(&w->arena, in, by, false);

		fork_way(w, y, f, no);
		if (yes)
			fork_way(w, y, t, yes);
	} else {
		fork_way(w, y, t, NULL);
		fork_way(w, y, f, NULL);
	}
	return false;
}

static bool is_single(const struct flt_set *s)
{
	return s->n == 1 && s->v[0].first == s->v[0].last;
}

/*
 * An IPv6 address from the sets of its words. A set of addresses in ranges comes from words of which all but
 * the last one that matters are single values, which is how libpcap compares them: from the left.
 */
static const struct flt_set *join_words(struct walk *w, struct way *y, enum field first)
{
	const struct flt_set **word = &y->in[first], *all = NULL;
	flt_number base = 0;
	uint32_t loaded = 0, i = 0;

	for (uint32_t k = 0; k < 4; k++)
		loaded += word[k] != NULL;
	if (loaded == 0)
		return NULL;
	/* A later field is loaded too: then the frame does not end within the addresses. */
	w->partial |=
		loaded < 4 && !y->in[F_DST6 + 3] && !y->in[F_INNER] && !y->in[F_SPORT] && !y->in[F_DPORT];
	for (uint32_t k = 0; k < loaded; k++)
		if (!word[k]) { /* not from the left */
			y->exact = false;
			return NULL;
		}
	for (; i + 1 < loaded && is_single(word[i]); i++)
		base |= word[i]->v[0].first << (96 - 32 * i);
	for (uint32_t k = i + 1; k < loaded; k++)
		if (word[k]->n != 1 || word[k]->v[0].first != 0 || word[k]->v[0].last != UINT32_MAX)
			y->exact = false;
	for (uint32_t k = 0; k < word[i]->n; k++) {
		uint32_t shift = 96 - 32 * i;
		struct flt_range r = word[i]->v[k];
		const struct flt_set *one =
			flt_set_range(&w->arena, base | r.first << shift,
				      base | r.last << shift | (((flt_number)1 << shift) - 1));

		all = all && one ? flt_set_join(&w->arena, all, one) : one;
	}
	return all;
}

/* Takes the union in dimension d if s and t are the same everywhere else; s and t the same: nothing to do. */
static bool join_terms(struct flt_arena *a, struct flt_term *s, const struct flt_term *t)
{
	int differs = -1;

	for (int d = 0; d < FLT_DIMS; d++) {
		if (flt_set_same(s->in[d], t->in[d]))
			continue;
		if (differs >= 0)
			return false;
		differs = d;
	}
	if (differs < 0)
		return true;
	s->in[differs] =
		s->in[differs] && t->in[differs] ? flt_set_join(a, s->in[differs], t->in[differs]) : NULL;
	return true;
}

static void add_term(struct walk *w, struct flt_term term)
{
	for (uint32_t i = 0; i < w->n_terms;) {
		if (!join_terms(&w->arena, &term, &w->terms[i])) {
			i++;
			continue;
		}
		w->terms[i] = w->terms[--w->n_terms];
		i = 0; /* the larger term may be joined with what was passed */
	}
	if (w->n_terms == MAX_OPEN_TERMS)
		w->lost = true;
	else
		w->terms[w->n_terms++] = term;
}

static void accept_way(struct walk *w, struct way *y)
{
	struct flt_term term = { .in = {
					 [FLT_DIM_PROTO] = y->in[F_PROTO],
					 [FLT_DIM_FRAG] = y->in[F_FRAG],
					 [FLT_DIM_INNER] = y->in[F_INNER],
					 [FLT_DIM_SRC] = y->in[F_SRC],
					 [FLT_DIM_DST] = y->in[F_DST],
					 [FLT_DIM_SPORT] = y->in[F_SPORT],
					 [FLT_DIM_DPORT] = y->in[F_DPORT],
				 } };
	bool has_byte_14 = false;

	if (w->class == FLT_CLASS_IP6) {
		term.in[FLT_DIM_SRC] = join_words(w, y, F_SRC6);
		term.in[FLT_DIM_DST] = join_words(w, y, F_DST6);
	}
	if (!flt_set_same(y->in[F_TYPE], w->types))
		term.in[FLT_DIM_TYPE] = y->in[F_TYPE];
	/* Byte 14 is there when any later field is. */
	for (int d = FLT_DIM_PROTO; d < FLT_DIMS; d++)
		has_byte_14 |= term.in[d] != NULL;
	if (y->header && !has_byte_14)
		y->exact = false;
	w->exact &= y->exact;
	add_term(w, term);
}

static void walk_way(struct walk *w, struct way y)
{
	for (;;) {
		const struct flt_cbpf *p;

		if (y.pc >= w->n || ++w->steps > MAX_STEPS || w->arena.full) {
			w->lost = true;
			return;
		}
		p = &w->prog[y.pc];
		switch (BPF_CLASS(p->code)) {
		case BPF_LD:
		case BPF_LDX:
			step_load(w, &y, p);
			break;
		case BPF_ALU:
			step_alu(&y, p);
			break;
		case BPF_JMP:
			if (!step_jump(w, &y, p))
				return;
			continue;
		case BPF_RET:
			if (BPF_RVAL(p->code) == BPF_A)
				y.exact = false;
			if (BPF_RVAL(p->code) == BPF_A || p->k != 0)
				accept_way(w, &y);
			return;
		case BPF_MISC:
			if (BPF_MISCOP(p->code) == BPF_TAX)
				y.x = y.a;
			else
				y.a = y.x;
			break;
		default: /* a store to M[], from which nothing is understood anyway */
			break;
		}
		y.pc++;
	}
}

/* The EtherTypes of a class. */
static const struct flt_set *class_types(struct flt_arena *a, enum flt_class class)
{
	static const uint16_t named[] = { TYPE_IP4, TYPE_ARP, TYPE_RARP, TYPE_IP6 };
	const struct flt_set *s;

	if (class == FLT_CLASS_IP4)
		return flt_set_range(a, TYPE_IP4, TYPE_IP4);
	if (class == FLT_CLASS_IP6)
		return flt_set_range(a, TYPE_IP6, TYPE_IP6);
	if (class == FLT_CLASS_ARP) {
		const struct flt_set *arp = flt_set_range(a, TYPE_ARP, TYPE_ARP),
				     *rarp = flt_set_range(a, TYPE_RARP, TYPE_RARP);

		return arp && rarp ? flt_set_join(a, arp, rarp) : NULL;
	}
	s = flt_set_range(a, 0, 0xffff);
	for (size_t i = 0; s && i < ARRAY_LEN(named); i++)
		s = flt_set_cut(a, s, (struct flt_range){ named[i], named[i] }, false);
	return s;
}

static uint32_t distance(const struct flt_term *s, const struct flt_term *t)
{
	uint32_t n = 0;

	for (int d = 0; d < FLT_DIMS; d++)
		n += !flt_set_same(s->in[d], t->in[d]);
	return n;
}

/* Makes one of the two terms that are most alike: what is in either, and more. */
static void blur(struct walk *w)
{
	uint32_t best = UINT32_MAX, at = 0, with = 1;
	struct flt_term term;

	for (uint32_t i = 0; i < w->n_terms; i++)
		for (uint32_t j = i + 1; j < w->n_terms; j++)
			if (distance(&w->terms[i], &w->terms[j]) < best) {
				best = distance(&w->terms[i], &w->terms[j]);
				at = i;
				with = j;
			}
	term = w->terms[at];
	for (int d = 0; d < FLT_DIMS; d++) {
		const struct flt_set *s = term.in[d], *t = w->terms[with].in[d];

		term.in[d] = s && t ? flt_set_join(&w->arena, s, t) : NULL;
	}
	w->terms[with] = w->terms[--w->n_terms];
	w->terms[at] = w->terms[--w->n_terms];
	add_term(w, term);
	w->exact = false;
}

/* Copies what was found out of the walk's memory. */
static int keep(struct walk *w, struct flt_terms *into)
{
	struct flt_class_terms *c = &into->of[w->class];

	while (!w->lost && !w->arena.full && w->n_terms > FLT_MAX_TERMS)
		blur(w);
	if (w->lost || w->arena.full) { /* any frame of the class may match */
		*c = (struct flt_class_terms){ .partial = true, .n = 1 };
		return 0;
	}
	*c = (struct flt_class_terms){ .exact = w->exact, .partial = w->partial, .n = w->n_terms };
	for (uint32_t i = 0; i < w->n_terms; i++)
		for (int d = 0; d < FLT_DIMS; d++)
			if (w->terms[i].in[d])
				c->v[i].in[d] = flt_set_copy(&into->arena, w->terms[i].in[d]);
	return into->arena.full ? -ENOMEM : 0;
}

static int read_class(struct walk *w, enum flt_class class, struct flt_terms *into)
{
	struct way start = { .exact = true };
	int r;

	w->class = class;
	w->arena = (struct flt_arena){ .left_bytes = WALK_BYTES };
	w->n_ways = w->n_terms = w->steps = 0;
	w->exact = true;
	w->lost = w->partial = false;
	w->types = class_types(&w->arena, class);
	start.in[F_TYPE] = w->types;
	/* libpcap's A and X begin as zero. */
	start.a = start.x = (struct value){ .kind = V_CONST, .k = 0 };
	w->lost = w->types == NULL;
	for (walk_way(w, start); w->n_ways > 0 && !w->lost;)
		walk_way(w, w->ways[--w->n_ways]);
	r = keep(w, into);
	flt_arena_done(&w->arena);
	return r;
}

struct flt_terms *flt_terms_free(struct flt_terms *t)
{
	if (t)
		flt_arena_done(&t->arena);
	free(t);
	return NULL;
}

static void terms_unref(struct flt_terms **t)
{
	flt_terms_free(*t);
}

int flt_terms_read(const struct flt_cbpf *in, uint32_t n, struct flt_terms **ret, struct skep_err *err)
{
	SKEP_CLEANUP(terms_unref) struct flt_terms *t = calloc(1, sizeof(*t));
	_skep_free_ struct walk *w = calloc(1, sizeof(*w));

	if (!t || !w)
		return skep_err_set(err, -ENOMEM, "no memory to read the filter's terms");
	t->arena.left_bytes = KEPT_BYTES;
	w->prog = in;
	w->n = n;
	for (int c = 0; c < FLT_CLASSES; c++)
		if (read_class(w, (enum flt_class)c, t) < 0)
			return skep_err_set(err, -ENOMEM, "no memory to keep the filter's terms");
	*ret = TAKE_PTR(t);
	return 0;
}

bool flt_terms_exact(const struct flt_terms *t)
{
	for (int c = 0; c < FLT_CLASSES; c++)
		if (!t->of[c].exact || t->of[c].partial)
			return false;
	return true;
}
