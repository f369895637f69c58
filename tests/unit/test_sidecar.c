/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that a sidecar comes back as it was written, with 10^5 index entries too; that unknown numbers are
 * null; that odd strings do no harm; that a failed or interrupted write leaves the old file; and that foreign
 * or damaged files are refused in words.
 */
#include "capture/sidecar.h"
#include "tool.h"

static char *dir;
static int dirfd_;

static int make_dir(void **state)
{
	(void)state;
	dir = tool_make_dir();
	dirfd_ = open(dir, O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0;
}

static int remove_dir(void **state)
{
	(void)state;
	close(dirfd_);
	tool_remove_dir(dir);
	return 0;
}

static const struct cap_sidecar_count drops[] = { { "rx_ring_full", 7 },
						  { "disk_full", CAP_SIDECAR_UNKNOWN } };
static const char *const reasons[] = { "the disk was full for 3 s", "7 packets were lost in the ring" };

static struct cap_sidecar full(void)
{
	struct cap_sidecar sc = CAP_SIDECAR_NULL;

	sc.segment = "eth1-q0-000001.pcap.zst";
	sc.job = "j\xc3\xb6"
		 "b";
	sc.link = "eth1";
	sc.queue = 0;
	sc.seq = 1;
	sc.format = "pcap";
	sc.linktype = 1;
	sc.snaplen = 262144;
	sc.filter = "udp port 443 and not host \"x\\y\"";
	sc.clock.known = true;
	sc.clock.error_ns = 1500;
	sc.clock.tai_offset_s = -37;
	sc.first_ns = 1700000000123456789;
	sc.account.seen_pkts = 100;
	sc.account.stored_pkts = 93;
	sc.account.rejected_pkts = 0;
	sc.account.dropped = drops;
	sc.account.n_dropped = ARRAY_LEN(drops);
	sc.bytes_disk = INT64_MAX;
	sc.complete = false;
	sc.reasons = reasons;
	sc.n_reasons = ARRAY_LEN(reasons);
	sc.recovered = true;
	return sc;
}

static void everything_comes_back(void **state)
{
	const struct cap_sidecar sc = full();
	_cap_sidecar_free_ struct cap_sidecar *back = NULL;
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	assert_int_equal(cap_sidecar_write(dirfd_, sc.segment, &sc), 0);
	assert_int_equal(cap_sidecar_read(dirfd_, sc.segment, &back, &err), 0);
	assert_string_equal(back->segment, sc.segment);
	assert_string_equal(back->job, sc.job);
	assert_string_equal(back->filter, sc.filter);
	assert_null(back->driver);
	assert_null(back->sha256);
	assert_int_equal(back->queue, 0);
	assert_int_equal(back->seq, 1);
	assert_int_equal(back->linktype, 1);
	assert_true(back->clock.known);
	assert_false(back->clock.synchronised);
	assert_int_equal(back->clock.error_ns, 1500);
	assert_int_equal(back->clock.tai_offset_s, -37);
	assert_true(back->first_ns == 1700000000123456789);
	assert_true(back->last_ns == CAP_SIDECAR_UNKNOWN);
	assert_true(back->bytes_disk == INT64_MAX);
	assert_int_equal(back->account.seen_pkts, 100);
	assert_int_equal(back->account.rejected_pkts, 0);
	assert_int_equal(back->account.n_dropped, 2);
	for (size_t i = 0; i < 2; i++)
		if (strcmp(back->account.dropped[i].name, "rx_ring_full") == 0)
			assert_int_equal(back->account.dropped[i].pkts, 7);
		else
			assert_true(back->account.dropped[i].pkts == CAP_SIDECAR_UNKNOWN);
	assert_false(back->complete);
	assert_true(back->recovered);
	assert_int_equal(back->n_reasons, 2);
	assert_string_equal(back->reasons[1], reasons[1]);
	assert_int_equal(back->n_index, 0);
}

static void a_large_index_comes_back(void **state)
{
	enum { N = 100000 };
	struct cap_sidecar sc = CAP_SIDECAR_NULL;
	_cap_sidecar_free_ struct cap_sidecar *back = NULL;
	struct cap_sidecar_entry *index = calloc(N, sizeof(*index));

	(void)state;
	for (uint64_t i = 0; i < N; i++)
		index[i] = (struct cap_sidecar_entry){ i << 20,
						       i * 3000000,
						       1u << 20,
						       3000000,
						       i,
						       1700000000000000000 + i,
						       CAP_SIDECAR_UNKNOWN };
	sc.index = index;
	sc.n_index = N;
	assert_int_equal(cap_sidecar_write(dirfd_, "large", &sc), 0);
	assert_int_equal(cap_sidecar_read(dirfd_, "large", &back, NULL), 0);
	assert_int_equal(back->n_index, N);
	assert_memory_equal(back->index, index, N * sizeof(*index));
	free(index);
}

static void odd_strings_do_no_harm(void **state)
{
	struct cap_sidecar sc = CAP_SIDECAR_NULL;
	_cap_sidecar_free_ struct cap_sidecar *back = NULL;

	(void)state;
	sc.filter = "\xff\xfe \x01\n\"\\";
	assert_int_equal(cap_sidecar_write(dirfd_, "odd", &sc), 0);
	assert_int_equal(cap_sidecar_read(dirfd_, "odd", &back, NULL), 0);
	assert_string_equal(back->filter, "?? \x01\n\"\\");
}

static void a_failed_write_leaves_the_old_file(void **state)
{
	struct cap_sidecar sc = CAP_SIDECAR_NULL;
	_cap_sidecar_free_ struct cap_sidecar *back = NULL;
	_skep_free_ char *blocked = NULL;
	_skep_free_ char *leftover = NULL;

	(void)state;
	sc.seq = 1;
	assert_int_equal(cap_sidecar_write(dirfd_, "x", &sc), 0);
	/* The temporary name is a folder that is not empty: nothing can be written. */
	assert_int_equal(mkdirat(dirfd_, ".x.json.tmp", 0700), 0);
	assert_true(asprintf(&blocked, "%s/.x.json.tmp/full", dir) > 0);
	tool_write_file(blocked, "x", 1);
	sc.seq = 2;
	assert_true(cap_sidecar_write(dirfd_, "x", &sc) < 0);
	assert_int_equal(cap_sidecar_read(dirfd_, "x", &back, NULL), 0);
	assert_int_equal(back->seq, 1);
	back = cap_sidecar_free(back);
	assert_int_equal(unlinkat(dirfd_, ".x.json.tmp/full", 0), 0);
	assert_int_equal(unlinkat(dirfd_, ".x.json.tmp", AT_REMOVEDIR), 0);
	/* What a dead writer left is no obstacle. */
	assert_true(asprintf(&leftover, "%s/.x.json.tmp", dir) > 0);
	tool_write_file(leftover, "half", 4);
	assert_int_equal(cap_sidecar_write(dirfd_, "x", &sc), 0);
	assert_int_equal(faccessat(dirfd_, ".x.json.tmp", F_OK, 0), -1);
	assert_int_equal(cap_sidecar_read(dirfd_, "x", &back, NULL), 0);
	assert_int_equal(back->seq, 2);
}

static void bad_files_are_refused_in_words(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} bad[] = {
		{ "", "line 1" },
		{ "{", "line 1" },
		{ "[]", "not a JSON object" },
		{ "{}", "not one of ours" },
		{ "{\"skep_segment\":2}", "version 2" },
		{ "{\"skep_segment\":1,\"queue\":-1}", "/queue" },
		{ "{\"skep_segment\":1,\"queue\":1.5}", "/queue" },
		{ "{\"skep_segment\":1,\"queue\":99999999999999999999}", "line 1" },
		{ "{\"skep_segment\":1,\"linktype\":4294967296}", "/linktype" },
		{ "{\"skep_segment\":1,\"job\":7}", "/job" },
		{ "{\"skep_segment\":1,\"clock\":[]}", "/clock" },
		{ "{\"skep_segment\":1,\"clock\":{\"known\":0}}", "/clock/known" },
		{ "{\"skep_segment\":1,\"account\":{\"dropped\":{\"a\":\"b\"}}}", "/account/dropped/a" },
		{ "{\"skep_segment\":1,\"reasons\":[1]}", "/reasons" },
		{ "{\"skep_segment\":1,\"index\":[]}", "/index_columns" },
		{ "{\"skep_segment\":1,\"queue\":1,\"queue\":2}", "line 1" },
	};
	static const char row[] =
		"{\"skep_segment\":1,\"index_columns\":[\"file_offset\",\"raw_offset\",\"file_bytes\","
		"\"raw_bytes\",\"pkts\",\"ts_first_ns\",\"ts_last_ns\"],\"index\":[[1,2,3,4,5,6,7],[1,2]]}";
	struct cap_sidecar *sc = NULL;
	struct skep_err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		err = (struct skep_err)SKEP_ERR_NULL;
		assert_true(cap_sidecar_parse(bad[i].text, strlen(bad[i].text), &sc, &err) > 0);
		assert_null(sc);
		if (!strstr(err.text, bad[i].says))
			fail_msg("%s: \"%s\" does not name \"%s\"", bad[i].text, err.text, bad[i].says);
	}
	assert_int_equal(cap_sidecar_parse(row, strlen(row), &sc, &err), SKEP_E_BAD_DATA);
	assert_non_null(strstr(err.text, "/index/1"));
	assert_int_equal(cap_sidecar_read(dirfd_, "absent", &sc, &err), -ENOENT);
}

/* A text and the same with a blank in front of its index, which only jansson reads. */
static void check_alike(const char *text, size_t n)
{
	static const char key[] = "\"index\":";
	struct cap_sidecar *quick = NULL, *slow = NULL;
	char *copy = malloc(n + 1);
	const char *at = memmem(text, n, key, sizeof(key) - 1);
	size_t before = at ? (size_t)(at - text) + sizeof(key) - 1 : 0;
	int a, b;

	memcpy(copy, text, before);
	copy[before] = ' ';
	memcpy(copy + before + 1, text + before, n - before);
	a = cap_sidecar_parse(text, n, &quick, NULL);
	b = cap_sidecar_parse(copy, n + 1, &slow, NULL);
	if (a != b)
		fail_msg("%d, but %d by jansson: %.*s", a, b, (int)n, text);
	if (a == 0) {
		assert_int_equal(quick->n_index, slow->n_index);
		for (size_t i = 0; i < quick->n_index; i++)
			assert_memory_equal(&quick->index[i], &slow->index[i], sizeof(*quick->index));
		assert_int_equal(quick->bytes_disk, slow->bytes_disk);
	}
	cap_sidecar_free(quick);
	cap_sidecar_free(slow);
	free(copy);
}

static void the_quick_way_reads_what_jansson_reads(void **state)
{
	static const char odd[] = "0123456789[]{},:\"\\ -+.eEnulst\n";
	const struct cap_sidecar_entry entries[] = {
		{ 6, 24, 100, 900, 3, 1700000000000000000, 1700000000000000009 },
		{ 106, 924, CAP_SIDECAR_UNKNOWN, 0, 0, CAP_SIDECAR_UNKNOWN, INT64_MAX },
	};
	struct cap_sidecar sc = full();
	_skep_free_ char *text = NULL;
	char path[4200];
	uint64_t seed = 7;
	size_t n;

	(void)state;
	sc.index = entries;
	sc.n_index = ARRAY_LEN(entries);
	assert_int_equal(cap_sidecar_write(dirfd_, "quick", &sc), 0);
	(void)snprintf(path, sizeof(path), "%s/quick.json", dir);
	text = tool_read_file(path, &n);
	check_alike(text, n);
	for (size_t cut = 0; cut <= n; cut++)
		check_alike(text, cut);
	for (int i = 0; i < 30000; i++) {
		/* mostly behind the beginning of the index */
		size_t at = tool_random(&seed) % (i % 4 ? 200 : n);
		size_t more = 1 + tool_random(&seed) % 3;
		char *spoilt = malloc(n);

		memcpy(spoilt, text, n);
		for (size_t k = 0; k < more; k++)
			spoilt[(n - 1 - at + k) % n] = odd[tool_random(&seed) % (sizeof(odd) - 1)];
		check_alike(spoilt, n);
		free(spoilt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_comes_back),
		cmocka_unit_test(a_large_index_comes_back),
		cmocka_unit_test(odd_strings_do_no_harm),
		cmocka_unit_test(a_failed_write_leaves_the_old_file),
		cmocka_unit_test(bad_files_are_refused_in_words),
		cmocka_unit_test(the_quick_way_reads_what_jansson_reads),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
