/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Webhooks. The rule against requests that the hive is talked into (SSRF): the address is looked
 * at where the connection is made, after the name was resolved, so neither a name that points inside nor one
 * that changes meanwhile gets through; only addresses of the public Internet are, unless the administrator
 * has allowed others. No redirection is followed, no proxy taken, and what is answered goes nowhere. Any
 * thread.
 */
#include "hive/probe/hook.h"

#include "common/format.h"
#include "hive/probe/client_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int hive_hook_body(const struct hive_hook_note *note, char **ret)
{
	char time[SKEP_FORMAT_MAX];
	json_t *job = json_null(), *body;

	if (note->job_id)
		job = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s?, s:I, s:I, s:I}", "id", (json_int_t)note->job_id, "owner_id",
				(json_int_t)note->owner_id, "name", note->name, "state", note->state, "outcome", note->outcome,
				"reasons", note->reasons, "stored_pkts", (json_int_t)note->stored_pkts, "stored_bytes",
				(json_int_t)note->stored_bytes, "kept_pkts", (json_int_t)note->kept_pkts);
	body = json_pack("{s:I, s:s, s:s, s:s, s:o}", "id", (json_int_t)note->delivery_id, "event", note->event, "time",
			 skep_format_time(time, (uint64_t)note->time_ns), "hive", note->hive, "job", job);
	*ret = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	return *ret ? 0 : -ENOMEM;
}

bool hive_hook_url_fine(const char *url, bool anywhere)
{
	size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : anywhere && strncmp(url, "http://", 7) == 0 ? 7 : 0;
	size_t host = scheme ? strcspn(url + scheme, "/?#") : 0;

	for (const char *at = url; *at; at++)
		if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f)
			return false;
	return host > 0 && host < 256 && strlen(url) < 2048 && !memchr(url + scheme, '@', host);
}

/* ---- where may it go? ---- */

static bool is_public_v4(uint32_t a)
{
	/* RFC 6890 and what came after it: everything that is not one host's address on the Internet */
	static const struct {
		uint32_t net;
		int bits;
	} closed[] = {
		{ 0x00000000, 8 },  { 0x0a000000, 8 },	{ 0x64400000, 10 }, { 0x7f000000, 8 },
		{ 0xa9fe0000, 16 }, { 0xac100000, 12 }, { 0xc0000000, 24 }, { 0xc0000200, 24 },
		{ 0xc0586300, 24 }, { 0xc0a80000, 16 }, { 0xc6120000, 15 }, { 0xc6336400, 24 },
		{ 0xcb007100, 24 }, { 0xe0000000, 3 },
	};

	for (size_t i = 0; i < ARRAY_LEN(closed); i++)
		if (a >> (32 - closed[i].bits) == closed[i].net >> (32 - closed[i].bits))
			return false;
	return true;
}

/* Only 2000::/3 is in use for hosts; in it are addresses that stand for IPv4 ones, and documentation. */
static bool is_public_v6(const uint8_t a[static 16])
{
	if ((a[0] & 0xe0) != 0x20 || (a[0] == 0x20 && a[1] == 0x02))
		return false;
	if (a[0] == 0x20 && a[1] == 0x01 && (a[2] < 0x02 || (a[2] == 0x0d && a[3] == 0xb8)))
		return false; /* 2001::/23: Teredo and others; 2001:db8::/32 */
	return !(a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10); /* 3fff::/20 */
}

static bool is_public(const struct sockaddr *addr)
{
	if (addr->sa_family == AF_INET)
		return is_public_v4(ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr));
	return addr->sa_family == AF_INET6 &&
	       is_public_v6(((const struct sockaddr_in6 *)addr)->sin6_addr.s6_addr);
}

/* ---- the call ---- */

int hive_hook_send(const struct hive_hook_call *call, long *ret_status, struct skep_err *err)
{
	char event[96], delivery[48], signature[192];
	const char *const headers[] = { "Content-Type: application/json", event, delivery, signature, NULL };

	snprintf(event, sizeof(event), "X-Skep-Event: %.64s", call->event);
	snprintf(delivery, sizeof(delivery), "X-Skep-Delivery: %lld", (long long)call->delivery_id);
	snprintf(signature, sizeof(signature), "X-Skep-Signature: %.160s", call->signature);
	return hive_client_post(&(struct client_post){ .url = call->url,
						       .protocols = call->anywhere ? "https,http" : "https",
						       .headers = headers,
						       .body = call->body,
						       .fine = call->anywhere ? NULL : is_public },
				ret_status, err);
}
