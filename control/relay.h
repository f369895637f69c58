/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_RELAY_H
#define CTL_RELAY_H
/*
 * Streams to clients that take longer than a request may: each has a thread that writes into a pipe, whose
 * other end the HTTP server sends. So many of each kind at once, and no more.
 */
#include "common/err.h"

#include <stdbool.h>

enum ctl_relay_kind { CTL_RELAY_PACKETS, CTL_RELAY_LIVE, CTL_RELAY_KINDS };

struct ctl_relays; /* all of a daemon */
struct ctl_relay;

struct ctl_relays *ctl_relays_new(const uint32_t max[CTL_RELAY_KINDS]); /* NULL: no memory */
/* Waits for the threads; their clients must be gone. Returns NULL, takes NULL. */
struct ctl_relays *ctl_relays_free(struct ctl_relays *relays);
uint32_t ctl_relays_count(struct ctl_relays *relays, enum ctl_relay_kind kind);

struct ctl_relay_work {
	enum ctl_relay_kind kind;
	/*
	 * On the relay's thread; owns arg, also when it could not be started (then relay is NULL). 0: all
	 * of it was written; else err says why not.
	 */
	int (*run)(struct ctl_relay *relay, void *arg, struct skep_err *err);
	void *arg;
};

/* SKEP_E_BUSY: as many of this kind as may be. *ret_fd, for the HTTP server, and *ret are the caller's. */
int ctl_relay_start(struct ctl_relays *relays, const struct ctl_relay_work *work, struct ctl_relay **ret,
		    int *ret_fd, struct skep_err *err);
/* Gives *ret back; fits skep_http_stream.closed. */
void ctl_relay_release(void *relay);
/* Has run() written everything? Fits skep_http_stream.whole. */
bool ctl_relay_whole(void *relay);

enum ctl_relay_news { CTL_RELAY_NOTHING, CTL_RELAY_BYTES, CTL_RELAY_ENDED };
/* Waits for the first bytes, or for the end without any; then *ret_err is what run() said. */
enum ctl_relay_news ctl_relay_wait(struct ctl_relay *relay, uint32_t wait_ms, struct skep_err *ret_err);

/* For run(). All of it, or -EPIPE: nobody reads any more, -ETIME: not within wait_ms (0: for ever); what was
 * written of it then is in *ret_written (may be NULL). */
int ctl_relay_write(struct ctl_relay *relay, const void *bytes, size_t n, uint32_t wait_ms,
		    size_t *ret_written);
/* Sleeps until fd (-1: none) can be read or wait_ms have passed. 1, 0, -EPIPE. */
int ctl_relay_poll(struct ctl_relay *relay, int fd, int wait_ms);

#endif
