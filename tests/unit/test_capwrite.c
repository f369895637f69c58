/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that what the encoders write is what libpcap reads: same bytes, lengths, time stamps to the
 * nanosecond, link type; and that tshark, where it is installed, finds names, filter and statistics in the
 * pcapng blocks. Nothing is written outside the stated sizes.
 */
#include "capture/capwrite.h"
#include "common/util.h"
#include "tool.h"

#include <pcap/pcap.h>

static const uint64_t times[] = { 0, 1, 999999999, 1000000000, 1700000000123456789, 4294967295999999999 };
static const uint32_t lengths[] = { 0, 1, 14, 60, 61, 62, 63, 64, 1514, 9018, 65535, 262144 };

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

static uint8_t content(uint32_t i)
{
	return (uint8_t)(i * 7 + (i >> 8));
}

/* Every combination of times and lengths, as libpcap reports it. */
static void expect_all(const char *path)
{
	char text[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, text);
	struct pcap_pkthdr *h;
	const u_char *data;

	if (!p)
		fail_msg("%s", text);
	assert_int_equal(pcap_datalink(p), DLT_EN10MB);
	assert_int_equal(pcap_snapshot(p), 262144);
	for (size_t t = 0; t < ARRAY_LEN(times); t++)
		for (size_t l = 0; l < ARRAY_LEN(lengths); l++) {
			assert_int_equal(pcap_next_ex(p, &h, &data), 1);
			assert_int_equal((uint32_t)h->ts.tv_sec, times[t] / 1000000000);
			assert_int_equal(h->ts.tv_usec, times[t] % 1000000000);
			assert_int_equal(h->caplen, lengths[l]);
			assert_int_equal(h->len, lengths[l] + 5);
			for (uint32_t i = 0; i < h->caplen; i++)
				assert_int_equal(data[i], content(i));
		}
	assert_int_equal(pcap_next_ex(p, &h, &data), PCAP_ERROR_BREAK);
	pcap_close(p);
}

static void pcap_reads_back(void **state)
{
	_skep_free_ char *path = NULL;
	uint8_t *file = malloc(16u << 20);
	uint8_t *p = file;

	(void)state;
	assert_true(asprintf(&path, "%s/a.pcap", dir) > 0);
	cap_capwrite_pcap_header(p, 262144, 1);
	p += CAP_CAPWRITE_PCAP_HEADER_BYTES;
	for (size_t t = 0; t < ARRAY_LEN(times); t++)
		for (size_t l = 0; l < ARRAY_LEN(lengths); l++) {
			cap_capwrite_pcap_record(p, times[t], lengths[l], lengths[l] + 5);
			p += CAP_CAPWRITE_PCAP_RECORD_BYTES;
			for (uint32_t i = 0; i < lengths[l]; i++)
				*p++ = content(i);
		}
	tool_write_file(path, file, (size_t)(p - file));
	free(file);
	expect_all(path);
}

static const struct cap_capwrite_shb shb = { .hardware = "Kunpeng",
					     .os = "Linux 6.18",
					     .application = "skep-capture" };
static const struct cap_capwrite_idb idb = {
	.linktype = 1,
	.snaplen = 262144,
	.name = "eth7",
	.description = "tap A",
	.filter = "udp port 443",
	.os = "Linux",
	.hardware = "ConnectX-6",
	.speed_bits = 100000000000,
};

static void pcapng_reads_back(void **state)
{
	static const uint8_t guard[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	_skep_free_ char *path = NULL;
	_skep_free_ char *out = NULL;
	uint8_t *file = malloc(16u << 20);
	uint8_t *p = file;
	size_t n;

	(void)state;
	assert_true(asprintf(&path, "%s/a.pcapng", dir) > 0);
	p += cap_capwrite_shb(p, 4096, &shb);
	p += cap_capwrite_idb(p, 4096, &idb);
	for (size_t t = 0; t < ARRAY_LEN(times); t++)
		for (size_t l = 0; l < ARRAY_LEN(lengths); l++) {
			const uint8_t *start = p;

			cap_capwrite_epb_header(p, 0, times[t], lengths[l], lengths[l] + 5);
			p += CAP_CAPWRITE_EPB_HEADER_BYTES;
			for (uint32_t i = 0; i < lengths[l]; i++)
				*p++ = content(i);
			n = cap_capwrite_epb_tail(p, lengths[l]);
			assert_in_range(n, 4, CAP_CAPWRITE_EPB_MAX_TAIL_BYTES);
			p += n;
			assert_int_equal(p - start, cap_capwrite_epb_bytes(lengths[l]));
		}
	memcpy(p + CAP_CAPWRITE_ISB_BYTES, guard, sizeof(guard));
	cap_capwrite_isb(p, &(struct cap_capwrite_isb){ .ts_ns = 1700000000123456789,
							.start_ns = 1600000000000000001,
							.end_ns = 1700000000000000002,
							.received = 1u << 20,
							.dropped = 77,
							.accepted = 99,
							.os_dropped = 5 });
	p += CAP_CAPWRITE_ISB_BYTES;
	assert_memory_equal(p, guard, sizeof(guard));
	tool_write_file(path, file, (size_t)(p - file));
	free(file);
	expect_all(path);
	if (!tool_has("capinfos"))
		return;
	assert_int_equal(tool_run(&out, NULL, "capinfos -I '%s'", path), 0);
	for (size_t i = 0; i < 6; i++) {
		static const char *const want[] = { "Name = eth7",
						    "Description = tap A",
						    "Capture length = 262144",
						    "Time precision = nanoseconds (9)",
						    "Filter string = udp port 443",
						    "Number of stat entries = 1" };

		if (!strstr(out, want[i]))
			fail_msg("capinfos does not say \"%s\" but:\n%s", want[i], out);
	}
}

static void room_is_respected(void **state)
{
	static char text[CAP_CAPWRITE_TEXT_MAX + 100];
	struct cap_capwrite_idb big = idb;
	const size_t n = cap_capwrite_idb(NULL, 0, &idb);
	uint8_t *p = malloc(n);

	(void)state;
	assert_int_equal(n % 4, 0);
	for (size_t room = 0; room < n; room++)
		assert_int_equal(cap_capwrite_idb(p, room, &idb), 0);
	assert_int_equal(cap_capwrite_idb(p, n, &idb), n);
	free(p);
	assert_int_equal(cap_capwrite_shb(NULL, 0, &(struct cap_capwrite_shb){ 0 }), 32);
	memset(text, 'x', sizeof(text) - 1);
	big.filter = text;
	assert_in_range(cap_capwrite_idb(NULL, 0, &big), CAP_CAPWRITE_TEXT_MAX, CAP_CAPWRITE_TEXT_MAX + 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pcap_reads_back),
		cmocka_unit_test(pcapng_reads_back),
		cmocka_unit_test(room_is_respected),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
