/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_DAEMON_H
#define CTL_DAEMON_H
/*
 * The daemon's life.
 */
#include "control/config.h"

/* Runs until SIGTERM or SIGINT. Returns 0, a skep_refusal or -errno. */
int ctl_daemon_run(const struct ctl_config *cfg, struct skep_err *err);
/* Makes the state, run and spool directories if they are not there. */
int ctl_daemon_make_dirs(const struct ctl_config *cfg, struct skep_err *err);

#endif
