/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the digest in a sidecar is that of the file (sha256sum is the judge) and that nothing else in
 * the sidecar changes; that a segment that was rotated away meanwhile gets none of its sidecar back; that
 * what is not ours is left alone; and that stopping at once leaves whole sidecars.
 */
#include "tool.h"
#include "unit.h"

#include "capture/digest.h"
#include "capture/sidecar.h"

static char *dir;
static int fd;

static int enter(void **state)
{
	(void)state;
	dir = tool_make_dir();
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0;
}

static int leave(void **state)
{
	(void)state;
	close(fd);
	tool_remove_dir(dir);
	return 0;
}

static const char *path_of(const char *name)
{
	static char path[4200];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* A file of n pseudo-random bytes and its sidecar. */
static void make_segment(const char *name, size_t n)
{
	const struct cap_sidecar_entry entry = { .file_bytes = n, .raw_bytes = 3 * n, .pkts = 9 };
	struct cap_sidecar sc = CAP_SIDECAR_NULL;
	uint8_t *data = malloc(n + 1);
	uint64_t seed = n + 1;

	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)tool_random(&seed);
	tool_write_file(path_of(name), data, n);
	free(data);
	sc.segment = name;
	sc.filter = "udp port 53";
	sc.account.stored_pkts = 9;
	sc.index = &entry;
	sc.n_index = 1;
	assert_int_equal(cap_sidecar_write(fd, name, &sc), 0);
}

static void check_digest(const char *name)
{
	_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
	_skep_free_ char *out = NULL;

	assert_int_equal(cap_sidecar_read(fd, name, &sc, NULL), 0);
	assert_int_equal(tool_run(&out, NULL, "sha256sum < '%s'", path_of(name)), 0);
	assert_non_null(sc->sha256);
	assert_int_equal(strncmp(out, sc->sha256, 64), 0);
	assert_string_equal(sc->filter, "udp port 53");
	assert_int_equal(sc->account.stored_pkts, 9);
	assert_int_equal(sc->n_index, 1);
	assert_true(sc->complete);
}

static void digests_are_right(void **state)
{
	static const struct {
		const char *name;
		size_t n;
	} files[] = {
		{ "empty.pcap", 0 }, { "one.pcap", 1 }, { "chunk.pcap", 262144 }, { "more.pcap.zst", 3000001 }
	};
	struct cap_digest *digest = NULL;
	int own = dup(fd);

	(void)state;
	assert_int_equal(cap_digest_start(&digest, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		make_segment(files[i].name, files[i].n);
		cap_digest_add(digest, own, files[i].name);
	}
	close(own); /* the job that gave it may be gone */
	assert_null(cap_digest_stop(digest, false));
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		check_digest(files[i].name);
	assert_null(cap_digest_stop(NULL, false));
}

static void what_is_not_there_stays_away(void **state)
{
	struct cap_digest *digest = NULL;
	_skep_free_ char *out = NULL;

	(void)state;
	make_segment("rotated.pcap", 1000);
	assert_int_equal(unlink(path_of("rotated.pcap")), 0);
	assert_int_equal(unlink(path_of("rotated.pcap.json")), 0);
	make_segment("alone.pcap", 1000);
	assert_int_equal(unlink(path_of("alone.pcap.json")), 0);
	make_segment("spoilt.pcap", 1000);
	tool_write_file(path_of("spoilt.pcap.json"), "mine", 4);
	assert_int_equal(symlink("/etc/passwd", path_of("link.pcap")), 0);
	assert_int_equal(cap_digest_start(&digest, NULL), 0);
	cap_digest_add(digest, fd, "rotated.pcap");
	cap_digest_add(digest, fd, "alone.pcap");
	cap_digest_add(digest, fd, "spoilt.pcap");
	cap_digest_add(digest, fd, "link.pcap");
	cap_digest_add(digest, -1, "alone.pcap");
	make_segment("good.pcap", 1000);
	cap_digest_add(digest, fd, "good.pcap"); /* one that cannot be done does not stop the others */
	assert_null(cap_digest_stop(digest, false));
	check_digest("good.pcap");
	assert_int_equal(tool_run(&out, NULL, "cd '%s' && cat spoilt.pcap.json && ls -A", dir), 0);
	assert_string_equal(
		out, "mine"
		     "alone.pcap\ngood.pcap\ngood.pcap.json\nlink.pcap\nspoilt.pcap\nspoilt.pcap.json\n");
}

/* Rotation removes a file and its sidecar while its digest is computed, at any moment of it. */
static void rotated_away_meanwhile(void **state)
{
	struct cap_digest *digest = NULL;
	_skep_free_ char *out = NULL;
	char name[32];

	(void)state;
	assert_int_equal(cap_digest_start(&digest, NULL), 0);
	for (int i = 0; i < 200; i++) {
		(void)snprintf(name, sizeof(name), "s-%d.pcap", i);
		make_segment(name, 20000);
		cap_digest_add(digest, fd, name);
		(void)usleep((useconds_t)(i * 10));
		/* as the keeper does it; the digest may have removed the sidecar that it had brought back */
		assert_int_equal(unlink(path_of(name)), 0);
		(void)snprintf(name, sizeof(name), "s-%d.pcap.json", i);
		assert_true(unlink(path_of(name)) == 0 || errno == ENOENT);
	}
	assert_null(cap_digest_stop(digest, false));
	assert_int_equal(tool_run(&out, NULL, "ls -A '%s'", dir), 0);
	assert_string_equal(out, "");
}

static void abandoned_at_once(void **state)
{
	struct cap_digest *digest = NULL;
	_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
	char name[32];

	(void)state;
	make_segment("large.pcap", 1000);
	assert_int_equal(truncate(path_of("large.pcap"), 8ll << 30), 0); /* minutes of hashing, no space */
	assert_int_equal(cap_digest_start(&digest, NULL), 0);
	cap_digest_add(digest, fd, "large.pcap");
	for (int i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "s-%d.pcap", i);
		make_segment(name, 100);
		cap_digest_add(digest, fd, name);
	}
	assert_null(cap_digest_stop(digest, true));
	for (int i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "s-%d.pcap", i);
		assert_int_equal(cap_sidecar_read(fd, name, &sc, NULL), 0);
		assert_null(sc->sha256);
		sc = cap_sidecar_free(sc);
	}
	assert_int_equal(cap_sidecar_read(fd, "large.pcap", &sc, NULL), 0);
	assert_null(sc->sha256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(digests_are_right, enter, leave),
		cmocka_unit_test_setup_teardown(what_is_not_there_stays_away, enter, leave),
		cmocka_unit_test_setup_teardown(rotated_away_meanwhile, enter, leave),
		cmocka_unit_test_setup_teardown(abandoned_at_once, enter, leave),
	};

	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
