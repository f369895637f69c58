/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: a list file means exactly its addresses and prefixes (the table and the ranges agree with a search
 * through the lines, for random nested prefixes in up to 32 lists), 100,000 lines are read well within a
 * second, a file that is the same is shared and one that changed is not, numbers come free again, and
 * everything that is not a list is refused with file and line, without showing what the file says.
 */
#include "tests/unit/tool.h"

#include "bpf/abi/skep_look.h"
#include "capture/filter/lengths.h"
#include "capture/filter/limits.h"
#include "capture/filter/list.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static uint32_t add(struct flt_lists *l, const char *text)
{
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t index = 99;

	if (flt_lists_add(l, "t", text, strlen(text), &index, &err))
		fail_msg("%s", err.text);
	return index;
}

static struct flt_lists *new_lists(void)
{
	struct flt_lists *l = NULL;

	assert_int_equal(flt_lists_new(&l, NULL), 0);
	return l;
}

static uint32_t find(const struct flt_lists *l, const char *addr)
{
	struct flt_ranges *r = NULL;
	uint8_t bytes[16];
	uint32_t mask;
	bool six = strchr(addr, ':') != NULL;

	assert_int_equal(inet_pton(six ? AF_INET6 : AF_INET, addr, bytes), 1);
	assert_int_equal(flt_ranges_new(l, &r, NULL), 0);
	mask = flt_ranges_find(r, six ? 6 : 4, bytes);
	assert_null(flt_ranges_free(r));
	return mask;
}

static void test_lines(void **state)
{
	struct flt_lists *l = new_lists();

	(void)state;
	assert_int_equal(add(l, "# a comment\n\n 192.0.2.0/24 # the net\r\n\t10.1.2.3\t\n2001:db8::/32\n::1\n"
				"10.1.2.3\n255.255.255.255"),
			 0);
	assert_int_equal(add(l, "0.0.0.0/0\n"), 1);
	assert_int_equal(add(l, "::/0"), 2);
	assert_int_equal(flt_lists_mask(l), 7);
	assert_int_equal(flt_lists_info(l, 0)->entries, 6);
	assert_int_equal(flt_lists_info(l, 0)->ip4, 3);
	assert_int_equal(flt_lists_info(l, 0)->ip6, 2);
	assert_null(flt_lists_info(l, 3));
	assert_int_equal(find(l, "192.0.2.0"), 3);
	assert_int_equal(find(l, "192.0.2.255"), 3);
	assert_int_equal(find(l, "192.0.3.0"), 2);
	assert_int_equal(find(l, "192.0.1.255"), 2);
	assert_int_equal(find(l, "10.1.2.3"), 3);
	assert_int_equal(find(l, "10.1.2.4"), 2);
	assert_int_equal(find(l, "0.0.0.0"), 2);
	assert_int_equal(find(l, "255.255.255.255"), 3);
	assert_int_equal(find(l, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), 5);
	assert_int_equal(find(l, "2001:db9::"), 4);
	assert_int_equal(find(l, "::1"), 5);
	assert_int_equal(find(l, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 4);
	assert_null(flt_lists_free(l));
	assert_null(flt_lists_free(NULL));
}

static void test_refusals(void **state)
{
	static const struct {
		const char *text, *where, *why;
	} cases[] = {
		{ "10.0.0.1\n10.0.0.1/8\n", "t:2:", "bits set behind its prefix" },
		{ "10.0.0.0/33", "t:1:", "prefix length" },
		{ "10.0.0.0/", "t:1:", "prefix length" },
		{ "10.0.0.0/08", "t:1:", "prefix length" },
		{ "10.0.0.0/-1", "t:1:", "prefix length" },
		{ "10.0.0.0/8/8", "t:1:", "prefix length" },
		{ "10.0.0.0/4294967304", "t:1:", "prefix length" },
		{ "::1/129", "t:1:", "prefix length" },
		{ "::1/64", "t:1:", "bits set behind its prefix" },
		{ "2001:db8::1/127", "t:1:", "bits set behind its prefix" },
		{ "1.1.1.1\n\n#\nexample.org", "t:4:", "is not an address" },
		{ "10.0.0", "t:1:", "is not an address" },
		{ "010.0.0.1", "t:1:", "is not an address" },
		{ "10.0.0.1 10.0.0.2", "t:1:", "is not an address" },
		{ "1.1.1.1,", "t:1:", "is not an address" },
		{ "fe80::1%eth0", "t:1:", "is not an address" },
		{ ":::", "t:1:", "is not an address" },
		{ "/8", "t:1:", "is not an address" },
		{ "11111111111111111111111111111111111111111111111111111111111111111111111111111111111",
		  "t:1:", "is not an address" },
		{ "# nothing\n\n", "t:", "no address" },
		{ "", "t:", "no address" },
	};
	struct flt_lists *l = new_lists();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		uint32_t index = 77;

		assert_int_equal(flt_lists_add(l, "t", cases[i].text, strlen(cases[i].text), &index, &err),
				 SKEP_E_USAGE);
		if (strncmp(err.text, cases[i].where, strlen(cases[i].where)) != 0 ||
		    !strstr(err.text, cases[i].why) || !err.hint[0])
			fail_msg("\"%s\": %s (%s)", cases[i].text, err.text, err.hint);
		assert_int_equal(index, 77);
		assert_int_equal(flt_lists_mask(l), 0);
	}
	flt_lists_free(l);
}

/* A filter may come from somebody who may not read the file. */
static void test_secrets_stay(void **state)
{
	static const char secret[] = "root:$y$j9T$abc\n";
	struct skep_err err = SKEP_ERR_NULL;
	struct flt_lists *l = new_lists();
	uint32_t index;

	(void)state;
	assert_int_equal(flt_lists_add(l, "t", secret, sizeof(secret) - 1, &index, &err), SKEP_E_USAGE);
	assert_null(strstr(err.text, "root"));
	assert_null(strstr(err.text, "y$"));
	assert_int_equal(flt_lists_add(l, "t", "1.1.1.1\0x", 9, &index, &err), SKEP_E_USAGE);
	flt_lists_free(l);
}

static void write_text(const char *path, const char *text)
{
	tool_write_file(path, text, strlen(text));
}

static void test_files(void **state)
{
	char *dir = tool_make_dir(), path[256], fifo[256];
	struct flt_lists *l = new_lists();
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t a, b, c;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/list", dir);
	(void)snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	write_text(path, "10.0.0.1\n");
	assert_int_equal(flt_lists_open(l, path, &a, &err), 0);
	assert_int_equal(flt_lists_open(l, path, &b, &err), 0);
	assert_int_equal(a, b);
	write_text(path, "10.0.0.1\n10.0.0.2\n");
	assert_int_equal(flt_lists_open(l, path, &c, &err), 0);
	assert_int_not_equal(a, c);
	assert_int_equal(flt_lists_info(l, a)->entries, 1);
	assert_int_equal(flt_lists_info(l, c)->entries, 2);
	assert_int_equal(find(l, "10.0.0.2"), 1u << c);
	flt_lists_release(l, 1u << a);
	assert_int_equal(flt_lists_mask(l), 1u << a | 1u << c);
	flt_lists_hold(l, 1u << a);
	flt_lists_release(l, 1u << a);
	flt_lists_release(l, 1u << a | 1u << c);
	assert_int_equal(flt_lists_mask(l), 0);

	assert_int_equal(flt_lists_open(l, dir, &a, &err), SKEP_E_USAGE);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(flt_lists_open(l, fifo, &a, &err),
			 SKEP_E_USAGE); /* and does not wait for a writer */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(flt_lists_open(l, path, &a, &err), SKEP_E_NOT_FOUND);
	assert_non_null(strstr(err.text, path));
	write_text(path, "10.0.0.1\n\n10.0.0.x\n");
	assert_int_equal(flt_lists_open(l, path, &a, &err), SKEP_E_USAGE);
	assert_non_null(strstr(err.text, "/list:3:"));
	tool_remove_dir(dir);
	flt_lists_free(l);
}

static void test_numbers_run_out_and_come_back(void **state)
{
	struct flt_lists *l = new_lists();
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t index = 5;

	(void)state;
	for (uint32_t i = 0; i < FLT_MAX_LISTS; i++)
		assert_int_equal(add(l, "10.0.0.1"), i);
	assert_int_equal(find(l, "10.0.0.1"), UINT32_MAX);
	assert_int_equal(flt_lists_add(l, "t", "1.1.1.1", 7, &index, &err), SKEP_E_NO_SPACE);
	assert_int_equal(index, 5);
	flt_lists_release(l, 1u << 17);
	assert_int_equal(find(l, "10.0.0.1"), UINT32_MAX); /* somebody may still read its bit */
	assert_int_equal(add(l, "10.0.0.2"), 17);
	assert_int_equal(find(l, "10.0.0.1"), ~(1u << 17));
	assert_int_equal(find(l, "10.0.0.2"), 1u << 17);
	assert_false(flt_lists_sweep(l));
	flt_lists_release(l, 1u << 17 | 1u << 3);
	assert_int_equal(flt_lists_mask(l), ~(1u << 17 | 1u << 3));
	assert_int_equal(find(l, "10.0.0.2"), 1u << 17);
	assert_true(flt_lists_sweep(l));
	assert_int_equal(find(l, "10.0.0.2"), 0);
	assert_int_equal(find(l, "10.0.0.1"), ~(1u << 17 | 1u << 3));
	assert_int_equal(add(l, "10.0.0.2"), 3);
	assert_int_equal(add(l, "10.0.0.2"), 17);
	flt_lists_free(l);
}

/* From few bits, so that prefixes nest and addresses hit. */
static void random_addr(uint8_t *addr, unsigned bytes, uint64_t *seed)
{
	static const uint8_t values[] = { 0, 1, 0x80, 0xff };

	for (unsigned i = 0; i < bytes; i++)
		addr[i] = i == bytes - 1 || i < 2 ? values[tool_random(seed) % 4] : 0;
}

struct entry {
	uint8_t addr[16];
	unsigned bytes, bits, list;
};

static bool holds(const struct entry *e, const uint8_t *addr, unsigned bytes)
{
	if (e->bytes != bytes)
		return false;
	for (unsigned i = 0; i < e->bits; i++)
		if ((e->addr[i / 8] ^ addr[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

static void random_entry(struct entry *e, uint64_t *seed)
{
	e->bytes = tool_random(seed) % 2 ? 4 : 16;
	e->bits = (unsigned)(tool_random(seed) % (e->bytes * 8 + 1));
	e->list = (unsigned)(tool_random(seed) % 5);
	random_addr(e->addr, e->bytes, seed);
	for (unsigned i = e->bits; i < e->bytes * 8; i++)
		e->addr[i / 8] &= (uint8_t) ~(1u << (7 - i % 8));
}

/* The longest prefix of the table that holds the address, as a kernel's trie finds it. */
static uint32_t longest(const struct flt_prefix *v, size_t n, const uint8_t *addr, unsigned bytes)
{
	uint32_t mask = 0;
	int best = -1;

	for (size_t i = 0; i < n; i++) {
		struct entry e = { .bytes = v[i].version == 4 ? 4 : 16, .bits = v[i].bits };

		memcpy(e.addr, v[i].addr, 16);
		if ((int)e.bits > best && holds(&e, addr, bytes)) {
			best = (int)e.bits;
			mask = v[i].mask;
		}
	}
	return mask;
}

static const struct flt_prefix *look_up(const struct flt_lengths *l, const struct entry *key)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].version == (key->bytes == 4 ? 4 : 6) && l->v[i].bits == key->bits &&
		    memcmp(l->v[i].addr, key->addr, 16) == 0)
			return &l->v[i];
	return NULL;
}

/* The search as the look stage does it, and no more steps than it has. */
static uint32_t search(const struct flt_lengths *l, const uint8_t *addr, unsigned bytes)
{
	const uint8_t *bits = bytes == 4 ? l->bits4 : l->bits6;
	uint32_t low = 0, high = bytes == 4 ? l->n4 : l->n6, mask = 0;
	int steps = 0;

	while (low < high) {
		uint32_t mid = (low + high) / 2;
		struct entry key = { .bytes = bytes, .bits = bits[mid] };
		const struct flt_prefix *p;

		memcpy(key.addr, addr, bytes);
		for (unsigned i = key.bits; i < bytes * 8; i++)
			key.addr[i / 8] &= (uint8_t) ~(1u << (7 - i % 8));
		p = look_up(l, &key);
		steps++;
		if (p) {
			mask = p->mask;
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	assert_true(steps <= (bytes == 4 ? SKEP_LOOK_STEPS4 : SKEP_LOOK_STEPS6));
	return mask;
}

static void make_lists(struct flt_lists *l, const struct entry *v, size_t n)
{
	for (unsigned list = 0; list < 5; list++) {
		char text[64 * 64] = "127.0.0.9\n", addr[INET6_ADDRSTRLEN];
		size_t len = strlen(text);

		for (size_t i = 0; i < n; i++)
			if (v[i].list == list)
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s/%u\n",
							inet_ntop(v[i].bytes == 4 ? AF_INET : AF_INET6,
								  v[i].addr, addr, sizeof(addr)),
							v[i].bits);
		assert_int_equal(add(l, text), list);
	}
}

static void test_table_and_ranges(void **state)
{
	uint64_t seed = 99;

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct entry v[40];
		size_t n = 1 + tool_random(&seed) % ARRAY_LEN(v), table_n = 0;
		struct flt_lists *l = new_lists();
		struct flt_prefix *table = NULL;
		struct flt_lengths lengths = FLT_LENGTHS_NULL;
		struct flt_ranges *ranges = NULL;

		for (size_t i = 0; i < n; i++)
			random_entry(&v[i], &seed);
		make_lists(l, v, n);
		assert_int_equal(flt_lists_table(l, &table, &table_n, NULL), 0);
		assert_int_equal(flt_ranges_new(l, &ranges, NULL), 0);
		assert_int_equal(flt_lengths_make(table, table_n, &lengths), 0);
		assert_true(lengths.n >= table_n && lengths.n <= 8 * table_n);
		for (int k = 0; k < 300; k++) {
			unsigned bytes = k % 2 ? 4 : 16;
			uint8_t addr[16] = { 0 };
			uint32_t want = 0;

			random_addr(addr, bytes, &seed);
			for (size_t i = 0; i < n; i++)
				want |= holds(&v[i], addr, bytes) ? 1u << v[i].list : 0;
			assert_int_equal(flt_ranges_find(ranges, k % 2 ? 4 : 6, addr), want);
			assert_int_equal(longest(table, table_n, addr, bytes), want);
			assert_int_equal(search(&lengths, addr, bytes), want);
		}
		free(table);
		flt_lengths_done(&lengths);
		flt_ranges_free(ranges);
		flt_lists_free(l);
	}
}

static void test_many_lines(void **state)
{
	enum { LINES = 200000 };
	char *text = malloc((size_t)LINES * 40);
	struct flt_lists *l = new_lists();
	struct flt_ranges *r = NULL;
	struct timespec from, to;
	size_t len = 0;
	uint64_t seed = 5;
	uint32_t index, addr;

	(void)state;
	assert_non_null(text);
	for (int i = 0; i < LINES; i++) {
		uint32_t v = (uint32_t)tool_random(&seed);

		len += (size_t)snprintf(text + len, 40, i % 2 ? "%u.%u.%u.%u\n" : "2001:db8:%x:%x:%x::%x\n",
					v >> 24, v >> 16 & 0xff, v >> 8 & 0xff, v & 0xff);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	assert_int_equal(flt_lists_add(l, "t", text, len, &index, NULL), 0);
	assert_int_equal(flt_ranges_new(l, &r, NULL), 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	print_message("# %d lines in %ld ms of processor time\n", LINES,
		      (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000);
	assert_true(to.tv_sec - from.tv_sec < 2); /* the sanitizers' builds, too */
	assert_int_equal(flt_lists_info(l, index)->entries, LINES);
	seed = 5;
	addr = (uint32_t)tool_random(&seed); /* of a line of IPv6 */
	addr = htonl((uint32_t)tool_random(&seed));
	assert_int_equal(flt_ranges_find(r, 4, &addr), 1);
	flt_ranges_free(r);
	flt_lists_free(l);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_secrets_stay),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_numbers_run_out_and_come_back),
		cmocka_unit_test(test_table_and_ranges),
		cmocka_unit_test(test_many_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
