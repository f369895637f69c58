/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_SD_H
#define SKEP_SD_H
/*
 * What systemd is told: sd_notify(3) without its library.
 */
#include <stdint.h>

/* "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=…"; silently nothing if nobody asked. */
void skep_sd_notify(const char *state);
/* How often WATCHDOG=1 is expected, in nanoseconds; 0: never. */
uint64_t skep_sd_watchdog_ns(void);

#endif
