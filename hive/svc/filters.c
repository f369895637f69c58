/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checks and estimates of filters. A check asks one probe after the other until one answers; an estimate asks
 * all at once, each on a thread, and waits for the slowest. Both end in bounded time; what a probe cannot say
 * is said of its links. Holds no lock and no transaction while it waits. Any thread.
 */
#include "hive/svc/filters.h"

#include "hive/svc/probes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define FILTER_MAX 65536
#define CHECK_PROBES_MAX 4 /* that do not answer, of 10 s each */

static int choose(struct hive *hive, const struct hive_actor *actor, const struct hive_filter_wish *wish,
		  struct hive_chosen *chosen, struct hive_complaints *complaints)
{
	static const char *const all[] = { "*" };
	const struct hive_link_names names = wish->links.n ? wish->links : (struct hive_link_names){ all, 1 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r;

	if (!hive_actor_can(actor, HIVE_RIGHT_JOBS))
		return SKEP_E_PRIVILEGE;
	if (wish->filter && strlen(wish->filter) > FILTER_MAX)
		(void)hive_complain(complaints, "filter", "filter: longer than %d bytes", FILTER_MAX);
	r = hive_db_read(hive->db, &tx);
	if (r == 0)
		r = hive_choose_links(tx, actor, &names, chosen, complaints);
	return r < 0 ? r : complaints->n ? complaints->items[0].err.code : 0;
}

static int busy(struct hive_complaints *complaints, const char *why, const char *hint)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, SKEP_E_BUSY, "%s", why);
	(void)skep_err_hint(&err, "%s", hint);
	return hive_complain_err(complaints, NULL, &err);
}

/* Those who are there first: the others cost seconds each. */
static int ask_one(struct hive *hive, const struct hive_job_link *part, const char *filter, bool up,
		   struct hive_checked *ret)
{
	_hive_client_ struct hive_client *client = NULL;
	struct hive_probe_state state;
	int r;

	hive_probe_state(hive, part->probe_id, &state);
	if (state.up != up)
		return -EAGAIN;
	r = hive_probe_client(hive, part->probe_id, &client);
	if (r == 0)
		r = hive_client_check(client, filter, ret, NULL);
	return r == 0 ? 0 : -EHOSTDOWN;
}

int hive_filter_check(struct hive *hive, const struct hive_actor *actor, const struct hive_filter_wish *wish,
		      struct hive_checked *ret, char ret_probe[static HIVE_NAME_MAX + 1],
		      struct hive_complaints *complaints)
{
	_hive_chosen_ struct hive_chosen *chosen = calloc(1, sizeof(*chosen));
	int64_t asked = 0;
	int failed = 0;
	int r = chosen ? choose(hive, actor, wish, chosen, complaints) : -ENOMEM;

	if (r != 0)
		return r;
	for (int up = 1; up >= 0; up--)
		for (uint32_t i = 0; i < chosen->n && failed < CHECK_PROBES_MAX; i++) {
			const struct hive_job_link *part = &chosen->parts[i];

			if (part->probe_id == asked)
				continue; /* links of one probe stand together most of the time */
			r = ask_one(hive, part, wish->filter, up, ret);
			if (r == -EAGAIN)
				continue;
			asked = part->probe_id;
			failed += r != 0;
			if (r != 0)
				continue;
			snprintf(ret_probe, HIVE_NAME_MAX + 1, "%s", part->probe_name);
			return 0;
		}
	return busy(complaints, "no probe of these links can be asked now", "a job with this filter would be checked by the probe when it starts");
}

/* ---- estimates ---- */

struct asking {
	struct hive *hive;
	const struct hive_chosen *chosen;
	const char *filter;
	int64_t seconds, probe_id;
	struct hive_estimated *results; /* as chosen->parts; each thread writes those of its probe */
	pthread_t thread;
	bool runs;
};

static int interfaces_of(const struct asking *a, const char **ret, char (*names)[64], uint32_t *ret_n)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(a->hive->db, &tx);

	*ret_n = 0;
	for (uint32_t i = 0; r == 0 && i < a->chosen->n; i++) {
		_hive_link_ struct hive_link link = { 0 };

		if (a->chosen->parts[i].probe_id != a->probe_id)
			continue;
		r = hive_row_get(tx, &hive_links, a->chosen->parts[i].link_id, &link);
		if (r == 0)
			snprintf(names[i], sizeof(names[i]), "%s", link.interface);
		ret[(*ret_n)++] = names[i];
	}
	return r;
}

static void take_rates(const struct asking *a, const struct hive_rate *rates, uint32_t n, char (*names)[64])
{
	for (uint32_t i = 0; i < a->chosen->n; i++)
		for (uint32_t k = 0; k < n && a->chosen->parts[i].probe_id == a->probe_id; k++)
			if (strcmp(names[i], rates[k].interface) == 0) {
				a->results[i].rate = rates[k];
				a->results[i].problem[0] = '\0';
			}
}

static void *ask(void *arg)
{
	const struct asking *a = arg;
	_hive_client_ struct hive_client *client = NULL;
	_skep_free_ struct hive_rate *rates = NULL;
	_skep_free_ const char **list = calloc(a->chosen->n, sizeof(*list));
	_skep_free_ char (*names)[64] = calloc(a->chosen->n, sizeof(*names));
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t n = 0, n_rates = 0;
	int r = list && names ? interfaces_of(a, list, names, &n) : -ENOMEM;

	if (r == 0)
		r = hive_probe_client(a->hive, a->probe_id, &client);
	if (r == 0)
		r = hive_client_estimate(
			client,
			&(struct hive_estimate_wish){
				.interfaces = list, .n = n, .filter = a->filter, .seconds = a->seconds },
			&rates, &n_rates, &err);
	for (uint32_t i = 0; i < a->chosen->n; i++)
		if (a->chosen->parts[i].probe_id == a->probe_id)
			snprintf(a->results[i].problem, sizeof(a->results[i].problem), "%.255s",
				 err.text[0] ? err.text : "the probe said nothing of this link");
	if (r == 0)
		take_rates(a, rates, n_rates, names);
	return NULL;
}

static int ask_all(struct asking *probes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		probes[i].runs = pthread_create(&probes[i].thread, NULL, ask, &probes[i]) == 0;
	for (uint32_t i = 0; i < n; i++)
		if (probes[i].runs)
			pthread_join(probes[i].thread, NULL);
		else
			(void)ask(&probes[i]);
	return 0;
}

static int estimate(struct hive *hive, const struct hive_filter_wish *wish, const struct hive_chosen *chosen,
		    struct hive_estimated *results, struct hive_complaints *complaints)
{
	struct asking probes[HIVE_ESTIMATE_PROBES_MAX];
	_skep_free_ char *filter = NULL;
	uint32_t n = 0;
	int r = hive_filter_both(wish->filter, chosen->forced_filter, &filter);

	for (uint32_t i = 0; r == 0 && i < chosen->n; i++) {
		uint32_t k = 0;

		results[i].link_id = chosen->parts[i].link_id;
		snprintf(results[i].link, sizeof(results[i].link), "%s", chosen->parts[i].link_name);
		while (k < n && probes[k].probe_id != chosen->parts[i].probe_id)
			k++;
		if (k < n)
			continue;
		if (n == HIVE_ESTIMATE_PROBES_MAX)
			return hive_complain(complaints, "links", "links: are of more than %d probes; name fewer", HIVE_ESTIMATE_PROBES_MAX);
		probes[n++] = (struct asking){ .hive = hive,
					       .chosen = chosen,
					       .filter = filter,
					       .seconds = wish->seconds,
					       .probe_id = chosen->parts[i].probe_id,
					       .results = results };
	}
	return r < 0 ? r : ask_all(probes, n);
}

int hive_filter_estimate(struct hive *hive, const struct hive_actor *actor,
			 const struct hive_filter_wish *wish, struct hive_estimated **ret, uint32_t *ret_n,
			 struct hive_complaints *complaints)
{
	_hive_chosen_ struct hive_chosen *chosen = calloc(1, sizeof(*chosen));
	_skep_free_ struct hive_estimated *results = NULL;
	int r = 0;

	if (wish->seconds < 1 || wish->seconds > HIVE_ESTIMATE_SECONDS_MAX)
		(void)hive_complain(complaints, "seconds", "seconds: must be between 1 and %d", HIVE_ESTIMATE_SECONDS_MAX);
	if (!wish->links.n)
		(void)hive_complain(complaints, "links", "links: name at least one");
	r = chosen ? choose(hive, actor, wish, chosen, complaints) : -ENOMEM;
	if (r == 0)
		results = calloc(chosen->n, sizeof(*results));
	if (r == 0 && !results)
		r = -ENOMEM;
	if (r != 0)
		return r;
	if (atomic_fetch_add(&hive->estimates, 1) >= HIVE_ESTIMATES_MAX)
		r = busy(complaints, "others are estimating already, as many as may at once", "try again in some seconds");
	else
		r = estimate(hive, wish, chosen, results, complaints);
	atomic_fetch_sub(&hive->estimates, 1);
	if (r == 0) {
		*ret_n = chosen->n;
		*ret = TAKE_PTR(results);
	}
	return r;
}
