/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_HTTP_PRIV_H
#define SKEP_HTTP_PRIV_H
/*
 * What the files of the HTTP server share; nobody else includes it.
 *
 * Order of locks: skep_events, then skep_http.lock, then the library's own. queue_lock is held alone.
 * A request belongs to the server's thread until it is queued, then to one worker, then to the server's
 * thread again; the queue and the resuming of the connection hand it over.
 */
#include "common/events.h"
#include "common/http.h"
#include "common/http_target.h"

#include <netinet/in.h>
#include <pthread.h>

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;

#define HTTP_HEAD_MAX_BYTES 16384u
#define HTTP_FIELDS_MAX 100u
/* Of a body that is refused, so much is still read, so that the client gets to read why. */
#define HTTP_DRAIN_BYTES (1024u * 1024)
/* Requests that wait for a worker; one more gets 503. */
#define HTTP_QUEUE_MAX 256u
/* See skep_http_cfg: what a client must take within each stall_ms if that much is outstanding. */
#define HTTP_STALL_BYTES 16384u
#define HTTP_PING_MS 15000u

enum http_phase {
	HTTP_HEAD,   /* until the head is complete */
	HTTP_BODY,   /* until the body is complete */
	HTTP_WORK,   /* the handler has it: no deadline */
	HTTP_ANSWER, /* being sent */
	HTTP_IDLE,   /* sent; the next head must be complete in time */
};

struct http_conn {
	struct http_conn *next, **prev; /* under the server's lock, as is everything below */
	struct MHD_Connection *mhd;
	int fd; /* the library's; valid while the connection is in the list */
	char peer[INET6_ADDRSTRLEN];
	enum http_phase phase;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; UINT64_MAX: none */
	uint64_t must_ack;    /* bytes of the connection that must be acknowledged by the deadline */
	bool cut;
};

/* An answer without an end: a descriptor's content, or events. */
struct http_live {
	struct http_live *next, **prev; /* under the server's lock, as are the flags */
	struct skep_http *http;
	struct http_conn *conn;
	uint64_t id;
	bool suspended, woken, ping, gone;
	struct skep_http_stream stream; /* fd -1: events */
	struct skep_http_events events;
	struct skep_events_reader reader;
	char *pending; /* formatted, and not yet taken by the library */
	size_t pending_len, pending_off;
};

enum http_step { HTTP_STEP_NEW, HTTP_STEP_BODY, HTTP_STEP_DRAIN, HTTP_STEP_ANSWER };

struct http_field {
	struct http_field *next;
	char *value;
	char name[];
};

struct skep_http_req {
	struct skep_http_req *next; /* in the queue */
	struct skep_http *http;
	struct http_conn *conn;
	struct MHD_Connection *mhd;
	const struct skep_http_route *route;
	const char *method;	/* the library's */
	const char *target_end; /* in the library's buffer */
	struct skep_target target;
	int target_r; /* what skep_target_parse said, with target_err */
	struct skep_err target_err;
	struct skep_target_params params;
	enum http_step step;
	uint64_t start_ns;
	char *body;
	size_t body_len, body_room;
	uint64_t drained_bytes;
	unsigned status; /* of the answer; 0: none */
	struct MHD_Response *response;
	struct http_field *fields;
	void *user;
	void (*unref)(void *user);
};

struct skep_http {
	struct skep_http_cfg cfg;
	bool tls;
	struct MHD_Daemon *mhd;
	int listen_fd;
	uint16_t port;
	char library_said[256]; /* last complaint of the HTTP library while it starts */

	pthread_mutex_t lock;
	struct http_conn *conns;
	struct http_live *lives;
	uint64_t next_live_id;
	struct skep_http_stats stats;
	bool stopping;

	pthread_mutex_t queue_lock;
	pthread_cond_t queue_wake;
	struct skep_http_req *queue_head, **queue_tail;
	uint32_t queue_n, busy;
	bool queue_over;
	pthread_t *workers;
	uint32_t n_workers;

	int epoll_fd, wake_fd;
	pthread_t watch;
	bool watching;
};

uint64_t skep_http_now_ns(void);
/* common/http_listen.c: a listening socket; ret_loopback: its address is one. */
int skep_http_listen(const char *address, int *ret_fd, uint16_t *ret_port, bool *ret_loopback,
		     struct skep_err *err);

/* common/http_watch.c */
int skep_http_watch_start(struct skep_http *http, struct skep_err *err);
void skep_http_watch_stop(struct skep_http *http);
void skep_http_conn_phase(struct skep_http *http, struct http_conn *conn, enum http_phase phase);
void skep_http_live_add(struct http_live *live);
void skep_http_live_remove(struct http_live *live); /* and forgets its descriptor */
/* Wakes the live when its descriptor has something to read. 0 or -errno. */
int skep_http_live_arm(struct http_live *live);
void skep_http_live_wake(void *live); /* any thread */
void skep_http_live_wake_all(struct skep_http *http);

/* common/http_work.c */
int skep_http_work_start(struct skep_http *http, struct skep_err *err);
void skep_http_work_stop(struct skep_http *http);
bool skep_http_work_add(struct skep_http_req *req); /* false: the queue is full */
uint32_t skep_http_work_busy(struct skep_http *http);
void skep_http_run(struct skep_http_req *req); /* calls the handler and sees to it that there is an answer */

/* common/http.c and common/http_answer.c: the library's side. */
void skep_http_resume(struct MHD_Connection *mhd);
void skep_http_suspend(struct MHD_Connection *mhd);
void skep_http_answer_drop(struct skep_http_req *req);
void skep_http_answer_headers(struct skep_http_req *req); /* onto the response */

#endif
