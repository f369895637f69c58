/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_BPF_TAPS_H
#define TESTS_BPF_TAPS_H
/*
 * The ways in which a link can be tapped through XDP, each tried by most tests, on RIG_NEAR.
 */
#include "capture/source.h"

#include <time.h>

#define TAPS_WAYS 4
#define TAPS_SAID 8

struct taps_way {
	const char *name;
	const struct cap_source_ops *ops;
	enum cap_xdp_mode mode;
};

extern const struct taps_way taps_ways[TAPS_WAYS];
/* The sentences that the tap said since taps_open. */
extern char taps_said[TAPS_SAID][256];
extern uint32_t taps_said_n;

struct cap_source_cfg taps_config(const struct taps_way *way);
struct cap_tap *taps_open(const struct taps_way *way);
struct cap_tap *taps_start(const struct taps_way *way);
/* Id of the program on the hook of RIG_NEAR; 0: none. */
uint32_t taps_attached_prog(void);
uint64_t taps_now_ns(clockid_t id);
void taps_pause_ms(uint32_t ms);
/*
 * Receives until a frame of ours came that equals `want`, or a second is over; other frames of ours are an
 * error.
 */
bool taps_expect_frame(struct cap_tap *tap, const uint8_t *want, uint32_t len);

#endif
