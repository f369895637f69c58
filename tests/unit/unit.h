/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_TESTS_UNIT_H
#define SKEP_TESTS_UNIT_H
/*
 * What every unit test includes first: cmocka wants these headers before its own; a clock that stands still
 * until told; and an error that a function must not touch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"

struct fake_clock {
	uint64_t now_ns;
	uint64_t step_ns; /* added after each look */
};

static inline uint64_t fake_clock_now(void *arg, clockid_t id)
{
	struct fake_clock *fake = arg;
	uint64_t now = fake->now_ns;

	(void)id;
	fake->now_ns += fake->step_ns;
	return now;
}

#define FAKE_CLOCK(fake) ((struct skep_clock){ .now_ns = fake_clock_now, .arg = (fake) })

#endif
