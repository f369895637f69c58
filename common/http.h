/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_HTTP_H
#define SKEP_HTTP_H
/*
 * An HTTP/1.1 server for JSON APIs, files and event streams, from one table of routes.
 *
 * Threads. One server thread (epoll) does all reading and sending. A request whose head and body are
 * complete is taken off that thread and handed to one of `workers` threads, which runs the handler; so
 * handlers may block, and two may run at once. A handler of a route marked SKEP_HTTP_INLINE runs on the
 * server's thread and must not block. One more thread, the watch, keeps the deadlines and wakes streams.
 * authorize() runs on the server's thread, before the body is read.
 *
 * Deadlines are absolute, per request: the head (TLS handshake included) head_ms after the connection or
 * the answer before it; the body body_ms after the head. While an answer is sent, what was outstanding (at
 * most 16 KiB of it) must have been taken within each stall_ms. Who misses one is cut off.
 *
 * Refused before a handler sees it, with an answer of application/problem+json: a target with "%00",
 * control bytes, "." or ".." as a segment, an encoded slash or a bad escape; a header name that is no
 * token; two Content-Length or Host, Content-Length beside Transfer-Encoding, any coding but "chunked";
 * heads over 16 KiB or 100 fields; bodies over the route's limit, and any body where the limit is 0; no
 * such route, or not with this method.
 *
 * Only common/http.c and common/http_answer.c know the HTTP library.
 */
#include "common/problem.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct skep_http;     /* a server */
struct skep_http_req; /* a request: the server's; valid until the handler returns */
struct skep_events;   /* common/events.h */

enum {
	SKEP_HTTP_INLINE = 1u << 0, /* run the handler on the server's thread: it never blocks */
};

struct skep_http_route {
	const char *method; /* "GET" also answers HEAD */
	/* "/v1/jobs/{id}"; each {name} takes one segment, a last "{name*}" the rest of the path (may be
	 * empty) */
	const char *pattern;
	/*
	 * Sets exactly one answer. Returns 0; a positive skep_refusal or -errno if it has set none: then
	 * the client gets 500 and the log a line. Answers that were set before such a return are dropped.
	 */
	int (*handler)(struct skep_http_req *req, void *app);
	int permission; /* the program's own meaning, for its authorize() */
	size_t body_max_bytes;
	unsigned flags;
};

struct skep_http_cfg {
	const char *listen; /* "0.0.0.0:8443", "[::1]:0", "127.0.0.1:8480"; no names; port 0: the kernel's
			       choice */
	/* PEM texts, copied. Both NULL: no TLS, which is refused unless the address is a loopback address. */
	const char *cert_pem, *key_pem;
	const struct skep_http_route *routes; /* borrowed; so is everything below */
	size_t n_routes;
	/*
	 * May the request go on to route's handler? 0: yes. Otherwise it has set the answer (401, 403) and
	 * returns a skep_refusal. NULL: everything may. On the server's thread: microseconds only.
	 */
	int (*authorize)(struct skep_http_req *req, const struct skep_http_route *route, void *app);
	/* A line for each finished request; NULL: none. On the server's thread. */
	void (*finished)(const struct skep_http_req *req, unsigned status, uint64_t took_ns, void *app);
	void *app;
	/* 0: the default */
	uint32_t workers;			      /* 4 */
	uint32_t max_connections;		      /* 1,024 */
	uint32_t max_per_address;		      /* 64 */
	uint32_t head_ms, body_ms, idle_ms, stall_ms; /* 10 s, 30 s, 60 s, 30 s */
};

struct skep_http_stats {
	uint64_t connections;	/* open now */
	uint64_t accepted, cut; /* since the start; cut: missed a deadline */
	uint64_t requests[6];	/* finished, by status / 100 */
	uint64_t streams;	/* open now */
};

int skep_http_start(const struct skep_http_cfg *cfg, struct skep_http **ret, struct skep_err *err);
/* Accepts nobody more, ends the streams, waits up to grace_ms for requests under way, closes. Returns NULL.
 */
struct skep_http *skep_http_stop(struct skep_http *http, uint32_t grace_ms);
uint16_t skep_http_port(const struct skep_http *http);
void skep_http_get_stats(struct skep_http *http, struct skep_http_stats *ret);

/* The request. Strings live as long as the request. */
const char *skep_http_method(const struct skep_http_req *req);
const char *skep_http_target(const struct skep_http_req *req);	/* raw, as it was sent; log it only escaped */
const char *skep_http_pattern(const struct skep_http_req *req); /* of the route; NULL: none matched */
const char *skep_http_peer(const struct skep_http_req *req);	/* "192.0.2.1" */
const char *skep_http_param(const struct skep_http_req *req,
			    const char *name); /* decoded; asserts that it is there */
const char *skep_http_query(const struct skep_http_req *req, const char *name); /* decoded, the first; NULL */
const char *skep_http_header(const struct skep_http_req *req, const char *name); /* the first; NULL */
const char *skep_http_cookie(const struct skep_http_req *req, const char *name); /* NULL */
const void *skep_http_body(const struct skep_http_req *req, size_t *ret_len);
/*
 * The body as one strict JSON object, the caller's. SKEP_E_BAD_DATA: it is none, and the answer (400 or
 * 415) is set; the handler returns 0 then.
 */
int skep_http_body_json(struct skep_http_req *req, json_t **ret);
/*
 * Refuses query parameters that are not in the NULL-terminated list, and those given twice; answers as
 * skep_http_body_json does.
 */
int skep_http_query_only(struct skep_http_req *req, const char *const *names);
/* What authorize() found out, for the handler. */
void skep_http_set_user(struct skep_http_req *req, void *user, void (*unref)(void *user));
void *skep_http_user(const struct skep_http_req *req);

/*
 * Answers: each returns 0 or -errno, as the handler does; a later one replaces an earlier one. Texts are
 * copied, json and descriptors are taken (also on failure).
 */
int skep_http_answer_json(struct skep_http_req *req, unsigned status, json_t *json);
int skep_http_answer_data(struct skep_http_req *req, unsigned status, const char *type, const void *data,
			  size_t len);
int skep_http_answer_empty(struct skep_http_req *req, unsigned status);
int skep_http_answer_problems(struct skep_http_req *req, const struct skep_problems *problems);
/* One problem: skep_http_refuse(req, 409, "job-ended", NULL, "job %s has ended", id). */
int skep_http_refuse(struct skep_http_req *req, unsigned status, const char *code, const char *pointer,
		     const char *fmt, ...) SKEP_PRINTF(5, 6);
/* What a function refused, by skep_problem_status() and code; with its hint. */
int skep_http_answer_err(struct skep_http_req *req, const struct skep_err *err);
/* A header of the answer, set before or after it; Set-Cookie may come several times. Keeps no pointers. */
int skep_http_add_header(struct skep_http_req *req, const char *name, const char *value);

struct skep_http_file {
	int fd;			   /* a regular file; taken */
	const char *type;	   /* media type */
	const char *etag;	   /* without quotes, strong: other bytes, other tag */
	const uint8_t *sha256;	   /* of the whole file, 32 bytes: Repr-Digest; NULL: unknown */
	const char *name;	   /* Content-Disposition: attachment; plain ASCII; NULL: none */
	const char *cache_control; /* NULL: "no-store" */
};

/*
 * A file with ETag, Range (one range), If-Range, If-Match, If-None-Match (RFC 9110) and Repr-Digest (RFC
 * 9530); by sendfile(2) where there is no TLS. If it shrinks meanwhile, the connection is cut.
 */
int skep_http_answer_file(struct skep_http_req *req, const struct skep_http_file *file);

/* What is computed rather than stored, but has a known length and can be read at any place. */
struct skep_http_content {
	uint64_t bytes;
	/*
	 * At most max bytes from `at` on; -errno cuts the connection. On the server's thread: like reading a
	 * file.
	 */
	ssize_t (*read)(void *arg, uint64_t at, void *buf, size_t max);
	void (*closed)(void *arg); /* once, also on failure; may be NULL */
	void *arg;
	const char *type, *etag, *name, *cache_control; /* as of a file */
};

/* By range, as a file. */
int skep_http_answer_content(struct skep_http_req *req, const struct skep_http_content *content);

struct skep_http_stream {
	const char *type;
	int fd;			   /* a pipe or a socket, taken, made non-blocking; the answer ends with it */
	const char *etag, *name;   /* as of a file; NULL: none */
	/*
	 * What comes out of the descriptor are the bytes from `first` on of a whole of total_bytes: 206 if
	 * first is not 0 or length not all of it. total_bytes 0: nobody knows, and there is no range.
	 */
	uint64_t first, length, total_bytes;
	void (*closed)(void *arg); /* once, when the answer is over, however; on any of the server's threads;
				      may be NULL */
	/*
	 * At the end of fd: is that all? false: the connection is cut, so that nobody takes the part for
	 * the whole; so it is when the server stops meanwhile. On the server's thread. NULL: it always is.
	 */
	bool (*whole)(void *arg);
	void *arg;
};

/*
 * What is asked of a stream whose length is known, before it is begun: 200 or 206 with first and length to
 * be produced; else the answer (304, 412, 416) is set.
 */
struct skep_range;
int skep_http_range(struct skep_http_req *req, const char *etag, uint64_t bytes, struct skep_range *ret);
/* Sends what comes out of a descriptor, for as long as it comes. */
int skep_http_answer_stream(struct skep_http_req *req, const struct skep_http_stream *stream);

/*
 * Server-sent events: what is published in the hub from now on, or after Last-Event-ID (header, or
 * ?last_event_id=); a comment every 15 s. wants (may be NULL): shall this client get the event? It runs on
 * the server's thread; arg must live as long as the server, or belong to closed().
 */
struct skep_http_events {
	struct skep_events *hub;
	bool (*wants)(const char *name, const char *data, void *arg);
	void (*closed)(void *arg); /* may be NULL */
	void *arg;
};

int skep_http_answer_events(struct skep_http_req *req, const struct skep_http_events *events);

#endif
