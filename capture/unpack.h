/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_UNPACK_H
#define CAP_UNPACK_H
/*
 * Reads and decodes stretches of segments ahead of whoever will want them, on several threads.
 */
#include "common/err.h"

#include <stdbool.h>

/* A block of ours holds at most CAP_BLOCK_BYTES; an index entry that says more than this is not ours. */
#define CAP_UNPACK_MAX_BYTES (4u << 20)

struct cap_unpack;

struct cap_unpack_stretch {
	int fd;		/* stays open until the task is done with */
	uint64_t at, n; /* bytes of the file; n at most CAP_UNPACK_MAX_BYTES */
	uint64_t raw;	/* wanted of what they decode to; as many at most */
	bool zstd;	/* false: they are what is wanted */
};

struct cap_unpack_task;

/* Up to `threads` threads, which begin when there is work for them. NULL: no memory. */
struct cap_unpack *cap_unpack_new(uint32_t threads);
/* Every task has been done with. Takes NULL, returns NULL. */
struct cap_unpack *cap_unpack_free(struct cap_unpack *u);

/*
 * `ahead`: it will be waited for some time; else at once, and it is done with before the next such. NULL: no
 * memory, or (ahead only) as many as there may be are not done with.
 */
struct cap_unpack_task *cap_unpack_begin(struct cap_unpack *u, const struct cap_unpack_stretch *stretch,
					 bool ahead);

struct cap_unpack_result {
	const uint8_t *bytes; /* stretch.raw of them, until the task is done with */
	size_t n;
	const char *wrong; /* in words, if SKEP_E_BAD_DATA */
};

/* Waits for it, or does it here if nobody has begun it. 0, -errno of reading, or SKEP_E_BAD_DATA. */
int cap_unpack_wait(struct cap_unpack *u, struct cap_unpack_task *t, struct cap_unpack_result *ret);
/* Whatever became of it. Takes NULL, returns NULL. */
struct cap_unpack_task *cap_unpack_done(struct cap_unpack *u, struct cap_unpack_task *t);

#endif
