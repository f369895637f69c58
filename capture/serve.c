/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The job socket: one JSON object a line in, one a line out, in order; a connection that asks for events gets
 * a line for each. Nobody who is slow or silent keeps the engine from anything: requests are bounded, answers
 * wait in a bounded buffer, and who lets it fill up is cut off.
 *
 * Everything here is the control thread's but for cap_serve_kept and cap_serve_say, which hand a message over
 * through a socket pair.
 */
#include "capture/serve_priv.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

_Static_assert(CAP_SERVE_CLIENTS + 2 <= CAP_ENGINE_EXTRA_FDS, "descriptors to poll");
/* A filter of 64 KiB, every byte of it written as \u00XX, and the rest of a job. */
#define REQUEST_MAX_BYTES (512u * CAP_KIB)
#define TICK_MS 200

/* From other threads. */
struct news {
	bool kept;
	bool complete;
	char job[64];
	char text[512]; /* the file's name, or a sentence */
	uint64_t bytes, pkts;
};

/* Whole lines, one after the other; stops where an answer has to wait. */
static void take_lines(struct cap_serve *s, struct client *c)
{
	char *end;

	while (!c->dying && !c->waits_for && c->n_in && (end = memchr(c->in, '\n', c->n_in))) {
		struct skep_err err = SKEP_ERR_NULL;
		size_t n = (size_t)(end - c->in);

		if (cap_serve_dispatch(s, c, c->in, n, &err))
			cap_serve_refuse(c, &err);
		memmove(c->in, end + 1, c->n_in - n - 1);
		c->n_in -= n + 1;
	}
}

static void drop_client(struct client *c)
{
	skep_closep(&c->fd);
	free(c->in);
	free(c->out);
	*c = (struct client){ .fd = -1 };
}

static void read_client(struct cap_serve *s, struct client *c)
{
	ssize_t n;

	if (!cap_serve_space(&c->in, &c->room_in, c->n_in + 4096, REQUEST_MAX_BYTES)) {
		struct skep_err err = SKEP_ERR_NULL;

		skep_err_set(&err, SKEP_E_USAGE, "request: longer than %u bytes", REQUEST_MAX_BYTES);
		cap_serve_refuse(c, &err);
		c->dying = true;
		return;
	}
	n = recv(c->fd, c->in + c->n_in, c->room_in - c->n_in, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
		c->dying = true;
		return;
	}
	if (n > 0)
		c->n_in += (size_t)n;
	take_lines(s, c);
}

static void accept_client(struct cap_serve *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (uint32_t i = 0; fd >= 0 && i < CAP_SERVE_CLIENTS; i++)
		if (s->clients[i].fd < 0) {
			s->clients[i].fd = TAKE_FD(fd);
			return;
		}
	skep_closep(&fd); /* too many: who asks again later is served */
}

/* ---- news from other threads ---- */

static void send_news(struct cap_serve *s, const struct news *news)
{
	/* Full: who listens misses it, and finds the files all the same. */
	if (send(s->news_in, news, sizeof(*news), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

void cap_serve_kept(void *arg, const struct cap_kept *kept)
{
	struct news news = {
		.kept = true, .complete = kept->complete, .bytes = kept->bytes, .pkts = kept->pkts
	};

	(void)snprintf(news.job, sizeof(news.job), "%s", kept->lane->job->name);
	(void)snprintf(news.text, sizeof(news.text), "%s", kept->name);
	send_news(arg, &news);
}

void cap_serve_say(struct cap_serve *s, const char *sentence)
{
	struct news news = { 0 };

	(void)snprintf(news.text, sizeof(news.text), "%s", sentence);
	send_news(s, &news);
}

static void take_news(struct cap_serve *s)
{
	struct news n;

	while (recv(s->news_out, &n, sizeof(n), MSG_DONTWAIT) == (ssize_t)sizeof(n)) {
		struct serve_job *j = n.kept ? cap_serve_find(s, n.job) : NULL;

		if (!n.kept)
			cap_serve_tell(s, json_pack("{s:s,s:o}", "event", "said", "text", cap_serve_text(n.text)));
		else if (j)
			cap_serve_tell(s, json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:b}", "event", "segment", "job", n.job, "dir",
					      j->spec.dir, "name", n.text, "bytes", cap_serve_count(n.bytes), "packets",
					      cap_serve_count(n.pkts), "complete", n.complete));
	}
}

/* ---- life ---- */

static bool answers(const struct sockaddr_un *addr)
{
	_skep_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0;
}

static int listen_on(struct cap_serve *s, struct skep_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;

	memcpy(addr.sun_path, s->path, sizeof(addr.sun_path));
	if (lstat(s->path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return skep_err_set(err, SKEP_E_BUSY, "--serve %s: there is a file of that name", s->path);
		if (answers(&addr)) {
			skep_err_set(err, SKEP_E_BUSY, "--serve %s: another engine serves there", s->path);
			skep_err_hint(err, "stop it, or give another name");
			return SKEP_E_BUSY;
		}
		(void)unlink(s->path);
	}
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0 || bind(s->listen_fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    chmod(s->path, 0660) < 0 || listen(s->listen_fd, 16) < 0)
		return skep_err_set(err, -errno, "--serve %s: cannot listen: %s", s->path, strerror(errno));
	return 0;
}

int cap_serve_open(const struct cap_serve_cfg *cfg, struct cap_serve **ret, struct skep_err *err)
{
	struct cap_serve *s = calloc(1, sizeof(*s));
	int pair[2], r;

	if (!s)
		return skep_err_set(err, -ENOMEM, "no memory to serve");
	s->cfg = *cfg;
	s->listen_fd = s->root_fd = s->news_in = s->news_out = -1;
	for (uint32_t i = 0; i < CAP_SERVE_CLIENTS; i++)
		s->clients[i].fd = -1;
	if ((size_t)snprintf(s->path, sizeof(s->path), "%s", cfg->socket) >= sizeof(s->path)) {
		r = skep_err_set(err, SKEP_E_USAGE, "--serve: the name is longer than %zu bytes",
				 sizeof(s->path) - 1);
	} else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		r = skep_err_set(err, -errno, "--serve: %s", strerror(errno));
	} else {
		s->news_in = pair[0];
		s->news_out = pair[1];
		r = listen_on(s, err);
	}
	if (r) {
		s->path[0] = '\0'; /* not ours */
		(void)cap_serve_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

int cap_serve_start(struct cap_serve *s, struct cap_engine *engine, struct skep_err *err)
{
	s->engine = engine;
	s->started_ns = skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME);
	s->root_fd = open(s->cfg.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0)
		return skep_err_set(err, -errno, "cannot open %s: %s", s->cfg.root, strerror(errno));
	return 0;
}

static bool all_lost(const struct cap_serve *s)
{
	for (uint32_t i = 0; i < s->engine->n_taps; i++)
		if (!s->engine->gone[i])
			return false;
	for (const struct serve_job *j = s->jobs; j; j = j->next)
		if (!j->ended)
			return false;
	return true;
}

static void serve_clients(struct cap_serve *s, const struct pollfd *pfd)
{
	for (uint32_t i = 0; i < CAP_SERVE_CLIENTS; i++) {
		struct client *c = &s->clients[i];

		if (c->fd < 0)
			continue;
		if (pfd[i].fd == c->fd && (pfd[i].revents & POLLOUT))
			cap_serve_flush(c);
		if (pfd[i].fd == c->fd && (pfd[i].revents & (POLLIN | POLLHUP | POLLERR)))
			read_client(s, c);
		else if (!c->waits_for)
			take_lines(s, c); /* what was left while an answer had to wait */
		if (c->dying)
			drop_client(c);
	}
}

int cap_serve_run(struct cap_serve *s)
{
	for (;;) {
		struct pollfd pfd[2 + CAP_SERVE_CLIENTS] = {
			{ .fd = s->listen_fd, .events = POLLIN },
			{ .fd = s->news_out, .events = POLLIN },
		};

		for (uint32_t i = 0; i < CAP_SERVE_CLIENTS; i++) {
			struct client *c = &s->clients[i];

			pfd[2 + i].fd = c->fd;
			pfd[2 + i].events = (short)((c->waits_for ? 0 : POLLIN) | (c->n_out ? POLLOUT : 0));
		}
		if (cap_engine_wait(s->engine, TICK_MS, pfd, 2 + CAP_SERVE_CLIENTS))
			return 0;
		take_news(s);
		serve_clients(s, pfd + 2);
		if (pfd[0].revents & POLLIN)
			accept_client(s);
		cap_serve_look(s);
		if (s->engine->crippled || all_lost(s))
			return 1;
	}
}

struct cap_serve *cap_serve_close(struct cap_serve *s)
{
	if (!s)
		return NULL;
	for (struct serve_job *j = s->jobs, *next; j; j = next) {
		next = j->next;
		if (!j->ended && j->spec.ej.state == CAP_ENGINE_JOB_ENDED)
			cap_serve_end_job(s, j);
	}
	if (s->news_out >= 0)
		take_news(s);
	for (uint32_t i = 0; i < CAP_SERVE_CLIENTS; i++)
		if (s->clients[i].fd >= 0)
			drop_client(&s->clients[i]);
	if (s->path[0])
		(void)unlink(s->path); /* or the next engine replaces it, where we may not */
	skep_closep(&s->listen_fd);
	skep_closep(&s->root_fd);
	skep_closep(&s->news_in);
	skep_closep(&s->news_out);
	while (s->jobs) {
		struct serve_job *j = s->jobs;

		s->jobs = j->next;
		cap_serve_free_job(j);
	}
	free(s);
	return NULL;
}
