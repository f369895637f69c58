/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that stretches come out as they went in, however many threads decode and in whatever order they are
 * asked for; that what is wrong with one of them is said of it alone; that giving up is always possible; and
 * that who works ahead leaves room for who does not.
 */
#include "tool.h"
#include "unit.h"

#include "capture/pack.h"
#include "capture/unpack.h"
#include "capture/zframe.h"

#include <stdio.h>

#define STRETCHES 40u
#define RAW_BYTES 300000u

static char *dir;
static int fd;
static struct cap_unpack_stretch stretches[STRETCHES];

static uint8_t byte_of(uint32_t i, uint32_t at)
{
	return (uint8_t)((at / 7 * (i + 1)) ^ (at >> 9));
}

/* Packed blocks one behind the other; every fifth as it is. */
static int enter(void **state)
{
	struct cap_packer *packer;
	uint8_t *out = malloc(RAW_BYTES + 8192);
	struct cap_block block = { .data = malloc(RAW_BYTES) };
	uint64_t at = 0;
	char path[4200];

	(void)state;
	dir = tool_make_dir();
	(void)snprintf(path, sizeof(path), "%s/blocks", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(cap_packer_new(&packer, NULL), 0);
	for (uint32_t i = 0; i < STRETCHES; i++) {
		size_t n = 0, last;

		block.used = RAW_BYTES - i;
		block.packed = 0;
		block.level = i % 3 ? 1 : -5;
		for (uint32_t k = 0; k < block.used; k++)
			block.data[k] = byte_of(i, k);
		while (i % 5 && block.packed < block.used)
			n += cap_packer_slice(packer, &block, out + n, RAW_BYTES + 8192 - n, &last);
		if (i % 5 == 0)
			memcpy(out, block.data, n = block.used);
		assert_int_equal(pwrite(fd, out, n, (off_t)at), (ssize_t)n);
		stretches[i] = (struct cap_unpack_stretch){ fd, at, n, block.used, i % 5 != 0 };
		at += n;
	}
	cap_packer_free(packer);
	free(block.data);
	free(out);
	return 0;
}

static int leave(void **state)
{
	(void)state;
	close(fd);
	tool_remove_dir(dir);
	return 0;
}

static void check(struct cap_unpack *u, struct cap_unpack_task *t, uint32_t i)
{
	struct cap_unpack_result result;

	assert_int_equal(cap_unpack_wait(u, t, &result), 0);
	assert_int_equal(result.n, RAW_BYTES - i);
	for (uint32_t k = 0; k < result.n; k++)
		if (result.bytes[k] != byte_of(i, k))
			fail_msg("stretch %u differs at byte %u", i, k);
	assert_null(cap_unpack_done(u, t));
}

static void all_come_out(void **state)
{
	(void)state;
	for (uint32_t threads = 0; threads <= 5; threads++) {
		struct cap_unpack *u = cap_unpack_new(threads);
		struct cap_unpack_task *ahead[STRETCHES];
		uint32_t begun = 0;

		assert_non_null(u);
		for (uint32_t i = 0; i < STRETCHES; i++) {
			while (begun < STRETCHES &&
			       (ahead[begun] = cap_unpack_begin(u, &stretches[begun], true)))
				begun++;
			if (begun > i) {
				check(u, ahead[i], i);
			} else { /* without threads nobody works ahead */
				assert_int_equal(threads, 0);
				check(u, cap_unpack_begin(u, &stretches[i], false), i);
				begun = i + 1;
			}
		}
		assert_null(cap_unpack_free(u));
	}
}

static void there_is_always_one_more(void **state)
{
	struct cap_unpack *u = cap_unpack_new(2);
	struct cap_unpack_task *ahead[100];
	uint32_t n = 0;

	(void)state;
	while ((ahead[n] = cap_unpack_begin(u, &stretches[n % STRETCHES], true)))
		assert_true(++n < 100);
	check(u, cap_unpack_begin(u, &stretches[7], false), 7);
	while (n > 1) /* given up, whatever they are at */
		assert_null(cap_unpack_done(u, ahead[--n]));
	check(u, ahead[0], 0);
	assert_null(cap_unpack_done(u, NULL));
	assert_null(cap_unpack_free(u));
	assert_null(cap_unpack_free(NULL));
}

static void what_is_wrong_is_said(void **state)
{
	struct cap_unpack_stretch bad[] = { stretches[1], stretches[1], stretches[1], stretches[5],
					    stretches[1] };
	struct cap_unpack *u = cap_unpack_new(3);
	struct cap_unpack_task *tasks[ARRAY_LEN(bad)];

	(void)state;
	bad[0].at += 1;		 /* no block begins there */
	bad[1].at += 1ull << 40; /* behind the end */
	bad[2].raw += 1;	 /* more than there is */
	bad[3].raw += 1;	 /* the same, as it is */
	bad[4].fd = -1;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_non_null(tasks[i] = cap_unpack_begin(u, &bad[i], true));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct cap_unpack_result result;

		assert_int_equal(cap_unpack_wait(u, tasks[i], &result), i == 4 ? -EBADF : SKEP_E_BAD_DATA);
		assert_true(i == 4 || strlen(result.wrong) > 5);
		cap_unpack_done(u, tasks[i]);
	}
	check(u, cap_unpack_begin(u, &stretches[1], false), 1);
	assert_null(cap_unpack_free(u));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_come_out),
		cmocka_unit_test(there_is_always_one_more),
		cmocka_unit_test(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests_name("unpack", tests, enter, leave);
}
