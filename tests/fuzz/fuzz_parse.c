/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any text given to the strict parsers: never a bad access; what is refused leaves the output alone and has a
 * column inside the text; what is taken as a number is taken again, with the same value, when written in its
 * plain form.
 */
#include "common/parse.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define UNTOUCHED 0x5a5a5a5a5a5a5a5aull

static void check(int r, uint64_t value, const struct skep_err *err, const char *text)
{
	if (r == 0)
		return;
	assert(r == SKEP_E_USAGE && value == UNTOUCHED);
	assert(err->column >= 1 && (size_t)err->column <= strlen(text) + 1);
	assert(err->text[0] && err->hint[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_skep_free_ char *text = malloc(size + 1);
	uint64_t bytes = UNTOUCHED, ns = UNTOUCHED, n = UNTOUCHED, again;
	struct skep_err err = SKEP_ERR_NULL;
	uint16_t items[16];
	struct skep_u16_list list = { .items = items, .room = ARRAY_LEN(items), .n = 0 };
	char plain[32];
	int r;

	assert(text);
	memcpy(text, data, size);
	text[size] = '\0';
	r = skep_parse_size("size", text, &bytes, &err);
	check(r, bytes, &err, text);
	if (r == 0) {
		snprintf(plain, sizeof(plain), "%" PRIu64, bytes);
		assert(skep_parse_size("size", plain, &again, NULL) == 0 && again == bytes);
	}
	check(skep_parse_duration("time", text, &ns, &err), ns, &err, text);
	check(skep_parse_uint("count", text, 3, 1000, &n, &err), n, &err, text);
	assert(n == UNTOUCHED || (n >= 3 && n <= 1000));
	r = skep_parse_list("list", text, 500, &list, &err);
	check(r, UNTOUCHED, &err, text);
	assert(list.n <= list.room && (r == 0) == (list.n > 0));
	for (uint32_t i = 0; i < list.n; i++)
		assert(items[i] <= 500);
	return 0;
}
