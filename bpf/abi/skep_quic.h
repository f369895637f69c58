/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_BPF_QUIC_H
#define SKEP_BPF_QUIC_H
/*
 * Recognises QUIC's long header (RFC 8999, RFC 9000 17.2) in a UDP payload, in XDP and in user space alike.
 * The short header cannot be told from any other UDP: the flow has to be remembered.
 */
#include "bpf/abi/skep_flow.h"

/* skep_facts.marks: the packet belongs to a flow that showed a QUIC long header, this packet included. */
#define SKEP_MARK_QUIC 0x1u

/*
 * skep_flow_key.space: the kinds of encapsulation around the packet (SKEP_INNER_PATH), 0 for the frame
 * itself. So what a job sees does not depend on what other jobs of the link look inside.
 */

/* Most connection ID bytes of versions 1 and 2 (RFC 9000 17.2). */
#define SKEP_QUIC_CID_MAX 20u

#define SKEP_QUIC_Q046 0x51303436u

/*
 * Version negotiation; 1; 2 (RFC 9369); drafts 22 to 34 (since 22 the invariants are those of RFC 8999);
 * reserved to be unknown (RFC 9000 15); Facebook's mvfst; Google's Q046, Q050, T050, T051.
 */
SKEP_ABI_INLINE int skep_quic_version_known(SKEP_ABI_U32 version)
{
	return version <= 1 || version == 0x6b3343cfu || (version >= 0xff000016u && version <= 0xff000022u) ||
	       (version & 0x0f0f0f0fu) == 0x0a0a0a0au || (version & 0xfffffff0u) == 0xfaceb000u ||
	       version == SKEP_QUIC_Q046 || version == 0x51303530u || version == 0x54303530u ||
	       version == 0x54303531u;
}

/*
 * Does the UDP header at `udp` carry a long header? Form and fixed bit, a known version, connection IDs of at
 * most 20 bytes that fit into the datagram; version negotiation is a list of whole versions. Lengths are
 * those of the UDP header, so that a frame that was cut when it was stored is recognised as long as it holds
 * the first six bytes; a byte that was cut off is not tested.
 */
SKEP_ABI_INLINE int skep_quic_is_long(const struct skep_view *v, SKEP_ABI_U32 udp)
{
	SKEP_ABI_U8 head[6], scid_len = 0;
	SKEP_ABI_U16 length = 0;
	SKEP_ABI_U32 version, payload, ids;

	if (skep_view_get(v, udp + 4, &length, 2) || skep_view_get(v, udp + 8, head, 6))
		return 0;
	payload = SKEP_BE16(length);
	payload = payload > 8 ? payload - 8 : 0;
	version = (SKEP_ABI_U32)head[1] << 24 | (SKEP_ABI_U32)head[2] << 16 | (SKEP_ABI_U32)head[3] << 8 |
		  head[4];
	if ((head[0] & 0xc0) != 0xc0 || payload < 7 || !skep_quic_version_known(version))
		return 0;
	if (version == SKEP_QUIC_Q046) /* both lengths in one byte, less 3; 0: none (draft-ietf-quic 17) */
		return head[5] == 0x50 || head[5] == 0x05 || head[5] == 0x55;
	if (head[5] > SKEP_QUIC_CID_MAX)
		return 0;
	if (skep_view_get(v, udp + 8 + 6 + head[5], &scid_len, 1) == 0 && scid_len > SKEP_QUIC_CID_MAX)
		return 0;
	ids = 7u + head[5] + scid_len;
	if (version == 0)
		return payload > ids && (payload - ids) % 4 == 0;
	return payload > ids;
}

/* Is there a payload at all? Empty datagrams keep a NAT's entry alive and are nobody's QUIC. */
SKEP_ABI_INLINE int skep_quic_has_payload(const struct skep_view *v, SKEP_ABI_U32 udp)
{
	SKEP_ABI_U16 length = 0;

	return skep_view_get(v, udp + 4, &length, 2) == 0 && SKEP_BE16(length) > 8;
}

#endif
