/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_META_H
#define CAP_META_H
/*
 * From the metadata that an XDP program left (struct skep_meta) to the fields of a cap_frame. Inline: it runs
 * once per frame, in two sources.
 */
#include "bpf/abi/skep_abi.h"
#include "capture/frame.h"
#include "common/util.h"

/* Written by the control thread, read by the worker: how the stamps in the metadata become UTC. */
struct cap_meta_clock {
	int64_t tai_to_utc_ns; /* added to a CLOCK_TAI stamp */
	int64_t nic_to_utc_ns; /* added to the NIC's own stamp */
};

/* Fragments that cap_meta_apply may add to a frame: a tag that is put back, and what follows it. */
#define CAP_META_FRAGS 2u

static inline void cap_meta_add_frag(struct cap_batch *batch, struct cap_frame *frame, const uint8_t *data,
				     uint32_t len)
{
	batch->frags[batch->frag_n++] = (struct cap_frag){ data, len };
	frame->frag_n++;
}

/*
 * Puts the VLAN tag that the NIC took out back between the addresses and the type, without moving a byte of
 * the frame.
 */
static inline void cap_meta_put_tag(struct cap_batch *batch, struct cap_frame *frame,
				    const struct skep_meta *meta)
{
	uint8_t *tag = batch->tags[frame - batch->frames];
	const uint32_t macs = 12;

	if (frame->len < macs)
		return;
	tag[0] = (uint8_t)(meta->vlan_tpid >> 8);
	tag[1] = (uint8_t)meta->vlan_tpid;
	tag[2] = (uint8_t)(meta->vlan_tci >> 8);
	tag[3] = (uint8_t)meta->vlan_tci;
	cap_meta_add_frag(batch, frame, tag, sizeof(batch->tags[0]));
	cap_meta_add_frag(batch, frame, frame->data + macs, frame->len - macs);
	frame->len = macs;
	frame->cap_len += (uint32_t)sizeof(batch->tags[0]);
	frame->wire_len += (uint32_t)sizeof(batch->tags[0]);
}

/*
 * Fills jobs, wire_len and ts_ns of a frame of the batch, whose first buffer is set and no other yet;
 * CAP_META_FRAGS fragments are free.
 */
static inline void cap_meta_apply(struct cap_batch *batch, struct cap_frame *frame,
				  const struct skep_meta *meta, const struct cap_meta_clock *clock)
{
	const int64_t *offset = SKEP_UNLIKELY(meta->flags & SKEP_META_F_HW_TS) ? &clock->nic_to_utc_ns
									       : &clock->tai_to_utc_ns;

	frame->jobs = meta->jobs;
	frame->wire_len = meta->wire_len;
	frame->ts_ns = meta->ts_ns + (uint64_t)__atomic_load_n(offset, __ATOMIC_RELAXED);
	if (SKEP_UNLIKELY(meta->flags & SKEP_META_F_VLAN))
		cap_meta_put_tag(batch, frame, meta);
}

#endif
