/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a handler sees of a request, and its answers as responses of the HTTP library: JSON, problems, files
 * by range, and streams without an end.
 *
 * A stream sleeps by suspending its connection; whoever has something for it wakes it. `woken` closes the
 * gap between looking and sleeping: it is cleared before looking, and who finds it set does not sleep.
 */
#include "common/http_priv.h"
#include "common/http_range.h"
#include "common/json.h"
#include "common/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* One TLS record holds 16 KiB; eight of them per turn of the server's thread. */
#define FILE_CHUNK_BYTES (128u * 1024)
/* Allocated for each answer: of a stream, as large as pays; events are small, and their readers many. */
#define STREAM_CHUNK_BYTES (256u * 1024)
#define EVENTS_CHUNK_BYTES (16u * 1024)

const char *skep_http_method(const struct skep_http_req *req)
{
	return req->method;
}

const char *skep_http_target(const struct skep_http_req *req)
{
	return req->target.raw ? req->target.raw : "";
}

const char *skep_http_pattern(const struct skep_http_req *req)
{
	return req->route ? req->route->pattern : NULL;
}

const char *skep_http_peer(const struct skep_http_req *req)
{
	return req->conn->peer;
}

const char *skep_http_param(const struct skep_http_req *req, const char *name)
{
	for (uint32_t i = 0; i < req->params.n; i++)
		if (!strcmp(req->params.names[i], name))
			return req->params.values[i];
	abort(); /* the pattern does not have it: our bug */
}

const char *skep_http_query(const struct skep_http_req *req, const char *name)
{
	for (uint32_t i = 0; i < req->target.n_query; i++)
		if (!strcmp(req->target.query[i].name, name))
			return req->target.query[i].value;
	return NULL;
}

const char *skep_http_header(const struct skep_http_req *req, const char *name)
{
	return MHD_lookup_connection_value(req->mhd, MHD_HEADER_KIND, name);
}

const char *skep_http_cookie(const struct skep_http_req *req, const char *name)
{
	return MHD_lookup_connection_value(req->mhd, MHD_COOKIE_KIND, name);
}

const void *skep_http_body(const struct skep_http_req *req, size_t *ret_len)
{
	*ret_len = req->body_len;
	return req->body ? req->body : "";
}

void skep_http_set_user(struct skep_http_req *req, void *user, void (*unref)(void *user))
{
	if (req->unref)
		req->unref(req->user);
	req->user = user;
	req->unref = unref;
}

void *skep_http_user(const struct skep_http_req *req)
{
	return req->user;
}

/* "application/json", whatever parameters follow. */
static bool is_json_type(const char *type)
{
	static const char json[] = "application/json";
	size_t n = sizeof(json) - 1;

	return type && !strncasecmp(type, json, n) && (!type[n] || strchr("; \t", type[n]));
}

int skep_http_body_json(struct skep_http_req *req, json_t **ret)
{
	const char *type = skep_http_header(req, "Content-Type");
	struct skep_err err = SKEP_ERR_NULL;
	json_t *json;
	int r;

	if (!is_json_type(type)) {
		(void)skep_http_refuse(req, 415, "not-json", NULL,
				       "the body must be sent as application/json, not as %s",
				       type ? type : "nothing in particular");
		return SKEP_E_BAD_DATA;
	}
	r = skep_json_load("body", req->body ? req->body : "", req->body_len, &json, &err);
	if (r) {
		(void)skep_http_refuse(req, r < 0 ? 500 : 400, r < 0 ? "internal" : "bad-json", NULL, "%s",
				       err.text);
		return SKEP_E_BAD_DATA;
	}
	if (!json_is_object(json)) {
		json_decref(json);
		(void)skep_http_refuse(req, 400, "bad-json", NULL, "the body is no JSON object");
		return SKEP_E_BAD_DATA;
	}
	*ret = json;
	return 0;
}

int skep_http_query_only(struct skep_http_req *req, const char *const *names)
{
	for (uint32_t i = 0; i < req->target.n_query; i++) {
		const char *name = req->target.query[i].name;
		size_t known = 0;

		while (names[known] && strcmp(names[known], name) != 0)
			known++;
		if (!names[known]) {
			(void)skep_http_refuse(req, 400, "unknown-parameter", NULL, "?%s= is not known here",
					       name);
			return SKEP_E_BAD_DATA;
		}
		for (uint32_t k = 0; k < i; k++)
			if (!strcmp(req->target.query[k].name, name)) {
				(void)skep_http_refuse(req, 400, "repeated-parameter", NULL,
						       "?%s= is given twice", name);
				return SKEP_E_BAD_DATA;
			}
	}
	return 0;
}

void skep_http_answer_drop(struct skep_http_req *req)
{
	if (req->response)
		MHD_destroy_response(req->response);
	req->response = NULL;
}

/* Takes the response (NULL: no memory). */
static int set_answer(struct skep_http_req *req, unsigned status, struct MHD_Response *response)
{
	skep_http_answer_drop(req);
	if (!response)
		return -ENOMEM;
	req->status = status;
	req->response = response;
	return 0;
}

static int set_type(struct skep_http_req *req, const char *type)
{
	return MHD_add_response_header(req->response, "Content-Type", type) == MHD_YES ? 0 : -ENOMEM;
}

int skep_http_add_header(struct skep_http_req *req, const char *name, const char *value)
{
	size_t n = strlen(name) + 1, m = strlen(value) + 1;
	struct http_field *field;

	if (strpbrk(value, "\r\n"))
		return -EINVAL;
	field = malloc(sizeof(*field) + n + m);
	if (!field)
		return -ENOMEM;
	memcpy(field->name, name, n);
	field->value = field->name + n;
	memcpy(field->value, value, m);
	field->next = req->fields;
	req->fields = field;
	return 0;
}

void skep_http_answer_headers(struct skep_http_req *req)
{
	for (const struct http_field *field = req->fields; field; field = field->next)
		(void)MHD_add_response_header(req->response, field->name, field->value);
	if (!MHD_get_response_header(req->response, "Cache-Control"))
		(void)MHD_add_response_header(req->response, "Cache-Control", "no-store");
	(void)MHD_add_response_header(req->response, "X-Content-Type-Options", "nosniff");
}

/* Takes text (malloc). */
static int answer_text(struct skep_http_req *req, unsigned status, const char *type, char *text, size_t len)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);

	if (!response)
		free(text);
	return set_answer(req, status, response) ?: set_type(req, type);
}

static int answer_json_as(struct skep_http_req *req, unsigned status, const char *type, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (!text)
		return -ENOMEM;
	return answer_text(req, status, type, text, strlen(text));
}

int skep_http_answer_json(struct skep_http_req *req, unsigned status, json_t *json)
{
	return answer_json_as(req, status, "application/json", json);
}

int skep_http_answer_data(struct skep_http_req *req, unsigned status, const char *type, const void *data,
			  size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	return answer_text(req, status, type, copy, len);
}

int skep_http_answer_empty(struct skep_http_req *req, unsigned status)
{
	return set_answer(req, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

int skep_http_answer_problems(struct skep_http_req *req, const struct skep_problems *problems)
{
	unsigned status = problems->status ? problems->status : 422;

	return answer_json_as(req, status, "application/problem+json", skep_problems_json(problems));
}

int skep_http_refuse(struct skep_http_req *req, unsigned status, const char *code, const char *pointer,
		     const char *fmt, ...)
{
	struct skep_problems problems = { .status = status };
	char text[sizeof(problems.items[0].text)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	skep_problems_add(&problems, code, pointer, "%s", text);
	return skep_http_answer_problems(req, &problems);
}

int skep_http_answer_err(struct skep_http_req *req, const struct skep_err *err)
{
	struct skep_problems problems = { .status = skep_problem_status(err->code) };

	skep_problems_add_err(&problems, NULL, NULL, err);
	return skep_http_answer_problems(req, &problems);
}

struct part {
	int fd;
	uint64_t first;
};

static ssize_t part_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	const struct part *part = cls;
	ssize_t n;

	do
		n = pread(part->fd, buf, max, (off_t)(part->first + pos));
	while (n < 0 && errno == EINTR);
	return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void part_free(void *cls)
{
	struct part *part = cls;

	close(part->fd);
	free(part);
}

/* sendfile(2) without TLS; with it, larger pieces than the library would read. Takes fd. */
static struct MHD_Response *part_response(bool tls, int fd, const struct skep_range *range)
{
	struct MHD_Response *response;
	struct part *part;

	if (!tls) {
		response = MHD_create_response_from_fd_at_offset64(range->length, fd, range->first);
		if (!response)
			close(fd);
		return response;
	}
	part = malloc(sizeof(*part));
	if (!part) {
		close(fd);
		return NULL;
	}
	*part = (struct part){ .fd = fd, .first = range->first };
	response = MHD_create_response_from_callback(range->length, FILE_CHUNK_BYTES, part_read, part,
						     part_free);
	if (!response)
		part_free(part);
	return response;
}

/* What a file, computed content and a stream of known length have in common. */
struct ranged {
	const char *type, *etag, *name, *cache_control;
	const uint8_t *sha256;
	uint64_t bytes;
};

static int ranged_headers(struct skep_http_req *req, const struct ranged *what)
{
	char text[320];
	int r = 0;

	if (what->etag) {
		(void)snprintf(text, sizeof(text), "\"%s\"", what->etag);
		r |= skep_http_add_header(req, "ETag", text);
	}
	r |= skep_http_add_header(req, "Accept-Ranges", what->bytes ? "bytes" : "none");
	if (what->cache_control)
		r |= skep_http_add_header(req, "Cache-Control", what->cache_control);
	if (what->name) {
		(void)snprintf(text, sizeof(text), "attachment; filename=\"%s\"", what->name);
		r |= skep_http_add_header(req, "Content-Disposition", text);
	}
	if (what->sha256) {
		char base64[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL)];

		sodium_bin2base64(base64, sizeof(base64), what->sha256, 32, sodium_base64_VARIANT_ORIGINAL);
		(void)snprintf(text, sizeof(text), "sha-256=:%s:", base64);
		r |= skep_http_add_header(req, "Repr-Digest", text);
	}
	return r;
}

static int content_range(struct skep_http_req *req, const struct skep_range *range, uint64_t bytes)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)range->first,
		       (unsigned long long)(range->first + range->length - 1), (unsigned long long)bytes);
	return skep_http_add_header(req, "Content-Range", text);
}

int skep_http_range(struct skep_http_req *req, const char *etag, uint64_t bytes, struct skep_range *ret)
{
	struct skep_range_ask ask = {
		.range = skep_http_header(req, "Range"),
		.if_range = skep_http_header(req, "If-Range"),
		.if_match = skep_http_header(req, "If-Match"),
		.if_none_match = skep_http_header(req, "If-None-Match"),
		.etag = etag,
		.size_bytes = bytes,
	};
	char text[80];

	*ret = skep_range_decide(&ask);
	if (ret->status == 412)
		return skep_http_refuse(req, 412, "changed", NULL,
					"the file is not the one that If-Match names");
	if (ret->status == 304) {
		(void)snprintf(text, sizeof(text), "\"%s\"", etag);
		return skep_http_add_header(req, "ETag", text) ?: skep_http_answer_empty(req, 304);
	}
	if (ret->status != 416)
		return 0;
	(void)snprintf(text, sizeof(text), "bytes */%llu", (unsigned long long)bytes);
	(void)skep_http_add_header(req, "Content-Range", text);
	return skep_http_refuse(req, 416, "bad-range", NULL, "the file has %llu bytes", (unsigned long long)bytes);
}

static int ranged_start(struct skep_http_req *req, const struct ranged *what, struct skep_range *ret)
{
	int r = skep_http_range(req, what->etag, what->bytes, ret);

	if (r || (ret->status != 200 && ret->status != 206))
		return r;
	r = ranged_headers(req, what);
	if (ret->status == 206)
		r |= content_range(req, ret, what->bytes);
	return r ? -ENOMEM : 0;
}

int skep_http_answer_file(struct skep_http_req *req, const struct skep_http_file *file)
{
	_skep_close_ int fd = file->fd;
	struct ranged what = { file->type, file->etag, file->name, file->cache_control, file->sha256, 0 };
	struct skep_range range;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	what.bytes = (uint64_t)st.st_size;
	r = ranged_start(req, &what, &range);
	if (r || (range.status != 200 && range.status != 206))
		return r;
	return set_answer(req, range.status, part_response(req->http->tls, TAKE_FD(fd), &range))
		       ?: set_type(req, file->type);
}

struct computed {
	struct skep_http_content content;
	uint64_t first;
};

static ssize_t computed_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	const struct computed *computed = cls;
	ssize_t n = computed->content.read(computed->content.arg, computed->first + pos, buf, max);

	return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void computed_free(void *cls)
{
	struct computed *computed = cls;

	if (computed->content.closed)
		computed->content.closed(computed->content.arg);
	free(computed);
}

int skep_http_answer_content(struct skep_http_req *req, const struct skep_http_content *content)
{
	const struct ranged what = { .type = content->type,
				     .etag = content->etag,
				     .name = content->name,
				     .cache_control = content->cache_control,
				     .bytes = content->bytes };
	struct computed *computed = calloc(1, sizeof(*computed));
	struct MHD_Response *response;
	struct skep_range range;
	int r;

	if (!computed) {
		if (content->closed)
			content->closed(content->arg);
		return -ENOMEM;
	}
	computed->content = *content;
	r = ranged_start(req, &what, &range);
	if (r || (range.status != 200 && range.status != 206)) {
		computed_free(computed);
		return r;
	}
	computed->first = range.first;
	response = MHD_create_response_from_callback(range.length, FILE_CHUNK_BYTES, computed_read, computed,
						     computed_free);
	if (!response)
		computed_free(computed);
	return set_answer(req, range.status, response) ?: set_type(req, content->type);
}

static void live_free(void *cls)
{
	struct http_live *live = cls;

	if (live->events.hub)
		skep_events_leave(live->events.hub, &live->reader);
	skep_http_live_remove(live);
	skep_closep(&live->stream.fd);
	if (live->stream.closed)
		live->stream.closed(live->stream.arg);
	if (live->events.closed)
		live->events.closed(live->events.arg);
	free(live->pending);
	free(live);
}

/* >0: bytes in buf; 0: nothing now, somebody will wake; <0: the end. */
static ssize_t take_from_fd(struct http_live *live, char *buf, size_t max)
{
	ssize_t n;

	do
		n = read(live->stream.fd, buf, max);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (n < 0 && errno == EAGAIN)
		return skep_http_live_arm(live);
	return -1;
}

/* Formats the next event that the client wants into pending. 1, 0: there is none; -ENOMEM. */
static int next_event(struct http_live *live)
{
	struct skep_event event;
	int r, n;

	while ((r = skep_events_next(live->events.hub, &live->reader, &event)) == 1) {
		bool wanted =
			!live->events.wants || live->events.wants(event.name, event.data, live->events.arg);

		if (!wanted && !event.gap) {
			free(event.name);
			continue;
		}
		n = asprintf(&live->pending, "%s%s%.*s%s%.*s%sid: %llu\n\n",
			     event.gap ? "event: gap\ndata: {}\n\n" : "", wanted ? "event: " : "",
			     wanted ? (int)strlen(event.name) : 0, event.name, wanted ? "\ndata: " : "",
			     wanted ? (int)strlen(event.data) : 0, event.data, wanted ? "\n" : "",
			     (unsigned long long)event.id);
		free(event.name);
		if (n < 0) {
			live->pending = NULL;
			return -ENOMEM;
		}
		live->pending_len = (size_t)n;
		live->pending_off = 0;
		return 1;
	}
	return r;
}

static ssize_t take_from_events(struct http_live *live, char *buf, size_t max, bool ping)
{
	size_t n;

	if (!live->pending) {
		int r = next_event(live);

		if (r < 0)
			return r;
		if (r == 0 && !ping)
			return 0;
		if (r == 0) {
			live->pending = strdup(":\n\n");
			if (!live->pending)
				return -ENOMEM;
			live->pending_len = 3;
			live->pending_off = 0;
		}
	}
	n = SKEP_MIN(max, live->pending_len - live->pending_off);
	memcpy(buf, live->pending + live->pending_off, n);
	live->pending_off += n;
	if (live->pending_off == live->pending_len) {
		free(live->pending);
		live->pending = NULL;
	}
	return (ssize_t)n;
}

static ssize_t live_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct http_live *live = cls;
	struct skep_http *http = live->http;

	(void)pos;
	for (;;) {
		bool over, ping, sleep;
		ssize_t n;

		pthread_mutex_lock(&http->lock);
		live->woken = false;
		over = live->gone || !live->conn || live->conn->cut ||
		       __atomic_load_n(&http->stopping, __ATOMIC_RELAXED);
		ping = live->ping;
		live->ping = false;
		pthread_mutex_unlock(&http->lock);
		if (over)
			return live->stream.whole ? MHD_CONTENT_READER_END_WITH_ERROR
						  : MHD_CONTENT_READER_END_OF_STREAM;
		n = live->stream.fd >= 0 ? take_from_fd(live, buf, max)
					 : take_from_events(live, buf, max, ping);
		if (n > 0)
			return n;
		if (n < 0)
			return live->stream.whole && !live->stream.whole(live->stream.arg)
				       ? MHD_CONTENT_READER_END_WITH_ERROR
				       : MHD_CONTENT_READER_END_OF_STREAM;
		pthread_mutex_lock(&http->lock);
		sleep = !live->woken;
		if (sleep) {
			live->suspended = true;
			MHD_suspend_connection(live->conn->mhd);
		}
		pthread_mutex_unlock(&http->lock);
		if (sleep)
			return 0;
	}
}

/* Takes live, which is in no list yet, also on failure. */
static int answer_live(struct skep_http_req *req, struct http_live *live, const char *type)
{
	const struct skep_http_stream *stream = &live->stream;
	struct MHD_Response *response;
	bool known = stream->total_bytes != 0;
	size_t chunk = stream->fd >= 0 ? STREAM_CHUNK_BYTES : EVENTS_CHUNK_BYTES;
	unsigned status = known && stream->length != stream->total_bytes ? 206 : 200;

	live->http = req->http;
	live->conn = req->conn;
	skep_http_live_add(live);
	if (live->events.hub)
		skep_events_join(live->events.hub, &live->reader);
	response = MHD_create_response_from_callback(known ? stream->length : MHD_SIZE_UNKNOWN,
						     chunk, live_read, live, live_free);
	if (!response)
		live_free(live);
	return set_answer(req, status, response) ?: set_type(req, type);
}

int skep_http_answer_stream(struct skep_http_req *req, const struct skep_http_stream *stream)
{
	const struct ranged what = { .etag = stream->etag,
				     .name = stream->name,
				     .bytes = stream->total_bytes };
	const struct skep_range range = { .first = stream->first, .length = stream->length };
	struct http_live *live = calloc(1, sizeof(*live));

	(void)ranged_headers(req, &what); /* one that is missing is no reason not to send */
	if (stream->total_bytes && stream->length != stream->total_bytes &&
	    content_range(req, &range, stream->total_bytes) < 0) {
		free(live);
		live = NULL;
	}
	if (!live || fcntl(stream->fd, F_SETFL, fcntl(stream->fd, F_GETFL) | O_NONBLOCK) < 0) {
		free(live);
		close(stream->fd);
		if (stream->closed)
			stream->closed(stream->arg);
		return -ENOMEM;
	}
	live->stream = *stream;
	return answer_live(req, live, stream->type);
}

/* The id after which to begin; 0: from now on. */
static int last_event_id(const struct skep_http_req *req, uint64_t *ret)
{
	const char *last = skep_http_header(req, "Last-Event-ID");
	uint64_t after = 0;
	int r = 0;

	if (!last)
		last = skep_http_query(req, "last_event_id");
	if (last && *last)
		r = skep_parse_uint("Last-Event-ID", last, 1, INT64_MAX, &after, NULL);
	*ret = after;
	return r;
}

int skep_http_answer_events(struct skep_http_req *req, const struct skep_http_events *events)
{
	struct http_live *live = NULL;
	uint64_t after;
	int r;

	r = last_event_id(req, &after);
	if (r == 0)
		live = calloc(1, sizeof(*live));
	if (!live && events->closed)
		events->closed(events->arg);
	if (r)
		return skep_http_refuse(req, 400, "bad-event-id", NULL,
					"Last-Event-ID: this is no id of ours");
	if (!live)
		return -ENOMEM;
	live->stream.fd = -1;
	live->events = *events;
	live->reader =
		(struct skep_events_reader){ .wake = skep_http_live_wake, .arg = live, .after = after };
	return answer_live(req, live, "text/event-stream");
}
