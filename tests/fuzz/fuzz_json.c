/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes given to the strict JSON loader: never a bad access; either a value that can be written and read
 * again, or a refusal.
 */
#include "common/json.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_skep_json_ json_t *json = NULL, *again = NULL;
	_skep_free_ char *text = NULL;
	struct skep_err err = SKEP_ERR_NULL;

	if (skep_json_load("input", (const char *)data, size, &json, &err)) {
		assert(!json && err.text[0]);
		return 0;
	}
	text = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
	assert(text);
	assert(skep_json_load("again", text, strlen(text), &again, NULL) == 0);
	assert(json_equal(json, again));
	return 0;
}
