/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_PROBE_CLIENT_PRIV_H
#define HIVE_PROBE_CLIENT_PRIV_H
/*
 * One question to a probe and its answer: what client.c (captures) and about.c (the rest) share.
 */
#include "common/json.h"
#include "hive/probe/client.h"

struct client_answer {
	char *text;
	size_t len;
	long status;
};

void hive_client_answer_clear(struct client_answer *answer);

#define _answer_ SKEP_CLEANUP(hive_client_answer_clear)

struct client_ask {
	const char *method, *path, *body, *key; /* body, key NULL: none */
	long timeout_ms;                        /* 0: as usual */
};

/* 0: there is an answer, whatever its status; else no answer. */
int hive_client_ask(struct hive_client *client, const struct client_ask *what, struct client_answer *ret,
		    struct skep_err *err);
/* The answer's object; a refusal of the probe: as hive_client_create() says. */
int hive_client_json(struct hive_client *client, const struct client_answer *answer, json_t **ret,
		     struct skep_err *err);
void hive_client_read_capture(const json_t *job, struct hive_capture *ret);

/*
 * A POST to somebody who is no probe: no token, no redirection, no proxy, what is answered is not read.
 * fine (NULL: everywhere) says of the address that the name has led to whether it may be connected to; if
 * not: -EACCES.
 */
struct sockaddr;

struct client_post {
	const char *url, *protocols, *body;
	const char *const *headers; /* NULL-terminated */
	bool (*fine)(const struct sockaddr *addr);
};

int hive_client_post(const struct client_post *post, long *ret_status, struct skep_err *err);

static inline const char *client_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static inline int64_t client_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

#endif
