/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_PCAP_H
#define CTL_PCAP_H
/*
 * Whole records out of a pcap stream that comes in pieces. Nanoseconds, in this machine's byte order: what
 * our own programs write.
 */
#include "common/util.h"

#include <stdbool.h>

#define CTL_PCAP_HEADER_BYTES 24u

struct ctl_pcap {
	uint8_t header[CTL_PCAP_HEADER_BYTES]; /* valid after the first record */
	/* private */
	uint8_t *buf;
	size_t at, end, room;
	bool headed;
};

/* 0 or -ENOMEM. */
int ctl_pcap_init(struct ctl_pcap *pcap);
void ctl_pcap_fini(struct ctl_pcap *pcap);
/* Where the next bytes go, at least 64 KiB of room; call it when ctl_pcap_next has no more. */
void *ctl_pcap_room(struct ctl_pcap *pcap, size_t *ret_n);
void ctl_pcap_fed(struct ctl_pcap *pcap, size_t n);

struct ctl_pcap_record {
	uint64_t ts_ns;
	const uint8_t *bytes; /* with its header; valid until the next call of any of these */
	size_t n;
};

/* 1: ret is one; 0: more bytes are needed; SKEP_E_BAD_DATA. */
int ctl_pcap_next(struct ctl_pcap *pcap, struct ctl_pcap_record *ret);

/*
 * The header, made for those who want it before the first record: Ethernet.
 */
void ctl_pcap_make_header(uint8_t ret[static CTL_PCAP_HEADER_BYTES]);

#endif
