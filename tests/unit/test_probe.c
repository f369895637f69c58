/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, in an own namespace: the probe's JSON is one object with what the links are and what auto would
 * choose; what it says to have tried is what an independent try gives (iproute2 attaching nothing is left,
 * O_DIRECT by dd); the list names every link; no link is changed and no namespace or program stays.
 */
#include "capture/probe.h"
#include "common/json.h"

#include "netns.h"
#include "tool.h"

static bool in_netns;

static json_t *probe(const struct cap_probe_cfg *cfg)
{
	struct skep_err err = SKEP_ERR_NULL;
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	json_t *j = NULL;
	int r = cap_probe_json(cfg, f, &err);

	if (r)
		print_message("# %s\n", err.text);
	assert_int_equal(r, 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(skep_json_load("probe", text, n, &j, &err), 0);
	free(text);
	return j;
}

static const json_t *link_of(const json_t *j, const char *name)
{
	json_t *l;
	size_t i;

	json_array_foreach(json_object_get(j, "links"), i,
			   l) if (strcmp(json_string_value(json_object_get(l, "name")), name) == 0) return l;
	return NULL;
}

static const char *text_at(const json_t *j, const char *a, const char *b)
{
	return json_string_value(json_object_get(json_object_get(j, a), b));
}

static void links(void **state)
{
	struct cap_probe_cfg cfg = { 0 };
	json_t *j;

	(void)state;
	if (!in_netns)
		skip();
	j = probe(&cfg);
	assert_int_equal(json_array_size(json_object_get(j, "links")) >= 3, 1);
	assert_string_equal(text_at(link_of(j, "va"), "auto", "role"), "host"); /* has an address */
	assert_string_equal(text_at(link_of(j, "va"), "auto", "source"), "afpacket");
	assert_string_equal(text_at(link_of(j, "vb"), "auto", "role"), "tap");
	assert_string_equal(text_at(link_of(j, "vb"), "auto", "source"), "xdp");
	assert_string_equal(text_at(link_of(j, "lo"), "auto", "role"), "host");
	assert_int_equal(json_integer_value(json_object_get(link_of(j, "vb"), "rx_queues")), 2);
	assert_true(json_is_null(json_object_get(link_of(j, "vb"), "numa_node")));
	json_decref(j);
}

static void tries(void **state)
{
	char *dir = tool_make_dir(), *before = NULL, *after = NULL;
	struct cap_probe_cfg cfg = { .dir = dir };
	const json_t *t, *direct;
	json_t *j;
	bool dd;

	(void)state;
	if (!in_netns)
		skip();
	assert_int_equal(tool_run(&before, NULL, "ip -d link show | grep -v qlen; ls /proc/self/fd | wc -l"),
			 0);
	j = probe(&cfg);
	assert_int_equal(tool_run(&after, NULL, "ip -d link show | grep -v qlen; ls /proc/self/fd | wc -l"),
			 0);
	assert_string_equal(before, after);
	t = json_object_get(j, "tried");
	/* Whoever can make a namespace and a veth with root's rights can attach in generic mode, on every
	 * kernel that skep runs on. */
	assert_true(json_is_true(json_object_get(json_object_get(t, "xdp_generic"), "works")));
	assert_true(json_is_true(json_object_get(json_object_get(t, "af_xdp"), "works")));
	assert_true(json_is_boolean(json_object_get(json_object_get(t, "bpf_trampoline"), "works")));
	direct = json_object_get(json_object_get(t, "directory"), "direct_io");
	dd = tool_run(NULL, NULL, "dd if=/dev/zero of=%s/f bs=4096 count=1 oflag=direct 2>/dev/null", dir) ==
	     0;
	assert_int_equal(json_is_true(json_object_get(direct, "works")), dd);
	assert_true(json_integer_value(json_object_get(json_object_get(t, "directory"), "free_bytes")) > 0);
	json_decref(j);
	free(before);
	free(after);
	tool_remove_dir(dir);
}

static void named_links_only(void **state)
{
	const char *const names[] = { "vb" }, *const wrong[] = { "vb", "nothere" };
	struct cap_probe_cfg cfg = { .links = names, .n_links = 1 };
	struct skep_err err = SKEP_ERR_NULL;
	json_t *j;

	(void)state;
	if (!in_netns)
		skip();
	j = probe(&cfg);
	assert_int_equal(json_array_size(json_object_get(j, "links")), 1);
	json_decref(j);
	cfg = (struct cap_probe_cfg){ .links = wrong, .n_links = 2 };
	assert_int_equal(cap_probe_json(&cfg, stdout, &err), SKEP_E_NOT_FOUND);
}

static void list(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f;

	(void)state;
	if (!in_netns)
		skip();
	f = open_memstream(&text, &n);
	assert_int_equal(cap_probe_list(f, NULL), 0);
	assert_int_equal(fclose(f), 0);
	assert_non_null(strstr(text, "\nvb "));
	assert_non_null(strstr(text, "tap: xdp"));
	assert_non_null(strstr(text, "\nlo "));
	assert_non_null(strstr(text, "\nany "));
	free(text);
}

static void full_device_is_an_error(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	FILE *f = fopen("/dev/full", "we");

	(void)state;
	assert_non_null(f);
	assert_true(cap_probe_list(f, &err) < 0);
	assert_true(err.text[0] != '\0');
	(void)fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links),
		cmocka_unit_test(tries),
		cmocka_unit_test(named_links_only),
		cmocka_unit_test(list),
		cmocka_unit_test(full_device_is_an_error),
	};

	(void)setenv("SSH_CONNECTION", "192.0.2.77 50000 192.0.2.78 22", 1);
	in_netns = netns_enter();
	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
