/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_MERGE_TERMS_H
#define FLT_MERGE_TERMS_H
/*
 * What a compiled filter asks for, as a few terms per class of frames: a frame of the class matches if it is
 * in every set of one of the terms.
 */
#include "capture/filter/merge_set.h"
#include "capture/filter/translate.h"

/* By EtherType, which is all that libpcap looks at when `vlan`, `mpls` and the like are not asked for. */
enum flt_class {
	FLT_CLASS_IP4,
	FLT_CLASS_IP6,
	FLT_CLASS_ARP,	 /* and RARP */
	FLT_CLASS_OTHER, /* every other EtherType or length */
	FLT_CLASSES,
};

/* Offsets in the frame; a class has some of them. */
enum flt_dim {
	FLT_DIM_TYPE,  /* ARP, other: [12:2] */
	FLT_DIM_PROTO, /* IP4: [23:1]; IP6: [20:1] */
	FLT_DIM_FRAG,  /* IP4: 1 if [20:2] & 0x1fff is not 0: no first fragment */
	FLT_DIM_INNER, /* IP6: [54:1], the protocol behind a fragment header */
	FLT_DIM_SRC,   /* IP4: [26:4]; IP6: [22:16]; ARP: [28:4] */
	FLT_DIM_DST,   /* IP4: [30:4]; IP6: [38:16]; ARP: [38:4] */
	FLT_DIM_SPORT, /* IP4: 2 bytes behind the header, wherever it ends; IP6: [54:2] */
	FLT_DIM_DPORT, /* the 2 bytes behind those */
	FLT_DIMS,
};

/* Most terms of a class that are kept apart. "host A and port B" is four: each may be source or destination.
 */
#define FLT_MAX_TERMS 8u

/*
 * NULL: any value, and the frame may end before the field. Otherwise the field is in the frame, completely,
 * and its value in the set.
 */
struct flt_term {
	const struct flt_set *in[FLT_DIMS];
};

/*
 * exact: the terms are the filter's meaning. Otherwise a frame outside of all terms does not match, and any
 * other is for the filter's own program to judge.
 */
struct flt_class_terms {
	bool exact;
	/*
	 * IP6: some way through the filter is content with a part of an address, so a frame that ends within
	 * its IPv6 header (before byte 54) may match although the terms say no.
	 */
	bool partial;
	uint32_t n; /* 0: no frame of the class matches */
	struct flt_term v[FLT_MAX_TERMS];
};

struct flt_terms {
	struct flt_class_terms of[FLT_CLASSES];
	struct flt_arena arena;
};

/* Reads a filter as libpcap compiled it. -ENOMEM. Any thread; bounded time. */
int flt_terms_read(const struct flt_cbpf *in, uint32_t n, struct flt_terms **ret, struct skep_err *err);
/* Takes NULL, returns NULL. */
struct flt_terms *flt_terms_free(struct flt_terms *t);
/* True if no class needs the filter's own program. */
bool flt_terms_exact(const struct flt_terms *t);

#endif
