/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-control: reads the command line and hands over. Everything it calls is in the static library, so tests
 * link what ships.
 */
#include "common/log.h"
#include "common/opts.h"
#include "control/command.h"
#include "control/daemon.h"
#include "control/doctor.h"

#include <stdio.h>
#include <string.h>

struct options {
	const char *config;
	bool check_config, verbose;
};

static const struct skep_opt table[] = {
	{ .name = "config",
	  .letter = 'c',
	  .type = SKEP_OPT_STRING,
	  .arg = "FILE",
	  .offset = offsetof(struct options, config),
	  .help = "read the configuration from FILE",
	  .fallback = "/etc/skep/control.conf" },
	{ .name = "check-config",
	  .type = SKEP_OPT_FLAG,
	  .offset = offsetof(struct options, check_config),
	  .help = "say whether the configuration is right, and end" },
	{ .name = "verbose",
	  .letter = 'v',
	  .type = SKEP_OPT_FLAG,
	  .offset = offsetof(struct options, verbose),
	  .help = "say more" },
	{ .name = "version", .letter = 'V', .type = SKEP_OPT_VERSION, .help = "show the version" },
	{ .name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "show this text" },
};

static const char *const usage[] = {
	"[OPTION…]", "token new NAME", "token list", "token revoke ID|NAME", "enrol [NAME]", "doctor", NULL,
};

static const struct skep_opts opts = {
	.program = "skep-control",
	.usage = usage,
	.about = "Makes this machine a probe: serves its links, jobs and segments over HTTPS. Without a "
		 "command it "
		 "is the daemon.",
	.table = table,
	.n = ARRAY_LEN(table),
	.epilogue =
		"token makes, lists and revokes what clients show; a new one is shown once. enrol prints the "
		"line to paste on the hive. doctor checks whether this machine is fit to be a probe.\n"
		"Exit codes: 0 done, 1 failed, 2 wrong use.",
};

static int run(const struct options *options, const struct skep_opts_words *words, struct skep_err *err)
{
	struct ctl_config cfg;
	int r = ctl_config_load(options->config ? options->config : "/etc/skep/control.conf",
				options->config != NULL, &cfg, err);

	if (r)
		return r == SKEP_E_NOT_FOUND ? SKEP_E_USAGE : r;
	if (options->check_config) {
		puts("ok");
		return 0;
	}
	if (words->n == 0)
		return ctl_daemon_run(&cfg, err);
	if (!strcmp(words->words[0], "token"))
		return ctl_command_token(&cfg, words->n - 1, words->words + 1, err);
	if (!strcmp(words->words[0], "enrol"))
		return ctl_command_enrol(&cfg, words->n - 1, words->words + 1, err);
	if (!strcmp(words->words[0], "doctor") && words->n == 1)
		return ctl_doctor(&cfg, stdout, err);
	skep_err_set(err, SKEP_E_USAGE, "%s: there is no such command", words->words[0]);
	return skep_err_hint(err, "skep-control --help lists them");
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	struct skep_opts_words words;
	struct skep_err err = SKEP_ERR_NULL;
	int r = skep_opts_parse(&opts, argc, argv, &options, &words, &err);

	if (r == 0 && words.help) {
		skep_opts_help(&opts, stdout);
		return 0;
	}
	if (r == 0 && words.version) {
		puts("skep-control " SKEP_VERSION);
		return 0;
	}
	if (options.verbose)
		skep_log_set_level(SKEP_LOG_DEBUG);
	r = r ?: run(&options, &words, &err);
	if (r && err.text[0])
		skep_err_print(stderr, "skep-control", &err);
	return skep_err_exit_code(r);
}
