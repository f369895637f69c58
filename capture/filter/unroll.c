/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `protochain` is the one primitive that libpcap compiles to a loop, and nothing bounds it: there are packets
 * on which bpf_filter() never returns (the length of an extension header can lead back to the same header). A
 * worker of ours must not hang on a packet, and the verifier wants an end too; so the loop is written out.
 * FLT_LOOP_ROUNDS headers in a row are more than any stack sends.
 *
 * Conditional jumps of cBPF reach 255 instructions, so in a program with loops each becomes a jump over two
 * far jumps. No state; any thread.
 */
#include "capture/filter/unroll.h"

#include "capture/filter/limits.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdbool.h>

/* The innermost loop an instruction belongs to: [top, bottom], bottom jumps back to top. */
struct loop {
	uint32_t top, bottom;
};

struct place {
	uint32_t from; /* instruction of the original */
	uint32_t round;
	uint32_t at; /* where it begins in the copy */
};

struct work {
	const struct flt_cbpf *in;
	uint32_t n;
	struct place *places; /* the copy, in order */
	uint32_t n_places;
	uint32_t *first; /* original instruction -> its place in round 0 */
	uint32_t end;	 /* length of the copy; "no match" is appended there */
};

static bool is_conditional(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_JMP && BPF_OP(p->code) != BPF_JA;
}

static bool jumps_back(const struct flt_cbpf *p)
{
	return p->code == (BPF_JMP | BPF_JA) && p->k > INT32_MAX;
}

int flt_has_loop(const struct flt_cbpf *in, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (jumps_back(&in[i]))
			return 1;
	return 0;
}

/* The loop that begins at i, if one does: its bottom is the last jump back to it. */
static bool loop_at(const struct flt_cbpf *in, uint32_t n, uint32_t i, struct loop *ret)
{
	bool found = false;

	for (uint32_t j = i; j < n; j++)
		if (jumps_back(&in[j]) && j + 1 + in[j].k == i) {
			*ret = (struct loop){ .top = i, .bottom = j };
			found = true;
		}
	return found;
}

static int refuse(struct skep_err *err)
{
	return skep_err_set(err, SKEP_E_UNSUPPORTED, "the compiled filter has a loop of an unknown shape");
}

/* Lays the copies out one after the other. */
static int lay_out(struct work *w, struct skep_err *err)
{
	for (uint32_t i = 0; i < w->n;) {
		struct loop l = { .top = i, .bottom = i };
		uint32_t rounds = loop_at(w->in, w->n, i, &l) ? FLT_LOOP_ROUNDS : 1;

		for (uint32_t r = 0; r < rounds; r++)
			for (uint32_t j = l.top; j <= l.bottom; j++) {
				if (jumps_back(&w->in[j]) && j + 1 + w->in[j].k != l.top)
					return refuse(err);
				if (r == 0)
					w->first[j] = w->n_places;
				w->places[w->n_places++] =
					(struct place){ .from = j, .round = r, .at = w->end };
				w->end += is_conditional(&w->in[j]) ? 3 : 1;
			}
		i = l.bottom + 1;
	}
	return 0;
}

/*
 * Where a jump from a place to an instruction of the original goes: inside a loop to the same round, back to
 * its top to the next round or, after the last, to the end of the program, where "no match" stands; anything
 * else to the first round.
 */
static uint32_t target(const struct work *w, const struct place *from, uint32_t to, const struct loop *l)
{
	uint32_t body = l->bottom - l->top + 1;

	if (to == l->top && from->from > l->top)
		return from->round + 1 < FLT_LOOP_ROUNDS
			       ? w->places[w->first[to] + (from->round + 1) * body].at
			       : w->end;
	if (to >= l->top && to <= l->bottom)
		return w->places[w->first[to] + from->round * body].at;
	return w->places[w->first[to]].at;
}

static void far_jump(struct flt_cbpf *out, uint32_t at, uint32_t to)
{
	out[at] = (struct flt_cbpf){ .code = BPF_JMP | BPF_JA, .k = to - at - 1 };
}

static int write_out(const struct work *w, struct flt_cbpf *out, struct skep_err *err)
{
	struct loop l = { .top = 1, .bottom = 0 }; /* the loop we are in: none yet */

	for (uint32_t k = 0; k < w->n_places; k++) {
		const struct place *p = &w->places[k];
		const struct flt_cbpf *i = &w->in[p->from];
		uint32_t to[2] = { p->from + 1 + i->jt, p->from + 1 + i->jf };

		if (p->from < l.top || p->from > l.bottom)
			if (!loop_at(w->in, w->n, p->from, &l))
				l = (struct loop){ .top = p->from, .bottom = p->from };
		if (i->code == (BPF_JMP | BPF_JA))
			to[0] = to[1] = p->from + 1 + i->k;
		if (BPF_CLASS(i->code) == BPF_JMP && (to[0] >= w->n || to[1] >= w->n))
			return refuse(err);
		out[p->at] = *i;
		if (i->code == (BPF_JMP | BPF_JA)) {
			far_jump(out, p->at, target(w, p, to[0], &l));
		} else if (is_conditional(i)) {
			out[p->at].jt = 0;
			out[p->at].jf = 1;
			far_jump(out, p->at + 1, target(w, p, to[0], &l));
			far_jump(out, p->at + 2, target(w, p, to[1], &l));
		}
	}
	out[w->end] = (struct flt_cbpf){ .code = BPF_RET | BPF_K, .k = 0 };
	return 0;
}

int flt_unroll(const struct flt_cbpf *in, uint32_t n, struct flt_cbpf **ret, uint32_t *ret_n,
	       struct skep_err *err)
{
	_skep_free_ struct place *places = calloc((size_t)n * FLT_LOOP_ROUNDS + 1, sizeof(*places));
	_skep_free_ uint32_t *first = calloc((size_t)n + 1, sizeof(*first));
	struct work w = { .in = in, .n = n, .places = places, .first = first };
	_skep_free_ struct flt_cbpf *out = NULL;
	int r;

	if (!places || !first)
		return skep_err_set(err, -ENOMEM, "no memory to write a loop out");
	r = lay_out(&w, err);
	if (r)
		return r;
	if (w.end >= FLT_MAX_CBPF_INSNS)
		return skep_err_set(err, SKEP_E_USAGE,
				    "the filter is too long once its loops are written out: %u", w.end);
	out = calloc((size_t)w.end + 1, sizeof(*out));
	if (!out)
		return skep_err_set(err, -ENOMEM, "no memory to write a loop out");
	r = write_out(&w, out, err);
	if (r)
		return r;
	*ret = TAKE_PTR(out);
	*ret_n = w.end + 1;
	return 0;
}
