/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes --help from the table that opts.c parses. Pure text: at most HELP_WIDTH columns, the same bytes on
 * every terminal and in every locale, so that it can be compared with a golden file. Never reads the
 * environment.
 */
#include "common/opts.h"

#include <string.h>

#define HELP_WIDTH 80
#define HELP_INDENT 26 /* column where the texts start; a longer option gets a line of its own */

/*
 * Writes text in words from `column` on, wrapped, further lines indented; ends the line. Blanks in text are
 * only separators.
 */
static void write_wrapped(FILE *out, const char *text, size_t column, size_t indent)
{
	bool first = true;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (len && !first && column + 1 + len > HELP_WIDTH) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = indent;
			first = true;
		}
		if (len) {
			fprintf(out, "%s%.*s", first ? "" : " ", (int)len, text);
			column += len + !first;
			first = false;
		}
		text += len + (text[len] == ' ');
	}
	fputc('\n', out);
}

/* Lines are paragraphs; one that starts with a blank is an example and stays as it is. */
static void write_paragraphs(FILE *out, const char *text)
{
	char line[1024];

	while (*text) {
		size_t len = strcspn(text, "\n");

		(void)snprintf(line, sizeof(line), "%.*s", (int)len, text);
		if (line[0] == ' ')
			fprintf(out, "%s\n", line);
		else
			write_wrapped(out, line, 0, 0);
		text += len + (text[len] == '\n');
	}
}

static size_t write_names(FILE *out, const struct skep_opt *opt)
{
	char names[HELP_WIDTH + 1];
	size_t n;

	if (opt->letter)
		n = (size_t)snprintf(names, sizeof(names), "  -%c%s", opt->letter, opt->name ? ", " : "");
	else
		n = (size_t)snprintf(names, sizeof(names), "      ");
	if (opt->name)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "--%.40s", opt->name);
	if (opt->arg)
		n += (size_t)snprintf(names + n, sizeof(names) - n, " %.20s", opt->arg);
	fputs(names, out);
	return n;
}

static void write_row(FILE *out, const struct skep_opt *opt)
{
	char text[1024];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s", opt->help);
	size_t column = write_names(out, opt);

	if (opt->choices) {
		n = SKEP_MIN(n, sizeof(text) - 1);
		for (int i = 0; opt->choices[i] && n < sizeof(text); i++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? ", " : ": ", opt->choices[i]);
	}
	if (opt->fallback && n < sizeof(text))
		(void)snprintf(text + n, sizeof(text) - n, " (default: %s)", opt->fallback);
	if (column + 2 > HELP_INDENT) {
		fputc('\n', out);
		column = 0;
	}
	fprintf(out, "%*s", (int)(HELP_INDENT - column), "");
	write_wrapped(out, text, HELP_INDENT, HELP_INDENT);
}

void skep_opts_help(const struct skep_opts *opts, FILE *out)
{
	for (int i = 0; opts->usage[i]; i++)
		fprintf(out, "%s %s %s\n", i ? "      " : "Usage:", opts->program, opts->usage[i]);
	if (opts->about) {
		fputc('\n', out);
		write_paragraphs(out, opts->about);
	}
	if (opts->n && opts->table[0].type != SKEP_OPT_HEADER)
		fputs("\nOptions:\n", out);
	for (size_t i = 0; i < opts->n; i++) {
		if (!opts->table[i].help)
			continue;
		if (opts->table[i].type == SKEP_OPT_HEADER)
			fprintf(out, "\n%s:\n", opts->table[i].help);
		else
			write_row(out, &opts->table[i]);
	}
	if (opts->epilogue) {
		fputc('\n', out);
		write_paragraphs(out, opts->epilogue);
	}
}
