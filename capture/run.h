/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_RUN_H
#define CAP_RUN_H
/*
 * One capture as the command line asks for it: options -> engine -> report.
 */
#include "capture/options.h"

/*
 * Captures (or, with CAP_COMMAND_CHECK, says what would be done and changes nothing). Returns the exit code:
 * 0 complete, 1 failed, 2 refused for what was asked, 3 finished but incomplete. err is filled for 1 and 2.
 */
int cap_run(const struct cap_options *opts, struct skep_err *err);

#endif
