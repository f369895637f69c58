/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store of datasets. Works below one open folder and follows no link out of it (openat2 with
 * RESOLVE_BENEATH), so a name can never lead elsewhere. A file is there under its name only after its digest
 * was right and it is on the disk. Knows no dataset. Any thread; one writer per file.
 */
#include "hive/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <sodium.h>

#define READ_BYTES (256u * 1024)
#define PATH_BYTES 400

struct hive_store {
	int fd;
	uint64_t reserve_bytes;
	char root[256];
};

int hive_store_open(const char *root, uint64_t reserve_bytes, struct hive_store **ret, struct skep_err *err)
{
	struct hive_store *store = calloc(1, sizeof(*store));

	if (!store)
		return skep_err_set(err, -ENOMEM, "out of memory");
	if (mkdir(root, 0700) < 0 && errno != EEXIST) {
		free(store);
		return skep_err_set(err, -errno, "%s: cannot be made: %s", root, strerror(errno));
	}
	store->fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	store->reserve_bytes = reserve_bytes;
	snprintf(store->root, sizeof(store->root), "%s", root);
	if (store->fd < 0) {
		free(store);
		return skep_err_set(err, -errno, "%s: cannot be opened: %s", root, strerror(errno));
	}
	*ret = store;
	return 0;
}

struct hive_store *hive_store_close(struct hive_store *store)
{
	if (store)
		close(store->fd);
	free(store);
	return NULL;
}

static int open_below(int dirfd, const char *path, uint64_t flags, mode_t mode)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .mode = mode,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int open_folder(struct hive_store *store, const char *folder, bool make)
{
	if (make && mkdirat(store->fd, folder, 0700) < 0 && errno != EEXIST)
		return -errno;
	return open_below(store->fd, folder, O_DIRECTORY | O_RDONLY, 0);
}

static int check_space(struct hive_store *store, int64_t more_bytes, struct skep_err *err)
{
	struct statvfs fs;

	if (fstatvfs(store->fd, &fs) < 0)
		return skep_err_set(err, -errno, "%s: %s", store->root, strerror(errno));
	if ((uint64_t)fs.f_bavail * fs.f_frsize >= store->reserve_bytes + (uint64_t)more_bytes)
		return 0;
	(void)skep_err_set(err, SKEP_E_NO_SPACE, "%s: too little space left for %lld bytes more", store->root,
			   (long long)more_bytes);
	return skep_err_hint(err, "remove datasets, or give the store a larger disk");
}

int hive_store_part(struct hive_store *store, const struct hive_store_name *file, int64_t more_bytes,
		    int *ret_fd, int64_t *ret_bytes, struct skep_err *err)
{
	_skep_close_ int dir = open_folder(store, file->folder, true);
	_skep_close_ int fd = -1;
	char part[PATH_BYTES];
	struct stat st;
	int r = check_space(store, more_bytes, err);

	if (r != 0)
		return r;
	snprintf(part, sizeof(part), "%s.part", file->name);
	fd = dir < 0 ? dir : open_below(dir, part, O_RDWR | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return skep_err_set(err, fd < 0 ? fd : -errno, "%s/%s/%s: cannot be opened: %s", store->root, file->folder, part,
				    strerror(fd < 0 ? -fd : errno));
	*ret_bytes = st.st_size;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int digest_of(int fd, char ret[static 65], int64_t *ret_bytes)
{
	crypto_hash_sha256_state state;
	uint8_t hash[crypto_hash_sha256_BYTES];
	_skep_free_ uint8_t *buffer = malloc(READ_BYTES);
	int64_t offset = 0;
	ssize_t n;

	if (!buffer)
		return -ENOMEM;
	crypto_hash_sha256_init(&state);
	while ((n = pread(fd, buffer, READ_BYTES, offset)) > 0) {
		crypto_hash_sha256_update(&state, buffer, (size_t)n);
		offset += n;
	}
	if (n < 0)
		return -errno;
	crypto_hash_sha256_final(&state, hash);
	sodium_bin2hex(ret, 65, hash, sizeof(hash));
	*ret_bytes = offset;
	return 0;
}

int hive_store_seal(struct hive_store *store, const char *folder, const char *name, int64_t bytes,
		    const char *sha256, struct skep_err *err)
{
	_skep_close_ int dir = open_folder(store, folder, false);
	_skep_close_ int fd = -1;
	char part[PATH_BYTES], hash[65];
	int64_t there = 0;
	int r;

	snprintf(part, sizeof(part), "%s.part", name);
	fd = dir < 0 ? dir : open_below(dir, part, O_RDONLY, 0);
	r = fd < 0 ? fd : digest_of(fd, hash, &there);
	if (r == 0 && (there != bytes || strcmp(hash, sha256) != 0)) {
		(void)unlinkat(dir, part, 0);
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: has %lld bytes and the digest %.16s…, it should be %lld and %.16s…", name,
				    (long long)there, hash, (long long)bytes, sha256);
	}
	if (r == 0 && (fsync(fd) < 0 || renameat(dir, part, dir, name) < 0 || fsync(dir) < 0))
		r = -errno;
	return r == 0 ? 0 : skep_err_set(err, r, "%s/%s/%s: %s", store->root, folder, part, strerror(-r));
}

int hive_store_read(struct hive_store *store, const char *folder, const char *name, int *ret_fd)
{
	_skep_close_ int dir = open_folder(store, folder, false);
	int fd = dir < 0 ? dir : open_below(dir, name, O_RDONLY, 0);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}
