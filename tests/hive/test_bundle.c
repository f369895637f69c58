/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: a bundle's length is known before it is read, any part of it reads like the whole, and the same
 * content gives the same bytes and tag; files beyond 4 and 8 GiB, paths beyond 100 bytes and more entries
 * than 65,535 are where Python's zipfile and tarfile, which share nothing with it, look for them.
 */
#include "tests/unit/tool.h"

#include "hive/export/bundle.h"

#include <inttypes.h>

#define GIB (UINT64_C(1) << 30)
#define EDGE 262144
#define MANY 70000

static struct hive_bundle *make(const char *dir, bool zip, const struct hive_bundle_file *files, uint32_t n)
{
	struct hive_bundle_cfg cfg = {
		.zip = zip,
		.top = "dataset-7",
		.created_ns = INT64_C(1700000000) * 1000000000,
		.software = "test",
		.files = files,
		.n_files = n,
		.folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	};
	struct hive_bundle *bundle = NULL;

	assert_int_equal(hive_bundle_new(&cfg, &bundle, NULL), 0);
	return bundle;
}

static void read_all(struct hive_bundle *bundle, uint64_t at, uint8_t *buf, size_t n, size_t piece)
{
	while (n > 0) {
		ssize_t k = hive_bundle_read(bundle, at, buf, SKEP_MIN(n, piece));

		assert_true(k > 0);
		at += (uint64_t)k;
		buf += k;
		n -= (size_t)k;
	}
}

/* The bundle as a file whose middle, the content of a sparse file, is a hole. */
static void write_edges(struct hive_bundle *bundle, const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t bytes = hive_bundle_bytes(bundle), tail = bytes - SKEP_MIN(bytes, (uint64_t)EDGE);
	uint8_t *buf = malloc(EDGE);

	assert_true(fd >= 0 && buf);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	read_all(bundle, 0, buf, (size_t)SKEP_MIN(bytes, (uint64_t)EDGE), EDGE);
	assert_true(pwrite(fd, buf, (size_t)SKEP_MIN(bytes, (uint64_t)EDGE), 0) > 0);
	read_all(bundle, tail, buf, (size_t)(bytes - tail), EDGE);
	assert_true(pwrite(fd, buf, (size_t)(bytes - tail), (off_t)tail) > 0);
	assert_int_equal(hive_bundle_read(bundle, bytes, buf, 1), 0);
	close(fd);
	free(buf);
}

static void python(const char *script, const char *path)
{
	char command[4096];
	FILE *out;
	char text[256] = "";

	snprintf(command, sizeof(command), "/usr/bin/python3 -c '%s' %s 2>&1", script, path);
	out = popen(command, "re");
	assert_non_null(out);
	while (fgets(text, sizeof(text), out))
		print_message("# %s", text);
	assert_int_equal(pclose(out), 0);
}

static void files_beyond_8_gib(void **state)
{
	static const char zip_script[] =
		"import sys, zipfile\n"
		"z = zipfile.ZipFile(sys.argv[1])\n"
		"assert z.getinfo(\"dataset-7/data/large\").file_size == 9 << 30\n"
		"assert z.getinfo(\"dataset-7/data/large\").CRC == 0x12345678\n"
		"assert z.getinfo(\"dataset-7/data/small\").header_offset > 9 << 30\n"
		"assert z.read(\"dataset-7/data/small\") == b\"hello\"\n"
		"assert z.read(\"dataset-7/README.txt\") == b\"words\"\n"
		"assert z.getinfo(\"dataset-7/data/small\").date_time == (2023, 11, 14, 22, 13, 20)\n";
	static const char tar_script[] =
		"import sys, tarfile\n"
		"t = tarfile.open(sys.argv[1])\n"
		"assert t.getmember(\"dataset-7/data/large\").size == 9 << 30\n"
		"assert t.extractfile(\"dataset-7/data/small\").read() == b\"hello\"\n"
		"assert t.extractfile(\"dataset-7/README.txt\").read() == b\"words\"\n"
		"assert {m.mtime for m in t} == {1700000000} and {m.mode for m in t} == {0o644}\n";
	char *dir = tool_make_dir(), large[300], small[300], out[300];
	/* of "hello"; nothing reads the large one, so its sums are made up */
	const struct hive_bundle_file files[] = {
		{ .path = "data/large",
		  .stored = "large",
		  .bytes = 9 * GIB,
		  .crc32 = 0x12345678,
		  .sha256 = "00" },
		{ .path = "data/small", .stored = "small", .bytes = 5, .crc32 = 0x3610a686, .sha256 = "11" },
		{ .path = "README.txt", .text = "words" },
	};
	int fd;

	(void)state;
	snprintf(large, sizeof(large), "%s/large", dir);
	snprintf(small, sizeof(small), "%s/small", dir);
	snprintf(out, sizeof(out), "%s/out", dir);
	fd = open(large, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)(9 * GIB)) < 0) {
		print_message("# no files of 9 GiB here\n");
		skip();
	}
	close(fd);
	tool_write_file(small, "hello", 5);
	for (int zip = 0; zip < 2; zip++) {
		struct hive_bundle *bundle = make(dir, zip, files, ARRAY_LEN(files));

		write_edges(bundle, out);
		python(zip ? zip_script : tar_script, out);
		hive_bundle_free(bundle);
	}
	tool_remove_dir(dir);
}

static void parts_are_the_whole(void **state)
{
	char *dir = tool_make_dir(), path[300], deep[256] = "data/";
	uint8_t content[70000];
	struct hive_bundle_file files[] = {
		{ .path = deep, .stored = "a", .bytes = sizeof(content), .crc32 = 1, .sha256 = "aa" },
		{ .path = "data/empty", .stored = "empty", .bytes = 0, .crc32 = 0, .sha256 = "bb" },
		{ .path = "manifest.json", .text = "{}\n" },
	};

	(void)state;
	memset(deep + 5, 'x', 150);
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 31 >> 3);
	snprintf(path, sizeof(path), "%s/a", dir);
	tool_write_file(path, content, sizeof(content));
	snprintf(path, sizeof(path), "%s/empty", dir);
	tool_write_file(path, "", 0);
	for (int zip = 0; zip < 2; zip++) {
		struct hive_bundle *one = make(dir, zip, files, ARRAY_LEN(files)),
				   *two = make(dir, zip, files, ARRAY_LEN(files));
		size_t n = (size_t)hive_bundle_bytes(one);
		uint8_t *a = malloc(n), *b = malloc(n);

		assert_int_equal(hive_bundle_bytes(two), n);
		assert_string_equal(hive_bundle_etag(one), hive_bundle_etag(two));
		read_all(one, 0, a, n, n);
		read_all(two, 0, b, n, 513);
		assert_memory_equal(a, b, n);
		for (size_t at = 0; at < n; at += 977) {
			read_all(two, at, b, 1, 1);
			assert_int_equal(b[0], a[at]);
		}
		snprintf(path, sizeof(path), "%s/out", dir);
		tool_write_file(path, a, n);
		python("import sys, tarfile, zipfile\n"
		       "p = sys.argv[1]\n"
		       "names = zipfile.ZipFile(p).namelist() if zipfile.is_zipfile(p) else "
		       "tarfile.open(p).getnames()\n"
		       "assert \"dataset-7/data/\" + 150 * \"x\" in names, names\n",
		       path);
		files[0].sha256 = "ab";
		hive_bundle_free(two);
		two = make(dir, zip, files, ARRAY_LEN(files));
		assert_string_not_equal(hive_bundle_etag(one), hive_bundle_etag(two));
		files[0].sha256 = "aa";
		hive_bundle_free(one);
		hive_bundle_free(two);
		free(a);
		free(b);
	}
	tool_remove_dir(dir);
}

static void more_entries_than_16_bits_count(void **state)
{
	struct hive_bundle_file *files = calloc(MANY, sizeof(*files));
	char *dir = tool_make_dir(), path[300], *names = malloc((size_t)MANY * 24);
	struct hive_bundle *bundle;
	uint8_t *all;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		snprintf(names + (size_t)i * 24, 24, "tag%" PRIu32, i);
		files[i] = (struct hive_bundle_file){ .path = names + (size_t)i * 24, .text = "" };
	}
	bundle = make(dir, true, files, MANY);
	all = malloc((size_t)hive_bundle_bytes(bundle));
	read_all(bundle, 0, all, (size_t)hive_bundle_bytes(bundle), 1 << 20);
	snprintf(path, sizeof(path), "%s/out", dir);
	tool_write_file(path, all, (size_t)hive_bundle_bytes(bundle));
	python("import sys, zipfile\n"
	       "assert len(zipfile.ZipFile(sys.argv[1]).namelist()) == 70004\n",
	       path);
	hive_bundle_free(bundle);
	free(all);
	free(files);
	free(names);
	tool_remove_dir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_are_the_whole),
		cmocka_unit_test(files_beyond_8_gib),
		cmocka_unit_test(more_entries_than_16_bits_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
