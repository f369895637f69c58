/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cuts a pcap stream into records without looking into them. The buffer holds the longest record there may
 * be and a piece to read, so memory is the same whatever comes. A length beyond that is no record of ours:
 * bad data, and the reader stops there. No state but the reader's: one thread each.
 */
#include "control/pcap.h"

#include "common/err.h"

#include <errno.h>
#include <string.h>

#define MAGIC_NS 0xa1b23c4du
#define RECORD_HEADER_BYTES 16u
#define SNAPLEN_MAX 262144u
#define PIECE_BYTES 65536u
#define ROOM_BYTES (RECORD_HEADER_BYTES + SNAPLEN_MAX + PIECE_BYTES)
#define LINKTYPE_ETHERNET 1u

int ctl_pcap_init(struct ctl_pcap *pcap)
{
	*pcap = (struct ctl_pcap){ .buf = malloc(ROOM_BYTES), .room = ROOM_BYTES };
	return pcap->buf ? 0 : -ENOMEM;
}

void ctl_pcap_fini(struct ctl_pcap *pcap)
{
	free(pcap->buf);
	pcap->buf = NULL;
}

void *ctl_pcap_room(struct ctl_pcap *pcap, size_t *ret_n)
{
	memmove(pcap->buf, pcap->buf + pcap->at, pcap->end - pcap->at);
	pcap->end -= pcap->at;
	pcap->at = 0;
	*ret_n = pcap->room - pcap->end;
	return pcap->buf + pcap->end;
}

void ctl_pcap_fed(struct ctl_pcap *pcap, size_t n)
{
	pcap->end += n;
}

static uint32_t number_at(const uint8_t *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	return n;
}

int ctl_pcap_next(struct ctl_pcap *pcap, struct ctl_pcap_record *ret)
{
	const uint8_t *p = pcap->buf + pcap->at;
	uint32_t len;

	if (!pcap->headed) {
		if (pcap->end - pcap->at < CTL_PCAP_HEADER_BYTES)
			return 0;
		if (number_at(p) != MAGIC_NS)
			return SKEP_E_BAD_DATA;
		memcpy(pcap->header, p, CTL_PCAP_HEADER_BYTES);
		pcap->headed = true;
		pcap->at += CTL_PCAP_HEADER_BYTES;
		p += CTL_PCAP_HEADER_BYTES;
	}
	if (pcap->end - pcap->at < RECORD_HEADER_BYTES)
		return 0;
	len = number_at(p + 8);
	if (len > SNAPLEN_MAX)
		return SKEP_E_BAD_DATA;
	if (pcap->end - pcap->at < RECORD_HEADER_BYTES + len)
		return 0;
	*ret = (struct ctl_pcap_record){
		.ts_ns = number_at(p) * SKEP_NSEC_PER_SEC + number_at(p + 4),
		.bytes = p,
		.n = RECORD_HEADER_BYTES + len,
	};
	pcap->at += ret->n;
	return 1;
}

void ctl_pcap_make_header(uint8_t ret[static CTL_PCAP_HEADER_BYTES])
{
	const uint32_t words[] = { MAGIC_NS, 0, 0, 0, SNAPLEN_MAX, LINKTYPE_ETHERNET };
	const uint16_t version[] = { 2, 4 };

	memcpy(ret, words, sizeof(words));
	memcpy(ret + 4, version, sizeof(version));
}
