/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_VIEW_BPF_H
#define SKEP_VIEW_BPF_H
/*
 * A frame in XDP, or a packet inside, for the parsers of bpf/abi (skep_flow.h, skep_quic.h): include it
 * before them.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

struct skep_view {
	struct xdp_md *ctx;
	__u32 off; /* struct skep_inner: both 0 for the frame itself */
	__u32 type;
};

/*
 * Through the packet pointer where the bytes are in the first buffer, else with the helper, which knows all
 * buffers and where the frame ends.
 */
static __always_inline int skep_view_get(const struct skep_view *v, __u32 at, void *to, const __u32 n)
{
	const __u16 type = __builtin_bswap16((__u16)v->type);
	const __u8 *data = (const void *)(long)v->ctx->data, *end = (const void *)(long)v->ctx->data_end;
	__u64 off = (__u64)at + v->off;

	if (at == 12 && n == 2 && v->type) {
		__builtin_memcpy(to, &type, 2);
		return 0;
	}
	/* The compiler would test a copy of it and add another, whose bounds the verifier does not know. */
	asm volatile("" : "+r"(off));
	if (off <= 0x7fff && data + off + n <= end) {
		__builtin_memcpy(to, data + off, n);
		return 0;
	}
	return bpf_xdp_load_bytes(v->ctx, (__u32)off, to, n) ? -1 : 0;
}

#endif
