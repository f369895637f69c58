/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_KEEPER_SIDECAR_H
#define CAP_KEEPER_SIDECAR_H
/*
 * The sidecar of a segment, for keeper.c.
 */
#include "capture/keeper.h"

/* Writes it, where the output has sidecars; 0 or -errno. The segment is about to be renamed. */
int cap_keeper_sidecar(const struct cap_keeper_lane *lane, const struct cap_segment *seg);
/*
 * The note beside the .part that has just been made: what recover cannot know from the file. Only an
 * improvement, so a failure is passed over.
 */
void cap_keeper_note(const struct cap_keeper_lane *lane, const struct cap_segment *seg);

#endif
