/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Builds the statements for tables of fields (see row.h) and moves values between columns and structs. Names
 * of tables and columns come from our own tables only, values always travel as parameters, so nothing that
 * people write becomes SQL. Pages are keyset pages (after this value and id), which stay right while rows
 * come and go, and cost the same on page 1 and page 1000. Never decides who may see a row. Any thread that
 * holds a transaction.
 */
#include "hive/db/row.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SQL_BYTES 4096 /* the widest table has about 50 columns of at most 30 letters, twice */

struct sql {
	char text[SQL_BYTES];
	size_t len;
};

static void SKEP_PRINTF(2, 3) add(struct sql *sql, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(sql->text + sql->len, sizeof(sql->text) - sql->len, fmt, ap);
	va_end(ap);
	assert(n >= 0 && sql->len + (size_t)n < sizeof(sql->text));
	sql->len += (size_t)n;
}

const struct hive_field *hive_field_find(const struct hive_table *table, const char *name)
{
	for (uint32_t i = 0; i < table->n_fields; i++)
		if (strcmp(table->fields[i].name, name) == 0)
			return &table->fields[i];
	return NULL;
}

void hive_row_clear(const struct hive_table *table, void *row)
{
	for (uint32_t i = 0; i < table->n_fields; i++)
		if (table->fields[i].kind == HIVE_TEXT)
			free(*hive_field_text(&table->fields[i], row));
	memset(row, 0, table->row_bytes);
}

static int bind(struct hive_stmt *stmt, int at, const struct hive_field *field, void *row)
{
	int64_t number;

	if (field->kind == HIVE_TEXT)
		return hive_stmt_bind_text(stmt, at, *hive_field_text(field, row));
	number = *hive_field_int(field, row);
	if (number == 0 && (field->kind == HIVE_REF || field->kind == HIVE_TIME))
		return hive_stmt_bind_text(stmt, at, NULL);
	return hive_stmt_bind_int(stmt, at, number);
}

int hive_row_insert(struct hive_tx *tx, const struct hive_table *table, void *row)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	struct hive_row *head = row;
	struct sql sql = { .len = 0 };
	int r;

	add(&sql, "INSERT INTO %s (version", table->name);
	for (uint32_t i = 0; i < table->n_fields; i++)
		add(&sql, ", %s", table->fields[i].name);
	add(&sql, ") VALUES (1");
	for (uint32_t i = 0; i < table->n_fields; i++)
		add(&sql, ", ?");
	add(&sql, ")");
	r = hive_stmt_prepare(tx, sql.text, &stmt);
	for (uint32_t i = 0; r == 0 && i < table->n_fields; i++)
		r = bind(stmt, (int)i + 1, &table->fields[i], row);
	if (r == 0)
		r = hive_stmt_next(stmt);
	if (r < 0)
		return r;
	head->id = hive_sql_last_id(tx);
	head->version = 1;
	return 0;
}

static void add_columns(struct sql *sql, const struct hive_table *table)
{
	add(sql, "SELECT id, version");
	for (uint32_t i = 0; i < table->n_fields; i++)
		add(sql, ", %s", table->fields[i].name);
	add(sql, " FROM %s", table->name);
}

static int read_row(struct hive_stmt *stmt, const struct hive_table *table, void *row)
{
	struct hive_row *head = row;
	int r = 0;

	head->id = hive_stmt_int(stmt, 0);
	head->version = hive_stmt_int(stmt, 1);
	for (uint32_t i = 0; r == 0 && i < table->n_fields; i++) {
		const struct hive_field *field = &table->fields[i];

		if (field->kind == HIVE_TEXT)
			r = hive_stmt_dup(stmt, (int)i + 2, hive_field_text(field, row));
		else
			*hive_field_int(field, row) = hive_stmt_int(stmt, (int)i + 2);
	}
	if (r < 0)
		hive_row_clear(table, row);
	return r;
}

static int one_row(struct hive_stmt *stmt, const struct hive_table *table, void *ret)
{
	int r = hive_stmt_next(stmt);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	return read_row(stmt, table, ret);
}

int hive_row_get(struct hive_tx *tx, const struct hive_table *table, int64_t id, void *ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	struct sql sql = { .len = 0 };
	int r;

	add_columns(&sql, table);
	add(&sql, " WHERE id = ?");
	r = hive_sql_query(tx, &stmt, sql.text, "i", id);
	return r < 0 ? r : one_row(stmt, table, ret);
}

int hive_row_find(struct hive_tx *tx, const struct hive_table *table, const char *field, const char *value,
		  void *ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	struct sql sql = { .len = 0 };
	int r;

	assert(hive_field_find(table, field));
	add_columns(&sql, table);
	add(&sql, " WHERE %s = ?", field);
	r = hive_sql_query(tx, &stmt, sql.text, "t", value);
	return r < 0 ? r : one_row(stmt, table, ret);
}

/* Nothing was changed: is the row gone, or only newer? */
static int why_not(struct hive_tx *tx, const struct hive_table *table, int64_t id)
{
	struct sql sql = { .len = 0 };
	int64_t version;
	int r;

	add(&sql, "SELECT version FROM %s WHERE id = ?", table->name);
	r = hive_sql_int(tx, &version, sql.text, "i", id);
	return r < 0 ? r : -ESTALE;
}

/* version 0: whichever there is. */
static int change_row(struct hive_tx *tx, const struct hive_table *table, void *row, int64_t version)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	struct hive_row *head = row;
	struct sql sql = { .len = 0 };
	int r, at = 0;

	add(&sql, "UPDATE %s SET version = version + 1", table->name);
	for (uint32_t i = 0; i < table->n_fields; i++)
		if (!(table->fields[i].flags & HIVE_F_FIXED))
			add(&sql, ", %s = ?", table->fields[i].name);
	add(&sql, " WHERE id = ?%s RETURNING version", version ? " AND version = ?" : "");
	r = hive_stmt_prepare(tx, sql.text, &stmt);
	for (uint32_t i = 0; r == 0 && i < table->n_fields; i++)
		if (!(table->fields[i].flags & HIVE_F_FIXED))
			r = bind(stmt, ++at, &table->fields[i], row);
	if (r == 0)
		r = hive_stmt_bind_int(stmt, ++at, head->id);
	if (r == 0 && version)
		r = hive_stmt_bind_int(stmt, ++at, version);
	if (r == 0)
		r = hive_stmt_next(stmt);
	if (r == 0)
		return why_not(tx, table, head->id);
	if (r < 0)
		return r;
	head->version = hive_stmt_int(stmt, 0);
	return hive_stmt_next(stmt); /* to its end: only then has it had its effect */
}

int hive_row_update(struct hive_tx *tx, const struct hive_table *table, void *row)
{
	return change_row(tx, table, row, ((struct hive_row *)row)->version);
}

int hive_row_store(struct hive_tx *tx, const struct hive_table *table, void *row)
{
	return change_row(tx, table, row, 0);
}

int hive_row_delete(struct hive_tx *tx, const struct hive_table *table, int64_t id, int64_t version)
{
	struct sql sql = { .len = 0 };
	int64_t n;

	add(&sql, "DELETE FROM %s WHERE id = ?1 AND (?2 = 0 OR version = ?2)", table->name);
	n = hive_sql_change(tx, sql.text, "ii", id, version);
	if (n == -ENOENT)
		return -EBUSY; /* the foreign key of another table */
	if (n == 0)
		return why_not(tx, table, id);
	return n < 0 ? (int)n : 0;
}

/* ---- lists ---- */

static const struct hive_field id_field = { .name = "id", .kind = HIVE_INT };

static const struct hive_field *field_of(const struct hive_cond *cond)
{
	return cond->field ? cond->field : &id_field;
}

static void add_cond(struct sql *sql, const struct hive_cond *cond)
{
	static const char *const ops[] = { "IS", "IS NOT", "<", "<=", ">", ">=" };
	const char *name = field_of(cond)->name;

	if (cond->op == HIVE_PEERS)
		add(sql, " AND (%s = ? OR %s IN (SELECT b.user_id FROM group_members a JOIN group_members b"
			 " ON a.group_id = b.group_id WHERE a.user_id = ?))", name, name);
	else if (cond->op == HIVE_ON_LINK)
		add(sql, " AND %s IN (SELECT job_id FROM job_links WHERE link_id = ?)", name);
	else if (cond->op == HIVE_MY_GROUPS)
		add(sql, " AND %s IN (SELECT group_id FROM group_members WHERE user_id = ?)", name);
	else if (cond->op == HIVE_MY_LINKS)
		add(sql,
		    " AND (%s IN (SELECT l.link_id FROM group_links l JOIN group_members m ON m.group_id = l.group_id"
		    " WHERE m.user_id = ?) OR EXISTS (SELECT 1 FROM group_members m JOIN groups g ON g.id = m.group_id"
		    " WHERE m.user_id = ? AND g.all_links))",
		    name);
	else if (cond->op == HIVE_MY_DATASETS)
		add(sql, " AND %s IN (SELECT id FROM datasets WHERE owner_id = ?)", name);
	else if (cond->op == HIVE_PEERS_DATASETS)
		add(sql,
		    " AND %s IN (SELECT id FROM datasets WHERE owner_id = ? OR owner_id IN (SELECT b.user_id FROM"
		    " group_members a JOIN group_members b ON a.group_id = b.group_id WHERE a.user_id = ?))",
		    name);
	else if (cond->op == HIVE_OR_SHARED)
		add(sql, " AND (%s = ? OR shared)", name);
	else if (cond->op == HIVE_HAS)
		add(sql, " AND instr(lower(%s), lower(?)) > 0", name);
	else
		add(sql, " AND %s %s ?", name, ops[cond->op]);
}

static int bind_cond(struct hive_stmt *stmt, int *at, const struct hive_cond *cond)
{
	const struct hive_field *field = field_of(cond);
	bool twice = cond->op == HIVE_PEERS || cond->op == HIVE_MY_LINKS || cond->op == HIVE_PEERS_DATASETS;
	bool number_as_null = cond->number == 0 && (field->kind == HIVE_REF || field->kind == HIVE_TIME);
	int r;

	if (field->kind == HIVE_TEXT)
		return hive_stmt_bind_text(stmt, ++*at, cond->text);
	if (number_as_null && (cond->op == HIVE_EQ || cond->op == HIVE_NE))
		return hive_stmt_bind_text(stmt, ++*at, NULL);
	r = hive_stmt_bind_int(stmt, ++*at, cond->number);
	if (r == 0 && twice)
		r = hive_stmt_bind_int(stmt, ++*at, cond->number);
	return r;
}

/*
 * A cursor is "KIND.VALUE.ID": kind i (number), n (NULL) or t (text, in hex); it is only a place, not a
 * right, so it needs no seal.
 */
struct cursor {
	char kind;
	int64_t number;
	char *text;
	int64_t id;
};

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int unhex(const char *hex, size_t n, char **ret)
{
	char *text = n % 2 == 0 ? malloc(n / 2 + 1) : NULL;

	if (!text)
		return n % 2 ? -EINVAL : -ENOMEM;
	for (size_t i = 0; i < n / 2; i++) {
		int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0 || high + low == 0) {
			free(text);
			return -EINVAL;
		}
		text[i] = (char)(high << 4 | low);
	}
	text[n / 2] = '\0';
	*ret = text;
	return 0;
}

static int cursor_read(const char *text, const struct hive_field *sort, struct cursor *ret)
{
	const char *value = text + 2, *dot = strchr(text, '.') == text + 1 ? strchr(text + 2, '.') : NULL;
	bool is_text = sort && sort->kind == HIVE_TEXT;
	char *end;

	if (!dot || !strchr(is_text ? "tn" : "in", text[0]) || !dot[1])
		return -EINVAL;
	ret->kind = text[0];
	errno = 0;
	ret->id = strtoll(dot + 1, &end, 10);
	if (*end || errno)
		return -EINVAL;
	if (ret->kind == 't')
		return unhex(value, (size_t)(dot - value), &ret->text);
	if (ret->kind == 'i') {
		ret->number = strtoll(value, &end, 10);
		if (end != dot || errno || end == value)
			return -EINVAL;
	}
	return 0;
}

static int cursor_write(const struct hive_field *sort, void *row, char **ret)
{
	int64_t id = ((struct hive_row *)row)->id, number = sort ? 0 : id;
	const char *text = sort && sort->kind == HIVE_TEXT ? *hive_field_text(sort, row) : NULL;
	bool null = sort && (sort->kind == HIVE_TEXT ? !text : false);
	char *hex;

	if (sort && sort->kind != HIVE_TEXT) {
		number = *hive_field_int(sort, row);
		null = number == 0 && (sort->kind == HIVE_REF || sort->kind == HIVE_TIME);
	}
	if (null)
		return asprintf(ret, "n..%" PRId64, id) < 0 ? -ENOMEM : 0;
	if (!text)
		return asprintf(ret, "i.%" PRId64 ".%" PRId64, number, id) < 0 ? -ENOMEM : 0;
	hex = malloc(2 * strlen(text) + 1);
	if (!hex)
		return -ENOMEM;
	hex[0] = '\0';
	for (size_t i = 0; text[i]; i++)
		snprintf(hex + 2 * i, 3, "%02x", (uint8_t)text[i]);
	if (asprintf(ret, "t.%s.%" PRId64, hex, id) < 0)
		*ret = NULL;
	free(hex);
	return *ret ? 0 : -ENOMEM;
}

/*
 * SQLite sorts NULL before everything. What comes after (value, id), ascending: larger values, or the same
 * value and a larger id; after (NULL, id): all that is not NULL, or NULL and a larger id. Descending mirrors
 * it.
 */
static void add_cursor(struct sql *sql, const struct hive_list *list, const struct cursor *cursor)
{
	const char *name = list->sort ? list->sort->name : "id", *than = list->descending ? "<" : ">";

	if (cursor->kind != 'n' && !list->descending)
		add(sql, " AND (%s > ? OR (%s = ? AND id > ?))", name, name);
	else if (cursor->kind != 'n')
		add(sql, " AND (%s < ? OR %s IS NULL OR (%s = ? AND id < ?))", name, name, name);
	else if (!list->descending)
		add(sql, " AND (%s IS NOT NULL OR (%s IS NULL AND id > ?))", name, name);
	else
		add(sql, " AND %s IS NULL AND id %s ?", name, than);
}

static int bind_cursor(struct hive_stmt *stmt, int *at, const struct cursor *cursor)
{
	int r = 0;

	for (int twice = 0; r == 0 && twice < 2 && cursor->kind != 'n'; twice++)
		r = cursor->kind == 't' ? hive_stmt_bind_text(stmt, ++*at, cursor->text)
					: hive_stmt_bind_int(stmt, ++*at, cursor->number);
	return r < 0 ? r : hive_stmt_bind_int(stmt, ++*at, cursor->id);
}

static int prepare_list(struct hive_tx *tx, const struct hive_table *table, const struct hive_list *list,
			const struct cursor *cursor, struct hive_stmt **ret)
{
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	struct sql sql = { .len = 0 };
	const char *order = list->descending ? "DESC" : "ASC";
	int r, at = 0;

	add_columns(&sql, table);
	add(&sql, " WHERE 1");
	for (uint32_t i = 0; i < list->n_conds; i++)
		add_cond(&sql, &list->conds[i]);
	if (cursor)
		add_cursor(&sql, list, cursor);
	if (list->sort)
		add(&sql, " ORDER BY %s %s, id %s LIMIT ?", list->sort->name, order, order);
	else
		add(&sql, " ORDER BY id %s LIMIT ?", order);
	r = hive_stmt_prepare(tx, sql.text, &stmt);
	for (uint32_t i = 0; r == 0 && i < list->n_conds; i++)
		r = bind_cond(stmt, &at, &list->conds[i]);
	if (r == 0 && cursor)
		r = bind_cursor(stmt, &at, cursor);
	if (r == 0)
		/* one more says whether there is a next page */
		r = hive_stmt_bind_int(stmt, ++at, (int64_t)list->limit + 1);
	if (r == 0)
		*ret = TAKE_PTR(stmt);
	return r;
}

static int read_page(struct hive_stmt *stmt, const struct hive_list *list, struct hive_rows *rows)
{
	int r;

	while ((r = hive_stmt_next(stmt)) > 0) {
		if (rows->n == list->limit)
			return cursor_write(list->sort, hive_rows_at(rows, rows->n - 1), &rows->next);
		r = read_row(stmt, rows->table, hive_rows_at(rows, rows->n));
		if (r < 0)
			return r;
		rows->n++;
	}
	return r;
}

int hive_row_list(struct hive_tx *tx, const struct hive_table *table, const struct hive_list *list,
		  struct hive_rows *ret)
{
	_hive_rows_ struct hive_rows rows = { .table = table };
	_hive_stmt_ struct hive_stmt *stmt = NULL;
	struct cursor cursor = { 0 };
	int r = 0;

	assert(list->n_conds <= HIVE_CONDS_MAX && list->limit >= 1 && list->limit <= HIVE_PAGE_MAX);
	if (list->after)
		r = cursor_read(list->after, list->sort, &cursor);
	if (r == 0)
		r = prepare_list(tx, table, list, list->after ? &cursor : NULL, &stmt);
	free(cursor.text);
	if (r < 0)
		return r;
	rows.items = calloc(list->limit, table->row_bytes);
	if (!rows.items)
		return -ENOMEM;
	r = read_page(stmt, list, &rows);
	if (r < 0)
		return r;
	*ret = rows;
	rows = (struct hive_rows){ .table = table };
	return 0;
}

void hive_rows_clear(struct hive_rows *rows)
{
	for (uint32_t i = 0; i < rows->n; i++)
		hive_row_clear(rows->table, hive_rows_at(rows, i));
	free(rows->items);
	free(rows->next);
	*rows = (struct hive_rows){ .table = rows->table };
}

int hive_row_each(struct hive_tx *tx, const struct hive_table *table, int (*call)(void *arg, void *row),
		  void *arg)
{
	struct hive_list list = { .limit = HIVE_PAGE_MAX };
	_skep_free_ char *after = NULL;
	int r = 0;

	do {
		_hive_rows_ struct hive_rows rows = { .table = table };

		list.after = after;
		r = hive_row_list(tx, table, &list, &rows);
		for (uint32_t i = 0; r == 0 && i < rows.n; i++)
			r = call(arg, hive_rows_at(&rows, i));
		free(after);
		after = TAKE_PTR(rows.next);
	} while (r == 0 && after);
	return r;
}
