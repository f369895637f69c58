/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H
/*
 * What skep-control does besides being the daemon. words are those after the command.
 */
#include "control/config.h"

int ctl_command_token(const struct ctl_config *cfg, int n, char **words, struct skep_err *err);
int ctl_command_enrol(const struct ctl_config *cfg, int n, char **words, struct skep_err *err);

#endif
