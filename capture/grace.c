/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One thread, a number that was asked for and a number that has passed. membarrier(MEMBARRIER_CMD_GLOBAL) is
 * synchronize_rcu() for user space, see membarrier(2) and kernel/sched/membarrier.c. Kernels that run with
 * nohz_full refuse it.
 */
#include "capture/grace.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

/*
 * Instead of a grace period: a softirq hands over to its thread after some milliseconds, an XDP program is
 * done with its frame in some microseconds.
 */
#define REFUSED_NS 500000000

struct cap_grace {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint64_t asked;
	uint64_t passed; /* atomic: read without the lock */
	bool stop;
	int wake_fd;
};

static void *grace_main(void *arg)
{
	struct cap_grace *g = arg;

	pthread_setname_np(pthread_self(), "grace");
	pthread_mutex_lock(&g->lock);
	while (!g->stop) {
		uint64_t ticket = g->asked;

		if (ticket == g->passed) {
			pthread_cond_wait(&g->wake, &g->lock);
			continue;
		}
		pthread_mutex_unlock(&g->lock);
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
			(void)nanosleep(&(struct timespec){ .tv_nsec = REFUSED_NS }, NULL);
		__atomic_store_n(&g->passed, ticket, __ATOMIC_RELEASE);
		skep_ring_bell(g->wake_fd);
		pthread_mutex_lock(&g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

int cap_grace_start(int wake_fd, struct cap_grace **ret, struct skep_err *err)
{
	struct cap_grace *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return skep_err_set(err, -ENOMEM, "no memory for a thread");
	g->wake_fd = wake_fd;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->wake, NULL);
	r = pthread_create(&g->thread, NULL, grace_main, g);
	if (r) {
		free(g);
		return skep_err_set(err, -r, "cannot start a thread: %s", strerror(r));
	}
	*ret = g;
	return 0;
}

struct cap_grace *cap_grace_stop(struct cap_grace *g)
{
	if (!g)
		return NULL;
	pthread_mutex_lock(&g->lock);
	g->stop = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
	pthread_cond_destroy(&g->wake);
	pthread_mutex_destroy(&g->lock);
	free(g);
	return NULL;
}

uint64_t cap_grace_ask(struct cap_grace *g)
{
	uint64_t ticket;

	pthread_mutex_lock(&g->lock);
	ticket = ++g->asked;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->lock);
	return ticket;
}

bool cap_grace_passed(const struct cap_grace *g, uint64_t ticket)
{
	return __atomic_load_n(&g->passed, __ATOMIC_ACQUIRE) >= ticket;
}
