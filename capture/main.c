/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-capture: reads the command line and hands over. Everything it calls is in the static library, so tests
 * link what ships.
 */
#include "capture/extract.h"
#include "capture/options.h"
#include "capture/probe.h"
#include "capture/recover.h"
#include "capture/run.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>

static int command(const struct cap_options *opts, struct skep_err *err)
{
	struct cap_probe_cfg probe = { .links = opts->links.items, .n_links = opts->links.n };

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
	case CAP_COMMAND_LIST:
		return skep_err_exit_code(cap_probe_list(stdout, err));
	case CAP_COMMAND_PROBE:
		probe.dir = opts->write_kind == CAP_WRITE_DIR ? opts->write : ".";
		return skep_err_exit_code(cap_probe_json(&probe, stdout, err));
	case CAP_COMMAND_RECOVER:
		return skep_err_exit_code(cap_recover_dir(opts->recover_dir, stdout, err));
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct cap_options opts;
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	if (argc > 1 && strcmp(argv[1], "extract") == 0)
		return cap_extract_command(argc - 1, argv + 1);
	r = cap_options_parse(argc, argv, &opts, &err);
	if (r) {
		skep_err_print(stderr, "skep-capture", &err);
		return skep_err_exit_code(r);
	}
	if (opts.verbose)
		skep_log_set_level(SKEP_LOG_DEBUG);
	r = command(&opts, &err);
	if ((r == 1 || r == 2) && err.text[0])
		skep_err_print(stderr, "skep-capture", &err);
	cap_options_fini(&opts);
	return r;
}
