/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_DB_ROW_H
#define HIVE_DB_ROW_H
/*
 * Rows as structs: one table of fields per kind of thing inserts, reads, changes and lists it, so that a
 * column cannot be read from another place than it was written to. Every such struct begins with
 * `struct hive_row head`; texts are malloc'ed and belong to the struct.
 */
#include "hive/db/sql.h"

enum hive_kind {
	HIVE_INT,  /* int64_t */
	HIVE_BOOL, /* int64_t, 0 or 1 */
	HIVE_TIME, /* int64_t, nanoseconds since 1970 in UTC; 0: never, stored as NULL */
	HIVE_REF,  /* int64_t, another row's id; 0: none, stored as NULL */
	HIVE_TEXT, /* char * */
};

enum {
	HIVE_F_SECRET = 1, /* leaves the process for nobody */
	HIVE_F_QUERY = 2,  /* lists may be filtered and sorted by it: it is indexed, or its table is small */
	HIVE_F_FIXED = 4,  /* set when the row is made, never changed */
	HIVE_F_JSON = 8,   /* the text is a JSON object, and goes in and out as one */
	HIVE_F_SET = 16,   /* the number is bits, and goes in and out as a list of their names */
};

struct hive_field {
	const char *name; /* of the column, and of the JSON member */
	enum hive_kind kind;
	uint32_t flags;
	size_t offset;
	const char *const *names; /* HIVE_INT: the words for 0, 1, …, NULL-terminated; NULL: a number */
};

#define HIVE_FIELD(type, member, kind_, flags_) \
	{ .name = #member, .kind = (kind_), .flags = (flags_), .offset = offsetof(struct type, member) }
#define HIVE_NAMED(type, member, names_, flags_)                                                             \
	{ .name = #member, .kind = HIVE_INT, .flags = (flags_), .offset = offsetof(struct type, member), \
	  .names = (names_) }
#define HIVE_TABLE(name_, fields_, type)                                              \
	{                                                                             \
		.name = (name_), .fields = (fields_), .n_fields = ARRAY_LEN(fields_), \
		.row_bytes = sizeof(struct type)                                      \
	}

struct hive_table {
	const char *name;
	const struct hive_field *fields;
	uint32_t n_fields;
	size_t row_bytes;
};

/* id is set by hive_row_insert(); version starts at 1 and grows with each change (the API's ETag). */
struct hive_row {
	int64_t id;
	int64_t version;
};

const struct hive_field *hive_field_find(const struct hive_table *table, const char *name);
static inline int64_t *hive_field_int(const struct hive_field *field, void *row)
{
	return (int64_t *)((char *)row + field->offset);
}
static inline char **hive_field_text(const struct hive_field *field, void *row)
{
	return (char **)((char *)row + field->offset);
}
/* Frees the row's texts and zeroes it; the struct itself is the caller's. */
void hive_row_clear(const struct hive_table *table, void *row);

int hive_row_insert(struct hive_tx *tx, const struct hive_table *table, void *row);
/* ret must be empty (zeroed); -ENOENT. */
int hive_row_get(struct hive_tx *tx, const struct hive_table *table, int64_t id, void *ret);
/* The row with that value in a unique field. */
int hive_row_find(struct hive_tx *tx, const struct hive_table *table, const char *field, const char *value,
		  void *ret);
/*
 * Writes all fields that are not fixed, if the row still has the version given in the struct, which then
 * becomes the next one. -ESTALE: somebody was faster; -ENOENT.
 */
int hive_row_update(struct hive_tx *tx, const struct hive_table *table, void *row);
/*
 * Writes all fields that are not fixed, whichever version is there: for the only writer of the rows. -ENOENT.
 */
int hive_row_store(struct hive_tx *tx, const struct hive_table *table, void *row);
/* version 0: whichever it has. -ESTALE, -ENOENT; -EBUSY: other rows refer to it. */
int hive_row_delete(struct hive_tx *tx, const struct hive_table *table, int64_t id, int64_t version);

enum hive_op {
	HIVE_EQ,
	HIVE_NE,
	HIVE_LT,
	HIVE_LE,
	HIVE_GT,
	HIVE_GE,
	HIVE_HAS,   /* the text contains it, in any case */
	HIVE_PEERS, /* the field is the user whose id is given, or one who shares a group with them */
	HIVE_ON_LINK,      /* the field is the id of a job that is on the link whose id is given */
	HIVE_MY_GROUPS,    /* the field is the id of a group of the user whose id is given */
	HIVE_MY_LINKS,     /* the field is the id of a link that a group of the user may use */
	HIVE_MY_DATASETS,  /* the field is the id of a dataset of the user whose id is given */
	HIVE_PEERS_DATASETS, /* the same of the user or of one who shares a group with them */
	HIVE_OR_SHARED,    /* the field is the id given, or the row is shared */
};

struct hive_cond {
	const struct hive_field *field; /* NULL: the id */
	enum hive_op op;
	int64_t number;
	const char *text; /* HIVE_TEXT only */
};

#define HIVE_CONDS_MAX 12
#define HIVE_PAGE_MAX 1000

struct hive_list {
	struct hive_cond conds[HIVE_CONDS_MAX]; /* all must hold */
	uint32_t n_conds;
	const struct hive_field *sort; /* NULL: by id */
	bool descending;
	const char *after; /* `next` of the page before; NULL: the first page */
	uint32_t limit;    /* 1..HIVE_PAGE_MAX */
};

struct hive_rows {
	const struct hive_table *table;
	void *items; /* n structs of table->row_bytes */
	uint32_t n;
	char *next; /* cursor of the next page; NULL: this was the last */
};

static inline void *hive_rows_at(const struct hive_rows *rows, uint32_t i)
{
	return (char *)rows->items + i * rows->table->row_bytes;
}
/* -EINVAL: the cursor is not one of this sort order. */
int hive_row_list(struct hive_tx *tx, const struct hive_table *table, const struct hive_list *list,
		  struct hive_rows *ret);
/* Every row, by id; stops at the first error of `call`, and returns it. */
int hive_row_each(struct hive_tx *tx, const struct hive_table *table, int (*call)(void *arg, void *row),
		  void *arg);
void hive_rows_clear(struct hive_rows *rows);

#define _hive_rows_ SKEP_CLEANUP(hive_rows_clear)

#endif
