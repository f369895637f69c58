/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the keeper says beside each file: the facts of the lane, the account of the segment, the index of its
 * blocks. Thread: the keeper's.
 */
#include "capture/keeper_sidecar.h"

#include "capture/level.h"

#include <stdio.h>
#include <string.h>

static void level_words(const struct cap_segment *seg, char *ret, size_t n)
{
	char lo[16] = "stored", hi[16] = "stored";

	if (seg->level_min != CAP_LEVEL_STORE)
		(void)snprintf(lo, sizeof(lo), "%d", seg->level_min);
	if (seg->level_max != CAP_LEVEL_STORE)
		(void)snprintf(hi, sizeof(hi), "%d", seg->level_max);
	if (seg->level_min == seg->level_max)
		(void)snprintf(ret, n, "%s", lo);
	else
		(void)snprintf(ret, n, "%s to %s", lo, hi);
}

static struct cap_sidecar_entry *index_entries(const struct cap_segment *seg)
{
	struct cap_sidecar_entry *entries = calloc(seg->n_settled ? seg->n_settled : 1, sizeof(*entries));

	for (uint32_t i = 0; entries && i < seg->n_settled; i++) {
		const struct cap_index_entry *e = &seg->index[i];

		entries[i] = (struct cap_sidecar_entry){
			.file_offset = e->file_offset,
			.raw_offset = e->raw_offset,
			.file_bytes = e->file_bytes,
			.raw_bytes = e->raw_bytes,
			.pkts = e->pkts,
			.ts_first_ns = e->ts_first_ns,
			.ts_last_ns = e->ts_last_ns,
		};
	}
	return entries;
}

int cap_keeper_sidecar(const struct cap_keeper_lane *lane, const struct cap_segment *seg)
{
	static const char *const torn[] = { "a write failed; the file ends before it" };
	static const char *const given_up[] = { "the capture was ended before everything was written" };
	struct cap_sidecar_count dropped[CAP_DROP_N];
	struct cap_sidecar sc = lane->template;
	char level[48];
	int r;

	if (!lane->output->sidecar)
		return 0;
	level_words(seg, level, sizeof(level));
	sc.segment = seg->name;
	sc.seq = seg->seq;
	sc.level = seg->compressed && seg->level_seen ? level : NULL;
	sc.started_ns = seg->started_ns;
	sc.account.stored_pkts = seg->account.stored;
	sc.account.rejected_pkts = seg->account.rejected;
	sc.account.seen_pkts =
		seg->account.stored + seg->account.rejected + cap_account_dropped(&seg->account);
	for (unsigned i = 0; i < CAP_DROP_N; i++)
		if (seg->account.dropped[i])
			dropped[sc.account.n_dropped++] =
				(struct cap_sidecar_count){ cap_drop_name((enum cap_drop)i),
							    seg->account.dropped[i] };
	sc.account.dropped = dropped;
	sc.bytes_wire = seg->account.bytes_wire;
	sc.bytes_raw = seg->account.bytes_raw + seg->preamble_raw_bytes;
	sc.bytes_disk = seg->end;
	sc.index = index_entries(seg);
	sc.n_index = sc.index ? seg->n_settled : 0;
	for (size_t i = 0; i < sc.n_index; i++) {
		if (i == 0 || sc.index[i].ts_first_ns < sc.first_ns)
			sc.first_ns = sc.index[i].ts_first_ns;
		if (i == 0 || sc.index[i].ts_last_ns > sc.last_ns)
			sc.last_ns = sc.index[i].ts_last_ns;
	}
	if (!cap_segment_is_whole(seg)) {
		sc.complete = false;
		sc.reasons = seg->error ? torn : given_up;
		sc.n_reasons = 1;
	}
	r = cap_sidecar_write(seg->dirfd, seg->name, &sc);
	free((void *)sc.index);
	return r;
}

void cap_keeper_note(const struct cap_keeper_lane *lane, const struct cap_segment *seg)
{
	struct cap_sidecar sc = lane->template;

	if (!lane->output->sidecar)
		return;
	sc.seq = seg->seq;
	sc.started_ns = seg->started_ns;
	(void)!cap_sidecar_note(seg->dirfd, seg->part, &sc);
}
