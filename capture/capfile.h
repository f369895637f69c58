/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_CAPFILE_H
#define CAP_CAPFILE_H
/*
 * Reads pcap and pcapng from bytes that are pushed in as they come. Packets are views into the parser's own
 *buffer. One thread.
 *
 *	for (;;) {
 *		while ((r = cap_capfile_next(f, &packet, &err)) == 0)
 *			use(&packet);                          // until the next cap_capfile_room
 *		if (r != -EAGAIN)
 *			break;                                 // -ENODATA: the end; positive: refused, err
 *says why and where n = read(fd, cap_capfile_room(f, &room), room); n > 0 ? cap_capfile_fed(f, n) :
 *cap_capfile_finish(f);
 *	}
 */
#include "capture/limits.h"
#include "common/err.h"

#include <stdbool.h>

struct cap_capfile;

struct cap_capfile_packet {
	const uint8_t *data;
	uint32_t cap_len;
	uint32_t wire_len; /* as the file says; may be less than cap_len in odd files */
	uint32_t iface;	   /* pcapng: interface within its section; 0 for pcap */
	uint64_t ts_ns;	   /* since 1970; clamped to 0 .. INT64_MAX, see cap_capfile_odd_times */
	uint64_t offset;   /* of the record, from the start of the stream */
};

enum cap_capfile_format { CAP_CAPFILE_UNKNOWN, CAP_CAPFILE_PCAP, CAP_CAPFILE_PCAPNG };

/* What the header says; valid once cap_capfile_head has returned 0. */
struct cap_capfile_info {
	enum cap_capfile_format format;
	uint16_t linktype; /* LINKTYPE_* as in the file */
	uint32_t snaplen;  /* 0 or absurd values are given as CAP_SNAPLEN_MAX */
	bool swapped;	   /* written in the other byte order */
	bool nanoseconds;  /* pcap: which of the two resolutions */
};

/*
 * name appears in refusals and is borrowed. strict also refuses what no writer of ours makes but libpcap
 * would let pass: fractions of a second of a second or more, less on the wire than captured, more captured
 * than the snaplen, a record of nothing but zeros, a byte order that is not ours. 0 or -ENOMEM; nothing
 * allocates afterwards.
 */
SKEP_MUST_CHECK int cap_capfile_new(const char *name, bool strict, struct cap_capfile **ret);
struct cap_capfile *cap_capfile_free(struct cap_capfile *f);
static inline void cap_capfile_freep(struct cap_capfile **f)
{
	*f = cap_capfile_free(*f);
}
#define _cap_capfile_free_ SKEP_CLEANUP(cap_capfile_freep)

/* Room for more bytes (never 0 after -EAGAIN). Ends the life of every view. */
uint8_t *cap_capfile_room(struct cap_capfile *f, size_t *ret_room);
/* n bytes were written there. */
void cap_capfile_fed(struct cap_capfile *f, size_t n);
/* No more will come. */
void cap_capfile_finish(struct cap_capfile *f);

/* Reads up to the link type, no packet. 0: known; -EAGAIN: needs more bytes; positive: refused. */
SKEP_MUST_CHECK int cap_capfile_head(struct cap_capfile *f, struct skep_err *err);
const struct cap_capfile_info *cap_capfile_info(const struct cap_capfile *f);

/*
 * 0: *ret is the next packet; -EAGAIN: needs more bytes; -ENODATA: the end, at the end of a record; positive:
 * refused, and so is every later call. A stream that ends within a record is refused only after its last
 * whole packet; cap_capfile_truncated tells.
 */
SKEP_MUST_CHECK int cap_capfile_next(struct cap_capfile *f, struct cap_capfile_packet *ret,
				     struct skep_err *err);

/* Offset behind the last whole record, block or header that was read. */
uint64_t cap_capfile_whole(const struct cap_capfile *f);
bool cap_capfile_truncated(const struct cap_capfile *f);
/* Packets whose time stamp was before 1970 or after 2262, and was clamped. */
uint64_t cap_capfile_odd_times(const struct cap_capfile *f);

#endif
