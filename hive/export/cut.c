/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walks the records of a pcap or the blocks of a pcapng as they come in pieces of any size, and decides at
 * each head whether what follows stays. The first packet that is beyond a limit ends it: those behind it do
 * not stay either, as with a capture that reached its limit. Keeps at most one head. No thread, no files.
 */
#include "hive/export/cut.h"

#include <errno.h>
#include <string.h>

#define PCAP_FILE_HEAD 24u
#define PCAP_HEAD 16u
#define PCAP_MAGIC 0xa1b23c4du
#define BLOCK_HEAD 8u
#define BLOCK_MIN 12u
#define PACKET_HEAD 28u /* of an enhanced packet block */
#define PACKET_BLOCK 6u
#define RECORD_MAX (64u << 20) /* larger ones are not written; a length beyond it is nonsense */

static uint32_t u32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static bool stays(struct hive_cut *cut, uint32_t captured)
{
	int64_t bytes = (int64_t)captured + PCAP_HEAD;

	cut->over = cut->over || (cut->pkts_max && cut->pkts >= cut->pkts_max) ||
		    (cut->bytes_max && cut->bytes + bytes > cut->bytes_max);
	if (cut->over)
		return false;
	cut->pkts++;
	cut->bytes += bytes;
	return true;
}

static int pcap_head(struct hive_cut *cut)
{
	uint32_t captured = u32(cut->head + 8);

	if (!cut->begun) {
		cut->begun = cut->passing = true;
		cut->left = PCAP_FILE_HEAD - PCAP_HEAD;
		return u32(cut->head) == PCAP_MAGIC ? 0 : -EBADMSG;
	}
	if (captured > RECORD_MAX)
		return -EBADMSG;
	cut->left = captured;
	cut->passing = stays(cut, captured);
	if (cut->passing)
		cut->last_ns = (int64_t)u32(cut->head) * (int64_t)SKEP_NSEC_PER_SEC + u32(cut->head + 4);
	return 0;
}

static int block_head(struct hive_cut *cut)
{
	uint32_t length = u32(cut->head + 4);

	if (length < BLOCK_MIN || length > RECORD_MAX || length % 4 || length < cut->have)
		return -EBADMSG;
	cut->left = length - cut->have;
	cut->passing = u32(cut->head) != PACKET_BLOCK || stays(cut, u32(cut->head + 20));
	return 0;
}

/* How much of a head there must be before it says what follows. */
static uint32_t wanted(const struct hive_cut *cut)
{
	if (!cut->pcapng)
		return PCAP_HEAD;
	return cut->have >= BLOCK_HEAD && u32(cut->head) == PACKET_BLOCK ? PACKET_HEAD : BLOCK_HEAD;
}

static int put(const struct hive_cut_to *to, const uint8_t *data, size_t n)
{
	return to->put && n ? to->put(to->arg, data, n) : 0;
}

int hive_cut_feed(struct hive_cut *cut, const uint8_t *data, size_t n, const struct hive_cut_to *to)
{
	size_t at = 0, k;
	int r = 0;

	while (r == 0 && at < n) {
		if (cut->left) {
			k = SKEP_MIN((uint64_t)(n - at), cut->left);
			r = cut->passing ? put(to, data + at, k) : 0;
			cut->left -= k;
			at += k;
			continue;
		}
		k = SKEP_MIN(n - at, (size_t)(wanted(cut) - cut->have));
		memcpy(cut->head + cut->have, data + at, k);
		cut->have += (uint32_t)k;
		at += k;
		if (cut->have < wanted(cut))
			continue;
		r = cut->pcapng ? block_head(cut) : pcap_head(cut);
		if (r == 0 && cut->passing)
			r = put(to, cut->head, cut->have);
		cut->have = 0;
	}
	return r;
}
