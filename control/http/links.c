/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GET /v1/links: what the administrator wrote about a link, what skep-capture --probe says it can do, and the
 * kernel's counters of the last second.
 */
#include "common/json.h"
#include "control/http/handlers.h"

#include <string.h>

#define PROBE_AGE_NS (60 * SKEP_NSEC_PER_SEC)

static json_t *rates_json(struct ctl *ctl, const char *name)
{
	struct ctl_counters c;
	json_t *rates, *counters;

	if (!ctl_links_counters(ctl->links, name, &c) || c.per_second[CTL_RX_PACKETS] < 0)
		return json_null();
	counters = json_object();
	for (int i = 0; i < CTL_COUNTERS; i++)
		json_object_set_new(counters, ctl_counter_names[i], json_integer((json_int_t)c.now[i]));
	rates = json_pack(
		"{s:s,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:o}", "source", "/sys/class/net", "rx_pps",
		c.per_second[CTL_RX_PACKETS], "rx_bps", 8 * c.per_second[CTL_RX_BYTES], "tx_pps",
		c.per_second[CTL_TX_PACKETS], "tx_bps", 8 * c.per_second[CTL_TX_BYTES], "rx_drops_ps",
		c.per_second[CTL_RX_DROPPED] + c.per_second[CTL_RX_MISSED] + c.per_second[CTL_RX_FIFO],
		"nic_drops_ps", c.per_second[CTL_RX_MISSED] + c.per_second[CTL_RX_FIFO], "kernel_drops_ps",
		c.per_second[CTL_RX_DROPPED], "counters", counters);
	return rates ? rates : json_null();
}

/* Jobs that have not ended and are given to the link. */
static json_t *jobs_json(const json_t *jobs, const char *name)
{
	json_t *list = json_array(), *job, *link;
	size_t i, k;

	json_array_foreach(jobs, i, job)
	{
		if (!json_is_null(json_object_get(job, "outcome")))
			continue;
		json_array_foreach(json_object_get(job, "links"), k, link)
		{
			const char *this_name = json_string_value(json_object_get(link, "name"));

			if (this_name && !strcmp(this_name, name))
				json_array_append_new(list, json_pack("{s:O,s:O,s:O,s:O}", "id",
								      json_object_get(job, "id"), "name",
								      json_object_get(job, "name"), "kind",
								      json_object_get(job, "kind"), "state",
								      json_object_get(job, "state")));
		}
	}
	return list;
}

/* One link for clients; probed is skep-capture's object, shared with others. */
static json_t *link_json(struct ctl *ctl, const json_t *probed, const json_t *jobs)
{
	const char *name = json_string_value(json_object_get(probed, "name"));
	const struct ctl_link_config *cfg = name ? ctl_config_link(&ctl->cfg, name) : NULL;
	json_t *link = json_copy((json_t *)(uintptr_t)probed);

	if (!link || !name) {
		json_decref(link);
		return NULL;
	}
	json_object_set_new(link, "configured", json_boolean(cfg != NULL));
	json_object_set_new(link, "alias", json_string(cfg && cfg->alias[0] ? cfg->alias : name));
	json_object_set_new(link, "description", json_string(cfg ? cfg->description : ""));
	json_object_set_new(link, "role", json_string(ctl_role_names[cfg ? cfg->role : CTL_ROLE_AUTO]));
	json_object_set_new(link, "jobs_max", cfg ? json_integer(cfg->jobs_max) : json_null());
	json_object_set_new(link, "expected_bps",
			    cfg && cfg->expected_bps ? json_integer((json_int_t)cfg->expected_bps)
						     : json_null());
	json_object_set_new(link, "rates", rates_json(ctl, name));
	json_object_set_new(link, "jobs", jobs_json(jobs, name));
	return link;
}

int ctl_http_links(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	_skep_json_ json_t *probe = NULL, *jobs = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	json_t *list, *item;
	size_t i;

	if (ctl_links_refresh(ctl->links, PROBE_AGE_NS, &err))
		return skep_http_answer_err(req, &err);
	probe = ctl_links_probe(ctl->links);
	jobs = ctl_jobs_list(ctl->jobs);
	list = json_array();
	json_array_foreach(json_object_get(probe, "links"), i, item)
		json_array_append_new(list, link_json(ctl, item, jobs));
	return skep_http_answer_json(req, 200, json_pack("{s:o}", "links", list));
}

static const json_t *find(const json_t *probe, const char *name)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(probe, "links"), i, item)
	{
		const char *this_name = json_string_value(json_object_get(item, "name"));

		if (this_name && !strcmp(this_name, name))
			return item;
	}
	return NULL;
}

int ctl_http_link(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	const char *name = skep_http_param(req, "name");
	_skep_json_ json_t *probe = NULL, *jobs = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	const json_t *item;

	if (ctl_links_refresh(ctl->links, PROBE_AGE_NS, &err))
		return skep_http_answer_err(req, &err);
	probe = ctl_links_probe(ctl->links);
	item = find(probe, name);
	if (!item) /* perhaps it is new */ {
		json_decref(probe);
		probe = NULL;
		if (ctl_links_refresh(ctl->links, SKEP_NSEC_PER_SEC, &err))
			return skep_http_answer_err(req, &err);
		probe = ctl_links_probe(ctl->links);
		item = find(probe, name);
	}
	if (!item)
		return skep_http_refuse(req, 404, "no-such-link", NULL, "this probe has no link \"%s\"",
					name);
	jobs = ctl_jobs_list(ctl->jobs);
	return skep_http_answer_json(req, 200, link_json(ctl, item, jobs));
}
