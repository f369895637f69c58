/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_CONFIG_H
#define HIVE_CONFIG_H
/*
 * What hive.conf says; docs/reference/hive-api.md lists the settings.
 */
#include "common/err.h"
#include "hive/auth/ldap.h"

#include <stdbool.h>

struct hive_settings {
	char listen[80];
	char address[256]; /* as people reach it: "https://hive.example.org"; empty: made of listen */
	bool tls;
	char tls_cert[256], tls_key[256];
	char state_dir[256];
	char program_dir[256]; /* empty: beside this program */
	char store_dir[256]; /* empty: datasets/ in state_dir */
	uint64_t store_reserve_bytes;
	uint64_t missing_after_ns, lost_after_ns, patience_ns;
	uint64_t session_idle_ns, session_max_ns;
	bool webhooks_anywhere;
	uint64_t webhooks_retry_ns;
	/* [ldap]; uri empty: no directory */
	char ldap_uri[256], ldap_ca_file[256], ldap_bind_dn[256], ldap_bind_password_file[256];
	char ldap_user_base[256], ldap_user_filter[256], ldap_group_base[256], ldap_group_filter[256];
	int ldap_tls; /* enum hive_ldap_tls */
	uint64_t ldap_refresh_ns;
	/* what follows is made of the above */
	char ldap_bind_password[256];
	struct hive_ldap ldap;
};

/*
 * Defaults, then the file; a file that is not there is only fine if it was not asked for by name. Refuses
 * with FILE:LINE, the setting, and what it wants.
 */
int hive_config_load(const char *path, bool must_exist, struct hive_settings *ret, struct skep_err *err);

#endif
