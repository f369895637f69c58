/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_STORE_STORE_H
#define HIVE_STORE_STORE_H
/*
 * Files of datasets under one root: written as NAME.part, verified, and only then NAME.
 */
#include "common/err.h"

#include <stdbool.h>

struct hive_store;

/* reserve_bytes of the file system stay free. */
int hive_store_open(const char *root, uint64_t reserve_bytes, struct hive_store **ret, struct skep_err *err);
struct hive_store *hive_store_close(struct hive_store *store);

struct hive_store_name {
	const char *folder, *name;
};

/*
 * FOLDER/NAME.part, made with its folder if it is not there, at its end: *ret_bytes are in it already.
 * more_bytes will come: SKEP_E_NO_SPACE if they would eat into the reserve. *ret_fd is the caller's.
 */
int hive_store_part(struct hive_store *store, const struct hive_store_name *file, int64_t more_bytes,
		    int *ret_fd, int64_t *ret_bytes, struct skep_err *err);
/*
 * The part is whole: if it has so many bytes and this SHA-256, it is flushed and becomes NAME.
 * SKEP_E_BAD_DATA: it has not, and is removed.
 */
int hive_store_seal(struct hive_store *store, const char *folder, const char *name, int64_t bytes,
		    const char *sha256, struct skep_err *err);
/* A sealed file for reading; -ENOENT. *ret_fd is the caller's. */
int hive_store_read(struct hive_store *store, const char *folder, const char *name, int *ret_fd);

#endif
