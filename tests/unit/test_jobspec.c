/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that a job in JSON becomes the job that it says: every field, its limits and its default; that every
 * other value of every field is refused with the field's name, what is wrong and what is right; that names
 * cannot leave the engine's folder; and that a budget is a file of two numbers which engines share.
 */
#include "unit.h"
#include "tool.h"

#include "bpf/abi/skep_inner.h"
#include "capture/jobspec.h"
#include "common/json.h"

#include <limits.h>

static const struct cap_jobspec_defaults defaults = { .reserve_bytes = 12345, .direct_io = CAP_OFF };

/* Zero bytes in texts never get through the socket's own reader; they are refused here all the same. */
static int parse(const char *text, struct cap_jobspec *ret, struct skep_err *err)
{
	_skep_json_ json_t *object = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	assert_non_null(object);
	return cap_jobspec_parse(object, &defaults, ret, err);
}

static void take(const char *text, struct cap_jobspec *ret)
{
	struct skep_err err = SKEP_ERR_NULL;

	if (parse(text, ret, &err))
		fail_msg("%s: %s", text, err.text);
}

static void defaults_are_those_of_the_page(void **state)
{
	struct cap_jobspec s;

	(void)state;
	take("{\"name\":\"j\"}", &s);
	assert_string_equal(s.ej.job.name, "j");
	assert_string_equal(s.dir, "j");
	assert_null(s.ej.job.filter_text);
	assert_null(s.ej.job.trim);
	assert_int_equal(s.ej.job.snaplen, CAP_SNAPLEN_MAX);
	assert_true(s.ej.level_auto && !s.ej.job.pcapng && !s.ej.output.pcapng);
	assert_true(!s.ej.job.limits_pkts && !s.ej.job.limits_bytes && !s.ej.job.duration_ns);
	assert_true(atomic_load(&s.ej.job.end_ns) == CAP_NO_LIMIT);
	assert_true(s.ej.job.budget == &s.ej.job.own_budget);
	assert_int_equal(s.ej.job.rotate_disk_bytes, 256u << 20);
	assert_int_equal(s.ej.job.rotate_ns, 0);
	assert_int_equal(s.ej.output.keep_files, 0);
	assert_int_equal(s.ej.output.reserve_bytes, 12345);
	assert_int_equal(s.ej.output.direct_io, CAP_OFF);
	assert_true(s.ej.output.compressed && s.ej.output.sidecar && !s.ej.output.digest);
	assert_true(!s.ej.inside && !s.ej.decap && !flt_reduction_any(&s.ej.reduction));
	cap_jobspec_fini(&s);
}

static void every_field(void **state)
{
	struct cap_jobspec s;

	(void)state;
	take("{\"name\":\"A.b_c-9\",\"dir\":\"folder\",\"filter\":\"udp port 53\",\"inside\":\"vlan,vxlan\","
	       "\"decap\":\"gre\",\"sample\":{\"every\":10,\"by\":\"flow\"},"
	       "\"cutoff\":{\"packets\":3,\"bytes\":4000},"
	       "\"snaplen\":96,\"trim\":\"l4\",\"format\":\"pcapng\",\"level\":-3,"
	       "\"limits\":{\"packets\":5,\"bytes\":600,\"duration_ns\":7000,\"end_ns\":1700000000000000000},"
	       "\"budget\":\"shared\",\"rotate\":{\"bytes\":1048576,\"ns\":100000000},\"keep_files\":4}",
	       &s);
	assert_string_equal(s.ej.job.name, "A.b_c-9");
	assert_string_equal(s.dir, "folder");
	assert_string_equal(s.ej.job.filter_text, "udp port 53");
	assert_int_equal(s.ej.inside, SKEP_INNER_VLAN | SKEP_INNER_VXLAN);
	assert_int_equal(s.ej.decap, SKEP_INNER_GRE);
	assert_true(s.ej.reduction.sample_every == 10 && s.ej.reduction.sample_by_flow);
	assert_true(s.ej.reduction.cutoff_pkts == 3 && s.ej.reduction.cutoff_bytes == 4000);
	assert_int_equal(s.ej.job.snaplen, 96);
	assert_non_null(s.ej.job.trim);
	assert_true(s.ej.job.pcapng && s.ej.output.pcapng);
	assert_true(!s.ej.level_auto && s.ej.level == -3);
	assert_true(s.ej.job.limits_pkts && atomic_load(&s.ej.job.budget->pkts_left) == 5);
	assert_true(s.ej.job.limits_bytes && atomic_load(&s.ej.job.budget->bytes_left) == 600);
	assert_int_equal(s.ej.job.duration_ns, 7000);
	assert_true(atomic_load(&s.ej.job.end_ns) == 1700000000000000000u);
	assert_string_equal(s.budget, "shared");
	assert_true(s.ej.job.rotate_disk_bytes == 1u << 20 && s.ej.job.rotate_ns == 100000000);
	assert_int_equal(s.ej.output.keep_files, 4);
	cap_jobspec_fini(&s);
}

static void other_ways_to_say_it(void **state)
{
	struct cap_jobspec s;

	(void)state;
	take("{\"name\":\"j\",\"snaplen\":0,\"level\":0,\"format\":\"pcap\",\"inside\":\"\",\"decap\":\"\","
	       "\"sample\":{\"every\":2,\"by\":\"packet\"}}",
	       &s);
	assert_int_equal(s.ej.job.snaplen, CAP_SNAPLEN_MAX);
	assert_true(!s.ej.level_auto && s.ej.level == CAP_LEVEL_STORE);
	assert_true(!s.ej.job.pcapng && !s.ej.inside && !s.ej.decap);
	assert_true(s.ej.reduction.sample_every == 2 && !s.ej.reduction.sample_by_flow);
	cap_jobspec_fini(&s);
	/* null is as good as nothing, for programs that write every field */
	take("{\"name\":\"j\",\"filter\":null,\"limits\":null,\"level\":null,\"budget\":null,"
	       "\"sample\":{\"every\":null}}",
	       &s);
	assert_null(s.ej.job.filter_text);
	assert_true(s.ej.level_auto && !s.ej.job.limits_pkts && !s.budget[0]);
	cap_jobspec_fini(&s);
	take("{\"name\":\"j\",\"level\":\"auto\"}", &s);
	assert_true(s.ej.level_auto);
	cap_jobspec_fini(&s);
}

static void refusals(void **state)
{
	/* a job's fields but for the name, and what the sentence begins with */
	static const char *const bad[][2] = {
		{ "\"dir\":\"..\"", "job.dir:" },
		{ "\"dir\":\"a/b\"", "job.dir:" },
		{ "\"dir\":\"\"", "job.dir:" },
		{ "\"dir\":\"-x\"", "job.dir:" },
		{ "\"dir\":\"x\\u0000y\"", "job.dir:" },
		{ "\"dir\":\"\\u00e4\"", "job.dir:" },
		{ "\"budget\":\"../b\"", "job.budget:" },
		{ "\"budget\":7", "job.budget:" },
		{ "\"filter\":7", "job.filter:" },
		{ "\"filter\":\"udp\\u0000tcp\"", "job.filter:" },
		{ "\"filter\":[\"udp\"]", "job.filter:" },
		{ "\"snaplen\":-1", "job.snaplen:" },
		{ "\"snaplen\":262145", "job.snaplen:" },
		{ "\"snaplen\":96.0", "job.snaplen:" },
		{ "\"snaplen\":\"96\"", "job.snaplen:" },
		{ "\"trim\":96", "job.trim:" },
		{ "\"trim\":\"l9\"", "" },
		{ "\"format\":\"erf\"", "job.format:" },
		{ "\"format\":1", "job.format:" },
		{ "\"level\":10", "job.level:" },
		{ "\"level\":-51", "job.level:" },
		{ "\"level\":\"best\"", "job.level:" },
		{ "\"level\":1.5", "job.level:" },
		{ "\"keep_files\":-1", "job.keep_files:" },
		{ "\"keep_files\":100001", "job.keep_files:" },
		{ "\"limits\":5", "job.limits:" },
		{ "\"limits\":{\"packets\":0}", "job.limits.packets:" },
		{ "\"limits\":{\"packets\":-1}", "job.limits.packets:" },
		{ "\"limits\":{\"packets\":true}", "job.limits.packets:" },
		{ "\"limits\":{\"bytes\":0}", "job.limits.bytes:" },
		{ "\"limits\":{\"duration_ns\":0}", "job.limits.duration_ns:" },
		{ "\"limits\":{\"end_ns\":-5}", "job.limits.end_ns:" },
		{ "\"limits\":{\"minutes\":5}", "job.limits: there is no field \"minutes\"" },
		{ "\"rotate\":[]", "job.rotate:" },
		{ "\"rotate\":{\"bytes\":1048575}", "job.rotate.bytes:" },
		{ "\"rotate\":{\"ns\":99999999}", "job.rotate.ns:" },
		{ "\"rotate\":{\"s\":5}", "job.rotate: there is no field \"s\"" },
		{ "\"sample\":10", "job.sample:" },
		{ "\"sample\":{\"every\":0}", "job.sample.every:" },
		{ "\"sample\":{\"every\":4294967296}", "job.sample.every:" },
		{ "\"sample\":{\"by\":\"moon\"}", "job.sample.by:" },
		{ "\"cutoff\":{\"packets\":0}", "job.cutoff.packets:" },
		{ "\"cutoff\":{\"bytes\":0}", "job.cutoff.bytes:" },
		{ "\"cutoff\":{\"seconds\":1}", "job.cutoff: there is no field \"seconds\"" },
		{ "\"inside\":7", "job.inside:" },
		{ "\"inside\":\"tokenring\"", "" },
		{ "\"inside\":\"vlan,\"", "" },
		{ "\"decap\":true", "job.decap:" },
		{ "\"decap\":\"vlan\"", "" },
		{ "\"colour\":\"red\"", "job: there is no field \"colour\"" },
		{ "\"Name\":\"x\"", "job: there is no field \"Name\"" },
		{ "\"\":1", "job: there is no field \"\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_jobspec s;
		char text[256];

		(void)snprintf(text, sizeof(text), "{\"name\":\"j\",%s}", bad[i][0]);
		if (parse(text, &s, &err) != SKEP_E_USAGE)
			fail_msg("%s is not refused", text);
		if (strncmp(err.text, bad[i][1], strlen(bad[i][1])) != 0 || !err.text[0] || !err.hint[0])
			fail_msg("%s: \"%s\" (%s)", text, err.text, err.hint);
		cap_jobspec_fini(&s);
	}
}

static void names(void **state)
{
	static const char *const good[] = { "a", "9", "A.b_c-d", "x..y" };
	static const char *const bad[] = { "",	  ".",	 "..",	 ".a",	   "-a",  "_a",
					   "a/b", "a b", "a\nb", "\xc3\xa4", "a\x7f" };
	char longest[65] = "";

	(void)state;
	memset(longest, 'x', 63);
	assert_true(cap_jobspec_is_name(longest));
	longest[63] = 'x';
	assert_false(cap_jobspec_is_name(longest));
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(cap_jobspec_is_name(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (cap_jobspec_is_name(bad[i]))
			fail_msg("\"%s\" is a name", bad[i]);
}

static void not_a_job(void **state)
{
	static const char *const bad[] = { "[]",	      "{}",	      "7",
					   "\"name\"",	      "null",	      "{\"name\":null}",
					   "{\"name\":7}",    "{\"name\":\"../x\"}",
					   "{\"name\":\"a\\u0000b\"}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_jobspec s;

		assert_int_equal(parse(bad[i], &s, &err), SKEP_E_USAGE);
		assert_true(err.text[0] && err.hint[0]);
		cap_jobspec_fini(&s);
	}
	{
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_jobspec s;

		assert_int_equal(cap_jobspec_parse(NULL, &defaults, &s, &err), SKEP_E_USAGE);
		cap_jobspec_fini(&s);
	}
}

/* ---- what is opened ---- */

struct root {
	char *path;
	int fd;
};

static void open_root(struct root *root)
{
	root->path = tool_make_dir();
	root->fd = open(root->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root->fd >= 0);
}

static void close_root(struct root *root)
{
	close(root->fd);
	tool_remove_dir(root->path);
}

static void a_folder_is_made(void **state)
{
	struct root root;
	char path[PATH_MAX];

	(void)state;
	open_root(&root);
	for (int again = 0; again < 2; again++) { /* and used again */
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_jobspec s;

		take("{\"name\":\"j\",\"dir\":\"d\"}", &s);
		assert_int_equal(cap_jobspec_open(&s, root.fd, root.path, &err), 0);
		assert_int_equal(s.ej.output.kind, CAP_OUTPUT_DIR);
		cap_jobspec_fini(&s);
	}
	(void)snprintf(path, sizeof(path), "%s/d", root.path);
	assert_int_equal(access(path, R_OK | W_OK | X_OK), 0);
	(void)snprintf(path, sizeof(path), "%s/file", root.path);
	tool_write_file(path, "", 0);
	{
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_jobspec s;

		take("{\"name\":\"file\"}", &s);
		assert_true(cap_jobspec_open(&s, root.fd, root.path, &err) != 0);
		assert_true(err.text[0] != '\0');
		cap_jobspec_fini(&s);
	}
	close_root(&root);
}

static int open_with_budget(const struct root *root, struct cap_jobspec *s, struct skep_err *err)
{
	take("{\"name\":\"j\",\"limits\":{\"packets\":1},\"budget\":\"b\"}", s);
	return cap_jobspec_open(s, root->fd, root->path, err);
}

static void a_budget_is_shared(void **state)
{
	const int64_t numbers[2] = { 100, 2000 };
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_jobspec one, two;
	struct root root;
	char path[PATH_MAX];

	(void)state;
	open_root(&root);
	(void)snprintf(path, sizeof(path), "%s/b", root.path);
	tool_write_file(path, numbers, sizeof(numbers));
	assert_int_equal(open_with_budget(&root, &one, &err), 0);
	assert_int_equal(open_with_budget(&root, &two, &err), 0);
	assert_int_equal(cap_job_take_pkts(&one.ej.job, 70), 70);
	assert_int_equal(cap_job_take_pkts(&two.ej.job, 70), 30);
	assert_int_equal(cap_job_take_pkts(&one.ej.job, 1), 0);
	cap_jobspec_fini(&one);
	cap_jobspec_fini(&two);
	close_root(&root);
}

static void what_is_no_budget(void **state)
{
	char path[PATH_MAX], outside[PATH_MAX];

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_jobspec s;
		struct root root;
		int r;

		open_root(&root);
		(void)snprintf(path, sizeof(path), "%s/b", root.path);
		(void)snprintf(outside, sizeof(outside), "%s/other", root.path);
		tool_write_file(outside, "0123456789abcdef", 16);
		if (i == 1)
			tool_write_file(path, "0123456789abcde", 15);
		if (i == 2)
			assert_int_equal(mkdir(path, 0700), 0);
		if (i == 3)
			assert_int_equal(symlink(outside, path), 0);
		if (i == 4)
			assert_int_equal(mkfifo(path, 0600), 0);
		r = open_with_budget(&root, &s, &err);
		if (r == 0 || strncmp(err.text, "job.budget:", 11) != 0)
			fail_msg("case %d: %d, \"%s\"", i, r, err.text);
		cap_jobspec_fini(&s);
		close_root(&root);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_page),
		cmocka_unit_test(every_field),
		cmocka_unit_test(other_ways_to_say_it),
		cmocka_unit_test(refusals),
		cmocka_unit_test(names),
		cmocka_unit_test(not_a_job),
		cmocka_unit_test(a_folder_is_made),
		cmocka_unit_test(a_budget_is_shared),
		cmocka_unit_test(what_is_no_budget),
	};

	return cmocka_run_group_tests_name("jobspec", tests, NULL, NULL);
}
