/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The real file system behind struct cap_io. Nothing here is on the packet path; the keeper thread and
 * start-up call it.
 */
#include "capture/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int kernel_openat(void *arg, int dirfd, const char *name, int flags, mode_t mode)
{
	int fd = openat(dirfd, name, flags, mode);

	(void)arg;
	return fd < 0 ? -errno : fd;
}

static int kernel_fallocate(void *arg, int fd, uint64_t off, uint64_t len)
{
	(void)arg;
	return fallocate(fd, 0, (off_t)off, (off_t)len) < 0 ? -errno : 0;
}

static int kernel_ftruncate(void *arg, int fd, uint64_t len)
{
	(void)arg;
	return ftruncate(fd, (off_t)len) < 0 ? -errno : 0;
}

static int kernel_fsync(void *arg, int fd)
{
	(void)arg;
	return fsync(fd) < 0 ? -errno : 0;
}

static int kernel_renameat(void *arg, int dirfd, const char *from, const char *to)
{
	(void)arg;
	return renameat(dirfd, from, dirfd, to) < 0 ? -errno : 0;
}

static int kernel_unlinkat(void *arg, int dirfd, const char *name)
{
	(void)arg;
	return unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
}

static int kernel_pwrite(void *arg, int fd, const void *data, size_t len, uint64_t off)
{
	const uint8_t *p = data;

	(void)arg;
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int kernel_free_bytes(void *arg, int fd, uint64_t *ret)
{
	struct statvfs s;

	(void)arg;
	if (fstatvfs(fd, &s) < 0)
		return -errno;
	*ret = (uint64_t)s.f_bavail * s.f_frsize;
	return 0;
}

const struct cap_io cap_io_kernel = {
	.openat = kernel_openat,
	.fallocate = kernel_fallocate,
	.ftruncate = kernel_ftruncate,
	.fsync = kernel_fsync,
	.renameat = kernel_renameat,
	.unlinkat = kernel_unlinkat,
	.pwrite = kernel_pwrite,
	.free_bytes = kernel_free_bytes,
};
