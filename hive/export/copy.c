/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Uploads over libcurl. S3 requests are signed (AWS signature, version 4) over the file's SHA-256, so the
 * server refuses other bytes; SFTP goes to a host whose key is known, into NAME.part, which is renamed.
 * Whatever the server says, a copy counts only after it was read back and hashed. Follows no redirection,
 * takes no proxy, never logs. Any thread.
 */
#include "hive/export/copy.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <curl/curl.h>
#include <sodium.h>

#define CONNECT_MS 10000L
#define SLOW_BYTES_S 1024L
#define SLOW_S 30L
#define ANSWER_MAX 2048
#define NOTHING_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* of no bytes */

struct transfer {
	CURL *curl;
	struct curl_slist *headers, *after;
	int key;
	const struct hive_copy_target *target;
	const struct hive_copy_file *file;
	char url[1200];
	int64_t sent; /* of a put */
	crypto_hash_sha256_state hash;
	int64_t received;
	char said[ANSWER_MAX]; /* the beginning of an error's body */
	size_t n_said;
};

static void transfer_clear(struct transfer *t)
{
	curl_easy_cleanup(t->curl);
	curl_slist_free_all(t->headers);
	curl_slist_free_all(t->after);
	skep_closep(&t->key);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int stopping(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct transfer *t = arg;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return t->target->stop && atomic_load_explicit(t->target->stop, memory_order_relaxed);
}

static bool is_key(const char *secret)
{
	return strncmp(secret, "-----BEGIN ", 11) == 0;
}

/* The library reads keys from files only; one without a name keeps it off every disk. */
static int set_key(struct transfer *t)
{
	const char *secret = t->target->secret;
	char path[64];

	t->key = memfd_create("key", MFD_CLOEXEC);
	if (t->key < 0 || write(t->key, secret, strlen(secret)) != (ssize_t)strlen(secret))
		return -EIO;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->key);
	curl_easy_setopt(t->curl, CURLOPT_SSH_PRIVATE_KEYFILE, path);
	curl_easy_setopt(t->curl, CURLOPT_SSH_AUTH_TYPES, (long)CURLSSH_AUTH_PUBLICKEY);
	return 0;
}

static int set_login(struct transfer *t)
{
	const struct hive_copy_target *target = t->target;
	char signature[128];

	curl_easy_setopt(t->curl, CURLOPT_USERNAME, target->user);
	if (target->s3) {
		curl_easy_setopt(t->curl, CURLOPT_PASSWORD, target->secret);
		snprintf(signature, sizeof(signature), "aws:amz:%.64s:s3",
			 target->region && *target->region ? target->region : "us-east-1");
		curl_easy_setopt(t->curl, CURLOPT_AWS_SIGV4, signature);
		return 0;
	}
	curl_easy_setopt(t->curl, CURLOPT_SSH_HOST_PUBLIC_KEY_SHA256, target->host_key);
	if (is_key(target->secret))
		return set_key(t);
	curl_easy_setopt(t->curl, CURLOPT_PASSWORD, target->secret);
	curl_easy_setopt(t->curl, CURLOPT_SSH_AUTH_TYPES,
			 (long)(CURLSSH_AUTH_PASSWORD | CURLSSH_AUTH_KEYBOARD));
	return 0;
}

/* part: of an SFTP upload, until it is whole. */
static int begin(struct transfer *t, const struct hive_copy_target *target, const struct hive_copy_file *file,
		 bool part)
{
	size_t n = strlen(target->url);

	(void)pthread_once(&once, init_curl);
	*t = (struct transfer){ .key = -1, .curl = curl_easy_init(), .target = target, .file = file };
	if (!t->curl)
		return -ENOMEM;
	while (n > 0 && target->url[n - 1] == '/')
		n--;
	if ((size_t)snprintf(t->url, sizeof(t->url), "%.*s/%s/%s%s", (int)n, target->url, file->folder,
			     file->name, part ? ".part" : "") >= sizeof(t->url))
		return -ENAMETOOLONG;
	curl_easy_setopt(t->curl, CURLOPT_URL, t->url);
	curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, target->s3 ? "https,http" : "sftp");
	curl_easy_setopt(t->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES_S);
	curl_easy_setopt(t->curl, CURLOPT_LOW_SPEED_TIME, SLOW_S);
	curl_easy_setopt(t->curl, CURLOPT_XFERINFOFUNCTION, stopping);
	curl_easy_setopt(t->curl, CURLOPT_XFERINFODATA, t);
	curl_easy_setopt(t->curl, CURLOPT_NOPROGRESS, 0L);
	return set_login(t);
}

/* What a store says is XML; its <Message> is for people. */
static void message_of(struct transfer *t)
{
	char *from, *to;

	t->said[t->n_said] = '\0';
	from = strstr(t->said, "<Message>");
	to = from ? strstr(from, "</Message>") : NULL;
	if (to) {
		*to = '\0';
		memmove(t->said, from + 9, strlen(from + 9) + 1);
	}
	for (char *c = t->said; *c; c++)
		if ((unsigned char)*c < 0x20)
			*c = ' ';
}

static int result(struct transfer *t, CURLcode code, struct skep_err *err)
{
	long status = 0;

	if (code == CURLE_ABORTED_BY_CALLBACK)
		return skep_err_set(err, -ECANCELED, "the hive is about to end");
	if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_LOGIN_DENIED)
		return skep_err_set(err, SKEP_E_PRIVILEGE, "%.300s: %s", t->target->url,
				    curl_easy_strerror(code));
	if (code == CURLE_REMOTE_FILE_NOT_FOUND)
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%.300s: is not there", t->url);
	if (code == CURLE_REMOTE_ACCESS_DENIED || code == CURLE_REMOTE_DISK_FULL)
		return skep_err_set(err, SKEP_E_UNSUPPORTED, "%.300s: %s", t->url, curl_easy_strerror(code));
	if (code != CURLE_OK)
		return skep_err_set(err, -EIO, "%.300s: %s", t->url, curl_easy_strerror(code));
	if (!t->target->s3)
		return 0;
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 == 2)
		return 0;
	message_of(t);
	return skep_err_set(err,
			    status == 404		     ? SKEP_E_NOT_FOUND
			    : status == 403		     ? SKEP_E_PRIVILEGE
			    : status >= 500 || status == 429 ? -EAGAIN
							     : SKEP_E_UNSUPPORTED,
			    "%.300s: the store answered %ld: %.150s", t->url, status, t->said);
}

/* ---- putting ---- */

static size_t give(char *buffer, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	ssize_t k;

	do
		k = pread(t->file->fd, buffer, size * n, (off_t)t->sent);
	while (k < 0 && errno == EINTR);
	if (k < 0)
		return CURL_READFUNC_ABORT;
	t->sent += k;
	return (size_t)k;
}

/* A store may ask for the beginning again. */
static int rewind_to(void *arg, curl_off_t offset, int origin)
{
	if (origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	((struct transfer *)arg)->sent = offset;
	return CURL_SEEKFUNC_OK;
}

static size_t keep_said(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t room = sizeof(t->said) - 1 - t->n_said, k = SKEP_MIN(n, room);

	(void)size;
	memcpy(t->said + t->n_said, data, k);
	t->n_said += k;
	return n;
}

/* The path of the URL, as the server has it. */
static const char *path_of(const char *url)
{
	const char *path = strchr(url + strlen("sftp://"), '/');

	return path ? path : "/";
}

/* S3 wants the body's digest signed; the library signs every header that it is given. */
static int sign_body(struct transfer *t, const char *sha256)
{
	char text[128];

	snprintf(text, sizeof(text), "x-amz-content-sha256: %.64s", sha256);
	t->headers = curl_slist_append(NULL, text);
	curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
	return t->headers ? 0 : -ENOMEM;
}

static int prepare_put(struct transfer *t)
{
	char text[2 * sizeof(t->url) + 32];
	const char *path = path_of(t->url);
	int n;

	curl_easy_setopt(t->curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(t->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->file->bytes);
	curl_easy_setopt(t->curl, CURLOPT_READFUNCTION, give);
	curl_easy_setopt(t->curl, CURLOPT_READDATA, t);
	curl_easy_setopt(t->curl, CURLOPT_SEEKFUNCTION, rewind_to);
	curl_easy_setopt(t->curl, CURLOPT_SEEKDATA, t);
	curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, keep_said);
	curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
	if (t->target->s3)
		return sign_body(t, t->file->sha256);
	curl_easy_setopt(t->curl, CURLOPT_FTP_CREATE_MISSING_DIRS, 1L);
	n = (int)(strlen(path) - strlen(".part"));
	/* SFTP renames over nothing; what is in the way is wrong, or it would not be sent again */
	snprintf(text, sizeof(text), "*rm \"%.*s\"", n, path);
	t->after = curl_slist_append(NULL, text);
	snprintf(text, sizeof(text), "rename \"%s\" \"%.*s\"", path, n, path);
	t->after = curl_slist_append(t->after, text);
	curl_easy_setopt(t->curl, CURLOPT_POSTQUOTE, t->after);
	return t->after ? 0 : -ENOMEM;
}

int hive_copy_put(const struct hive_copy_target *target, const struct hive_copy_file *file,
		  struct skep_err *err)
{
	SKEP_CLEANUP(transfer_clear) struct transfer t = { .key = -1 };
	int r = begin(&t, target, file, !target->s3);

	if (r == 0)
		r = prepare_put(&t);
	if (r < 0)
		return skep_err_set(err, r, "%s: %s", file->name, strerror(-r));
	r = result(&t, curl_easy_perform(t.curl), err);
	/* a folder that is not there is no file that is not there */
	return r == SKEP_E_NOT_FOUND ? SKEP_E_UNSUPPORTED : r;
}

/* ---- reading back ---- */

static size_t hash_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	long status = 200;

	(void)size;
	if (t->target->s3)
		curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return keep_said(data, 1, n, t);
	crypto_hash_sha256_update(&t->hash, (const uint8_t *)data, n);
	t->received += (int64_t)n;
	return n;
}

int hive_copy_verify(const struct hive_copy_target *target, const struct hive_copy_file *file,
		     struct skep_err *err)
{
	SKEP_CLEANUP(transfer_clear) struct transfer t = { .key = -1 };
	uint8_t hash[crypto_hash_sha256_BYTES];
	char sha256[65];
	int r = begin(&t, target, file, false);

	if (r == 0 && target->s3)
		r = sign_body(&t, NOTHING_SHA256);
	if (r < 0)
		return skep_err_set(err, r, "%s: %s", file->name, strerror(-r));
	crypto_hash_sha256_init(&t.hash);
	curl_easy_setopt(t.curl, CURLOPT_WRITEFUNCTION, hash_body);
	curl_easy_setopt(t.curl, CURLOPT_WRITEDATA, &t);
	r = result(&t, curl_easy_perform(t.curl), err);
	if (r != 0)
		return r;
	crypto_hash_sha256_final(&t.hash, hash);
	sodium_bin2hex(sha256, sizeof(sha256), hash, sizeof(hash));
	if (t.received == file->bytes && strcmp(sha256, file->sha256) == 0)
		return 0;
	return skep_err_set(err, SKEP_E_BAD_DATA, "%.300s: holds other bytes than were sent", t.url);
}
