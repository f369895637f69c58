/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The schema of control.conf and its defaults. Reads the file once, at start; nothing here looks at the
 * machine: whether a link exists is a question for later.
 */
#include "control/config.h"

#include "common/ini.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_JOBS_MAX 32u
#define ENGINE_JOBS_MAX 64u /* slots of an engine */

const char *const ctl_role_names[] = { "auto", "tap", "host", NULL };

#define TEXT(field)                                                          \
	.type = SKEP_INI_TEXT, .offset = offsetof(struct ctl_config, field), \
	.size = sizeof(((struct ctl_config *)0)->field)
#define AT(field) .offset = offsetof(struct ctl_config, field)
#define LINK_TEXT(field)                                                          \
	.type = SKEP_INI_TEXT, .offset = offsetof(struct ctl_link_config, field), \
	.size = sizeof(((struct ctl_link_config *)0)->field)
#define LINK_AT(field) .offset = offsetof(struct ctl_link_config, field)

static const struct skep_ini_row rows[] = {
	{ "probe", "name", TEXT(name) },
	{ "probe", "programs", TEXT(program_dir) },
	{ "probe", "run", TEXT(run_dir) },
	{ "probe", "state", TEXT(state_dir) },
	{ "server", "address", TEXT(address) },
	{ "server", "extractions", SKEP_INI_UINT32, AT(extractions_max), .min = 1, .max = 64 },
	{ "server", "listen", TEXT(listen) },
	{ "server", "live", SKEP_INI_UINT32, AT(live_max), .min = 1, .max = 32 },
	{ "server", "live_rate", SKEP_INI_SIZE, AT(live_bps), .min = 100000 },
	{ "server", "max_connections", SKEP_INI_UINT32, AT(max_connections), .min = 8, .max = 100000 },
	{ "server", "max_per_address", SKEP_INI_UINT32, AT(max_per_address), .min = 1, .max = 100000 },
	{ "server", "tls", SKEP_INI_BOOL, AT(tls) },
	{ "server", "tls_certificate", TEXT(tls_cert) },
	{ "server", "tls_key", TEXT(tls_key) },
	{ "spool", "directory", TEXT(spool_dir) },
	{ "spool", "quota", SKEP_INI_SIZE, AT(quota_bytes), .min = 1 << 20 },
	{ "spool", "reserve", SKEP_INI_SIZE, AT(reserve_bytes) },
	{ "engine", "idle", SKEP_INI_DURATION, AT(engine_idle_ns), .min = 1000000000 },
	{ "engine", "user", TEXT(engine_user) },
	{ "link *", "alias", LINK_TEXT(alias) },
	{ "link *", "description", LINK_TEXT(description) },
	{ "link *", "expected_rate", SKEP_INI_SIZE, LINK_AT(expected_bps) },
	{ "link *", "jobs", SKEP_INI_UINT32, LINK_AT(jobs_max), .min = 1, .max = ENGINE_JOBS_MAX },
	{ "link *", "role", SKEP_INI_CHOICE, LINK_AT(role), .choices = ctl_role_names },
};

static void *link_instance(void *arg, const char *section, const char *name, struct skep_err *err)
{
	struct ctl_config *cfg = arg;
	struct ctl_link_config *link;

	(void)section;
	for (uint32_t i = 0; i < cfg->n_links; i++)
		if (!strcmp(cfg->links[i].name, name))
			return &cfg->links[i];
	if (strlen(name) >= CTL_LINK_NAME || strpbrk(name, " /")) {
		skep_err_set(err, SKEP_E_USAGE, "[link %s]: this cannot be the name of an interface", name);
		return NULL;
	}
	if (cfg->n_links == CTL_LINKS_MAX) {
		skep_err_set(err, SKEP_E_USAGE, "[link %s]: more than %d links", name, CTL_LINKS_MAX);
		return NULL;
	}
	link = &cfg->links[cfg->n_links++];
	(void)snprintf(link->name, sizeof(link->name), "%s", name);
	link->jobs_max = DEFAULT_JOBS_MAX;
	return link;
}

static void defaults(struct ctl_config *cfg)
{
	*cfg = (struct ctl_config){
		.listen = "0.0.0.0:8443",
		.tls = true,
		.max_connections = 1024,
		.max_per_address = 64,
		.extractions_max = 2,
		.live_max = 4,
		.live_bps = 100000000,
		.state_dir = "/var/lib/skep/control",
		.spool_dir = "/var/lib/skep/spool",
		.run_dir = "/run/skep",
		.reserve_bytes = 1ull << 30,
		.engine_idle_ns = 60 * SKEP_NSEC_PER_SEC,
	};
	if (gethostname(cfg->name, sizeof(cfg->name) - 1) < 0)
		(void)snprintf(cfg->name, sizeof(cfg->name), "probe");
}

/* What cannot be said in a row. */
static int check(const char *path, const struct ctl_config *cfg, struct skep_err *err)
{
	const struct {
		const char *section, *name, *value;
	} paths[] = {
		{ "probe", "state", cfg->state_dir },
		{ "probe", "run", cfg->run_dir },
		{ "spool", "directory", cfg->spool_dir },
	};

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (paths[i].value[0] != '/')
			return skep_err_set(err, SKEP_E_USAGE, "%s: [%s] %s: \"%s\" is no absolute path",
					    path, paths[i].section, paths[i].name, paths[i].value);
	if (!cfg->tls_key[0] != !cfg->tls_cert[0])
		return skep_err_set(err, SKEP_E_USAGE, "%s: [server] tls_key and tls_certificate go together",
				    path);
	if (!cfg->name[0])
		return skep_err_set(err, SKEP_E_USAGE, "%s: [probe] name: is empty", path);
	return 0;
}

/* By default the key lives in the state directory, the programs beside this one. */
static int fill_in(struct ctl_config *cfg, struct skep_err *err)
{
	char self[PATH_MAX];
	ssize_t n;
	char *slash;
	int len = 0;

	if (!cfg->tls_key[0]) {
		len |= snprintf(cfg->tls_key, sizeof(cfg->tls_key), "%.230s/key.pem", cfg->state_dir);
		len |= snprintf(cfg->tls_cert, sizeof(cfg->tls_cert), "%.230s/certificate.pem",
				cfg->state_dir);
	}
	if (cfg->program_dir[0] || len < 0)
		return 0;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return skep_err_set(err, -EIO,
				    "this program does not find itself in /proc; set [probe] programs");
	self[n] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	if (strlen(self) >= sizeof(cfg->program_dir))
		return skep_err_set(err, SKEP_E_USAGE, "%s: the path is too long; set [probe] programs",
				    self);
	memcpy(cfg->program_dir, self, strlen(self) + 1);
	return 0;
}

int ctl_config_load(const char *path, bool must_exist, struct ctl_config *ret, struct skep_err *err)
{
	static const struct skep_ini ini = { .rows = rows, .n = ARRAY_LEN(rows), .instance = link_instance };
	int r;

	defaults(ret);
	r = skep_ini_load(path, &ini, ret, err);
	if (r == SKEP_E_NOT_FOUND && !must_exist)
		r = 0;
	r = r ?: check(path, ret, err);
	return r ?: fill_in(ret, err);
}

const struct ctl_link_config *ctl_config_link(const struct ctl_config *cfg, const char *name)
{
	for (uint32_t i = 0; i < cfg->n_links; i++)
		if (!strcmp(cfg->links[i].name, name))
			return &cfg->links[i];
	return NULL;
}
