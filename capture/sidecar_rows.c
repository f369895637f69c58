/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index is nine tenths of a sidecar's text, and all numbers; jansson, which makes an object of each,
 * takes ten times as long for it. Whatever is not exactly as our writer makes it is left to jansson, so this
 * accepts nothing that it would refuse, and never reads behind the text. Any thread.
 */
#include "capture/sidecar_rows.h"

#include <string.h>

/* A number as JSON has it, or null; NULL: anything else, or one that may be too large. */
static const char *scan_number(const char *p, const char *end, uint64_t *ret)
{
	const char *first = p;
	uint64_t v = 0;

	if (end - p >= 4 && memcmp(p, "null", 4) == 0) {
		*ret = CAP_SIDECAR_UNKNOWN;
		return p + 4;
	}
	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		if (v > INT64_MAX / 10 - 1)
			return NULL;
		v = 10 * v + (uint64_t)(*p - '0');
	}
	*ret = v;
	return p == first || (*first == '0' && p > first + 1) ? NULL : p;
}

/* From the "[" of a row to behind its "]"; NULL: it is none. */
static const char *scan_row(const char *p, const char *end, struct cap_sidecar_entry *ret)
{
	uint64_t *v = (uint64_t *)ret;

	for (size_t c = 0; p && c < CAP_SIDECAR_COLUMNS; c++) {
		if (p == end || *p != (c ? ',' : '['))
			return NULL;
		p = scan_number(p + 1, end, &v[c]);
	}
	return p && p < end && *p == ']' ? p + 1 : NULL;
}

/* All of them, and then nothing but the end of the index and of the object. */
static bool scan_rows(const char *p, const char *end, size_t most, struct cap_sidecar_rows *ret)
{
	for (;;) {
		p = ret->n < most ? scan_row(p, end, &ret->v[ret->n]) : NULL;
		if (!p || p == end)
			return false;
		ret->n++;
		if (*p == ']')
			break;
		if (*p++ != ',')
			return false;
	}
	if (end - p < 2 || p[1] != '}')
		return false;
	for (p += 2; p < end; p++)
		if (*p != '\n' && *p != ' ')
			return false;
	return true;
}

bool cap_sidecar_rows_read(const char *text, size_t n, struct cap_sidecar_rows *ret)
{
	/* Not inside of a string: there its quotes would have backslashes. */
	static const char key[] = "\"index\":[[";
	const char *end = text + n, *begin = memmem(text, n, key, sizeof(key) - 1);
	struct cap_sidecar_rows rows = { 0 };
	size_t most = 0;

	if (!begin)
		return false;
	begin += sizeof(key) - 2;
	for (const char *p = begin; (p = memchr(p, '[', (size_t)(end - p))); p++)
		most++;
	rows.at = (size_t)(begin - text);
	rows.v = calloc(most, sizeof(*rows.v));
	if (!rows.v || !scan_rows(begin, end, most, &rows)) {
		free(rows.v);
		return false;
	}
	*ret = rows;
	return true;
}
