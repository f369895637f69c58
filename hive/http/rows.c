/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rows as JSON and back, by their tables of fields, so that a new column needs no code here. What is secret
 * never leaves. A list's conditions are NAME=VALUE, NAME.ge, NAME.le and NAME.has, of fields that may be
 * asked for. Knows no kind of thing. Any thread.
 */
#include "hive/http/call.h"

#include "common/format.h"
#include "common/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME_MAX_BYTES 64
#define PAGE 100

/* created_ns is "created" outside: the type says that it is a time. */
static const char *json_name(const struct hive_field *field, char buf[static NAME_MAX_BYTES])
{
	size_t n = strlen(field->name);

	if (field->kind != HIVE_TIME || n < 4 || strcmp(field->name + n - 3, "_ns") != 0)
		return field->name;
	snprintf(buf, NAME_MAX_BYTES, "%.*s", (int)(n - 3), field->name);
	return buf;
}

static bool is_rights(const struct hive_field *field)
{
	return field->kind == HIVE_INT && strcmp(field->name, "rights") == 0;
}

/* ---- out ---- */

static json_t *rights_json(int64_t rights)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < HIVE_RIGHTS_N; i++)
		if (rights >> i & 1)
			(void)json_array_append_new(list, json_string(hive_right_name(i)));
	return list;
}

static json_t *set_json(const struct hive_field *field, int64_t bits)
{
	json_t *list = json_array();

	for (int i = 0; field->names[i]; i++)
		if (bits >> i & 1)
			(void)json_array_append_new(list, json_string(field->names[i]));
	return list;
}

/* What was stored was checked; NULL and what is damaged nevertheless are null. */
static json_t *object_json(const char *text)
{
	json_t *object = text ? json_loads(text, 0, NULL) : NULL;

	return object ? object : json_null();
}

static json_t *value_json(const struct hive_field *field, void *row)
{
	char time[SKEP_FORMAT_MAX];
	const char *text;
	int64_t number;

	if (field->kind == HIVE_TEXT) {
		text = *hive_field_text(field, row);
		if (field->flags & HIVE_F_JSON)
			return object_json(text);
		return text ? json_string(text) : json_null();
	}
	number = *hive_field_int(field, row);
	if (is_rights(field))
		return rights_json(number);
	if (field->flags & HIVE_F_SET)
		return set_json(field, number);
	if (field->names)
		return json_string(field->names[number]);
	if (field->kind == HIVE_BOOL)
		return json_boolean(number);
	if (field->kind == HIVE_TIME)
		return number ? json_string(skep_format_time(time, (uint64_t)number)) : json_null();
	return field->kind == HIVE_REF && !number ? json_null() : json_integer(number);
}

json_t *hive_http_row_json(const struct hive_table *table, const void *row)
{
	const struct hive_row *head = row;
	json_t *object = json_pack("{s:I, s:I}", "id", (json_int_t)head->id, "version", (json_int_t)head->version);
	char name[NAME_MAX_BYTES];

	for (uint32_t i = 0; object && i < table->n_fields; i++) {
		const struct hive_field *field = &table->fields[i];

		if (field->flags & HIVE_F_SECRET)
			continue;
		if (json_object_set_new(object, json_name(field, name), value_json(field, (void *)row)) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

/* What of a row is not in its table. */
static json_t *whole_json(struct hive_call *call, const struct hive_table *table, const void *row)
{
	json_t *object = hive_http_row_json(table, row);

	if (object && table == &hive_probes)
		hive_http_probe_state(call->hive, row, object);
	return object;
}

int hive_http_answer_row(struct hive_call *call, unsigned int status, const struct hive_table *table,
			 const void *row)
{
	json_t *object = whole_json(call, table, row);
	char etag[32];

	if (!object)
		return -ENOMEM;
	snprintf(etag, sizeof(etag), "\"%" PRId64 "\"", ((const struct hive_row *)row)->version);
	(void)skep_http_add_header(call->req, "ETag", etag);
	return skep_http_answer_json(call->req, status, object);
}

int hive_http_answer_rows(struct hive_call *call, const struct hive_rows *rows)
{
	json_t *items = json_array();

	for (uint32_t i = 0; items && i < rows->n; i++)
		if (json_array_append_new(items, whole_json(call, rows->table, hive_rows_at(rows, i))) < 0) {
			json_decref(items);
			return -ENOMEM;
		}
	return skep_http_answer_json(call->req, 200, json_pack("{s:o, s:s?}", "items", items, "next", rows->next));
}

/* ---- in ---- */

static bool digits(const char *text, size_t n)
{
	return strspn(text, "0123456789") >= n;
}

/* RFC 3339 in UTC: 2026-11-21T11:50:57Z, with at most nine digits of fraction. */
int hive_http_time(const char *text, int64_t *ret_ns)
{
	struct tm tm = { 0 }, again;
	int64_t ns = 0, scale = 100000000;
	const char *at;
	time_t seconds;

	if (strlen(text) < 20 || !digits(text, 4) || text[4] != '-' || !digits(text + 5, 2) ||
	    text[7] != '-' || !digits(text + 8, 2) || text[10] != 'T' || !digits(text + 11, 2) ||
	    text[13] != ':' || !digits(text + 14, 2) || text[16] != ':' || !digits(text + 17, 2))
		return -EINVAL;
	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	again = tm;
	seconds = timegm(&again);
	/* the 31st of February comes back as a day of March */
	if (again.tm_mday != tm.tm_mday || again.tm_mon != tm.tm_mon || again.tm_hour != tm.tm_hour ||
	    again.tm_min != tm.tm_min || again.tm_sec != tm.tm_sec || seconds <= 0 || seconds > 9000000000)
		return -EINVAL;
	at = text + 19;
	if (*at == '.')
		for (at++; *at >= '0' && *at <= '9' && scale; at++, scale /= 10)
			ns += (*at - '0') * scale;
	if (strcmp(at, "Z") != 0)
		return -EINVAL;
	*ret_ns = (int64_t)seconds * 1000000000 + ns;
	return 0;
}

static int name_index(const struct hive_field *field, const char *word, int64_t *ret)
{
	for (int64_t i = 0; field->names[i]; i++)
		if (strcmp(field->names[i], word) == 0) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

static int take_rights(const json_t *value, int64_t *ret)
{
	const json_t *item;
	int64_t rights = 0, one;
	size_t i;

	if (!json_is_array(value))
		return -EINVAL;
	json_array_foreach(value, i, item) {
		one = json_is_string(item) ? hive_right_of(json_string_value(item)) : 0;
		if (!one)
			return -EINVAL;
		rights |= one;
	}
	*ret = rights;
	return 0;
}

static const char *wanted(const struct hive_field *field)
{
	return is_rights(field)		   ? "a list of rights"
	       : field->flags & HIVE_F_SET  ? "a list of the words that the API lists"
	       : field->flags & HIVE_F_JSON ? "an object"
	       : field->names		   ? "one of the words that the API lists"
	       : field->kind == HIVE_TEXT ? "a text"
	       : field->kind == HIVE_BOOL ? "true or false"
	       : field->kind == HIVE_TIME ? "a time in UTC, as 2026-11-21T11:50:57Z"
					   : "an integer";
}

static int take_set(const struct hive_field *field, const json_t *value, int64_t *ret)
{
	const json_t *item;
	int64_t bits = 0, bit;
	size_t i;

	if (!json_is_array(value))
		return -EINVAL;
	json_array_foreach(value, i, item) {
		if (!json_is_string(item) || name_index(field, json_string_value(item), &bit) < 0)
			return -EINVAL;
		bits |= INT64_C(1) << bit;
	}
	*ret = bits;
	return 0;
}

static int take_text(const struct hive_field *field, const json_t *value, void *row)
{
	bool object = (field->flags & HIVE_F_JSON) != 0;
	char **text = hive_field_text(field, row), *copy = NULL;

	if (json_is_null(value))
		;
	else if (object ? !json_is_object(value) : !json_is_string(value))
		return -EINVAL;
	else
		copy = object ? json_dumps(value, JSON_COMPACT) : strdup(json_string_value(value));
	if (!json_is_null(value) && !copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static int take_value(const struct hive_field *field, const json_t *value, void *row)
{
	int64_t *number = hive_field_int(field, row);

	if (field->kind == HIVE_TEXT)
		return take_text(field, value, row);
	if (is_rights(field))
		return take_rights(value, number);
	if (field->flags & HIVE_F_SET)
		return take_set(field, value, number);
	if (field->names)
		return json_is_string(value) ? name_index(field, json_string_value(value), number) : -EINVAL;
	if (field->kind == HIVE_BOOL) {
		*number = json_is_true(value);
		return json_is_boolean(value) ? 0 : -EINVAL;
	}
	if (field->kind == HIVE_TIME && json_is_string(value))
		return hive_http_time(json_string_value(value), number);
	if (json_is_null(value) && (field->kind == HIVE_TIME || field->kind == HIVE_REF)) {
		*number = 0;
		return 0;
	}
	*number = json_integer_value(value);
	return json_is_integer(value) && field->kind != HIVE_TIME ? 0 : -EINVAL;
}

static bool in_list(const char *const *list, const char *word)
{
	for (; list && *list; list++)
		if (strcmp(*list, word) == 0)
			return true;
	return false;
}

static const struct hive_field *field_named(const struct hive_table *table, const char *word)
{
	char name[NAME_MAX_BYTES];

	for (uint32_t i = 0; i < table->n_fields; i++)
		if (strcmp(json_name(&table->fields[i], name), word) == 0)
			return &table->fields[i];
	return NULL;
}

void hive_http_take_row(const struct hive_http_take *take, const json_t *body, void *row,
			struct skep_problems *problems)
{
	const char *key;
	json_t *value;
	char pointer[NAME_MAX_BYTES + 2];

	json_object_foreach((json_t *)body, key, value) {
		const struct hive_field *field =
			in_list(take->fields, key) ? field_named(take->table, key) : NULL;

		snprintf(pointer, sizeof(pointer), "/%.*s", NAME_MAX_BYTES, key);
		if (in_list(take->also, key))
			continue;
		if (!field)
			skep_problems_add(problems, "unknown-field", pointer, "%.64s: is no field that can be set", key);
		else if (take_value(field, value, row) < 0)
			skep_problems_add(problems, "bad-value", pointer, "%s: must be %s", key, wanted(field));
	}
}

/* ---- lists ---- */

static int bad_query(struct hive_call *call, const char *name, const char *why)
{
	(void)skep_http_refuse(call->req, 400, "bad-query", NULL, "%s: %s", name, why);
	return SKEP_E_USAGE;
}

static int take_cond(struct hive_call *call, const struct hive_field *field, enum hive_op op,
		     const char *name, const char *value, struct hive_list *list)
{
	struct hive_cond cond = { .field = field, .op = op, .text = value };
	char *end;
	int r = 0;

	if (list->n_conds >= HIVE_CONDS_MAX - 2) /* two for what the actor may see */
		return bad_query(call, name, "too many conditions");
	errno = 0;
	if (field->kind == HIVE_TIME) {
		r = hive_http_time(value, &cond.number);
	} else if (field->kind == HIVE_BOOL) {
		cond.number = strcmp(value, "true") == 0;
		r = cond.number || strcmp(value, "false") == 0 ? 0 : -EINVAL;
	} else if (field->names) {
		r = name_index(field, value, &cond.number);
	} else if (field->kind != HIVE_TEXT) {
		cond.number = strtoll(value, &end, 10);
		r = *end || end == value || errno ? -EINVAL : 0;
	}
	if (r < 0 || (op == HIVE_HAS && field->kind != HIVE_TEXT))
		return bad_query(call, name, wanted(field));
	list->conds[list->n_conds++] = cond;
	return 0;
}

static int take_conds(struct hive_call *call, const struct hive_field *field, struct hive_list *list)
{
	static const struct {
		const char *suffix;
		enum hive_op op;
	} ops[] = { { "", HIVE_EQ }, { ".ge", HIVE_GE }, { ".le", HIVE_LE }, { ".has", HIVE_HAS } };
	char base[NAME_MAX_BYTES], name[NAME_MAX_BYTES + 8];
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(ops) && r == 0; i++) {
		const char *value;

		snprintf(name, sizeof(name), "%s%s", json_name(field, base), ops[i].suffix);
		value = skep_http_query(call->req, name);
		if (value)
			r = take_cond(call, field, ops[i].op, name, value, list);
	}
	return r;
}

static int take_order(struct hive_call *call, const struct hive_table *table, struct hive_list *list)
{
	const char *sort = skep_http_query(call->req, "sort"), *limit = skep_http_query(call->req, "limit");
	struct skep_err err = SKEP_ERR_NULL;
	uint64_t n = PAGE;

	list->after = skep_http_query(call->req, "cursor");
	if (limit && skep_parse_uint("limit", limit, 1, HIVE_PAGE_MAX, &n, &err))
		return bad_query(call, "limit", err.text);
	list->limit = (uint32_t)n;
	if (!sort)
		return 0;
	list->descending = *sort == '-';
	sort += list->descending;
	if (strcmp(sort, "id") == 0)
		return 0;
	list->sort = field_named(table, sort);
	return list->sort && (list->sort->flags & HIVE_F_QUERY) ? 0 : bad_query(call, "sort", "this list cannot be sorted by that");
}

/* Every name that this list knows, so that a misspelt condition is refused and not ignored. */
static int check_names(struct hive_call *call, const struct hive_table *table)
{
	static const char *const suffixes[] = { "", ".ge", ".le", ".has" };
	char *texts = calloc(table->n_fields * ARRAY_LEN(suffixes), NAME_MAX_BYTES + 8), base[NAME_MAX_BYTES];
	const char **names = calloc(table->n_fields * ARRAY_LEN(suffixes) + 4, sizeof(*names));
	size_t n = 0;
	int r = texts && names ? 0 : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < table->n_fields; i++)
		for (size_t s = 0; (table->fields[i].flags & HIVE_F_QUERY) && s < ARRAY_LEN(suffixes); s++) {
			char *text = texts + n * (NAME_MAX_BYTES + 8);

			snprintf(text, NAME_MAX_BYTES + 8, "%s%s", json_name(&table->fields[i], base), suffixes[s]);
			names[n++] = text;
		}
	if (r == 0) {
		names[n++] = "limit";
		names[n++] = "cursor";
		names[n++] = "sort";
		r = skep_http_query_only(call->req, names);
	}
	free(names);
	free(texts);
	return r;
}

int hive_http_list(struct hive_call *call, const struct hive_table *table, struct hive_list *ret)
{
	int r = check_names(call, table);

	*ret = (struct hive_list){ .limit = PAGE };
	if (r == 0)
		r = take_order(call, table, ret);
	for (uint32_t i = 0; r == 0 && i < table->n_fields; i++)
		if ((table->fields[i].flags & (HIVE_F_QUERY | HIVE_F_SECRET)) == HIVE_F_QUERY)
			r = take_conds(call, &table->fields[i], ret);
	return r;
}
