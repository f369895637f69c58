/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SIDECAR_H
#define CAP_SIDECAR_H
/*
 * The file beside a segment, NAME.json: what it is, where it comes from, its account, its index.
 * docs/reference/segment-format.md lists the fields.
 *
 * Strings are borrowed when writing (NULL is written as null; what is not UTF-8 gets '?'). When read, they
 * and the arrays belong to the struct and live until cap_sidecar_free.
 */
#include "common/err.h"

#include <stdbool.h>

#define CAP_SIDECAR_FORMAT_VERSION 1
#define CAP_SIDECAR_SUFFIX ".json"
/* A number that nobody knows: null in the file. The same holds for any value above INT64_MAX, which JSON
 * readers cannot be trusted with. */
#define CAP_SIDECAR_UNKNOWN UINT64_MAX
/* Larger files are refused when reading: 10^6 index entries are about 60 MB. */
#define CAP_SIDECAR_MAX_BYTES (128u * 1024u * 1024u)

struct cap_sidecar_count {
	const char *name;
	uint64_t pkts;
};

/* One stretch of the segment that can be read alone: give a zstd decoder the frame header and file_bytes from
 * file_offset. */
struct cap_sidecar_entry {
	uint64_t file_offset;
	uint64_t raw_offset;
	uint64_t file_bytes;
	uint64_t raw_bytes;
	uint64_t pkts;
	uint64_t ts_first_ns; /* of the first packet in the file's order; UNKNOWN if pkts is 0 */
	uint64_t ts_last_ns;
};

struct cap_sidecar {
	const char *segment; /* file name */
	const char *job;
	const char *link;
	uint64_t queue;
	uint64_t seq;
	const char *format;	 /* "pcap" or "pcapng" */
	const char *compression; /* "zstd" or "none" */
	uint32_t linktype;
	uint32_t snaplen;
	const char *filter; /* as the user wrote it; NULL: everything */
	const char *level;  /* compression in words: "auto, -5 to 1", "3", "stored" */
	const char *source; /* "xdp native, zero copy, 4 queues" */
	const char *driver;
	const char *nic;
	const char *kernel;
	const char *hostname;
	const char *software; /* "skep-capture 0.1.0" */

	struct {
		bool known;
		bool synchronised;
		uint64_t error_ns; /* estimated; UNKNOWN */
		int64_t tai_offset_s;
	} clock;
	const char *timestamps; /* "nic", "kernel", "file" */

	uint64_t started_ns; /* the segment was opened; wall clock */
	uint64_t first_ns;   /* smallest and largest time stamp; UNKNOWN if there is no packet */
	uint64_t last_ns;

	struct {
		uint64_t seen_pkts;
		uint64_t stored_pkts;
		uint64_t rejected_pkts;
		const struct cap_sidecar_count *dropped;
		size_t n_dropped;
	} account;
	uint64_t bytes_wire;
	uint64_t bytes_raw; /* of the pcap stream, headers included */
	uint64_t bytes_disk;

	const struct cap_sidecar_entry *index;
	size_t n_index;

	bool complete;
	const char *const *reasons; /* why it is not complete */
	size_t n_reasons;
	bool recovered;
	const char *sha256; /* 64 hex digits of the segment file, or NULL */

	void *owner; /* set by cap_sidecar_read only */
};

/* Everything unknown, complete. */
#define CAP_SIDECAR_NULL                                                                                     \
	{                                                                                                    \
		.queue = CAP_SIDECAR_UNKNOWN, .seq = CAP_SIDECAR_UNKNOWN,                                    \
		.clock = { .error_ns = CAP_SIDECAR_UNKNOWN }, .started_ns = CAP_SIDECAR_UNKNOWN,             \
		.first_ns = CAP_SIDECAR_UNKNOWN, .last_ns = CAP_SIDECAR_UNKNOWN,                             \
		.account = { CAP_SIDECAR_UNKNOWN, CAP_SIDECAR_UNKNOWN, CAP_SIDECAR_UNKNOWN },                \
		.bytes_wire = CAP_SIDECAR_UNKNOWN, .bytes_raw = CAP_SIDECAR_UNKNOWN,                         \
		.bytes_disk = CAP_SIDECAR_UNKNOWN, .complete = true,                                         \
	}

/*
 * Writes SEGMENT.json into the directory: a temporary file, fsync, rename, fsync of the directory; at every
 * moment the name holds the old text, the new one, or nothing. 0 or -errno. Allocates: not for the packet
 * path.
 */
SKEP_MUST_CHECK int cap_sidecar_write(int dirfd, const char *segment, const struct cap_sidecar *sc);

/*
 * The facts of a file that is being written, PART.json, for whoever recovers it: segment (the name of the
 * part), job, link, filter, host and the like; an account is not in it. Survives the writer's death, but is
 * not synced: after a power failure it may be missing or spoilt. drop_note removes it; there need not be one.
 */
SKEP_MUST_CHECK int cap_sidecar_note(int dirfd, const char *part, const struct cap_sidecar *facts);
void cap_sidecar_drop_note(int dirfd, const char *part);

/*
 * Reads SEGMENT.json. -ENOENT: there is none; SKEP_E_BAD_DATA: not a sidecar, and err says where; other
 * -errno. What a field's absence leaves is the value of CAP_SIDECAR_NULL.
 */
SKEP_MUST_CHECK int cap_sidecar_read(int dirfd, const char *segment, struct cap_sidecar **ret,
				     struct skep_err *err);
/* The same from text. */
SKEP_MUST_CHECK int cap_sidecar_parse(const char *text, size_t n, struct cap_sidecar **ret,
				      struct skep_err *err);
struct cap_sidecar *cap_sidecar_free(struct cap_sidecar *sc);
static inline void cap_sidecar_freep(struct cap_sidecar **sc)
{
	*sc = cap_sidecar_free(*sc);
}
#define _cap_sidecar_free_ SKEP_CLEANUP(cap_sidecar_freep)

#endif
