/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store of datasets. Works below one open folder and follows no link out of it (openat2 with
 * RESOLVE_BENEATH), so a name can never lead elsewhere. A file is there under its name only after its digest
 * was right and it is on the disk. Knows no dataset. Any thread; one writer per file.
 */
#include "hive/store/store.h"

#include "hive/store/sum.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

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
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.mode = mode,
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
	struct hive_store_space space;
	int r = hive_store_space(store, &space);

	if (r < 0)
		return skep_err_set(err, r, "%s: %s", store->root, strerror(-r));
	if (space.free_bytes >= (uint64_t)more_bytes)
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
		return skep_err_set(err, fd < 0 ? fd : -errno, "%s/%s/%s: cannot be opened: %s", store->root,
				    file->folder, part, strerror(fd < 0 ? -fd : errno));
	*ret_bytes = st.st_size;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int say(struct hive_store *store, const struct hive_store_name *file, int r, struct skep_err *err)
{
	return r == 0 ? 0
		      : skep_err_set(err, r, "%s/%s/%s: %s", store->root, file->folder, file->name,
				     strerror(-r));
}

static int open_part(struct hive_store *store, const struct hive_store_name *file, uint64_t flags)
{
	_skep_close_ int dir = open_folder(store, file->folder, true);
	char part[PATH_BYTES];

	snprintf(part, sizeof(part), "%s.part", file->name);
	return dir < 0 ? dir : open_below(dir, part, O_WRONLY | O_CREAT | flags, 0600);
}

static int write_at(int fd, const struct hive_store_bytes *bytes)
{
	size_t done = 0;

	while (done < bytes->bytes) {
		ssize_t n = pwrite(fd, (const char *)bytes->data + done, bytes->bytes - done,
				   (off_t)(bytes->offset + (int64_t)done));

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int hive_store_put(struct hive_store *store, const struct hive_store_name *file,
		   const struct hive_store_bytes *bytes, struct skep_err *err)
{
	_skep_close_ int fd = -1;
	int r = check_space(store, (int64_t)bytes->bytes, err);

	if (r != 0)
		return r;
	fd = open_part(store, file, 0);
	return say(store, file, fd < 0 ? fd : write_at(fd, bytes), err);
}

int hive_store_take(struct hive_store *store, const struct hive_store_name *file, int from,
		    const atomic_bool *stop, struct skep_err *err)
{
	_skep_close_ int fd = open_part(store, file, O_TRUNC);
	_skep_free_ char *buffer = malloc(READ_BYTES);
	struct hive_store_bytes bytes = { .data = buffer };
	int r = fd < 0 ? fd : buffer ? 0 : -ENOMEM;

	while (r == 0) {
		ssize_t n = pread(from, buffer, READ_BYTES, (off_t)bytes.offset);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			r = -errno;
		bytes.bytes = n > 0 ? (size_t)n : 0;
		if (r == 0)
			r = write_at(fd, &bytes);
		bytes.offset += n > 0 ? n : 0;
		if (r == 0 && atomic_load_explicit(stop, memory_order_relaxed))
			r = -ECANCELED;
	}
	return say(store, file, r, err);
}

int hive_store_seal(struct hive_store *store, const struct hive_store_name *file,
		    const struct hive_store_whole *whole, struct hive_store_sum *ret, struct skep_err *err)
{
	_skep_close_ int dir = open_folder(store, file->folder, false);
	_skep_close_ int fd = -1;
	struct hive_store_sum sum = { 0 };
	char part[PATH_BYTES];
	int r;

	snprintf(part, sizeof(part), "%s.part", file->name);
	fd = dir < 0 ? dir : open_below(dir, part, O_RDONLY, 0);
	r = fd < 0 ? fd : 0;
	if (r == 0 && whole->known)
		sum = *whole->known;
	else if (r == 0)
		r = hive_store_sum_fd(fd, &sum);
	if (r == 0 &&
	    (sum.bytes != whole->bytes || (whole->sha256 && strcmp(sum.sha256, whole->sha256) != 0))) {
		(void)unlinkat(dir, part, 0);
		return skep_err_set(err, SKEP_E_BAD_DATA,
				    "%s: has %lld bytes and the digest %.16s…, it should be %lld and %.16s…",
				    file->name, (long long)sum.bytes, sum.sha256, (long long)whole->bytes,
				    whole->sha256 ? whole->sha256 : "any");
	}
	if (r == 0 && (fsync(fd) < 0 || renameat(dir, part, dir, file->name) < 0 || fsync(dir) < 0))
		r = -errno;
	if (r == 0 && ret)
		*ret = sum;
	return say(store, file, r, err);
}

int hive_store_write(struct hive_store *store, const struct hive_store_name *file, const char *text,
		     struct skep_err *err)
{
	_skep_close_ int dir = open_folder(store, file->folder, true);
	_skep_close_ int fd = -1;
	char part[PATH_BYTES];
	int r;

	snprintf(part, sizeof(part), "%s.part", file->name);
	fd = dir < 0 ? dir : open_below(dir, part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	r = fd < 0 ? fd : write_at(fd, &(struct hive_store_bytes){ text, strlen(text), 0 });
	if (r == 0 && (fsync(fd) < 0 || renameat(dir, part, dir, file->name) < 0 || fsync(dir) < 0))
		r = -errno;
	return say(store, file, r, err);
}

int hive_store_text(struct hive_store *store, const struct hive_store_name *file, size_t max, char **ret)
{
	_skep_close_ int fd = -1;
	_skep_free_ char *text = NULL;
	struct stat st;
	ssize_t n;
	int r = hive_store_read(store, file->folder, file->name, &fd);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	n = text ? pread(fd, text, (size_t)st.st_size, 0) : -1;
	if (n != st.st_size)
		return text ? -EIO : -ENOMEM;
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

int hive_store_sum(struct hive_store *store, const struct hive_store_name *file, struct hive_store_sum *ret)
{
	_skep_close_ int fd = -1;
	int r = hive_store_read(store, file->folder, file->name, &fd);

	return r < 0 ? r : hive_store_sum_fd(fd, ret);
}

int hive_store_crc32(struct hive_store *store, const struct hive_store_name *file, uint32_t *ret)
{
	_skep_close_ int fd = -1;
	int r = hive_store_read(store, file->folder, file->name, &fd);

	return r < 0 ? r : hive_store_crc32_fd(fd, ret);
}

int hive_store_folder(struct hive_store *store, const char *folder, int *ret_fd)
{
	int dir = open_folder(store, folder, false);

	if (dir < 0)
		return dir;
	*ret_fd = dir;
	return 0;
}

/* Folders of ours have no folders in them. */
int hive_store_remove(struct hive_store *store, const char *folder)
{
	int dir = open_folder(store, folder, false), r = 0;
	struct dirent *entry;
	DIR *list;

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	list = fdopendir(dir);
	if (!list) {
		r = -errno;
		close(dir);
		return r;
	}
	while ((entry = readdir(list)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    unlinkat(dir, entry->d_name, 0) < 0)
			r = -errno;
	closedir(list);
	return unlinkat(store->fd, folder, AT_REMOVEDIR) < 0 && r == 0 ? -errno : r;
}

int hive_store_space(struct hive_store *store, struct hive_store_space *ret)
{
	struct statvfs fs;
	uint64_t available;

	if (fstatvfs(store->fd, &fs) < 0)
		return -errno;
	available = (uint64_t)fs.f_bavail * fs.f_frsize;
	*ret = (struct hive_store_space){
		.total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize,
		.free_bytes = available > store->reserve_bytes ? available - store->reserve_bytes : 0,
		.reserve_bytes = store->reserve_bytes,
	};
	return 0;
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
