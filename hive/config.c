/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The configuration file: one table says which settings there are, of which kind, with which default. A
 * setting that is not in it is refused with its line, and so is a value of the wrong kind. Secrets are not in
 * the file but in files of their own, named by it. Reads nothing else; called before any thread is there.
 */
#include "hive/config.h"

#include "common/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <ini.h>

enum kind { TEXT, FLAG, SIZE, DURATION, CHOICE };

static const char *const tls_names[] = { "starttls", "ldaps", "plain", NULL };

#define FIELD(section_, name_, kind_, member, fallback_)                                                     \
	{ (section_), (name_), (kind_), offsetof(struct hive_settings, member),                              \
	  sizeof(((struct hive_settings *)0)->member), (fallback_), (kind_) == CHOICE ? tls_names : NULL }

static const struct setting {
	const char *section, *name;
	enum kind kind;
	size_t offset, bytes;
	const char *fallback;
	const char *const *choices;
} settings[] = {
	FIELD("hive", "listen", TEXT, listen, "127.0.0.1:8480"),
	FIELD("hive", "address", TEXT, address, ""),
	FIELD("hive", "tls", FLAG, tls, "no"),
	FIELD("hive", "tls_cert", TEXT, tls_cert, ""),
	FIELD("hive", "tls_key", TEXT, tls_key, ""),
	FIELD("hive", "state_dir", TEXT, state_dir, "/var/lib/skep-hive"),
	FIELD("hive", "programs", TEXT, program_dir, ""),
	FIELD("store", "directory", TEXT, store_dir, ""),
	FIELD("store", "reserve", SIZE, store_reserve_bytes, "1GiB"),
	FIELD("jobs", "missing_after", DURATION, missing_after_ns, "30s"),
	FIELD("jobs", "lost_after", DURATION, lost_after_ns, "1h"),
	FIELD("jobs", "patience", DURATION, patience_ns, "15m"),
	FIELD("session", "idle", DURATION, session_idle_ns, "12h"),
	FIELD("session", "longest", DURATION, session_max_ns, "7d"),
	FIELD("webhooks", "anywhere", FLAG, webhooks_anywhere, "no"),
	FIELD("webhooks", "retry", DURATION, webhooks_retry_ns, "10s"),
	FIELD("ldap", "uri", TEXT, ldap_uri, ""),
	FIELD("ldap", "tls", CHOICE, ldap_tls, "starttls"),
	FIELD("ldap", "ca_file", TEXT, ldap_ca_file, ""),
	FIELD("ldap", "bind_dn", TEXT, ldap_bind_dn, ""),
	FIELD("ldap", "bind_password_file", TEXT, ldap_bind_password_file, ""),
	FIELD("ldap", "user_base", TEXT, ldap_user_base, ""),
	FIELD("ldap", "user_filter", TEXT, ldap_user_filter, "(uid=%s)"),
	FIELD("ldap", "group_base", TEXT, ldap_group_base, ""),
	FIELD("ldap", "group_filter", TEXT, ldap_group_filter, "(member=%s)"),
	FIELD("ldap", "refresh", DURATION, ldap_refresh_ns, "15m"),
};

static int set(const struct setting *setting, const char *value, struct hive_settings *to,
	       struct skep_err *err)
{
	void *field = (char *)to + setting->offset;
	char what[64];

	snprintf(what, sizeof(what), "[%s] %s", setting->section, setting->name);
	switch (setting->kind) {
	case TEXT:
		if (strlen(value) >= setting->bytes)
			return skep_err_set(err, SKEP_E_USAGE, "%s: longer than %zu bytes", what, setting->bytes - 1);
		snprintf(field, setting->bytes, "%s", value);
		return 0;
	case FLAG:
		if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
			return skep_err_set(err, SKEP_E_USAGE, "%s: \"%s\" is neither yes nor no", what, value);
		*(bool *)field = value[0] == 'y';
		return 0;
	case SIZE:
		return skep_parse_size(what, value, field, err);
	case DURATION:
		return skep_parse_duration(what, value, field, err);
	case CHOICE:
		for (int i = 0; setting->choices[i]; i++)
			if (strcmp(setting->choices[i], value) == 0) {
				*(int *)field = i;
				return 0;
			}
		break;
	}
	return skep_err_set(err, SKEP_E_USAGE, "%s: \"%s\" is not one of starttls, ldaps, plain", what, value);
}

struct reading {
	struct hive_settings *to;
	struct skep_err err; /* the first; its line is what ini_parse() returns, and it goes on to the end */
	int r;
};

static int take(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *reading = arg;

	if (reading->r)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		if (strcmp(settings[i].section, section) != 0 || strcmp(settings[i].name, name) != 0)
			continue;
		reading->r = set(&settings[i], value, reading->to, &reading->err);
		return reading->r == 0;
	}
	reading->r = skep_err_set(&reading->err, SKEP_E_USAGE, "there is no setting \"%.64s\" in [%.64s]", name, section);
	(void)skep_err_hint(&reading->err, "docs/reference/hive-api.md lists the settings");
	return 0;
}

/* Readable by others is refused: it is a password. */
static int read_password(const char *path, char *ret, size_t room, struct skep_err *err)
{
	_skep_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return skep_err_set(err, -errno, "[ldap] bind_password_file: %s: %s", path, strerror(errno));
	n = read(fd, ret, room - 1);
	if (n <= 0)
		return skep_err_set(err, SKEP_E_USAGE, "[ldap] bind_password_file: %s is empty", path);
	ret[n] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
	return 0;
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static int finish(struct hive_settings *s, struct skep_err *err)
{
	int r = 0;

	if (s->tls && (!s->tls_cert[0] || !s->tls_key[0]))
		return skep_err_set(err, SKEP_E_USAGE, "[hive] tls: needs tls_cert and tls_key, the names of PEM files");
	if (!s->ldap_uri[0])
		return 0;
	if (s->ldap_bind_password_file[0])
		r = read_password(s->ldap_bind_password_file, s->ldap_bind_password,
				  sizeof(s->ldap_bind_password), err);
	if (r != 0)
		return r;
	s->ldap = (struct hive_ldap){
		.uri = s->ldap_uri,
		.tls = (enum hive_ldap_tls)s->ldap_tls,
		.ca_file = or_null(s->ldap_ca_file),
		.bind_dn = or_null(s->ldap_bind_dn),
		.bind_password = or_null(s->ldap_bind_password),
		.user_base = or_null(s->ldap_user_base),
		.user_filter = s->ldap_user_filter,
		.group_base = or_null(s->ldap_group_base),
		.group_filter = s->ldap_group_filter,
	};
	return hive_ldap_check(&s->ldap, err);
}

int hive_config_load(const char *path, bool must_exist, struct hive_settings *ret, struct skep_err *err)
{
	struct reading reading = { .to = ret };
	int r;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (set(&settings[i], settings[i].fallback, ret, err))
			return SKEP_E_USAGE;
	r = ini_parse(path, take, &reading);
	if (reading.r) {
		(void)skep_err_set(err, reading.r, "%s:%d: %.400s", path, r, reading.err.text);
		(void)skep_err_hint(err, "%s", reading.err.hint);
		return reading.r;
	}
	if (r == -1 && must_exist)
		return skep_err_set(err, -ENOENT, "%s: cannot be read: %s", path, strerror(errno));
	if (r > 0)
		return skep_err_set(err, SKEP_E_USAGE, "%s:%d: is neither [SECTION] nor NAME = VALUE", path, r);
	return finish(ret, err);
}
