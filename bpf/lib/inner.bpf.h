/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_INNER_BPF_H
#define SKEP_INNER_BPF_H
/*
 * Packets inside a frame, in XDP: the walk of bpf/abi/skep_inner.h, one call of a global function for each
 * header. Inlined into a loop it would be verified for every order of headers; a global function is verified
 * once, for any state it may find in memory.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "bpf/abi/skep_inner.h"

/* Through a pointer; where the first buffer ends early, through the helper, which knows all of them. */
static __always_inline int skep_inner_get_xdp(const void *frame, __u32 off, void *out, __u32 n)
{
	struct xdp_md *ctx = (struct xdp_md *)frame;
	void *end = (void *)(long)ctx->data_end;
	void *p = (void *)(long)ctx->data;

	if (off > 2 * SKEP_INNER_REACH)
		return 1;
	p += off;
	if (p + n > end)
		return bpf_xdp_load_bytes(ctx, off, out, n) != 0;
	__builtin_memcpy(out, p, n);
	return 0;
}

__noinline int skep_inner_step_xdp(struct xdp_md *ctx, struct skep_inner_walk *w)
{
	if (!w)
		return 1;
	return skep_inner_step(w, skep_inner_get_xdp, ctx);
}

/* Fills n_inner and inner. `wanted`: the kinds that any job of the link looks inside (SKEP_INNER_*). */
static __always_inline void skep_inner_look(struct xdp_md *ctx, __u32 wanted, struct skep_scratch *s)
{
	struct skep_inner_walk w;
	__u32 n;

	s->n_inner = 0;
	if (!skep_inner_possible(skep_inner_get_xdp, ctx))
		return;
	skep_inner_begin(&w, (__u8)wanted);
	for (int i = 0; i < SKEP_INNER_STEPS; i++)
		if (skep_inner_step_xdp(ctx, &w))
			break;
	n = w.n;
	s->n_inner = n > SKEP_MAX_INNER ? SKEP_MAX_INNER : n;
	if (n)
		__builtin_memcpy(s->inner, w.inner, sizeof(s->inner));
}

#endif
