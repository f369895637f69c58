/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Splits and decodes request targets (RFC 3986, 3.3 and 3.4). It looks at the bytes as they were sent,
 * because the HTTP library decodes in place and ends a target at "%00" without a word. Nothing here is ever a
 * path of the file system. No state: any thread.
 */
#include "common/http_target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 3986: unreserved, sub-delims, ':', '@'; and what browsers send raw although they should not. */
static bool allowed(unsigned char c)
{
	return c > 0x20 && c < 0x7f && !strchr("\"<>\\^`#", c);
}

/* Decodes text[0..len) to *out, ends it with NUL, moves *out behind it. plus: '+' is a blank. */
static int decode(const char *text, size_t len, bool plus, char **out, struct skep_err *err)
{
	char *to = *out;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (!allowed(c))
			return skep_err_set(err, SKEP_E_BAD_DATA,
					    "the target holds the byte 0x%02x, which must be sent as %%%02X",
					    c, c);
		if (c == '+' && plus)
			c = ' ';
		if (c == '%') {
			int high = i + 2 < len ? hex(text[i + 1]) : -1;
			int low = high >= 0 ? hex(text[i + 2]) : -1;

			if (low < 0)
				return skep_err_set(err, SKEP_E_BAD_DATA,
						    "the target holds a '%%' without two hexadecimal digits");
			c = (unsigned char)(high << 4 | low);
			i += 2;
			if (c < 0x20 || c == 0x7f)
				return skep_err_set(err, SKEP_E_BAD_DATA,
						    "the target holds the control character %%%02X", c);
		}
		*to++ = (char)c;
	}
	*to++ = '\0';
	*out = to;
	return 0;
}

static int parse_path(const char *path, size_t len, char **out, struct skep_target *target,
		      struct skep_err *err)
{
	const char *end = path + len;
	int r;

	if (len == 0 || *path != '/')
		return skep_err_set(err, SKEP_E_BAD_DATA, "the target does not begin with '/'");
	while (path < end) {
		const char *start = path + 1;
		const char *next = memchr(start, '/', (size_t)(end - start));
		size_t n = (size_t)((next ? next : end) - start);
		char *segment = *out;

		if (target->n_segments == SKEP_TARGET_SEGMENTS)
			return skep_err_set(err, SKEP_E_BAD_DATA, "the target has more than %d segments",
					    SKEP_TARGET_SEGMENTS);
		r = decode(start, n, false, out, err);
		if (r)
			return r;
		if (strchr(segment, '/'))
			return skep_err_set(err, SKEP_E_BAD_DATA, "the target holds an encoded slash (%%2F)");
		if (!strcmp(segment, ".") || !strcmp(segment, ".."))
			return skep_err_set(err, SKEP_E_BAD_DATA, "the target holds the segment \"%s\"",
					    segment);
		target->segments[target->n_segments++] = segment;
		path = start + n;
	}
	return 0;
}

static int parse_query(const char *query, char **out, struct skep_target *target, struct skep_err *err)
{
	while (*query) {
		size_t n = strcspn(query, "&");
		const char *equals = memchr(query, '=', n);
		size_t name_len = equals ? (size_t)(equals - query) : n;
		struct skep_target_pair *pair = &target->query[target->n_query];
		int r;

		if (n) {
			if (target->n_query == SKEP_TARGET_QUERY)
				return skep_err_set(err, SKEP_E_BAD_DATA,
						    "the target has more than %d parameters",
						    SKEP_TARGET_QUERY);
			pair->name = *out;
			r = decode(query, name_len, true, out, err);
			if (r)
				return r;
			pair->value = *out;
			r = decode(equals ? equals + 1 : "", equals ? n - name_len - 1 : 0, true, out, err);
			if (r)
				return r;
			target->n_query++;
		}
		query += n + (query[n] == '&');
	}
	return 0;
}

/* Joins the decoded segments again; each remembers where it begins. */
static void join(struct skep_target *target, char *out)
{
	target->path = out;
	for (uint32_t i = 0; i < target->n_segments; i++) {
		size_t n = strlen(target->segments[i]);

		*out++ = '/';
		target->rest[i] = out;
		memcpy(out, target->segments[i], n);
		out += n;
	}
	*out = '\0';
}

int skep_target_parse(const char *raw, struct skep_target *ret, struct skep_err *err)
{
	SKEP_CLEANUP(skep_target_fini) struct skep_target target = { 0 };
	size_t len = strlen(raw), path_len = strcspn(raw, "?");
	char *out;
	int r;

	if (len > SKEP_TARGET_MAX_BYTES)
		return skep_err_set(err, SKEP_E_BAD_DATA, "the target is longer than %u bytes",
				    SKEP_TARGET_MAX_BYTES);
	target.raw = strdup(raw);
	/* Each text is at most as long as it was raw, and ends where a delimiter was; 2 for a lone name's
	 * value. */
	target.buffer = calloc(1, 2 * len + 2 + path_len + 1);
	if (!target.raw || !target.buffer)
		return skep_err_set(err, -ENOMEM, "no memory for the target");
	out = target.buffer;
	r = parse_path(raw, path_len, &out, &target, err);
	if (r == 0 && raw[path_len])
		r = parse_query(raw + path_len + 1, &out, &target, err);
	if (r)
		return r;
	join(&target, target.buffer + 2 * len + 2);
	*ret = target;
	target = (struct skep_target){ 0 };
	return 0;
}

void skep_target_fini(struct skep_target *target)
{
	free(target->raw);
	free(target->buffer);
	*target = (struct skep_target){ 0 };
}

bool skep_target_match(const struct skep_target *target, const char *pattern, struct skep_target_params *ret)
{
	struct skep_target_params params = { 0 };
	uint32_t n = 0;

	while (*pattern == '/') {
		const char *start = pattern + 1;
		size_t len = strcspn(start, "/");

		if (len > 3 && start[0] == '{' && start[len - 2] == '*') {
			(void)snprintf(params.names[params.n], sizeof(params.names[0]), "%.*s", (int)len - 3,
				       start + 1);
			params.values[params.n++] = n < target->n_segments ? target->rest[n] : "";
			*ret = params;
			return true;
		}
		if (n >= target->n_segments)
			return false;
		if (len > 2 && start[0] == '{') {
			if (!target->segments[n][0] || params.n == SKEP_TARGET_PARAMS)
				return false;
			(void)snprintf(params.names[params.n], sizeof(params.names[0]), "%.*s", (int)len - 2,
				       start + 1);
			params.values[params.n++] = target->segments[n];
		} else if (strlen(target->segments[n]) != len ||
			   memcmp(target->segments[n], start, len) != 0) {
			return false;
		}
		n++;
		pattern = start + len;
	}
	if (n != target->n_segments)
		return false;
	*ret = params;
	return true;
}
