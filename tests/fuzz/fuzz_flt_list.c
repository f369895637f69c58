/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes given to the reader of address lists: never a bad access; a refusal has a reason that names the
 * file; an accepted list has what its lines have, its table is sorted and without repetition, and the ranges
 * find every entry.
 */
#include "capture/filter/list.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct flt_prefix *v = NULL;
	struct flt_ranges *ranges = NULL;
	struct flt_lists *l = NULL;
	const struct flt_list_info *info;
	uint32_t index = 7;
	size_t n = 0;
	int r;

	assert(flt_lists_new(&l, &err) == 0);
	r = flt_lists_add(l, "the list", (const char *)data, size, &index, &err);
	if (r) {
		assert(r == SKEP_E_USAGE && strncmp(err.text, "the list", 8) == 0 && index == 7);
		flt_lists_free(l);
		return 0;
	}
	info = flt_lists_info(l, index);
	assert(index == 0 && info && info->entries >= info->ip4 + info->ip6 && info->ip4 + info->ip6 > 0);
	assert(flt_lists_table(l, &v, &n, &err) == 0 && n > 0 && n <= info->ip4 + info->ip6);
	assert(flt_ranges_new(l, &ranges, &err) == 0);
	for (size_t i = 0; i < n; i++) {
		int order = i ? memcmp(v[i - 1].addr, v[i].addr, 16) : -1;

		assert(v[i].mask == 1 && v[i].bits <= (v[i].version == 4 ? 32 : 128));
		assert(i == 0 || v[i - 1].version < v[i].version ||
		       (v[i - 1].version == v[i].version &&
			(order < 0 || (order == 0 && v[i - 1].bits < v[i].bits))));
		assert(flt_ranges_find(ranges, v[i].version, v[i].addr) == 1);
	}
	free(v);
	flt_ranges_free(ranges);
	flt_lists_free(l);
	return 0;
}
