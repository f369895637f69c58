/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the summary is one JSON object on one line with the agreed keys in the agreed order, that
 * words say what the numbers say, and that the live line fits the terminal.
 */
#include "tests/unit/unit.h"

#include "capture/report.h"
#include "common/json.h"

static const char *const files[] = { "/data/a.pcap.zst", "/data/b c.pcap.zst" };
static const char *const links[] = { "eth1: xdp native, 4 queues" };
static const char *const reasons[] = { "eth1 was deleted" };

static struct cap_report sample(void)
{
	return (struct cap_report){
		.seen = 10, .stored = 5, .rejected = 2,
		.dropped = { { "rx_ring_full", 3 }, { "disk_full", 0 } }, .n_dropped = 2,
		.bytes_wire = 5000, .bytes_raw = 5080, .bytes_disk = 1234, .duration_ns = 1500000000,
		.files = files, .n_files = 1, .links = links, .n_links = 1,
		.complete = true, .compressed = true, .has_level = true, .level_last = -5,
	};
}

static char *write_with(void (*text)(FILE *, const struct cap_report *), const struct cap_report *report,
			char *buf, size_t size)
{
	FILE *mem;

	memset(buf, 0, size);
	mem = fmemopen(buf, size - 1, "w");
	assert_non_null(mem);
	if (text)
		text(mem, report);
	else
		assert_int_equal(cap_report_json(mem, report), 0);
	fclose(mem);
	return buf;
}

static void test_json(void **state)
{
	struct cap_report report = sample();
	char buf[2048];

	(void)state;
	assert_string_equal(write_with(NULL, &report, buf, sizeof(buf)),
			    "{\"seen\":10,\"stored\":5,\"rejected\":2,\"dropped\":{\"rx_ring_full\":3},\"bytes_wire\":5000,"
			    "\"bytes_raw\":5080,\"bytes_disk\":1234,\"duration_ns\":1500000000,"
			    "\"files\":[\"/data/a.pcap.zst\"],\"links\":[\"eth1: xdp native, 4 queues\"],"
			    "\"outcome\":\"complete\",\"reasons\":[],\"level_last\":-5}\n");
	report = (struct cap_report){ .complete = false, .reasons = reasons, .n_reasons = 1 };
	write_with(NULL, &report, buf, sizeof(buf));
	assert_non_null(strstr(buf, "\"dropped\":{},"));
	assert_non_null(strstr(buf, "\"files\":[],\"links\":[],\"outcome\":\"incomplete\",\"reasons\":[\"eth1 was deleted\"],"
				    "\"level_last\":null}\n"));
}

static void test_json_of_any_name(void **state)
{
	static const char *const odd[] = { "/data/\"x\"\n.pcap", "/data/\xff\xfe.pcap" };
	struct cap_report report = { .files = odd, .n_files = 2 };
	struct skep_err err = SKEP_ERR_NULL;
	_skep_json_ json_t *json = NULL;
	char buf[2048];

	(void)state;
	write_with(NULL, &report, buf, sizeof(buf));
	assert_ptr_equal(strchr(buf, '\n'), buf + strlen(buf) - 1);
	assert_int_equal(skep_json_load("report", buf, strlen(buf), &json, &err), 0);
	assert_string_equal(json_string_value(json_array_get(json_object_get(json, "files"), 0)), odd[0]);
	assert_string_equal(json_string_value(json_array_get(json_object_get(json, "files"), 1)), "/data/??.pcap");
}

static void test_json_error_is_returned(void **state)
{
	struct cap_report report = sample();
	FILE *full = fopen("/dev/full", "w");

	(void)state;
	assert_non_null(full);
	assert_true(cap_report_json(full, &report) < 0);
	fclose(full);
}

static void test_sentences(void **state)
{
	static const struct {
		struct cap_report report;
		const char *text;
	} cases[] = {
		{ { .seen = 0 }, "0 packets stored: none was seen" },
		{ { .seen = 1234, .rejected = 1234 }, "0 packets stored: 1234 seen, all rejected by the filter" },
		{ { .seen = 7, .dropped = { { "disk_full", 7 } }, .n_dropped = 1 },
		  "0 packets stored: 7 seen, all dropped (disk_full)" },
		{ { .seen = 7, .dropped = { { "disk_full", 3 }, { "rx_ring_full", 4 } }, .n_dropped = 2 },
		  "0 packets stored: 7 seen, all dropped (disk_full 3, rx_ring_full 4)" },
		{ { .seen = 1, .stored = 1 }, "1 packet stored: 1 seen, none dropped" },
		{ { .seen = 9, .stored = 4, .rejected = 5 },
		  "4 packets stored: 9 seen, 5 rejected by the filter, none dropped" },
		{ { .seen = 9, .stored = 4, .rejected = 3, .dropped = { { "buffers_full", 2 } }, .n_dropped = 1 },
		  "4 packets stored: 9 seen, 3 rejected by the filter, 2 dropped (buffers_full 2)" },
	};
	char buf[256], small[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(cap_report_sentence(&cases[i].report, buf, sizeof(buf)), cases[i].text);
	assert_string_equal(cap_report_sentence(&cases[6].report, small, sizeof(small)), "4 packets store");
}

static void test_text_says_how_to_open(void **state)
{
	struct cap_report report = sample();
	char buf[2048];

	(void)state;
	write_with(cap_report_text, &report, buf, sizeof(buf));
	assert_non_null(strstr(buf, "Link eth1: xdp native, 4 queues\n"));
	assert_non_null(strstr(buf, "\nFile: /data/a.pcap.zst\nOpen it with: zstd -dc /data/a.pcap.zst | tcpdump -n -r -"));
	assert_null(strstr(buf, "ncomplete"));
	report.files = files + 1;
	report.compressed = false;
	report.complete = false;
	report.reasons = reasons;
	report.n_reasons = 1;
	write_with(cap_report_text, &report, buf, sizeof(buf));
	assert_non_null(strstr(buf, "Open it with: tcpdump -n -r '/data/b c.pcap.zst'"));
	assert_non_null(strstr(buf, "Incomplete: eth1 was deleted\n"));
	report.files = files;
	report.n_files = 2;
	assert_non_null(strstr(write_with(cap_report_text, &report, buf, sizeof(buf)), "Files: 2, from /data/a.pcap.zst to "));
}

static void test_live_line(void **state)
{
	struct cap_report_live live = { .last_ns = 1000, .last_seen = 1000, .last_bytes_wire = 0 };
	struct cap_report report = { .seen = 3000, .stored = 3000, .bytes_wire = 250000, .bytes_disk = 500000,
				     .duration_ns = 2000000000, .has_level = true, .level_last = 1 };
	char line[256];

	(void)state;
	cap_report_live_line(&live, &report, 1000 + 2 * SKEP_NSEC_PER_SEC, 200, line, sizeof(line));
	assert_non_null(strstr(line, "1.00 kpkt/s"));
	assert_non_null(strstr(line, "1.00 Mbit/s"));
	assert_non_null(strstr(line, "0 dropped"));
	assert_non_null(strstr(line, "file 500 kB"));
	assert_non_null(strstr(line, "level 1"));
	for (int width = 20; width < 100; width++)
		assert_true(strlen(cap_report_live_line(&live, &report, 1000, width, line, sizeof(line))) <=
			    (size_t)width);
}

static void test_live_is_silent_without_terminal(void **state)
{
	struct cap_report report = sample();
	struct cap_report_live live;
	FILE *f = tmpfile();

	(void)state;
	assert_non_null(f);
	cap_report_live_init(&live, f, true, 0);
	cap_report_live(&live, &report, 5 * SKEP_NSEC_PER_SEC);
	cap_report_live_clear(&live);
	assert_int_equal(ftell(f), 0);
	/* As on a terminal: once a second, and gone at the end. */
	live.on = true;
	cap_report_live(&live, &report, SKEP_NSEC_PER_SEC / 2);
	assert_int_equal(ftell(f), 0);
	cap_report_live(&live, &report, SKEP_NSEC_PER_SEC);
	assert_true(ftell(f) > 20);
	cap_report_live_clear(&live);
	assert_false(live.drawn);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_of_any_name),
		cmocka_unit_test(test_json_error_is_returned),
		cmocka_unit_test(test_sentences),
		cmocka_unit_test(test_text_says_how_to_open),
		cmocka_unit_test(test_live_line),
		cmocka_unit_test(test_live_is_silent_without_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
