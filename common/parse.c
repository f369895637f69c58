/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Strict parsers; see parse.h for the grammar. Exact: fractions are kept as integers (digits and a power of
 * ten) and multiplied in 128 bits, so "1.5G" is 1,500,000,000 and a value that would have to be rounded is
 * refused. Never reads past the terminator, never allocates, never looks at the locale, no state: any thread.
 */
#include "common/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* 18 digits after the point: 10^18 fits in 64 bits. */
#define FRACTION_DIGITS_MAX 18

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "", 1 },
	{ "k", 1000 },
	{ "M", 1000000 },
	{ "G", 1000000000 },
	{ "T", 1000000000000 },
	{ "Ki", 1ull << 10 },
	{ "Mi", 1ull << 20 },
	{ "Gi", 1ull << 30 },
	{ "Ti", 1ull << 40 },
};

static const struct unit duration_units[] = {
	{ "", SKEP_NSEC_PER_SEC },
	{ "ns", 1 },
	{ "us", 1000 },
	{ "ms", SKEP_NSEC_PER_MSEC },
	{ "s", SKEP_NSEC_PER_SEC },
	{ "m", 60 * SKEP_NSEC_PER_SEC },
	{ "min", 60 * SKEP_NSEC_PER_SEC },
	{ "h", 3600 * SKEP_NSEC_PER_SEC },
	{ "d", 86400 * SKEP_NSEC_PER_SEC },
	{ "w", 7 * 86400 * SKEP_NSEC_PER_SEC },
};

struct number {
	uint64_t whole;
	uint64_t fraction;      /* digits after the point */
	uint64_t fraction_unit; /* 10 ^ number of them */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Refuses text at the byte `at`; the hint is added by the caller. */
static int refuse(struct skep_err *err, const char *text, const char *at, const char *what, const char *why)
{
	skep_err_set(err, SKEP_E_USAGE, "%s: \"%.80s\" %s", what, text, why);
	if (err)
		err->column = (int)(at - text) + 1;
	return SKEP_E_USAGE;
}

/*
 * Digits at *at; false if there is none or they do not fit in 64 bits (then *at is where they end all the
 * same).
 */
static bool read_digits(const char **at, uint64_t *ret, bool *ret_overflow)
{
	const char *start = *at;
	uint64_t v = 0;

	*ret_overflow = false;
	for (; is_digit(**at); (*at)++)
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**at - '0'), &v))
			*ret_overflow = true;
	if (*at == start || *ret_overflow)
		return false;
	*ret = v;
	return true;
}

/* "12" or "1.5" at *at. NULL: read; else why not. */
static const char *read_number(const char **at, struct number *ret)
{
	struct number n = { .fraction_unit = 1 };
	bool overflow;

	if (!read_digits(at, &n.whole, &overflow))
		return overflow ? "is too large" : "does not start with a number";
	if (**at == '.') {
		(*at)++;
		if (!is_digit(**at))
			return "has no digit after the point";
		for (int i = 0; is_digit(**at); i++, (*at)++) {
			if (i == FRACTION_DIGITS_MAX)
				return "has too many digits after the point";
			n.fraction = n.fraction * 10 + (uint64_t)(**at - '0');
			n.fraction_unit *= 10;
		}
	}
	*ret = n;
	return NULL;
}

static const struct unit *find_unit(const struct unit *units, size_t n, const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(units[i].name) == len && strncasecmp(units[i].name, name, len) == 0)
			return &units[i];
	return NULL;
}

static const char *scale(const struct number *n, uint64_t factor, uint64_t *ret)
{
	unsigned __int128 fraction = (unsigned __int128)n->fraction * factor;
	unsigned __int128 v = (unsigned __int128)n->whole * factor + fraction / n->fraction_unit;

	if (v > UINT64_MAX)
		return "is too large";
	if (fraction % n->fraction_unit)
		return "is finer than the smallest unit";
	*ret = (uint64_t)v;
	return NULL;
}

int skep_parse_uint(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
		    struct skep_err *err)
{
	const char *at = text, *why = NULL;
	bool overflow;
	uint64_t v;

	if (!read_digits(&at, &v, &overflow))
		why = overflow ? "is too large" : "is not a number";
	else if (*at)
		why = "is not a whole number";
	else if (v < min)
		why = "is too small";
	else if (v > max)
		why = "is too large";
	if (!why) {
		*ret = v;
		return 0;
	}
	refuse(err, text, *at ? at : text, what, why);
	if (max == UINT64_MAX)
		skep_err_hint(err, "write a whole number from %" PRIu64, min);
	else
		skep_err_hint(err, "write a whole number from %" PRIu64 " to %" PRIu64, min, max);
	return SKEP_E_USAGE;
}

int skep_parse_size(const char *what, const char *text, uint64_t *ret_bytes, struct skep_err *err)
{
	const char *at = text, *why;
	const struct unit *unit;
	struct number number;
	size_t len;

	why = read_number(&at, &number);
	if (!why) {
		len = strlen(at);
		if (len && at[len - 1] == 'B')
			len--;
		unit = find_unit(size_units, ARRAY_LEN(size_units), at, len);
		why = unit ? scale(&number, unit->factor, ret_bytes) : "has an unknown unit";
	}
	if (!why)
		return 0;
	refuse(err, text, *at ? at : text, what, why);
	skep_err_hint(err, "write a number of bytes, with k, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (powers of 1024): 64KiB, 10GB");
	return SKEP_E_USAGE;
}

int skep_parse_duration(const char *what, const char *text, uint64_t *ret_ns, struct skep_err *err)
{
	const char *at = text, *why;
	const struct unit *unit;
	struct number number;

	why = read_number(&at, &number);
	if (!why) {
		unit = find_unit(duration_units, ARRAY_LEN(duration_units), at, strlen(at));
		why = unit ? scale(&number, unit->factor, ret_ns) : "has an unknown unit";
	}
	if (!why)
		return 0;
	refuse(err, text, *at ? at : text, what, why);
	skep_err_hint(err, "write a number of seconds, or with a unit of ns, us, ms, s, m, h, d, w: 10, 500ms, 2h");
	return SKEP_E_USAGE;
}

/* One "a" or "a-b" at *at. NULL: read; else why not. */
static const char *read_range(const char **at, uint16_t max, uint16_t *ret_first, uint16_t *ret_last)
{
	const char *start = *at;
	uint64_t first, last;
	bool overflow;

	if (!read_digits(at, &first, &overflow))
		return overflow ? "holds a number that is too large" : "has no number here";
	last = first;
	if (**at == '-') {
		(*at)++;
		if (!read_digits(at, &last, &overflow))
			return overflow ? "holds a number that is too large" : "has no number here";
	}
	if (first > last) {
		*at = start;
		return "has a range that goes down";
	}
	if (last > max) {
		*at = start;
		return "holds a number that is too large";
	}
	*ret_first = (uint16_t)first;
	*ret_last = (uint16_t)last;
	return NULL;
}

static const char *add_range(struct skep_u16_list *list, uint16_t first, uint16_t last)
{
	for (uint32_t v = first; v <= last; v++) {
		for (uint32_t i = 0; i < list->n; i++)
			if (list->items[i] == v)
				return "names one twice";
		if (list->n == list->room)
			return "has too many items";
		list->items[list->n++] = (uint16_t)v;
	}
	return NULL;
}

int skep_parse_list(const char *what, const char *text, uint16_t max, struct skep_u16_list *list,
		    struct skep_err *err)
{
	_skep_free_ uint16_t *items = NULL;
	struct skep_u16_list found = { .room = list->room };
	const char *at = text, *item = text, *why;
	uint16_t first, last;

	items = calloc(SKEP_MAX(list->room, 1u), sizeof(*items));
	if (!items)
		return skep_err_set(err, -ENOMEM, "%s: out of memory", what);
	found.items = items;
	for (;;) {
		item = at;
		why = read_range(&at, max, &first, &last);
		if (!why && *at && *at != ',')
			why = "is not a list of numbers and ranges";
		if (why)
			break;
		why = add_range(&found, first, last);
		if (why) {
			at = item;
			break;
		}
		if (!*at)
			break;
		at++;
	}
	if (!why) {
		memcpy(list->items, items, found.n * sizeof(*items));
		list->n = found.n;
		return 0;
	}
	refuse(err, text, at, what, why);
	skep_err_hint(err, "write numbers and ranges from 0 to %u with commas between them: 0,2-5", max);
	return SKEP_E_USAGE;
}

/*
 * Up to nine digits behind the point, as nanoseconds; *at is moved behind them. False: a digit too many, or
 * none.
 */
static bool take_fraction(const char **at, uint64_t *ret_ns)
{
	uint64_t ns = 0;
	unsigned n = 0;

	*ret_ns = 0;
	if (**at != '.')
		return true;
	for ((*at)++; **at >= '0' && **at <= '9' && n < 10; (*at)++, n++)
		ns = ns * 10 + (uint64_t)(**at - '0');
	if (n == 0 || n > 9)
		return false;
	for (; n < 9; n++)
		ns *= 10;
	*ret_ns = ns;
	return true;
}

/* Exactly n digits. */
static bool take_digits(const char **at, unsigned n, int *ret)
{
	int v = 0;

	for (; n > 0; n--, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		v = v * 10 + (**at - '0');
	}
	*ret = v;
	return true;
}

static bool take_char(const char **at, char c)
{
	return *(*at)++ == c;
}

static bool parse_seconds(const char *at, uint64_t *ret_ns)
{
	uint64_t s = 0, fraction;
	unsigned n = 0;

	for (; *at >= '0' && *at <= '9' && n < 11; at++, n++)
		s = s * 10 + (uint64_t)(*at - '0');
	if (n == 0 || n > 10 || !take_fraction(&at, &fraction) || *at)
		return false;
	*ret_ns = s * 1000000000u + fraction;
	return true;
}

/* RFC 3339, UTC only. */
static bool parse_date(const char *at, uint64_t *ret_ns)
{
	struct tm tm = { 0 }, back;
	uint64_t fraction;
	time_t t;

	if (!take_digits(&at, 4, &tm.tm_year) || !take_char(&at, '-') || !take_digits(&at, 2, &tm.tm_mon) ||
	    !take_char(&at, '-') || !take_digits(&at, 2, &tm.tm_mday) ||
	    !(*at == 'T' || *at == 't' || *at == ' '))
		return false;
	at++;
	if (!take_digits(&at, 2, &tm.tm_hour) || !take_char(&at, ':') || !take_digits(&at, 2, &tm.tm_min) ||
	    !take_char(&at, ':') || !take_digits(&at, 2, &tm.tm_sec) || !take_fraction(&at, &fraction) ||
	    !(*at == 'Z' || *at == 'z') || at[1])
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	back = tm;
	t = timegm(&back); /* which turns 31 February into March: then the fields are not what they were */
	if (t < 0 || back.tm_mday != tm.tm_mday || back.tm_mon != tm.tm_mon || back.tm_hour != tm.tm_hour ||
	    back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec || (uint64_t)t > INT64_MAX / 1000000000)
		return false;
	*ret_ns = (uint64_t)t * 1000000000u + fraction;
	return true;
}

int skep_parse_time(const char *what, const char *text, uint64_t *ret_ns, struct skep_err *err)
{
	uint64_t ns;

	if (text[0] == '@' ? parse_seconds(text + 1, &ns) : parse_date(text, &ns)) {
		*ret_ns = ns;
		return 0;
	}
	skep_err_set(err, SKEP_E_USAGE, "%s: \"%.60s\" is no moment", what, text);
	skep_err_hint(err, "write it in UTC: 2026-11-21T14:41:08.5Z, or @SECONDS since 1970");
	return SKEP_E_USAGE;
}
