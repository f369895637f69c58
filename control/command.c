/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Commands of an administrator on the probe. They work on the daemon's files, not through it, so they work
 * while it does not run. Secrets go to standard output only.
 */
#include "control/command.h"

#include "common/tls.h"
#include "control/daemon.h"
#include "control/tokens.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

static int wrong_use(struct skep_err *err, const char *usage)
{
	skep_err_set(err, SKEP_E_USAGE, "wrong use");
	return skep_err_hint(err, "usage: skep-control %s", usage);
}

/* Directories and libsodium, as the daemon would have them. */
static int prepare(const struct ctl_config *cfg, struct skep_err *err)
{
	if (sodium_init() < 0)
		return skep_err_set(err, -EIO, "libsodium does not start");
	return ctl_daemon_make_dirs(cfg, err);
}

int ctl_command_token(const struct ctl_config *cfg, int n, char **words, struct skep_err *err)
{
	static const char usage[] = "token new NAME | token list | token revoke ID|NAME";
	char token[CTL_TOKEN_TEXT];
	int r = prepare(cfg, err);

	if (r)
		return r;
	if (n == 1 && !strcmp(words[0], "list"))
		return ctl_tokens_list(cfg->state_dir, stdout, err);
	if (n == 2 && !strcmp(words[0], "revoke"))
		return ctl_tokens_revoke(cfg->state_dir, words[1], err);
	if (n != 2 || strcmp(words[0], "new") != 0)
		return wrong_use(err, usage);
	r = ctl_tokens_new(cfg->state_dir, words[1], token, err);
	if (r == 0)
		puts(token);
	return r;
}

/* Where the hive finds this probe. */
static int url(const struct ctl_config *cfg, char *buf, size_t room, struct skep_err *err)
{
	const char *port = strrchr(cfg->listen, ':');
	const char *host = cfg->address;
	size_t host_len = port ? (size_t)(port - cfg->listen) : 0;
	bool any = !strncmp(cfg->listen, "0.0.0.0:", 8) || !strncmp(cfg->listen, "[::]:", 5);

	if (!port)
		return skep_err_set(err, SKEP_E_USAGE, "[server] listen: %s has no port", cfg->listen);
	if (!host[0] && any) {
		skep_err_set(err, SKEP_E_USAGE,
			     "it is not known by which address the hive reaches this probe");
		return skep_err_hint(err, "set [server] address, a name or an address, in the configuration");
	}
	(void)snprintf(buf, room, "%s://%.*s%s", cfg->tls ? "https" : "http",
		       host[0] ? (int)strlen(host) : (int)host_len, host[0] ? host : cfg->listen, port);
	return 0;
}

int ctl_command_enrol(const struct ctl_config *cfg, int n, char **words, struct skep_err *err)
{
	SKEP_CLEANUP(skep_tls_fini) struct skep_tls tls = SKEP_TLS_NULL;
	char where[256], pin[SKEP_TLS_PIN_TEXT] = "none", token[CTL_TOKEN_TEXT];
	int r;

	if (n > 1)
		return wrong_use(err, "enrol [NAME OF THE HIVE]");
	r = prepare(cfg, err);
	r = r ?: url(cfg, where, sizeof(where), err);
	if (r == 0 && cfg->tls) {
		r = skep_tls_load(cfg->tls_key, cfg->tls_cert, cfg->name, &tls, err);
		r = r ?: skep_tls_pin(&tls, pin, err);
	}
	r = r ?: ctl_tokens_new(cfg->state_dir, n ? words[0] : "hive", token, err);
	if (r == 0)
		printf("skep-probe name=%s url=%s pin=%s token=%s\n", cfg->name, where, pin, token);
	return r;
}
