/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that no failure of the disk makes the account lie. For every call of struct cap_io the N-th one
 * fails, for all N until none is left to fail; then every call from the N-th on. Errors are EIO and
 * ENOSPC; writes also stop short after 1, 511, 4,096 and 100,000 bytes. Each time: no crash, no hang,
 * every file without .part is whole, and the packets counted as stored are exactly those that can be read
 * from the completed files. After a single failure writing goes on.
 */
#include "pathrig.h"
#include "tool.h"

enum op {
	OP_OPENAT,
	OP_FALLOCATE,
	OP_FTRUNCATE,
	OP_FSYNC,
	OP_RENAMEAT,
	OP_UNLINKAT,
	OP_PWRITE,
	OP_FREE_BYTES,
	OP_RING_WRITE,
	OP_N
};

static const char *const op_names[] = { "openat",   "fallocate", "ftruncate",  "fsync",	    "renameat",
					"unlinkat", "pwrite",	 "free_bytes", "ring_write" };

struct faults {
	enum op op;
	uint64_t nth;     /* from 1 */
	bool persistent;
	int32_t result;   /* -errno, or bytes of a short write */
	int32_t also; /* every so many ring writes fail, else pwrite is never called; 0: none */
	_Atomic uint64_t calls, fired, ring_calls;
};

/* 0: do it. */
static int32_t strike(struct faults *f, enum op op)
{
	uint64_t n;

	if (op == OP_RING_WRITE && f->also && atomic_fetch_add(&f->ring_calls, 1) % (uint64_t)f->also == 2)
		return -EIO;
	if (op != f->op)
		return 0;
	n = atomic_fetch_add(&f->calls, 1) + 1;
	if (n != f->nth && !(f->persistent && n > f->nth))
		return 0;
	atomic_fetch_add(&f->fired, 1);
	return f->result;
}

static int f_openat(void *arg, int dirfd, const char *name, int flags, mode_t mode)
{
	int r = strike(arg, OP_OPENAT);

	return r ? r : cap_io_kernel.openat(NULL, dirfd, name, flags, mode);
}

static int f_fallocate(void *arg, int fd, uint64_t off, uint64_t len)
{
	int r = strike(arg, OP_FALLOCATE);

	return r ? r : cap_io_kernel.fallocate(NULL, fd, off, len);
}

static int f_ftruncate(void *arg, int fd, uint64_t len)
{
	int r = strike(arg, OP_FTRUNCATE);

	return r ? r : cap_io_kernel.ftruncate(NULL, fd, len);
}

static int f_fsync(void *arg, int fd)
{
	int r = strike(arg, OP_FSYNC);

	return r ? r : cap_io_kernel.fsync(NULL, fd);
}

static int f_renameat(void *arg, int dirfd, const char *from, const char *to)
{
	int r = strike(arg, OP_RENAMEAT);

	return r ? r : cap_io_kernel.renameat(NULL, dirfd, from, to);
}

static int f_unlinkat(void *arg, int dirfd, const char *name)
{
	int r = strike(arg, OP_UNLINKAT);

	return r ? r : cap_io_kernel.unlinkat(NULL, dirfd, name);
}

static int f_pwrite(void *arg, int fd, const void *data, size_t len, uint64_t off)
{
	int r = strike(arg, OP_PWRITE);

	return r ? r : cap_io_kernel.pwrite(NULL, fd, data, len, off);
}

static int f_free_bytes(void *arg, int fd, uint64_t *ret)
{
	int r = strike(arg, OP_FREE_BYTES);

	return r ? r : cap_io_kernel.free_bytes(NULL, fd, ret);
}

static int32_t f_ring_write(void *arg, uint32_t len)
{
	(void)len;
	return strike(arg, OP_RING_WRITE);
}

static const struct cap_io faulty = {
	.openat = f_openat,
	.fallocate = f_fallocate,
	.ftruncate = f_ftruncate,
	.fsync = f_fsync,
	.renameat = f_renameat,
	.unlinkat = f_unlinkat,
	.pwrite = f_pwrite,
	.free_bytes = f_free_bytes,
	.ring_write = f_ring_write,
};

/* One capture under faults; false if the fault never came. */
static bool one_run(struct rig_cfg cfg, struct faults *f)
{
	struct cap_io io = faulty;
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_account a;
	struct rig_read r;
	struct rig *rig;

	io.arg = f;
	cfg.io = &io;
	rig = rig_new(&cfg, &err);
	if (!rig) { /* refused before anything was captured: in words */
		assert_true(err.code != 0 && err.text[0]);
		return atomic_load(&f->fired) > 0;
	}
	rig_run(rig);
	rig_verify(rig, &a, &r);
	if (!f->persistent && !f->also) {
		assert_false(rig->aborted);
		assert_int_equal(a.seen, cfg.n_pkts);
		/* at most one segment and what was in flight behind it */
		assert_true(a.stored >= cfg.n_pkts / 3);
		assert_true(r.n_parts <= 1);
	}
	if (f->op != OP_UNLINKAT && rig->keeper_lanes[0].lost_files == 0)
		assert_int_equal(r.n_parts, 0);
	if (cap_account_dropped(&a) > 0)
		assert_true(rig->said > 0 || rig->aborted); /* nobody has to guess */
	rig_free(rig);
	return atomic_load(&f->fired) > 0;
}

static void all_n(const struct rig_cfg *base, enum op op, int32_t result, bool persistent)
{
	struct rig_cfg cfg = *base;
	int32_t also = 0;
	uint64_t n = 0;
	bool fired;

	if (op == OP_PWRITE) {
		/* It ends a file behind its last good block: files of many writes, some of which fail. */
		also = 3;
		cfg.payload = RIG_RANDOM;
		cfg.n_pkts *= 4;
		cfg.rotate_raw *= 6;
	}

	do {
		struct faults f = {
			.op = op, .nth = ++n, .persistent = persistent, .result = result, .also = also
		};

		print_message("# %s: call %llu%s gives %d\n", op_names[op], (unsigned long long)n,
			      persistent ? " and all behind it" : "", result);
		fired = one_run(cfg, &f);
		assert_true(n < 200);
	} while (fired);
	/*
	 * Each of them is really called; but unlinkat only behind another failure, and only compressed
	 * files are allocated or ended in place.
	 */
	if (op != OP_UNLINKAT && !(cfg.plain && (op == OP_PWRITE || op == OP_FALLOCATE)) &&
	    !(op == OP_FALLOCATE && !cfg.base))
		assert_true(n > (op == OP_PWRITE ? 1u : 2u));
}

static const struct rig_cfg layouts[] = {
	{ .payload = RIG_TEXT, .fixed_level = true, .level = -1 },
	{ .payload = RIG_RANDOM, .fixed_level = true, .level = CAP_LEVEL_STORE },
	{ .payload = RIG_RANDOM, .plain = true },
	{ .payload = RIG_TEXT, .fixed_level = true, .level = 1, .pack_threads = 2 },
};

static struct rig_cfg layout(unsigned i)
{
	struct rig_cfg cfg = layouts[i];

	cfg.n_pkts = 2400;
	cfg.size_min = 60;
	cfg.size_max = 1514;
	cfg.seed = i;
	cfg.pool_blocks = 20;
	cfg.rotate_raw = 600000;
	cfg.sidecar = true;
	cfg.stuck_ms = 60;
	cfg.sleep_max_ns = 200000; /* else most of a thousand runs is naps */
	return cfg;
}

static void single(unsigned i)
{
	static const int32_t errors[] = { -EIO, -ENOSPC };
	static const int32_t lengths[] = { 1, 511, 4096, 100000 };
	struct rig_cfg cfg = layout(i);

	cfg.stuck_ms = 3000;
	for (enum op op = 0; op < OP_N; op++)
		for (unsigned k = 0; k < ARRAY_LEN(errors); k++)
			all_n(&cfg, op, errors[k], false);
	for (unsigned k = 0; k < ARRAY_LEN(lengths); k++)
		all_n(&cfg, OP_RING_WRITE, lengths[k], false);
}

static void single_compressed(void **state)
{
	(void)state;
	single(0);
}

static void single_stored(void **state)
{
	(void)state;
	single(1);
}

static void single_plain(void **state)
{
	(void)state;
	single(2);
}

static void single_packer_threads(void **state)
{
	(void)state;
	single(3);
}

/* Real extents and direct I/O, where the file system has them. */
static void single_on_a_disk(void **state)
{
	static const enum op ops[] = { OP_OPENAT, OP_FALLOCATE, OP_RING_WRITE };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct rig_cfg cfg = layout(i);

		cfg.base = "/var/tmp";
		cfg.stuck_ms = 3000;
		for (unsigned k = 0; k < ARRAY_LEN(ops); k++)
			all_n(&cfg, ops[k], k == 1 ? -ENOSPC : -EIO, false);
		all_n(&cfg, OP_RING_WRITE, 4096, false);
	}
}

static void persistent(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(layouts); i++) {
		struct rig_cfg cfg = layout(i);

		for (enum op op = 0; op < OP_N; op++)
			if (i == 0 || op == OP_RING_WRITE || op == OP_FREE_BYTES)
				all_n(&cfg, op, op % 2 ? -ENOSPC : -EIO, true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_compressed),
		cmocka_unit_test(single_stored),
		cmocka_unit_test(single_plain),
		cmocka_unit_test(single_packer_threads),
		cmocka_unit_test(single_on_a_disk),
		cmocka_unit_test(persistent),
	};

	return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
