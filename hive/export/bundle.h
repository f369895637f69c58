/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_EXPORT_BUNDLE_H
#define HIVE_EXPORT_BUNDLE_H
/*
 * A dataset as one zip or tar: a BagIt bag (RFC 8493) whose bytes follow from its content alone, and that can
 * be read at any place without being made.
 */
#include "common/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct hive_bundle;

struct hive_bundle_file {
	const char *path;   /* in the bag: "data/…" is payload, anything else is a tag file */
	const char *stored; /* its name in the folder; NULL: its bytes are `text` */
	const char *text;
	uint64_t bytes; /* of a stored one, as are these: */
	uint32_t crc32;
	const char *sha256; /* in hex */
};

struct hive_bundle_cfg {
	bool zip;	      /* else tar (POSIX ustar with pax where needed) */
	const char *top;      /* the folder that it unpacks to */
	int64_t created_ns;   /* the time of everything in it */
	const char *software; /* for bag-info.txt */
	const struct hive_bundle_file
		*files; /* borrowed until hive_bundle_new() returns, as is all of this */
	uint32_t n_files;
	int folder; /* of the stored ones; taken, also on failure */
};

int hive_bundle_new(const struct hive_bundle_cfg *cfg, struct hive_bundle **ret, struct skep_err *err);
void hive_bundle_free(void *bundle);
uint64_t hive_bundle_bytes(const struct hive_bundle *bundle);
/* SHA-256 over what it holds, in hex: the same content, the same tag. */
const char *hive_bundle_etag(const struct hive_bundle *bundle);
/* At most max bytes from `at` on; 0: behind its end, or a file has become shorter; -errno. One thread at a
 * time. */
ssize_t hive_bundle_read(void *bundle, uint64_t at, void *buf, size_t max);

#endif
