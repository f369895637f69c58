/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_EXPORT_CUT_H
#define HIVE_EXPORT_CUT_H
/*
 * The beginning of a capture that streams by: the first so many packets of it, exactly.
 */
#include "common/util.h"

#include <stdbool.h>

struct hive_cut {
	bool pcapng; /* else pcap; both as skep-capture writes them: little-endian, nanoseconds */
	int64_t pkts_max, bytes_max;  /* 0: no limit; bytes are those of pcap records, with their heads */
	int64_t pkts, bytes, last_ns; /* out: what was kept; last_ns in pcap only */
	bool over;                    /* out: something was left out */
	/* where it is */
	bool begun, passing;
	uint64_t left; /* of the record's body */
	uint32_t have;
	uint8_t head[32];
};

/*
 * Takes the next bytes and hands over those that stay, with put (NULL: they are only counted). Blocks of a
 * pcapng that are no packets always stay. 0; -EBADMSG: it is no such capture; or what put returned.
 */
struct hive_cut_to {
	int (*put)(void *arg, const uint8_t *data, size_t n);
	void *arg;
};

int hive_cut_feed(struct hive_cut *cut, const uint8_t *data, size_t n, const struct hive_cut_to *to);

#endif
