/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_BESIDE_H
#define CAP_BESIDE_H
/*
 * What the small processes beside an engine (guard, loader) have in common: they are forked from it, outlive
 * the signals that a terminal or a service manager sends to all, and keep few capabilities.
 */
#include <stdint.h>

/* A session of its own, signals ignored or as the kernel made them, none blocked, `name` as its name. */
void cap_beside_begin(const char *name);
/* Keeps these capabilities (1 << CAP_*) of those it has, and can gain none. 0 or -errno. */
int cap_beside_keep(uint64_t capabilities);

#endif
