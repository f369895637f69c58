/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deliveries of webhooks, by THREADS threads of their own: a delivery is leased (its next time is moved on)
 * in one transaction, sent without any, and its result written in another; a hive that is killed in between
 * sends it again, which the receiver tells by X-Skep-Delivery. After ATTEMPTS it is given up. A slow receiver
 * holds up one thread for ten seconds, no job ever.
 */
#include "hive/svc/hooks.h"

#include "common/log.h"
#include "hive/probe/hook.h"
#include "hive/svc/audit.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define THREADS 3
#define ATTEMPTS 10 /* with a first pause of 10 s and doubling: over an hour and a half */
#define LEASE_NS (60 * (int64_t)SKEP_NSEC_PER_SEC)
#define PAUSE_NS (10 * (int64_t)SKEP_NSEC_PER_SEC)
#define PAUSE_MAX_NS (3600 * (int64_t)SKEP_NSEC_PER_SEC)
#define LOOK_NS (SKEP_NSEC_PER_SEC / 2)
#define KEEP_NS (30 * 86400 * (int64_t)SKEP_NSEC_PER_SEC) /* so long the log of deliveries goes back */

struct hive_hooks {
	struct hive *hive;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	uint32_t n_threads;
	pthread_t threads[THREADS];
	int64_t cleaned_ns;
};

/* ---- one delivery ---- */

struct sending {
	struct hive_delivery delivery;
	struct hive_webhook webhook;
	struct hive_user owner;
	struct hive_job job;
};

static void sending_clear(struct sending *s)
{
	hive_delivery_clear(&s->delivery);
	hive_webhook_clear(&s->webhook);
	hive_user_clear(&s->owner);
	hive_job_clear(&s->job);
}

/* Takes the one that is due first. -ENOENT: there is none. */
static int lease(struct hive *hive, struct sending *s)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int64_t now = hive_now_ns(hive);
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = hive_delivery_due_first(tx, now, &s->delivery); /* mostly none: then no writer waits */
	hive_tx_abortp(&tx);
	hive_delivery_clear(&s->delivery);
	if (r == 0)
		r = hive_db_write(hive->db, &tx);
	if (r == 0)
		r = hive_delivery_due_first(tx, now, &s->delivery);
	if (r == 0)
		r = hive_row_get(tx, &hive_webhooks, s->delivery.webhook_id, &s->webhook);
	if (r == 0)
		r = hive_row_get(tx, &hive_users, s->webhook.owner_id, &s->owner);
	if (r == 0 && s->delivery.job_id)
		r = hive_row_get(tx, &hive_jobs_table, s->delivery.job_id, &s->job);
	if (r < 0)
		return r;
	s->delivery.next_ns = now + LEASE_NS;
	s->delivery.attempts++;
	r = hive_row_update(tx, &hive_deliveries, &s->delivery);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int call(struct hive *hive, const struct sending *s, long *ret_status, struct skep_err *err)
{
	char mac[HIVE_DIGEST_TEXT], signature[128];
	_skep_free_ char *body = NULL, *signed_text = NULL;
	struct hive_hook_note note = {
		.hive = hive->id,
		.event = hive_hook_event_names[s->delivery.event],
		.delivery_id = s->delivery.head.id,
		.time_ns = s->delivery.created_ns,
		.job_id = s->job.head.id,
		.owner_id = s->job.owner_id,
		.stored_pkts = s->job.stored_pkts,
		.stored_bytes = s->job.stored_bytes,
		.kept_pkts = s->job.kept_pkts,
		.name = s->job.name,
		.state = hive_job_state_names[s->job.state],
		.outcome = hive_outcome_names[s->job.outcome],
		.reasons = s->job.reasons,
	};
	int64_t seconds = hive_now_ns(hive) / (int64_t)SKEP_NSEC_PER_SEC;
	int r = hive_hook_body(&note, &body);

	/* with the time in it, so that an old call cannot be sent again by somebody who has seen it */
	if (r == 0 && asprintf(&signed_text, "%" PRId64 ".%s", seconds, body) < 0) {
		signed_text = NULL;
		r = -ENOMEM;
	}
	if (r < 0)
		return r;
	hive_secret_sign(s->webhook.secret, signed_text, mac);
	snprintf(signature, sizeof(signature), "t=%" PRId64 ",v1=%s", seconds, mac);
	return hive_hook_send(&(struct hive_hook_call){ .url = s->webhook.url,
							.event = note.event,
							.body = body,
							.signature = signature,
							.delivery_id = note.delivery_id,
							.anywhere = hive->cfg.webhooks_anywhere },
			      ret_status, err);
}

static void conclude(struct hive *hive, struct hive_delivery *delivery, bool done, bool for_good)
{
	int64_t pause = hive->cfg.webhooks_retry_ns ? (int64_t)hive->cfg.webhooks_retry_ns : PAUSE_NS;
	int64_t now = hive_now_ns(hive);

	delivery->state = done					       ? HIVE_DELIVERY_DONE
			  : for_good || delivery->attempts >= ATTEMPTS ? HIVE_DELIVERY_FAILED
								       : HIVE_DELIVERY_WAITING;
	delivery->done_ns = delivery->state == HIVE_DELIVERY_WAITING ? 0 : now;
	pause = SKEP_MIN(pause << SKEP_MIN(delivery->attempts - 1, INT64_C(12)), PAUSE_MAX_NS);
	delivery->next_ns = delivery->state == HIVE_DELIVERY_WAITING ? now + pause : 0;
}

static int write_result(struct hive *hive, struct sending *s, const char *answer)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	char *copy = answer && *answer ? strdup(answer) : NULL;
	int r = hive_db_write(hive->db, &tx);

	free(s->delivery.answer);
	s->delivery.answer = copy;
	if (r == 0)
		r = hive_row_update(tx, &hive_deliveries, &s->delivery);
	return r < 0 ? r : hive_tx_commit(&tx);
}

/* false: nothing was due. */
static bool send_one(struct hive *hive)
{
	SKEP_CLEANUP(sending_clear) struct sending s = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	bool wanted;
	long status = 0;
	int r = lease(hive, &s);

	if (r < 0) {
		if (r != -ENOENT && r != -ESTALE)
			skep_log(SKEP_LOG_WARNING, "webhooks: %s", strerror(-r));
		return false;
	}
	wanted = !s.webhook.disabled && !s.owner.disabled;
	if (wanted)
		r = call(hive, &s, &status, &err);
	else
		(void)skep_err_set(&err, -EACCES, "the webhook or its owner is disabled");
	s.delivery.status = status;
	if (wanted && r == 0 && status / 100 != 2)
		(void)skep_err_set(&err, -EPROTO, "answered %ld", status);
	/* 410 says: never again */
	conclude(hive, &s.delivery, wanted && r == 0 && status / 100 == 2,
		 !wanted || r == -EACCES || status == 410);
	r = write_result(hive, &s, err.text);
	if (r < 0 && r != -ENOENT) /* -ENOENT: the webhook was removed meanwhile */
		skep_log(SKEP_LOG_WARNING, "delivery=%" PRId64 " its result could not be written: %s", s.delivery.head.id, strerror(-r));
	return true;
}

/* ---- threads ---- */

static void clean(struct hive *hive)
{
	_hive_tx_ struct hive_tx *tx = NULL;

	if (hive_db_write(hive->db, &tx) == 0 && hive_deliveries_forget(tx, hive_now_ns(hive) - KEEP_NS) == 0)
		(void)hive_tx_commit(&tx);
}

static void *work(void *arg)
{
	struct hive_hooks *hooks = arg;

	pthread_mutex_lock(&hooks->lock);
	while (!hooks->stop) {
		int64_t now = hive_now_ns(hooks->hive);
		bool cleaning = now - hooks->cleaned_ns > 3600 * (int64_t)SKEP_NSEC_PER_SEC, sent;
		struct timespec until;
		uint64_t ns;

		if (cleaning)
			hooks->cleaned_ns = now;
		pthread_mutex_unlock(&hooks->lock);
		if (cleaning)
			clean(hooks->hive);
		sent = send_one(hooks->hive);
		pthread_mutex_lock(&hooks->lock);
		ns = skep_clock_now_ns(hooks->hive->clock, CLOCK_MONOTONIC) + LOOK_NS;
		until = (struct timespec){ .tv_sec = (time_t)(ns / SKEP_NSEC_PER_SEC),
					   .tv_nsec = (long)(ns % SKEP_NSEC_PER_SEC) };
		if (!sent && !hooks->stop)
			(void)pthread_cond_timedwait(&hooks->wake, &hooks->lock, &until);
	}
	pthread_mutex_unlock(&hooks->lock);
	return NULL;
}

struct hive_hooks *hive_hooks_stop(struct hive_hooks *hooks)
{
	if (!hooks)
		return NULL;
	pthread_mutex_lock(&hooks->lock);
	hooks->stop = true;
	pthread_cond_broadcast(&hooks->wake);
	pthread_mutex_unlock(&hooks->lock);
	for (uint32_t i = 0; i < hooks->n_threads; i++)
		pthread_join(hooks->threads[i], NULL);
	pthread_cond_destroy(&hooks->wake);
	pthread_mutex_destroy(&hooks->lock);
	free(hooks);
	return NULL;
}

int hive_hooks_start(struct hive *hive, struct hive_hooks **ret, struct skep_err *err)
{
	struct hive_hooks *hooks = calloc(1, sizeof(*hooks));
	pthread_condattr_t monotonic;
	int r = 0;

	if (!hooks)
		return skep_err_set(err, -ENOMEM, "out of memory");
	hooks->hive = hive;
	pthread_mutex_init(&hooks->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&hooks->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	for (int i = 0; r == 0 && i < THREADS; i++) {
		r = -pthread_create(&hooks->threads[i], NULL, work, hooks);
		hooks->n_threads += r == 0;
	}
	if (r < 0) {
		hive_hooks_stop(hooks);
		return skep_err_set(err, r, "no thread: %s", strerror(-r));
	}
	*ret = hooks;
	return 0;
}

/* ---- as things ---- */

static int webhook_scope(const struct hive_actor *actor, struct hive_list *list)
{
	hive_narrow(list, &hive_webhooks, "owner_id", HIVE_EQ, actor->user_id);
	return 0;
}

static int webhook_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row,
		       enum hive_verb verb)
{
	(void)tx;
	(void)verb;
	return ((const struct hive_webhook *)row)->owner_id == actor->user_id ? 0 : SKEP_E_NOT_FOUND;
}

static int webhook_check(struct hive_wish *wish)
{
	struct hive_webhook *webhook = wish->change->row;
	bool anywhere = wish->hive->cfg.webhooks_anywhere;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_JOBS))
		return SKEP_E_PRIVILEGE;
	(void)hive_check_name(wish->complaints, "name", webhook->name);
	if (!webhook->url || !hive_hook_url_fine(webhook->url, anywhere))
		(void)hive_complain(wish->complaints, "url", "url: must be %s://HOST/… without a user in it", anywhere ? "http(s)" : "https");
	if (!webhook->events)
		(void)hive_complain(wish->complaints, "events", "events: name at least one of job.created, job.started, job.ended");
	if (wish->complaints->n)
		return wish->complaints->items[0].err.code;
	if (wish->before)
		return 0;
	webhook->owner_id = wish->actor->user_id;
	webhook->created_ns = hive_now_ns(wish->hive);
	hive_secret_make("skep_w_", wish->change->secret);
	webhook->secret = strdup(wish->change->secret);
	return webhook->secret ? 0 : -ENOMEM;
}

const struct hive_rules hive_webhook_rules = {
	.table = &hive_webhooks, .word = "webhook", .scope = webhook_scope, .may = webhook_may, .check = webhook_check,
};

int hive_webhook_deliveries(struct hive *hive, const struct hive_actor *actor, int64_t id,
			    struct hive_list *list, struct hive_rows *ret, struct hive_complaints *complaints)
{
	_hive_webhook_ struct hive_webhook webhook = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_thing_get(hive, actor, HIVE_WEBHOOK, id, &webhook, complaints);

	if (r == 0)
		r = hive_db_read(hive->db, &tx);
	if (r != 0)
		return r;
	hive_narrow(list, &hive_deliveries, "webhook_id", HIVE_EQ, id);
	r = hive_row_list(tx, &hive_deliveries, list, ret);
	return r == -EINVAL ? hive_complain(complaints, "cursor", "the cursor is not one of this list and order") : r;
}

int hive_webhook_test(struct hive *hive, const struct hive_actor *actor, int64_t id,
		      struct hive_delivery *ret, struct hive_complaints *complaints)
{
	_hive_webhook_ struct hive_webhook webhook = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	char object[64];
	int r = hive_thing_get(hive, actor, HIVE_WEBHOOK, id, &webhook, complaints);

	if (r == 0)
		r = hive_db_write(hive->db, &tx);
	if (r != 0)
		return r;
	*ret = (struct hive_delivery){ .webhook_id = id,
				       .event = HIVE_HOOK_TEST,
				       .created_ns = hive_now_ns(hive),
				       .next_ns = hive_now_ns(hive) };
	snprintf(object, sizeof(object), "webhook %" PRId64, id);
	r = hive_row_insert(tx, &hive_deliveries, ret);
	if (r == 0)
		r = hive_audit_add(hive, tx, actor, "webhook.test", object, webhook.name);
	return r < 0 ? r : hive_tx_commit(&tx);
}
