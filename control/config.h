/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_CONFIG_H
#define CTL_CONFIG_H
/*
 * What control.conf says; docs/reference/control-api.md lists the settings.
 */
#include "common/err.h"

#include <stdbool.h>

#define CTL_LINKS_MAX 16 /* as many as an engine knows */
#define CTL_LINK_NAME 16 /* IFNAMSIZ */

enum ctl_role { CTL_ROLE_AUTO, CTL_ROLE_TAP, CTL_ROLE_HOST };

struct ctl_link_config {
	char name[CTL_LINK_NAME];
	char alias[64], description[256];
	int role;	       /* enum ctl_role */
	uint32_t jobs_max;     /* at once */
	uint64_t expected_bps; /* 0: unknown */
};

struct ctl_config {
	char listen[80], address[128];
	bool tls;
	char tls_key[256], tls_cert[256];
	uint32_t max_connections, max_per_address;
	uint32_t extractions_max, live_max; /* streams at once */
	uint64_t live_bps;		    /* of each */
	char name[64];
	char state_dir[256], spool_dir[256], program_dir[256];
	char run_dir[84]; /* /LINK.sock behind it must fit into a sockaddr_un */
	uint64_t quota_bytes, reserve_bytes;
	uint64_t engine_idle_ns;
	char engine_user[32];
	uint32_t n_links;
	struct ctl_link_config links[CTL_LINKS_MAX];
};

/* Defaults, then the file; a file that is not there is only fine if it was not asked for by name. */
int ctl_config_load(const char *path, bool must_exist, struct ctl_config *ret, struct skep_err *err);
/* NULL: the file says nothing about it. */
const struct ctl_link_config *ctl_config_link(const struct ctl_config *cfg, const char *name);
extern const char *const ctl_role_names[];

#endif
