/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Webhooks over libcurl. The rule against requests that the hive is talked into (SSRF): the address is looked
 * at where the connection is made, after the name was resolved, so neither a name that points inside nor one
 * that changes meanwhile gets through; only addresses of the public Internet are, unless the administrator has
 * allowed others. No redirection is followed, no proxy taken, and what is answered goes nowhere. Any thread.
 */
#include "hive/probe/hook.h"

#include "common/format.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <curl/curl.h>
#include <jansson.h>

#define CONNECT_MS 5000L
#define ANSWER_MS 10000L

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
		{ 0x00000000, 8 },  { 0x0a000000, 8 },	{ 0x64400000, 10 }, { 0x7f000000, 8 },	{ 0xa9fe0000, 16 },
		{ 0xac100000, 12 }, { 0xc0000000, 24 }, { 0xc0000200, 24 }, { 0xc0586300, 24 }, { 0xc0a80000, 16 },
		{ 0xc6120000, 15 }, { 0xc6336400, 24 }, { 0xcb007100, 24 }, { 0xe0000000, 3 },
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
	return addr->sa_family == AF_INET6 && is_public_v6(((const struct sockaddr_in6 *)addr)->sin6_addr.s6_addr);
}

struct opening {
	bool anywhere, refused;
};

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct opening *opening = arg;

	(void)purpose;
	if (!opening->anywhere && !is_public(&to->addr)) {
		opening->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* ---- the call ---- */

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

static struct curl_slist *headers_of(const struct hive_hook_call *call)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	char line[256];

	snprintf(line, sizeof(line), "X-Skep-Event: %.64s", call->event);
	headers = curl_slist_append(headers, line);
	snprintf(line, sizeof(line), "X-Skep-Delivery: %lld", (long long)call->delivery_id);
	headers = curl_slist_append(headers, line);
	snprintf(line, sizeof(line), "X-Skep-Signature: %.160s", call->signature);
	return curl_slist_append(headers, line);
}

int hive_hook_send(const struct hive_hook_call *call, long *ret_status, struct skep_err *err)
{
	struct opening opening = { .anywhere = call->anywhere };
	struct curl_slist *headers = headers_of(call);
	size_t left = 65536;
	CURL *curl = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;

	*ret_status = 0;
	if (curl && headers) {
		curl_easy_setopt(curl, CURLOPT_URL, call->url);
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, call->anywhere ? "https,http" : "https");
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
		curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ANSWER_MS);
		curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
		curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &opening);
		curl_easy_setopt(curl, CURLOPT_USERAGENT, "skep-hive/" SKEP_VERSION);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
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
