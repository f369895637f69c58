/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts what `quic` takes of real captures against Wireshark's dissectors (tshark's quic and gquic), packet
 * by packet: on every capture whose name says quic, and on all others where the preset takes anything. Prints
 * precision and recall, and insists on the numbers that were seen. Needs the captures ($SKEP_PCAPS), and
 * tshark 4.0 for the comparison; says so where they are not.
 *
 * Also: every preset has a meaning, compiles beside others.
 */
#include "tests/unit/tool.h"

#include "capture/filter/eval.h"
#include "capture/filter/front.h"
#include "capture/filter/preset.h"

#include <dirent.h>
#include <pcap/pcap.h>

#define PACKETS_MAX 200000u

/* What was seen: packets of the capture, taken by the preset, QUIC to tshark 4.0, and both. */
static const struct seen {
	const char *file;
	uint32_t packets, taken, quic, both;
} seen[] = {
	{ "ndpi-os_detected.pcapng", 1, 1, 1, 1 },
	{ "ndpi-quic-mvfst-27.pcapng", 20, 20, 20, 20 },
	{ "ndpi-quic_frags_different_dcid.pcapng", 3, 3, 3, 3 },
	{ "ndpi-quic_q39.pcap", 60, 0, 60, 0 },
	{ "ndpi-quic_q43.pcap", 2, 0, 2, 0 },
	{ "ndpi-quic_q46_b.pcap", 20, 20, 20, 20 },
	{ "ndpi-sites.pcapng", 699, 6, 6, 6 },
	{ "ndpi-snapchat_call.pcapng", 50, 50, 50, 50 },
};

static const struct seen *find_seen(const char *file)
{
	for (size_t i = 0; i < ARRAY_LEN(seen); i++)
		if (strcmp(seen[i].file, file) == 0)
			return &seen[i];
	return NULL;
}

/* Which packets the preset takes; false: no Ethernet. taken[0] is packet 1. */
static bool run_preset(const char *path, bool *taken, uint32_t *ret_n, uint32_t *ret_taken)
{
	char errbuf[PCAP_ERRBUF_SIZE];
	struct bpf_program prog = { 0 };
	struct flt_eval *eval = NULL;
	pcap_t *p = pcap_open_offline(path, errbuf);
	struct pcap_pkthdr *h;
	const uint8_t *bytes;

	*ret_n = *ret_taken = 0;
	if (!p || pcap_datalink(p) != DLT_EN10MB) {
		if (p)
			pcap_close(p);
		return false;
	}
	assert_int_equal(flt_front_compile("quic", 1, 262144, &prog, NULL), 0);
	assert_int_equal(flt_eval_new(&prog, NULL, 0, &eval, NULL), 0);
	while (*ret_n < PACKETS_MAX && pcap_next_ex(p, &h, &bytes) == 1) {
		taken[*ret_n] = flt_eval_match(eval, bytes, h->len, h->caplen) > 0;
		*ret_taken += taken[(*ret_n)++];
	}
	flt_eval_free(eval);
	flt_front_free(&prog);
	pcap_close(p);
	return true;
}

/* The numbers of the packets that tshark calls QUIC. */
static void ask_tshark(const char *path, const bool *taken, uint32_t n, uint32_t *ret_quic,
		       uint32_t *ret_both)
{
	char *out = NULL, *end;

	assert_int_equal(
		tool_run(&out, NULL,
			 "tshark -n -r '%s' -Y 'quic || gquic' -T fields -e frame.number 2>/dev/null", path),
		0);
	*ret_quic = *ret_both = 0;
	for (char *s = out;; s = end) {
		unsigned long k = strtoul(s, &end, 10);

		if (end == s)
			break;
		assert_true(k >= 1 && k <= n);
		++*ret_quic;
		*ret_both += taken[k - 1];
	}
	free(out);
}

static bool has_tshark_40(void)
{
	char *out = NULL;
	bool yes = tool_has("tshark") && tool_run(&out, NULL, "tshark --version 2>/dev/null") == 0 &&
		   strstr(out, "Wireshark) 4.0.") != NULL;

	free(out);
	return yes;
}

static void test_quic_against_tshark(void **state)
{
	struct dirent **names = NULL;
	int n_names = scandir(tool_pcaps(), &names, NULL, alphasort);
	bool *taken = calloc(PACKETS_MAX, sizeof(*taken)), tshark = has_tshark_40();
	uint32_t all = 0, all_taken = 0, all_quic = 0, all_both = 0, found = 0;

	(void)state;
	assert_non_null(taken);
	if (n_names < 0) {
		print_message("# there are no captures in %s (SKEP_PCAPS)\n", tool_pcaps());
		free(taken);
		skip();
	}
	if (!tshark)
		print_message("# tshark 4.0 is not here: only what the preset takes is compared\n");
	for (int i = 0; i < n_names; i++) {
		const struct seen *s = find_seen(names[i]->d_name);
		uint32_t n, n_taken, quic = 0, both = 0;
		char path[4096];

		(void)snprintf(path, sizeof(path), "%s/%s", tool_pcaps(), names[i]->d_name);
		if (!strstr(names[i]->d_name, ".pcap") || !run_preset(path, taken, &n, &n_taken))
			continue;
		all += n;
		if (!s && (n_taken > 0 || strstr(names[i]->d_name, "quic")))
			fail_msg("%s: %u of %u packets taken, and it is not among those that were seen",
				 names[i]->d_name, n_taken, n);
		if (!s)
			continue;
		found++;
		if (tshark)
			ask_tshark(path, taken, n, &quic, &both);
		print_message("# %s: %u packets, %u taken, %u QUIC, %u both\n", s->file, n, n_taken, quic,
			      both);
		if (n != s->packets || n_taken != s->taken ||
		    (tshark && (quic != s->quic || both != s->both)))
			fail_msg("seen were: %u packets, %u taken, %u QUIC, %u both", s->packets, s->taken,
				 s->quic, s->both);
		all_taken += n_taken;
		all_quic += quic;
		all_both += both;
	}
	print_message("# %u packets of Ethernet captures: %u taken, %u of them QUIC; tshark knows %u where "
		      "any was taken "
		      "or the name says quic\n",
		      all, all_taken, all_both, all_quic);
	for (int i = 0; i < n_names; i++)
		free(names[i]);
	free(names);
	free(taken);
	assert_true(found > 0);
}

static void test_every_preset(void **state)
{
	const struct flt_preset *p, *q;
	char expr[128];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; (p = flt_preset_at(i)); i++, n++) {
		assert_true(p->meaning[0] && (p->expr[0] != '\0') == (p->mark == 0));
		assert_ptr_equal(flt_preset_find(p->name, strlen(p->name)), p);
		assert_true(i == 0 || strcmp(flt_preset_at(i - 1)->name, p->name) < 0);
		q = flt_preset_at((i + 7) % 17);
		for (int negated = 0; negated < 2; negated++) {
			struct bpf_program prog = { 0 };
			struct skep_err err = SKEP_ERR_NULL;

			(void)snprintf(expr, sizeof(expr), "%s(%s and host 10.0.0.1) or %s",
				       negated ? "not " : "", p->name, q->name);
			if (flt_front_compile(expr, 1, 99, &prog, &err))
				fail_msg("\"%s\": %s", expr, err.text);
			flt_front_free(&prog);
		}
	}
	print_message("# %zu presets\n", n);
	assert_true(n >= 18);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quic_against_tshark),
		cmocka_unit_test(test_every_preset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
