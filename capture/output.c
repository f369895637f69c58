/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * File names. `path` and interface names come from outside: an interface name may hold any byte but '/', so
 * everything that is not harmless in a file name becomes '_'.
 */
#include "capture/output.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *const extensions[] = { ".pcap.zst", ".pcapng.zst", ".pcap", ".pcapng", ".zst" };

static void split_name(struct cap_output *out, const char *name)
{
	size_t n = strlen(name), e = 0;

	for (unsigned i = 0; i < ARRAY_LEN(extensions); i++) {
		size_t m = strlen(extensions[i]);

		if (n > m && strcmp(name + n - m, extensions[i]) == 0) {
			e = m;
			break;
		}
	}
	(void)snprintf(out->stem, sizeof(out->stem), "%.*s", (int)SKEP_MIN(n - e, sizeof(out->stem) - 1), name);
	(void)snprintf(out->ext, sizeof(out->ext), "%s", name + n - e);
}

static int open_dir(struct cap_output *out, const char *dir, struct skep_err *err)
{
	int r;

	(void)snprintf(out->dir, sizeof(out->dir), "%s", dir);
	for (size_t n = strlen(out->dir); n > 1 && out->dir[n - 1] == '/'; n--)
		out->dir[n - 1] = '\0';
	out->dirfd = open(out->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out->dirfd >= 0)
		return 0;
	r = errno == ENOENT ? SKEP_E_NOT_FOUND : -errno;
	skep_err_set(err, r, "cannot open the directory %s: %s", out->dir, strerror(errno));
	if (r > 0)
		skep_err_hint(err, "make it first: mkdir -p '%s'", out->dir);
	return r;
}

static int open_stream(struct cap_output *out, const char *path, struct skep_err *err)
{
	out->kind = CAP_OUTPUT_STREAM;
	out->sidecar = out->digest = false;
	out->stream_fd = strcmp(path, "-") == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_WRONLY | O_CLOEXEC);
	if (out->stream_fd < 0)
		return skep_err_set(err, -errno, "cannot write to %s: %s", path, strerror(errno));
	(void)snprintf(out->stem, sizeof(out->stem), "%s", path);
	return 0;
}

int cap_output_open(struct cap_output *out, const char *path, struct skep_err *err)
{
	struct stat st;
	const char *slash;
	char dir[sizeof(out->dir)];
	size_t n = strlen(path);
	bool exists;

	out->dirfd = out->stream_fd = -1;
	if (strcmp(path, "-") == 0)
		return open_stream(out, path, err);
	if (n == 0)
		return skep_err_set(err, SKEP_E_USAGE, "the name after -w is empty");
	if (n >= sizeof(out->dir))
		return skep_err_set(err, SKEP_E_USAGE, "the name after -w is longer than %zu bytes", sizeof(out->dir) - 1);
	exists = stat(path, &st) == 0;
	if ((exists && S_ISDIR(st.st_mode)) || path[n - 1] == '/') {
		out->kind = CAP_OUTPUT_DIR;
		(void)snprintf(out->ext, sizeof(out->ext), "%s%s", out->pcapng ? ".pcapng" : ".pcap",
			       out->compressed ? ".zst" : "");
		return open_dir(out, path, err);
	}
	if (exists && !S_ISREG(st.st_mode))
		return open_stream(out, path, err);
	out->kind = CAP_OUTPUT_FILE;
	slash = strrchr(path, '/');
	if (slash && slash - path >= (long)sizeof(dir))
		return skep_err_set(err, SKEP_E_USAGE, "the name after -w is too long");
	if (slash)
		(void)snprintf(dir, sizeof(dir), "%.*s", (int)SKEP_MAX(slash - path, 1), path);
	else
		(void)snprintf(dir, sizeof(dir), ".");
	if (strlen(slash ? slash + 1 : path) >= sizeof(out->stem))
		return skep_err_set(err, SKEP_E_USAGE, "the file name after -w is longer than %zu bytes",
				    sizeof(out->stem) - 1);
	split_name(out, slash ? slash + 1 : path);
	return open_dir(out, dir, err);
}

void cap_output_close(struct cap_output *out)
{
	skep_closep(&out->dirfd);
	skep_closep(&out->stream_fd);
}

static void prefix_of(char *ret, size_t n, const char *link, uint32_t queue)
{
	(void)snprintf(ret, n, "%.60s-q%u-", link, queue);
	for (char *p = ret; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.@", *p))
			*p = '_';
	if (ret[0] == '.')
		ret[0] = '_';
}

void cap_output_name(const struct cap_output *out, const char *link, uint32_t queue, uint32_t seq, char *ret,
		     size_t n)
{
	char prefix[96];

	if (out->kind == CAP_OUTPUT_DIR) {
		prefix_of(prefix, sizeof(prefix), link, queue);
		(void)snprintf(ret, n, "%s%06u%s", prefix, seq, out->ext);
	} else if (out->numbered || seq > 1) {
		(void)snprintf(ret, n, "%s-%06u%s", out->stem, seq, out->ext);
	} else {
		(void)snprintf(ret, n, "%s%s", out->stem, out->ext);
	}
}

uint32_t cap_output_first_seq(const struct cap_output *out, const char *link, uint32_t queue)
{
	char prefix[96];
	uint32_t highest = 0;
	struct dirent *d;
	DIR *dir;
	int fd;

	if (out->kind != CAP_OUTPUT_DIR)
		return 1;
	prefix_of(prefix, sizeof(prefix), link, queue);
	fd = openat(out->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		skep_closep(&fd);
		return 1;
	}
	while ((d = readdir(dir))) {
		unsigned long seq;
		char *end;

		if (strncmp(d->d_name, prefix, strlen(prefix)) != 0)
			continue;
		seq = strtoul(d->d_name + strlen(prefix), &end, 10);
		if (*end == '.' && seq < UINT32_MAX)
			highest = SKEP_MAX(highest, (uint32_t)seq);
	}
	closedir(dir);
	return highest + 1;
}

int cap_output_check(const struct cap_output *out, struct skep_err *err)
{
	char name[256], part[264];

	if (out->kind != CAP_OUTPUT_FILE)
		return 0;
	cap_output_name(out, "", 0, 1, name, sizeof(name));
	(void)snprintf(part, sizeof(part), "%s.part", name);
	if (faccessat(out->dirfd, part, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	skep_err_set(err, SKEP_E_BUSY, "%s/%s is there already: another capture is writing it, or one was killed", out->dir,
		     part);
	skep_err_hint(err, "if no capture is running, `skep-capture recover '%s'` ends it properly", out->dir);
	return SKEP_E_BUSY;
}
