/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --decap: finds the tunnel with the parser that the filters use (bpf/abi/skep_inner.h), and describes what
 * it carries as slices of the frame's own buffers, behind a made header where there is none. It never copies
 * a payload and never changes the source's batch.
 *
 * Belongs to one lane, so to one worker.
 */
#include "capture/decap.h"

#include "bpf/abi/skep_inner.h"
#include "capture/filter/inside.h"

#include <errno.h>
#include <string.h>

#define TUNNELS (SKEP_INNER_GRE | SKEP_INNER_ERSPAN | SKEP_INNER_VXLAN)
#define HEADER_BYTES 14u

struct cap_decap {
	uint32_t kinds;
	struct cap_decap_account account;
	struct skep_inner inner[CAP_BATCH]; /* kind 0: stored as it is */
	struct cap_batch out;		    /* one frame */
	uint8_t header[HEADER_BYTES];
};

int cap_decap_parse(const char *list, uint32_t *ret_kinds, struct skep_err *err)
{
	return flt_inside_parse("--decap", list, TUNNELS, ret_kinds, err);
}

int cap_decap_new(uint32_t kinds, struct cap_decap **ret)
{
	struct cap_decap *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->kinds = kinds & TUNNELS;
	*ret = d;
	return 0;
}

struct cap_decap *cap_decap_free(struct cap_decap *decap)
{
	free(decap);
	return NULL;
}

/* A frame in its buffers, as the parser reads it. */
struct buffers {
	const struct cap_batch *batch;
	const struct cap_frame *frame;
};

static int get(const void *from, uint32_t off, void *out, uint32_t n)
{
	const struct buffers *b = from;
	const struct cap_frame *f = b->frame;
	uint8_t *to = out;

	if (off > f->cap_len || f->cap_len - off < n)
		return 1;
	if (SKEP_LIKELY(off + n <= f->len)) {
		memcpy(to, f->data + off, n);
		return 0;
	}
	for (uint32_t i = 0, at = 0; i <= f->frag_n && n > 0; i++) {
		const struct cap_frag whole = { f->data, f->len };
		const struct cap_frag *frag = i ? &b->batch->frags[f->frag_first + i - 1] : &whole;
		uint32_t skip = SKEP_MIN(off - at, frag->len), m = SKEP_MIN(frag->len - skip, n);

		memcpy(to, frag->data + skip, m);
		to += m;
		n -= m;
		at += skip;
		off += m;
		at += m;
	}
	return n > 0;
}

/* The outermost tunnel of the kinds; kind 0: none, or only a fragment of it. */
static struct skep_inner find(const struct cap_decap *d, const struct buffers *b)
{
	struct skep_inner_walk w;

	if (!skep_inner_possible(get, b))
		return (struct skep_inner){ 0 };
	skep_inner_begin(&w, SKEP_INNER_ALL);
	for (int i = 0; i < SKEP_INNER_STEPS && !skep_inner_step(&w, get, b); i++)
		;
	for (uint32_t i = 0; i < w.n; i++)
		if (SKEP_INNER_LAST(w.inner[i].kind) & d->kinds)
			return w.inner[i].kind & SKEP_INNER_PART ? (struct skep_inner){ 0 } : w.inner[i];
	return (struct skep_inner){ 0 };
}

static void put(struct cap_decap *d, const uint8_t *data, uint32_t len)
{
	struct cap_frame *f = &d->out.frames[0];

	if (!f->data) {
		f->data = data;
		f->len = len;
		return;
	}
	d->out.frags[f->frag_n++] = (struct cap_frag){ data, len };
}

/* The frame from byte `skip` on, behind `head` bytes of our header. */
static const struct cap_batch *slice(struct cap_decap *d, const struct cap_batch *batch,
				     const struct cap_frame *from, uint32_t skip, uint32_t head)
{
	struct cap_frame *f = &d->out.frames[0];

	*f = *from;
	f->data = NULL;
	f->len = f->frag_first = f->frag_n = 0;
	f->cap_len = from->cap_len - skip + head;
	f->wire_len = from->wire_len - skip + head;
	if (head)
		put(d, d->header, head);
	for (uint32_t i = 0; i <= from->frag_n; i++) {
		const struct cap_frag whole = { from->data, from->len };
		const struct cap_frag *frag = i ? &batch->frags[from->frag_first + i - 1] : &whole;
		uint32_t n = SKEP_MIN(skip, frag->len);

		skip -= n;
		if (frag->len > n || (i == from->frag_n && !f->data))
			put(d, frag->data + n, frag->len - n);
	}
	return &d->out;
}

static const struct cap_batch *view(struct cap_decap *d, const struct cap_batch *batch, uint32_t i)
{
	const struct cap_frame *frame = &batch->frames[i];
	const struct buffers b = { batch, frame };
	const struct skep_inner *inner = &d->inner[i];

	if (!inner->kind)
		return slice(d, batch, frame, 0, 0);
	if (!inner->type)
		return slice(d, batch, frame, inner->off, 0);
	(void)get(&b, inner->mac_off, d->header, 12);
	d->header[12] = (uint8_t)(inner->type >> 8);
	d->header[13] = (uint8_t)inner->type;
	return slice(d, batch, frame, inner->off + HEADER_BYTES, HEADER_BYTES);
}

const struct cap_batch *cap_decap_look(struct cap_decap *d, const struct cap_batch *batch, uint32_t i)
{
	const struct buffers b = { batch, &batch->frames[i] };

	d->inner[i] = find(d, &b);
	/* Our header takes one buffer more than there may be; no source makes a frame of that many. */
	if (batch->frames[i].frag_n >= CAP_BATCH_FRAGS)
		d->inner[i].kind = 0;
	return view(d, batch, i);
}

const struct cap_batch *cap_decap_take(struct cap_decap *d, const struct cap_batch *batch, uint32_t i)
{
	if (d->inner[i].kind)
		d->account.decapsulated_pkts++;
	else
		d->account.unchanged_pkts++;
	return view(d, batch, i);
}

void cap_decap_account(const struct cap_decap *decap, struct cap_decap_account *ret)
{
	*ret = decap->account;
}
