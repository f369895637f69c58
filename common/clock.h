/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_CLOCK_H
#define SKEP_CLOCK_H
/*
 * Time as a thing that is handed in, so that tests can stand still, jump and go back; and how far the
 * system's clock can be trusted.
 */
#include "common/util.h"

#include <stdbool.h>
#include <time.h>

struct skep_clock {
	uint64_t (*now_ns)(void *arg, clockid_t id);
	void *arg;
};

/* clock_gettime(); any thread. */
extern const struct skep_clock skep_clock_system;

static inline uint64_t skep_clock_now_ns(const struct skep_clock *clock, clockid_t id)
{
	return clock->now_ns(clock->arg, id);
}

/* What the kernel's NTP discipline says (adjtimex(2), read only). */
struct skep_clock_state {
	bool synchronised;    /* some daemon disciplines the clock, and lately enough (STA_UNSYNC is clear) */
	int tai_offset_s;     /* TAI - UTC; 0: nobody has told the kernel, so CLOCK_TAI is UTC */
	uint64_t error_ns;    /* estimated error; only meaningful if synchronised */
	uint64_t max_error_ns; /* bound of the error; grows by 500 ppm between updates */
};

/* 0 or -errno. */
int skep_clock_state(struct skep_clock_state *ret);

#endif
