/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system's clocks and their quality. Reads only: never steps, slews or disciplines anything. No state:
 * any thread.
 */
#include "common/clock.h"

#include <assert.h>
#include <errno.h>
#include <sys/timex.h>

static uint64_t system_now_ns(void *arg, clockid_t id)
{
	struct timespec ts;
	int r = clock_gettime(id, &ts);

	(void)arg;
	assert(r == 0); /* fails for an unknown clock id only */
	return (uint64_t)ts.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

const struct skep_clock skep_clock_system = { .now_ns = system_now_ns };

int skep_clock_state(struct skep_clock_state *ret)
{
	struct timex tx = { .modes = 0 };
	int state = adjtimex(&tx);

	if (state < 0)
		return -errno;
	*ret = (struct skep_clock_state){
		.synchronised = state != TIME_ERROR && !(tx.status & STA_UNSYNC),
		.tai_offset_s = tx.tai,
		/* The kernel keeps both in microseconds, also with STA_NANO. */
		.error_ns = (uint64_t)SKEP_MAX(tx.esterror, 0) * 1000,
		.max_error_ns = (uint64_t)SKEP_MAX(tx.maxerror, 0) * 1000,
	};
	return 0;
}
