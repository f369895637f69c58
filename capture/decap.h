/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_DECAP_H
#define CAP_DECAP_H
/*
 * --decap: a job stores the frame that is carried inside instead of the one on the wire.
 *
 * Of the tunnels of the kinds asked for, the outermost is taken off, whatever VLAN tags and MPLS labels are
 * in front of it. What is carried becomes the frame: `frame` below. An IP or MPLS packet without an Ethernet
 * header (GRE) gets one of 14 bytes: the MAC addresses of the frame on the wire, and its ether type. The
 * inner frame reaches to the end of the outer one, padding included. A frame without such a tunnel, or of
 * which this is only a fragment, is the frame on the wire. The job's filter sees the frame on the wire (and,
 * where asked, what is inside); snaplen and trim see the frame that is stored; its wire_len is that of the
 * inner frame.
 *
 * How a lane uses it, thread the worker's: look at each frame that the filter wants, in any order; then take
 * those that are stored. Nothing is allocated and nothing can fail; no byte of the packet is copied but 12.
 */
#include "capture/frame.h"
#include "common/err.h"

struct cap_decap;

struct cap_decap_account {
	uint64_t decapsulated_pkts; /* taken, without their tunnel */
	uint64_t unchanged_pkts;    /* taken as they were on the wire */
};

/* "erspan", "gre", "vxlan", or several with commas between; SKEP_E_USAGE with a sentence otherwise. */
int cap_decap_parse(const char *list, uint32_t *ret_kinds, struct skep_err *err);
/* One for each lane; Ethernet frames only. -ENOMEM. */
int cap_decap_new(uint32_t kinds, struct cap_decap **ret);
/* Takes NULL, returns NULL. */
struct cap_decap *cap_decap_free(struct cap_decap *decap);

/*
 * The frame of batch->frames[i] that is stored: frames[0] of the returned batch, with the frags that it names
 * there. Valid until the next call for the same lane; the bytes are the source's, as ever.
 */
const struct cap_batch *cap_decap_look(struct cap_decap *decap, const struct cap_batch *batch, uint32_t i);
/* The same again, without parsing, for a frame of the same batch that was looked at; counts it. */
const struct cap_batch *cap_decap_take(struct cap_decap *decap, const struct cap_batch *batch, uint32_t i);

void cap_decap_account(const struct cap_decap *decap, struct cap_decap_account *ret);

#endif
