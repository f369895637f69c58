/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The taps that the tests try, opened and started in one line; what they cannot do fails the test in words.
 * Receives nothing but frames of rig_frame; keeps what the taps said, never prints it.
 */
#include "tests/bpf/taps.h"

#include "tests/bpf/rig.h"

#include <bpf/libbpf.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

const struct taps_way taps_ways[TAPS_WAYS] = {
	{ "xdp native", &cap_source_xdp, CAP_XDP_NATIVE },
	{ "xdp generic", &cap_source_xdp, CAP_XDP_GENERIC },
	{ "mirror native", &cap_source_mirror, CAP_XDP_NATIVE },
	{ "mirror generic", &cap_source_mirror, CAP_XDP_GENERIC },
};

static struct cap_batch batch;
char taps_said[TAPS_SAID][256];
uint32_t taps_said_n;

static void say(void *arg, const char *sentence)
{
	snprintf(taps_said[taps_said_n++ % TAPS_SAID], sizeof(taps_said[0]), "%s", sentence);
}

struct cap_source_cfg taps_config(const struct taps_way *way)
{
	return (struct cap_source_cfg){
		.link = RIG_NEAR,
		.kind = CAP_SOURCE_XDP,
		.xdp_mode = way->mode,
		.promisc = true,
		.need_wakeup = true,
		.say = say,
	};
}

struct cap_tap *taps_open(const struct taps_way *way)
{
	struct cap_source_cfg cfg = taps_config(way);
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL;

	taps_said_n = 0;
	if (way->ops->open(&cfg, &tap, &err))
		fail_msg("%s: %s", way->name, err.text);
	return tap;
}

struct cap_tap *taps_start(const struct taps_way *way)
{
	struct cap_tap *tap = taps_open(way);
	struct skep_err err = SKEP_ERR_NULL;

	if (tap->ops->start(tap, &err))
		fail_msg("%s: %s", way->name, err.text);
	return tap;
}

uint32_t taps_attached_prog(void)
{
	uint32_t id = 0;

	bpf_xdp_query_id((int)if_nametoindex(RIG_NEAR), 0, &id);
	return id;
}

uint64_t taps_now_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

void taps_pause_ms(uint32_t ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 }, NULL);
}

/*
 * Receives until a frame of ours came that equals `want`, or a second is over; other frames of ours are an
 * error.
 */
bool taps_expect_frame(struct cap_tap *tap, const uint8_t *want, uint32_t len)
{
	static uint8_t got[9100];
	uint64_t limit = taps_now_ns(CLOCK_MONOTONIC) + SKEP_NSEC_PER_SEC;

	while (taps_now_ns(CLOCK_MONOTONIC) < limit) {
		for (uint32_t s = 0; s < tap->n_sources; s++) {
			bool found = false;

			if (tap->ops->receive(tap->sources[s], &batch) <= 0)
				continue;
			for (uint32_t i = 0; i < batch.n; i++) {
				const struct cap_frame *f = &batch.frames[i];
				uint64_t utc = taps_now_ns(CLOCK_REALTIME);

				if (!rig_is_ours(f))
					continue;
				assert_false(found);
				assert_int_equal(f->cap_len, len);
				assert_int_equal(f->wire_len, len);
				assert_true(f->jobs == ~0ull);
				assert_in_range(f->ts_ns, utc - 5 * SKEP_NSEC_PER_SEC, utc);
				assert_int_equal(rig_gather(&batch, f, got, sizeof(got)), len);
				assert_memory_equal(got, want, len);
				found = true;
			}
			tap->ops->release(tap->sources[s], &batch);
			if (found)
				return true;
		}
	}
	return false;
}
