/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SKETCH_FEED_H
#define CAP_SKETCH_FEED_H
/*
 * Makes the sketch of a segment while its bytes pass by, from the first to the last; for whoever reads the
 * whole file anyway (digest.c). Decodes every block: seconds for a gigabyte.
 */
#include "capture/sidecar.h"

struct cap_sketch_feed;

/*
 * The sidecar is borrowed until free. NULL: no memory, or no sketch is possible of such a segment (no index,
 * not Ethernet).
 */
struct cap_sketch_feed *cap_sketch_feed_new(const struct cap_sidecar *sc);
/* Takes NULL, returns NULL. */
struct cap_sketch_feed *cap_sketch_feed_free(struct cap_sketch_feed *f);
/* The next n bytes of the file. Takes NULL. What is wrong with them ends the sketch, and nothing else. */
void cap_sketch_feed_bytes(struct cap_sketch_feed *f, const uint8_t *bytes, size_t n);
/*
 * The file has ended: writes the sketch, if its blocks are what the index says. False: there is none. Takes
 * NULL.
 */
bool cap_sketch_feed_end(struct cap_sketch_feed *f, int dirfd, const char *segment);

#endif
