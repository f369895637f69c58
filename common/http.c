/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server around libmicrohttpd: connections, the steps of a request, start and stop. The library is used
 * with one epoll thread of its own; requests leave that thread by suspending their connection and come back
 * by resuming it. What it accepts too willingly (two Content-Length, "%00", no limit in time) is refused
 * here, on the raw head, before anything is believed.
 *
 * Invariant: whatever happens, each request is answered or its connection closed. A request that is refused
 * before its body was read is answered after up to 1 MiB of that body, else the peer would see a reset
 * connection instead of the answer; unless it is unclear where the body ends.
 */
#include "common/http_priv.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Header, body buffer and answer of one connection; memory that is not touched is not used. */
#define CONNECTION_MEMORY_BYTES (128u * 1024)
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

void skep_http_resume(struct MHD_Connection *mhd)
{
	MHD_resume_connection(mhd);
}

void skep_http_suspend(struct MHD_Connection *mhd)
{
	MHD_suspend_connection(mhd);
}

static struct http_conn *conn_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void conn_open(struct skep_http *http, struct MHD_Connection *mhd, void **socket_context)
{
	const struct sockaddr *sa =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
	struct http_conn *conn = calloc(1, sizeof(*conn));

	*socket_context = conn;
	if (!conn)
		return; /* its requests will be refused */
	conn->mhd = mhd;
	conn->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	conn->deadline_ns = UINT64_MAX;
	if (sa->sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
				conn->peer, sizeof(conn->peer));
	else if (sa->sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
				conn->peer, sizeof(conn->peer));
	if (!strncmp(conn->peer, "::ffff:", 7) && strchr(conn->peer, '.'))
		memmove(conn->peer, conn->peer + 7, strlen(conn->peer + 7) + 1);
	pthread_mutex_lock(&http->lock);
	conn->next = http->conns;
	conn->prev = &http->conns;
	if (conn->next)
		conn->next->prev = &conn->next;
	http->conns = conn;
	http->stats.connections++;
	http->stats.accepted++;
	pthread_mutex_unlock(&http->lock);
	skep_http_conn_phase(http, conn, HTTP_HEAD);
}

static void conn_closed(struct skep_http *http, struct http_conn *conn)
{
	if (!conn)
		return;
	pthread_mutex_lock(&http->lock);
	*conn->prev = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	for (struct http_live *live = http->lives; live; live = live->next)
		if (live->conn == conn)
			live->conn = NULL;
	http->stats.connections--;
	pthread_mutex_unlock(&http->lock);
	free(conn);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
			  enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		conn_open(cls, mhd, socket_context);
	else
		conn_closed(cls, *socket_context);
}

/* The request line was read; uri is raw. What is returned becomes *con_cls of the other callbacks. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct skep_http_req *req = calloc(1, sizeof(*req));

	if (!req)
		return NULL;
	req->http = cls;
	req->mhd = mhd;
	req->conn = conn_of(mhd);
	req->start_ns = skep_http_now_ns();
	req->target_end = uri ? uri + strlen(uri) : NULL;
	req->target_r = skep_target_parse(uri ? uri : "", &req->target, &req->target_err);
	if (req->conn)
		skep_http_conn_phase(req->http, req->conn, HTTP_HEAD);
	return req;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
			 enum MHD_RequestTerminationCode code)
{
	struct skep_http *http = cls;
	struct skep_http_req *req = *con_cls;
	unsigned class = req ? req->status / 100 : 0;

	(void)mhd;
	(void)code;
	if (!req)
		return;
	*con_cls = NULL;
	pthread_mutex_lock(&http->lock);
	http->stats.requests[class < ARRAY_LEN(http->stats.requests) ? class : 0]++;
	pthread_mutex_unlock(&http->lock);
	if (http->cfg.finished && req->method)
		http->cfg.finished(req, req->status, skep_http_now_ns() - req->start_ns, http->cfg.app);
	if (req->conn)
		skep_http_conn_phase(http, req->conn, HTTP_IDLE);
	if (req->unref)
		req->unref(req->user);
	skep_http_answer_drop(req);
	while (req->fields) {
		struct http_field *field = req->fields;

		req->fields = field->next;
		free(field);
	}
	skep_target_fini(&req->target);
	free(req->body);
	free(req);
}

/* What the head says about itself. */
struct head {
	size_t bytes;
	uint32_t fields, n_length, n_coding, n_host;
	const char *length, *coding;
	bool bad_name, bad_value, bad_host;
	uint64_t length_bytes;
};

static bool is_token(const char *name)
{
	if (!*name)
		return false;
	for (; *name; name++)
		if (*name <= 0x20 || *name >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", *name))
			return false;
	return true;
}

static enum MHD_Result on_field(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
				const char *value, size_t value_len)
{
	struct head *head = cls;

	(void)kind;
	if (!value)
		value = "";
	head->fields++;
	head->bytes += name_len + value_len + 4;
	head->bad_name |= !is_token(name) || strlen(name) != name_len;
	head->bad_value |= strlen(value) != value_len;
	for (const char *p = value; *p; p++)
		head->bad_value |= (unsigned char)*p < 0x20 ? *p != '\t' : *p == 0x7f;
	if (!strcasecmp(name, "Content-Length")) {
		head->n_length++;
		head->length = value;
	} else if (!strcasecmp(name, "Transfer-Encoding")) {
		head->n_coding++;
		head->coding = value;
	} else if (!strcasecmp(name, "Host")) {
		head->n_host++;
	}
	return MHD_YES;
}

static bool parse_length(const char *text, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || v > UINT64_MAX / 100)
			return false;
		v = v * 10 + (uint64_t)(*text - '0');
	}
	*ret = v;
	return true;
}

/* Is it clear, to everybody who may read the same bytes, where the body ends? NULL: yes; else what is wrong.
 */
static const char *framing(struct head *head)
{
	if (head->n_length > 1)
		return "there are several Content-Length fields";
	if (head->n_coding && head->n_length)
		return "there is a Content-Length and a Transfer-Encoding";
	if (head->n_coding > 1 || (head->n_coding && strcasecmp(head->coding, "chunked") != 0))
		return "the Transfer-Encoding is not just \"chunked\"";
	if (head->n_length && !parse_length(head->length, &head->length_bytes))
		return "the Content-Length is no number";
	if (head->bad_name)
		return "the name of a header field is no token";
	return NULL;
}

static bool same_method(const struct skep_http_route *route, const char *method)
{
	return !strcmp(route->method, method) || (!strcmp(method, "HEAD") && !strcmp(route->method, "GET"));
}

/* Sets req->route, or the answer: 404, or 405 with what is allowed. */
static int find_route(struct skep_http_req *req)
{
	const struct skep_http_cfg *cfg = &req->http->cfg;
	char allow[128] = "";
	size_t n = 0;

	for (size_t i = 0; i < cfg->n_routes; i++) {
		const struct skep_http_route *route = &cfg->routes[i];

		if (!skep_target_match(&req->target, route->pattern, &req->params))
			continue;
		if (same_method(route, req->method)) {
			req->route = route;
			return 0;
		}
		if (n < sizeof(allow))
			n += (size_t)snprintf(allow + n, sizeof(allow) - n, "%s%s%s", n ? ", " : "",
					      route->method, !strcmp(route->method, "GET") ? ", HEAD" : "");
	}
	if (!n) {
		(void)skep_http_refuse(req, 404, "no-such-route", NULL, "%s: there is nothing here",
				       req->target.path);
		return SKEP_E_NOT_FOUND;
	}
	(void)skep_http_add_header(req, "Allow", allow);
	(void)skep_http_refuse(req, 405, "method-not-allowed", NULL, "%s: only %s", req->target.path, allow);
	return SKEP_E_NOT_FOUND;
}

/* Everything that can be said before the body. Returns 0, or a refusal with the answer set. */
static int judge(struct skep_http_req *req, const struct head *head)
{
	const struct skep_http *http = req->http;
	int r;

	if (req->target_r)
		return skep_http_refuse(req, 400, "bad-target", NULL, "%s", req->target_err.text),
		       SKEP_E_BAD_DATA;
	if (head->bad_value || head->n_host > 1)
		return skep_http_refuse(req, 400, "bad-request", NULL, "%s",
					head->bad_value ? "a header field holds a control character"
							: "there are several Host fields"),
		       SKEP_E_BAD_DATA;
	if (head->bytes > HTTP_HEAD_MAX_BYTES || head->fields > HTTP_FIELDS_MAX)
		return skep_http_refuse(req, 431, "head-too-large", NULL,
					"the head of the request has %zu bytes in %u fields; at most %u in "
					"%u are read",
					head->bytes, head->fields, HTTP_HEAD_MAX_BYTES, HTTP_FIELDS_MAX),
		       SKEP_E_BAD_DATA;
	r = find_route(req);
	if (r)
		return r;
	r = http->cfg.authorize ? http->cfg.authorize(req, req->route, http->cfg.app) : 0;
	if (r) {
		if (!req->status)
			(void)skep_http_refuse(req, 403, "not-allowed", NULL, "this is not allowed to you");
		return r;
	}
	if (req->route->body_max_bytes == 0 && (head->n_coding || head->length_bytes))
		return skep_http_refuse(req, 400, "unexpected-body", NULL, "%s %s takes no body", req->method,
					req->route->pattern),
		       SKEP_E_BAD_DATA;
	if (head->length_bytes > req->route->body_max_bytes)
		return skep_http_refuse(req, 413, "body-too-large", NULL,
					"the body has %llu bytes; at most %zu are taken",
					(unsigned long long)head->length_bytes, req->route->body_max_bytes),
		       SKEP_E_BAD_DATA;
	return 0;
}

static enum MHD_Result send_answer(struct skep_http_req *req)
{
	enum MHD_Result r;

	if (!req->response) /* not even the refusal found memory */
		return MHD_NO;
	skep_http_answer_headers(req);
	req->step = HTTP_STEP_ANSWER;
	skep_http_conn_phase(req->http, req->conn, HTTP_ANSWER);
	r = MHD_queue_response(req->mhd, req->status, req->response);
	MHD_destroy_response(req->response);
	req->response = NULL;
	return r;
}

static enum MHD_Result on_head(struct skep_http_req *req)
{
	struct head head = { 0 };
	const char *wrong;
	bool refused;

	(void)MHD_get_connection_values_n(req->mhd, MHD_HEADER_KIND, on_field, &head);
	wrong = framing(&head);
	if (wrong) {
		(void)skep_http_refuse(req, 400, "bad-framing", NULL, "%s", wrong);
		return send_answer(req); /* and the connection is closed: what follows could be anything */
	}
	skep_http_conn_phase(req->http, req->conn, HTTP_BODY);
	if (__atomic_load_n(&req->http->stopping, __ATOMIC_RELAXED)) {
		(void)skep_http_refuse(req, 503, "stopping", NULL, "the program is about to end");
		return send_answer(req);
	}
	refused = judge(req, &head) != 0;
	if (refused && head.length_bytes > HTTP_DRAIN_BYTES)
		return send_answer(req);
	req->step = refused ? HTTP_STEP_DRAIN : HTTP_STEP_BODY;
	return MHD_YES;
}

/* Keeps a piece of the body. A chunked one that grows too large is refused after all. */
static enum MHD_Result on_body(struct skep_http_req *req, const char *data, size_t len)
{
	size_t max = req->route->body_max_bytes, want = req->body_len + len;

	if (want > max) {
		(void)skep_http_refuse(req, 413, "body-too-large", NULL, "the body is larger than %zu bytes",
				       max);
		req->step = HTTP_STEP_DRAIN;
		return MHD_YES;
	}
	if (want + 1 > req->body_room) {
		size_t room = SKEP_MIN(SKEP_MAX(want + 1, 2 * req->body_room), max + 1);
		char *body = realloc(req->body, room);

		if (!body)
			return MHD_NO;
		req->body = body;
		req->body_room = room;
	}
	memcpy(req->body + req->body_len, data, len);
	req->body_len = want;
	req->body[want] = '\0';
	return MHD_YES;
}

static enum MHD_Result on_complete(struct skep_http_req *req)
{
	skep_http_conn_phase(req->http, req->conn, HTTP_WORK);
	req->step = HTTP_STEP_ANSWER;
	if (req->route->flags & SKEP_HTTP_INLINE) {
		skep_http_run(req);
		return send_answer(req);
	}
	if (skep_http_work_add(req))
		return MHD_YES;
	(void)skep_http_add_header(req, "Retry-After", "1");
	(void)skep_http_refuse(req, 503, "overloaded", NULL, "too many requests are waiting");
	return send_answer(req);
}

/*
 * A NUL byte in the target ends it for the library, silently. In the library's buffer the version follows the
 * target's end by one byte; if it follows further behind, there was one. Where the two are not in one buffer,
 * as another version of the library may have it, nothing is concluded.
 */
static bool cut_by_nul(const struct skep_http_req *req, const char *version)
{
	uintptr_t end = (uintptr_t)req->target_end, next = (uintptr_t)version;

	return end && next > end + 1 && next - end < CONNECTION_MEMORY_BYTES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
				  const char *version, const char *data, size_t *data_len, void **con_cls)
{
	struct skep_http_req *req = *con_cls;
	enum MHD_Result r = MHD_YES;

	(void)cls;
	(void)mhd;
	(void)url;
	if (!req || !req->conn || req->target_r == -ENOMEM)
		return MHD_NO;
	if (req->step == HTTP_STEP_NEW) {
		req->method = method;
		if (req->target_r == 0 && cut_by_nul(req, version))
			req->target_r = skep_err_set(&req->target_err, SKEP_E_BAD_DATA,
						     "the target holds a NUL byte");
		return on_head(req);
	}
	if (req->step == HTTP_STEP_ANSWER)
		return send_answer(req);
	if (*data_len) {
		if (req->step == HTTP_STEP_BODY)
			r = on_body(req, data, *data_len);
		req->drained_bytes += req->step == HTTP_STEP_DRAIN ? *data_len : 0;
		*data_len = 0;
		return req->drained_bytes > HTTP_DRAIN_BYTES ? MHD_NO : r;
	}
	return req->step == HTTP_STEP_BODY ? on_complete(req) : send_answer(req);
}

SKEP_PRINTF(2, 0) static void on_library_log(void *cls, const char *fmt, va_list ap)
{
	struct skep_http *http = cls;
	char line[sizeof(http->library_said)];

	(void)vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	skep_log(SKEP_LOG_DEBUG, "http: %s", line);
	if (!http->mhd)
		memcpy(http->library_said, line, sizeof(line));
}

static int start_library(struct skep_http *http, struct skep_err *err)
{
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)http->cfg.key_pem },
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)http->cfg.cert_pem },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES },
		{ MHD_OPTION_END, 0, NULL },
	};
	struct MHD_OptionItem none[] = { { MHD_OPTION_END, 0, NULL } };

	http->tls = http->cfg.key_pem;
	if (http->tls)
		flags |= MHD_USE_TLS;
	http->mhd = MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, http,
		MHD_OPTION_LISTEN_SOCKET, http->listen_fd, MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
		http, MHD_OPTION_CONNECTION_LIMIT, http->cfg.max_connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, http->cfg.max_per_address,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, http->tls ? tls : none, MHD_OPTION_END);
	if (http->mhd)
		return 0;
	return skep_err_set(err, -EIO, "%s: the HTTP server does not start: %s", http->cfg.listen,
			    http->library_said[0] ? http->library_said : "no reason was given");
}

static void defaults(struct skep_http_cfg *cfg)
{
	cfg->workers = cfg->workers ? cfg->workers : 4;
	cfg->max_connections = cfg->max_connections ? cfg->max_connections : 1024;
	cfg->max_per_address = cfg->max_per_address ? cfg->max_per_address : 64;
	cfg->head_ms = cfg->head_ms ? cfg->head_ms : 10000;
	cfg->body_ms = cfg->body_ms ? cfg->body_ms : 30000;
	cfg->idle_ms = cfg->idle_ms ? cfg->idle_ms : 60000;
	cfg->stall_ms = cfg->stall_ms ? cfg->stall_ms : 30000;
}

static struct skep_http *http_free(struct skep_http *http)
{
	skep_http_watch_stop(http);
	skep_closep(&http->listen_fd);
	skep_closep(&http->epoll_fd);
	skep_closep(&http->wake_fd);
	pthread_cond_destroy(&http->queue_wake);
	pthread_mutex_destroy(&http->queue_lock);
	pthread_mutex_destroy(&http->lock);
	free(http);
	return NULL;
}

int skep_http_start(const struct skep_http_cfg *cfg, struct skep_http **ret, struct skep_err *err)
{
	struct skep_http *http = calloc(1, sizeof(*http));
	bool loopback = false;
	int r;

	if (!http)
		return skep_err_set(err, -ENOMEM, "no memory for the HTTP server");
	http->cfg = *cfg;
	defaults(&http->cfg);
	http->listen_fd = http->epoll_fd = http->wake_fd = -1;
	http->queue_tail = &http->queue_head;
	pthread_mutex_init(&http->lock, NULL);
	pthread_mutex_init(&http->queue_lock, NULL);
	pthread_cond_init(&http->queue_wake, NULL);
	r = skep_http_listen(cfg->listen, &http->listen_fd, &http->port, &loopback, err);
	if (r == 0 && !cfg->key_pem && !loopback) {
		skep_err_set(err, SKEP_E_UNSAFE, "%s: without TLS only a loopback address may be listened on",
			     cfg->listen);
		r = skep_err_hint(err, "listen on 127.0.0.1 or [::1], or give a key and a certificate");
	}
	if (r == 0)
		r = skep_http_watch_start(http, err);
	if (r == 0)
		r = skep_http_work_start(http, err);
	if (r == 0)
		r = start_library(http, err);
	if (r) {
		skep_http_work_stop(http);
		(void)http_free(http);
		return r;
	}
	*ret = http;
	return 0;
}

struct skep_http *skep_http_stop(struct skep_http *http, uint32_t grace_ms)
{
	struct skep_http_stats stats;
	uint64_t until;

	if (!http)
		return NULL;
	until = skep_http_now_ns() + grace_ms * SKEP_NSEC_PER_MSEC;
	(void)MHD_quiesce_daemon(http->mhd);
	__atomic_store_n(&http->stopping, true, __ATOMIC_RELAXED);
	do {
		skep_http_live_wake_all(http);
		(void)usleep(5000);
		skep_http_get_stats(http, &stats);
	} while ((stats.streams || skep_http_work_busy(http)) && skep_http_now_ns() < until);
	/* The library must not end while a connection is suspended: handlers first, they are bounded. */
	skep_http_work_stop(http);
	skep_http_live_wake_all(http);
	MHD_stop_daemon(http->mhd);
	return http_free(http);
}

uint16_t skep_http_port(const struct skep_http *http)
{
	return http->port;
}

void skep_http_get_stats(struct skep_http *http, struct skep_http_stats *ret)
{
	pthread_mutex_lock(&http->lock);
	*ret = http->stats;
	pthread_mutex_unlock(&http->lock);
}
