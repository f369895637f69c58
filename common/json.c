/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Strict JSON over jansson, the only file that knows its flags. jansson's own limits hold too: depth 2048,
 * valid UTF-8, no NUL in keys. Never keeps what it is given; no state: any thread.
 */
#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int skep_json_load(const char *what, const char *text, size_t len, json_t **ret, struct skep_err *err)
{
	json_error_t where;
	json_t *json;

	if (len > SKEP_JSON_MAX_BYTES)
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: larger than %u bytes", what, SKEP_JSON_MAX_BYTES);
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
	if (!json) {
		skep_err_set(err, SKEP_E_BAD_DATA, "%s:%d:%d: not valid JSON: %s", what, where.line, where.column, where.text);
		if (err)
			err->column = SKEP_MAX(where.column, 0);
		return SKEP_E_BAD_DATA;
	}
	*ret = json;
	return 0;
}

static int read_all(int fd, size_t len, char *ret_text, size_t *ret_len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = read(fd, ret_text + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*ret_len = done;
	return 0;
}

int skep_json_load_file(const char *path, json_t **ret, struct skep_err *err)
{
	_skep_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_skep_free_ char *text = NULL;
	struct stat st;
	size_t len = 0;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		return skep_err_set(err, r, "%s: cannot be opened: %s", path, strerror(-r));
	}
	if (!S_ISREG(st.st_mode))
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: not a regular file", path);
	if (st.st_size > (off_t)SKEP_JSON_MAX_BYTES)
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: larger than %u bytes", path, SKEP_JSON_MAX_BYTES);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", path);
	r = read_all(fd, (size_t)st.st_size, text, &len);
	if (r < 0)
		return skep_err_set(err, r, "%s: cannot be read: %s", path, strerror(-r));
	return skep_json_load(path, text, len, ret, err);
}
