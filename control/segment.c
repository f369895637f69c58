/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads directories of the spool. A file counts as a segment if its sidecar is beside it and neither is
 * being written. Names come from clients, so they are checked against what an engine calls its files,
 * opened below one directory, and never followed through a link.
 */
#include "control/segment.h"

#include "common/format.h"
#include "common/json.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const endings[] = { ".pcap.zst", ".pcapng.zst", ".pcap", ".pcapng" };

bool ctl_segment_is_one(const char *name)
{
	size_t n = strlen(name);

	if (name[0] == '.' || strchr(name, '/') || n > 240)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		size_t m = strlen(endings[i]);

		if (n > m && !strcmp(name + n - m, endings[i]))
			return true;
	}
	return false;
}

/* The mark is a file beside the segment: it goes where the segment goes, and nowhere else. */
static void mark_name(const char *name, char buf[static 300])
{
	(void)snprintf(buf, 300, "%.240s.collected", name);
}

bool ctl_segment_is_collected(int dir, const char *name)
{
	char mark[300];

	mark_name(name, mark);
	return faccessat(dir, mark, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int ctl_segment_unlink(int dir, const char *name)
{
	char mark[300];

	if (unlinkat(dir, name, 0) < 0)
		return -errno;
	mark_name(name, mark);
	(void)unlinkat(dir, mark, 0);
	(void)snprintf(mark, sizeof(mark), "%.240s.sketch", name); /* helps to find packets in it */
	(void)unlinkat(dir, mark, 0);
	return 0;
}

/* "j" and 18 hexadecimal digits. */
static bool is_job(const char *id)
{
	return id[0] == 'j' && strlen(id) == 19 && strspn(id + 1, "0123456789abcdef") == 18;
}

static int open_dir(const struct ctl_config *cfg, const char *job, uint32_t life)
{
	char path[400];

	if (life <= 1)
		(void)snprintf(path, sizeof(path), "%s/%s", cfg->spool_dir, job);
	else
		(void)snprintf(path, sizeof(path), "%s/%s.%u", cfg->spool_dir, job, life);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static int load_sidecar(int dir, const char *name, json_t **ret)
{
	char path[300], file[64];
	_skep_close_ int fd = -1;

	(void)snprintf(path, sizeof(path), "%s.json", name);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	(void)snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
	return skep_json_load_file(file, ret, NULL);
}

static json_t *time_json(const json_t *sidecar, const char *field)
{
	json_int_t ns = json_integer_value(json_object_get(sidecar, field));
	char text[SKEP_FORMAT_MAX];

	return ns > 0 ? json_string(skep_format_time(text, (uint64_t)ns)) : json_null();
}

/* One row; NULL: it is none after all. */
static json_t *describe(int dir, const char *name, uint32_t life)
{
	_skep_json_ json_t *sidecar = NULL;
	json_t *row = json_object();
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    load_sidecar(dir, name, &sidecar)) {
		json_decref(row);
		return NULL;
	}
	json_object_set_new(row, "name", life > 1 ? json_sprintf("r%u.%s", life, name) : json_string(name));
	json_object_set_new(row, "bytes", json_integer(st.st_size));
	json_object_set(row, "sha256", json_object_get(sidecar, "sha256") ?: json_null());
	json_object_set(row, "link", json_object_get(sidecar, "link") ?: json_null());
	json_object_set(row, "queue", json_object_get(sidecar, "queue") ?: json_null());
	json_object_set(row, "seq", json_object_get(sidecar, "seq") ?: json_null());
	json_object_set(row, "packets",
			json_object_get(json_object_get(sidecar, "account"), "stored_pkts") ?: json_null());
	json_object_set(row, "bytes_raw", json_object_get(sidecar, "bytes_raw") ?: json_null());
	json_object_set_new(row, "first", time_json(sidecar, "first_ns"));
	json_object_set_new(row, "last", time_json(sidecar, "last_ns"));
	json_object_set(row, "complete", json_object_get(sidecar, "complete") ?: json_null());
	json_object_set_new(row, "recovered",
			    json_boolean(json_is_true(json_object_get(sidecar, "recovered"))));
	json_object_set_new(row, "collected", json_boolean(ctl_segment_is_collected(dir, name)));
	return row;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The segments' names in a directory, sorted; freed by the caller, each and all. */
static char **names_in(int fd, size_t *ret_n)
{
	DIR *dir = fdopendir(dup(fd));
	struct dirent *entry;
	char **names = NULL, **more;
	size_t n = 0, room = 0;

	while (dir && (entry = readdir(dir))) {
		if (!ctl_segment_is_one(entry->d_name))
			continue;
		if (n == room) {
			room = room ? 2 * room : 64;
			more = realloc(names, room * sizeof(*names));
			if (!more)
				break;
			names = more;
		}
		names[n] = strdup(entry->d_name);
		n += names[n] != NULL;
	}
	if (dir)
		closedir(dir);
	if (n)
		qsort(names, n, sizeof(*names), by_name);
	*ret_n = n;
	return names;
}

json_t *ctl_segment_list(const struct ctl_config *cfg, const char *job, uint32_t lives)
{
	json_t *list = json_array();

	for (uint32_t life = 1; is_job(job) && life <= lives; life++) {
		_skep_close_ int dir = open_dir(cfg, job, life);
		size_t n = 0;
		char **names = dir >= 0 ? names_in(dir, &n) : NULL;

		for (size_t i = 0; i < n; i++) {
			json_t *row = describe(dir, names[i], life);

			if (row)
				json_array_append_new(list, row);
			free(names[i]);
		}
		free(names);
	}
	return list;
}

/* Sidecars without their segments, in one directory. */
static uint32_t removed_in(int fd, const struct ctl_segments_of *of)
{
	DIR *dir = fdopendir(dup(fd));
	struct dirent *entry;
	uint32_t n = 0;

	while (dir && (entry = readdir(dir))) {
		_skep_json_ json_t *sidecar = NULL;
		size_t len = strlen(entry->d_name);
		char name[256];

		if (len < 6 || strcmp(entry->d_name + len - 5, ".json") != 0)
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)len - 5, entry->d_name);
		if (!ctl_segment_is_one(name) || faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
		    load_sidecar(fd, name, &sidecar))
			continue;
		n += json_integer_value(json_object_get(sidecar, "last_ns")) >= (json_int_t)of->from_ns &&
		     (uint64_t)json_integer_value(json_object_get(sidecar, "first_ns")) <= of->to_ns;
	}
	if (dir)
		closedir(dir);
	return n;
}

uint32_t ctl_segment_removed(const struct ctl_config *cfg, const struct ctl_segments_of *of)
{
	uint32_t n = 0;

	for (uint32_t life = 1; is_job(of->job) && life <= of->lives; life++) {
		_skep_close_ int dir = open_dir(cfg, of->job, life);

		n += dir >= 0 ? removed_in(dir, of) : 0;
	}
	return n;
}

/* "r2.NAME" → 2 and NAME; else 1 and all of it. */
static const char *split_name(const char *name, uint32_t *ret_life)
{
	uint32_t life = 0;
	const char *p = name + 1;

	*ret_life = 1;
	if (name[0] != 'r' || !isdigit((unsigned char)*p))
		return name;
	for (; isdigit((unsigned char)*p) && life < 100000; p++)
		life = 10 * life + (uint32_t)(*p - '0');
	if (*p != '.' || life < 2)
		return name;
	*ret_life = life;
	return p + 1;
}

/* The directory of the segment, and the name of its file. SKEP_E_NOT_FOUND. */
static int locate(const struct ctl_config *cfg, const char *job, const char *name, int *ret_dir,
		  const char **ret_file)
{
	uint32_t life;
	const char *file = split_name(name, &life);
	int dir;

	if (!is_job(job) || !ctl_segment_is_one(file))
		return SKEP_E_NOT_FOUND;
	dir = open_dir(cfg, job, life);
	if (dir < 0)
		return SKEP_E_NOT_FOUND;
	*ret_dir = dir;
	*ret_file = file;
	return 0;
}

/* A complete segment never changes, so these name its bytes, also before the digest is known. */
static void name_bytes(const struct stat *st, char ret[static 80])
{
	(void)snprintf(ret, 80, "%llx-%llx-%llx", (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
		       (unsigned long long)st->st_mtim.tv_sec * SKEP_NSEC_PER_SEC +
			       (unsigned long long)st->st_mtim.tv_nsec);
}

int ctl_segment_open_sidecar(const struct ctl_config *cfg, const char *job, const char *name,
			     struct ctl_segment *ret)
{
	_skep_close_ int dir = -1, fd = -1;
	const char *file;
	struct stat st;
	int r = locate(cfg, job, name, &dir, &file);

	if (r)
		return r;
	if ((size_t)snprintf(ret->name, sizeof(ret->name), "%s.json", file) >= sizeof(ret->name))
		return SKEP_E_NOT_FOUND;
	fd = openat(dir, ret->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return SKEP_E_NOT_FOUND;
	ret->has_sha256 = false;
	name_bytes(&st, ret->etag);
	ret->fd = TAKE_FD(fd);
	return 0;
}

int ctl_segment_open(const struct ctl_config *cfg, const char *job, const char *name, struct ctl_segment *ret)
{
	_skep_close_ int dir = -1, fd = -1;
	_skep_json_ json_t *sidecar = NULL;
	const char *file, *hex;
	struct stat st;
	size_t n = 0;
	int r = locate(cfg, job, name, &dir, &file);

	if (r)
		return r;
	fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || load_sidecar(dir, file, &sidecar))
		return SKEP_E_NOT_FOUND;
	hex = json_string_value(json_object_get(sidecar, "sha256"));
	ret->has_sha256 =
		hex && sodium_hex2bin(ret->sha256, 32, hex, strlen(hex), NULL, &n, NULL) == 0 && n == 32;
	name_bytes(&st, ret->etag);
	(void)snprintf(ret->name, sizeof(ret->name), "%s", file);
	ret->fd = TAKE_FD(fd);
	return 0;
}

int ctl_segment_remove(const struct ctl_config *cfg, const char *job, const char *name)
{
	_skep_close_ int dir = -1;
	const char *file;
	int r = locate(cfg, job, name, &dir, &file);

	r = r ?: ctl_segment_unlink(dir, file);
	return r == -ENOENT ? SKEP_E_NOT_FOUND : r;
}

int ctl_segment_mark(const struct ctl_config *cfg, const char *job, const char *name, const char *sha256)
{
	_skep_close_ int dir = -1, fd = -1;
	_skep_json_ json_t *sidecar = NULL;
	const char *file, *digest;
	char mark[300];
	struct stat st;
	int r = locate(cfg, job, name, &dir, &file);

	if (r)
		return r;
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || load_sidecar(dir, file, &sidecar))
		return SKEP_E_NOT_FOUND;
	digest = json_string_value(json_object_get(sidecar, "sha256"));
	if (!digest || strcasecmp(digest, sha256) != 0)
		return digest ? SKEP_E_BAD_DATA : SKEP_E_BUSY;
	mark_name(file, mark);
	fd = openat(dir, mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	return fd < 0 || fsync(dir) < 0 ? -errno : 0;
}
