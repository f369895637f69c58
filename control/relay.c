/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A relay is a thread and a pipe. The HTTP server has the pipe's other end and closes it when the client
 * has gone, which the thread finds out when it writes, or waits. What is on its way is bounded by the pipe;
 * a client that does not read stops its own relay and nothing else, until the server's deadline cuts it
 * off.
 *
 * A relay belongs to two: its thread, and whoever started it (then the HTTP server's stream). The last one
 * frees it. `whole` is set before the pipe is closed, so who has read its end knows whether it was all.
 */
#include "control/relay.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define PIPE_BYTES (256 << 10)

struct ctl_relays {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* of any relay */
	uint32_t max[CTL_RELAY_KINDS], n[CTL_RELAY_KINDS], threads;
};

struct ctl_relay {
	struct ctl_relays *relays;
	struct ctl_relay_work work;
	int out;       /* the thread's */
	uint32_t refs; /* under the lock, as is what follows */
	bool wrote, ended;
	struct skep_err err;
	_Atomic bool whole;
};

static uint64_t now_ms(void)
{
	return skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC) / SKEP_NSEC_PER_MSEC;
}

struct ctl_relays *ctl_relays_new(const uint32_t max[CTL_RELAY_KINDS])
{
	struct ctl_relays *relays = calloc(1, sizeof(*relays));
	pthread_condattr_t attr;

	if (!relays)
		return NULL;
	memcpy(relays->max, max, sizeof(relays->max));
	pthread_mutex_init(&relays->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&relays->changed, &attr);
	pthread_condattr_destroy(&attr);
	return relays;
}

struct ctl_relays *ctl_relays_free(struct ctl_relays *relays)
{
	if (!relays)
		return NULL;
	pthread_mutex_lock(&relays->lock);
	while (relays->threads)
		pthread_cond_wait(&relays->changed, &relays->lock);
	pthread_mutex_unlock(&relays->lock);
	pthread_cond_destroy(&relays->changed);
	pthread_mutex_destroy(&relays->lock);
	free(relays);
	return NULL;
}

uint32_t ctl_relays_count(struct ctl_relays *relays, enum ctl_relay_kind kind)
{
	uint32_t n;

	pthread_mutex_lock(&relays->lock);
	n = relays->n[kind];
	pthread_mutex_unlock(&relays->lock);
	return n;
}

void ctl_relay_release(void *arg)
{
	struct ctl_relay *relay = arg;
	bool last;

	pthread_mutex_lock(&relay->relays->lock);
	last = --relay->refs == 0;
	pthread_mutex_unlock(&relay->relays->lock);
	if (last)
		free(relay);
}

bool ctl_relay_whole(void *arg)
{
	return ((struct ctl_relay *)arg)->whole;
}

static void *relay_main(void *arg)
{
	struct ctl_relay *relay = arg;
	struct ctl_relays *relays = relay->relays;
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	(void)pthread_setname_np(pthread_self(), "relay");
	r = relay->work.run(relay, relay->work.arg, &err);
	if (r && r != -EPIPE)
		skep_log(SKEP_LOG_WARNING, "stream cut: %s",
			 err.text[0] ? err.text : strerror(r < 0 ? -r : EIO));
	relay->whole = r == 0;
	skep_closep(&relay->out);
	pthread_mutex_lock(&relays->lock);
	relay->ended = true;
	relay->err = err;
	relays->n[relay->work.kind]--;
	pthread_cond_broadcast(&relays->changed);
	pthread_mutex_unlock(&relays->lock);
	ctl_relay_release(relay);
	pthread_mutex_lock(&relays->lock);
	relays->threads--;
	pthread_cond_broadcast(&relays->changed);
	pthread_mutex_unlock(&relays->lock);
	return NULL;
}

/* A place among those of its kind. */
static bool take_place(struct ctl_relays *relays, enum ctl_relay_kind kind)
{
	bool free_place;

	pthread_mutex_lock(&relays->lock);
	free_place = relays->n[kind] < relays->max[kind];
	relays->n[kind] += free_place;
	relays->threads += free_place;
	pthread_mutex_unlock(&relays->lock);
	return free_place;
}

static int start(struct ctl_relays *relays, const struct ctl_relay_work *work, struct ctl_relay **ret,
		 int *ret_fd)
{
	struct ctl_relay *relay = calloc(1, sizeof(*relay));
	_skep_close_ int in = -1;
	pthread_attr_t attr;
	pthread_t thread;
	int fds[2], r;

	if (!relay)
		return -ENOMEM;
	*relay = (struct ctl_relay){ .relays = relays, .work = *work, .refs = 2 };
	if (pipe2(fds, O_CLOEXEC) < 0) {
		r = -errno;
		free(relay);
		return r;
	}
	in = fds[0];
	relay->out = fds[1];
	(void)fcntl(relay->out, F_SETPIPE_SZ, PIPE_BYTES); /* what the kernel gives is enough as well */
	(void)fcntl(relay->out, F_SETFL, O_NONBLOCK);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, relay_main, relay);
	pthread_attr_destroy(&attr);
	if (r) {
		skep_closep(&relay->out);
		free(relay);
		return -r;
	}
	*ret = relay;
	*ret_fd = TAKE_FD(in);
	return 0;
}

int ctl_relay_start(struct ctl_relays *relays, const struct ctl_relay_work *work, struct ctl_relay **ret,
		    int *ret_fd, struct skep_err *err)
{
	int r;

	if (!take_place(relays, work->kind)) {
		(void)work->run(NULL, work->arg, NULL);
		return skep_err_set(err, SKEP_E_BUSY,
				    "as many of these streams as may be at once (%u) are under way",
				    relays->max[work->kind]);
	}
	r = start(relays, work, ret, ret_fd);
	if (r == 0)
		return 0;
	pthread_mutex_lock(&relays->lock);
	relays->n[work->kind]--;
	relays->threads--;
	pthread_mutex_unlock(&relays->lock);
	(void)work->run(NULL, work->arg, NULL);
	return skep_err_set(err, r, "a stream cannot be started: %s", strerror(-r));
}

enum ctl_relay_news ctl_relay_wait(struct ctl_relay *relay, uint32_t wait_ms, struct skep_err *ret_err)
{
	struct ctl_relays *relays = relay->relays;
	enum ctl_relay_news news;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&relays->lock);
	while (!relay->wrote && !relay->ended &&
	       pthread_cond_timedwait(&relays->changed, &relays->lock, &until) == 0)
		;
	news = relay->wrote ? CTL_RELAY_BYTES : relay->ended ? CTL_RELAY_ENDED : CTL_RELAY_NOTHING;
	if (relay->ended)
		*ret_err = relay->err;
	pthread_mutex_unlock(&relays->lock);
	return news;
}

static void note_bytes(struct ctl_relay *relay)
{
	if (relay->wrote) /* set by this thread only */
		return;
	pthread_mutex_lock(&relay->relays->lock);
	relay->wrote = true;
	pthread_cond_broadcast(&relay->relays->changed);
	pthread_mutex_unlock(&relay->relays->lock);
}

int ctl_relay_poll(struct ctl_relay *relay, int fd, int wait_ms)
{
	struct pollfd fds[2] = { { .fd = relay->out, .events = 0 }, { .fd = fd, .events = POLLIN } };
	int n = poll(fds, 2, wait_ms);

	if (n > 0 && fds[0].revents & (POLLERR | POLLNVAL))
		return -EPIPE;
	return n > 0 && fds[1].revents;
}

int ctl_relay_write(struct ctl_relay *relay, const void *bytes, size_t n, uint32_t wait_ms,
		    size_t *ret_written)
{
	uint64_t until = now_ms() + wait_ms, now;
	size_t done = 0;
	int r = 0;

	while (done < n && r == 0) {
		ssize_t k = write(relay->out, (const char *)bytes + done, n - done);
		struct pollfd out = { .fd = relay->out, .events = POLLOUT };

		if (k > 0) {
			done += (size_t)k;
			note_bytes(relay);
		} else if (errno == EAGAIN && wait_ms && now_ms() >= until) {
			r = -ETIME;
		} else if (errno == EAGAIN) {
			now = now_ms();
			(void)poll(&out, 1, !wait_ms ? -1 : now < until ? (int)(until - now) : 0);
		} else if (errno != EINTR) {
			r = -errno;
		}
	}
	if (ret_written)
		*ret_written = done;
	return r;
}
