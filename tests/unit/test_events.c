/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that readers of the hub get each event once, in order, from where they left off, that who was away
 * for too long is told so, and that problems are spelled as RFC 9457 wants them.
 */
#include "tests/unit/unit.h"

#include "common/events.h"
#include "common/problem.h"

#include <errno.h>
#include <stdio.h>

static void wake(void *arg)
{
	++*(int *)arg;
}

static void publish(struct skep_events *hub, int from, int to)
{
	char text[16];

	for (int i = from; i <= to; i++) {
		(void)snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(skep_events_publish(hub, "n", text), 0);
	}
}

/* The next event must be `text`, with or without a gap in front; NULL: there must be none. */
static uint64_t expect(struct skep_events *hub, struct skep_events_reader *reader, const char *text, bool gap)
{
	struct skep_event event;

	if (!text) {
		assert_int_equal(skep_events_next(hub, reader, &event), 0);
		return 0;
	}
	assert_int_equal(skep_events_next(hub, reader, &event), 1);
	assert_string_equal(event.data, text);
	assert_int_equal(event.gap, gap);
	free(event.name);
	return event.id;
}

static void test_each_once_and_in_order(void **state)
{
	struct skep_events *hub = skep_events_new(4);
	int woken = 0;
	struct skep_events_reader reader = { .wake = wake, .arg = &woken },
				  resumed = { .wake = wake, .arg = &woken };

	(void)state;
	publish(hub, 1, 1);
	skep_events_join(hub, &reader);
	expect(hub, &reader, NULL, false); /* from now on */
	publish(hub, 2, 3);
	assert_int_equal(woken, 2);
	resumed.after = expect(hub, &reader, "2", false);
	skep_events_join(hub, &resumed);
	expect(hub, &reader, "3", false);
	expect(hub, &reader, NULL, false);
	expect(hub, &resumed, "3", false);
	skep_events_leave(hub, &reader);
	publish(hub, 4, 4);
	assert_int_equal(woken, 3);
	skep_events_leave(hub, &resumed);
	assert_null(skep_events_free(hub));
}

static void test_who_is_slow_loses_and_is_told(void **state)
{
	struct skep_events *hub = skep_events_new(4);
	int woken = 0;
	struct skep_events_reader reader = { .wake = wake, .arg = &woken };
	struct skep_events_reader future = { .wake = wake, .arg = &woken, .after = INT64_MAX };

	(void)state;
	skep_events_join(hub, &reader);
	publish(hub, 1, 10);
	expect(hub, &reader, "7", true);
	expect(hub, &reader, "8", false);
	skep_events_join(hub, &future); /* an id that was never given */
	expect(hub, &future, "7", true);
	skep_events_leave(hub, &future);
	skep_events_leave(hub, &reader);
	(void)skep_events_free(hub);
}

/* As after a restart of the program: the reader's id is from before, and nothing has been published yet. */
static void test_an_id_of_before_a_restart(void **state)
{
	struct skep_events *hub = skep_events_new(4);
	int woken = 0;
	struct skep_events_reader reader = { .wake = wake, .arg = &woken, .after = 5 };

	(void)state;
	skep_events_join(hub, &reader);
	expect(hub, &reader, NULL, false);
	publish(hub, 1, 2);
	expect(hub, &reader, "1", true);
	expect(hub, &reader, "2", false);
	skep_events_leave(hub, &reader);
	skep_events_free(hub);
}

static void test_events_that_cannot_be_sent(void **state)
{
	struct skep_events *hub = skep_events_new(1);
	char *big = malloc(SKEP_EVENT_MAX_BYTES + 1);

	(void)state;
	memset(big, 'x', SKEP_EVENT_MAX_BYTES);
	big[SKEP_EVENT_MAX_BYTES] = '\0';
	assert_int_equal(skep_events_publish(hub, "n", big), -E2BIG);
	assert_int_equal(skep_events_publish(hub, "n", "a\nb"), -EINVAL);
	assert_int_equal(skep_events_publish(hub, "n\r", "a"), -EINVAL);
	free(big);
	(void)skep_events_free(hub);
}

static void test_problems(void **state)
{
	struct skep_problems problems = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	json_t *json;

	(void)state;
	skep_err_set(&err, SKEP_E_USAGE, "filter: wrong");
	(void)skep_err_hint(&err, "mend it");
	err.column = 3;
	skep_problems_add_err(&problems, NULL, "/filter", &err);
	for (int i = 0; i < 20; i++)
		skep_problems_add(&problems, "x", NULL, "bytes of a client: \xff\xfe");
	json = skep_problems_json(&problems);
	assert_string_equal(json_string_value(json_object_get(json, "type")), "urn:skep:problem:bad-value");
	assert_int_equal(json_integer_value(json_object_get(json, "status")), 422);
	assert_string_equal(json_string_value(json_object_get(json, "hint")), "mend it");
	assert_int_equal(json_integer_value(json_object_get(json, "column")), 3);
	assert_int_equal(json_array_size(json_object_get(json, "errors")), SKEP_PROBLEMS_MAX);
	assert_int_equal(json_integer_value(json_object_get(json, "more_errors")), 21 - SKEP_PROBLEMS_MAX);
	json_decref(json);
	assert_int_equal(skep_problem_status(SKEP_E_BUSY), 409);
	assert_int_equal(skep_problem_status(-EIO), 500);
	assert_string_equal(skep_problem_title(413), "Content Too Large");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once_and_in_order),
		cmocka_unit_test(test_who_is_slow_loses_and_is_told),
		cmocka_unit_test(test_an_id_of_before_a_restart),
		cmocka_unit_test(test_events_that_cannot_be_sent),
		cmocka_unit_test(test_problems),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
