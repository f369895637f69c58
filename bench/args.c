/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Beginning and end of every bench program: options and a rate are read, a signal ends what runs, a result is
 * written as one line of JSON, a refusal is said in words.
 */
#include "bench/args.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

volatile sig_atomic_t bench_args_stop;

static void on_signal(int sig)
{
	(void)sig;
	bench_args_stop = 1;
}

void bench_args_catch_signals(void)
{
	const struct sigaction action = { .sa_handler = on_signal };

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

int bench_args_parse(const struct skep_opts *opts, int argc, char **argv, void *cfg,
		     struct skep_opts_words *words, struct skep_err *err)
{
	const int r = skep_opts_parse(opts, argc, argv, cfg, words, err);

	if (!r && words->help)
		skep_opts_help(opts, stdout);
	return r;
}

int bench_args_rate(const char *what, const char *text, double *ret_rate, bool *ret_is_bits,
		    struct skep_err *err)
{
	static const struct {
		const char *unit;
		double factor;
	} units[] = { { "", 1 }, { "k", 1e3 }, { "M", 1e6 }, { "G", 1e9 } };
	char *end;
	double v = strtod(text, &end);
	size_t i, n;

	for (i = ARRAY_LEN(units); i-- > 0 && end != text;) {
		n = strlen(units[i].unit);
		if (strncmp(end, units[i].unit, n) != 0)
			continue;
		v *= units[i].factor;
		end += n;
		if (!(v > 0 && v <= 1e12) || (*end && strcmp(end, "pps") != 0 && strcmp(end, "bps") != 0))
			break;
		*ret_rate = v;
		*ret_is_bits = *end == 'b';
		return 0;
	}
	(void)skep_err_set(err, SKEP_E_USAGE, "%s %s: not a rate above 0", what, text);
	return skep_err_hint(err, "write frames or bits per second, like 200kpps, 1.5Mpps or 2Gbps");
}

int bench_args_print(json_t *object)
{
	int r;

	if (!object)
		return -ENOMEM;
	r = json_dumpf(object, stdout, JSON_COMPACT);
	json_decref(object);
	if (r || putchar('\n') == EOF || fflush(stdout))
		return errno ? -errno : -EIO;
	return 0;
}

int bench_args_exit(const char *program, int r, const struct skep_err *err)
{
	if (r)
		(void)fprintf(stderr, "%s: %s%s%s\n", program, err->text, err->hint[0] ? "; " : "",
			      err->hint);
	return skep_err_exit_code(r);
}
