/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_AUTH_DELAY_H
#define HIVE_AUTH_DELAY_H
/*
 * Wrong passwords cost time: after the third for one name from one network, each more doubles the wait before
 * the next is looked at, up to a minute. Another network is not held up, so nobody can lock an administrator
 * out by guessing at their name. Names that do not exist are treated alike.
 */
#include "common/util.h"

struct hive_delay;

#define HIVE_DELAY_FREE 3
#define HIVE_DELAY_MAX_S 60
#define HIVE_DELAY_FORGET_S 3600 /* after so long without a wrong one all is forgotten */

struct hive_delay *hive_delay_new(void); /* NULL: no memory */
struct hive_delay *hive_delay_free(struct hive_delay *delay);
/*
 * Nanoseconds until the next attempt is looked at; 0: now. address is text; its last part is left out of
 * account.
 */
uint64_t hive_delay_left(struct hive_delay *delay, const char *name, const char *address, uint64_t now_ns);
void hive_delay_failed(struct hive_delay *delay, const char *name, const char *address, uint64_t now_ns);
void hive_delay_passed(struct hive_delay *delay, const char *name, const char *address);

#endif
