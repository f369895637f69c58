/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_LEVEL_H
#define CAP_LEVEL_H
#include "capture/block.h"

/* Level of a block that is to be stored as it is. */
#define CAP_LEVEL_STORE INT32_MIN
/*
 * The highest level of auto: 3 takes twice the time of 1 for 4 % less disk (measured). The user may ask for
 * up to 9.
 */
#define CAP_LEVEL_AUTO_MAX 1
#define CAP_LEVEL_MAX 9
#define CAP_LEVEL_MIN (-50)

/*
 * Chooses level and layout for a lane: down a step whenever sealed blocks are waiting, up a step when packing
 * would take less than half the time between blocks at the next level; and no compression at all while the
 * payload does not shrink.
 */
struct cap_level {
	bool adaptive;
	int fixed;               /* the level when not adaptive */
	uint32_t rung;           /* index in the ladder, adaptive */
	uint32_t calm;           /* blocks in a row without backlog */
	uint32_t patience;       /* calm blocks before the next step up */
	uint32_t since_up;       /* blocks since the last step up */
	bool storing;            /* the payload does not shrink */
	bool probing;            /* a block that will tell is on its way through the packer */
	uint32_t stored_left;    /* blocks still to be stored before the next probe */
	uint64_t last_ns;        /* when the last block was packed */
	uint64_t interval_ns;    /* smoothed time between blocks */
	uint32_t probes_failed;  /* in a row: the pauses between probes grow */
};

void cap_level_init(struct cap_level *level, bool adaptive, int fixed);
/* The layout in which the lane should fill its next block. */
enum cap_layout cap_level_layout(struct cap_level *level);
/*
 * The level for the block that is packed next; `waiting` = sealed blocks behind it, pool_low = little free
 * memory.
 */
int cap_level_choose(struct cap_level *level, uint32_t waiting, bool pool_low);
/* Tells what packing a block gave. */
void cap_level_result(struct cap_level *level, uint32_t raw_bytes, uint32_t packed_bytes, uint64_t took_ns,
		      uint64_t now_ns);
/* The level in use, for people. */
int cap_level_now(const struct cap_level *level);

#endif
