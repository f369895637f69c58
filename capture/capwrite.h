/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_CAPWRITE_H
#define CAP_CAPWRITE_H
/*
 * Encoders for pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), in the byte order of the
 * host, which both formats allow. Per-packet encoders are inline, write exactly the bytes their name's _BYTES
 * says, need no alignment and cannot fail. Time stamps are nanoseconds since 1970; classic pcap has 32 bits
 * of seconds, so it wraps in 2106.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CAP_CAPWRITE_PCAP_MAGIC_NS 0xa1b23c4du
#define CAP_CAPWRITE_PCAP_HEADER_BYTES 24u
#define CAP_CAPWRITE_PCAP_RECORD_BYTES 16u

/* Enhanced Packet Block: type, length, interface, time stamp (2), captured, wire = 7 words; then data padded
 * to 4, then length. */
#define CAP_CAPWRITE_EPB_HEADER_BYTES 28u
#define CAP_CAPWRITE_EPB_MAX_TAIL_BYTES 7u
/* Interface Statistics Block: 5 words, 6 options of 12 bytes, end of options, length. */
#define CAP_CAPWRITE_ISB_BYTES (20u + 6u * 12u + 4u + 4u)
/* Longer option texts are cut here; the format's own limit is 65,535. */
#define CAP_CAPWRITE_TEXT_MAX 16384u

static inline void cap_capwrite_pcap_header(uint8_t *p, uint32_t snaplen, uint16_t linktype)
{
	const uint32_t words[6] = { CAP_CAPWRITE_PCAP_MAGIC_NS, 0, 0, 0, snaplen, linktype };
	const uint16_t version[2] = { 2, 4 };

	memcpy(p, words, sizeof(words));
	memcpy(p + 4, version, sizeof(version));
}

static inline void cap_capwrite_pcap_record(uint8_t *p, uint64_t ts_ns, uint32_t cap_len, uint32_t wire_len)
{
	const uint64_t sec = ts_ns / 1000000000u;
	const uint32_t words[4] = { (uint32_t)sec, (uint32_t)(ts_ns - sec * 1000000000u), cap_len, wire_len };

	memcpy(p, words, sizeof(words));
}

/* Whole size of a packet's block. */
static inline uint32_t cap_capwrite_epb_bytes(uint32_t cap_len)
{
	return CAP_CAPWRITE_EPB_HEADER_BYTES + ((cap_len + 3u) & ~3u) + 4u;
}

static inline void cap_capwrite_epb_header(uint8_t *p, uint32_t iface, uint64_t ts_ns, uint32_t cap_len,
					   uint32_t wire_len)
{
	const uint32_t words[7] = { 6,
				    cap_capwrite_epb_bytes(cap_len),
				    iface,
				    (uint32_t)(ts_ns >> 32),
				    (uint32_t)ts_ns,
				    cap_len,
				    wire_len };

	memcpy(p, words, sizeof(words));
}

/* What follows the data: 0 to 3 bytes of padding and the length again. Returns its size (4 to 7). */
static inline uint32_t cap_capwrite_epb_tail(uint8_t *p, uint32_t cap_len)
{
	const uint32_t pad = -cap_len & 3u;
	const uint32_t total = cap_capwrite_epb_bytes(cap_len);

	memset(p, 0, pad);
	memcpy(p + pad, &total, 4);
	return pad + 4;
}

/* Section Header Block; NULL texts are left out. */
struct cap_capwrite_shb {
	const char *hardware;
	const char *os;
	const char *application;
};

/* Interface Description Block, time stamps in nanoseconds; NULL texts are left out, speed 0 too. */
struct cap_capwrite_idb {
	uint16_t linktype;
	uint32_t snaplen;
	const char *name;
	const char *description;
	const char *filter; /* libpcap syntax */
	const char *os;
	const char *hardware;
	uint64_t speed_bits; /* bits per second */
};

/* Interface Statistics Block. */
struct cap_capwrite_isb {
	uint32_t iface;
	uint64_t ts_ns;
	uint64_t start_ns;
	uint64_t end_ns;
	uint64_t received;   /* isb_ifrecv: frames that reached the interface */
	uint64_t dropped;    /* isb_ifdrop: lost for want of resources */
	uint64_t accepted;   /* isb_filteraccept */
	uint64_t os_dropped; /* isb_osdrop: the part of the loss that the kernel counted */
};

/*
 * Return the size of the block and write it at p. With p NULL they only return the size. What is written
 * never exceeds room; 0 (and nothing written) if it would.
 */
size_t cap_capwrite_shb(uint8_t *p, size_t room, const struct cap_capwrite_shb *shb);
size_t cap_capwrite_idb(uint8_t *p, size_t room, const struct cap_capwrite_idb *idb);
/* Exactly CAP_CAPWRITE_ISB_BYTES. */
void cap_capwrite_isb(uint8_t *p, const struct cap_capwrite_isb *isb);

#endif
