/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of a directory over libldap. Each call makes one connection, asks, and closes it. A password
 * travels only inside TLS or on loopback, and an empty one is refused before anybody is asked: a bind with a
 * DN and no password is an anonymous bind, which succeeds (RFC 4513, 5.1.2). Names and DNs are escaped before
 * they go into a filter (RFC 4515). Follows no referrals: they would carry the password elsewhere. Never
 * stores, never logs. Any thread.
 */
#include "hive/auth/ldap.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>

#include <ldap.h>

#define TIMEOUT_S 5

struct session {
	LDAP *handle;
	const struct hive_ldap *ldap;
	struct timeval timeout;
};

static void session_closep(struct session *session)
{
	if (session->handle)
		ldap_unbind_ext_s(session->handle, NULL, NULL);
	session->handle = NULL;
}

static void message_freep(LDAPMessage **message)
{
	ldap_msgfree(*message);
}

static void values_freep(struct berval ***values)
{
	ldap_value_free_len(*values);
}

#define _session_ SKEP_CLEANUP(session_closep)
#define _message_ SKEP_CLEANUP(message_freep)
#define _values_ SKEP_CLEANUP(values_freep)

void hive_ldap_person_clear(struct hive_ldap_person *person)
{
	for (uint32_t i = 0; i < person->n_groups; i++)
		free(person->groups[i]);
	free(person->groups);
	free(person->dn);
	free(person->full_name);
	free(person->email);
	*person = (struct hive_ldap_person){ 0 };
}

/* ---- what is asked for ---- */

static bool one_place(const char *filter)
{
	const char *place = filter ? strchr(filter, '%') : NULL;

	return place && place[1] == 's' && !strchr(place + 1, '%') && filter[0] == '(';
}

static bool is_loopback(const char *uri)
{
	LDAPURLDesc *url = NULL;
	struct in_addr v4;
	bool loopback;

	if (ldap_url_parse(uri, &url) != LDAP_SUCCESS)
		return false;
	loopback = url->lud_host &&
		   (strcmp(url->lud_host, "::1") == 0 || strcmp(url->lud_host, "localhost") == 0 ||
		    (inet_pton(AF_INET, url->lud_host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127));
	ldap_free_urldesc(url);
	return loopback;
}

int hive_ldap_check(const struct hive_ldap *ldap, struct skep_err *err)
{
	bool secure = ldap->uri && strncasecmp(ldap->uri, "ldaps://", 8) == 0;

	if (!ldap->uri || !(secure || strncasecmp(ldap->uri, "ldap://", 7) == 0) || !ldap_is_ldap_url(ldap->uri))
		return skep_err_set(err, SKEP_E_USAGE, "ldap uri: \"%s\" is not ldap://HOST or ldaps://HOST",
				    ldap->uri ? ldap->uri : "");
	if (secure != (ldap->tls == HIVE_LDAP_LDAPS))
		return skep_err_set(err, SKEP_E_USAGE, "ldap tls: ldaps belongs to an ldaps:// address, and only to it");
	if (ldap->tls == HIVE_LDAP_PLAIN && !is_loopback(ldap->uri)) {
		skep_err_set(err, SKEP_E_UNSAFE, "ldap tls: passwords would go to %s in the clear", ldap->uri);
		skep_err_hint(err, "use starttls or ldaps");
		return SKEP_E_UNSAFE;
	}
	if (!ldap->user_base || !one_place(ldap->user_filter))
		return skep_err_set(err, SKEP_E_USAGE, "ldap user filter: \"%s\" must be in brackets and have one %%s for the name",
				    ldap->user_filter ? ldap->user_filter : "");
	if (ldap->group_base && !one_place(ldap->group_filter))
		return skep_err_set(err, SKEP_E_USAGE, "ldap group filter: \"%s\" must be in brackets and have one %%s for the DN",
				    ldap->group_filter ? ldap->group_filter : "");
	if (ldap->bind_dn && (!ldap->bind_password || !ldap->bind_password[0]))
		return skep_err_set(err, SKEP_E_USAGE, "ldap bind: the name %s has no password", ldap->bind_dn);
	return 0;
}

/* RFC 4515, 3: what has a meaning in a filter, and all that is not printable ASCII, as \XX. */
static char *fill(const char *filter, const char *value)
{
	const char *place = strchr(filter, '%');
	char *text = malloc(strlen(filter) + 3 * strlen(value) + 1), *at = text;

	if (!text)
		return NULL;
	memcpy(at, filter, (size_t)(place - filter));
	at += place - filter;
	for (; *value; value++) {
		if ((uint8_t)*value < 0x20 || (uint8_t)*value > 0x7e || strchr("*()\\", *value))
			at += snprintf(at, 4, "\\%02x", (uint8_t)*value);
		else
			*at++ = *value;
	}
	memcpy(at, place + 2, strlen(place + 2) + 1);
	return text;
}

static int normal_dn(const char *dn, char **ret)
{
	char *normal = NULL, *copy;

	if (ldap_dn_normalize(dn, LDAP_DN_FORMAT_LDAP, &normal, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS)
		return -EINVAL;
	copy = strdup(normal);
	ldap_memfree(normal);
	for (char *c = copy; c && *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c += 'a' - 'A';
	*ret = copy;
	return copy ? 0 : -ENOMEM;
}

bool hive_ldap_same_dn(const char *a, const char *b)
{
	_skep_free_ char *one = NULL, *two = NULL;

	return normal_dn(a, &one) == 0 && normal_dn(b, &two) == 0 && strcmp(one, two) == 0;
}

/* ---- connection ---- */

static int failed(struct session *session, int rc, const char *what, struct skep_err *err)
{
	char *more = NULL;
	int r = rc == LDAP_TIMEOUT				     ? -ETIMEDOUT
		: rc == LDAP_SERVER_DOWN || rc == LDAP_CONNECT_ERROR ? -ECONNREFUSED
								     : -EIO;

	ldap_get_option(session->handle, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
	skep_err_set(err, r, "%s: %s: %s%s%.300s", session->ldap->uri, what, ldap_err2string(rc), more && *more ? ": " : "",
		     more ? more : "");
	ldap_memfree(more);
	return r;
}

static int set_options(struct session *session)
{
	const int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, client = 0;
	int rc = ldap_set_option(session->handle, LDAP_OPT_PROTOCOL_VERSION, &version);

	rc = rc ? rc : ldap_set_option(session->handle, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	rc = rc ? rc : ldap_set_option(session->handle, LDAP_OPT_NETWORK_TIMEOUT, &session->timeout);
	rc = rc ? rc : ldap_set_option(session->handle, LDAP_OPT_TIMEOUT, &session->timeout);
	rc = rc ? rc : ldap_set_option(session->handle, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);
	if (session->ldap->ca_file)
		rc = rc ? rc
			: ldap_set_option(session->handle, LDAP_OPT_X_TLS_CACERTFILE, session->ldap->ca_file);
	return rc ? rc : ldap_set_option(session->handle, LDAP_OPT_X_TLS_NEWCTX, &client);
}

static int bind_as(struct session *session, const char *dn, const char *password)
{
	struct berval secret = { .bv_val = (char *)password, .bv_len = password ? strlen(password) : 0 };

	return ldap_sasl_bind_s(session->handle, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
}

/* Connects and binds; *ret_rc is the bind's result, for the caller to judge. */
static int session_open_as(const struct hive_ldap *ldap, const char *dn, const char *password,
			   struct session *ret, int *ret_rc, struct skep_err *err)
{
	_session_ struct session session = { .ldap = ldap };
	int rc;

	session.timeout.tv_sec = ldap->timeout_s ? ldap->timeout_s : TIMEOUT_S;
	rc = ldap_initialize(&session.handle, ldap->uri);
	if (rc != LDAP_SUCCESS)
		return skep_err_set(err, -EIO, "%s: %s", ldap->uri, ldap_err2string(rc));
	if (set_options(&session) != LDAP_SUCCESS)
		return skep_err_set(err, -EIO, "%s: TLS cannot be set up (CA file %s)", ldap->uri,
				    ldap->ca_file ? ldap->ca_file : "of the system");
	if (ldap->tls == HIVE_LDAP_STARTTLS) {
		rc = ldap_start_tls_s(session.handle, NULL, NULL);
		if (rc != LDAP_SUCCESS)
			return failed(&session, rc, "StartTLS", err);
	}
	*ret_rc = bind_as(&session, dn, password);
	*ret = session;
	session.handle = NULL;
	return 0;
}

static int session_open(const struct hive_ldap *ldap, struct session *ret, struct skep_err *err)
{
	int rc = 0, r = session_open_as(ldap, ldap->bind_dn, ldap->bind_password, ret, &rc, err);

	if (r < 0 || rc == LDAP_SUCCESS)
		return r;
	return failed(ret, rc, ldap->bind_dn ? "the search account cannot bind" : "no connection", err);
}

static int search(struct session *session, const char *base, const char *filter, const char *const *attrs,
		  LDAPMessage **ret, struct skep_err *err)
{
	int rc = ldap_search_ext_s(session->handle, base, LDAP_SCOPE_SUBTREE, filter, (char **)attrs, 0, NULL,
				   NULL, &session->timeout, HIVE_LDAP_GROUPS_MAX + 1, ret);

	if (rc == LDAP_NO_SUCH_OBJECT || rc == LDAP_SUCCESS)
		return 0;
	return failed(session, rc, "the search failed", err);
}

/* ---- people ---- */

static int first_value(LDAP *handle, LDAPMessage *entry, const char *attr, char **ret)
{
	_values_ struct berval **values = ldap_get_values_len(handle, entry, attr);

	if (!values || !values[0])
		return 0;
	*ret = strndup(values[0]->bv_val, values[0]->bv_len);
	return *ret ? 0 : -ENOMEM;
}

/*
 * SKEP_E_NOT_FOUND if there is none; two are refused as well, for one of them would get the other's rights.
 */
static int find_person(struct session *session, const char *name, struct hive_ldap_person *ret,
		       struct skep_err *err)
{
	const struct hive_ldap *ldap = session->ldap;
	const char *name_attr = ldap->name_attr ? ldap->name_attr : "cn", *mail_attr = ldap->mail_attr ? ldap->mail_attr : "mail";
	const char *attrs[] = { name_attr, mail_attr, NULL };
	_skep_free_ char *filter = fill(ldap->user_filter, name);
	_message_ LDAPMessage *message = NULL;
	LDAPMessage *entry;
	char *dn;
	int r = filter ? search(session, ldap->user_base, filter, attrs, &message, err) : -ENOMEM;

	if (r < 0)
		return r;
	entry = message ? ldap_first_entry(session->handle, message) : NULL;
	if (!entry)
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%s: nobody is called \"%s\"", ldap->uri, name);
	if (ldap_next_entry(session->handle, entry))
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%s: more than one entry matches %s", ldap->uri, filter);
	dn = ldap_get_dn(session->handle, entry);
	ret->dn = dn ? strdup(dn) : NULL;
	ldap_memfree(dn);
	r = ret->dn ? first_value(session->handle, entry, name_attr, &ret->full_name) : -ENOMEM;
	return r < 0 ? r : first_value(session->handle, entry, mail_attr, &ret->email);
}

/* Adds the groups that the DN is in, those that are not there yet. */
static int add_groups_of(struct session *session, const char *dn, struct hive_ldap_person *person,
			 struct skep_err *err)
{
	static const char *const no_attrs[] = { LDAP_NO_ATTRS, NULL };
	_skep_free_ char *filter = fill(session->ldap->group_filter, dn);
	_message_ LDAPMessage *message = NULL;
	int r = filter ? search(session, session->ldap->group_base, filter, no_attrs, &message, err)
		       : -ENOMEM;
	LDAPMessage *entry = r == 0 && message ? ldap_first_entry(session->handle, message) : NULL;

	for (; r == 0 && entry; entry = ldap_next_entry(session->handle, entry)) {
		char *raw = ldap_get_dn(session->handle, entry), *group = NULL;
		uint32_t i = 0;

		r = raw ? normal_dn(raw, &group) : -ENOMEM;
		ldap_memfree(raw);
		while (r == 0 && i < person->n_groups && strcmp(person->groups[i], group) != 0)
			i++;
		if (r == 0 && i == person->n_groups && i == HIVE_LDAP_GROUPS_MAX)
			r = skep_err_set(err, -E2BIG, "%s: %s is in more than %d groups", session->ldap->uri, person->dn,
					 HIVE_LDAP_GROUPS_MAX);
		else if (r == 0 && i == person->n_groups)
			person->groups[person->n_groups++] = TAKE_PTR(group);
		free(group);
	}
	return r;
}

/* Breadth first; a group that is already there is not asked again, so groups that contain each other end. */
static int read_groups(struct session *session, struct hive_ldap_person *person, struct skep_err *err)
{
	int r;

	if (!session->ldap->group_base)
		return 0;
	person->groups = calloc(HIVE_LDAP_GROUPS_MAX, sizeof(*person->groups));
	if (!person->groups)
		return -ENOMEM;
	r = add_groups_of(session, person->dn, person, err);
	for (uint32_t i = 0; r == 0 && i < person->n_groups; i++)
		r = add_groups_of(session, person->groups[i], person, err);
	return r;
}

static int no_entry(struct skep_err *err)
{
	return skep_err_set(err, SKEP_E_PRIVILEGE, "the name or the password is wrong");
}

/* As the person, on a connection of its own: the search account's goes on to read the groups. */
static int try_password(const struct hive_ldap *ldap, const char *dn, const char *password,
			struct skep_err *err)
{
	_session_ struct session session = { 0 };
	int rc = 0, r;

	assert(password[0]);
	r = session_open_as(ldap, dn, password, &session, &rc, err);
	if (r < 0 || rc == LDAP_SUCCESS)
		return r;
	if (rc == LDAP_INVALID_CREDENTIALS || rc == LDAP_NO_SUCH_OBJECT || rc == LDAP_INAPPROPRIATE_AUTH ||
	    rc == LDAP_INSUFFICIENT_ACCESS || rc == LDAP_UNWILLING_TO_PERFORM || rc == LDAP_INVALID_DN_SYNTAX)
		return no_entry(err);
	return failed(&session, rc, "the bind failed", err);
}

int hive_ldap_login(const struct hive_ldap *ldap, const char *name, const char *password,
		    struct hive_ldap_person *ret, struct skep_err *err)
{
	_hive_ldap_person_ struct hive_ldap_person person = { 0 };
	_session_ struct session session = { 0 };
	_skep_free_ char *nobody = NULL;
	int r = hive_ldap_check(ldap, err);

	if (r != 0)
		return r;
	if (!name[0] || !password[0])
		return no_entry(err);
	r = session_open(ldap, &session, err);
	if (r == 0)
		r = find_person(&session, name, &person, err);
	if (r == SKEP_E_NOT_FOUND) {
		/* as many questions for a name that is not there as for a wrong password */
		if (asprintf(&nobody, "cn=nobody of that name,%s", ldap->user_base) < 0)
			nobody = NULL;
		else
			(void)try_password(ldap, nobody, password, NULL);
		return no_entry(err);
	}
	if (r == 0)
		r = try_password(ldap, person.dn, password, err);
	if (r == 0)
		r = read_groups(&session, &person, err);
	if (r != 0)
		return r;
	*ret = person;
	person = (struct hive_ldap_person){ 0 };
	return 0;
}

int hive_ldap_read(const struct hive_ldap *ldap, const char *name, struct hive_ldap_person *ret,
		   struct skep_err *err)
{
	_hive_ldap_person_ struct hive_ldap_person person = { 0 };
	_session_ struct session session = { 0 };
	int r = hive_ldap_check(ldap, err);

	if (r == 0)
		r = session_open(ldap, &session, err);
	if (r == 0)
		r = find_person(&session, name, &person, err);
	if (r == 0)
		r = read_groups(&session, &person, err);
	if (r != 0)
		return r;
	*ret = person;
	person = (struct hive_ldap_person){ 0 };
	return 0;
}
