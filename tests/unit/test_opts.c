/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that one table reads tcpdump's way of writing options and refuses everything else in words, and that
 * the same table's --help is within 80 columns and byte for byte what was agreed.
 */
#include "tests/unit/unit.h"

#include "common/opts.h"

#include <stdio.h>

struct cfg {
	struct skep_strings links;
	const char *write;
	uint32_t snaplen;
	uint64_t count;
	uint64_t size_bytes;
	uint64_t wait_ns;
	int format;
	bool verbose, list;
	char calls[64];
};

static int call(void *arg, const char *what, const char *value, struct skep_err *err)
{
	struct cfg *cfg = arg;
	size_t n = strlen(cfg->calls);

	if (strcmp(value, "bad") == 0)
		return skep_err_set(err, SKEP_E_USAGE, "%s: bad", what);
	snprintf(cfg->calls + n, sizeof(cfg->calls) - n, "%s=%s;", what, value);
	return 0;
}

static const char *const formats[] = { "pcap", "pcapng", NULL };
static const char *const usage[] = { "-i IF -w FILE [FILTER]", "-D", NULL };
static const struct skep_opt table[] = {
	SKEP_OPT_HEADING("What"),
	{ .name = "interface", .letter = 'i', .type = SKEP_OPT_STRINGS, .arg = "IF", .offset = offsetof(struct cfg, links),
	  .help = "capture on this interface; may be given several times" },
	{ .name = "write", .letter = 'w', .type = SKEP_OPT_STRING, .arg = "FILE", .offset = offsetof(struct cfg, write),
	  .help = "write to FILE" },
	{ .letter = 'c', .type = SKEP_OPT_UINT64, .arg = "N", .offset = offsetof(struct cfg, count), .min = 1,
	  .help = "stop after N packets" },
	{ .name = "snapshot-length-in-bytes", .letter = 's', .type = SKEP_OPT_UINT32, .arg = "N", .max = 262144,
	  .offset = offsetof(struct cfg, snaplen), .fallback = "262144",
	  .help = "keep at most N bytes of each packet, which is a text that is long enough to be wrapped" },
	SKEP_OPT_HEADING("How"),
	{ .name = "format", .type = SKEP_OPT_CHOICE, .arg = "F", .choices = formats, .fallback = "pcap",
	  .offset = offsetof(struct cfg, format), .help = "file format" },
	{ .name = "size", .type = SKEP_OPT_SIZE, .arg = "BYTES", .offset = offsetof(struct cfg, size_bytes), .help = "size" },
	{ .name = "wait", .type = SKEP_OPT_DURATION, .arg = "T", .offset = offsetof(struct cfg, wait_ns), .help = "time" },
	{ .name = "autostop", .letter = 'a', .type = SKEP_OPT_CALL, .arg = "COND", .repeat = true, .call = call,
	  .help = "stop when" },
	{ .name = "verbose", .letter = 'v', .type = SKEP_OPT_FLAG, .offset = offsetof(struct cfg, verbose), .help = "more" },
	{ .name = "list", .letter = 'D', .type = SKEP_OPT_FLAG, .offset = offsetof(struct cfg, list), .help = "list links" },
	{ .letter = 'n', .type = SKEP_OPT_FLAG, .repeat = true, .offset = offsetof(struct cfg, verbose) },
	{ .name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "show this text" },
	{ .name = "version", .type = SKEP_OPT_VERSION, .help = "show the version" },
};
static const struct skep_opts opts = {
	.program = "skep-test",
	.usage = usage,
	.about = "Reads options.",
	.table = table,
	.n = ARRAY_LEN(table),
	.epilogue = "Example:\n  skep-test -i eth1 -w out.pcap.zst",
};

static char *last_argv[32];

static int parse(struct cfg *cfg, struct skep_opts_words *words, struct skep_err *err, ...)
{
	int argc = 1;
	va_list ap;

	last_argv[0] = (char *)"skep-test";
	va_start(ap, err);
	while ((last_argv[argc] = va_arg(ap, char *)))
		argc++;
	va_end(ap);
	return skep_opts_parse(&opts, argc, last_argv, cfg, words, err);
}

#define PARSE(cfg, words, err, ...) parse(cfg, words, err, __VA_ARGS__, NULL)

static void test_values(void **state)
{
	struct skep_opts_words words;
	struct skep_err err = SKEP_ERR_NULL;
	struct cfg cfg = { 0 };

	(void)state;
	assert_int_equal(PARSE(&cfg, &words, &err, "-i", "eth1", "-ieth2", "--interface=eth3", "--interface", "eth4", "-w", "-",
			       "-c5", "--size=64KiB", "--wait", "2h", "--format=pcapng", "-s", "96"), 0);
	assert_int_equal(cfg.links.n, 4);
	assert_string_equal(cfg.links.items[0], "eth1");
	assert_string_equal(cfg.links.items[1], "eth2");
	assert_string_equal(cfg.links.items[2], "eth3");
	assert_string_equal(cfg.links.items[3], "eth4");
	assert_string_equal(cfg.write, "-");
	assert_int_equal(cfg.count, 5);
	assert_int_equal(cfg.snaplen, 96);
	assert_int_equal(cfg.size_bytes, 65536);
	assert_int_equal(cfg.wait_ns, 7200000000000);
	assert_int_equal(cfg.format, 1);
	assert_false(cfg.verbose);
	assert_int_equal(words.n, 0);
	assert_true(skep_opts_given(&opts, &words, "snapshot-length-in-bytes"));
	assert_true(skep_opts_given(&opts, &words, "c"));
	assert_false(skep_opts_given(&opts, &words, "list"));
}

static void test_words(void **state)
{
	static const char *const expected[] = { "udp", "port", "443", "-c", "--x" };
	struct skep_opts_words words;
	struct cfg cfg = { 0 };

	(void)state;
	assert_int_equal(PARSE(&cfg, &words, NULL, "udp", "-vDi", "eth1", "port", "-a", "duration:1", "443", "--autostop=x", "--",
			       "-c", "--x"), 0);
	assert_int_equal(words.n, ARRAY_LEN(expected));
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		assert_string_equal(words.words[i], expected[i]);
	assert_true(cfg.verbose && cfg.list);
	assert_string_equal(cfg.links.items[0], "eth1");
	assert_string_equal(cfg.calls, "-a=duration:1;--autostop=x;");
	assert_int_equal(PARSE(&cfg, &words, NULL, "-nnn"), 0);
}

static void test_help_stops(void **state)
{
	struct skep_opts_words words;
	struct cfg cfg = { 0 };

	(void)state;
	assert_int_equal(PARSE(&cfg, &words, NULL, "-h", "--nonsense"), 0);
	assert_true(words.help);
	assert_int_equal(PARSE(&cfg, &words, NULL, "-vh", "--nonsense"), 0);
	assert_true(words.help);
	assert_int_equal(PARSE(&cfg, &words, NULL, "--version", "--nonsense"), 0);
	assert_true(words.version && !words.help);
}

#define REFUSED(text_, hint_, ...)                                                             \
	do {                                                                                   \
		struct skep_opts_words _words;                                                 \
		struct skep_err _err = SKEP_ERR_NULL;                                          \
		struct cfg _cfg = { 0 };                                                       \
		assert_int_equal(PARSE(&_cfg, &_words, &_err, __VA_ARGS__), SKEP_E_USAGE);     \
		assert_string_equal(_err.text, text_);                                         \
		assert_string_equal(_err.hint, hint_);                                         \
	} while (0)

static void test_refusals(void **state)
{
	(void)state;
	REFUSED("--interfcae: no such option", "did you mean --interface? See skep-test --help", "--interfcae=eth1");
	REFUSED("--inter: no such option", "did you mean --interface? See skep-test --help", "--inter", "eth1");
	REFUSED("-Wwrite: no such option", "did you mean --write? See skep-test --help", "-Wwrite");
	REFUSED("--nonsense: no such option", "see skep-test --help", "--nonsense");
	REFUSED("-X: no such option", "see skep-test --help", "-vX");
	REFUSED("--write: FILE is missing", "write --write FILE", "--write");
	REFUSED("-w: FILE is missing, the option -c follows", "write -w FILE", "-w", "-c", "5");
	REFUSED("--verbose: takes no value, but \"1\" was given", "", "--verbose=1");
	REFUSED("-w: given twice", "", "-wa", "-wb");
	REFUSED("--autostop: bad", "", "--autostop=bad");
	REFUSED("--format: \"xml\" is not one of its values", "write one of pcap, pcapng", "--format", "xml");
	REFUSED("-c: \"0\" is too small", "write a whole number from 1", "-c0");
	REFUSED("-s: \"262145\" is too large", "write a whole number from 0 to 262144", "-s", "262145");
}

static void test_value_that_looks_like_an_option(void **state)
{
	struct skep_opts_words words;
	struct cfg cfg = { 0 };

	(void)state;
	assert_int_equal(PARSE(&cfg, &words, NULL, "--write=-c", "-i", "-odd"), 0);
	assert_string_equal(cfg.write, "-c");
	assert_string_equal(cfg.links.items[0], "-odd");
}

static void test_help_text(void **state)
{
	static const char expected[] =
		"Usage: skep-test -i IF -w FILE [FILTER]\n"
		"       skep-test -D\n"
		"\n"
		"Reads options.\n"
		"\n"
		"What:\n"
		"  -i, --interface IF      capture on this interface; may be given several times\n"
		"  -w, --write FILE        write to FILE\n"
		"  -c N                    stop after N packets\n"
		"  -s, --snapshot-length-in-bytes N\n"
		"                          keep at most N bytes of each packet, which is a text\n"
		"                          that is long enough to be wrapped (default: 262144)\n"
		"\n"
		"How:\n"
		"      --format F          file format: pcap, pcapng (default: pcap)\n"
		"      --size BYTES        size\n"
		"      --wait T            time\n"
		"  -a, --autostop COND     stop when\n"
		"  -v, --verbose           more\n"
		"  -D, --list              list links\n"
		"  -h, --help              show this text\n"
		"      --version           show the version\n"
		"\n"
		"Example:\n"
		"  skep-test -i eth1 -w out.pcap.zst\n";
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	skep_opts_help(&opts, out);
	fclose(out);
	assert_string_equal(text, expected);
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
		assert_true(strcspn(line, "\n") <= 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),    cmocka_unit_test(test_words),
		cmocka_unit_test(test_refusals),  cmocka_unit_test(test_value_that_looks_like_an_option),
		cmocka_unit_test(test_help_text), cmocka_unit_test(test_help_stops),
	};

	return cmocka_run_group_tests_name("opts", tests, NULL, NULL);
}
