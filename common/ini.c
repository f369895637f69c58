/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration files over inih, the only file that knows it. inih does not say on which line it is, so lines
 * are counted while it reads them; it also splits lines that are too long for it without a word, so those are
 * refused here. Never guesses: an unknown or repeated setting is an error. Called at start, by one thread.
 */
#include "common/ini.h"

#include "common/parse.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#define ROWS_MAX 64

struct reading {
	const char *path;
	const struct skep_ini *ini;
	void *cfg;
	FILE *file;
	unsigned line;
	bool too_long;
	struct skep_err *err;
	int r;
	unsigned seen[ROWS_MAX]; /* line on which the row was last set */
	void *seen_in[ROWS_MAX]; /* in which struct */
};

static char *read_line(char *text, int room, void *stream)
{
	struct reading *reading = stream;
	size_t len;

	if (reading->r || reading->too_long || !fgets(text, room, reading->file))
		return NULL;
	reading->line++;
	len = strlen(text);
	reading->too_long = len + 1 == (size_t)room && text[len - 1] != '\n' && !feof(reading->file);
	return reading->too_long ? NULL : text;
}

static int set_bool(const char *what, const char *value, bool *ret, struct skep_err *err)
{
	static const char *const words[] = { "no", "yes", "off", "on", "false", "true" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(value, words[i])) {
			*ret = i % 2;
			return 0;
		}
	return skep_err_set(err, SKEP_E_USAGE, "%s: \"%s\" is neither yes nor no", what, value);
}

static int set_choice(const struct skep_ini_row *row, const char *what, const char *value, int *ret,
		      struct skep_err *err)
{
	char list[256] = "";
	size_t n = 0;

	for (int i = 0; row->choices[i]; i++) {
		if (!strcmp(row->choices[i], value)) {
			*ret = i;
			return 0;
		}
		if (n < sizeof(list))
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "",
					      row->choices[i]);
	}
	skep_err_set(err, SKEP_E_USAGE, "%s: \"%s\" is not possible", what, value);
	return skep_err_hint(err, "one of: %s", list);
}

static int within(const struct skep_ini_row *row, const char *what, uint64_t value, struct skep_err *err)
{
	if (value < row->min || (row->max && value > row->max))
		return skep_err_set(err, SKEP_E_USAGE, "%s: out of range (%llu to %llu)", what,
				    (unsigned long long)row->min, (unsigned long long)row->max);
	return 0;
}

static int set_value(const struct skep_ini_row *row, const char *value, char *to, struct skep_err *err)
{
	uint64_t number = 0;
	int r;

	switch (row->type) {
	case SKEP_INI_TEXT:
		if (strlen(value) >= row->size)
			return skep_err_set(err, SKEP_E_USAGE, "%s: longer than %zu bytes", row->name,
					    row->size - 1);
		memcpy(to, value, strlen(value) + 1);
		return 0;
	case SKEP_INI_UINT32:
		r = skep_parse_uint(row->name, value, row->min, row->max ? row->max : UINT32_MAX, &number,
				    err);
		if (r == 0)
			*(uint32_t *)(void *)to = (uint32_t)number;
		return r;
	case SKEP_INI_SIZE:
	case SKEP_INI_DURATION:
		r = row->type == SKEP_INI_SIZE ? skep_parse_size(row->name, value, &number, err)
					       : skep_parse_duration(row->name, value, &number, err);
		r = r ?: within(row, row->name, number, err);
		if (r == 0)
			*(uint64_t *)(void *)to = number;
		return r;
	case SKEP_INI_BOOL:
		return set_bool(row->name, value, (bool *)to, err);
	case SKEP_INI_CHOICE:
		return set_choice(row, row->name, value, (int *)(void *)to, err);
	}
	abort();
}

/* "link *" is the section of "link eth1", whose name is "eth1". */
static const char *instance_name(const char *pattern, const char *section)
{
	size_t n = strlen(pattern);

	if (n < 2 || pattern[n - 1] != '*' || strncmp(pattern, section, n - 1) != 0 || !section[n - 1])
		return NULL;
	return section + n - 1;
}

static int set_row(struct reading *reading, size_t i, const char *instance, const char *value)
{
	const struct skep_ini_row *row = &reading->ini->rows[i];
	void *cfg = reading->cfg;

	if (instance)
		cfg = reading->ini->instance(cfg, row->section, instance, reading->err);
	if (!cfg)
		return SKEP_E_USAGE;
	if (i < ROWS_MAX && reading->seen[i] && reading->seen_in[i] == cfg)
		return skep_err_set(reading->err, SKEP_E_USAGE, "%s: set twice, the first time on line %u",
				    row->name, reading->seen[i]);
	if (i < ROWS_MAX) {
		reading->seen[i] = reading->line;
		reading->seen_in[i] = cfg;
	}
	return set_value(row, value, (char *)cfg + row->offset, reading->err);
}

static int on_value(void *user, const char *section, const char *name, const char *value)
{
	struct reading *reading = user;
	bool section_known = false;

	for (size_t i = 0; i < reading->ini->n; i++) {
		const struct skep_ini_row *row = &reading->ini->rows[i];
		const char *instance = instance_name(row->section, section);

		if (!instance && strcmp(row->section, section) != 0)
			continue;
		section_known = true;
		if (strcmp(row->name, name) != 0)
			continue;
		reading->r = set_row(reading, i, instance, value);
		return reading->r == 0;
	}
	if (section_known)
		reading->r =
			skep_err_set(reading->err, SKEP_E_USAGE, "[%s] has no setting \"%s\"", section, name);
	else
		reading->r = skep_err_set(reading->err, SKEP_E_USAGE, "there is no section [%s]", section);
	return 0;
}

int skep_ini_load(const char *path, const struct skep_ini *ini, void *cfg, struct skep_err *err)
{
	struct skep_err why = SKEP_ERR_NULL;
	struct reading reading = { .path = path, .ini = ini, .cfg = cfg, .err = &why };
	int line;

	reading.file = fopen(path, "re");
	if (!reading.file)
		return skep_err_set(err, errno == ENOENT ? SKEP_E_NOT_FOUND : -errno,
				    "%s: cannot be opened: %s", path, strerror(errno));
	line = ini_parse_stream(read_line, &reading, on_value, &reading);
	fclose(reading.file);
	if (reading.too_long)
		reading.r = skep_err_set(&why, SKEP_E_USAGE, "the line is too long");
	if (!reading.r && line > 0) {
		reading.line = (unsigned)line;
		reading.r = skep_err_set(&why, SKEP_E_USAGE, "neither a [section] nor NAME = VALUE");
	}
	if (!reading.r && line < 0)
		reading.r = skep_err_set(&why, -ENOMEM, "no memory to read it");
	if (!reading.r)
		return 0;
	skep_err_set(err, reading.r, "%s:%u: %s", path, reading.line, why.text);
	if (why.hint[0])
		(void)skep_err_hint(err, "%s", why.hint);
	return reading.r;
}
