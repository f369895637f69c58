/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that after start the packet path allocates nothing, maps nothing, takes no lock and writes
 * nothing to stderr: over 10^6 packets in each layout, while the keeper beside it does all of that. The
 * calls are caught by functions of the same name in this program; only the worker's thread, between its
 * first turns and the end of the source, is listened to. A caught call is reported with its backtrace.
 */
#include "pathrig.h"
#include "tool.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static __thread bool armed;
static _Atomic uint32_t caught;
static const char *what;
static void *trace[32];
static int trace_n;
static uint64_t armed_pkts;

/* Unused under sanitizers, which bring their own allocator. */
__attribute__((unused)) static void trap(const char *name)
{
	if (!armed)
		return;
	armed = false; /* backtrace may do the same */
	if (atomic_fetch_add(&caught, 1) == 0) {
		what = name;
		trace_n = backtrace(trace, 32);
	}
	armed = true;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
extern void __libc_free(void *p);

void *malloc(size_t n)
{
	trap("malloc");
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	trap("calloc");
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	trap("realloc");
	return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	trap("aligned_alloc");
	return __libc_memalign(align, n);
}

int posix_memalign(void **ret, size_t align, size_t n)
{
	trap("posix_memalign");
	*ret = __libc_memalign(align, n);
	return *ret ? 0 : ENOMEM;
}

void free(void *p)
{
	trap("free");
	__libc_free(p);
}

void *mmap(void *p, size_t n, int prot, int flags, int fd, off_t off)
{
	trap("mmap");
	return (void *)syscall(SYS_mmap, p, n, prot, flags, fd, off);
}

int munmap(void *p, size_t n)
{
	trap("munmap");
	return (int)syscall(SYS_munmap, p, n);
}

int pthread_mutex_lock(pthread_mutex_t *lock)
{
	static int (*real)(pthread_mutex_t *lock);

	trap("pthread_mutex_lock");
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
	return real(lock);
}

ssize_t write(int fd, const void *data, size_t n)
{
	if (fd == STDERR_FILENO)
		trap("write to stderr");
	return syscall(SYS_write, fd, data, n);
}
#endif

/* On the worker's thread. */
static void arm(struct rig *rig, uint32_t worker, uint64_t number)
{
	(void)worker;
	armed = number > 4096 && number + CAP_BATCH < rig->cfg.n_pkts;
	armed_pkts = armed ? number : armed_pkts;
}

static void run(struct rig_cfg cfg)
{
	struct cap_account a;
	struct rig_read r;
	struct rig *rig;

	cfg.n_pkts = 1000000;
	cfg.size_min = 60;
	cfg.size_max = 300;
	cfg.each_turn = arm;
	rig = rig_new(&cfg, NULL);
	atomic_store(&caught, 0);
	rig_run(rig);
	armed = false;
	if (atomic_load(&caught)) {
		print_message("# %u calls, the first one from:\n", atomic_load(&caught));
		backtrace_symbols_fd(trace, trace_n, STDOUT_FILENO);
		fail_msg("the packet path called %s", what);
	}
	assert_true(armed_pkts > 990000);
	rig_verify(rig, &a, &r);
	assert_int_equal(a.stored, cfg.n_pkts);
	if (cfg.rotate_raw)
		assert_true(r.n_files > 10);
	rig_free(rig);
}

static bool skipped(void)
{
	void *warm[4];

	(void)backtrace(warm, 4); /* loads what it needs now, not in the trap */
	if (SANITIZED) {
		print_message("# the sanitizer has its own allocator\n");
		skip();
	}
	return SANITIZED;
}

static void the_trap_catches(void **state)
{
	/* through pointers, or the compiler knows better */
	void *(*volatile take)(size_t n) = malloc;
	void (*volatile give)(void *p) = free;

	(void)state;
	if (skipped())
		return;
	atomic_store(&caught, 0);
	armed = true;
	give(take(100));
	armed = false;
	assert_int_equal(atomic_load(&caught), 2);
	assert_string_equal(what, "malloc");
}

static void compressed_auto(void **state)
{
	(void)state;
	if (!skipped())
		run((struct rig_cfg){ .payload = RIG_PHASES, .phase_pkts = 50000 });
}

static void compressed_fixed(void **state)
{
	(void)state;
	if (!skipped())
		run((struct rig_cfg){ .payload = RIG_TEXT,
				      .fixed_level = true,
				      .level = 1,
				      .pcapng = true,
				      .frags = true });
}

static void stored(void **state)
{
	(void)state;
	if (!skipped())
		run((struct rig_cfg){ .payload = RIG_RANDOM, .fixed_level = true, .level = CAP_LEVEL_STORE });
}

static void plain(void **state)
{
	(void)state;
	if (!skipped())
		run((struct rig_cfg){ .payload = RIG_RANDOM, .plain = true });
}

static void rotating(void **state)
{
	(void)state;
	if (!skipped())
		run((struct rig_cfg){ .payload = RIG_TEXT, .rotate_raw = 10000000, .sidecar = true });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_trap_catches),
		cmocka_unit_test(compressed_auto),
		cmocka_unit_test(compressed_fixed),
		cmocka_unit_test(stored),
		cmocka_unit_test(plain),
		cmocka_unit_test(rotating),
	};

	return cmocka_run_group_tests_name("worker_alloc", tests, NULL, NULL);
}
