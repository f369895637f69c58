/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves of sketches: what was put in is never denied, however much it is; what was not is denied nearly
 * always while that is possible; a group that is too full says "perhaps" and the others go on; the file is
 * bounded; and a file that is torn, spoilt, hostile, or of another segment is none.
 */
#include "tool.h"
#include "unit.h"

#include "capture/sidecar.h"
#include "capture/sketch.h"

#include <sodium.h>
#include <stdio.h>

static char *dir;
static int fd;
static char path[4200];
static struct cap_sidecar_entry index_[8];
static struct cap_sidecar sidecar = CAP_SIDECAR_NULL;

static int enter(void **state)
{
	(void)state;
	dir = tool_make_dir();
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)snprintf(path, sizeof(path), "%s/s.pcap.zst", dir);
	sidecar.index = index_;
	sidecar.bytes_disk = 1000;
	return fd < 0;
}

static int leave(void **state)
{
	(void)state;
	close(fd);
	tool_remove_dir(dir);
	return 0;
}

/* UDP, IPv4: host n of 10/8 to host 192.0.2.1, from port n to 53. */
static void make_packet(uint8_t p[42], uint32_t n)
{
	static const uint8_t head[42] = { [12] = 8, [14] = 0x45, [23] = 17, [26] = 10, [30] = 192,
					  0,	    2,		 1,	    [37] = 53 };

	memcpy(p, head, 42);
	p[27] = (uint8_t)(n >> 16);
	p[28] = (uint8_t)(n >> 8);
	p[29] = (uint8_t)n;
	p[34] = (uint8_t)(n >> 8);
	p[35] = (uint8_t)n;
}

static struct cap_sketch_key source(uint32_t n, uint32_t prefix)
{
	uint8_t p[42];

	make_packet(p, n);
	return cap_sketch_of_address(CAP_SKETCH_IP4, false, p + 26, prefix);
}

/* One block of n flows each; the counts end with 0. */
static void write_blocks(const uint32_t *counts)
{
	struct cap_sketch_maker *m = cap_sketch_maker_new();
	uint8_t p[42];

	assert_non_null(m);
	sidecar.n_index = 0;
	for (uint32_t b = 0; counts[b]; b++) {
		for (uint32_t n = 0; n < counts[b]; n++) {
			make_packet(p, n);
			cap_sketch_add(m, p, sizeof(p));
		}
		index_[b].file_offset = 50 + 10 * b;
		sidecar.n_index++;
		assert_int_equal(cap_sketch_end_block(m, index_[b].file_offset), 0);
	}
	assert_int_equal(cap_sketch_write(m, fd, "s.pcap.zst", 1000), 0);
	assert_null(cap_sketch_maker_free(m));
}

static void nothing_is_denied_that_is_there(void **state)
{
	static const uint32_t counts[] = { 1, 30, 1000, 2500, 200000, 0 };
	const struct cap_sketch_key dst = cap_sketch_of_port(true, 53),
				    proto = cap_sketch_of_proto(CAP_SKETCH_IP4, 17),
				    class = cap_sketch_of_class(CAP_SKETCH_IP4),
				    other = cap_sketch_of_class(CAP_SKETCH_IP6),
				    tcp = cap_sketch_of_proto(CAP_SKETCH_IP4, 6);
	struct cap_sketch *s;

	(void)state;
	write_blocks(counts);
	assert_int_equal(cap_sketch_read(path, &sidecar, &s), 0);
	for (uint32_t b = 0; counts[b]; b++) {
		uint32_t wrong = 0;

		for (uint32_t n = 0; n < counts[b]; n++) {
			struct cap_sketch_key host = source(n, 32), net = source(n, 24);
			struct cap_sketch_key port = cap_sketch_of_port(false, (uint16_t)n);

			assert_true(cap_sketch_may_hold(s, b, &host));
			assert_true(cap_sketch_may_hold(s, b, &net));
			assert_true(cap_sketch_may_hold(s, b, &port));
		}
		for (uint32_t n = 1000000; n < 1010000; n++) {
			struct cap_sketch_key host = source(n, 32);

			wrong += cap_sketch_may_hold(s, b, &host);
		}
		/* a quarter of the bits is one in 256; up to a half at the largest size one in 16 */
		if (counts[b] <= 1000)
			assert_true(wrong < 10000 / 100);
		else if (counts[b] <= 2500)
			assert_true(wrong < 10000 / 8);
		else
			assert_int_equal(wrong, 10000); /* left out */
		/* what there is little of is told all the same */
		assert_true(cap_sketch_may_hold(s, b, &dst) && cap_sketch_may_hold(s, b, &proto) &&
			    cap_sketch_may_hold(s, b, &class));
		assert_false(cap_sketch_may_hold(s, b, &other) || cap_sketch_may_hold(s, b, &tcp));
	}
	assert_null(cap_sketch_free(s));
}

static void files_are_bounded(void **state)
{
	static const uint32_t full[] = { 1150, 1150, 1150, 1150, 0 }, few[] = { 1, 1, 1, 1, 0 };
	struct stat st;
	char name[4300];

	(void)state;
	(void)snprintf(name, sizeof(name), "%s.sketch", path);
	write_blocks(full);
	assert_int_equal(stat(name, &st), 0);
	assert_true(st.st_size <= 48 + 4 * (24 + 6 * 2048) && st.st_size > 4 * 2 * 2048);
	write_blocks(few);
	assert_int_equal(stat(name, &st), 0);
	assert_true(st.st_size <= 48 + 4 * (24 + 6 * 16));
	cap_sketch_remove(fd, "s.pcap.zst");
	assert_int_equal(stat(name, &st), -1);
	cap_sketch_remove(fd, "s.pcap.zst");
}

static void expect_none(void)
{
	struct cap_sketch *s = NULL;

	assert_int_equal(cap_sketch_read(path, &sidecar, &s), SKEP_E_NOT_FOUND);
	assert_null(s);
}

/* Gives a changed file the checksum that it asks for, as somebody hostile would. */
static void seal(uint8_t *bytes, size_t n)
{
	crypto_generichash(bytes + 8, 16, bytes + 24, n - 24, NULL, 0);
}

static void what_is_no_sketch_is_none(void **state)
{
	static const uint32_t counts[] = { 3, 40, 0 };
	static const size_t lies[] = { 24, 28, 32, 40, 48, 56, 60, 61, 65, 72, 80, 84 };
	_skep_free_ uint8_t *bytes = NULL;
	struct cap_sketch *s = NULL;
	char name[4300];
	size_t n;

	(void)state;
	expect_none();
	write_blocks(counts);
	(void)snprintf(name, sizeof(name), "%s.sketch", path);
	bytes = (uint8_t *)tool_read_file(name, &n);
	for (size_t cut = 0; cut < n; cut += 1 + cut / 16) {
		tool_write_file(name, bytes, cut);
		expect_none();
	}
	for (size_t at = 0; at < n; at += 1 + at / 8) {
		bytes[at] ^= 0x20;
		tool_write_file(name, bytes, n);
		expect_none();
		bytes[at] ^= 0x20;
	}
	/* fields that lie, under a checksum that does not */
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		uint8_t was = bytes[lies[i]];

		bytes[lies[i]] = (uint8_t)(was + 15);
		seal(bytes, n);
		tool_write_file(name, bytes, n);
		expect_none();
		bytes[lies[i]] = was;
	}
	seal(bytes, n);
	tool_write_file(name, bytes, n);
	sidecar.bytes_disk++; /* of another segment */
	expect_none();
	sidecar.bytes_disk--;
	sidecar.n_index++;
	expect_none();
	sidecar.n_index--;
	index_[1].file_offset++;
	expect_none();
	index_[1].file_offset--;
	assert_int_equal(cap_sketch_read(path, &sidecar, &s), 0);
	cap_sketch_free(s);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(mkdir(name, 0700), 0);
	expect_none();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_denied_that_is_there, enter, leave),
		cmocka_unit_test_setup_teardown(files_are_bounded, enter, leave),
		cmocka_unit_test_setup_teardown(what_is_no_sketch_is_none, enter, leave),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("sketch", tests, NULL, NULL);
}
