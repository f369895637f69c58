/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_TLS_H
#define SKEP_TLS_H
/*
 * The key and the certificate of a server that nobody has certified: made at its first start, and trusted by
 * others because they know the key's digest.
 */
#include "common/err.h"

struct skep_tls {
	char *key_pem, *cert_pem;
};

#define SKEP_TLS_NULL \
	{             \
		0     \
	}

/* sha256//BASE64 of the public key, as curl's --pinnedpubkey takes it; room for it. */
#define SKEP_TLS_PIN_TEXT 64

/*
 * Reads key and certificate; if neither file is there, makes them (ECDSA P-256, self-signed, for `name`,
 * valid for 20 years) and writes them, the key with mode 0600. One without the other, or two that do not
 * belong together, are refused.
 */
int skep_tls_load(const char *key_path, const char *cert_path, const char *name, struct skep_tls *ret,
		  struct skep_err *err);
int skep_tls_pin(const struct skep_tls *tls, char ret[static SKEP_TLS_PIN_TEXT], struct skep_err *err);
/* Wipes the key, frees both. */
void skep_tls_fini(struct skep_tls *tls);

#endif
