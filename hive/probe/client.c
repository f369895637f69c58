/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HTTP to a probe over libcurl, JSON over jansson. The key of the probe is pinned: no authority vouches for
 * it, the administrator has pasted it. The token goes only to that key. Follows no redirection, takes no
 * proxy, and bounds every answer and every wait. A client belongs to one thread at a time. Never logs.
 */
#include "hive/probe/client_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#define CONNECT_MS 3000L
#define ANSWER_MS 10000L               /* must stay below the job logic's settle_ns */
#define SLOW_BYTES_S 1024L             /* a fetch below that for SLOW_S is given up, and goes on later */
#define SLOW_S 10L
#define BODY_FORGOTTEN_MAX 65536u
#define BODY_MAX (16u * 1024 * 1024)   /* 10,000 jobs of 1.5 KiB */

struct hive_client {
	CURL *curl;
	struct curl_slist *headers;
	char *address;
};

void hive_client_answer_clear(struct client_answer *answer)
{
	free(answer->text);
	*answer = (struct client_answer){ 0 };
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- the client ---- */

struct hive_client *hive_client_free(struct hive_client *client)
{
	if (!client)
		return NULL;
	curl_easy_cleanup(client->curl);
	curl_slist_free_all(client->headers);
	free(client->address);
	free(client);
	return NULL;
}

int hive_client_new(const char *address, const char *key_pin, const char *token, struct hive_client **ret)
{
	struct hive_client *client;
	char bearer[512];

	(void)pthread_once(&once, init_curl);
	client = calloc(1, sizeof(*client));
	if (!client || (size_t)snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", token) >= sizeof(bearer)) {
		free(client);
		return -ENOMEM;
	}
	client->curl = curl_easy_init();
	client->address = strdup(address);
	client->headers = curl_slist_append(NULL, bearer);
	if (!client->curl || !client->address || !client->headers) {
		hive_client_free(client);
		return -ENOMEM;
	}
	curl_easy_setopt(client->curl, CURLOPT_PROTOCOLS_STR, key_pin ? "https" : "http");
	curl_easy_setopt(client->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(client->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	if (key_pin) {
		/* the pin says more than a certificate's name and issuer, which a probe makes itself */
		curl_easy_setopt(client->curl, CURLOPT_PINNEDPUBLICKEY, key_pin);
		curl_easy_setopt(client->curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(client->curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	*ret = client;
	return 0;
}

int hive_client_copy(const struct hive_client *client, struct hive_client **ret)
{
	struct hive_client *copy = calloc(1, sizeof(*copy));
	int r = copy ? 0 : -ENOMEM;

	if (r == 0) {
		copy->curl = curl_easy_duphandle(client->curl);
		copy->address = strdup(client->address);
		for (const struct curl_slist *one = client->headers; one; one = one->next)
			copy->headers = curl_slist_append(copy->headers, one->data);
		r = copy->curl && copy->address && copy->headers ? 0 : -ENOMEM;
	}
	if (r < 0)
		hive_client_free(copy);
	else
		*ret = copy;
	return r;
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	struct client_answer *answer = arg;
	char *longer = answer->len + n <= BODY_MAX ? realloc(answer->text, answer->len + n + 1) : NULL;

	(void)size;
	if (!longer)
		return 0; /* ends the transfer */
	answer->text = longer;
	memcpy(longer + answer->len, data, n);
	answer->len += n;
	longer[answer->len] = '\0';
	return n;
}

static int no_answer(struct hive_client *client, CURLcode code, struct skep_err *err)
{
	int r = code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -ECONNREFUSED;

	if (code == CURLE_SSL_PINNEDPUBKEYNOTMATCH) {
		(void)skep_err_set(err, -EPROTO, "%s: its key is not the one that was enrolled", client->address);
		(void)skep_err_hint(err, "if the probe was set up anew, paste what skep-control enrol prints now");
		return -EPROTO;
	}
	return skep_err_set(err, r, "%s: %s", client->address, curl_easy_strerror(code));
}

int hive_client_ask(struct hive_client *client, const struct client_ask *what, struct client_answer *ret,
		    struct skep_err *err)
{
	struct curl_slist *headers = NULL;
	char url[600], key[160];
	CURLcode code;

	snprintf(url, sizeof(url), "%s%s", client->address, what->path);
	for (const struct curl_slist *one = client->headers; one; one = one->next)
		headers = curl_slist_append(headers, one->data);
	if (what->body)
		headers = curl_slist_append(headers, "Content-Type: application/json");
	if (what->key) {
		snprintf(key, sizeof(key), "Idempotency-Key: %s", what->key);
		headers = curl_slist_append(headers, key);
	}
	curl_easy_setopt(client->curl, CURLOPT_URL, url);
	curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, what->method);
	if (strcmp(what->method, "POST") == 0)
		curl_easy_setopt(client->curl, CURLOPT_COPYPOSTFIELDS, what->body ? what->body : "");
	curl_easy_setopt(client->curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)0);
	curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_LIMIT, 0L);
	curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, what->timeout_ms ? what->timeout_ms : ANSWER_MS);
	curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, ret);
	code = curl_easy_perform(client->curl);
	curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	if (code != CURLE_OK)
		return no_answer(client, code, err);
	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &ret->status);
	return 0;
}

/* The probe's sentence, or the status. */
static int refusal(struct hive_client *client, const struct client_answer *answer, struct skep_err *err)
{
	_skep_json_ json_t *body = NULL;
	const char *detail = NULL;
	/* 401: our token, 408, 429 and 5xx: not now. The rest will not be better the next time. */
	bool later = answer->status == 401 || answer->status == 408 || answer->status == 429 ||
		     answer->status >= 500;

	if (answer->text && skep_json_load("answer", answer->text, answer->len, &body, NULL) == 0)
		detail = json_string_value(json_object_get(body, "detail"));
	return skep_err_set(err, later ? -EAGAIN : answer->status == 409 ? SKEP_E_BUSY : SKEP_E_UNSUPPORTED, "%s: %.400s",
			    client->address, detail ? detail : "the probe refused without a word");
}

int hive_client_json(struct hive_client *client, const struct client_answer *answer, json_t **ret,
		     struct skep_err *err)
{
	if (answer->status >= 300)
		return refusal(client, answer, err);
	if (skep_json_load(client->address, answer->text ? answer->text : "", answer->len, ret, err) != 0)
		return -EPROTO;
	return 0;
}

/* ---- captures ---- */

static enum hive_capture_at at_of(const char *state)
{
	static const struct {
		const char *state;
		enum hive_capture_at at;
	} states[] = {
		{ "running", HIVE_CAPTURE_RUNNING }, { "paused", HIVE_CAPTURE_PAUSED }, { "done", HIVE_CAPTURE_OVER },
		{ "failed", HIVE_CAPTURE_OVER },     { "cancelled", HIVE_CAPTURE_OVER },
	};

	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (strcmp(states[i].state, state) == 0)
			return states[i].at;
	return HIVE_CAPTURE_BUSY;
}

void hive_client_read_capture(const json_t *job, struct hive_capture *ret)
{
	const json_t *account = json_object_get(job, "account"), *reasons = json_object_get(job, "reasons"), *item;
	const char *reason;
	size_t i, len = 0;

	*ret = (struct hive_capture){ .at = at_of(client_text(job, "state")) };
	snprintf(ret->name, sizeof(ret->name), "%s", client_text(job, "name"));
	snprintf(ret->id, sizeof(ret->id), "%s", client_text(job, "id"));
	ret->failed = strcmp(client_text(job, "state"), "failed") == 0;
	ret->ring = strcmp(client_text(job, "kind"), "ring") == 0;
	ret->gap = json_array_size(json_object_get(job, "gaps")) > 0;
	ret->seen_pkts = client_number(account, "seen");
	ret->stored_pkts = client_number(account, "stored");
	ret->rejected_pkts = client_number(account, "rejected");
	ret->stored_bytes = client_number(account, "bytes_raw");
	json_object_foreach(json_object_get(account, "dropped"), reason, item) {
		ret->dropped_pkts += json_integer_value(item);
		if (json_integer_value(item) <= 0 || ret->n_drops == ARRAY_LEN(ret->drops))
			continue;
		snprintf(ret->drops[ret->n_drops].reason, sizeof(ret->drops[0].reason), "%s", reason);
		ret->drops[ret->n_drops++].pkts = json_integer_value(item);
	}
	json_array_foreach(reasons, i, item) {
		if (len < sizeof(ret->text))
			len += (size_t)snprintf(ret->text + len, sizeof(ret->text) - len, "%s%s", len ? "; " : "",
						json_is_string(item) ? json_string_value(item) : "");
	}
}

int hive_client_list(struct hive_client *client, const char *prefix, struct hive_capture **ret,
		     uint32_t *ret_n, struct skep_err *err)
{
	_answer_ struct client_answer answer = { 0 };
	_skep_json_ json_t *body = NULL;
	struct hive_capture *captures;
	const json_t *jobs, *job;
	uint32_t n = 0;
	size_t i;
	int r = hive_client_ask(client, &(struct client_ask){ .method = "GET", .path = "/v1/jobs" }, &answer, err);

	if (r == 0)
		r = hive_client_json(client, &answer, &body, err);
	if (r != 0)
		return r > 0 ? -EPROTO : r;
	jobs = json_object_get(body, "jobs");
	captures = calloc(json_array_size(jobs) + 1, sizeof(*captures));
	if (!captures)
		return -ENOMEM;
	json_array_foreach(jobs, i, job) {
		hive_client_read_capture(job, &captures[n]);
		n += strncmp(captures[n].name, prefix, strlen(prefix)) == 0;
	}
	*ret = captures;
	*ret_n = n;
	return 0;
}

int hive_client_get(struct hive_client *client, const char *name, struct hive_capture *ret,
		    struct skep_err *err)
{
	_skep_free_ struct hive_capture *captures = NULL;
	uint32_t n = 0;
	int r = hive_client_list(client, name, &captures, &n, err);

	if (r != 0)
		return r;
	*ret = (struct hive_capture){ .at = HIVE_CAPTURE_ABSENT };
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(captures[i].name, name) == 0)
			*ret = captures[i];
	return 0;
}

static json_t *wish_json(const struct hive_capture_wish *wish)
{
	json_t *body = json_pack("{s:s, s:[s], s:s}", "name", wish->name, "links", wish->interface, "format", wish->format);
	json_t *limits = json_object();
	const struct {
		const char *name;
		int64_t value;
	} rows[] = { { "packets", wish->limit_pkts }, { "bytes", wish->limit_bytes }, { "duration_ns", wish->limit_duration_ns } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].value)
			(void)json_object_set_new(limits, rows[i].name, json_integer(rows[i].value));
	(void)json_object_set_new(body, "limits", limits);
	if (wish->filter)
		(void)json_object_set_new(body, "filter", json_string(wish->filter));
	if (wish->trim)
		(void)json_object_set_new(body, "trim", json_string(wish->trim));
	if (wish->ring_bytes || wish->ring_duration_ns)
		(void)json_object_set_new(body, "ring",
					  wish->ring_bytes ? json_pack("{s:I}", "bytes", (json_int_t)wish->ring_bytes)
							   : json_pack("{s:I}", "duration_ns", (json_int_t)wish->ring_duration_ns));
	if (wish->snaplen)
		(void)json_object_set_new(body, "snaplen", json_integer(wish->snaplen));
	if (wish->sample_every > 1)
		(void)json_object_set_new(body, "sample",
					  json_pack("{s:I, s:b}", "every", (json_int_t)wish->sample_every, "by_flow",
						    wish->sample_by_flow));
	return body;
}

int hive_client_create(struct hive_client *client, const struct hive_capture_wish *wish,
		       struct hive_capture *ret, struct skep_err *err)
{
	_answer_ struct client_answer answer = { 0 };
	_skep_json_ json_t *body = wish_json(wish), *job = NULL;
	_skep_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct client_ask what = { .method = "POST", .path = "/v1/jobs", .body = text, .key = wish->name };
	int r = text ? hive_client_ask(client, &what, &answer, err) : -ENOMEM;

	if (r == 0)
		r = hive_client_json(client, &answer, &job, err);
	if (r == SKEP_E_BUSY)
		r = -EBUSY; /* somebody else is on the link: it may be free soon */
	if (r == 0)
		hive_client_read_capture(job, ret);
	return r;
}

int hive_client_do(struct hive_client *client, const char *name, enum hive_capture_verb verb,
		   struct hive_capture *ret, struct skep_err *err)
{
	static const char *const words[] = { "/pause", "/resume", "/stop", "" };
	_answer_ struct client_answer answer = { 0 };
	_skep_json_ json_t *job = NULL;
	char path[96];
	struct client_ask what = { .method = verb == HIVE_CAPTURE_DELETE ? "DELETE" : "POST", .path = path };
	int r = hive_client_get(client, name, ret, err);

	if (r != 0 || ret->at == HIVE_CAPTURE_ABSENT)
		return r;
	snprintf(path, sizeof(path), "/v1/jobs/%s%s", ret->id, words[verb]);
	r = hive_client_ask(client, &what, &answer, err);
	if (r != 0)
		return r;
	if (answer.status == 404 || (verb == HIVE_CAPTURE_DELETE && answer.status == 204)) {
		ret->at = HIVE_CAPTURE_ABSENT;
		return 0;
	}
	r = hive_client_json(client, &answer, &job, err);
	if (r == 0)
		hive_client_read_capture(job, ret);
	return r;
}

/* ---- segments ---- */

static int64_t time_of(const char *text)
{
	struct tm tm = { 0 };
	const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t ns = 0, scale = 100000000;

	if (!at)
		return 0;
	if (*at == '.')
		for (at++; *at >= '0' && *at <= '9' && scale; at++, scale /= 10)
			ns += (*at - '0') * scale;
	return (int64_t)timegm(&tm) * 1000000000 + ns;
}

/* A name that becomes a file's: what could lead elsewhere is refused. */
static bool name_fine(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/') &&
	       strlen(name) < sizeof(((struct hive_segment *)0)->name) &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@:+") ==
		       strlen(name);
}

int hive_client_segments(struct hive_client *client, const char *id, struct hive_segment **ret,
			 uint32_t *ret_n, struct skep_err *err)
{
	_answer_ struct client_answer answer = { 0 };
	_skep_json_ json_t *body = NULL;
	_skep_free_ struct hive_segment *segments = NULL;
	const json_t *list, *item;
	char path[96];
	size_t i;
	int r;

	snprintf(path, sizeof(path), "/v1/jobs/%s/segments", id);
	r = hive_client_ask(client, &(struct client_ask){ .method = "GET", .path = path }, &answer, err);
	if (r == 0)
		r = hive_client_json(client, &answer, &body, err);
	if (r != 0)
		return r;
	list = json_object_get(body, "segments");
	segments = calloc(json_array_size(list) + 1, sizeof(*segments));
	if (!segments)
		return -ENOMEM;
	json_array_foreach(list, i, item) {
		struct hive_segment *segment = &segments[i];

		if (!name_fine(client_text(item, "name")))
			return skep_err_set(err, -EPROTO, "%s: a segment has a name that is no file's", client->address);
		snprintf(segment->name, sizeof(segment->name), "%s", client_text(item, "name"));
		snprintf(segment->sha256, sizeof(segment->sha256), "%s", client_text(item, "sha256"));
		segment->bytes = client_number(item, "bytes");
		segment->pkts = client_number(item, "packets");
		segment->raw_bytes = client_number(item, "bytes_raw");
		segment->first_ns = time_of(client_text(item, "first"));
		segment->last_ns = time_of(client_text(item, "last"));
	}
	*ret_n = (uint32_t)json_array_size(list);
	*ret = TAKE_PTR(segments);
	return 0;
}

static int get_text(struct hive_client *client, const char *path, char **ret, struct skep_err *err)
{
	_answer_ struct client_answer answer = { 0 };
	int r = hive_client_ask(client, &(struct client_ask){ .method = "GET", .path = path }, &answer, err);

	if (r == 0 && answer.status != 200)
		r = answer.status == 404 ? -ENOENT : refusal(client, &answer, err);
	if (r == 0 && !answer.text)
		r = -EPROTO;
	if (r == 0)
		*ret = TAKE_PTR(answer.text);
	return r;
}

int hive_client_capture_text(struct hive_client *client, const char *id, char **ret, struct skep_err *err)
{
	char path[96];

	snprintf(path, sizeof(path), "/v1/jobs/%s", id);
	return get_text(client, path, ret, err);
}

int hive_client_sidecar(struct hive_client *client, const char *id, const char *segment, char **ret,
			struct skep_err *err)
{
	char path[320];

	snprintf(path, sizeof(path), "/v1/jobs/%s/segments/%s/sidecar", id, segment);
	return get_text(client, path, ret, err);
}

int hive_client_collected(struct hive_client *client, const char *id, const struct hive_segment *segment,
			  struct skep_err *err)
{
	_answer_ struct client_answer answer = { 0 };
	char path[320], body[96];
	int r;

	snprintf(path, sizeof(path), "/v1/jobs/%s/segments/%s/collected", id, segment->name);
	snprintf(body, sizeof(body), "{\"sha256\":\"%s\"}", segment->sha256);
	r = hive_client_ask(client, &(struct client_ask){ .method = "POST", .path = path, .body = body }, &answer, err);
	return r == 0 && answer.status != 204 ? refusal(client, &answer, err) : r;
}

struct sinking {
	CURL *curl;
	int fd;
	int64_t offset, bytes;
	int error;
};

/* An error's body, or a whole file where a part was asked for, must not end up in the file. */
static size_t sink(char *data, size_t size, size_t n, void *arg)
{
	struct sinking *sinking = arg;
	size_t done = 0;
	long status = 0;

	(void)size;
	curl_easy_getinfo(sinking->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != (sinking->offset ? 206 : 200))
		return n;
	while (done < n) {
		ssize_t wrote = write(sinking->fd, data + done, n - done);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0) {
			sinking->error = wrote < 0 ? -errno : -EIO;
			return 0;
		}
		done += (size_t)wrote;
	}
	sinking->bytes += (int64_t)n;
	return n;
}

/* Asked several times a second, also while nothing comes. */
static int shall_stop(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const atomic_bool *stop = arg;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return stop && atomic_load_explicit(stop, memory_order_relaxed);
}

int hive_client_fetch(struct hive_client *client, const struct hive_fetch *what, int64_t *ret_bytes,
		      struct skep_err *err)
{
	struct sinking sinking = { .curl = client->curl, .fd = what->fd, .offset = what->offset };
	char url[600];
	CURLcode code;
	long status = 0;

	snprintf(url, sizeof(url), "%s/v1/jobs/%s/segments/%s", client->address, what->id, what->segment);
	curl_easy_setopt(client->curl, CURLOPT_URL, url);
	curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
	curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, NULL);
	curl_easy_setopt(client->curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)what->offset);
	curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, 0L);
	curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES_S);
	curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_TIME, SLOW_S);
	curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, sink);
	curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, &sinking);
	curl_easy_setopt(client->curl, CURLOPT_XFERINFOFUNCTION, shall_stop);
	curl_easy_setopt(client->curl, CURLOPT_XFERINFODATA, what->stop);
	curl_easy_setopt(client->curl, CURLOPT_NOPROGRESS, 0L);
	code = curl_easy_perform(client->curl);
	curl_easy_setopt(client->curl, CURLOPT_NOPROGRESS, 1L);
	curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, NULL);
	*ret_bytes = sinking.bytes;
	if (sinking.error)
		return skep_err_set(err, sinking.error, "%s: cannot be written: %s", what->segment, strerror(-sinking.error));
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return skep_err_set(err, -ECANCELED, "%s: the hive is about to end", what->segment);
	if (code != CURLE_OK)
		return no_answer(client, code, err);
	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status == (what->offset ? 206 : 200))
		return 0;
	return skep_err_set(err, status == 404 ? -ENOENT : -EAGAIN, "%s: %s: the probe answered %ld", client->address, what->segment, status);
}

/* ---- to others ---- */

struct opening {
	bool (*fine)(const struct sockaddr *addr);
	bool refused;
};

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct opening *opening = arg;

	(void)purpose;
	opening->refused = opening->fine && !opening->fine(&to->addr);
	return opening->refused ? CURL_SOCKET_BAD
				: socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* As much as an answer to nobody may have; more ends the transfer. */
static size_t forget_body(char *data, size_t size, size_t n, void *arg)
{
	size_t *left = arg;

	(void)data;
	(void)size;
	if (n > *left)
		return 0;
	*left -= n;
	return n;
}

int hive_client_post(const struct client_post *post, long *ret_status, struct skep_err *err)
{
	struct opening opening = { .fine = post->fine };
	struct curl_slist *headers = NULL;
	size_t left = BODY_FORGOTTEN_MAX;
	CURLcode code = CURLE_OUT_OF_MEMORY;
	CURL *curl;

	(void)pthread_once(&once, init_curl);
	curl = curl_easy_init();
	for (const char *const *line = post->headers; *line; line++)
		headers = curl_slist_append(headers, *line);
	*ret_status = 0;
	if (curl && headers) {
		curl_easy_setopt(curl, CURLOPT_URL, post->url);
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, post->protocols);
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
		curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ANSWER_MS);
		curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
		curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &opening);
		curl_easy_setopt(curl, CURLOPT_USERAGENT, "skep-hive/" SKEP_VERSION);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, post->body);
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, forget_body);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, &left);
		code = curl_easy_perform(curl);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	}
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	if (opening.refused)
		return skep_err_set(err, -EACCES, "its name leads to an address that is not public");
	/* an answer that was too long is an answer */
	if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && *ret_status))
		return skep_err_set(err, -EIO, "%s", curl_easy_strerror(code));
	return 0;
}
