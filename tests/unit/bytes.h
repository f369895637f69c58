/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_TESTS_BYTES_H
#define SKEP_TESTS_BYTES_H
/* Packets for unit tests of parsers: written as hexadecimal text, and laid where nothing behind them can be
 * read. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <sys/mman.h>

/* The end of a page behind which nothing can be read; make_wall() is a group's setup. */
static uint8_t *wall;

static inline uint8_t *at_wall(const uint8_t *bytes, uint32_t len)
{
	memcpy(wall - len, bytes, len);
	return wall - len;
}

static inline int make_wall(void **state)
{
	uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	if (pages == MAP_FAILED || mprotect(pages + 4096, 4096, PROT_NONE))
		return -1;
	wall = pages + 4096;
	return 0;
}

static inline uint32_t from_hex(const char *hex, uint8_t *out)
{
	uint32_t n = 0;

	for (; hex[0]; hex += 2) {
		unsigned int byte;

		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		out[n++] = (uint8_t)byte;
	}
	return n;
}

#endif
