/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, against a real slapd on loopback (unprivileged, in a folder of its own, ended and removed
 * afterwards): who logs in by StartTLS and LDAPS, who does not (wrong, empty, unknown, injected, ambiguous),
 * that groups in groups are found also when they contain each other, that a certificate by another authority
 * is refused, and that a person who leaves a group or the directory is seen to.
 */
#include "tests/unit/unit.h"

#include "hive/auth/ldap.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct rig {
	char folder[64];
	char uri[64], ldaps[64], ca[96], other_ca[96];
	pid_t pid;
};

static struct rig rig;

static const char conf[] =
	"include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n"
	"include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n"
	"pidfile %1$s/pid\nTLSCACertificateFile %1$s/ca.pem\nTLSCertificateFile %1$s/server.pem\n"
	"TLSCertificateKeyFile %1$s/server.key\n"
	"security simple_bind=128\n" /* a password in the clear is refused by the server too */
	"access to attrs=userPassword by anonymous auth by * none\naccess to * by users read by anonymous auth\n"
	"database mdb\nsuffix dc=example,dc=org\nrootdn cn=root,dc=example,dc=org\nrootpw rootsecret\ndirectory %1$s/data\n";

static const char ldif[] =
	"dn: dc=example,dc=org\nobjectClass: domain\ndc: example\n\n"
	"dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n"
	"dn: ou=groups,dc=example,dc=org\nobjectClass: organizationalUnit\nou: groups\n\n"
	"dn: cn=searcher,dc=example,dc=org\nobjectClass: person\ncn: searcher\nsn: s\nuserPassword: searchsecret\n\n"
	"dn: uid=ada,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: ada\ncn: Ada Lovelace\nsn: Lovelace\n"
	"mail: ada@example.org\nuserPassword: engine no 1\n\n"
	"dn: cn=Byron\\, Lord (*),ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: byron\nsn: Byron\n"
	"cn: Byron, Lord (*)\nuserPassword: don juan 1819\n\n"
	"dn: uid=twin1,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: twin1\nuid: twin\ncn: T\nsn: T\nuserPassword: twinsecret\n\n"
	"dn: uid=twin2,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: twin2\nuid: twin\ncn: T\nsn: T\nuserPassword: twinsecret\n\n"
	"dn: cn=research,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: research\n"
	"member: uid=ada,ou=people,dc=example,dc=org\nmember: cn=Byron\\, Lord (*),ou=people,dc=example,dc=org\n\n"
	"dn: cn=science,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: science\n"
	"member: cn=research,ou=groups,dc=example,dc=org\nmember: cn=everybody,ou=groups,dc=example,dc=org\n\n"
	"dn: cn=everybody,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: everybody\n"
	"member: cn=science,ou=groups,dc=example,dc=org\n\n"
	"dn: cn=admins,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: admins\nmember: cn=root,dc=example,dc=org\n";

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static int run(char *const argv[])
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		FILE *log = freopen("log", "a", stdout);

		if (!log || !freopen("log", "a", stderr) || setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1))
			_exit(126);
		execvp(argv[0], argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define RUN(...) run((char *const[]){ __VA_ARGS__, NULL })

static void write_file(const char *name, const char *fmt, const char *word)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	fprintf(file, fmt, word);
#pragma GCC diagnostic pop
	fclose(file);
}

static int free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0), port = -1;

	if (bind(fd, (struct sockaddr *)&address, len) == 0 &&
	    getsockname(fd, (struct sockaddr *)&address, &len) == 0)
		port = ntohs(address.sin_port);
	close(fd);
	return port;
}

static bool listens(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				       .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool up = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	close(fd);
	return up;
}

static int make_keys(void)
{
	write_file("ext", "subjectAltName=IP:127.0.0.1%s\n", "");
	return RUN("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
		   "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem") ||
	       RUN("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
		   "/CN=another authority", "-keyout", "other.key", "-out", "other.pem") ||
	       RUN("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=127.0.0.1",
		   "-keyout", "server.key", "-out", "server.csr") ||
	       RUN("openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
		   "-extfile", "ext", "-out", "server.pem");
}

static int start(void **state)
{
	char listen_on[160];
	int port = free_port(), port_s = free_port();

	(void)state;
	if (access("/usr/sbin/slapd", X_OK) < 0)
		return 0; /* each case skips */
	snprintf(rig.folder, sizeof(rig.folder), "/tmp/skep-hive-ldap-XXXXXX");
	if (!mkdtemp(rig.folder) || chdir(rig.folder) < 0 || mkdir("data", 0700) < 0 || make_keys())
		return -1;
	snprintf(rig.uri, sizeof(rig.uri), "ldap://127.0.0.1:%d", port);
	snprintf(rig.ldaps, sizeof(rig.ldaps), "ldaps://127.0.0.1:%d", port_s);
	snprintf(rig.ca, sizeof(rig.ca), "%s/ca.pem", rig.folder);
	snprintf(rig.other_ca, sizeof(rig.other_ca), "%s/other.pem", rig.folder);
	write_file("slapd.conf", conf, rig.folder);
	write_file("all.ldif", "%s", ldif);
	if (RUN("slapadd", "-q", "-f", "slapd.conf", "-l", "all.ldif"))
		return -1;
	snprintf(listen_on, sizeof(listen_on), "%s %s", rig.uri, rig.ldaps);
	rig.pid = fork();
	if (rig.pid == 0) {
		if (!freopen("log", "a", stderr))
			_exit(126);
		execl("/usr/sbin/slapd", "slapd", "-f", "slapd.conf", "-h", listen_on, "-d", "0", NULL);
		_exit(127);
	}
	for (int i = 0; i < 200 && !(listens(port) && listens(port_s)); i++)
		usleep(25000);
	return listens(port) ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	if (rig.pid > 0) {
		kill(rig.pid, SIGTERM);
		waitpid(rig.pid, NULL, 0);
	}
	if (chdir("/") == 0 && rig.folder[0])
		nftw(rig.folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static struct hive_ldap settings(void)
{
	if (!rig.pid) {
		print_message("# slapd is not installed\n");
		skip();
	}
	return (struct hive_ldap){
		.uri = rig.uri,
		.tls = HIVE_LDAP_STARTTLS,
		.ca_file = rig.ca,
		.bind_dn = "cn=searcher,dc=example,dc=org",
		.bind_password = "searchsecret",
		.user_base = "ou=people,dc=example,dc=org",
		.user_filter = "(uid=%s)",
		.group_base = "ou=groups,dc=example,dc=org",
		.group_filter = "(member=%s)",
	};
}

static bool in_group(const struct hive_ldap_person *person, const char *dn)
{
	for (uint32_t i = 0; i < person->n_groups; i++)
		if (hive_ldap_same_dn(person->groups[i], dn))
			return true;
	return false;
}

static void right_password_logs_in_with_all_groups(void **state)
{
	struct hive_ldap ldap = settings();

	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		_hive_ldap_person_ struct hive_ldap_person person = { 0 };
		struct skep_err err = SKEP_ERR_NULL;

		if (tls) {
			ldap.tls = HIVE_LDAP_LDAPS;
			ldap.uri = rig.ldaps;
		}
		if (hive_ldap_login(&ldap, "ada", "engine no 1", &person, &err))
			fail_msg("%s", err.text);
		assert_string_equal(person.full_name, "Ada Lovelace");
		assert_string_equal(person.email, "ada@example.org");
		/* research directly; science by research; everybody and science contain each other */
		assert_int_equal(person.n_groups, 3);
		assert_true(in_group(&person, "CN=research, OU=Groups, DC=example, DC=org"));
		assert_true(in_group(&person, "cn=science,ou=groups,dc=example,dc=org"));
		assert_true(in_group(&person, "cn=everybody,ou=groups,dc=example,dc=org"));
		assert_false(in_group(&person, "cn=admins,ou=groups,dc=example,dc=org"));
	}
}

static void odd_names_in_a_dn_are_escaped(void **state)
{
	_hive_ldap_person_ struct hive_ldap_person person = { 0 };
	struct hive_ldap ldap = settings();
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	if (hive_ldap_login(&ldap, "byron", "don juan 1819", &person, &err))
		fail_msg("%s", err.text);
	assert_null(person.email);
	assert_true(in_group(&person, "cn=research,ou=groups,dc=example,dc=org"));
}

static void others_do_not_log_in(void **state)
{
	static const char *const tries[][2] = {
		{ "ada", "engine no 2" }, { "ada", "" },	{ "", "engine no 1" },
		{ "eve", "engine no 1" }, { "*", "engine no 1" }, { "ada)(uid=*", "engine no 1" },
		{ "a*a", "engine no 1" }, { "twin", "twinsecret" }, { "ada\\", "engine no 1" },
		{ "\xff\xfe", "engine no 1" },
	};
	struct hive_ldap ldap = settings();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		struct hive_ldap_person person = { 0 };
		struct skep_err err = SKEP_ERR_NULL;
		int r = hive_ldap_login(&ldap, tries[i][0], tries[i][1], &person, &err);

		if (r != SKEP_E_PRIVILEGE)
			fail_msg("\"%s\" with \"%s\": %d %s", tries[i][0], tries[i][1], r, err.text);
		assert_string_equal(err.text, "the name or the password is wrong");
		assert_null(person.dn);
	}
}

static void a_strange_certificate_is_refused(void **state)
{
	struct hive_ldap ldap = settings();

	(void)state;
	ldap.ca_file = rig.other_ca;
	for (int tls = 0; tls < 2; tls++) {
		struct hive_ldap_person person = { 0 };
		struct skep_err err = SKEP_ERR_NULL;

		if (tls) {
			ldap.tls = HIVE_LDAP_LDAPS;
			ldap.uri = rig.ldaps;
		}
		assert_true(hive_ldap_login(&ldap, "ada", "engine no 1", &person, &err) < 0);
		assert_null(person.dn);
	}
}

static void settings_that_leak_are_refused(void **state)
{
	struct hive_ldap ldap = settings(), bad;
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	assert_int_equal(hive_ldap_check(&ldap, &err), 0);
	bad = ldap;
	bad.tls = HIVE_LDAP_PLAIN;
	assert_int_equal(hive_ldap_check(&bad, &err), 0);
	bad.uri = "ldap://192.0.2.1";
	assert_int_equal(hive_ldap_check(&bad, &err), SKEP_E_UNSAFE);
	bad.uri = "ldap://127.evil.example";
	assert_int_equal(hive_ldap_check(&bad, &err), SKEP_E_UNSAFE);
	bad = ldap;
	bad.uri = "http://127.0.0.1";
	assert_int_equal(hive_ldap_check(&bad, &err), SKEP_E_USAGE);
	bad = ldap;
	bad.user_filter = "(uid=%d)";
	assert_int_equal(hive_ldap_check(&bad, &err), SKEP_E_USAGE);
	bad.user_filter = "(|(uid=%s)(mail=%s))";
	assert_int_equal(hive_ldap_check(&bad, &err), SKEP_E_USAGE);
	bad = ldap;
	bad.bind_password = "";
	assert_int_equal(hive_ldap_check(&bad, &err), SKEP_E_USAGE);
}

static void the_search_account_must_bind(void **state)
{
	struct hive_ldap ldap = settings();
	struct hive_ldap_person person = { 0 };
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	ldap.bind_password = "wrong";
	assert_true(hive_ldap_login(&ldap, "ada", "engine no 1", &person, &err) < 0);
	assert_non_null(strstr(err.text, "search account"));
	assert_null(strstr(err.text, "wrong"));
}

static void modify(const char *text)
{
	write_file("change.ldif", "%s", text);
	if (setenv("LDAPTLS_CACERT", rig.ca, 1) || RUN("ldapmodify", "-ZZ", "-x", "-H", rig.uri, "-D", "cn=root,dc=example,dc=org", "-w",
						      "rootsecret", "-f", "change.ldif"))
		fail_msg("ldapmodify failed, see %s/log", rig.folder);
}

static void who_leaves_is_seen_to_have_left(void **state)
{
	_hive_ldap_person_ struct hive_ldap_person before = { 0 }, after = { 0 }, gone = { 0 };
	struct hive_ldap ldap = settings();
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	if (access("/usr/bin/ldapmodify", X_OK) < 0) {
		print_message("# ldap-utils is not installed\n");
		skip();
	}
	assert_int_equal(hive_ldap_read(&ldap, "ada", &before, &err), 0);
	assert_int_equal(before.n_groups, 3);
	modify("dn: cn=research,ou=groups,dc=example,dc=org\nchangetype: modify\ndelete: member\n"
	       "member: uid=ada,ou=people,dc=example,dc=org\n");
	assert_int_equal(hive_ldap_read(&ldap, "ada", &after, &err), 0);
	assert_int_equal(after.n_groups, 0);
	modify("dn: uid=ada,ou=people,dc=example,dc=org\nchangetype: delete\n");
	assert_int_equal(hive_ldap_read(&ldap, "ada", &gone, &err), SKEP_E_NOT_FOUND);
}

static void a_silent_directory_is_given_up(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct hive_ldap ldap = settings();
	struct hive_ldap_person person = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	socklen_t len = sizeof(address);
	char uri[64];
	uint64_t start_ns = skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	snprintf(uri, sizeof(uri), "ldap://127.0.0.1:%d", ntohs(address.sin_port));
	ldap.uri = uri;
	ldap.timeout_s = 1;
	assert_true(hive_ldap_login(&ldap, "ada", "engine no 1", &person, &err) < 0);
	close(fd);
	assert_true(skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC) - start_ns <
		    10 * SKEP_NSEC_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_password_logs_in_with_all_groups),
		cmocka_unit_test(odd_names_in_a_dn_are_escaped),
		cmocka_unit_test(others_do_not_log_in),
		cmocka_unit_test(a_strange_certificate_is_refused),
		cmocka_unit_test(settings_that_leak_are_refused),
		cmocka_unit_test(the_search_account_must_bind),
		cmocka_unit_test(a_silent_directory_is_given_up),
		cmocka_unit_test(who_leaves_is_seen_to_have_left), /* last: it changes the directory */
	};

	return cmocka_run_group_tests(tests, start, stop);
}
