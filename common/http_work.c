/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workers: they take requests from a bounded queue, run the handler, and give the connection back to the
 * server's thread. A handler that sets no answer, or fails, gets the client a 500 and the log a line; the
 * client never waits for nothing. Never touches a connection but to resume it.
 */
#include "common/http_priv.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>

void skep_http_run(struct skep_http_req *req)
{
	int r = req->route->handler(req, req->http->cfg.app);

	if (r == 0 && req->status)
		return;
	skep_log(SKEP_LOG_ERROR, "%s %s: the handler %s (%d)", req->method, req->route->pattern,
		 r ? "failed" : "set no answer", r);
	skep_http_answer_drop(req);
	(void)skep_http_refuse(req, 500, "internal", NULL, "the request failed: %s",
			       r < 0 ? strerror(-r) : "a fault of this program; its log says more");
}

static void *worker_main(void *arg)
{
	struct skep_http *http = arg;
	struct skep_http_req *req;

	(void)pthread_setname_np(pthread_self(), "http-work");
	pthread_mutex_lock(&http->queue_lock);
	for (;;) {
		while (!http->queue_head && !http->queue_over)
			pthread_cond_wait(&http->queue_wake, &http->queue_lock);
		req = http->queue_head;
		if (!req)
			break;
		http->queue_head = req->next;
		if (!req->next)
			http->queue_tail = &http->queue_head;
		http->queue_n--;
		pthread_mutex_unlock(&http->queue_lock);
		skep_http_run(req);
		skep_http_resume(req->mhd); /* req is no longer ours */
		pthread_mutex_lock(&http->queue_lock);
		http->busy--;
	}
	pthread_mutex_unlock(&http->queue_lock);
	return NULL;
}

bool skep_http_work_add(struct skep_http_req *req)
{
	struct skep_http *http = req->http;
	bool room;

	pthread_mutex_lock(&http->queue_lock);
	room = http->queue_n < HTTP_QUEUE_MAX && !http->queue_over;
	if (room) {
		/* Before anybody can see it in the queue: a resume that comes first would be lost. */
		skep_http_suspend(req->mhd);
		req->next = NULL;
		*http->queue_tail = req;
		http->queue_tail = &req->next;
		http->queue_n++;
		http->busy++;
		pthread_cond_signal(&http->queue_wake);
	}
	pthread_mutex_unlock(&http->queue_lock);
	return room;
}

uint32_t skep_http_work_busy(struct skep_http *http)
{
	uint32_t busy;

	pthread_mutex_lock(&http->queue_lock);
	busy = http->busy;
	pthread_mutex_unlock(&http->queue_lock);
	return busy;
}

int skep_http_work_start(struct skep_http *http, struct skep_err *err)
{
	http->workers = calloc(http->cfg.workers, sizeof(*http->workers));
	if (!http->workers)
		return skep_err_set(err, -ENOMEM, "no memory for the HTTP workers");
	while (http->n_workers < http->cfg.workers) {
		int r = pthread_create(&http->workers[http->n_workers], NULL, worker_main, http);

		if (r)
			return skep_err_set(err, -r, "cannot start an HTTP worker: %s", strerror(r));
		http->n_workers++;
	}
	return 0;
}

void skep_http_work_stop(struct skep_http *http)
{
	pthread_mutex_lock(&http->queue_lock);
	http->queue_over = true;
	pthread_cond_broadcast(&http->queue_wake);
	pthread_mutex_unlock(&http->queue_lock);
	while (http->n_workers)
		pthread_join(http->workers[--http->n_workers], NULL);
	free(http->workers);
	http->workers = NULL;
}
