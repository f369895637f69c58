/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_IMPORTS_H
#define HIVE_SVC_IMPORTS_H
/*
 * Captures from elsewhere become datasets: sent in pieces, in order, each at most HIVE_PIECE_MAX bytes; when
 * the last one is here the whole is looked at, and only what can be read becomes a dataset.
 */
#include "hive/db/transfers.h"
#include "hive/svc/things.h"

#define HIVE_PIECE_MAX ((size_t)8 * 1024 * 1024)

struct hive_piece {
	int64_t offset;
	const void *data;
	size_t bytes;
};

/*
 * Takes a piece; *ret is the import as it is then. SKEP_E_BUSY: offset is not where it goes on, or it takes
 * no more; *ret says where it is.
 */
int hive_import_take(struct hive *hive, const struct hive_actor *actor, int64_t import_id,
		     const struct hive_piece *piece, struct hive_import *ret,
		     struct hive_complaints *complaints);
/* Looks at one import that is whole. 0: there was one; -ENOENT: there is none. Minutes. */
int hive_import_check_next(struct hive *hive);

#endif
