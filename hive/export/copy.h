/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_EXPORT_COPY_H
#define HIVE_EXPORT_COPY_H
/*
 * Files to a place that is reached by URL: an S3-compatible store, or SFTP.
 */
#include "common/err.h"

#include <stdatomic.h>
#include <stdbool.h>

struct hive_copy_target {
	bool s3; /* else SFTP */
	const char *url, *user;
	const char *secret;	 /* SFTP: a password, or a private key (PEM) */
	const char *region;	 /* S3; NULL: us-east-1 */
	const char *host_key;	 /* SFTP */
	const atomic_bool *stop; /* given up when it becomes true: -ECANCELED */
};

struct hive_copy_file {
	const char *folder, *name; /* become part of the URL: letters, digits and ._- only */
	int64_t bytes;
	const char *sha256; /* in hex */
	int fd;		    /* of a put; read from its beginning; borrowed */
};

/* 0, SKEP_E_PRIVILEGE (login, host key), SKEP_E_UNSUPPORTED (refused for good), -errno: perhaps later. */
int hive_copy_put(const struct hive_copy_target *target, const struct hive_copy_file *file,
		  struct skep_err *err);
/* Reads it back. SKEP_E_NOT_FOUND: it is not there; SKEP_E_BAD_DATA: it is something else. */
int hive_copy_verify(const struct hive_copy_target *target, const struct hive_copy_file *file,
		     struct skep_err *err);

#endif
