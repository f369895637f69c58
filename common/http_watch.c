/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The watch: one thread that keeps the deadlines of all connections and wakes streams. The HTTP library's own
 * timeout starts again with each byte, so one byte every two seconds would hold a connection for ever; here a
 * deadline is a moment. Who misses it has his socket shut down, which the library then finds closed.
 *
 * Progress of an answer is what the peer has acknowledged (TCP_INFO), so it is the same for sendfile, TLS and
 * streams, and what lies in the socket's buffer does not count.
 *
 * Invariant: a connection's descriptor is only used under the lock while it is in the list; the library
 * closes it after it has left.
 */
#include "common/http_priv.h"
#include "common/log.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#define TICK_MS 100
#define LOOK_MS 1000 /* for peers of sleeping streams that have gone */
#define TCP_CLOSE_WAIT_STATE 8
#define TCP_CLOSE_STATE 7

uint64_t skep_http_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

/* Bytes that the peer has acknowledged, and those that it has not; 0 and 0 if the kernel does not say. */
static void progress(int fd, uint64_t *ret_acked, uint64_t *ret_outstanding, int *ret_state)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int outstanding = 0;

	*ret_acked = *ret_outstanding = 0;
	*ret_state = 0;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return;
	*ret_state = info.tcpi_state;
	*ret_acked = info.tcpi_bytes_acked;
	if (ioctl(fd, SIOCOUTQ, &outstanding) == 0 && outstanding > 0)
		*ret_outstanding = (uint64_t)outstanding;
}

static void stall_window(struct skep_http *http, struct http_conn *conn, uint64_t now)
{
	uint64_t acked, outstanding;
	int state;

	progress(conn->fd, &acked, &outstanding, &state);
	conn->must_ack = acked + SKEP_MIN(outstanding, (uint64_t)HTTP_STALL_BYTES);
	conn->deadline_ns = now + http->cfg.stall_ms * SKEP_NSEC_PER_MSEC;
}

void skep_http_conn_phase(struct skep_http *http, struct http_conn *conn, enum http_phase phase)
{
	uint64_t now = skep_http_now_ns();

	pthread_mutex_lock(&http->lock);
	conn->phase = phase;
	stall_window(http, conn, now);
	if (phase == HTTP_HEAD)
		conn->deadline_ns = now + http->cfg.head_ms * SKEP_NSEC_PER_MSEC;
	else if (phase == HTTP_BODY)
		conn->deadline_ns = now + http->cfg.body_ms * SKEP_NSEC_PER_MSEC;
	else if (phase == HTTP_IDLE) /* an answer that is still in the socket's buffer has its own window */
		conn->deadline_ns =
			now + SKEP_NSEC_PER_MSEC * SKEP_MAX(http->cfg.idle_ms, http->cfg.stall_ms);
	if (phase == HTTP_WORK || conn->cut)
		conn->deadline_ns = UINT64_MAX;
	pthread_mutex_unlock(&http->lock);
}

/* Under the lock. */
static void wake(struct http_live *live)
{
	if (live->suspended && live->conn) {
		live->suspended = false;
		skep_http_resume(live->conn->mhd);
	} else {
		live->woken = true;
	}
}

static struct http_live *live_of(struct skep_http *http, const struct http_conn *conn)
{
	for (struct http_live *live = http->lives; live; live = live->next)
		if (live->conn == conn)
			return live;
	return NULL;
}

/* Under the lock: a deadline has passed; is the peer still taking what we send? */
static bool forgiven(struct skep_http *http, struct http_conn *conn, uint64_t now)
{
	uint64_t acked, outstanding;
	int state;

	if (conn->phase == HTTP_HEAD || conn->phase == HTTP_BODY)
		return false;
	progress(conn->fd, &acked, &outstanding, &state);
	if (acked < conn->must_ack || (conn->phase == HTTP_IDLE && outstanding == 0))
		return false;
	stall_window(http, conn, now);
	return true;
}

/* What he did not take is thrown away, else the kernel would go on offering it for minutes. */
static void cut(struct http_conn *conn)
{
	const struct linger at_once = { .l_onoff = 1 };
	uint64_t acked, outstanding;
	int state;

	progress(conn->fd, &acked, &outstanding, &state);
	if (outstanding)
		(void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	conn->cut = true;
	conn->deadline_ns = UINT64_MAX;
	(void)shutdown(conn->fd, SHUT_RDWR);
}

static void check_deadlines(struct skep_http *http, uint64_t now)
{
	pthread_mutex_lock(&http->lock);
	for (struct http_conn *conn = http->conns; conn; conn = conn->next) {
		struct http_live *live;

		if (now < conn->deadline_ns || forgiven(http, conn, now))
			continue;
		skep_log(SKEP_LOG_DEBUG, "peer=%s phase=%d cut: missed its deadline", conn->peer,
			 conn->phase);
		if (conn->phase != HTTP_IDLE)
			http->stats.cut++;
		cut(conn);
		live = live_of(http, conn);
		if (live)
			wake(live);
	}
	pthread_mutex_unlock(&http->lock);
}

/* A sleeping stream is not looked at by the library: find out here that its peer has gone. */
static void check_lives(struct skep_http *http, bool ping)
{
	uint64_t acked, outstanding;
	int state;

	pthread_mutex_lock(&http->lock);
	for (struct http_live *live = http->lives; live; live = live->next) {
		if (!live->conn)
			continue;
		progress(live->conn->fd, &acked, &outstanding, &state);
		if (state == TCP_CLOSE_WAIT_STATE || state == TCP_CLOSE_STATE)
			live->gone = true;
		live->ping |= ping && live->stream.fd < 0;
		if (live->gone || live->ping)
			wake(live);
	}
	pthread_mutex_unlock(&http->lock);
}

static void wake_id(struct skep_http *http, uint64_t id)
{
	pthread_mutex_lock(&http->lock);
	for (struct http_live *live = http->lives; live; live = live->next)
		if (live->id == id)
			wake(live);
	pthread_mutex_unlock(&http->lock);
}

static void *watch_main(void *arg)
{
	struct skep_http *http = arg;
	uint64_t look_ns = 0, ping_ns = skep_http_now_ns();
	struct epoll_event events[64];
	bool over = false;

	(void)pthread_setname_np(pthread_self(), "http-watch");
	while (!over) {
		int n = epoll_wait(http->epoll_fd, events, ARRAY_LEN(events), TICK_MS);
		uint64_t now = skep_http_now_ns();
		bool ping = now - ping_ns >= HTTP_PING_MS * SKEP_NSEC_PER_MSEC;

		for (int i = 0; i < n; i++)
			if (events[i].data.u64 == 0)
				over = true;
			else
				wake_id(http, events[i].data.u64);
		check_deadlines(http, now);
		if (ping || now - look_ns >= LOOK_MS * SKEP_NSEC_PER_MSEC) {
			check_lives(http, ping);
			look_ns = now;
		}
		if (ping)
			ping_ns = now;
	}
	return NULL;
}

int skep_http_watch_start(struct skep_http *http, struct skep_err *err)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 0 };
	int r;

	http->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	http->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (http->epoll_fd < 0 || http->wake_fd < 0 ||
	    epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, http->wake_fd, &event) < 0)
		return skep_err_set(err, -errno, "no descriptors for the HTTP server: %s", strerror(errno));
	r = pthread_create(&http->watch, NULL, watch_main, http);
	if (r)
		return skep_err_set(err, -r, "cannot start the HTTP watch: %s", strerror(r));
	http->watching = true;
	return 0;
}

void skep_http_watch_stop(struct skep_http *http)
{
	if (!http->watching)
		return;
	skep_ring_bell(http->wake_fd);
	pthread_join(http->watch, NULL);
	http->watching = false;
}

void skep_http_live_add(struct http_live *live)
{
	struct skep_http *http = live->http;

	pthread_mutex_lock(&http->lock);
	live->id = ++http->next_live_id;
	live->next = http->lives;
	live->prev = &http->lives;
	if (live->next)
		live->next->prev = &live->next;
	http->lives = live;
	http->stats.streams++;
	pthread_mutex_unlock(&http->lock);
}

void skep_http_live_remove(struct http_live *live)
{
	struct skep_http *http = live->http;

	pthread_mutex_lock(&http->lock);
	*live->prev = live->next;
	if (live->next)
		live->next->prev = live->prev;
	http->stats.streams--;
	pthread_mutex_unlock(&http->lock);
	if (live->stream.fd >= 0)
		(void)epoll_ctl(http->epoll_fd, EPOLL_CTL_DEL, live->stream.fd, NULL);
}

int skep_http_live_arm(struct http_live *live)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.u64 = live->id };

	if (epoll_ctl(live->http->epoll_fd, EPOLL_CTL_MOD, live->stream.fd, &event) == 0)
		return 0;
	if (errno == ENOENT && epoll_ctl(live->http->epoll_fd, EPOLL_CTL_ADD, live->stream.fd, &event) == 0)
		return 0;
	return -errno;
}

void skep_http_live_wake(void *arg)
{
	struct http_live *live = arg;

	pthread_mutex_lock(&live->http->lock);
	wake(live);
	pthread_mutex_unlock(&live->http->lock);
}

void skep_http_live_wake_all(struct skep_http *http)
{
	pthread_mutex_lock(&http->lock);
	for (struct http_live *live = http->lives; live; live = live->next)
		wake(live);
	pthread_mutex_unlock(&http->lock);
}
