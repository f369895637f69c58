/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Start, once a second, stop. The main thread sits here: it takes the signals, samples the links and tells
 * systemd that it is alive; requests are served on the HTTP server's threads meanwhile. Engines are
 * processes of their own and are left alone when the daemon ends.
 */
#include "control/daemon.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/tls.h"
#include "control/http/handlers.h"
#include "common/sd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#define EVENTS_KEPT 4096
#define STOP_GRACE_MS 5000
#define TICK_MS 200
#define HTTP_WORKERS 4u

static int make_dir(const char *path, mode_t mode, struct skep_err *err)
{
	char part[512];

	if (strlen(path) >= sizeof(part))
		return skep_err_set(err, -ENAMETOOLONG, "%s: the path is too long", path);
	for (const char *slash = path + 1;; slash++) {
		if (*slash && *slash != '/')
			continue;
		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = '\0';
		if (mkdir(part, *slash ? 0755 : mode) < 0 && errno != EEXIST)
			return skep_err_set(err, -errno, "%s: cannot be made: %s", part, strerror(errno));
		if (!*slash)
			return 0;
	}
}

int ctl_daemon_make_dirs(const struct ctl_config *cfg, struct skep_err *err)
{
	int r = make_dir(cfg->state_dir, 0700, err);

	r = r ?: make_dir(cfg->run_dir, 0750, err);
	return r ?: make_dir(cfg->spool_dir, 0750, err);
}

/* One daemon per state directory; the lock goes with the process. */
static int lock_state(const struct ctl_config *cfg, int *ret_fd, struct skep_err *err)
{
	char path[320];
	_skep_close_ int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/lock", cfg->state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return skep_err_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return skep_err_set(err, SKEP_E_BUSY, "%s: another skep-control runs with this state",
				    cfg->state_dir);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_signals(struct skep_err *err)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return skep_err_set(err, -errno, "signals: %s", strerror(errno));
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? skep_err_set(err, -errno, "signals: %s", strerror(errno)) : fd;
}

static int start_http(struct ctl *ctl, struct skep_err *err)
{
	SKEP_CLEANUP(skep_tls_fini) struct skep_tls tls = SKEP_TLS_NULL;
	struct skep_http_cfg http = {
		.listen = ctl->cfg.listen,
		.routes = ctl_routes,
		.n_routes = ctl_routes_n,
		.authorize = ctl_http_authorize,
		.app = ctl,
		.max_connections = ctl->cfg.max_connections,
		.max_per_address = ctl->cfg.max_per_address,
		.workers = HTTP_WORKERS + ctl->cfg.extractions_max, /* each may wait for its first byte */
	};
	int r;

	if (ctl->cfg.tls) {
		r = skep_tls_load(ctl->cfg.tls_key, ctl->cfg.tls_cert, ctl->cfg.name, &tls, err);
		if (r)
			return r;
		http.key_pem = tls.key_pem;
		http.cert_pem = tls.cert_pem;
	}
	r = skep_http_start(&http, &ctl->http, err);
	if (r)
		return r;
	skep_log(SKEP_LOG_INFO, "listen=%s port=%u tls=%s", ctl->cfg.listen, skep_http_port(ctl->http),
		 ctl->cfg.tls ? "on" : "off");
	return 0;
}

/* The port for whoever starts us with port 0. */
static int write_port(const struct ctl *ctl, struct skep_err *err)
{
	char path[128], text[16];
	_skep_close_ int fd = -1;
	int n = snprintf(text, sizeof(text), "%u\n", skep_http_port(ctl->http));

	(void)snprintf(path, sizeof(path), "%s/port", ctl->cfg.run_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		return skep_err_set(err, -errno ?: -EIO, "%s: cannot be written: %s", path, strerror(errno));
	return 0;
}

static void serve(struct ctl *ctl, int signals)
{
	uint64_t watchdog_ns = skep_sd_watchdog_ns(), second_ns = 0;
	struct signalfd_siginfo info;

	skep_sd_notify("READY=1");
	for (;;) {
		uint64_t now = skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC);

		if (now - second_ns >= SKEP_NSEC_PER_SEC) {
			second_ns = now;
			ctl_links_sample(ctl->links);
			if (watchdog_ns)
				skep_sd_notify("WATCHDOG=1");
		}
		ctl_jobs_tick(ctl->jobs);
		ctl_jobs_wait(ctl->jobs, signals, TICK_MS);
		if (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info) && info.ssi_signo != SIGHUP)
			return;
	}
}

static void stop(struct ctl *ctl)
{
	skep_sd_notify("STOPPING=1");
	ctl->http = skep_http_stop(ctl->http, STOP_GRACE_MS);
	ctl->relays = ctl_relays_free(ctl->relays);
	ctl->jobs = ctl_jobs_close(ctl->jobs);
	ctl->events = skep_events_free(ctl->events);
	ctl->tokens = ctl_tokens_close(ctl->tokens);
	ctl->links = ctl_links_free(ctl->links);
}

int ctl_daemon_run(const struct ctl_config *cfg, struct skep_err *err)
{
	_skep_close_ int lock = -1, signals = -1;
	struct ctl ctl = { .cfg = *cfg };
	int r;

	if (sodium_init() < 0)
		return skep_err_set(err, -EIO, "libsodium does not start");
	r = ctl_daemon_make_dirs(cfg, err);
	r = r ?: lock_state(cfg, &lock, err);
	if (r)
		return r;
	signals = open_signals(err);
	if (signals < 0)
		return signals;
	ctl.started_utc_ns = skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME);
	ctl.events = skep_events_new(EVENTS_KEPT);
	ctl.tokens = ctl_tokens_open(cfg->state_dir);
	ctl.links = ctl_links_new(&ctl.cfg);
	ctl.relays = ctl_relays_new((const uint32_t[CTL_RELAY_KINDS]){
		[CTL_RELAY_PACKETS] = cfg->extractions_max,
		[CTL_RELAY_LIVE] = cfg->live_max,
	});
	if (!ctl.events || !ctl.tokens || !ctl.links || !ctl.relays)
		r = skep_err_set(err, -ENOMEM, "no memory to start");
	r = r ?: ctl_jobs_open(&ctl.cfg, ctl.events, &ctl.jobs, err);
	r = r ?: start_http(&ctl, err);
	r = r ?: write_port(&ctl, err);
	if (r == 0)
		serve(&ctl, signals);
	stop(&ctl);
	return r;
}
