/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the file source gives every frame of a file in order and byte for byte, whether plain, zstd, in
 * several zstd frames, pcapng or on standard input; that it never blocks on a pipe; and that what cannot be
 * read is refused, or ends with a reason, in words.
 */
#include "capture/capwrite.h"
#include "capture/source.h"
#include "tool.h"

static char *dir;

static int make_dir(void **state)
{
	(void)state;
	dir = tool_make_dir();
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	tool_remove_dir(dir);
	return 0;
}

static const char *in_dir(const char *name)
{
	static char path[4096];

	assert_true(snprintf(path, sizeof(path), "%s/%s", dir, name) > 0);
	return path;
}

enum { N = 1000 };

static uint32_t length(uint32_t i)
{
	return i * 37 % 3000;
}

/* N records whose bytes and lengths follow from their number. */
static size_t make_pcap(uint8_t *p)
{
	uint8_t *start = p;

	cap_capwrite_pcap_header(p, CAP_SNAPLEN_MAX, 1);
	p += CAP_CAPWRITE_PCAP_HEADER_BYTES;
	for (uint32_t i = 0; i < N; i++) {
		cap_capwrite_pcap_record(p, 1700000000000000000 + i, length(i), length(i) + i % 2);
		p += CAP_CAPWRITE_PCAP_RECORD_BYTES;
		memset(p, (int)i, length(i));
		p += length(i);
	}
	return (size_t)(p - start);
}

static void expect_frame(const struct cap_frame *f, uint32_t i)
{
	assert_int_equal(f->cap_len, length(i));
	assert_int_equal(f->len, length(i));
	assert_int_equal(f->wire_len, length(i) + i % 2);
	assert_int_equal(f->ts_ns, 1700000000000000000 + i);
	assert_int_equal(f->frag_n, 0);
	assert_true(f->jobs == UINT64_MAX);
	for (uint32_t b = 0; b < f->cap_len; b++)
		assert_int_equal(f->data[b], (uint8_t)i);
}

/* Reads to the end; returns how it ended. *ret_n: frames, which must be the first ones of make_pcap. */
static int read_all(struct cap_tap *tap, uint32_t *ret_n)
{
	static struct cap_batch batch;
	struct cap_source *src = tap->sources[0];
	uint32_t n = 0;
	int r;

	for (;;) {
		r = src->ops->receive(src, &batch);
		if (r == 0) {
			src->ops->wait(src, 1000000);
			continue;
		}
		if (r < 0)
			break;
		assert_int_equal(r, batch.n);
		for (uint32_t i = 0; i < batch.n; i++)
			expect_frame(&batch.frames[i], n++);
		src->ops->release(src, &batch);
	}
	*ret_n = n;
	return r;
}

static void expect_all(const char *path)
{
	const struct cap_source_cfg cfg = { .link = path, .kind = CAP_SOURCE_FILE };
	struct cap_kernel_account account;
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL;
	uint32_t n;

	if (cap_source_file.open(&cfg, &tap, &err))
		fail_msg("%s", err.text);
	assert_int_equal(tap->linktype, 1);
	assert_true(tap->lossless);
	assert_int_equal(tap->n_sources, 1);
	assert_int_equal(cap_source_file.start(tap, &err), 0);
	assert_int_equal(read_all(tap, &n), -ENODATA);
	assert_int_equal(n, N);
	cap_source_file.account(tap, &account);
	assert_int_equal(account.offered, N);
	assert_int_equal(cap_source_file.check(tap, &err), 0);
	cap_source_file.stop(tap);
	assert_null(cap_source_file.close(tap));
}

static void every_container_gives_the_same(void **state)
{
	uint8_t *file = malloc(8u << 20);
	const size_t n = make_pcap(file);

	(void)state;
	tool_write_file(in_dir("a.pcap"), file, n);
	free(file);
	expect_all(in_dir("a.pcap"));
	if (!tool_has("zstd"))
		skip();
	/* One frame; several, cut anywhere, with a checksum; and a name that says nothing. */
	assert_int_equal(tool_run(NULL, NULL,
				  "cd '%s' && zstd -q a.pcap -o one.zst && (head -c 100001 a.pcap | zstd -q; "
				  "tail -c +100002 a.pcap | zstd -q --check -19) > several",
				  dir),
			 0);
	expect_all(in_dir("one.zst"));
	expect_all(in_dir("several"));
	if (!tool_has("editcap"))
		skip();
	assert_int_equal(
		tool_run(NULL, NULL, "cd '%s' && editcap -F pcapng a.pcap a.pcapng && zstd -q a.pcapng", dir),
		0);
	expect_all(in_dir("a.pcapng"));
	expect_all(in_dir("a.pcapng.zst"));
}

static void standard_input_does_not_block(void **state)
{
	const struct cap_source_cfg cfg = { .link = "-", .kind = CAP_SOURCE_FILE };
	const int saved = dup(STDIN_FILENO);
	static struct cap_batch batch;
	struct cap_tap *tap = NULL;
	uint8_t *file = malloc(8u << 20);
	const uint32_t first = CAP_CAPWRITE_PCAP_HEADER_BYTES + CAP_CAPWRITE_PCAP_RECORD_BYTES + length(0);
	int fds[2];

	(void)state;
	(void)make_pcap(file);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
	close(fds[0]);
	assert_int_equal(write(fds[1], file, first + 5), first + 5);
	assert_int_equal(cap_source_file.open(&cfg, &tap, NULL), 0);
	assert_string_equal(tap->link, "stdin");
	assert_int_equal(tap->sources[0]->ops->receive(tap->sources[0], &batch), 1);
	tap->sources[0]->ops->release(tap->sources[0], &batch);
	/* Half a record is there, no more: nothing to give, and no waiting. */
	assert_int_equal(tap->sources[0]->ops->receive(tap->sources[0], &batch), 0);
	assert_int_equal(write(fds[1], file + first + 5, 48), 48);
	assert_int_equal(tap->sources[0]->ops->receive(tap->sources[0], &batch), 1);
	expect_frame(&batch.frames[0], 1);
	tap->sources[0]->ops->release(tap->sources[0], &batch);
	close(fds[1]);
	assert_int_equal(tap->sources[0]->ops->receive(tap->sources[0], &batch), -ENODATA);
	cap_source_file.close(tap);
	assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	close(saved);
	free(file);
}

/* Opens, reads what there is, and returns what check() says then. */
static uint32_t read_broken(const char *path, struct skep_err *err)
{
	const struct cap_source_cfg cfg = { .link = path, .kind = CAP_SOURCE_FILE };
	struct cap_tap *tap = NULL;
	uint32_t n = 0;

	assert_int_equal(cap_source_file.open(&cfg, &tap, err), 0);
	assert_int_equal(read_all(tap, &n), -EBADMSG);
	assert_int_equal(cap_source_file.check(tap, err), SKEP_E_BAD_DATA);
	cap_source_file.close(tap);
	return n;
}

static void torn_files_give_what_is_whole(void **state)
{
	uint8_t *file = malloc(8u << 20);
	const size_t n = make_pcap(file);
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	tool_write_file(in_dir("cut.pcap"), file, n - 1);
	free(file);
	assert_int_equal(read_broken(in_dir("cut.pcap"), &err), N - 1);
	assert_non_null(strstr(err.text, "cut off"));
	if (!tool_has("zstd"))
		skip();
	assert_int_equal(
		tool_run(NULL, NULL,
			 "cd '%s' && zstd -q a.pcap -o whole.zst && head -c 10000 whole.zst > cut.zst && "
			 "(cat whole.zst; echo garbage) > more.zst",
			 dir),
		0);
	assert_true(read_broken(in_dir("more.zst"), &err) == N);
	assert_non_null(strstr(err.text, "Unknown frame descriptor"));
	(void)read_broken(in_dir("cut.zst"), &err);
	assert_non_null(strstr(err.text, "does not end"));
}

static void refusals_are_in_words(void **state)
{
	static const struct {
		const char *make;
		const char *name;
		int code;
		const char *says;
	} cases[] = {
		{ "true", "absent", SKEP_E_NOT_FOUND, "no such file" },
		{ "mkdir folder", "folder", SKEP_E_USAGE, "folder" },
		{ "gzip -c a.pcap > a.gz", "a.gz", SKEP_E_BAD_DATA, "gzip" },
		{ ": > empty", "empty", SKEP_E_BAD_DATA, "empty" },
		{ "echo hello > text", "text", SKEP_E_BAD_DATA, "neither pcap nor pcapng" },
		{ "echo hello | zstd -q > text.zst", "text.zst", SKEP_E_BAD_DATA, "neither pcap nor pcapng" },
		{ "zstd -q < /dev/null > nothing.zst", "nothing.zst", SKEP_E_BAD_DATA, "empty" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap = NULL;
		const struct cap_source_cfg cfg = { .link = in_dir(cases[i].name) };

		assert_int_equal(tool_run(NULL, NULL, "cd '%s' && %s", dir, cases[i].make), 0);
		assert_int_equal(cap_source_file.open(&cfg, &tap, &err), cases[i].code);
		assert_null(tap);
		if (!strstr(err.text, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_container_gives_the_same),
		cmocka_unit_test(standard_input_does_not_block),
		cmocka_unit_test(torn_files_give_what_is_whole),
		cmocka_unit_test(refusals_are_in_words),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
