/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_INI_H
#define SKEP_INI_H
/*
 * Configuration files: [section], name = value, # comments. One table of rows says what may stand where;
 * anything else is refused with FILE:LINE.
 */
#include "common/err.h"

#include <stdbool.h>

enum skep_ini_type {
	SKEP_INI_TEXT,	   /* char[size]; longer values are refused */
	SKEP_INI_UINT32,   /* uint32_t, min..max (max 0: UINT32_MAX) */
	SKEP_INI_SIZE,	   /* uint64_t bytes, see skep_parse_size; min..max */
	SKEP_INI_DURATION, /* uint64_t nanoseconds, see skep_parse_duration; min..max */
	SKEP_INI_BOOL,	   /* bool: yes, no, on, off, true, false */
	SKEP_INI_CHOICE,   /* int: index into choices */
};

struct skep_ini_row {
	const char *section; /* "spool"; "link *" stands for each [link NAME], see skep_ini.instance */
	const char *name;
	enum skep_ini_type type;
	size_t offset, size; /* in the program's struct, or in what instance() returned */
	uint64_t min, max;
	const char *const *choices; /* NULL-terminated */
};

struct skep_ini {
	const struct skep_ini_row *rows;
	size_t n;
	/*
	 * "[link eth1]" → the struct for it, with section "link *" and name "eth1", the same each time it is
	 * asked; NULL with err: refused. May be NULL if no row has a '*'.
	 */
	void *(*instance)(void *cfg, const char *section, const char *name, struct skep_err *err);
};

/* 0, SKEP_E_USAGE with "FILE:LINE: …", SKEP_E_NOT_FOUND, or -errno. cfg may be half filled then. */
int skep_ini_load(const char *path, const struct skep_ini *ini, void *cfg, struct skep_err *err);

#endif
