/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves where files go and what they are called: by what -w names, with names of links that are hostile,
 * behind what is there already, so that nothing is overwritten; and that what cannot be written to is refused
 * in words.
 */
#include "tool.h"
#include "unit.h"

#include "capture/output.h"

#include <limits.h>

static char *dir;
static char here[PATH_MAX];

/* Each test in a folder of its own, which is the present one. */
static int enter(void **state)
{
	(void)state;
	dir = tool_make_dir();
	return getcwd(here, sizeof(here)) ? chdir(dir) : -1;
}

static int leave(void **state)
{
	(void)state;
	if (chdir(here) < 0)
		return -1;
	tool_remove_dir(dir);
	return 0;
}

static void opens(struct cap_output *out, const char *path)
{
	struct skep_err err = SKEP_ERR_NULL;

	if (cap_output_open(out, path, &err))
		fail_msg("%s: %s", path, err.text);
}

static void names_of_files(void **state)
{
	static const struct {
		const char *path, *dir, *first, *second, *numbered;
	} cases[] = {
		{ "a.pcap.zst", ".", "a.pcap.zst", "a-000002.pcap.zst", "a-000001.pcap.zst" },
		{ "./a.pcapng", ".", "a.pcapng", "a-000002.pcapng", "a-000001.pcapng" },
		{ "sub/b.c.pcapng.zst", "sub", "b.c.pcapng.zst", "b.c-000002.pcapng.zst",
		  "b.c-000001.pcapng.zst" },
		{ "sub//plain", "sub", "plain", "plain-000002", "plain-000001" },
		{ "x.zst", ".", "x.zst", "x-000002.zst", "x-000001.zst" },
		{ ".pcap", ".", ".pcap", ".pcap-000002", ".pcap-000001" },
		{ "a.pcap.gz", ".", "a.pcap.gz", "a.pcap.gz-000002", "a.pcap.gz-000001" },
		{ "%s%n.pcap", ".", "%s%n.pcap", "%s%n-000002.pcap", "%s%n-000001.pcap" },
		{ "/nowhere.pcap", "/", "nowhere.pcap", "nowhere-000002.pcap", "nowhere-000001.pcap" },
	};
	char name[300];

	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cap_output out = { 0 };

		opens(&out, cases[i].path);
		assert_int_equal(out.kind, CAP_OUTPUT_FILE);
		assert_string_equal(out.dir, cases[i].dir);
		cap_output_name(&out, "eth0", 3, 1, name, sizeof(name));
		assert_string_equal(name, cases[i].first);
		cap_output_name(&out, "eth0", 3, 2, name, sizeof(name));
		assert_string_equal(name, cases[i].second);
		out.numbered = true;
		cap_output_name(&out, "eth0", 3, 1, name, sizeof(name));
		assert_string_equal(name, cases[i].numbered);
		assert_int_equal(cap_output_first_seq(&out, "eth0", 3), 1);
		cap_output_close(&out);
		assert_int_equal(out.dirfd, -1);
	}
}

static void names_in_a_folder(void **state)
{
	static const struct {
		const char *link, *name;
	} cases[] = {
		{ "eth0", "eth0-q2-000007.pcapng.zst" },
		{ "../../etc/x", "_._.._etc_x-q2-000007.pcapng.zst" },
		{ ".hidden", "_hidden-q2-000007.pcapng.zst" },
		{ "a b\n\t;$(x)", "a_b___$(x)-q2-000007.pcapng.zst" },
		{ "veth1.100@if7", "veth1.100@if7-q2-000007.pcapng.zst" },
		{ "\xc3\xa4", "__-q2-000007.pcapng.zst" },
	};
	struct cap_output out = { .pcapng = true, .compressed = true };
	char name[300];

	(void)state;
	assert_int_equal(mkdir("seg", 0700), 0);
	opens(&out, "seg/");
	assert_int_equal(out.kind, CAP_OUTPUT_DIR);
	assert_string_equal(out.dir, "seg");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cap_output_name(&out, cases[i].link, 2, 7, name, sizeof(name));
		assert_null(strchr(name, '/'));
		assert_true(name[0] != '.');
		for (const char *p = name; *p; p++)
			assert_true(*p > ' ' && *p < 127 && !strchr(";$()|&<>'\"\\*?", *p));
		if (i != 1 && i != 3)
			assert_string_equal(name, cases[i].name);
	}
	cap_output_close(&out);
	out = (struct cap_output){ 0 };
	opens(&out, "seg"); /* without the slash it is the same folder */
	assert_int_equal(out.kind, CAP_OUTPUT_DIR);
	cap_output_name(&out, "eth0", 0, 1234567, name, sizeof(name));
	assert_string_equal(name, "eth0-q0-1234567.pcap");
	cap_output_close(&out);
}

static void nothing_is_overwritten(void **state)
{
	static const char *const there[] = {
		"eth0-q1-000003.pcap",
		"eth0-q1-000007.pcap.zst.part", /* torn: its number is taken too */
		"eth0-q1-000005.pcap.json",
		"eth0-q11-000900.pcap",
		"eth0-q1-eth0-q1-000800.pcap",
		"eth0-q1-99999999999999999999.pcap",
		"eth0-q1-.pcap",
		"eth0-q1-00abc.pcap",
		"xeth0-q1-000700.pcap",
		"eth0-q1-000600",
	};
	struct cap_output out = { 0 };

	(void)state;
	opens(&out, "./");
	assert_int_equal(cap_output_first_seq(&out, "eth0", 1), 1);
	for (size_t i = 0; i < ARRAY_LEN(there); i++)
		tool_write_file(there[i], "", 0);
	assert_int_equal(cap_output_first_seq(&out, "eth0", 1), 8);
	assert_int_equal(cap_output_first_seq(&out, "eth0", 11), 901);
	assert_int_equal(cap_output_first_seq(&out, "eth0", 2), 1);
	assert_int_equal(cap_output_first_seq(&out, "eth0", 1), 8); /* and again: the folder is read anew */
	cap_output_close(&out);
}

static void a_torn_file_is_not_taken(void **state)
{
	struct cap_output out = { 0 };
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	opens(&out, "a.pcap");
	assert_int_equal(cap_output_check(&out, &err), 0);
	tool_write_file("a.pcap", "old", 3);
	assert_int_equal(cap_output_check(&out, &err), 0); /* replaced by a whole one, later */
	assert_int_equal(symlink("/nonexistent", "a.pcap.part"), 0);
	assert_int_equal(cap_output_check(&out, &err), SKEP_E_BUSY);
	assert_non_null(strstr(err.text, "a.pcap.part"));
	assert_non_null(strstr(err.hint, "recover"));
	out.numbered = true;
	assert_int_equal(cap_output_check(&out, &err), 0);
	tool_write_file("a-000001.pcap.part", "", 0);
	assert_int_equal(cap_output_check(&out, &err), SKEP_E_BUSY);
	cap_output_close(&out);
}

static void streams(void **state)
{
	struct cap_output out = { .sidecar = true, .digest = true };
	int fifo;

	(void)state;
	opens(&out, "-");
	assert_int_equal(out.kind, CAP_OUTPUT_STREAM);
	assert_true(out.stream_fd > STDERR_FILENO); /* its own: closing it leaves stdout alone */
	assert_int_equal(fcntl(out.stream_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_false(out.sidecar || out.digest);
	cap_output_close(&out);
	assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0);
	opens(&out, "/dev/null");
	assert_int_equal(out.kind, CAP_OUTPUT_STREAM);
	cap_output_close(&out);
	assert_int_equal(mkfifo("pipe", 0600), 0);
	fifo = open("pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	opens(&out, "pipe");
	assert_int_equal(out.kind, CAP_OUTPUT_STREAM);
	assert_int_equal(write(out.stream_fd, "x", 1), 1);
	assert_int_equal(cap_output_check(&out, NULL), 0);
	cap_output_close(&out);
	close(fifo);
}

static void refusals(void **state)
{
	struct cap_output out = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	char path[2000];

	(void)state;
	assert_int_equal(cap_output_open(&out, "absent/x.pcap", &err), SKEP_E_NOT_FOUND);
	assert_true(strstr(err.text, "absent") && strstr(err.hint, "mkdir -p 'absent'"));
	assert_int_equal(cap_output_open(&out, "absent/", NULL), SKEP_E_NOT_FOUND);
	tool_write_file("file", "", 0);
	assert_int_equal(cap_output_open(&out, "file/x.pcap", &err), -ENOTDIR);
	assert_non_null(strstr(err.text, "Not a directory"));
	assert_int_equal(cap_output_open(&out, "", &err), SKEP_E_USAGE);
	memset(path, 'n', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(cap_output_open(&out, path, &err), SKEP_E_USAGE);
	path[210] = '\0';
	assert_int_equal(cap_output_open(&out, path, &err), SKEP_E_USAGE);
	assert_non_null(strstr(err.text, "longer than 199 bytes"));
	path[199] = '\0';
	opens(&out, path);
	cap_output_close(&out);
	cap_output_close(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_of_files, enter, leave),
		cmocka_unit_test_setup_teardown(names_in_a_folder, enter, leave),
		cmocka_unit_test_setup_teardown(nothing_is_overwritten, enter, leave),
		cmocka_unit_test_setup_teardown(a_torn_file_is_not_taken, enter, leave),
		cmocka_unit_test_setup_teardown(streams, enter, leave),
		cmocka_unit_test_setup_teardown(refusals, enter, leave),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
