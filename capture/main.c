/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-capture: reads the command line and hands over. Everything it calls is in the static library, so tests link what ships.
 */
#include "capture/options.h"
#include "capture/run.h"
#include "common/log.h"

#include <stdio.h>

static void complain(const struct skep_err *err)
{
	fprintf(stderr, "skep-capture: %s\n", err->text);
	if (err->hint[0])
		fprintf(stderr, "              %s\n", err->hint);
}

static int command(const struct cap_options *opts, struct skep_err *err)
{
	switch (opts->command) {
	case CAP_COMMAND_HELP:
		cap_options_help(stdout);
		return 0;
	case CAP_COMMAND_VERSION:
		puts("skep-capture " SKEP_VERSION);
		return 0;
	case CAP_COMMAND_CHECK:
	case CAP_COMMAND_CAPTURE:
		return cap_run(opts, err);
	default:
		break;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct cap_options opts;
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	r = cap_options_parse(argc, argv, &opts, &err);
	if (r) {
		complain(&err);
		return skep_err_exit_code(r);
	}
	if (opts.verbose)
		skep_log_set_level(SKEP_LOG_DEBUG);
	r = command(&opts, &err);
	if ((r == 1 || r == 2) && err.text[0])
		complain(&err);
	cap_options_fini(&opts);
	return r;
}
