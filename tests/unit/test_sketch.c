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
	assert_int_equal(cap_sketch_write(m, fd, "s.pcap.zst", &sidecar), 0);
	assert_null(cap_sketch_maker_free(m));
}

static const uint32_t many[] = { 1, 30, 1000, 2500, 200000, 0 };

static void check_block(void *arg, size_t i, const struct cap_sketch_block *b)
{
	const struct cap_sketch_key there[] = { cap_sketch_of_port(true, 53),
						cap_sketch_of_proto(CAP_SKETCH_IP4, 17),
						cap_sketch_of_class(CAP_SKETCH_IP4) };
	const struct cap_sketch_key not_there[] = { cap_sketch_of_class(CAP_SKETCH_IP6),
						    cap_sketch_of_proto(CAP_SKETCH_IP4, 6) };
	uint32_t wrong = 0;

	assert_int_equal(i, (*(size_t *)arg)++);
	for (uint32_t n = 0; n < many[i]; n++) {
		struct cap_sketch_key host = source(n, 32), net = source(n, 24);
		struct cap_sketch_key port = cap_sketch_of_port(false, (uint16_t)n);

		assert_true(cap_sketch_may_hold(b, &host));
		assert_true(cap_sketch_may_hold(b, &net));
		assert_true(cap_sketch_may_hold(b, &port));
	}
	for (uint32_t n = 1000000; n < 1010000; n++) {
		struct cap_sketch_key host = source(n, 32);

		wrong += cap_sketch_may_hold(b, &host);
	}
	/* a quarter of the bits is one in 256; up to a half at the largest size one in 16 */
	if (many[i] <= 1000)
		assert_true(wrong < 10000 / 100);
	else if (many[i] <= 2500)
		assert_true(wrong < 10000 / 8);
	else
		assert_int_equal(wrong, 10000); /* left out */
	/* what there is little of is told all the same */
	for (size_t k = 0; k < ARRAY_LEN(there); k++)
		assert_true(cap_sketch_may_hold(b, &there[k]));
	for (size_t k = 0; k < ARRAY_LEN(not_there); k++)
		assert_false(cap_sketch_may_hold(b, &not_there[k]));
}

static void nothing_is_denied_that_is_there(void **state)
{
	size_t n = 0;

	(void)state;
	write_blocks(many);
	assert_int_equal(cap_sketch_scan(path, &sidecar, check_block, &n), 0);
	assert_int_equal(n, sidecar.n_index);
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
	assert_true(st.st_size <= 40 + 4 * (24 + 6 * 2048) && st.st_size > 4 * 2 * 2048);
	write_blocks(few);
	assert_int_equal(stat(name, &st), 0);
	assert_true(st.st_size <= 40 + 4 * (24 + 6 * 16));
	cap_sketch_remove(fd, "s.pcap.zst");
	assert_int_equal(stat(name, &st), -1);
	cap_sketch_remove(fd, "s.pcap.zst");
}

static void pass(void *arg, size_t i, const struct cap_sketch_block *b)
{
	struct cap_sketch_key key = source((uint32_t)i, 32);

	(void)arg;
	(void)cap_sketch_may_hold(b, &key); /* reads what it shows: the sanitizers look */
}

static void expect_none(void)
{
	assert_int_equal(cap_sketch_scan(path, &sidecar, pass, NULL), SKEP_E_NOT_FOUND);
}

static void what_is_no_sketch_is_none(void **state)
{
	static const uint32_t counts[] = { 3, 40, 0 };
	_skep_free_ uint8_t *bytes = NULL;
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
	for (size_t at = 0; at < n; at++)
		for (unsigned bit = 0; bit < 8; bit += 1 + (at > 100) * 6) {
			bytes[at] ^= (uint8_t)(1 << bit);
			tool_write_file(name, bytes, n);
			expect_none();
			bytes[at] ^= (uint8_t)(1 << bit);
		}
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
	index_[0].ts_last_ns++; /* the same sizes, another moment */
	expect_none();
	index_[0].ts_last_ns--;
	sidecar.started_ns++;
	expect_none();
	sidecar.started_ns--;
	assert_int_equal(cap_sketch_scan(path, &sidecar, pass, NULL), 0);
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

	return cmocka_run_group_tests_name("sketch", tests, NULL, NULL);
}
