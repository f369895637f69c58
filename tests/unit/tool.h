/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_TEST_TOOL_H
#define SKEP_TEST_TOOL_H
/*
 * Files and other people's programs in unit tests: a folder of the test's own, reading and writing, running
 * an oracle. Whatever goes wrong fails the test.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A new folder below $TMPDIR or /tmp; the caller removes it with tool_remove_dir and frees it. */
static inline char *tool_make_dir(void)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = NULL;

	assert_true(asprintf(&dir, "%s/skep-test-XXXXXX", tmp && *tmp ? tmp : "/tmp") > 0);
	assert_non_null(mkdtemp(dir));
	return dir;
}

static inline int tool_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void tool_remove_dir(char *dir)
{
	assert_int_equal(nftw(dir, tool_unlink, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(dir);
}

static inline void tool_write_file(const char *path, const void *data, size_t n)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	for (size_t done = 0; done < n;) {
		const ssize_t w = write(fd, (const char *)data + done, n - done);

		assert_true(w > 0);
		done += (size_t)w;
	}
	assert_int_equal(close(fd), 0);
}

/* The whole file, with a zero byte behind it; the caller frees it. */
static inline char *tool_read_file(const char *path, size_t *ret_n)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *data;
	size_t n = 0;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	data = malloc((size_t)st.st_size + 1);
	assert_non_null(data);
	while (n < (size_t)st.st_size) {
		const ssize_t got = read(fd, data + n, (size_t)st.st_size - n);

		assert_true(got > 0);
		n += (size_t)got;
	}
	close(fd);
	data[n] = '\0';
	if (ret_n)
		*ret_n = n;
	return data;
}

/*
 * Runs a shell command, returns its exit code (128 + signal if it was killed); its stdout, as a text of at
 * most 64 MiB, goes to *ret_out, which the caller frees (NULL: not wanted).
 */
static inline int tool_run(char **ret_out, size_t *ret_n, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static inline int tool_run(char **ret_out, size_t *ret_n, const char *fmt, ...)
{
	char *command = NULL;
	char *out = NULL;
	size_t n = 0;
	size_t room = 0;
	va_list ap;
	FILE *f;
	int status;

	va_start(ap, fmt);
	assert_true(vasprintf(&command, fmt, ap) > 0);
	va_end(ap);
	f = popen(command, "re");
	assert_non_null(f);
	for (;;) {
		if (room - n < 65536) {
			room = room ? 2 * room : 131072;
			assert_true(room <= (128u << 20));
			out = realloc(out, room);
			assert_non_null(out);
		}
		const size_t got = fread(out + n, 1, room - n - 1, f);

		if (got == 0)
			break;
		n += got;
	}
	out[n] = '\0';
	status = pclose(f);
	free(command);
	if (ret_out)
		*ret_out = out;
	else
		free(out);
	if (ret_n)
		*ret_n = n;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The folder of real captures: $SKEP_PCAPS, else ../shared/pcaps beside the sources. It need not exist. */
static inline const char *tool_pcaps(void)
{
	const char *dir = getenv("SKEP_PCAPS");

	return dir && *dir ? dir : SKEP_SOURCE_ROOT "/../shared/pcaps";
}

/* Is the program there? */
static inline bool tool_has(const char *program)
{
	return tool_run(NULL, NULL, "command -v %s >/dev/null 2>&1", program) == 0;
}

/* A small, seeded generator (xorshift64*), so that a failure can be repeated. */
static inline uint64_t tool_random(uint64_t *state)
{
	uint64_t x = *state ? *state : 0x9e3779b97f4a7c15u;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1du;
}

#endif
