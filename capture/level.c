/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which zstd level a lane uses now. Pure arithmetic on what it is told; the worker's thread.
 *
 * Down: at once when blocks are waiting, because memory in front of the packer is what packets are lost for
 * want of. Up: only after some calm blocks, and only if the next level, at its expected cost, would keep the
 * core less than half busy. A step up that had to be taken back doubles the patience before the next one, so
 * wrong expectations do not make it swing; plenty of time between blocks overrides that. Payload that does
 * not shrink (TLS) is recognised by a probe and then stored, which is a copy-free path (CAP_LAYOUT_STORED).
 */
#include "capture/level.h"

#include <string.h>

/*
 * Levels of the ladder and the nanoseconds one block takes at first guess (1 MiB of mixed traffic, one core).
 */
static const struct {
	int level;
	uint32_t cost_ns;
} ladder[] = {
	{ CAP_LEVEL_AUTO_MAX, 2200000 },
	{ -1, 1400000 },
	{ -3, 1300000 },
	{ -7, 1100000 },
	{ CAP_LEVEL_STORE, 100000 },
};
#define RUNG_STORE (ARRAY_LEN(ladder) - 1)
#define RUNG_START 0u

/* A probe that saves less than 1/PROBE_GAIN of its size is not worth the time. */
#define PROBE_GAIN 20u
#define PROBE_EVERY 15u
#define PROBE_EVERY_MAX 127u
#define CALM_BLOCKS 8u
#define CALM_BLOCKS_MAX 32768u
/* So many times the expected cost between two blocks is plenty. */
#define PLENTY 8u

void cap_level_init(struct cap_level *level, bool adaptive, int fixed)
{
	memset(level, 0, sizeof(*level));
	level->adaptive = adaptive;
	level->fixed = fixed;
	level->rung = RUNG_START;
	level->patience = CALM_BLOCKS;
	level->since_up = UINT32_MAX;
}

enum cap_layout cap_level_layout(struct cap_level *level)
{
	if (!level->adaptive)
		return level->fixed == CAP_LEVEL_STORE ? CAP_LAYOUT_STORED : CAP_LAYOUT_PLAIN;
	if (!level->storing)
		return CAP_LAYOUT_PLAIN;
	if (level->probing || level->stored_left > 0) {
		level->stored_left -= level->stored_left > 0;
		return CAP_LAYOUT_STORED;
	}
	/* One at a time: its result comes when all the blocks that wait before it have been packed. */
	level->probing = true;
	return CAP_LAYOUT_PLAIN;
}

int cap_level_choose(struct cap_level *level, uint32_t waiting, bool pool_low)
{
	if (!level->adaptive)
		return level->fixed;
	if (waiting > 1)
		level->calm = 0;
	if (pool_low)
		return CAP_LEVEL_STORE; /* this block only: memory is about to run out */
	if (waiting > 2 && level->rung < RUNG_STORE - 1) {
		level->rung++;
		if (level->since_up <= 4 * CALM_BLOCKS) { /* that step up was a mistake */
			level->patience = SKEP_MIN(2 * level->patience, CALM_BLOCKS_MAX);
			level->since_up = UINT32_MAX;
		}
	}
	return ladder[level->rung].level;
}

void cap_level_result(struct cap_level *level, uint32_t raw_bytes, uint32_t packed_bytes, uint64_t took_ns,
		      uint64_t now_ns)
{
	uint64_t interval = now_ns - level->last_ns;

	if (!level->adaptive)
		return;
	level->last_ns = now_ns;
	interval = SKEP_MIN(interval, 10 * CAP_FLUSH_NS);
	level->interval_ns += ((int64_t)interval - (int64_t)level->interval_ns) / 4;

	/* Small blocks (a slow link) say little about the payload and cost nothing: always compress them. */
	level->probing = false;
	if (raw_bytes >= CAP_BLOCK_BYTES / 2) {
		level->storing = raw_bytes - SKEP_MIN(packed_bytes, raw_bytes) < raw_bytes / PROBE_GAIN;
		if (level->storing) {
			level->stored_left =
				SKEP_MIN(PROBE_EVERY << SKEP_MIN(level->probes_failed, 3u), PROBE_EVERY_MAX);
			level->probes_failed++;
		} else {
			level->probes_failed = 0;
		}
	}
	if (level->since_up < UINT32_MAX && ++level->since_up > SKEP_MAX(level->patience, 4 * CALM_BLOCKS))
		level->patience = CALM_BLOCKS; /* it was right */
	if (level->rung > 0 && ++level->calm >= CALM_BLOCKS) {
		uint64_t scale = SKEP_MAX(took_ns, 1u);
		/* expected cost of the next level, scaled by how this one did against its first guess */
		uint64_t expect = ladder[level->rung - 1].cost_ns * scale / ladder[level->rung].cost_ns;

		if (expect * 2 < level->interval_ns &&
		    (level->calm >= level->patience || expect * PLENTY < level->interval_ns)) {
			level->rung--;
			level->since_up = 0;
			level->calm = 0;
		}
	}
}

int cap_level_now(const struct cap_level *level)
{
	if (!level->adaptive)
		return level->fixed;
	return level->storing ? CAP_LEVEL_STORE : ladder[level->rung].level;
}
