/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_UTIL_H
#define SKEP_UTIL_H
/*
 * Ownership helpers (after systemd and dbus-broker): cleanup attributes and TAKE_PTR, so that every function
 * has one unwind path; and the few macros that every file wants.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define SKEP_CLEANUP(f) __attribute__((cleanup(f)))
#define SKEP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SKEP_MUST_CHECK __attribute__((warn_unused_result))

#define TAKE_PTR(p)                    \
	({                             \
		__typeof__(p) _t = (p); \
		(p) = NULL;            \
		_t;                    \
	})
#define TAKE_FD(fd)           \
	({                    \
		int _t = (fd); \
		(fd) = -1;    \
		_t;           \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define SKEP_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SKEP_MAX(a, b) ((a) > (b) ? (a) : (b))
#define SKEP_LIKELY(x) __builtin_expect(!!(x), 1)
#define SKEP_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define SKEP_CACHE_LINE 64

#define SKEP_NSEC_PER_SEC UINT64_C(1000000000)
#define SKEP_NSEC_PER_MSEC UINT64_C(1000000)

/* Rounds v up to a multiple of a, which is a power of two. */
static inline uint64_t skep_align_up(uint64_t v, uint64_t a)
{
	return (v + a - 1) & ~(a - 1);
}

static inline void skep_freep(void *p)
{
	free(*(void **)p);
}

/* Closes *fd if it is open and sets it to -1; keeps errno. */
void skep_closep(int *fd);

/* Wakes who polls the eventfd; fd <= 0: nobody does. Never blocks: a counter that is full rings already. */
void skep_ring_bell(int fd);

#define _skep_free_ SKEP_CLEANUP(skep_freep)
#define _skep_close_ SKEP_CLEANUP(skep_closep)

#endif
