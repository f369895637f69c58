/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_DIGEST_H
#define CAP_DIGEST_H
/*
 * SHA-256 of completed segments, computed by a thread of idle priority while the capture goes on, and written
 * into their sidecars; and on the same way through the file its sketch (sketch.h).
 */
#include "common/err.h"

#include <stdbool.h>

struct cap_digest;

int cap_digest_start(struct cap_digest **ret, struct skep_err *err);
/* Queues a completed segment (its sidecar is written); any thread; dirfd must live until stop. */
void cap_digest_add(struct cap_digest *digest, int dirfd, const char *name);
/* Finishes what is queued (at normal priority), or gives it up if asked; returns NULL. Takes NULL. */
struct cap_digest *cap_digest_stop(struct cap_digest *digest, bool abandon);

#endif
