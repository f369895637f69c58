/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_OPTS_H
#define SKEP_OPTS_H
/*
 * One table parses a command line and writes its --help (after xdp-tools lib/util/params.c), so the two
 * cannot disagree.
 *
 * Letters are tcpdump's way: -i IF, -iIF, -c5, flags may be joined (-vn). Long options: --name VALUE or
 * --name=VALUE, never abbreviated; an unknown one is refused with the nearest name. "--" ends the options.
 * Words that are not options are collected wherever they stand. An option given twice is refused unless it
 * may repeat.
 *
 *	struct cfg { struct skep_strings links; uint64_t packets; int format; };
 *	static const struct skep_opt table[] = {
 *		SKEP_OPT_HEADING("What to capture"),
 *		{ .name = "interface", .letter = 'i', .type = SKEP_OPT_STRINGS, .arg = "IF",
 *		  .offset = offsetof(struct cfg, links), .help = "capture on this interface; may be given several times" },
 *		{ .name = "format", .type = SKEP_OPT_CHOICE, .arg = "F", .choices = formats, .fallback = "pcap", … },
 *		{ .name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "show this text" },
 *	};
 */
#include "common/err.h"

#include <stdbool.h>
#include <stdio.h>

#define SKEP_OPTS_MAX 128   /* rows of a table */
#define SKEP_STRINGS_MAX 64 /* values of one SKEP_OPT_STRINGS */

struct skep_strings {
	uint32_t n;
	const char *items[SKEP_STRINGS_MAX]; /* borrowed from argv */
};

enum skep_opt_type {
	SKEP_OPT_HEADER,   /* no option: the row's help is a group heading */
	SKEP_OPT_HELP,     /* stops parsing, sets words->help */
	SKEP_OPT_VERSION,  /* stops parsing, sets words->version */
	SKEP_OPT_FLAG,     /* bool: true */
	SKEP_OPT_STRING,   /* const char *: borrowed from argv */
	SKEP_OPT_STRINGS,  /* struct skep_strings; may repeat */
	SKEP_OPT_UINT32,   /* uint32_t, min..max (max 0: UINT32_MAX) */
	SKEP_OPT_UINT64,   /* uint64_t, min..max (max 0: UINT64_MAX) */
	SKEP_OPT_SIZE,     /* uint64_t bytes, see skep_parse_size */
	SKEP_OPT_DURATION, /* uint64_t nanoseconds, see skep_parse_duration */
	SKEP_OPT_CHOICE,   /* int: index into choices */
	SKEP_OPT_CALL,     /* call(): anything else; offset is its own business */
};

struct skep_opt {
	const char *name; /* without "--"; NULL: the option has a letter only */
	char letter;      /* 0: none */
	enum skep_opt_type type;
	bool repeat;           /* may be given several times (the last wins, or call sees each) */
	const char *arg;       /* name of the value in --help ("IF"); NULL for flags */
	const char *help;      /* NULL: accepted, but not shown */
	const char *fallback;  /* shown as "(default: …)"; the program sets it before parsing */
	const char *const *choices; /* NULL-terminated; --help lists them after the text */
	size_t offset;         /* of the field in the program's struct */
	uint64_t min, max;
	/*
	 * SKEP_OPT_CALL: value is NULL if arg is NULL; what is the option as it was written ("--autostop"),
	 * for refusals. 0, a refusal, or -errno.
	 */
	int (*call)(void *cfg, const char *what, const char *value, struct skep_err *err);
};

#define SKEP_OPT_HEADING(text) { .type = SKEP_OPT_HEADER, .help = (text) }

struct skep_opts {
	const char *program;       /* "skep-capture" */
	/* NULL-terminated: "-i IF -w FILE [FILTER]", each after the program's name */
	const char *const *usage;
	const char *about;         /* a paragraph; NULL: none */
	const struct skep_opt *table;
	size_t n;
	/* paragraphs separated by newlines; a line that starts with a blank is not wrapped; NULL: none */
	const char *epilogue;
};

/* What the command line held beside the values. */
struct skep_opts_words {
	char **words; /* into argv, which is reordered: the words that are not options */
	int n;
	bool help;
	bool version;
	uint8_t given[SKEP_OPTS_MAX]; /* how often each row was given; see skep_opts_given */
};

/*
 * Parses argv[1..argc) into cfg. 0, or SKEP_E_USAGE with a sentence; then cfg and ret hold what came before.
 */
int skep_opts_parse(const struct skep_opts *opts, int argc, char **argv, void *cfg,
		    struct skep_opts_words *ret, struct skep_err *err);
/* Was the option with that long name (or one-letter name) given? */
bool skep_opts_given(const struct skep_opts *opts, const struct skep_opts_words *words, const char *name);
/* Writes --help, at most 80 columns wide. */
void skep_opts_help(const struct skep_opts *opts, FILE *out);

#endif
