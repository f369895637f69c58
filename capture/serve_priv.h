/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SERVE_PRIV_H
#define CAP_SERVE_PRIV_H
/*
 * What the parts of the job socket share: serve.c (life, connections), serve_jobs.c (requests), serve_say.c
 * (answers). Control thread.
 */
#include "capture/serve.h"

#include <sys/un.h>

#define CAP_SERVE_CLIENTS 32u

struct serve_job {
	struct cap_jobspec spec;
	bool ended;
	struct cap_engine_totals totals; /* when ended */
	struct serve_job *next;
};

struct client {
	int fd; /* -1: free */
	bool events;
	bool dying;
	char *in;
	size_t n_in, room_in;
	char *out;
	size_t n_out, room_out;
	/* an answer that has to wait: no further request is read meanwhile */
	struct serve_job *waits_for;
	bool waits_rotated; /* else: ended */
};

struct cap_serve {
	struct cap_serve_cfg cfg;
	struct cap_engine *engine;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int listen_fd;
	int root_fd;
	int news_in, news_out; /* written by any thread, read by ours */
	uint64_t started_ns;
	struct serve_job *jobs; /* newest first */
	struct client clients[CAP_SERVE_CLIENTS];
};

/* The buffer has room for `need` bytes; false if that is more than max, or than there is. */
bool cap_serve_space(char **buffer, size_t *room, size_t need, size_t max);
/* Sends what the client takes now. */
void cap_serve_flush(struct client *c);
/* Takes the object (NULL: no memory, and the client goes). */
void cap_serve_answer(struct client *c, json_t *object);
void cap_serve_ok(struct client *c);
void cap_serve_refuse(struct client *c, const struct skep_err *err);
/* Takes the event. */
void cap_serve_tell(struct cap_serve *s, json_t *event);
json_t *cap_serve_text(const char *text);
json_t *cap_serve_count(uint64_t n);
json_t *cap_serve_describe(struct cap_serve *s, struct serve_job *j);
json_t *cap_serve_links(struct cap_serve *s);

struct serve_job *cap_serve_find(struct cap_serve *s, const char *name);
void cap_serve_free_job(struct serve_job *j);
/* The engine has ended the job: tells everybody, forgets the engine's part. */
void cap_serve_end_job(struct cap_serve *s, struct serve_job *j);
/* Jobs that are over leave, jobs that have left end, answers that waited are given. */
void cap_serve_look(struct cap_serve *s);
/* One request: answered, or refused in err, or to be answered later (c->waits_for). */
int cap_serve_dispatch(struct cap_serve *s, struct client *c, const char *line, size_t n,
		       struct skep_err *err);

#endif
