/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_JOURNAL_H
#define CTL_JOURNAL_H
/*
 * What must survive: records appended to one file, each synced before it counts.
 */
#include "common/err.h"

#include <jansson.h>
#include <stdbool.h>

struct ctl_journal;

/*
 * Reads DIR/journal and calls on_record for each, in order (the record is borrowed). A torn end, as kill -9
 * or a power cut leaves it, is cut off; if records in the middle are damaged, the file is kept beside as
 * journal.damaged, the others are used, and the log says so.
 */
int ctl_journal_open(const char *dir, void (*on_record)(const json_t *record, void *arg), void *arg,
		     struct ctl_journal **ret, struct skep_err *err);
struct ctl_journal *ctl_journal_close(struct ctl_journal *journal);
/* On disk when it returns 0; else -errno, and the file is as before. One thread at a time. */
int ctl_journal_append(struct ctl_journal *journal, const json_t *record);
/* Has so much been appended that rewriting pays? */
bool ctl_journal_is_long(const struct ctl_journal *journal);
/* Replaces the file by these records (an array), atomically. 0 or -errno: the old file stays. */
int ctl_journal_rewrite(struct ctl_journal *journal, const json_t *records);

#endif
