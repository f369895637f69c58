/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_STORE_STORE_H
#define HIVE_STORE_STORE_H
/*
 * Files of datasets under one root: written as NAME.part, verified, and only then NAME.
 */
#include "common/err.h"

#include <stdatomic.h>
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
struct hive_store_bytes {
	const void *data;
	size_t bytes;
	int64_t offset;
};

/* Writes bytes into the part at their place; more of them will come, or it is sealed. */
int hive_store_put(struct hive_store *store, const struct hive_store_name *file,
		   const struct hive_store_bytes *bytes, struct skep_err *err);
/* All that a descriptor holds becomes the part; -ECANCELED: *stop became true. */
int hive_store_take(struct hive_store *store, const struct hive_store_name *file, int from,
		    const atomic_bool *stop, struct skep_err *err);
struct hive_store_sum {
	int64_t bytes;
	char sha256[65];
};

/* Hashes a part while it grows, on a thread of its own; fd is borrowed until hive_store_tail_end(). */
struct hive_store_tail;
int hive_store_tail_start(int fd, struct hive_store_tail **ret);
/* It grows no more: the sum of all of it. Takes NULL: -ENOENT. */
int hive_store_tail_end(struct hive_store_tail *tail, struct hive_store_sum *ret);

struct hive_store_whole {
	int64_t bytes;
	const char *sha256;		    /* NULL: nobody said */
	const struct hive_store_sum *known; /* of the part as it is now; NULL: it is read for it */
};

/*
 * The part is whole: if it has so many bytes and this SHA-256, it is flushed and becomes the file.
 * SKEP_E_BAD_DATA: it has not, and is removed. ret may be NULL.
 */
int hive_store_seal(struct hive_store *store, const struct hive_store_name *file,
		    const struct hive_store_whole *whole, struct hive_store_sum *ret, struct skep_err *err);
/* A whole small file, in place of one that was there. */
int hive_store_write(struct hive_store *store, const struct hive_store_name *file, const char *text,
		     struct skep_err *err);
/* A small file whole, as text; *ret is the caller's. -ENOENT, -EFBIG. */
int hive_store_text(struct hive_store *store, const struct hive_store_name *file, size_t max, char **ret);
/* The sums of a sealed file. */
int hive_store_sum(struct hive_store *store, const struct hive_store_name *file, struct hive_store_sum *ret);
/* As a zip has it. */
int hive_store_crc32(struct hive_store *store, const struct hive_store_name *file, uint32_t *ret);
/* The folder itself, for who reads its files; *ret_fd is the caller's. -ENOENT */
int hive_store_folder(struct hive_store *store, const char *folder, int *ret_fd);
/* The folder and all that is in it; 0 also if it was not there. */
int hive_store_remove(struct hive_store *store, const char *folder);
struct hive_store_space {
	uint64_t total_bytes, free_bytes,
		reserve_bytes; /* free_bytes: what may still be used, less the reserve */
};
int hive_store_space(struct hive_store *store, struct hive_store_space *ret);
/* A sealed file for reading; -ENOENT. *ret_fd is the caller's. */
int hive_store_read(struct hive_store *store, const char *folder, const char *name, int *ret_fd);

#endif
