/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, on real links of an own namespace: what cap_link_query says is what iproute2 made; default routes
 * are seen through VLAN-like stacking (bridge) and both families; the ssh connection is found by address; a
 * wrong name gets a useful refusal; a watch sees down, MTU change and deletion.
 */
#include "capture/affinity.h"
#include "capture/link.h"

#include "netns.h"

static bool in_netns;

static void need_netns(void)
{
	if (!in_netns)
		skip();
}

static void cpu_lists(void **state)
{
	cpu_set_t set;

	(void)state;
	assert_int_equal(cap_affinity_parse("0-3,8", &set), 0);
	assert_int_equal(CPU_COUNT(&set), 5);
	assert_true(CPU_ISSET(8, &set));
	assert_int_equal(cap_affinity_parse("", &set), 0);
	assert_int_equal(CPU_COUNT(&set), 0);
	assert_int_equal(cap_affinity_parse("3-1", &set), -EINVAL);
	assert_int_equal(cap_affinity_parse("1,x", &set), -EINVAL);
	assert_int_equal(cap_affinity_parse("999999", &set), -EINVAL);
	assert_int_equal(cap_affinity_parse("1;2", &set), -EINVAL);
}

static void veth_facts(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_link_info info;

	(void)state;
	need_netns();
	assert_int_equal(netns_run("ip link set vb mtu 3000"), 0);
	assert_int_equal(cap_link_query("vb", &info, &err), 0);
	assert_string_equal(info.name, "vb");
	assert_string_equal(info.kind, "veth");
	assert_string_equal(info.driver, "veth");
	assert_int_equal(info.ifindex, if_nametoindex("vb"));
	assert_true(info.up && info.running && info.ethernet && !info.loopback);
	assert_int_equal(info.mtu, 3000);
	assert_int_equal(info.speed_mbps, 10000);
	assert_int_equal(info.rx_queues, 2);
	assert_int_equal(info.numa_node, -1);
	assert_true(CPU_COUNT(&info.cpus) > 0);
	assert_int_equal(info.xdp_prog_id, 0);
	assert_int_equal(info.xdp_mode, CAP_LINK_XDP_NONE);
	assert_int_not_equal(info.gro, CAP_UNKNOWN);
	assert_int_equal(info.hw_timestamps, CAP_NO);
	assert_false(info.default_route || info.control);
	assert_int_equal(cap_link_check_tap(&info, false, &err), 0);
	if (info.xdp_features >= 0)
		assert_true(info.xdp_features & CAP_LINK_XDP_BASIC);
	assert_int_equal(netns_run("ip link set vb mtu 1500"), 0);
}

static void list_has_all(void **state)
{
	struct cap_link_info *links = NULL;
	size_t n = 0, found = 0;

	(void)state;
	need_netns();
	assert_int_equal(cap_link_list(&links, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		found += strcmp(links[i].name, "lo") == 0 || strcmp(links[i].name, "va") == 0 ||
			 strcmp(links[i].name, "vb") == 0;
	assert_int_equal(found, 3);
	free(links);
}

static void wrong_name(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_link_info info;

	(void)state;
	need_netns();
	assert_int_equal(cap_link_query("vaa", &info, &err), SKEP_E_NOT_FOUND);
	assert_non_null(strstr(err.text, "vaa"));
	assert_non_null(strstr(err.hint, "did you mean 'va'?"));
	assert_non_null(strstr(err.hint, "vb"));
	assert_int_equal(cap_link_query("completely-else", &info, &err), SKEP_E_NOT_FOUND);
	assert_null(strstr(err.hint, "did you mean"));
	assert_non_null(strstr(err.hint, "va"));
	assert_int_equal(cap_link_query("", &info, &err), SKEP_E_NOT_FOUND);
}

static void loopback_is_no_tap(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_link_info info;

	(void)state;
	need_netns();
	assert_int_equal(cap_link_query("lo", &info, &err), 0);
	assert_true(info.loopback);
	assert_int_equal(info.rx_queues, 1);
	assert_int_equal(cap_link_check_tap(&info, false, &err), SKEP_E_UNSAFE);
	assert_int_equal(cap_link_check_tap(&info, true, &err), 0);
}

static bool is_default(const char *name)
{
	struct cap_link_info info;

	assert_int_equal(cap_link_query(name, &info, NULL), 0);
	return info.default_route;
}

static void default_routes(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_link_info info;

	(void)state;
	need_netns();
	assert_false(is_default("va"));
	assert_int_equal(netns_run("ip route add default via 10.9.0.2 dev va table 77"), 0);
	assert_true(is_default("va"));
	assert_false(is_default("vb")); /* the other end of a pair does not stand on va */
	assert_int_equal(cap_link_query("va", &info, NULL), 0);
	assert_int_equal(cap_link_check_tap(&info, false, &err), SKEP_E_UNSAFE);
	assert_non_null(strstr(err.text, "default route"));
	assert_non_null(strstr(err.hint, "--link-role host"));
	assert_int_equal(netns_run("ip route flush table 77"), 0);
	assert_false(is_default("va"));
	assert_int_equal(netns_run("ip -6 route add default dev va"), 0);
	assert_true(is_default("va"));
	assert_int_equal(netns_run("ip -6 route del default dev va"), 0);
	assert_int_equal(
		netns_run("ip route add default nexthop via 10.9.0.2 dev va nexthop via 10.9.0.3 dev va"), 0);
	assert_true(is_default("va"));
	assert_int_equal(netns_run("ip route del default"), 0);
	assert_false(is_default("va"));
}

static void default_route_of_a_bridge(void **state)
{
	(void)state;
	need_netns();
	if (netns_run("ip link add brx type bridge") != 0) {
		print_message("# this kernel has no bridge\n");
		skip();
	}
	assert_int_equal(netns_run("ip link set vb master brx"), 0);
	assert_int_equal(netns_run("ip link set brx up"), 0);
	assert_int_equal(netns_run("ip addr add 10.8.0.1/24 dev brx"), 0);
	assert_int_equal(netns_run("ip route add default via 10.8.0.2 dev brx"), 0);
	assert_true(is_default("brx"));
	assert_true(is_default("vb"));
	assert_false(is_default("va"));
	assert_int_equal(netns_run("ip link del brx"), 0);
	assert_false(is_default("vb"));
}

static void control_connection(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_link_info info;

	(void)state;
	need_netns();
	assert_int_equal(setenv("SSH_CONNECTION", "192.0.2.77 50000 10.9.0.1 22", 1), 0);
	assert_int_equal(cap_link_query("va", &info, NULL), 0);
	assert_true(info.control);
	assert_int_equal(cap_link_check_tap(&info, false, &err), SKEP_E_UNSAFE);
	assert_non_null(strstr(err.text, "ssh"));
	assert_int_equal(cap_link_query("vb", &info, NULL), 0);
	assert_false(info.control);
	/* Our address is elsewhere (loopback), but the answers leave through va. */
	assert_int_equal(setenv("SSH_CONNECTION", "10.9.0.9 50000 ::ffff:127.0.0.1 22", 1), 0);
	assert_int_equal(cap_link_query("va", &info, NULL), 0);
	assert_true(info.control);
	assert_int_equal(setenv("SSH_CONNECTION", "nonsense", 1), 0);
	assert_int_equal(cap_link_query("va", &info, NULL), 0);
	assert_false(info.control);
	assert_int_equal(setenv("SSH_CONNECTION", "192.0.2.77 50000 192.0.2.78 22", 1), 0);
}

static void watch(void **state)
{
	struct cap_link_watch *w = NULL;
	struct cap_link_state s;

	(void)state;
	need_netns();
	assert_int_equal(netns_run("ip link add wa type veth peer name wb"), 0);
	assert_int_equal(cap_link_watch_open((int)if_nametoindex("wa"), &w, NULL), 0);
	assert_int_equal(cap_link_watch_look(w, &s), 0);
	assert_false(s.up);
	assert_int_equal(s.rx_queues, 1);
	assert_int_equal(netns_run("ip link set wa mtu 9000 up"), 0);
	assert_int_equal(cap_link_watch_look(w, &s), 0);
	assert_true(s.up);
	assert_false(s.running); /* the other end is down */
	assert_int_equal(s.mtu, 9000);
	assert_int_equal(netns_run("ip link set wa down"), 0);
	assert_int_equal(netns_run("ip link set wa name wrenamed"), 0);
	assert_int_equal(cap_link_watch_look(w, &s), 0);
	assert_string_equal(s.name, "wrenamed");
	assert_int_equal(netns_run("ip link del wrenamed"), 0);
	assert_int_equal(cap_link_watch_look(w, &s), -ENODEV);
	assert_null(cap_link_watch_free(w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpu_lists),
		cmocka_unit_test(veth_facts),
		cmocka_unit_test(list_has_all),
		cmocka_unit_test(wrong_name),
		cmocka_unit_test(loopback_is_no_tap),
		cmocka_unit_test(default_routes),
		cmocka_unit_test(default_route_of_a_bridge),
		cmocka_unit_test(control_connection),
		cmocka_unit_test(watch),
	};

	/* Whoever runs this may have come by ssh; an address of TEST-NET-1 is on no link here. */
	(void)setenv("SSH_CONNECTION", "192.0.2.77 50000 192.0.2.78 22", 1);
	in_netns = netns_enter();
	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
