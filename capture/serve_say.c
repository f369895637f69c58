/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the job socket says: answers, refusals, events, and jobs and links in JSON
 * (docs/reference/job-socket.md). A client's answers wait in a bounded buffer; who lets it fill up goes.
 */
#include "capture/serve_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWERS_MAX_BYTES (4u * CAP_MIB)

bool cap_serve_space(char **buffer, size_t *room, size_t need, size_t max)
{
	size_t more = *room ? *room : 4096;
	char *p;

	if (need <= *room)
		return true;
	if (need > max)
		return false;
	while (more < need)
		more *= 2;
	p = realloc(*buffer, more);
	if (!p)
		return false;
	*buffer = p;
	*room = more;
	return true;
}

void cap_serve_flush(struct client *c)
{
	while (c->n_out > 0) {
		ssize_t n = send(c->fd, c->out, c->n_out, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			c->dying = true;
			return;
		}
		memmove(c->out, c->out + n, c->n_out - (size_t)n);
		c->n_out -= (size_t)n;
	}
}

/* Takes the object. */
void cap_serve_answer(struct client *c, json_t *object)
{
	_skep_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;

	json_decref(object);
	if (!text || !cap_serve_space(&c->out, &c->room_out, c->n_out + n + 1, ANSWERS_MAX_BYTES)) {
		c->dying = true;
		return;
	}
	memcpy(c->out + c->n_out, text, n);
	c->out[c->n_out + n] = '\n';
	c->n_out += n + 1;
	cap_serve_flush(c);
}

void cap_serve_ok(struct client *c)
{
	cap_serve_answer(c, json_pack("{s:b}", "ok", 1));
}

static const char *code_name(int code)
{
	static const char *const names[] = {
		[SKEP_E_USAGE] = "usage",	  [SKEP_E_PRIVILEGE] = "privilege",
		[SKEP_E_NOT_FOUND] = "not_found", [SKEP_E_BUSY] = "busy",
		[SKEP_E_UNSUPPORTED] = "unsupported", [SKEP_E_UNSAFE] = "unsafe",
		[SKEP_E_NO_SPACE] = "no_space",	  [SKEP_E_BAD_DATA] = "bad_data",
	};

	return code > 0 && code < (int)ARRAY_LEN(names) && names[code] ? names[code] : "system";
}

/* Text from outside may be no UTF-8. */
json_t *cap_serve_text(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_string("(not UTF-8)");
}

void cap_serve_refuse(struct client *c, const struct skep_err *err)
{
	json_t *e = json_object();

	json_object_set_new(e, "code", json_string(code_name(err->code)));
	json_object_set_new(e, "text", cap_serve_text(err->text));
	json_object_set_new(e, "hint", cap_serve_text(err->hint));
	if (err->column)
		json_object_set_new(e, "column", json_integer(err->column));
	cap_serve_answer(c, json_pack("{s:b,s:o}", "ok", 0, "error", e));
}

void cap_serve_tell(struct cap_serve *s, json_t *event)
{
	for (uint32_t i = 0; i < CAP_SERVE_CLIENTS; i++)
		if (s->clients[i].fd >= 0 && s->clients[i].events)
			cap_serve_answer(&s->clients[i], json_incref(event));
	json_decref(event);
}

json_t *cap_serve_count(uint64_t n)
{
	return json_integer((json_int_t)SKEP_MIN(n, (uint64_t)INT64_MAX));
}

static const char *why_name(enum cap_job_end why)
{
	static const char *const names[] = {
		[CAP_JOB_RUNS] = "",
		[CAP_JOB_END_PKTS] = "packets",
		[CAP_JOB_END_BYTES] = "bytes",
		[CAP_JOB_END_DURATION] = "duration",
		[CAP_JOB_END_INPUT] = "input",
		[CAP_JOB_END_DISK_FULL] = "disk_full",
		[CAP_JOB_END_LOST] = "link_lost",
		[CAP_JOB_END_WRITE] = "write",
		[CAP_JOB_END_STOPPED] = "stopped",
	};

	return names[why];
}

static const char *state_name(const struct serve_job *j)
{
	static const char *const names[] = {
		[CAP_ENGINE_JOB_NEW] = "starting",   [CAP_ENGINE_JOB_RUNS] = "running",
		[CAP_ENGINE_JOB_PAUSED] = "paused",  [CAP_ENGINE_JOB_LEAVING] = "draining",
		[CAP_ENGINE_JOB_PARTING] = "draining",
		[CAP_ENGINE_JOB_FILING] = "draining", [CAP_ENGINE_JOB_ENDED] = "ended",
	};

	return j->ended ? "ended" : names[j->spec.ej.state];
}

static json_t *account_of(const struct cap_account *a)
{
	json_t *dropped = json_object(), *o = json_object();

	for (unsigned i = 0; i < CAP_DROP_N; i++)
		if (a->dropped[i])
			json_object_set_new(dropped, cap_drop_name((enum cap_drop)i),
					    cap_serve_count(a->dropped[i]));
	json_object_set_new(o, "seen", cap_serve_count(a->seen));
	json_object_set_new(o, "stored", cap_serve_count(a->stored));
	json_object_set_new(o, "rejected", cap_serve_count(a->rejected));
	json_object_set_new(o, "sampled_out", cap_serve_count(a->sampled_out));
	json_object_set_new(o, "cut_off", cap_serve_count(a->cut_off));
	json_object_set_new(o, "dropped", dropped);
	json_object_set_new(o, "pending", cap_serve_count(a->pending));
	json_object_set_new(o, "bytes_wire", cap_serve_count(a->bytes_wire));
	json_object_set_new(o, "bytes_raw", cap_serve_count(a->bytes_raw));
	json_object_set_new(o, "bytes_disk", cap_serve_count(a->bytes_disk));
	return o;
}

json_t *cap_serve_describe(struct cap_serve *s, struct serve_job *j)
{
	struct cap_engine_totals t = j->totals;
	json_t *o = json_object(), *reasons = json_array();

	if (!j->ended)
		cap_engine_totals(s->engine, &j->spec.ej, &t);
	for (uint32_t i = 0; i < t.n_reasons; i++)
		json_array_append_new(reasons, cap_serve_text(t.reasons[i]));
	json_object_set_new(o, "name", json_string(j->spec.ej.job.name));
	json_object_set_new(o, "state", json_string(state_name(j)));
	json_object_set_new(o, "why", json_string(j->ended || j->spec.ej.state == CAP_ENGINE_JOB_ENDED ? why_name(j->spec.ej.why) : ""));
	json_object_set_new(o, "dir", json_string(j->spec.dir));
	json_object_set_new(o, "filter", cap_serve_text(j->spec.filter ? j->spec.filter : ""));
	json_object_set_new(o, "started_ns", cap_serve_count(j->spec.ej.started_utc_ns));
	json_object_set_new(o, "duration_ns", cap_serve_count(t.duration_ns));
	json_object_set_new(o, "account", account_of(&t.account));
	json_object_set_new(o, "complete", json_boolean(t.complete));
	json_object_set_new(o, "reasons", reasons);
	return o;
}

json_t *cap_serve_links(struct cap_serve *s)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < s->engine->n_taps; i++) {
		struct cap_tap *tap = s->engine->taps[i];
		struct cap_kernel_account k = { 0 };
		json_t *o = json_object();

		tap->ops->account(tap, &k);
		json_object_set_new(o, "name", cap_serve_text(tap->link));
		json_object_set_new(o, "how", cap_serve_text(tap->how));
		json_object_set_new(o, "driver", cap_serve_text(tap->driver));
		json_object_set_new(o, "queues", json_integer(tap->n_sources));
		json_object_set_new(o, "numa_node", json_integer(tap->numa_node));
		json_object_set_new(o, "filters_in_kernel", json_boolean(tap->filters_jobs));
		json_object_set_new(o, "hw_timestamps", json_boolean(tap->hw_timestamps));
		json_object_set_new(o, "zero_copy", json_boolean(tap->zero_copy));
		json_object_set_new(o, "lost", json_boolean(s->engine->gone[i]));
		json_object_set_new(o, "delivered", cap_serve_count(k.offered));
		json_object_set_new(o, "ring_full", cap_serve_count(k.rx_ring_full + k.mirror_ring_full + k.afpacket_ring_full));
		json_object_set_new(o, "fill_ring_empty", cap_serve_count(k.fill_ring_empty));
		json_object_set_new(o, "oversize", cap_serve_count(k.rx_oversize + k.mirror_too_long));
		json_object_set_new(o, "nic_missed", cap_serve_count(k.nic_missed));
		json_array_append_new(list, o);
	}
	return list;
}
