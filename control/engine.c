/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The client's side of the job socket: connect, start, ask, listen. Each wait has a limit, so an engine that
 * hangs costs a request and not the daemon. Engines run in sessions of their own and are never ended because
 * we end; which life of an engine we talk to is told by the time at which it started.
 */
#include "control/engine.h"

#include "common/json.h"
#include "common/log.h"
#include "control/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define ANSWER_MS 15000
#define START_MS 20000
#define LEAVE_MS 10000 /* so long an engine may take to end its files */
#define LINE_MAX_BYTES (8u << 20)

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void ctl_engine_init(struct ctl_engine *engine, const struct ctl_config *cfg, const char *link)
{
	*engine = (struct ctl_engine){ .cfg = cfg, .fd = -1, .events_fd = -1 };
	(void)snprintf(engine->link, sizeof(engine->link), "%s", link);
}

static void disconnect(struct ctl_engine *engine)
{
	skep_closep(&engine->fd);
	skep_closep(&engine->events_fd);
	free(engine->in);
	engine->in = NULL;
	engine->in_len = 0;
	engine->started_ns = 0;
	engine->pid = 0;
}

void ctl_engine_fini(struct ctl_engine *engine)
{
	disconnect(engine);
}

static void socket_path(const struct ctl_engine *engine, char *buf, size_t room)
{
	(void)snprintf(buf, room, "%s/%s.sock", engine->cfg->run_dir, engine->link);
}

static int connect_socket(const struct ctl_engine *engine)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	_skep_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	socket_path(engine, to.sun_path, sizeof(to.sun_path));
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* A request and its line end, whole. 0 or -EPIPE. */
static int send_line(int fd, const json_t *request)
{
	_skep_free_ char *text = json_dumps(request, JSON_COMPACT);
	size_t n = text ? strlen(text) : 0, done = 0;

	if (!text)
		return -ENOMEM;
	text[n] = '\n'; /* in place of the NUL */
	while (done <= n) {
		ssize_t sent = send(fd, text + done, n + 1 - done, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return -EPIPE;
		done += (size_t)sent;
	}
	return 0;
}

/* One line of JSON, from *in and the descriptor. -EPIPE: the end, or nothing came in time. */
static int read_line(int fd, char **in, size_t *in_len, uint64_t wait_ms, json_t **ret)
{
	uint64_t until = now_ms() + wait_ms;
	int r;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		char *end = *in_len ? memchr(*in, '\n', *in_len) : NULL, *more;
		uint64_t now = now_ms();
		ssize_t n;

		if (end) {
			size_t len = (size_t)(end - *in);

			r = skep_json_load("engine", *in, len, ret, NULL);
			memmove(*in, end + 1, *in_len - len - 1);
			*in_len -= len + 1;
			return r ? -EPIPE : 0;
		}
		if (*in_len > LINE_MAX_BYTES || now > until)
			return -EPIPE;
		r = poll(&pfd, 1, (int)(until - now));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return wait_ms ? -EPIPE : -EAGAIN;
		more = realloc(*in, *in_len + 65536);
		if (!more)
			return -ENOMEM;
		*in = more;
		n = recv(fd, *in + *in_len, 65536, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EPIPE;
		*in_len += (size_t)n;
	}
}

/* The engine's refusal as ours. */
static int refusal(const json_t *answer, struct skep_err *err)
{
	static const struct {
		const char *code;
		int r;
	} codes[] = {
		{ "usage", SKEP_E_USAGE },
		{ "privilege", SKEP_E_PRIVILEGE },
		{ "not_found", SKEP_E_NOT_FOUND },
		{ "busy", SKEP_E_BUSY },
		{ "unsupported", SKEP_E_UNSUPPORTED },
		{ "unsafe", SKEP_E_UNSAFE },
		{ "no_space", SKEP_E_NO_SPACE },
		{ "bad_data", SKEP_E_BAD_DATA },
	};
	const json_t *error = json_object_get(answer, "error");
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *text = json_string_value(json_object_get(error, "text"));
	const char *hint = json_string_value(json_object_get(error, "hint"));
	int r = -EIO;

	for (size_t i = 0; code && i < ARRAY_LEN(codes); i++)
		if (!strcmp(codes[i].code, code))
			r = codes[i].r;
	skep_err_set(err, r, "%s", text ? text : "the engine refused without a word");
	if (hint && hint[0])
		(void)skep_err_hint(err, "%s", hint);
	if (err)
		err->column = (int)json_integer_value(json_object_get(error, "column"));
	return r;
}

int ctl_engine_call(struct ctl_engine *engine, json_t *request, json_t **ret, struct skep_err *err)
{
	_skep_json_ json_t *taken = request;
	json_t *answer = NULL;
	int r = engine->fd < 0 ? -EPIPE : send_line(engine->fd, taken);

	r = r ?: read_line(engine->fd, &engine->in, &engine->in_len, ANSWER_MS, &answer);
	if (r) {
		disconnect(engine);
		return skep_err_set(err, r, "the engine of %s does not answer", engine->link);
	}
	if (!json_is_true(json_object_get(answer, "ok"))) {
		r = refusal(answer, err);
		json_decref(answer);
		return r;
	}
	*ret = answer;
	return 0;
}

/* The second connection, for events. */
static int listen_events(struct ctl_engine *engine)
{
	_skep_close_ int fd = connect_socket(engine);
	_skep_json_ json_t *request = json_pack("{s:s}", "do", "events"), *answer = NULL;
	_skep_free_ char *in = NULL;
	size_t in_len = 0;
	int r = fd < 0 ? -EPIPE : send_line(fd, request);

	r = r ?: read_line(fd, &in, &in_len, ANSWER_MS, &answer);
	if (r == 0)
		engine->events_fd = TAKE_FD(fd);
	return r;
}

int ctl_engine_connect(struct ctl_engine *engine, struct skep_err *err)
{
	json_t *hello = NULL;
	int r;

	if (engine->fd >= 0)
		return 0;
	engine->fd = connect_socket(engine);
	if (engine->fd < 0) {
		r = engine->fd;
		engine->fd = -1;
		return skep_err_set(err, SKEP_E_NOT_FOUND, "no engine serves %s: %s", engine->link,
				    strerror(-r));
	}
	r = ctl_engine_call(engine, json_pack("{s:s}", "do", "hello"), &hello, err);
	if (r)
		return SKEP_E_NOT_FOUND;
	engine->started_ns = (uint64_t)json_integer_value(json_object_get(hello, "started_ns"));
	engine->pid = (pid_t)json_integer_value(json_object_get(hello, "pid"));
	json_decref(hello);
	engine->idle_since_ns = 0;
	r = listen_events(engine);
	if (r) {
		disconnect(engine);
		return skep_err_set(err, SKEP_E_NOT_FOUND, "the engine of %s does not answer", engine->link);
	}
	return 0;
}

static int spawn(struct ctl_engine *engine, struct skep_err *err)
{
	const struct ctl_link_config *link = ctl_config_link(engine->cfg, engine->link);
	char path[128], log[160], reserve[32];
	struct ctl_run run = {
		.dir = engine->cfg->program_dir,
		.args = { "skep-capture", "-q", "-i", engine->link, "--serve", path, "-w",
			  engine->cfg->spool_dir, "--link-role",
			  ctl_role_names[link ? link->role : CTL_ROLE_AUTO], "--reserve", reserve },
	};
	size_t n = 0;

	socket_path(engine, path, sizeof(path));
	(void)snprintf(log, sizeof(log), "%s/%s.log", engine->cfg->run_dir, engine->link);
	(void)snprintf(reserve, sizeof(reserve), "%llu", (unsigned long long)engine->cfg->reserve_bytes);
	while (run.args[n])
		n++;
	if (engine->cfg->engine_user[0]) {
		run.args[n++] = "-Z";
		run.args[n++] = engine->cfg->engine_user;
	}
	(void)unlink(log); /* one life, one log */
	return ctl_process_detach(&run, log, &engine->child, err);
}

/* The last line that an engine wrote before it ended. */
static void last_words(const struct ctl_engine *engine, char *buf, size_t room)
{
	char path[160];
	FILE *file;
	char line[512];

	buf[0] = '\0';
	(void)snprintf(path, sizeof(path), "%s/%s.log", engine->cfg->run_dir, engine->link);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (line[0] != '\n' && !buf[0]) /* the first line says what, the second what to do */
			(void)snprintf(buf, room, "%.*s", (int)strcspn(line, "\n"), line);
	if (file)
		fclose(file);
}

/* The one that was asked to end holds the link until it has; nobody gives it a job any more. */
static void await_leaving(struct ctl_engine *engine)
{
	uint64_t until = now_ms() + LEAVE_MS;

	while (engine->leaving > 0 && now_ms() < until) {
		ctl_engine_reap(engine);
		if (engine->leaving > 0 && kill(engine->leaving, 0) < 0)
			engine->leaving = 0;
		if (engine->leaving > 0)
			(void)usleep(5000);
	}
	engine->leaving = 0;
}

int ctl_engine_ensure(struct ctl_engine *engine, struct skep_err *err)
{
	uint64_t until;
	char words[512];
	int r, status;

	await_leaving(engine);
	until = now_ms() + START_MS;
	r = ctl_engine_connect(engine, NULL);
	if (r == 0)
		return 0;
	r = spawn(engine, err);
	if (r)
		return r;
	while (now_ms() < until) {
		if (ctl_engine_connect(engine, NULL) == 0) {
			skep_log(SKEP_LOG_INFO, "link=%s engine=%d started", engine->link, (int)engine->pid);
			return 0;
		}
		if (waitpid(engine->child, &status, WNOHANG) == engine->child) {
			engine->child = 0;
			last_words(engine, words, sizeof(words));
			return skep_err_set(err, SKEP_E_BUSY, "the engine of %s does not start: %s",
					    engine->link, words[0] ? words : "it said nothing");
		}
		(void)usleep(2000);
	}
	return skep_err_set(err, SKEP_E_BUSY, "the engine of %s did not start in time", engine->link);
}

int ctl_engine_events(struct ctl_engine *engine, void (*on_event)(const json_t *event, void *arg), void *arg)
{
	_skep_free_ char *in = NULL;
	size_t in_len = 0;
	json_t *event;
	int r = 0;

	if (engine->events_fd < 0)
		return -EPIPE;
	do {
		r = read_line(engine->events_fd, &in, &in_len, in_len ? 1000 : 0, &event);
		if (r == 0) {
			on_event(event, arg);
			json_decref(event);
		}
	} while (r == 0);
	if (r == -EAGAIN)
		return 0;
	disconnect(engine);
	return -EPIPE;
}

void ctl_engine_stop(struct ctl_engine *engine)
{
	if (engine->fd < 0 || engine->pid <= 0)
		return;
	skep_log(SKEP_LOG_INFO, "link=%s engine=%d is asked to end", engine->link, (int)engine->pid);
	(void)kill(engine->pid, SIGTERM);
	engine->leaving = engine->pid;
	disconnect(engine);
}

void ctl_engine_reap(struct ctl_engine *engine)
{
	int status;

	if (engine->child <= 0 || waitpid(engine->child, &status, WNOHANG) != engine->child)
		return;
	if (engine->leaving == engine->child)
		engine->leaving = 0;
	engine->child = 0;
}
