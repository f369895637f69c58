/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two threads that look for work four times a second: imports that are whole, copies that wait, datasets that
 * have expired or whose jobs ended without one, folders nobody needs. All of it is in the database, so a
 * restart goes on with it. A dataset that is pinned is never removed by itself.
 */
#include "hive/svc/chores.h"

#include "common/log.h"
#include "hive/db/transfers.h"
#include "hive/store/store.h"
#include "hive/svc/audit.h"
#include "hive/svc/copies.h"
#include "hive/svc/imports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TURN_NS (250 * SKEP_NSEC_PER_MSEC)
#define SWEEP_NS (2 * SKEP_NSEC_PER_SEC)
#define STALE_NS (24 * 3600 * (int64_t)SKEP_NSEC_PER_SEC) /* an import that nobody goes on with */
#define THREADS 2					  /* a long copy does not hold up an import */

struct hive_chores {
	struct hive *hive;
	pthread_mutex_t lock; /* stop */
	pthread_cond_t wake;
	bool stop;
	uint32_t n_threads;
	pthread_t threads[THREADS];
};

/* ---- removing ---- */

static int remove_dataset(struct hive *hive, int64_t id)
{
	const struct hive_actor system = { .name = "hive" };
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	char object[64];
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_datasets, id, &dataset);
	if (r == 0 && dataset.pinned) /* just now */
		return 0;
	snprintf(object, sizeof(object), "dataset %" PRId64, id);
	if (r == 0)
		r = hive_trash_add(tx, dataset.folder);
	if (r == 0)
		r = hive_row_delete(tx, &hive_datasets, id, 0);
	if (r == 0)
		r = hive_audit_add(hive, tx, &system, "dataset.expire", object, dataset.name);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int remove_import(struct hive *hive, int64_t id)
{
	_hive_import_ struct hive_import import = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_imports, id, &import);
	if (r == 0 && strcmp(import.state, "open") == 0)
		r = hive_trash_add(tx, import.folder);
	if (r == 0)
		r = hive_row_delete(tx, &hive_imports, id, 0);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int find_over(struct hive *hive, bool imports, int64_t **ret, uint32_t *ret_n)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int64_t now = hive_now_ns(hive);
	int r = hive_db_read(hive->db, &tx);

	if (r < 0)
		return r;
	return imports ? hive_imports_stale(tx, now - STALE_NS, ret, ret_n)
		       : hive_datasets_over(tx, now, ret, ret_n);
}

static void remove_over(struct hive *hive, bool imports)
{
	_skep_free_ int64_t *ids = NULL;
	uint32_t n = 0;
	int r = find_over(hive, imports, &ids, &n);

	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = imports ? remove_import(hive, ids[i]) : remove_dataset(hive, ids[i]);
	if (r < 0 && r != -ENOENT)
		skep_log(SKEP_LOG_ERROR, "what is over cannot be removed: %s; trying again", strerror(-r));
}

static int next_trash(struct hive *hive, char **ret)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	return r < 0 ? r : hive_trash_next(tx, ret);
}

/* 0: a folder is gone; -ENOENT: there is none to be removed. */
static int empty_trash(struct hive *hive)
{
	_skep_free_ char *folder = NULL;
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive->store ? next_trash(hive, &folder) : -ENOENT;

	if (r == 0)
		r = hive_store_remove(hive->store, folder);
	if (r == 0)
		r = hive_db_write(hive->db, &tx);
	if (r == 0)
		r = hive_trash_done(tx, folder);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static void sweep(struct hive *hive)
{
	int r;

	remove_over(hive, false);
	remove_over(hive, true);
	while ((r = empty_trash(hive)) == 0)
		;
	if (r != -ENOENT)
		skep_log(SKEP_LOG_ERROR, "a folder that nobody needs cannot be removed: %s", strerror(-r));
}

/* ---- the threads ---- */

static bool wait_turn(struct hive_chores *chores)
{
	uint64_t ns = skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC) + TURN_NS;
	const struct timespec until = { .tv_sec = (time_t)(ns / SKEP_NSEC_PER_SEC),
					.tv_nsec = (long)(ns % SKEP_NSEC_PER_SEC) };
	bool stop;

	pthread_mutex_lock(&chores->lock);
	if (!chores->stop)
		(void)pthread_cond_timedwait(&chores->wake, &chores->lock, &until);
	stop = chores->stop;
	pthread_mutex_unlock(&chores->lock);
	return !stop;
}

static bool shall_stop(struct hive_chores *chores)
{
	bool stop;

	pthread_mutex_lock(&chores->lock);
	stop = chores->stop;
	pthread_mutex_unlock(&chores->lock);
	return stop;
}

static void *look_and_sweep(void *arg)
{
	struct hive_chores *chores = arg;
	struct hive *hive = chores->hive;
	uint64_t swept_ns = 0;

	do {
		uint64_t now = skep_clock_now_ns(hive->clock, CLOCK_MONOTONIC);

		while (!shall_stop(chores) && hive_import_check_next(hive) == 0)
			;
		if (!swept_ns || now - swept_ns > SWEEP_NS) {
			sweep(hive);
			swept_ns = now;
		}
	} while (wait_turn(chores));
	return NULL;
}

static void *copy(void *arg)
{
	struct hive_chores *chores = arg;

	do {
		while (!shall_stop(chores) && hive_copy_next(chores->hive) == 0)
			;
	} while (wait_turn(chores));
	return NULL;
}

struct hive_chores *hive_chores_stop(struct hive_chores *chores)
{
	if (!chores)
		return NULL;
	atomic_store(&chores->hive->stopping, true);
	pthread_mutex_lock(&chores->lock);
	chores->stop = true;
	pthread_cond_broadcast(&chores->wake);
	pthread_mutex_unlock(&chores->lock);
	for (uint32_t i = 0; i < chores->n_threads; i++)
		pthread_join(chores->threads[i], NULL);
	pthread_cond_destroy(&chores->wake);
	pthread_mutex_destroy(&chores->lock);
	free(chores);
	return NULL;
}

static int requeue(struct hive *hive)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_copies_requeue(tx);
	return r < 0 ? r : hive_tx_commit(&tx);
}

int hive_chores_start(struct hive *hive, struct hive_chores **ret, struct skep_err *err)
{
	static void *(*const works[THREADS])(void *) = { look_and_sweep, copy };
	struct hive_chores *chores = calloc(1, sizeof(*chores));
	pthread_condattr_t monotonic;
	int r;

	if (!chores)
		return skep_err_set(err, -ENOMEM, "out of memory");
	chores->hive = hive;
	pthread_mutex_init(&chores->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&chores->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = requeue(hive);
	for (int i = 0; r == 0 && i < THREADS; i++) {
		r = -pthread_create(&chores->threads[i], NULL, works[i], chores);
		chores->n_threads += r == 0;
	}
	if (r < 0) {
		hive_chores_stop(chores);
		return skep_err_set(err, r, "the chores cannot be begun: %s", strerror(-r));
	}
	*ret = chores;
	return 0;
}
