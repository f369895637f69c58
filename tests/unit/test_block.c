/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that blocks are memory that can be relied on: all of it is there at the start, aligned, apart from
 * each other, not given to forked children; that the pool gives what it has and no more, the warmest first
 * and empty; that a block given back twice ends the program instead of being lent twice; that queues keep the
 * order; and that too much memory is refused in words.
 */
#include "tool.h"
#include "unit.h"

#include "capture/block.h"

#include <signal.h>
#include <sys/mman.h>

#define N_BLOCKS 5u

static void the_memory_is_there(void **state)
{
	struct cap_pool pool = { 0 };
	struct cap_block *b[N_BLOCKS];
	unsigned char *resident;

	(void)state;
	assert_int_equal(cap_pool_init(&pool, N_BLOCKS, -1, NULL), 0);
	assert_true(pool.bytes >= N_BLOCKS * (size_t)CAP_BLOCK_BYTES);
	resident = malloc(pool.bytes / 4096);
	assert_int_equal(mincore(pool.memory, pool.bytes, resident), 0);
	for (size_t i = 0; i < pool.bytes / 4096; i++)
		assert_int_equal(resident[i] & 1, 1);
	free(resident);
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		b[i] = cap_pool_get(&pool);
		assert_non_null(b[i]);
		assert_int_equal((uintptr_t)b[i]->data % CAP_ALIGN, 0);
		memset(b[i]->data, (int)i + 1, CAP_BLOCK_BYTES);
	}
	for (unsigned i = 0; i < N_BLOCKS; i++)
		for (size_t at = 0; at < CAP_BLOCK_BYTES; at++)
			assert_true(b[i]->data[at] == i + 1);
	cap_pool_fini(&pool);
}

static void it_gives_what_it_has(void **state)
{
	struct cap_pool pool = { 0 };
	struct cap_block *b[N_BLOCKS], *again;
	uint8_t *data;

	(void)state;
	assert_int_equal(cap_pool_init(&pool, N_BLOCKS, -1, NULL), 0);
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		assert_int_equal(pool.n_free, N_BLOCKS - i);
		b[i] = cap_pool_get(&pool);
	}
	assert_null(cap_pool_get(&pool));
	assert_int_equal(pool.n_free, 0);
	data = b[3]->data;
	b[3]->used = b[3]->pkts = b[3]->raw_bytes = 77;
	b[3]->layout = CAP_LAYOUT_STORED;
	b[3]->ends_segment = true;
	b[3]->write_tries = 9;
	b[3]->forced = -5;
	assert_null(cap_pool_put(&pool, b[1]));
	assert_null(cap_pool_put(&pool, b[3]));
	again = cap_pool_get(&pool);
	assert_ptr_equal(again, b[3]); /* the warmest first */
	assert_ptr_equal(again->data, data);
	assert_true(again->used == 0 && again->pkts == 0 && again->raw_bytes == 0 &&
		    again->write_tries == 0 && again->forced == 0 && !again->ends_segment &&
		    again->layout == CAP_LAYOUT_PLAIN && !again->next);
	assert_ptr_equal(cap_pool_get(&pool), b[1]);
	assert_null(cap_pool_get(&pool));
	cap_pool_fini(&pool);
}

/* What ends a child that runs this. */
static int ends_by(void (*run)(struct cap_pool *pool), struct cap_pool *pool)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)signal(SIGABRT, SIG_DFL); /* cmocka and the sanitizers catch both */
		(void)signal(SIGSEGV, SIG_DFL);
		(void)close(STDERR_FILENO);
		run(pool);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void give_back_twice(struct cap_pool *pool)
{
	struct cap_block *b = cap_pool_get(pool);

	cap_pool_put(pool, b);
	cap_pool_put(pool, b);
}

static void touch(struct cap_pool *pool)
{
	*(volatile uint8_t *)pool->memory = 1;
}

static void misuse_ends_the_program(void **state)
{
	struct cap_pool pool = { 0 };

	(void)state;
	assert_int_equal(cap_pool_init(&pool, 2, -1, NULL), 0);
	assert_int_equal(ends_by(give_back_twice, &pool), SIGABRT);
	/* Pages that the ring has pinned must not be copied by a fork: the child has none of them. */
	assert_int_equal(ends_by(touch, &pool), SIGSEGV);
	cap_pool_fini(&pool);
}

static void too_much_is_refused(void **state)
{
	struct cap_pool pool = { 0 };
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	assert_int_equal(cap_pool_init(&pool, UINT32_MAX, -1, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "4294967295 blocks"));
	assert_non_null(strstr(err.hint, "--memory"));
	assert_null(pool.memory);
	cap_pool_fini(&pool); /* harmless */
	cap_pool_fini(&pool);
}

/* A queue does what an array does, over many random steps. */
static void queues_keep_the_order(void **state)
{
	static struct cap_block blocks[64];
	struct cap_block_queue queue = { 0 };
	uint32_t order[64], n = 0, next = 0;
	uint64_t seed = 7;
	bool waits[64] = { false };

	(void)state;
	assert_null(cap_queue_pop(&queue));
	for (int step = 0; step < 200000; step++) {
		if (tool_random(&seed) % 2 && n < 64) {
			while (waits[next % 64])
				next++;
			waits[next % 64] = true;
			order[n++] = next % 64;
			assert_null(cap_queue_push(&queue, &blocks[next % 64]));
		} else {
			struct cap_block *b = cap_queue_pop(&queue);

			if (n == 0) {
				assert_null(b);
				assert_null(queue.tail);
				continue;
			}
			assert_ptr_equal(b, &blocks[order[0]]);
			assert_null(b->next);
			waits[order[0]] = false;
			memmove(order, order + 1, --n * sizeof(*order));
		}
		assert_int_equal(queue.n, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_memory_is_there),	   cmocka_unit_test(it_gives_what_it_has),
		cmocka_unit_test(misuse_ends_the_program), cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(queues_keep_the_order),
	};

	return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
