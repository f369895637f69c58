/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys and self-signed certificates by GnuTLS, which the HTTP library uses anyway; the only file that knows
 * it. A key is never written readable for others, not even for a moment, and never replaced. Called at start,
 * by one thread.
 */
#include "common/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define VALID_S (20ll * 366 * 24 * 3600)
#define PEM_MAX_BYTES (256 * 1024)

static void key_free(gnutls_x509_privkey_t *key)
{
	if (*key)
		gnutls_x509_privkey_deinit(*key);
}

static void cert_free(gnutls_x509_crt_t *cert)
{
	if (*cert)
		gnutls_x509_crt_deinit(*cert);
}

static int refuse(struct skep_err *err, const char *what, int gnutls_r)
{
	return skep_err_set(err, SKEP_E_BAD_DATA, "%s: %s", what, gnutls_strerror(gnutls_r));
}

static char *text_of(gnutls_datum_t *datum)
{
	char *text = strndup((const char *)datum->data, datum->size);

	gnutls_memset(datum->data, 0, datum->size);
	gnutls_free(datum->data);
	return text;
}

/* Signs a certificate for the key's own public part. */
static int sign(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const char *name)
{
	uint8_t serial[16];
	time_t now = time(NULL);
	int r;

	gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	serial[0] &= 0x7f; /* positive */
	r = gnutls_x509_crt_set_version(cert, 3);
	r = r ?: gnutls_x509_crt_set_serial(cert, serial, sizeof(serial));
	r = r ?: gnutls_x509_crt_set_activation_time(cert, now - 24 * 3600);
	r = r ?: gnutls_x509_crt_set_expiration_time(cert, (time_t)(now + VALID_S));
	r = r
		    ?: gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
						     (unsigned)strlen(name));
	r = r
		    ?: gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, name,
							    (unsigned)strlen(name), GNUTLS_FSAN_SET);
	r = r ?: gnutls_x509_crt_set_basic_constraints(cert, 0, -1);
	r = r ?: gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE);
	r = r ?: gnutls_x509_crt_set_key(cert, key);
	return r ?: gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0);
}

static int make(const char *name, struct skep_tls *ret, struct skep_err *err)
{
	SKEP_CLEANUP(key_free) gnutls_x509_privkey_t key = NULL;
	SKEP_CLEANUP(cert_free) gnutls_x509_crt_t cert = NULL;
	gnutls_datum_t key_pem = { 0 }, cert_pem = { 0 };
	int r;

	r = gnutls_x509_privkey_init(&key);
	r = r ?: gnutls_x509_crt_init(&cert);
	r = r
		    ?: gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
						    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	r = r ?: sign(cert, key, name);
	r = r ?: gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem);
	r = r ?: gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &cert_pem);
	if (r)
		return refuse(err, "no key could be made", r);
	ret->key_pem = text_of(&key_pem);
	ret->cert_pem = text_of(&cert_pem);
	return ret->key_pem && ret->cert_pem ? 0 : skep_err_set(err, -ENOMEM, "no memory for a key");
}

static int read_file(const char *path, char **ret, struct skep_err *err)
{
	_skep_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_skep_free_ char *text = NULL;
	size_t n = 0;
	ssize_t got;

	if (fd < 0)
		return skep_err_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
	text = calloc(1, PEM_MAX_BYTES + 1);
	if (!text)
		return skep_err_set(err, -ENOMEM, "%s: no memory to read it", path);
	while (n < PEM_MAX_BYTES && (got = read(fd, text + n, PEM_MAX_BYTES - n)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return skep_err_set(err, -errno, "%s: cannot be read: %s", path, strerror(errno));
		n += (size_t)got;
	}
	*ret = TAKE_PTR(text);
	return 0;
}

/* Made by root, read by a daemon that is not: the file belongs to whom its directory belongs to. */
static int give_to_owner(int fd, const char *path)
{
	char dir[512];
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (geteuid() != 0 || !slash || (size_t)(slash - path) >= sizeof(dir))
		return 0;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	return stat(dir, &st) < 0 ? -errno : fchown(fd, st.st_uid, st.st_gid);
}

static int write_file(const char *path, const char *text, mode_t mode, struct skep_err *err)
{
	_skep_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	size_t len = strlen(text);

	if (fd < 0 || write(fd, text, len) != (ssize_t)len || give_to_owner(fd, path) < 0 || fsync(fd) < 0) {
		int r = -errno ?: -EIO;

		if (fd >= 0)
			(void)unlink(path);
		return skep_err_set(err, r, "%s: cannot be written: %s", path, strerror(-r));
	}
	return 0;
}

static bool is_there(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 || errno != ENOENT;
}

/* Makes both and fills them; the caller's, also on failure. */
static int import(const struct skep_tls *tls, gnutls_x509_crt_t *cert, gnutls_x509_privkey_t *key,
		  struct skep_err *err)
{
	gnutls_datum_t cert_pem = { (unsigned char *)tls->cert_pem, (unsigned)strlen(tls->cert_pem) };
	gnutls_datum_t key_pem = { (unsigned char *)tls->key_pem, (unsigned)strlen(tls->key_pem) };
	int r;

	if (gnutls_x509_crt_init(cert) || gnutls_x509_privkey_init(key))
		return skep_err_set(err, -ENOMEM, "no memory for a key");
	r = gnutls_x509_crt_import(*cert, &cert_pem, GNUTLS_X509_FMT_PEM);
	if (r)
		return refuse(err, "the certificate cannot be read", r);
	r = gnutls_x509_privkey_import(*key, &key_pem, GNUTLS_X509_FMT_PEM);
	return r ? refuse(err, "the key cannot be read", r) : 0;
}

static int check(const struct skep_tls *tls, struct skep_err *err)
{
	SKEP_CLEANUP(key_free) gnutls_x509_privkey_t key = NULL;
	SKEP_CLEANUP(cert_free) gnutls_x509_crt_t cert = NULL;
	uint8_t of_key[32], of_cert[32];
	size_t n = sizeof(of_key), m = sizeof(of_cert);
	int r = import(tls, &cert, &key, err);

	if (r)
		return r;
	if (gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, of_key, &n) ||
	    gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, of_cert, &m) ||
	    memcmp(of_key, of_cert, 32) != 0)
		return skep_err_set(err, SKEP_E_BAD_DATA, "the certificate does not belong to the key");
	return 0;
}

int skep_tls_load(const char *key_path, const char *cert_path, const char *name, struct skep_tls *ret,
		  struct skep_err *err)
{
	SKEP_CLEANUP(skep_tls_fini) struct skep_tls tls = SKEP_TLS_NULL;
	struct skep_err why = SKEP_ERR_NULL;
	int r;

	if (!is_there(key_path) && !is_there(cert_path)) {
		r = make(name, &tls, err);
		r = r ?: write_file(key_path, tls.key_pem, 0600, err);
		r = r ?: write_file(cert_path, tls.cert_pem, 0644, err);
	} else {
		r = read_file(key_path, &tls.key_pem, err);
		r = r ?: read_file(cert_path, &tls.cert_pem, err);
		if (r == 0 && check(&tls, &why)) {
			skep_err_set(err, why.code, "%s, %s: %s", key_path, cert_path, why.text);
			r = skep_err_hint(
				err, "put the right files there, or remove both: new ones are made then");
		}
	}
	if (r)
		return r;
	ret->key_pem = TAKE_PTR(tls.key_pem);
	ret->cert_pem = TAKE_PTR(tls.cert_pem);
	return 0;
}

int skep_tls_pin(const struct skep_tls *tls, char ret[static SKEP_TLS_PIN_TEXT], struct skep_err *err)
{
	SKEP_CLEANUP(key_free) gnutls_x509_privkey_t key = NULL;
	SKEP_CLEANUP(cert_free) gnutls_x509_crt_t cert = NULL;
	char base64[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL)];
	uint8_t digest[32];
	size_t n = sizeof(digest);
	int r = import(tls, &cert, &key, err);

	if (r)
		return r;
	/* The digest of the SubjectPublicKeyInfo, as RFC 7469 pins it. */
	r = gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, digest, &n);
	if (r)
		return refuse(err, "the key has no digest", r);
	sodium_bin2base64(base64, sizeof(base64), digest, sizeof(digest), sodium_base64_VARIANT_ORIGINAL);
	(void)snprintf(ret, SKEP_TLS_PIN_TEXT, "sha256//%s", base64);
	return 0;
}

void skep_tls_fini(struct skep_tls *tls)
{
	if (tls->key_pem)
		sodium_memzero(tls->key_pem, strlen(tls->key_pem));
	free(tls->key_pem);
	free(tls->cert_pem);
	*tls = (struct skep_tls)SKEP_TLS_NULL;
}
