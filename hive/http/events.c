/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens to jobs, as server-sent events: the hive's news as JSON into one hub, and out of it to each
 * watcher what they may see. Who may see what is read anew every REFRESH_NS, before anything later is
 * published, so a right that somebody lost is lost here too. Each event's data begins with its owner and its
 * job, so that a watcher's filter, which runs on the server's thread, need not parse it. A watcher who does
 * not read loses events and is told so, and holds up nobody.
 */
#include "hive/http/call.h"

#include "common/events.h"
#include "common/format.h"
#include "hive/svc/news.h"
#include "hive/svc/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define KEEP 8192u /* events, of about 300 bytes */
#define REFRESH_NS (2 * (int64_t)SKEP_NSEC_PER_SEC)
#define WATCHERS_MAX 256u

struct watcher {
	struct watcher *next;
	struct hive_http_watch *watch;
	struct hive_actor actor;
	int64_t job_id; /* 0: all */
	struct hive_scope scope;
};

struct hive_http_watch {
	struct hive *hive;
	struct skep_events *hub;
	pthread_mutex_t lock; /* what follows */
	struct watcher *watchers;
	uint32_t n;
	int64_t refreshed_ns;
};

/* ---- out ---- */

static void take_out(struct watcher *watcher)
{
	struct hive_http_watch *watch = watcher->watch;

	pthread_mutex_lock(&watch->lock);
	for (struct watcher **at = &watch->watchers; *at; at = &(*at)->next)
		if (*at == watcher) {
			*at = watcher->next;
			watch->n--;
			break;
		}
	pthread_mutex_unlock(&watch->lock);
}

static void closed(void *arg)
{
	struct watcher *watcher = arg;

	take_out(watcher);
	free(watcher->scope.owners);
	free(watcher);
}

/* On the server's thread. */
static bool wants(const char *name, const char *data, void *arg)
{
	struct watcher *watcher = arg;
	int64_t owner_id = 0, job_id = 0;
	bool fine;

	(void)name;
	if (sscanf(data, "{\"owner_id\":%" SCNd64 ",\"job_id\":%" SCNd64, &owner_id, &job_id) != 2)
		return true; /* of nobody's job: that some were missed */
	pthread_mutex_lock(&watcher->watch->lock);
	fine = (!watcher->job_id || watcher->job_id == job_id) && hive_scope_has(&watcher->scope, owner_id);
	pthread_mutex_unlock(&watcher->watch->lock);
	return fine;
}

static int too_many(struct hive_call *call)
{
	(void)skep_http_add_header(call->req, "Retry-After", "10");
	return skep_http_refuse(call->req, 503, "busy", NULL, "%u watch already, as many as may at once", WATCHERS_MAX);
}

int hive_http_stream(struct hive_call *call, int64_t job_id)
{
	struct hive_http_watch *watch = call->app->watch;
	struct watcher *watcher;
	bool room;
	int r;

	watcher = calloc(1, sizeof(*watcher));
	if (!watcher)
		return -ENOMEM;
	watcher->watch = watch;
	watcher->actor = call->actor;
	hive_secret_wipe(watcher->actor.csrf, sizeof(watcher->actor.csrf));
	watcher->job_id = job_id;
	r = hive_scope_of(call->hive, &watcher->actor, &watcher->scope);
	if (r != 0) {
		free(watcher);
		return hive_http_complain(call, r, NULL);
	}
	pthread_mutex_lock(&watch->lock);
	room = watch->n < WATCHERS_MAX;
	if (room) {
		watcher->next = watch->watchers;
		watch->watchers = watcher;
		watch->n++;
	}
	pthread_mutex_unlock(&watch->lock);
	if (!room) {
		free(watcher->scope.owners);
		free(watcher);
		return too_many(call);
	}
	return skep_http_answer_events(call->req, &(struct skep_http_events){ .hub = watch->hub,
									      .wants = wants,
									      .closed = closed,
									      .arg = watcher });
}

int hive_http_events(struct hive_call *call)
{
	static const char *const known[] = { "job_id", "last_event_id", NULL };
	_hive_job_ struct hive_job job = { 0 };
	struct hive_complaints complaints = { 0 };
	const char *text;
	int64_t job_id = 0;
	char *end;
	int r = skep_http_query_only(call->req, known);

	if (r != 0)
		return r < 0 ? r : 0;
	text = skep_http_query(call->req, "job_id");
	if (!text)
		return hive_http_stream(call, 0);
	job_id = strtoll(text, &end, 10);
	if (*end || job_id < 1)
		return skep_http_refuse(call->req, 400, "bad-query", NULL, "job_id: must be the id of a job");
	r = hive_thing_get(call->hive, &call->actor, HIVE_JOB, job_id, &job, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_stream(call, job_id);
}

/* ---- in ---- */

json_t *hive_http_progress_json(const struct hive_progress *p)
{
	char time[SKEP_FORMAT_MAX];
	json_t *drops = json_object();

	for (uint32_t i = 0; drops && i < p->sample.n_drops; i++)
		(void)json_object_set_new(drops, p->sample.drops[i].reason,
					  json_integer(p->sample.drops[i].pkts));
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:f, s:f, s:s?}", "seen_pkts", (json_int_t)p->sample.seen_pkts,
			 "stored_pkts", (json_int_t)p->sample.stored_pkts, "rejected_pkts", (json_int_t)p->sample.rejected_pkts,
			 "dropped_pkts", (json_int_t)p->sample.dropped_pkts, "stored_bytes", (json_int_t)p->sample.stored_bytes,
			 "drops", drops, "pkts_per_s", p->pkts_per_s, "bytes_per_s", p->bytes_per_s, "estimated_end",
			 p->end_ns ? skep_format_time(time, (uint64_t)p->end_ns) : NULL);
}

static json_t *news_json(const struct hive_news *news)
{
	char time[SKEP_FORMAT_MAX];
	json_t *object = json_pack("{s:I, s:I}", "owner_id", (json_int_t)news->owner_id, "job_id", (json_int_t)news->job_id);
	json_t *progress;

	if (!object)
		return NULL;
	(void)json_object_set_new(object, "time", json_string(skep_format_time(time, (uint64_t)news->time_ns)));
	(void)json_object_set_new(object, news->kind == HIVE_NEWS_JOB ? "name" : "link", json_string(news->name));
	if (news->kind == HIVE_NEWS_JOB) {
		(void)json_object_set_new(object, "state", json_string(hive_job_state_names[news->state]));
		(void)json_object_set_new(object, "outcome", json_string(hive_outcome_names[news->outcome]));
		return object;
	}
	(void)json_object_set_new(object, "link_id", json_integer(news->link_id));
	(void)json_object_set_new(object, "state", json_string(hive_part_state_names[news->state]));
	if (news->kind == HIVE_NEWS_LINK) {
		(void)json_object_set_new(object, "result", json_string(hive_result_names[news->outcome]));
		return object;
	}
	progress = hive_http_progress_json(&news->progress);
	(void)json_object_update(object, progress);
	json_decref(progress);
	return object;
}

/* Whoever lost their rights sees nothing of what is published after this. */
static void refresh(struct hive_http_watch *watch, int64_t now_ns)
{
	pthread_mutex_lock(&watch->lock);
	for (struct watcher *watcher = watch->watchers; watcher; watcher = watcher->next) {
		struct hive_scope scope = { 0 };
		int r = hive_scope_of(watch->hive, &watcher->actor, &scope);

		free(watcher->scope.owners);
		watcher->scope = r == 0 ? scope : (struct hive_scope){ 0 };
	}
	watch->refreshed_ns = now_ns;
	pthread_mutex_unlock(&watch->lock);
}

static void tell(void *arg, const struct hive_news *news)
{
	static const char *const names[] = { "job", "link", "progress", "gap" };
	struct hive_http_watch *watch = arg;
	_skep_json_ json_t *object = NULL;
	_skep_free_ char *text = NULL;
	int64_t now = hive_now_ns(watch->hive);

	if (now - watch->refreshed_ns > REFRESH_NS || now < watch->refreshed_ns)
		refresh(watch, now);
	object = news->kind == HIVE_NEWS_MISSED ? json_object() : news_json(news);
	text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	if (text)
		(void)skep_events_publish(watch->hub, names[news->kind], text);
}

uint32_t hive_http_watchers(struct hive_http_watch *watch)
{
	uint32_t n;

	pthread_mutex_lock(&watch->lock);
	n = watch->n;
	pthread_mutex_unlock(&watch->lock);
	return n;
}

struct hive_http_watch *hive_http_watch_new(struct hive *hive)
{
	struct hive_http_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->hub = skep_events_new(KEEP);
	if (!watch->hub) {
		free(watch);
		return NULL;
	}
	watch->hive = hive;
	pthread_mutex_init(&watch->lock, NULL);
	hive_news_listen(hive, tell, watch);
	return watch;
}

struct hive_http_watch *hive_http_watch_free(struct hive_http_watch *watch)
{
	if (!watch)
		return NULL;
	hive_news_listen(watch->hive, NULL, NULL);
	skep_events_free(watch->hub);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
	return NULL;
}
