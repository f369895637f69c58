/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the journal gives back every record that was acknowledged, whatever a torn write left behind
 * it: cut at each byte, the records before the cut are there, and appending goes on; a damaged record in the
 * middle costs only itself, and is kept.
 */
#include "tests/unit/unit.h"

#include "control/journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define RECORDS 5

static char dir[] = "/tmp/skep-journal-XXXXXX";

struct got {
	int n;
	int values[64];
};

static void on_record(const json_t *record, void *arg)
{
	struct got *got = arg;

	got->values[got->n++] = (int)json_integer_value(json_object_get(record, "n"));
}

static const char *path_of(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static struct ctl_journal *reopen(struct got *got)
{
	struct ctl_journal *journal = NULL;

	*got = (struct got){ 0 };
	assert_int_equal(ctl_journal_open(dir, on_record, got, &journal, NULL), 0);
	return journal;
}

static void append(struct ctl_journal *journal, int n)
{
	json_t *record = json_pack("{s:i,s:s}", "n", n, "text", "line\nend \xc3\xa4");

	assert_int_equal(ctl_journal_append(journal, record), 0);
	json_decref(record);
}

static size_t read_all(char *buf, size_t room)
{
	int fd = open(path_of("journal"), O_RDONLY);
	ssize_t n = read(fd, buf, room);

	assert_true(n >= 0);
	close(fd);
	return (size_t)n;
}

static void write_all(const char *buf, size_t n)
{
	int fd = open(path_of("journal"), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0 && write(fd, buf, n) == (ssize_t)n);
	close(fd);
}

static void fresh(void)
{
	struct got got;
	struct ctl_journal *journal;

	(void)unlink(path_of("journal"));
	journal = reopen(&got);
	assert_int_equal(got.n, 0);
	for (int i = 0; i < RECORDS; i++)
		append(journal, i);
	assert_null(ctl_journal_close(journal));
}

static void test_cut_at_each_byte(void **state)
{
	static char all[4096];
	size_t len;

	(void)state;
	fresh();
	len = read_all(all, sizeof(all));
	for (size_t cut = 0; cut <= len; cut++) {
		struct ctl_journal *journal;
		struct got got;
		int whole = 0;

		for (size_t i = 0; i < cut; i++)
			whole += all[i] == '\n';
		write_all(all, cut);
		journal = reopen(&got);
		assert_int_equal(got.n, whole);
		append(journal, 99);
		(void)ctl_journal_close(journal);
		journal = reopen(&got);
		assert_int_equal(got.n, whole + 1);
		assert_int_equal(got.values[whole], 99);
		(void)ctl_journal_close(journal);
	}
}

static void test_damage_in_the_middle_costs_one_record(void **state)
{
	static char all[4096];
	struct ctl_journal *journal;
	struct got got;
	struct stat st;
	size_t len;
	char *second;

	(void)state;
	fresh();
	len = read_all(all, sizeof(all));
	second = memchr(all, '\n', len);
	second[50] ^= 1;
	write_all(all, len);
	journal = reopen(&got);
	assert_int_equal(got.n, RECORDS - 1);
	assert_int_equal(got.values[1], 2);
	assert_int_equal(stat(path_of("journal.damaged"), &st), 0);
	append(journal, 7);
	(void)ctl_journal_close(journal);
	journal = reopen(&got);
	assert_int_equal(got.n, RECORDS);
	(void)ctl_journal_close(journal);
	(void)unlink(path_of("journal.damaged"));
}

static void test_rewriting(void **state)
{
	static char big[65536];
	json_t *records = json_pack("[{s:i},{s:i}]", "n", 10, "n", 11);
	struct ctl_journal *journal;
	struct got got;

	(void)state;
	fresh();
	journal = reopen(&got);
	assert_false(ctl_journal_is_long(journal));
	assert_int_equal(ctl_journal_rewrite(journal, records), 0);
	json_decref(records);
	memset(big, 'x', sizeof(big));
	append(journal, 12);
	(void)ctl_journal_close(journal);
	journal = reopen(&got);
	assert_int_equal(got.n, 3);
	assert_int_equal(got.values[0], 10);
	assert_int_equal(got.values[2], 12);
	records = json_pack("{s:o}", "text", json_stringn(big, sizeof(big) - 1));
	while (!ctl_journal_is_long(journal))
		assert_int_equal(ctl_journal_append(journal, records), 0);
	json_decref(records);
	(void)ctl_journal_close(journal);
	(void)unlink(path_of("journal"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_each_byte),
		cmocka_unit_test(test_damage_in_the_middle_costs_one_record),
		cmocka_unit_test(test_rewriting),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	(void)unlink(path_of("journal"));
	(void)rmdir(dir);
	return r;
}
