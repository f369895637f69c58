/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DIR/tokens.json: { "tokens": [ { "id", "name", "created", "sha256" } ] }, mode 0600, replaced by rename,
 * so a reader sees the old or the new file. The daemon looks at the file's time of change before each use,
 * so a revoked token is refused from the next request on. A file that cannot be read lets nobody in.
 */
#include "control/tokens.h"

#include "common/format.h"
#include "common/json.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define SECRET_BYTES 32
#define PREFIX "skt_"

struct token {
	char id[CTL_TOKEN_ID];
	char name[CTL_TOKEN_NAME];
	uint8_t sha256[crypto_hash_sha256_BYTES];
};

struct ctl_tokens {
	pthread_mutex_t lock;
	char path[320];
	struct timespec changed;
	ino_t inode;
	uint32_t n;
	struct token items[CTL_TOKENS_MAX];
};

static int read_file(const char *path, json_t **ret, struct skep_err *err)
{
	json_t *root;
	int r;

	if (access(path, F_OK) < 0 && errno == ENOENT) {
		*ret = json_pack("{s:[]}", "tokens");
		return *ret ? 0 : -ENOMEM;
	}
	r = skep_json_load_file(path, &root, err);
	if (r)
		return r;
	if (!json_is_array(json_object_get(root, "tokens"))) {
		json_decref(root);
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: there is no array \"tokens\"", path);
	}
	*ret = root;
	return 0;
}

static bool parse_token(const json_t *item, struct token *ret)
{
	const char *id = json_string_value(json_object_get(item, "id"));
	const char *name = json_string_value(json_object_get(item, "name"));
	const char *hex = json_string_value(json_object_get(item, "sha256"));
	size_t n = 0;

	if (!id || !name || !hex || strlen(id) >= sizeof(ret->id) || strlen(name) >= sizeof(ret->name))
		return false;
	memcpy(ret->id, id, strlen(id) + 1);
	memcpy(ret->name, name, strlen(name) + 1);
	return sodium_hex2bin(ret->sha256, sizeof(ret->sha256), hex, strlen(hex), NULL, &n, NULL) == 0 &&
	       n == sizeof(ret->sha256);
}

/* Under the lock. Logs once for each state of the file. */
static void refresh(struct ctl_tokens *tokens)
{
	_skep_json_ json_t *root = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	struct stat st = { 0 };
	json_t *item;
	size_t i;

	if (stat(tokens->path, &st) < 0)
		memset(&st, 0, sizeof(st));
	if (st.st_ino == tokens->inode && !memcmp(&st.st_mtim, &tokens->changed, sizeof(st.st_mtim)))
		return;
	tokens->inode = st.st_ino;
	tokens->changed = st.st_mtim;
	tokens->n = 0;
	if (read_file(tokens->path, &root, &err)) {
		skep_log(SKEP_LOG_ERROR, "nobody is let in: %s", err.text);
		return;
	}
	json_array_foreach(json_object_get(root, "tokens"), i,
			   item) if (tokens->n < CTL_TOKENS_MAX &&
				     parse_token(item, &tokens->items[tokens->n])) tokens->n++;
}

struct ctl_tokens *ctl_tokens_open(const char *dir)
{
	struct ctl_tokens *tokens = calloc(1, sizeof(*tokens));

	if (!tokens)
		return NULL;
	(void)snprintf(tokens->path, sizeof(tokens->path), "%s/tokens.json", dir);
	pthread_mutex_init(&tokens->lock, NULL);
	return tokens;
}

struct ctl_tokens *ctl_tokens_close(struct ctl_tokens *tokens)
{
	if (tokens)
		pthread_mutex_destroy(&tokens->lock);
	free(tokens);
	return NULL;
}

bool ctl_tokens_verify(struct ctl_tokens *tokens, const char *text, char ret_name[static CTL_TOKEN_NAME])
{
	uint8_t digest[crypto_hash_sha256_BYTES];
	bool found = false;

	crypto_hash_sha256(digest, (const unsigned char *)text, strlen(text));
	pthread_mutex_lock(&tokens->lock);
	refresh(tokens);
	for (uint32_t i = 0; i < tokens->n; i++)
		if (sodium_memcmp(tokens->items[i].sha256, digest, sizeof(digest)) == 0) {
			memcpy(ret_name, tokens->items[i].name, CTL_TOKEN_NAME);
			found = true;
		}
	pthread_mutex_unlock(&tokens->lock);
	return found;
}

/* The directory, locked against another skep-control token. */
static int lock_dir(const char *dir, struct skep_err *err)
{
	_skep_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0) {
		skep_err_set(err, -errno, "%s: cannot be opened: %s", dir, strerror(errno));
		return skep_err_hint(err, "run this as the user the daemon runs as, or as root");
	}
	return TAKE_FD(fd);
}

static int write_tokens(int dir_fd, const char *dir, const json_t *root, struct skep_err *err)
{
	_skep_free_ char *text = json_dumps(root, JSON_INDENT(1));
	_skep_close_ int fd = -1;
	struct stat st;
	int r;

	(void)unlinkat(dir_fd, ".tokens.tmp", 0);
	fd = openat(dir_fd, ".tokens.tmp", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	/* Written by root, read by the daemon: the file belongs to whom the directory belongs to. */
	if (fd >= 0 && fstat(dir_fd, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) < 0 && errno != EPERM)
		skep_closep(&fd);
	if (!text || fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) < 0 ||
	    renameat(dir_fd, ".tokens.tmp", dir_fd, "tokens.json") < 0 || fsync(dir_fd) < 0) {
		r = -errno ?: -EIO;
		return skep_err_set(err, r, "%s/tokens.json: cannot be written: %s", dir, strerror(-r));
	}
	return 0;
}

static int load(const char *dir, json_t **ret, struct skep_err *err)
{
	char path[320];

	(void)snprintf(path, sizeof(path), "%s/tokens.json", dir);
	return read_file(path, ret, err);
}

/* What is there, to be changed: nobody else changes it while *ret_dir_fd is open. */
static int load_locked(const char *dir, int *ret_dir_fd, json_t **ret, struct skep_err *err)
{
	_skep_close_ int dir_fd = lock_dir(dir, err);
	int r = dir_fd < 0 ? dir_fd : load(dir, ret, err);

	if (r == 0)
		*ret_dir_fd = TAKE_FD(dir_fd);
	return r;
}

static void make_secret(char text[static CTL_TOKEN_TEXT], char id[static CTL_TOKEN_ID], char hex[static 65])
{
	uint8_t secret[SECRET_BYTES], digest[crypto_hash_sha256_BYTES];
	char base64[sodium_base64_ENCODED_LEN(SECRET_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];

	randombytes_buf(secret, sizeof(secret));
	sodium_bin2base64(base64, sizeof(base64), secret, sizeof(secret),
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	(void)snprintf(id, CTL_TOKEN_ID, "%08x", randombytes_random());
	(void)snprintf(text, CTL_TOKEN_TEXT, PREFIX "%s_%s", id, base64);
	crypto_hash_sha256(digest, (const unsigned char *)text, strlen(text));
	sodium_bin2hex(hex, 65, digest, sizeof(digest));
	sodium_memzero(secret, sizeof(secret));
}

int ctl_tokens_new(const char *dir, const char *name, char ret[static CTL_TOKEN_TEXT], struct skep_err *err)
{
	_skep_close_ int dir_fd = -1;
	_skep_json_ json_t *root = NULL;
	char id[CTL_TOKEN_ID], text[CTL_TOKEN_TEXT], hex[65], created[SKEP_FORMAT_MAX];
	json_t *list;
	int r;

	if (!name[0] || strlen(name) >= CTL_TOKEN_NAME || strpbrk(name, "\n\r\t"))
		return skep_err_set(err, SKEP_E_USAGE, "token: a name has 1 to %d characters",
				    CTL_TOKEN_NAME - 1);
	r = load_locked(dir, &dir_fd, &root, err);
	if (r)
		return r;
	list = json_object_get(root, "tokens");
	if (json_array_size(list) >= CTL_TOKENS_MAX)
		return skep_err_set(err, SKEP_E_BUSY, "there are %d tokens already; revoke some",
				    CTL_TOKENS_MAX);
	make_secret(text, id, hex);
	(void)skep_format_time(created, (uint64_t)time(NULL) * SKEP_NSEC_PER_SEC);
	if (json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s}", "id", id, "name", name, "created",
						  created, "sha256", hex)) < 0)
		return skep_err_set(err, SKEP_E_USAGE, "token: the name is no UTF-8 text");
	r = write_tokens(dir_fd, dir, root, err);
	if (r)
		return r;
	memcpy(ret, text, sizeof(text));
	sodium_memzero(text, sizeof(text));
	return 0;
}

int ctl_tokens_list(const char *dir, FILE *out, struct skep_err *err)
{
	_skep_json_ json_t *root = NULL;
	json_t *item;
	size_t i;
	int r = load(dir, &root, err);

	if (r)
		return r;
	json_array_foreach(json_object_get(root, "tokens"), i, item)
	{
		const char *id = json_string_value(json_object_get(item, "id"));
		const char *created = json_string_value(json_object_get(item, "created"));
		const char *name = json_string_value(json_object_get(item, "name"));

		fprintf(out, "%s  %.19sZ  %s\n", id ? id : "?", created ? created : "?", name ? name : "?");
	}
	return 0;
}

int ctl_tokens_revoke(const char *dir, const char *id, struct skep_err *err)
{
	_skep_close_ int dir_fd = -1;
	_skep_json_ json_t *root = NULL;
	size_t found = 0;
	json_t *list;
	int r = load_locked(dir, &dir_fd, &root, err);

	if (r)
		return r;
	list = json_object_get(root, "tokens");
	for (size_t i = json_array_size(list); i-- > 0;) {
		const json_t *item = json_array_get(list, i);
		const char *this_id = json_string_value(json_object_get(item, "id"));
		const char *name = json_string_value(json_object_get(item, "name"));

		if ((this_id && !strcmp(this_id, id)) || (name && !strcmp(name, id))) {
			json_array_remove(list, i);
			found++;
		}
	}
	if (!found) {
		skep_err_set(err, SKEP_E_NOT_FOUND, "token: there is none with the id or name %.60s", id);
		return skep_err_hint(err, "skep-control token list shows them");
	}
	return write_tokens(dir_fd, dir, root, err);
}
