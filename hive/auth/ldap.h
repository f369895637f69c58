/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_AUTH_LDAP_H
#define HIVE_AUTH_LDAP_H
/*
 * People from a directory: search for the name, bind as what was found, read the groups, also groups in
 * groups.
 */
#include "common/err.h"

#include <stdbool.h>

enum hive_ldap_tls {
	HIVE_LDAP_STARTTLS, /* ldap://, then TLS on the same connection */
	HIVE_LDAP_LDAPS,    /* ldaps:// */
	HIVE_LDAP_PLAIN,    /* only to a loopback address */
};

struct hive_ldap {
	const char *uri;           /* "ldap://HOST[:PORT]" or "ldaps://HOST[:PORT]" */
	enum hive_ldap_tls tls;
	const char *ca_file;       /* NULL: the system's */
	const char *bind_dn;       /* who searches; NULL: anonymously */
	const char *bind_password; /* NULL only without bind_dn */
	const char *user_base;
	const char *user_filter;   /* "(uid=%s)": exactly one %s, where the escaped name goes */
	const char *group_base;    /* NULL: no groups are read */
	const char *group_filter;  /* "(member=%s)": the escaped DN of a person or of a group */
	const char *name_attr;     /* of the full name; NULL: "cn" */
	const char *mail_attr;     /* NULL: "mail" */
	unsigned int timeout_s;    /* of each question; 0: 5 */
};

#define HIVE_LDAP_GROUPS_MAX 1000

struct hive_ldap_person {
	char *dn;
	char *full_name; /* NULL: the directory has none */
	char *email;
	char **groups;   /* DNs, normalised, without repeats */
	uint32_t n_groups;
};

/* Refuses a setting that cannot work or would send passwords in the clear: SKEP_E_USAGE or SKEP_E_UNSAFE. */
int hive_ldap_check(const struct hive_ldap *ldap, struct skep_err *err);
/*
 * SKEP_E_PRIVILEGE: no such person, or a wrong password (never says which, and takes as many questions).
 * -errno: the directory cannot be asked; err has words for the log, not for the person. ret must be empty.
 */
int hive_ldap_login(const struct hive_ldap *ldap, const char *name, const char *password,
		    struct hive_ldap_person *ret, struct skep_err *err);
/* Without a password: is the person still there, and in which groups? SKEP_E_NOT_FOUND: gone. */
int hive_ldap_read(const struct hive_ldap *ldap, const char *name, struct hive_ldap_person *ret,
		   struct skep_err *err);
/* DNs are compared as the directory would: case, blanks and escapes do not matter. */
bool hive_ldap_same_dn(const char *a, const char *b);
void hive_ldap_person_clear(struct hive_ldap_person *person);

#define _hive_ldap_person_ SKEP_CLEANUP(hive_ldap_person_clear)

#endif
