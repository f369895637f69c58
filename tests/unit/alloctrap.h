/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_TEST_ALLOCTRAP_H
#define SKEP_TEST_ALLOCTRAP_H
/*
 * Catches, on threads where `armed` is set, the calls that the packet path must not make, by functions of the
 * same name: for one file of a program. A caught call is reported with its backtrace.
 */
#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static inline void alloctrap_expect_none(void)
{
	if (!atomic_load(&caught))
		return;
	print_message("# %u calls, the first one from:\n", atomic_load(&caught));
	backtrace_symbols_fd(trace, trace_n, STDOUT_FILENO);
	fail_msg("the packet path called %s", what ? what : "?");
}

static inline bool alloctrap_skipped(void)
{
	void *warm[4];

	(void)backtrace(warm, 4); /* loads what it needs now, not in the trap */
	if (SANITIZED) {
		print_message("# the sanitizer has its own allocator\n");
		skip();
	}
	return SANITIZED;
}

#endif
