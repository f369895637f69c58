/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Enrolment: the administrator of a probe prints a line with its address, the pin of its key and a token, the
 * administrator of the hive pastes it. The probe is asked with that pin before anything is made, so a line
 * that is wrong is refused at once. And the state of probes, which is in memory only: it is asked anew each
 * second. Holds no lock while it waits for a probe. Any thread.
 */
#include "hive/svc/probes.h"

#include "common/log.h"
#include "hive/probe/client.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 2048

/* ---- the line ---- */

static int take_word(const char *word, const char *name, char **field)
{
	size_t n = strlen(name);

	if (strncmp(word, name, n) != 0 || word[n] != '=')
		return 0;
	if (!*field)
		*field = strdup(word + n + 1);
	return *field ? 1 : -ENOMEM;
}

static int take_words(char *text, struct hive_probe *ret, struct hive_complaints *complaints)
{
	char *rest = text, *word;
	int r = 0;

	while (r >= 0 && (word = strsep(&rest, " \t\r\n"))) {
		if (!*word || strcmp(word, "skep-probe") == 0)
			continue;
		r = take_word(word, "name", &ret->name);
		if (r == 0)
			r = take_word(word, "url", &ret->address);
		if (r == 0)
			r = take_word(word, "token", &ret->token);
		if (r == 0 && strcmp(word, "pin=none") != 0)
			r = take_word(word, "pin", &ret->key_pin);
		if (r == 0 && strcmp(word, "pin=none") != 0)
			/* the word may be a secret: it is not repeated */
			return hive_complain(complaints, "enrol", "enrol: there is a word in it that is none of name, url, pin, token");
	}
	return r < 0 ? r : 0;
}

int hive_enrol_parse(const char *line, struct hive_probe *ret, struct hive_complaints *complaints)
{
	_skep_free_ char *text = NULL;
	int r;

	line += strspn(line, " \t\r\n");
	if (strncmp(line, "skep-probe ", 11) != 0 || strlen(line) > LINE_MAX_BYTES)
		return hive_complain(complaints, "enrol", "enrol: must be the line that skep-control enrol prints, beginning with \"skep-probe\"");
	text = strdup(line);
	r = text ? take_words(text, ret, complaints) : -ENOMEM;
	if (r == 0 && (!ret->name || !ret->address || !ret->token))
		return hive_complain(complaints, "enrol", "enrol: name, url or token is missing; was the whole line pasted?");
	return r;
}

/* ---- asking ---- */

int hive_probe_client(struct hive *hive, int64_t probe_id, struct hive_client **ret)
{
	_hive_probe_ struct hive_probe probe = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_probes, probe_id, &probe);
	if (r == 0 && probe.disabled)
		r = -EHOSTDOWN;
	return r < 0 ? r : hive_client_new(probe.address, probe.key_pin, probe.token, ret);
}

static int keep_info(struct hive *hive, int64_t probe_id, const char *info)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_probe_seen(tx, probe_id, hive_now_ns(hive), info);
	return r < 0 ? r : hive_tx_commit(&tx);
}

void hive_probe_refresh(struct hive *hive, struct hive_client *client, int64_t probe_id)
{
	_skep_free_ char *info = NULL;

	if (hive_client_about(client, &info, NULL) == 0 && keep_info(hive, probe_id, info) < 0)
		skep_log(SKEP_LOG_WARNING, "probe=%" PRId64 " what it says of itself could not be kept", probe_id);
}

/* ---- its links ---- */

static bool is_wanted(const struct hive_interface *all, uint32_t n, const struct hive_interface *one)
{
	bool any = false;

	for (uint32_t i = 0; i < n; i++)
		any = any || all[i].configured;
	return any ? one->configured : strcmp(one->name, "lo") != 0;
}

static bool is_there(struct hive *hive, int64_t probe_id, const char *interface)
{
	_hive_rows_ struct hive_rows links = { .table = &hive_links };
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_list list = {
		.conds = { { .field = hive_field_find(&hive_links, "probe_id"), .op = HIVE_EQ, .number = probe_id },
			   { .field = hive_field_find(&hive_links, "interface"), .op = HIVE_EQ, .text = interface } },
		.n_conds = 2,
		.limit = 1,
	};

	return hive_db_read(hive->db, &tx) == 0 && hive_row_list(tx, &hive_links, &list, &links) == 0 &&
	       links.n;
}

/* Its alias, or PROBE-INTERFACE; that also if another link has the alias already. */
static int add_link(struct hive *hive, const struct hive_actor *actor, const struct hive_probe *probe,
		    const struct hive_interface *one)
{
	struct hive_complaints complaints = { 0 };
	char name[160];
	int r = SKEP_E_BUSY;

	for (int attempt = one->alias[0] ? 0 : 1; attempt < 2 && r == SKEP_E_BUSY; attempt++) {
		_hive_link_ struct hive_link link = {
			.probe_id = probe->head.id,
			.interface = strdup(one->name),
			.description = one->description[0] ? strdup(one->description) : NULL,
			.speed_bps = one->speed_bps,
			.max_jobs = one->max_jobs ? one->max_jobs : 4,
			.info = one->info ? strdup(one->info) : NULL,
		};

		snprintf(name, sizeof(name), "%s%s%s", attempt ? probe->name : one->alias, attempt ? "-" : "", attempt ? one->name : "");
		name[HIVE_NAME_MAX] = '\0';
		link.name = strdup(name);
		complaints.n = 0;
		r = hive_thing_create(hive, actor, &(struct hive_change){ .kind = HIVE_LINK, .row = &link },
				      &complaints);
	}
	if (r != 0)
		skep_log(SKEP_LOG_WARNING, "probe=%s interface=%s not made a link: %s", probe->name, one->name,
			 complaints.n ? complaints.items[0].err.text : "error");
	return r;
}

static int cannot_ask(struct hive_complaints *complaints, const char *field, const struct skep_err *why)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, SKEP_E_NOT_FOUND, "the probe does not answer as it should: %.400s",
			   why->text[0] ? why->text : "no connection");
	(void)skep_err_hint(&err, "%s", why->hint[0] ? why->hint : "is skep-control running there, and can the hive reach it?");
	return hive_complain_err(complaints, field, &err);
}

static uint32_t add_links(struct hive *hive, const struct hive_actor *actor, const struct hive_probe *probe,
			  const struct hive_interface *all, uint32_t n)
{
	uint32_t made = 0;

	for (uint32_t i = 0; i < n; i++)
		if (is_wanted(all, n, &all[i]) && !is_there(hive, probe->head.id, all[i].name))
			made += add_link(hive, actor, probe, &all[i]) == 0;
	return made;
}

int hive_probe_enrol(struct hive *hive, const struct hive_actor *actor, struct hive_change *change,
		     struct hive_complaints *complaints)
{
	struct hive_probe *probe = change->row;
	_hive_client_ struct hive_client *client = NULL;
	struct hive_interface *all = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t n = 0;
	int r;

	if (!hive_actor_can(actor, HIVE_RIGHT_PROBES))
		return SKEP_E_PRIVILEGE;
	hive_check_probe(probe, complaints); /* before the token goes anywhere */
	if (complaints->n)
		return complaints->items[0].err.code;
	r = hive_client_new(probe->address, probe->key_pin, probe->token, &client);
	if (r == 0)
		r = hive_client_about(client, &probe->info, &err);
	if (r == 0)
		r = hive_client_interfaces(client, &all, &n, &err);
	if (r != 0)
		return r == -ENOMEM ? r : cannot_ask(complaints, "enrol", &err);
	probe->seen_ns = hive_now_ns(hive);
	r = hive_thing_create(hive, actor, change, complaints);
	if (r == 0 && !change->again)
		(void)add_links(hive, actor, probe, all, n);
	hive_interfaces_free(all, n);
	return r;
}

int hive_probe_discover(struct hive *hive, const struct hive_actor *actor, int64_t probe_id, uint32_t *ret_n,
			struct hive_complaints *complaints)
{
	_hive_probe_ struct hive_probe probe = { 0 };
	_hive_client_ struct hive_client *client = NULL;
	struct hive_interface *all = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t n = 0;
	int r = hive_thing_get(hive, actor, HIVE_PROBE, probe_id, &probe, complaints);

	if (r != 0)
		return r;
	r = hive_client_new(probe.address, probe.key_pin, probe.token, &client);
	if (r == 0)
		r = hive_client_interfaces(client, &all, &n, &err);
	if (r != 0)
		return r == -ENOMEM ? r : cannot_ask(complaints, NULL, &err);
	*ret_n = add_links(hive, actor, &probe, all, n);
	hive_interfaces_free(all, n);
	hive_probe_refresh(hive, client, probe_id);
	return 0;
}

/* ---- are they there? ---- */

struct hive_probe_states {
	pthread_mutex_t lock;
	struct hive_probe_state *items;
	uint32_t n;
};

struct hive_probe_states *hive_probe_states_new(void)
{
	struct hive_probe_states *states = calloc(1, sizeof(*states));

	if (states)
		pthread_mutex_init(&states->lock, NULL);
	return states;
}

struct hive_probe_states *hive_probe_states_free(struct hive_probe_states *states)
{
	if (!states)
		return NULL;
	pthread_mutex_destroy(&states->lock);
	free(states->items);
	free(states);
	return NULL;
}

static struct hive_probe_state *find_state(struct hive_probe_states *states, int64_t probe_id)
{
	for (uint32_t i = 0; i < states->n; i++)
		if (states->items[i].probe_id == probe_id)
			return &states->items[i];
	return NULL;
}

static struct hive_probe_state *add_state(struct hive_probe_states *states, int64_t probe_id)
{
	struct hive_probe_state *more = reallocarray(states->items, states->n + 1, sizeof(*more));

	if (!more)
		return NULL;
	states->items = more;
	more = &states->items[states->n++];
	*more = (struct hive_probe_state){ .probe_id = probe_id };
	return more;
}

void hive_probe_heard(struct hive *hive, int64_t probe_id, const struct skep_err *err)
{
	struct hive_probe_states *states = hive->probe_states;
	struct hive_probe_state *state;
	bool changed = false;

	pthread_mutex_lock(&states->lock);
	state = find_state(states, probe_id);
	if (!state)
		state = add_state(states, probe_id);
	if (state) {
		changed = !state->known || state->up != !err;
		if (changed)
			state->since_ns = hive_now_ns(hive);
		state->known = true;
		state->up = !err;
		snprintf(state->problem, sizeof(state->problem), "%.255s", err ? err->text : "");
	}
	pthread_mutex_unlock(&states->lock);
	if (changed)
		skep_log(err ? SKEP_LOG_WARNING : SKEP_LOG_INFO, "probe=%" PRId64 " %s%s", probe_id, err ? "away: " : "there",
			 err ? err->text : "");
}

void hive_probe_state(struct hive *hive, int64_t probe_id, struct hive_probe_state *ret)
{
	const struct hive_probe_state *state;

	pthread_mutex_lock(&hive->probe_states->lock);
	state = find_state(hive->probe_states, probe_id);
	*ret = state ? *state : (struct hive_probe_state){ .probe_id = probe_id };
	pthread_mutex_unlock(&hive->probe_states->lock);
}
