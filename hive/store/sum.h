/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_STORE_SUM_H
#define HIVE_STORE_SUM_H
/*
 * Digests of files; for hive/store only.
 */
#include "hive/store/store.h"

/* From its beginning, wherever the descriptor is. */
int hive_store_sum_fd(int fd, struct hive_store_sum *ret);
int hive_store_crc32_fd(int fd, uint32_t *ret);

#endif
