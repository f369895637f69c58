/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_RECOVER_H
#define CAP_RECOVER_H
/*
 * `skep-capture recover DIR`: ends segments whose writer died.
 */
#include "common/err.h"

#include <stdio.h>

/*
 * Every NAME.part below the folder (not through symbolic links, at most four levels deep) that nobody holds
 * locked and that is ours becomes NAME, ended properly, with its sidecar. One line each goes to report. Can
 * be interrupted at any point and repeated. 0: nothing is left to be done; else the first thing that went
 * wrong (the others have been done all the same).
 */
SKEP_MUST_CHECK int cap_recover_dir(const char *path, FILE *report, struct skep_err *err);

#endif
