/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Secrets with libsodium. Passwords cost memory and time on purpose (Argon2id, RFC 9106), the same for users
 * who do not exist; a semaphore bounds what many logins at once can take. Never stores, never logs. Any
 * thread.
 */
#include "hive/auth/secret.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#define OPS crypto_pwhash_OPSLIMIT_INTERACTIVE    /* 2 passes */
#define MEMORY crypto_pwhash_MEMLIMIT_INTERACTIVE /* 64 MiB: two logins at once are 128 MiB */
#define AT_ONCE 2

static_assert(HIVE_PASSWORD_TEXT >= crypto_pwhash_STRBYTES, "room for Argon2id's text");

static sem_t hashing;
/* A hash of nothing anybody knows, for users who do not exist. */
static char nobody[HIVE_PASSWORD_TEXT];

int hive_secret_init(void)
{
	char random[HIVE_SECRET_TEXT];

	if (nobody[0])
		return 0;
	if (sodium_init() < 0 || sem_init(&hashing, 0, AT_ONCE) < 0)
		return -EIO;
	hive_secret_make("", random);
	return hive_password_hash(random, nobody);
}

void hive_secret_make(const char *prefix, char ret[static HIVE_SECRET_TEXT])
{
	uint8_t random[HIVE_SECRET_BYTES];
	size_t n = strlen(prefix);

	assert(n <= 16);
	randombytes_buf(random, sizeof(random));
	memcpy(ret, prefix, n);
	sodium_bin2base64(ret + n, HIVE_SECRET_TEXT - n, random, sizeof(random),
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(random, sizeof(random));
}

static void finish(crypto_hash_sha256_state *state, char ret[static HIVE_DIGEST_TEXT])
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256_final(state, hash);
	sodium_bin2hex(ret, HIVE_DIGEST_TEXT, hash, sizeof(hash));
}

void hive_secret_digest(const char *text, char ret[static HIVE_DIGEST_TEXT])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	crypto_hash_sha256_update(&state, (const uint8_t *)text, strlen(text));
	finish(&state, ret);
}

void hive_secret_digest_all(const char *const *texts, uint32_t n, char ret[static HIVE_DIGEST_TEXT])
{
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t len = texts[i] ? strlen(texts[i]) : UINT64_MAX;
		uint8_t bytes[8];

		for (int b = 0; b < 8; b++)
			bytes[b] = (uint8_t)(len >> (8 * b));
		crypto_hash_sha256_update(&state, bytes, sizeof(bytes));
		if (texts[i])
			crypto_hash_sha256_update(&state, (const uint8_t *)texts[i], len);
	}
	finish(&state, ret);
}

void hive_secret_sign(const char *key, const char *text, char ret[static HIVE_DIGEST_TEXT])
{
	crypto_auth_hmacsha256_state state;
	unsigned char mac[crypto_auth_hmacsha256_BYTES];

	crypto_auth_hmacsha256_init(&state, (const unsigned char *)key, strlen(key));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)text, strlen(text));
	crypto_auth_hmacsha256_final(&state, mac);
	sodium_bin2hex(ret, HIVE_DIGEST_TEXT, mac, sizeof(mac));
	sodium_memzero(&state, sizeof(state));
}

bool hive_secret_equal(const char *a, const char *b)
{
	size_t n = strlen(a);

	return n == strlen(b) && sodium_memcmp(a, b, n) == 0;
}

void hive_secret_wipe(void *data, size_t bytes)
{
	sodium_memzero(data, bytes);
}

/* ---- passwords ---- */

int hive_password_acceptable(const char *password, const char *name, struct skep_err *err)
{
	size_t n = strlen(password);

	if (n < HIVE_PASSWORD_MIN) {
		skep_err_set(err, SKEP_E_USAGE, "the password has %zu letters, at least %d are needed", n, HIVE_PASSWORD_MIN);
		skep_err_hint(err, "take a sentence, or let a password manager make one");
		return SKEP_E_USAGE;
	}
	if (n > HIVE_PASSWORD_MAX)
		return skep_err_set(err, SKEP_E_USAGE, "the password is longer than %d bytes", HIVE_PASSWORD_MAX);
	if (name && strcasecmp(password, name) == 0)
		return skep_err_set(err, SKEP_E_USAGE, "the password is the user's name");
	return 0;
}

static void wait_for_turn(void)
{
	while (sem_wait(&hashing) < 0 && errno == EINTR)
		;
}

int hive_password_hash(const char *password, char ret[static HIVE_PASSWORD_TEXT])
{
	int r;

	wait_for_turn();
	r = crypto_pwhash_str_alg(ret, password, strlen(password), OPS, MEMORY, crypto_pwhash_ALG_ARGON2ID13);
	sem_post(&hashing);
	return r == 0 ? 0 : -ENOMEM;
}

bool hive_password_matches(const char *stored, const char *password, bool *ret_old)
{
	size_t n = strlen(password);
	bool same;

	/* libsodium would hash anything; a megabyte of password is an attack on our time. */
	n = n > HIVE_PASSWORD_MAX ? HIVE_PASSWORD_MAX + 1 : n;
	wait_for_turn();
	same = crypto_pwhash_str_verify(stored ? stored : nobody, password, n) == 0;
	sem_post(&hashing);
	same = same && stored && n <= HIVE_PASSWORD_MAX;
	*ret_old = same && crypto_pwhash_str_needs_rehash(stored, OPS, MEMORY) != 0;
	return same;
}
