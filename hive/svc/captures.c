/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of probes, links, jobs (to be seen; hive/svc/jobs.c makes and steers them), saved filters and
 * datasets. A probe's token goes in and never comes out. Any thread.
 */
#include "common/log.h"
#include "hive/db/transfers.h"
#include "hive/svc/jobs.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FILTER_MAX 65536 /* as much as a probe takes */

static int result_of(const struct hive_complaints *complaints)
{
	return complaints->n ? complaints->items[0].err.code : 0;
}

/* ---- probes ---- */

static int probe_scope(const struct hive_actor *actor, struct hive_list *list)
{
	(void)list;
	return hive_actor_can(actor, HIVE_RIGHT_PROBES) ? 0 : SKEP_E_PRIVILEGE;
}

static int probe_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	(void)tx;
	(void)row;
	(void)verb;
	return hive_actor_can(actor, HIVE_RIGHT_PROBES) ? 0 : SKEP_E_NOT_FOUND;
}

static bool is_loopback_url(const char *url)
{
	return strncmp(url, "http://127.0.0.1:", 17) == 0 || strncmp(url, "http://[::1]:", 13) == 0;
}

void hive_check_probe(const struct hive_probe *probe, struct hive_complaints *complaints)
{
	bool tls = probe->address && strncmp(probe->address, "https://", 8) == 0;

	(void)hive_check_name(complaints, "name", probe->name);
	if (!probe->address || !(tls || is_loopback_url(probe->address)))
		(void)hive_complain(complaints, "address", "address: must be https://HOST:PORT, or http:// on loopback");
	if (tls && (!probe->key_pin || strncmp(probe->key_pin, "sha256//", 8) != 0 || strlen(probe->key_pin) != 8 + 44))
		(void)hive_complain(complaints, "key_pin", "key_pin: must be the key's sha256//… that skep-control enrol prints");
	if (!probe->token || strlen(probe->token) < 16)
		(void)hive_complain(complaints, "token", "token: must be the one that skep-control enrol prints");
}

static int probe_check(struct hive_wish *wish)
{
	struct hive_probe *probe = wish->change->row;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_PROBES))
		return SKEP_E_PRIVILEGE;
	hive_check_probe(probe, wish->complaints);
	if (!wish->before)
		probe->created_ns = hive_now_ns(wish->hive);
	return result_of(wish->complaints);
}

static void probe_committed(struct hive_wish *wish)
{
	const struct hive_probe *probe = wish->change->row, *before = wish->before;

	if (!probe)
		hive_jobs_remove_probe(wish->hive->jobs, before->head.id);
	else if (hive_jobs_put_probe(wish->hive->jobs, probe->head.id) < 0)
		skep_log(SKEP_LOG_ERROR, "probe=%s not taken up: out of memory; restart the hive", probe->name);
}

const struct hive_rules hive_probe_rules = {
	.table = &hive_probes, .word = "probe", .scope = probe_scope, .may = probe_may, .check = probe_check,
	.committed = probe_committed,
};

/* ---- links ---- */

static int link_scope(const struct hive_actor *actor, struct hive_list *list)
{
	if (!hive_actor_can(actor, HIVE_RIGHT_PROBES))
		hive_narrow(list, &hive_links, "id", HIVE_MY_LINKS, actor->user_id);
	return 0;
}

static int link_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	const struct hive_link *link = row;
	bool allowed = false;
	int r;

	if (hive_actor_can(actor, HIVE_RIGHT_PROBES))
		return 0;
	r = hive_link_allowed(tx, actor->user_id, link->head.id, &allowed);
	return r < 0 ? r : !allowed ? SKEP_E_NOT_FOUND : verb == HIVE_SEE ? 0 : SKEP_E_PRIVILEGE;
}

static int link_check(struct hive_wish *wish)
{
	struct hive_link *link = wish->change->row;
	_hive_probe_ struct hive_probe probe = { 0 };
	int r;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_PROBES))
		return SKEP_E_PRIVILEGE;
	(void)hive_check_name(wish->complaints, "name", link->name);
	(void)hive_check_name(wish->complaints, "interface", link->interface);
	if (link->max_jobs < 0 || link->max_bps < 0 || link->speed_bps < 0)
		(void)hive_complain(wish->complaints, "max_jobs", "limits of a link: must not be negative; 0 is no limit");
	r = hive_row_get(wish->tx, &hive_probes, link->probe_id, &probe);
	if (r == -ENOENT)
		(void)hive_complain(wish->complaints, "probe_id", "probe_id: there is no such probe");
	else if (r < 0)
		return r;
	if (!wish->before)
		link->created_ns = hive_now_ns(wish->hive);
	return result_of(wish->complaints);
}

/* A link that jobs wait for goes with its probe only: then it is said what becomes of them. */
static int link_after(struct hive_wish *wish)
{
	const struct hive_link *before = wish->before;

	if (!wish->change->row && hive_jobs_link_used(wish->hive, before->head.id))
		return hive_complain(wish->complaints, NULL, "jobs are on this link; stop them first, or disable the link");
	return 0;
}

static void link_committed(struct hive_wish *wish)
{
	if (wish->change->row)
		hive_jobs_link_changed(wish->hive, wish->change->row);
}

const struct hive_rules hive_link_rules = {
	.table = &hive_links, .word = "link", .scope = link_scope, .may = link_may, .check = link_check, .after = link_after,
	.committed = link_committed,
};

/* ---- jobs and datasets ---- */

static int job_scope(const struct hive_actor *actor, struct hive_list *list)
{
	return hive_scope_owned(actor, &hive_jobs_table, list);
}

static int job_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	const struct hive_job *job = row;
	int r = hive_may_owned(tx, actor, job->owner_id);

	return r != 0 ? r : verb == HIVE_SEE ? 0 : SKEP_E_PRIVILEGE;
}

const struct hive_rules hive_job_rules = {
	.table = &hive_jobs_table, .word = "job", .fixed = true, .scope = job_scope, .may = job_may,
};

static int dataset_scope(const struct hive_actor *actor, struct hive_list *list)
{
	return hive_scope_owned(actor, &hive_datasets, list);
}

static int dataset_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row,
		       enum hive_verb verb)
{
	const struct hive_dataset *dataset = row;

	(void)verb;
	return hive_may_owned(tx, actor, dataset->owner_id);
}

/* The row goes now, with its files' rows; the files are removed later, whatever happens meanwhile. */
static int dataset_after(struct hive_wish *wish)
{
	const struct hive_dataset *before = wish->before;
	struct skep_err err = SKEP_ERR_NULL;

	if (wish->change->row)
		return 0;
	if (before->pinned)
		(void)skep_err_set(&err, SKEP_E_BUSY, "the dataset is pinned; take the pin off first");
	else if (strcmp(before->state, "open") == 0)
		(void)skep_err_set(&err, SKEP_E_BUSY, "the dataset's job has not ended; cancel the job instead");
	return err.code ? hive_complain_err(wish->complaints, NULL, &err)
			: hive_trash_add(wish->tx, before->folder);
}

/* Name, description, pin and expiry are people's; the rest is what was captured. */
static int dataset_check(struct hive_wish *wish)
{
	const struct hive_dataset *dataset = wish->change->row;

	if (!wish->before)
		return SKEP_E_PRIVILEGE;
	return hive_check_name(wish->complaints, "name", dataset->name);
}

const struct hive_rules hive_dataset_rules = {
	.table = &hive_datasets, .word = "dataset", .scope = dataset_scope, .may = dataset_may, .check = dataset_check,
	.after = dataset_after,
};

/* ---- saved filters ---- */

static int filter_scope(const struct hive_actor *actor, struct hive_list *list)
{
	hive_narrow(list, &hive_filters, "owner_id", HIVE_OR_SHARED, actor->user_id);
	return 0;
}

static int filter_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row,
		      enum hive_verb verb)
{
	const struct hive_filter *filter = row;

	(void)tx;
	if (filter->owner_id == actor->user_id)
		return 0;
	return !filter->shared ? SKEP_E_NOT_FOUND : verb == HIVE_SEE ? 0 : SKEP_E_PRIVILEGE;
}

static int filter_check(struct hive_wish *wish)
{
	struct hive_filter *filter = wish->change->row;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_JOBS))
		return SKEP_E_PRIVILEGE;
	(void)hive_check_name(wish->complaints, "name", filter->name);
	if (!filter->expression || !*filter->expression || strlen(filter->expression) > FILTER_MAX)
		(void)hive_complain(wish->complaints, "expression", "expression: must have 1 to %d bytes", FILTER_MAX);
	if (!wish->before) {
		filter->owner_id = wish->actor->user_id;
		filter->created_ns = hive_now_ns(wish->hive);
	}
	return result_of(wish->complaints);
}

const struct hive_rules hive_filter_rules = {
	.table = &hive_filters, .word = "filter", .scope = filter_scope, .may = filter_may, .check = filter_check,
};
