/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_INSIDE_H
#define FLT_INSIDE_H
/*
 * Packets inside a frame, for user space: what bpf/abi/skep_inner.h finds, seen as Ethernet frames of their
 * own. Pure functions; any thread; nothing is allocated, and no byte outside of the frame is read.
 */
#include "bpf/abi/skep_inner.h"
#include "common/err.h"

#include <stdbool.h>

/*
 * A list of kinds ("vlan,qinq,mpls,gre,erspan,vxlan", or some of them) as SKEP_INNER_* bits; SKEP_E_USAGE
 * names the word that is none. `allowed` are the kinds that may be named, `option` what the sentence calls
 * the list.
 */
int flt_inside_parse(const char *option, const char *list, uint32_t allowed, uint32_t *ret_kinds,
		     struct skep_err *err);
/* The list's text; at most 64 bytes. */
void flt_inside_text(uint32_t kinds, char *out, size_t size);

/* The packets inside the frame, as a link of whose jobs some want `kinds`; returns how many. */
uint32_t flt_inside_find(const uint8_t *bytes, uint32_t len, uint32_t kinds,
			 struct skep_inner ret[SKEP_MAX_INNER]);

/* Does a job that looks inside `kinds` look at this packet? All that is around it must be of these kinds. */
static inline bool flt_inside_wanted(const struct skep_inner *inner, uint32_t kinds)
{
	return !(SKEP_INNER_PATH(inner->kind) & ~kinds);
}

/* A packet in one piece. */
struct flt_piece {
	const uint8_t *bytes;
	uint32_t cap_len;
	uint32_t wire_len;
};

/*
 * The packet inside as an Ethernet frame. Where its bytes lie together they are not copied; else `room`, of
 * at least frame->cap_len bytes, gets them.
 */
struct flt_piece flt_inside_piece(const struct flt_piece *frame, const struct skep_inner *inner,
				  uint8_t *room);

struct bpf_program; /* <pcap/bpf.h> */
/*
 * libpcap's verdict on the frame and then, until one matches, on each packet inside that a job looks at that
 * looks inside `kinds`: 0, or what the filter accepts of the first that matches.
 */
uint32_t flt_inside_match(const struct bpf_program *prog, const struct flt_piece *frame, uint32_t kinds,
			  uint8_t *room);

#endif
