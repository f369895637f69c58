/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_PRUNE_H
#define CAP_PRUNE_H
/*
 * Which blocks of a segment can hold a packet that a filter matches, by the segment's sketch (sketch.h).
 */
#include "capture/sketch.h"

struct flt_cbpf;
struct cap_prune;

/*
 * From a filter as libpcap compiled it for Ethernet; the program is not kept. *ret is NULL if sketches say
 * nothing about such a filter. 0 or -ENOMEM.
 */
int cap_prune_new(const struct flt_cbpf *prog, uint32_t n, struct cap_prune **ret, struct skep_err *err);
/* Takes NULL, returns NULL. */
struct cap_prune *cap_prune_free(struct cap_prune *p);
/*
 * Of each block of the segment at this path, whose sidecar this is: true if no packet of it matches. The
 * caller frees it. NULL: nobody knows (no sketch, no memory), and every block is to be read.
 */
bool *cap_prune_blocks(const struct cap_prune *p, const char *path, const struct cap_sidecar *sc);

#endif
