/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-hive: serves the API; and, as commands, what an administrator does on the machine itself: a one-time
 * link for the first administrator, backup and restore, the audit log's proof. The main thread waits for
 * signals and cleans up now and then; HTTP and dispatch have their own threads. Runs nothing but
 * skep-capture, in a cage (hive/export).
 */
#include "common/log.h"
#include "common/opts.h"
#include "common/sd.h"
#include "hive/config.h"
#include "hive/db/schema.h"
#include "hive/http/call.h"
#include "hive/svc/audit.h"
#include "hive/svc/chores.h"
#include "hive/svc/directory.h"
#include "hive/svc/dispatch.h"
#include "hive/svc/hooks.h"
#include "hive/svc/login.h"
#include "hive/svc/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define PROGRAM "skep-hive"
#define CONFIG "/etc/skep/hive.conf"
#define CLEAN_NS (600 * SKEP_NSEC_PER_SEC)
#define PEM_MAX 65536

struct options {
	const char *config;
	bool check, verbose;
};

static const struct skep_opt table[] = {
	{ .name = "config", .letter = 'c', .type = SKEP_OPT_STRING, .arg = "FILE", .offset = offsetof(struct options, config),
	  .help = "settings", .fallback = CONFIG },
	{ .name = "check-config", .type = SKEP_OPT_FLAG, .offset = offsetof(struct options, check),
	  .help = "read the settings, say what is wrong with them, and end" },
	{ .name = "verbose", .letter = 'v', .type = SKEP_OPT_FLAG, .offset = offsetof(struct options, verbose),
	  .help = "log every request" },
	{ .name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "show this text" },
	{ .name = "version", .letter = 'V', .type = SKEP_OPT_VERSION, .help = "show the version" },
};

static const char *const usage[] = { "[OPTION…] [serve]", "[OPTION…] admin-link", "[OPTION…] audit verify",
				     "[OPTION…] backup FILE", "[OPTION…] restore FILE", NULL };

static const struct skep_opts opts = {
	.program = PROGRAM,
	.usage = usage,
	.about = "The hive: accounts, jobs over many probes, datasets, behind one API.",
	.table = table,
	.n = ARRAY_LEN(table),
	.epilogue = "admin-link prints a secret with which somebody can become administrator, once, within a day.\n"
		    "audit verify proves that no entry of the audit log was altered.\n"
		    "backup copies the database while the hive runs; restore puts it back while it does not.",
};

/* ---- what the commands share ---- */

static int join(char *ret, size_t room, const char *folder, const char *name, struct skep_err *err)
{
	int n = snprintf(ret, room, "%s/%s", folder, name);

	return n > 0 && (size_t)n < room ? 0 : skep_err_set(err, -ENAMETOOLONG, "%s: too long a name", folder);
}

/* One program at a time has the state folder; *ret_fd holds it until it is closed. */
static int take_folder(const struct hive_settings *s, int *ret_fd, struct skep_err *err)
{
	char path[300];
	int fd, r;

	if (mkdir(s->state_dir, 0700) < 0 && errno != EEXIST)
		return skep_err_set(err, -errno, "%s: cannot be made: %s", s->state_dir, strerror(errno));
	r = join(path, sizeof(path), s->state_dir, "lock", err);
	if (r != 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return skep_err_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		(void)skep_err_set(err, SKEP_E_BUSY, "%s: a hive runs with this folder", s->state_dir);
		(void)skep_err_hint(err, "stop it first: systemctl stop skep-hive");
		return SKEP_E_BUSY;
	}
	*ret_fd = fd;
	return 0;
}

/* Where skep-capture is: as set, or beside this program; "": nowhere. */
static void find_programs(const struct hive_settings *s, char ret[static 300])
{
	ssize_t n;

	snprintf(ret, 300, "%s", s->program_dir);
	if (ret[0])
		return;
	n = readlink("/proc/self/exe", ret, 299);
	ret[n > 0 ? n : 0] = '\0';
	if (n > 0 && strrchr(ret, '/'))
		*strrchr(ret, '/') = '\0';
}

static int open_hive(const struct hive_settings *s, struct hive **ret, struct skep_err *err)
{
	char path[300], store[300], programs[300];
	struct hive_config cfg = { .db_path = path,
				   .store_path = store,
				   .store_reserve_bytes = s->store_reserve_bytes,
				   .ldap = s->ldap.uri ? &s->ldap : NULL,
				   .missing_after_ns = s->missing_after_ns,
				   .lost_after_ns = s->lost_after_ns,
				   .patience_ns = s->patience_ns,
				   .session_idle_ns = s->session_idle_ns,
				   .session_max_ns = s->session_max_ns,
				   .webhooks_anywhere = s->webhooks_anywhere,
				   .webhooks_retry_ns = s->webhooks_retry_ns };
	int r = join(path, sizeof(path), s->state_dir, "hive.db", err);

	if (r == 0)
		r = join(store, sizeof(store), s->state_dir, "datasets", err);
	find_programs(s, programs);
	cfg.programs = programs[0] ? programs : NULL;
	if (s->store_dir[0])
		snprintf(store, sizeof(store), "%s", s->store_dir);
	return r != 0 ? r : hive_open(&cfg, &skep_clock_system, ret, err);
}

/* Only the database, without taking up jobs: while a hive runs with it. */
static int open_db(const struct hive_settings *s, struct hive_db **ret, struct skep_err *err)
{
	char path[300];
	int r = join(path, sizeof(path), s->state_dir, "hive.db", err);

	if (r == 0 && access(path, F_OK) < 0)
		r = skep_err_set(err, -errno, "%s: there is no hive here", path);
	return r != 0 ? r : hive_db_open(path, 1, ret, err);
}

/* ---- serve ---- */

static int read_pem(const char *path, char **ret, struct skep_err *err)
{
	_skep_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = malloc(PEM_MAX);
	ssize_t n = fd < 0 || !text ? -1 : read(fd, text, PEM_MAX - 1);

	if (n <= 0) {
		free(text);
		return skep_err_set(err, -EIO, "%s: cannot be read", path);
	}
	text[n] = '\0';
	*ret = text;
	return 0;
}

static int print_first_link(struct hive *hive, const char *address, bool anyway, struct skep_err *err)
{
	char secret[HIVE_SECRET_TEXT];
	int r = hive_first_secret(hive, anyway, secret);

	if (r == SKEP_E_BUSY)
		return 0; /* there is an administrator */
	if (r != 0)
		return skep_err_set(err, r, "the one-time link cannot be stored: %s", strerror(-r));
	/* In the fragment, which no browser sends and no server logs. */
	printf("first administrator, once, within a day: %s/#claim=%s\n", address, secret);
	fflush(stdout);
	hive_secret_wipe(secret, sizeof(secret));
	return 0;
}

static void address_of(const struct hive_settings *s, uint16_t port, char ret[static 320])
{
	const char *colon = strrchr(s->listen, ':');

	if (s->address[0])
		snprintf(ret, 320, "%s", s->address);
	else
		snprintf(ret, 320, "%s://%.*s:%u", s->tls ? "https" : "http", (int)(colon ? colon - s->listen : 0), s->listen, port);
}

struct serving {
	struct hive *hive;
	struct hive_http *app;
	struct hive_dispatch *dispatch;
	struct hive_hooks *hooks;
	struct hive_chores *chores;
};

static void run_until_told(const struct serving *serving, const struct hive_settings *s,
			   const sigset_t *signals)
{
	const struct timespec turn = { .tv_nsec = (long)(SKEP_NSEC_PER_SEC / 2) };
	uint64_t cleaned_ns = 0, refreshed_ns = 0, watchdog_ns = skep_sd_watchdog_ns(), told_ns = 0;
	struct hive *hive = serving->hive;

	skep_sd_notify("READY=1");
	while (sigtimedwait(signals, NULL, &turn) < 0) {
		uint64_t now = skep_clock_now_ns(hive->clock, CLOCK_MONOTONIC);

		/* who only listens, while no job goes on, is not alive */
		if (watchdog_ns && now - told_ns >= watchdog_ns / 4 &&
		    hive_dispatch_alive(serving->dispatch, watchdog_ns / 2)) {
			skep_sd_notify("WATCHDOG=1");
			told_ns = now;
		}
		if (now - cleaned_ns > CLEAN_NS) {
			(void)hive_sessions_clean(hive);
			cleaned_ns = now;
		}
		if (s->ldap.uri && now - refreshed_ns > s->ldap_refresh_ns) {
			(void)hive_directory_refresh(hive);
			refreshed_ns = now;
		}
	}
	skep_sd_notify("STOPPING=1");
}

static void stop(struct serving *serving)
{
	serving->app = hive_http_stop(serving->app);
	serving->chores = hive_chores_stop(serving->chores);
	serving->dispatch = hive_dispatch_stop(serving->dispatch);
	serving->hooks = hive_hooks_stop(serving->hooks);
	serving->hive = hive_close(serving->hive);
}

static int serve(const struct hive_settings *s, struct skep_err *err)
{
	_skep_close_ int lock = -1;
	_skep_free_ char *cert = NULL, *key = NULL;
	struct hive_http_config http = { .listen = s->listen };
	struct serving serving = { 0 };
	char address[320];
	sigset_t signals;
	int r;

	/* before any thread is there, so that all have it */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	hive_logs_keep();
	r = take_folder(s, &lock, err);
	if (r == 0 && s->tls)
		r = read_pem(s->tls_cert, &cert, err);
	if (r == 0 && s->tls)
		r = read_pem(s->tls_key, &key, err);
	http.cert_pem = cert;
	http.key_pem = key;
	if (r == 0)
		r = open_hive(s, &serving.hive, err);
	if (r == 0)
		r = hive_dispatch_start(serving.hive, &serving.dispatch, err);
	if (r == 0)
		r = hive_hooks_start(serving.hive, &serving.hooks, err);
	if (r == 0)
		r = hive_chores_start(serving.hive, &serving.chores, err);
	if (r == 0)
		r = hive_http_start(serving.hive, &http, &serving.app, err);
	if (r == 0) {
		address_of(s, hive_http_port(serving.app), address);
		printf("listening on %s\n", address);
		r = print_first_link(serving.hive, address, false, err);
		fflush(stdout);
	}
	if (r == 0)
		run_until_told(&serving, s, &signals);
	stop(&serving);
	return r;
}

/* ---- commands ---- */

static int admin_link(const struct hive_settings *s, struct skep_err *err)
{
	struct hive *hive = NULL;
	char address[320];
	int r;

	/* A second program beside a running hive; it writes one setting and touches no job. */
	r = open_hive(s, &hive, err);
	if (r != 0)
		return r;
	address_of(s, 0, address);
	r = print_first_link(hive, address, true, err);
	hive_close(hive);
	return r;
}

static int audit_verify(const struct hive_settings *s, struct skep_err *err)
{
	struct hive_db *db = NULL;
	char head[HIVE_DIGEST_TEXT];
	int64_t n = 0, row = 0;
	int r = open_db(s, &db, err);

	if (r == 0)
		r = hive_audit_verify(db, &n, &row, head, err);
	if (r == 0)
		printf("%" PRId64 " entries, none was altered; head %s\n", n, n ? head : "-");
	hive_db_close(db);
	return r;
}

static int backup(const struct hive_settings *s, const char *to, struct skep_err *err)
{
	struct hive_db *db = NULL, *copy = NULL;
	int r = open_db(s, &db, err);

	if (r == 0)
		r = hive_db_copy(db, to, err);
	if (r == 0)
		r = hive_db_open(to, 1, &copy, err);
	if (r == 0)
		r = hive_db_check(copy, err);
	if (r == 0)
		printf("%s: written and checked\n", to);
	hive_db_close(copy);
	hive_db_close(db);
	return r;
}

/* The copy is checked before anything is touched; what was there is kept beside it. */
static int restore(const struct hive_settings *s, const char *from, struct skep_err *err)
{
	_skep_close_ int lock = -1;
	struct hive_db *copy = NULL;
	char path[300], part[320], old[340];
	int64_t version = 0;
	int r = take_folder(s, &lock, err);

	if (r == 0)
		r = join(path, sizeof(path), s->state_dir, "hive.db", err);
	if (r == 0 && access(from, R_OK) < 0)
		r = skep_err_set(err, -errno, "%s: cannot be read: %s", from, strerror(errno));
	if (r == 0)
		r = hive_db_open(from, 1, &copy, err);
	if (r == 0)
		r = hive_db_check(copy, err);
	if (r == 0)
		r = hive_schema_version(copy, &version);
	if (r == 0 && (version < 1 || version > hive_schema_newest()))
		r = skep_err_set(err, SKEP_E_BAD_DATA, "%s: is no database of this hive (version %" PRId64 ")", from, version);
	snprintf(part, sizeof(part), "%s.part", path);
	snprintf(old, sizeof(old), "%s.replaced", path);
	unlink(part);
	if (r == 0)
		r = hive_db_copy(copy, part, err);
	hive_db_close(copy);
	if (r != 0)
		return r;
	r = hive_db_replace(path, part, old, err);
	if (r == 0)
		printf("%s: restored from %s; what was there is %s\n", path, from, old);
	return r;
}

static int run(const struct options *options, const struct skep_opts_words *words, struct skep_err *err)
{
	const char *command = words->n ? words->words[0] : "serve", *word = words->n > 1 ? words->words[1] : NULL;
	struct hive_settings *s = calloc(1, sizeof(*s));
	int r = s ? hive_config_load(options->config ? options->config : CONFIG, options->config != NULL, s,
				     err)
		  : -ENOMEM;

	if (r != 0 || options->check)
		;
	else if (strcmp(command, "serve") == 0 && !word)
		r = serve(s, err);
	else if (strcmp(command, "admin-link") == 0 && !word)
		r = admin_link(s, err);
	else if (strcmp(command, "audit") == 0 && word && strcmp(word, "verify") == 0 && words->n == 2)
		r = audit_verify(s, err);
	else if (strcmp(command, "backup") == 0 && words->n == 2)
		r = backup(s, word, err);
	else if (strcmp(command, "restore") == 0 && words->n == 2)
		r = restore(s, word, err);
	else
		r = skep_err_set(err, SKEP_E_USAGE, "\"%s\" is no command, or has the wrong number of words; see --help", command);
	free(s);
	return r;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	struct skep_opts_words words = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	int r = skep_opts_parse(&opts, argc, argv, &options, &words, &err);

	if (r == 0 && words.help) {
		skep_opts_help(&opts, stdout);
		return 0;
	}
	if (r == 0 && words.version) {
		printf(PROGRAM " " SKEP_VERSION "\n");
		return 0;
	}
	if (options.verbose)
		skep_log_set_level(SKEP_LOG_DEBUG);
	if (r == 0)
		r = run(&options, &words, &err);
	if (r != 0)
		skep_err_print(stderr, PROGRAM, &err);
	return skep_err_exit_code(r);
}
