/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_MONO_H
#define CAP_MONO_H
/* The monotonic clock of the packet path: a vdso call, no system call. */
#include "common/util.h"

#include <time.h>

static inline uint64_t cap_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

#endif
