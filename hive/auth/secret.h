/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_AUTH_SECRET_H
#define HIVE_AUTH_SECRET_H
/*
 * Passwords (Argon2id), random tokens, and digests. The only place that knows libsodium.
 */
#include "common/err.h"

#include <stdbool.h>

#define HIVE_SECRET_BYTES 32
#define HIVE_SECRET_TEXT 64   /* room for a secret's text: prefix, 43 letters, NUL */
#define HIVE_DIGEST_TEXT 65   /* SHA-256 in hex, NUL */
#define HIVE_PASSWORD_TEXT 128 /* crypto_pwhash_STRBYTES */
#define HIVE_PASSWORD_MAX 1024
#define HIVE_PASSWORD_MIN 10

/* Before all others; 0 or -EIO. */
int hive_secret_init(void);
/*
 * prefix (at most 16 letters, so that leaked secrets can be searched for) and 256 random bits in base64url. A
 * token or a session's cookie has enough randomness that a plain digest of it may be stored.
 */
void hive_secret_make(const char *prefix, char ret[static HIVE_SECRET_TEXT]);
void hive_secret_digest(const char *text, char ret[static HIVE_DIGEST_TEXT]);
/*
 * SHA-256 over several texts, each with its length in front, so that ("a", "bc") and ("ab", "c") differ; NULL
 * is not "".
 */
void hive_secret_digest_all(const char *const *texts, uint32_t n, char ret[static HIVE_DIGEST_TEXT]);
/* HMAC-SHA256 (RFC 2104) of the text, in hex. */
void hive_secret_sign(const char *key, const char *text, char ret[static HIVE_DIGEST_TEXT]);
bool hive_secret_equal(const char *a, const char *b); /* in constant time for texts of the same length */
void hive_secret_wipe(void *data, size_t bytes);

/* Refuses what is too short, too long, or the name itself. */
int hive_password_acceptable(const char *password, const char *name, struct skep_err *err);
/* About 100 ms and 64 MiB; at most two at once, others wait. -ENOMEM. */
int hive_password_hash(const char *password, char ret[static HIVE_PASSWORD_TEXT]);
/*
 * stored NULL (no such user, or no local password): takes the same time and says no. *ret_old: right, but
 * hashed with other parameters than today's; hash it again.
 */
bool hive_password_matches(const char *stored, const char *password, bool *ret_old);

#endif
