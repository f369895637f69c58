/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves: passwords are told apart, and an unknown user costs the same time; tokens are distinct and carry
 * their prefix; digests do not confuse neighbours; nobody gives or takes a right that they do not have; wrong
 * passwords wait longer and longer, only for their own name and network, and a flood of names neither grows
 * nor locks anything.
 */
#include "tests/unit/unit.h"

#include "hive/auth/delay.h"
#include "hive/auth/rights.h"
#include "hive/auth/secret.h"

#include <stdio.h>

#include <sodium.h>

#define S SKEP_NSEC_PER_SEC

static uint64_t now_ns(void)
{
	return skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC);
}

static void passwords_are_told_apart(void **state)
{
	char stored[HIVE_PASSWORD_TEXT], again[HIVE_PASSWORD_TEXT];
	bool old = true;

	(void)state;
	assert_int_equal(hive_password_hash("correct horse", stored), 0);
	assert_int_equal(hive_password_hash("correct horse", again), 0);
	assert_string_not_equal(stored, again);
	assert_int_equal(strncmp(stored, "$argon2id$", 10), 0);
	assert_true(hive_password_matches(stored, "correct horse", &old));
	assert_false(old);
	assert_false(hive_password_matches(stored, "correct hors", &old));
	assert_false(hive_password_matches(stored, "", &old));
	assert_false(hive_password_matches("not a hash", "correct horse", &old));
	assert_false(hive_password_matches(NULL, "correct horse", &old));
}

static void weaker_hashes_are_renewed(void **state)
{
	char weak[HIVE_PASSWORD_TEXT];
	bool old = false;

	(void)state;
	assert_int_equal(crypto_pwhash_str_alg(weak, "correct horse", 13, 1, 8192, crypto_pwhash_ALG_ARGON2ID13), 0);
	assert_true(hive_password_matches(weak, "correct horse", &old));
	assert_true(old);
	assert_false(hive_password_matches(weak, "wrong horse", &old));
	assert_false(old);
}

static uint64_t fastest(const char *stored)
{
	uint64_t best = UINT64_MAX;
	bool old;

	for (int i = 0; i < 5; i++) {
		uint64_t start = now_ns();

		assert_false(hive_password_matches(stored, "wrong password", &old));
		best = SKEP_MIN(best, now_ns() - start);
	}
	return best;
}

/* The best of five each, so that another program's turn does not count. */
static void unknown_users_take_the_same_time(void **state)
{
	char stored[HIVE_PASSWORD_TEXT];
	uint64_t known, unknown;

	(void)state;
	assert_int_equal(hive_password_hash("correct horse", stored), 0);
	known = fastest(stored);
	unknown = fastest(NULL);
	assert_true(unknown > known / 2 && unknown < known * 2);
}

static void passwords_have_a_length(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;
	char *huge = malloc(HIVE_PASSWORD_MAX + 2);

	(void)state;
	memset(huge, 'x', HIVE_PASSWORD_MAX + 1);
	huge[HIVE_PASSWORD_MAX + 1] = '\0';
	assert_int_equal(hive_password_acceptable("123456789", "ada", &err), SKEP_E_USAGE);
	assert_non_null(strstr(err.text, "9 letters"));
	assert_int_equal(hive_password_acceptable("1234567890", "ada", &err), 0);
	assert_int_equal(hive_password_acceptable("AdaLovelace", "adalovelace", &err), SKEP_E_USAGE);
	assert_int_equal(hive_password_acceptable(huge, "ada", &err), SKEP_E_USAGE);
	free(huge);
}

static void tokens_are_distinct_and_searchable(void **state)
{
	char a[HIVE_SECRET_TEXT], b[HIVE_SECRET_TEXT], digest[HIVE_DIGEST_TEXT];

	(void)state;
	hive_secret_make("skep_token_", a);
	hive_secret_make("skep_token_", b);
	assert_string_not_equal(a, b);
	assert_int_equal(strncmp(a, "skep_token_", 11), 0);
	assert_int_equal(strlen(a), 11 + 43);
	assert_int_equal(strspn(a + 11, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
	hive_secret_digest("abc", digest); /* FIPS 180-4, example */
	assert_string_equal(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(hive_secret_equal(a, a));
	assert_false(hive_secret_equal(a, b));
	assert_false(hive_secret_equal(a, "skep_token_"));
}

static void digests_of_several_texts_see_their_borders(void **state)
{
	const char *const one[] = { "a", "bc" }, *const two[] = { "ab", "c" }, *const three[] = { "a", "bc", "" },
			  *const four[] = { "a", "bc", NULL };
	char digests[4][HIVE_DIGEST_TEXT];

	(void)state;
	hive_secret_digest_all(one, 2, digests[0]);
	hive_secret_digest_all(two, 2, digests[1]);
	hive_secret_digest_all(three, 3, digests[2]);
	hive_secret_digest_all(four, 3, digests[3]);
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < i; j++)
			assert_string_not_equal(digests[i], digests[j]);
}

static void rights_have_names(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < HIVE_RIGHTS_N; i++)
		assert_int_equal(hive_right_of(hive_right_name(i)), 1 << i);
	assert_int_equal(hive_right_of("everything"), 0);
	assert_int_equal(hive_right_of(""), 0);
}

/* All combinations: allowed exactly if every bit that changes is one's own. */
static void nobody_gives_what_they_do_not_have(void **state)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)state;
	for (int64_t mine = 0; mine <= HIVE_RIGHTS_ALL; mine++)
		for (int64_t before = 0; before <= HIVE_RIGHTS_ALL; before += 7)
			for (int64_t after = 0; after <= HIVE_RIGHTS_ALL; after += 3) {
				bool fine = true;

				for (int bit = 0; bit < HIVE_RIGHTS_N; bit++)
					if ((before >> bit & 1) != (after >> bit & 1) && !(mine >> bit & 1))
						fine = false;
				assert_int_equal(hive_rights_may_change(mine, before, after, &err),
						 fine ? 0 : SKEP_E_PRIVILEGE);
			}
	assert_int_equal(hive_rights_may_change(HIVE_RIGHTS_ALL, 0, HIVE_RIGHTS_ALL + 1, &err), SKEP_E_USAGE);
}

static void wrong_passwords_wait_longer_and_longer(void **state)
{
	static const uint64_t waits_s[] = { 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60 };
	struct hive_delay *delay = hive_delay_new();
	uint64_t now = 1000 * S;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(waits_s); i++) {
		assert_int_equal(hive_delay_left(delay, "ada", "192.0.2.1", now), waits_s[i] * S);
		now += waits_s[i] * S;
		assert_int_equal(hive_delay_left(delay, "ada", "192.0.2.1", now), 0);
		hive_delay_failed(delay, "ada", "192.0.2.1", now);
	}
	/* the same network and spelling are held up, others are not */
	assert_true(hive_delay_left(delay, "ADA", "192.0.2.250", now) > 0);
	assert_int_equal(hive_delay_left(delay, "ada", "192.0.3.1", now), 0);
	assert_int_equal(hive_delay_left(delay, "bob", "192.0.2.1", now), 0);
	/* a clock that goes back does not make it longer than it ever is */
	assert_true(hive_delay_left(delay, "ada", "192.0.2.1", 0) <= HIVE_DELAY_MAX_S * S);
	hive_delay_passed(delay, "ada", "192.0.2.1");
	assert_int_equal(hive_delay_left(delay, "ada", "192.0.2.1", now), 0);
	for (int i = 0; i < 9; i++)
		hive_delay_failed(delay, "eve", "2001:db8:1:2:3:4:5:6", now);
	assert_true(hive_delay_left(delay, "eve", "2001:db8:1:2:aaaa::1", now) > 0);
	assert_int_equal(hive_delay_left(delay, "eve", "2001:db8:1:3::1", now), 0);
	assert_int_equal(hive_delay_left(delay, "eve", "2001:db8:1:2::1", now + (HIVE_DELAY_FORGET_S + 1) * S), 0);
	hive_delay_free(delay);
}

static void a_flood_of_names_does_no_harm(void **state)
{
	struct hive_delay *delay = hive_delay_new();
	char name[64];
	uint32_t held = 0;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "guess%d", i);
		hive_delay_failed(delay, name, "192.0.2.1", (uint64_t)i + 1);
	}
	for (int i = 0; i < 4; i++)
		hive_delay_failed(delay, "ada", "192.0.2.1", 200000);
	assert_true(hive_delay_left(delay, "ada", "192.0.2.1", 200000) > 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "innocent%d", i);
		held += hive_delay_left(delay, name, "198.51.100.1", 200000) > 0;
	}
	assert_int_equal(held, 0);
	hive_delay_free(delay);
}

static int start(void **state)
{
	(void)state;
	return hive_secret_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passwords_are_told_apart),
		cmocka_unit_test(weaker_hashes_are_renewed),
		cmocka_unit_test(unknown_users_take_the_same_time),
		cmocka_unit_test(passwords_have_a_length),
		cmocka_unit_test(tokens_are_distinct_and_searchable),
		cmocka_unit_test(digests_of_several_texts_see_their_borders),
		cmocka_unit_test(rights_have_names),
		cmocka_unit_test(nobody_gives_what_they_do_not_have),
		cmocka_unit_test(wrong_passwords_wait_longer_and_longer),
		cmocka_unit_test(a_flood_of_names_does_no_harm),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
