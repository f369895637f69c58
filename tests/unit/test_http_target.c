/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that a request target is split before it is decoded, that what two readers could read differently is
 * refused, and that patterns match whole segments only; and that ranges and preconditions are those of RFC
 * 9110.
 */
#include "tests/unit/unit.h"

#include "common/http_range.h"
#include "common/http_target.h"

static void test_good_targets(void **state)
{
	SKEP_CLEANUP(skep_target_fini) struct skep_target t = { 0 };

	(void)state;
	assert_int_equal(skep_target_parse("/a%20b/c+d?x=1%2B2+3&y&z=%26=", &t, NULL), 0);
	assert_int_equal(t.n_segments, 2);
	assert_string_equal(t.segments[0], "a b");
	assert_string_equal(t.segments[1], "c+d");
	assert_string_equal(t.path, "/a b/c+d");
	assert_int_equal(t.n_query, 3);
	assert_string_equal(t.query[0].value, "1+2 3");
	assert_string_equal(t.query[1].name, "y");
	assert_string_equal(t.query[1].value, "");
	assert_string_equal(t.query[2].value, "&=");
}

static void test_root_and_trailing_slash(void **state)
{
	SKEP_CLEANUP(skep_target_fini) struct skep_target root = { 0 }, slash = { 0 };

	(void)state;
	assert_int_equal(skep_target_parse("/", &root, NULL), 0);
	assert_int_equal(root.n_segments, 1);
	assert_string_equal(root.segments[0], "");
	assert_int_equal(skep_target_parse("/a/", &slash, NULL), 0);
	assert_int_equal(slash.n_segments, 2);
	assert_string_equal(slash.path, "/a/");
}

static void test_refused_targets(void **state)
{
	static const char *const bad[] = {
		"",
		"a",
		"*",
		"http://x/",
		"/%00",
		"/%2f",
		"/a/../b",
		"/.",
		"/%2e%2E/x",
		"/%",
		"/%4",
		"/%zz",
		"/a b",
		"/\x80",
		"/a\\b",
		"/a#b",
		"/x?y=%00",
		"/x?y=a b",
		"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct skep_target t = { .n_query = 77 };
		struct skep_err err = SKEP_ERR_NULL;

		assert_int_equal(skep_target_parse(bad[i], &t, &err), SKEP_E_BAD_DATA);
		assert_int_equal(t.n_query, 77);
		assert_true(err.text[0]);
	}
}

static void test_patterns(void **state)
{
	static const struct {
		const char *target, *pattern, *value; /* value of the first parameter; NULL: no match */
	} rows[] = {
		{ "/v1/jobs/j1", "/v1/jobs/{id}", "j1" },
		{ "/v1/jobs/", "/v1/jobs/{id}", NULL },
		{ "/v1/jobs", "/v1/jobs/{id}", NULL },
		{ "/v1/jobs/j1/x", "/v1/jobs/{id}", NULL },
		{ "/v1/jobsx/j1", "/v1/jobs/{id}", NULL },
		{ "/v1/job/j1", "/v1/jobs/{id}", NULL },
		{ "/ui/a/b%20c/d", "/ui/{path*}", "a/b c/d" },
		{ "/ui/", "/ui/{path*}", "" },
		{ "/ui", "/ui/{path*}", "" },
		{ "/", "/{path*}", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		SKEP_CLEANUP(skep_target_fini) struct skep_target t = { 0 };
		struct skep_target_params params = { 0 };

		assert_int_equal(skep_target_parse(rows[i].target, &t, NULL), 0);
		assert_int_equal(skep_target_match(&t, rows[i].pattern, &params), rows[i].value != NULL);
		if (rows[i].value)
			assert_string_equal(params.values[0], rows[i].value);
	}
}

static void test_ranges(void **state)
{
	static const struct {
		const char *range, *if_range;
		unsigned status;
		uint64_t first, length;
	} rows[] = {
		{ NULL, NULL, 200, 0, 1000 },
		{ "bytes=0-0", NULL, 206, 0, 1 },
		{ "bytes=0-", NULL, 206, 0, 1000 },
		{ "bytes=999-", NULL, 206, 999, 1 },
		{ "bytes=1000-", NULL, 416, 0, 0 },
		{ "bytes=-1", NULL, 206, 999, 1 },
		{ "bytes=-5000", NULL, 206, 0, 1000 },
		{ "bytes=-0", NULL, 416, 0, 0 },
		{ "bytes=10-20", NULL, 206, 10, 11 },
		{ "bytes=10-99999", NULL, 206, 10, 990 },
		{ "bytes=20-10", NULL, 200, 0, 1000 },
		{ "bytes=-", NULL, 200, 0, 1000 },
		{ "bytes=a-b", NULL, 200, 0, 1000 },
		{ "bytes=0-1,5-6", NULL, 200, 0, 1000 },
		{ "items=0-1", NULL, 200, 0, 1000 },
		{ "bytes=99999999999999999999-", NULL, 200, 0, 1000 },
		{ "bytes=0-9", "\"tag\"", 206, 0, 10 },
		{ "bytes=0-9", "\"old\"", 200, 0, 1000 },
		{ "bytes=0-9", "W/\"tag\"", 200, 0, 1000 },
		{ "bytes=0-9", "Sat, 21 Nov 2026 00:00:00 GMT", 200, 0, 1000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct skep_range_ask ask = { .range = rows[i].range,
					      .if_range = rows[i].if_range,
					      .etag = "tag",
					      .size_bytes = 1000 };
		struct skep_range got = skep_range_decide(&ask);

		assert_int_equal(got.status, rows[i].status);
		assert_int_equal(got.first, rows[i].first);
		assert_int_equal(got.length, rows[i].length);
	}
}

static void test_preconditions(void **state)
{
	struct skep_range_ask ask = { .etag = "tag", .size_bytes = 10 };

	(void)state;
	ask.if_none_match = "\"a\", W/\"tag\"";
	assert_int_equal(skep_range_decide(&ask).status, 304);
	ask.if_none_match = "\"a\"";
	assert_int_equal(skep_range_decide(&ask).status, 200);
	ask.if_match = "\"tag\"";
	assert_int_equal(skep_range_decide(&ask).status, 200);
	ask.if_match = "W/\"tag\"";
	assert_int_equal(skep_range_decide(&ask).status, 412);
	ask.if_match = "*";
	ask.if_none_match = "*";
	assert_int_equal(skep_range_decide(&ask).status, 304);
	ask.if_match = "\"unfinished";
	assert_int_equal(skep_range_decide(&ask).status, 412);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_targets),	cmocka_unit_test(test_root_and_trailing_slash),
		cmocka_unit_test(test_refused_targets), cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_ranges),		cmocka_unit_test(test_preconditions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
