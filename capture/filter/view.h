/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_VIEW_H
#define FLT_VIEW_H
/*
 * A frame in user space, for the parsers of bpf/abi (skep_flow.h, skep_quic.h): include it before them.
 */
#include <stdint.h>
#include <string.h>

struct skep_view {
	const uint8_t *bytes;
	uint32_t len;
};

static inline int skep_view_get(const struct skep_view *v, uint32_t at, void *to, uint32_t n)
{
	if (at > v->len || v->len - at < n)
		return -1;
	memcpy(to, v->bytes + at, n);
	return 0;
}

#endif
