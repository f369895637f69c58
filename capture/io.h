/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_IO_H
#define CAP_IO_H
/*
 * The seam to the file system: every call that can fail goes through this table, so that tests can let the
 * N-th one fail. All return 0 or a value >= 0, or -errno. `arg` belongs to whoever filled the table.
 */
#include <stdint.h>
#include <sys/types.h>

struct cap_io {
	int (*openat)(void *arg, int dirfd, const char *name, int flags, mode_t mode);
	int (*fallocate)(void *arg, int fd, uint64_t off, uint64_t len);
	int (*ftruncate)(void *arg, int fd, uint64_t len);
	int (*fsync)(void *arg, int fd);
	int (*renameat)(void *arg, int dirfd, const char *from, const char *to);
	int (*unlinkat)(void *arg, int dirfd, const char *name);
	/* Writes all of it or fails. */
	int (*pwrite)(void *arg, int fd, const void *data, size_t len, uint64_t off);
	/* Free bytes for unprivileged users on the file system of fd. */
	int (*free_bytes)(void *arg, int fd, uint64_t *ret);
	/*
	 * Asked before each write that goes to the ring: 0 does it, -errno reports that error without
	 * writing, n > 0 writes only the first n bytes (a short write). NULL: always 0.
	 */
	int32_t (*ring_write)(void *arg, uint32_t len);
	void *arg;
};

extern const struct cap_io cap_io_kernel;

#endif
