/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_DOCTOR_H
#define CTL_DOCTOR_H
/*
 * skep-control doctor: is this machine fit to be a probe?
 */
#include "control/config.h"

#include <stdio.h>

/*
 * One line a check: ok, warn or fail, what, and what to do. 0: nothing failed; SKEP_E_UNSUPPORTED: something
 * did, and was said; or why it could not look.
 */
int ctl_doctor(const struct ctl_config *cfg, FILE *out, struct skep_err *err);

#endif
