/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves what each command line means: those that are good give exactly the expected fields, those that are
 * bad are refused with the right words, a hint where there is something to do, and an untouched result.
 * --help is compared with a golden file.
 */
#include "tests/unit/unit.h"
#include "tests/unit/tool.h"

#include "capture/options.h"

#define MAX_WORDS 24

static char *dir;

/* Splits at blanks; '_' stands for a blank inside a word, so that a table row is one readable string. */
static int split(const char *line, char *buf, size_t size, char **argv)
{
	int argc = 1;

	argv[0] = (char *)"skep-capture";
	snprintf(buf, size, "%s", line);
	for (char *at = buf; *at;) {
		argv[argc++] = at;
		assert_true(argc < MAX_WORDS);
		for (; *at && *at != ' '; at++)
			*at = *at == '_' ? ' ' : *at;
		if (*at)
			*at++ = '\0';
	}
	argv[argc] = NULL;
	return argc;
}

static int parse(const char *line, struct cap_options *ret, struct skep_err *err, char *buf, size_t size)
{
	char *argv[MAX_WORDS + 1];
	int argc = split(line, buf, size, argv);

	return cap_options_parse(argc, argv, ret, err);
}

/* Prints the fields that a test may ask for as "key=value", looks for each wanted pair. */
static void describe(const struct cap_options *o, char *out, size_t size)
{
	size_t at = 0;

#define SHOW(...) at += (size_t)snprintf(out + at, size - at, __VA_ARGS__)
	SHOW(" cmd=%d links=%u snap=%u trim=%d+%u filter=%s; stop=%lu,%lu,%lu rotate=%lu,%lu keep=%u", o->command, o->links.n,
	     o->snaplen, o->trim.kind, o->trim.n, o->filter ? o->filter : "", o->stop_pkts, o->stop_ns, o->stop_raw_bytes,
	     o->rotate_ns, o->rotate_raw_bytes, o->keep_files);
	SHOW(" kind=%d format=%d z=%d level=%d full=%d reserve=%lu direct=%d digest=%d", o->write_kind,
	     o->format, o->compressed, o->level == CAP_LEVEL_AUTO ? 99 : o->level, o->on_full,
	     o->reserve_bytes, o->direct_io, o->digest);
	SHOW(" source=%d role=%d xdp=%d zc=%d ts=%d poll=%d nowake=%d force=%d", o->source, o->role, o->xdp_mode, o->zero_copy,
	     o->timestamps, o->busy_poll, o->no_need_wakeup, o->force);
	SHOW(" queues=%u", o->n_queues);
	for (uint32_t i = 0; i < o->n_queues; i++)
		SHOW(",%u", o->queues[i]);
	SHOW(" cpus=%u", o->n_cpus);
	for (uint32_t i = 0; i < o->n_cpus; i++)
		SHOW(",%u", o->cpus[i]);
	SHOW(" pack=%u memory=%lu user=%s stats=%d q=%d v=%d p=%d job=%s ", o->pack_threads, o->memory_bytes,
	     o->user ? o->user : "", o->stats, o->quiet, o->verbose, o->no_promisc, o->job);
#undef SHOW
}

static const struct {
	const char *line;
	const char *wants[4];
} good[] = {
	{ "-i eth1 -w out.pcap", { " cmd=0 ", " links=1 ", " kind=1 format=0 z=0 level=99 ", " source=0 " } },
	{ "-ieth1 -wout.pcap", { " links=1 ", " kind=1 " } },
	{ "--interface eth1 --write out.pcap.zst", { " z=1 ", " format=0 " } },
	{ "--interface=eth1 --write=out.pcapng", { " z=0 ", " format=1 " } },
	{ "-i eth1 -i eth2 -w out.pcapng.zst", { " links=2 ", " format=1 z=1 " } },
	{ "-i eth1 -w out", { " format=0 z=0 " } },
	{ "-i eth1 -w out --format pcapng", { " format=1 z=0 " } },
	{ "-i eth1 -w out.zst --format pcapng", { " format=1 z=1 " } },
	{ "-i eth1 -w new/", { " kind=2 ", " z=1 " } },
	{ "-i eth1 -w /tmp", { " kind=2 ", " z=1 " } },
	{ "-i eth1 -w -", { " kind=3 ", " z=0 " } },
	{ "-i eth1 -w - --level 3", { " kind=3 ", " z=1 level=3 " } },
	{ "-i eth1 -w /dev/null", { " kind=4 ", " z=0 " } },
	{ "-i eth1 -w /dev/null --level -5", { " kind=4 ", " z=1 level=-5 " } },
	{ "-i eth1 -w a.pcap.zst --level auto", { " z=1 level=99 " } },
	{ "-i eth1 -w a.pcap udp port 443", { " filter=udp port 443; " } },
	{ "-i eth1 -w a.pcap udp_port_443", { " filter=udp port 443; " } },
	{ "udp -i eth1 port -w a.pcap 443", { " filter=udp port 443; " } },
	{ "-i eth1 -w a.pcap -- -x", { " filter=-x; " } },
	{ "-i eth1 -w a.pcap -c 10", { " stop=10,0,0 " } },
	{ "-i eth1 -w a.pcap -c10", { " stop=10,0,0 " } },
	{ "-i eth1 -w a.pcap -a packets:10", { " stop=10,0,0 " } },
	{ "-i eth1 -w a.pcap -a duration:10", { " stop=0,10000000000,0 " } },
	{ "-i eth1 -w a.pcap -a duration:500ms", { " stop=0,500000000,0 " } },
	{ "-i eth1 -w a.pcap -a filesize:10", { " stop=0,0,10000 " } },
	{ "-i eth1 -w a.pcap -a filesize:2GiB", { " stop=0,0,2147483648 " } },
	{ "-i eth1 -w a.pcap -a duration:5m -a packets:7 -a filesize:1", { " stop=7,300000000000,1000 " } },
	{ "-i eth1 -w a.pcap -b duration:60", { " rotate=60000000000,0 keep=0 " } },
	{ "-i eth1 -w a.pcap -b filesize:1000 -b files:5", { " rotate=0,1000000 keep=5 " } },
	{ "-i eth1 -w a.pcap --autostop packets:3 --ring-buffer filesize:1MB", { " stop=3,0,0 ", " rotate=0,1000000 " } },
	{ "-i eth1 -w a.pcap -s 96", { " snap=96 " } },
	{ "-i eth1 -w a.pcap -s 0", { " snap=262144 " } },
	{ "-i eth1 -w a.pcap -s 262144", { " snap=262144 " } },
	{ "-i eth1 -w a.pcap --trim l4", { " trim=3+0 " } },
	{ "-i eth1 -w a.pcap --trim l3+64", { " trim=2+64 " } },
	{ "-i eth1 -w a.pcap --trim l3", { " trim=2+0 " } },
	{ "-i eth1 -w a.pcap --trim 128", { " trim=1+128 " } },
	{ "-r in.pcap -w out.pcap", { " source=4 ", " links=0 " } },
	{ "-r - -w out.pcap", { " source=4 " } },
	{ "-r in.pcap -w out.pcap --source file --cpus 1", { " source=4 ", " cpus=1,1 " } },
	{ "--source stream -w out.pcap", { " source=5 " } },
	{ "--stream-command ssh_switch -w out.pcap", { " source=5 " } },
	{ "--source stream --stream-command cat -w out.pcap", { " source=5 " } },
	{ "-i eth1 -w a.pcap --source xdp --xdp native --zero-copy on", { " source=1 role=0 xdp=1 zc=1 " } },
	{ "-i eth1 -w a.pcap --xdp generic --zero-copy off", { " xdp=2 zc=2 " } },
	{ "-i eth1 -w a.pcap --source mirror --link-role host", { " source=2 role=2 " } },
	{ "-i eth1 -w a.pcap --source afpacket", { " source=3 " } },
	{ "-i eth1 -w a.pcap --link-role tap --force", { " role=1 ", " force=1 " } },
	{ "-i eth1 -w a.pcap --queues 0,2-4", { " queues=4,0,2,3,4 " } },
	{ "-i eth1 -w a.pcap --cpus 3,1", { " cpus=2,3,1 " } },
	{ "-i eth1 -w a.pcap --pack-threads 2 --memory 64MiB", { " pack=2 memory=67108864 " } },
	{ "-i eth1 -w a.pcap --timestamps hw", { " ts=1 " } },
	{ "-i eth1 -w a.pcap --busy-poll --no-need-wakeup", { " poll=1 nowake=1 " } },
	{ "-i eth1 -w a.pcap --on-full stop --reserve 1G", { " full=1 reserve=1000000000 " } },
	{ "-i eth1 -w a.pcap --direct-io off --digest off", { " direct=2 digest=0 " } },
	{ "-i eth1 -w a.pcap --stats json -q", { " stats=1 q=1 v=0 " } },
	{ "-i eth1 -w a.pcap -pv -Z nobody --job night-1", { " user=nobody ", " v=1 p=1 job=night-1 " } },
	{ "-D", { " cmd=1 " } },
	{ "--check -i eth1", { " cmd=2 ", " kind=0 " } },
	{ "--check -i eth1 -w -", { " cmd=2 ", " kind=3 " } },
	{ "--probe", { " cmd=3 ", " links=0 " } },
	{ "--probe -i eth1", { " cmd=3 ", " links=1 " } },
	{ "recover /tmp", { " cmd=4 " } },
	{ "recover -v /tmp", { " cmd=4 ", " v=1 " } },
	{ "--help", { " cmd=5 " } },
	{ "-h --nonsense", { " cmd=5 " } },
	{ "-V", { " cmd=6 " } },
};

static const struct {
	const char *line;
	const char *text; /* part of the refusal */
} bad[] = {
	{ "", "-i is missing" },
	{ "-i eth1", "-w is missing" },
	{ "udp", "-i is missing" },
	{ "-w out.pcap", "-i is missing" },
	{ "-i", "-i: IF is missing" },
	{ "-i -w", "-i: IF is missing" },
	{ "-i eth1 -w", "-w: FILE|DIR|- is missing" },
	{ "-i eth1 -w a.pcap --nonsense", "--nonsense: no such option" },
	{ "-i eth1 -w a.pcap -X", "-X: no such option" },
	{ "-i eth1 -i eth1 -w a.pcap", "-i eth1: given twice" },
	{ "-i a_b -w a.pcap", "cannot be the name of an interface" },
	{ "-i ../eth1 -w a.pcap", "cannot be the name of an interface" },
	{ "-i sixteen-letters1 -w a.pcap", "cannot be the name of an interface" },
	{ "-i= -w a.pcap -i ", "-i: IF is missing" },
	{ "-i eth1 -w a.pcap -w b.pcap", "-w: given twice" },
	{ "-i eth1 -w a.pcap -c 0", "-c" },
	{ "-i eth1 -w a.pcap -c -1", "-c" },
	{ "-i eth1 -w a.pcap -c ten", "-c" },
	{ "-i eth1 -w a.pcap -c 99999999999999999999", "-c" },
	{ "-i eth1 -w a.pcap -c 1 -a packets:2", "given before" },
	{ "-i eth1 -w a.pcap -a packets:2 -c 1", "given before" },
	{ "-i eth1 -w a.pcap -a 10", "is not a condition to stop" },
	{ "-i eth1 -w a.pcap -a files:2", "is not a condition to stop" },
	{ "-i eth1 -w a.pcap -a duration:", "-a" },
	{ "-i eth1 -w a.pcap -a duration:0", "no time at all" },
	{ "-i eth1 -w a.pcap -a duration:5x", "-a" },
	{ "-i eth1 -w a.pcap -a duration:1 -a duration:2", "given before" },
	{ "-i eth1 -w a.pcap -a filesize:0", "-a" },
	{ "-i eth1 -w a.pcap -a filesize:10B", "less than 1 kB" },
	{ "-i eth1 -w a.pcap -b files:3", "nothing says when the next file begins" },
	{ "-i eth1 -w a.pcap -b files:0 -b duration:1", "-b" },
	{ "-i eth1 -w a.pcap -b packets:5", "is not a condition to begin the next file" },
	{ "-i eth1 -w a.pcap -b duration:1 -b duration:1", "given before" },
	{ "-i eth1 -w - -b duration:1", "cannot be rotated" },
	{ "-i eth1 -w /dev/null -b filesize:10", "cannot be rotated" },
	{ "-i eth1 -w a.pcap -s 262145", "-s" },
	{ "-i eth1 -w a.pcap -s big", "-s" },
	{ "-i eth1 -w a.pcap --trim l2", "neither l4" },
	{ "-i eth1 -w a.pcap --trim l3+", "neither l4" },
	{ "-i eth1 -w a.pcap --trim l3+-1", "neither l4" },
	{ "-i eth1 -w a.pcap --trim 0", "neither l4" },
	{ "-i eth1 -w a.pcap --trim l4+1", "neither l4" },
	{ "-i eth1 -w a.pcap --level 10", "neither auto nor a level" },
	{ "-i eth1 -w a.pcap --level -51", "neither auto nor a level" },
	{ "-i eth1 -w a.pcap --level x", "neither auto nor a level" },
	{ "-i eth1 -w a.pcap --level 3", "not compressed" },
	{ "-i eth1 -w a.pcapng --format pcap", "ends in .pcapng" },
	{ "-i eth1 -w a.pcap.zst --format pcapng", "ends in .pcap" },
	{ "-i eth1 -w a --format erf", "\"erf\" is not one of its values" },
	{ "-r a.pcap -i eth1 -w b.pcap", "-r and -i" },
	{ "-r a.pcap -w b.pcap --source xdp", "--source file only" },
	{ "-r a.pcap -w b.pcap --queues 0", "only a link has receive queues" },
	{ "-r a.pcap -w b.pcap --xdp native", "only a link has XDP" },
	{ "-r a.pcap -w b.pcap --zero-copy on", "only a link has zero copy" },
	{ "-r a.pcap -w b.pcap --link-role tap", "only a link has a role" },
	{ "-r a.pcap -w b.pcap --timestamps hw", "bring their time stamps" },
	{ "-r a.pcap -w b.pcap --busy-poll", "can be polled" },
	{ "-r a.pcap -w b.pcap -p", "promiscuous" },
	{ "-r a.pcap -w b.pcap --force", "--force" },
	{ "--source file -w b.pcap", "no file is named" },
	{ "--source file -i eth1 -w b.pcap", "no file is named" },
	{ "--source stream -i eth1 -w b.pcap", "--source stream" },
	{ "--stream-command cat -i eth1 -w b.pcap", "--stream-command and -i" },
	{ "--stream-command cat -r a -w b.pcap", "--stream-command and -r" },
	{ "--stream-command cat --source xdp -w b.pcap", "--source stream only" },
	{ "--stream-command= -w b.pcap", "the command is empty" },
	{ "-i eth1 -w a.pcap --source tape", "\"tape\" is not one of its values" },
	{ "-i eth1 -w a.pcap --source afpacket --xdp native", "does not use XDP" },
	{ "-i eth1 -w a.pcap --source afpacket --zero-copy on", "--zero-copy on" },
	{ "-i eth1 -w a.pcap --source afpacket --queues 1", "--queues" },
	{ "-i eth1 -w a.pcap --source mirror --link-role tap", "passes every packet on" },
	{ "-i eth1 -w a.pcap --source xdp --link-role host", "takes the packets away" },
	{ "-i eth1 -w a.pcap --link-role host --zero-copy on", "--zero-copy on" },
	{ "-i eth1 -w a.pcap --link-role host --force", "--force" },
	{ "-i eth1 -w a.pcap --zero-copy on --xdp generic", "always copies" },
	{ "-i eth1 -w a.pcap --queues 3-1", "--queues" },
	{ "-i eth1 -w a.pcap --queues 1,1", "--queues" },
	{ "-i eth1 -w a.pcap --queues 256", "--queues" },
	{ "-i eth1 -w a.pcap --cpus 1,", "--cpus" },
	{ "-i eth1 -w a.pcap --pack-threads 65", "--pack-threads" },
	{ "-i eth1 -w a.pcap --memory 1MiB", "out of range" },
	{ "-i eth1 -w a.pcap --memory 65GiB", "out of range" },
	{ "-i eth1 -w a.pcap --job ../x", "cannot be the name of a job" },
	{ "-i eth1 -w a.pcap --job a_b", "cannot be the name of a job" },
	{ "-i eth1 -w a.pcap --job .x", "cannot be the name of a job" },
	{ "-i eth1 -w - --stats json", "standard output" },
	{ "-i eth1 -w - --direct-io on", "no direct I/O" },
	{ "-i eth1 -w a.pcap -qv", "contradict" },
	{ "-D --check", "exclude each other" },
	{ "--check --probe -i eth1", "exclude each other" },
	{ "--check", "-i is missing" },
	{ "--check=yes -i eth1", "takes no value" },
	{ "-i eth1 -w a.pcap -F /nonexistent", "-F /nonexistent: cannot read it" },
	{ "-i eth1 -w a.pcap -F /dev/zero", "longer than 64 KiB" },
	{ "-i eth1 -w a.pcap -F /etc/passwd udp", "also given in words" },
	{ "-r /etc/passwd -w /etc/passwd", "the same file" },
	{ "recover", "wants one folder" },
	{ "recover a b", "wants one folder" },
	{ "recover a -i eth1", "wants one folder" },
};

static void test_good(void **state)
{
	char buf[512], shown[2048];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct cap_options o;
		struct skep_err err = SKEP_ERR_NULL;
		int r = parse(good[i].line, &o, &err, buf, sizeof(buf));

		if (r)
			print_message("# %s: %s\n", good[i].line, err.text);
		assert_int_equal(r, 0);
		describe(&o, shown, sizeof(shown));
		for (size_t j = 0; j < ARRAY_LEN(good[i].wants) && good[i].wants[j]; j++) {
			if (!strstr(shown, good[i].wants[j]))
				print_message("# %s: no \"%s\" in%s\n", good[i].line, good[i].wants[j], shown);
			assert_non_null(strstr(shown, good[i].wants[j]));
		}
		cap_options_fini(&o);
	}
}

static void test_bad(void **state)
{
	char buf[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct cap_options o = { .snaplen = 4711 };
		struct skep_err err = SKEP_ERR_NULL;
		int r;

		r = parse(bad[i].line, &o, &err, buf, sizeof(buf));
		if (r <= 0 || !strstr(err.text, bad[i].text))
			print_message("# %s: %d \"%s\", not \"%s\"\n", bad[i].line, r, err.text, bad[i].text);
		assert_true(r > 0);
		assert_non_null(strstr(err.text, bad[i].text));
		assert_int_equal(o.snaplen, 4711);
	}
}

static void test_filter_file(void **state)
{
	struct cap_options o;
	struct skep_err err = SKEP_ERR_NULL;
	char line[256], buf[512], path[128];
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/filter.txt", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("udp port 53\n", f);
	fclose(f);
	snprintf(line, sizeof(line), "-i eth1 -w a.pcap -F %s", path);
	assert_int_equal(parse(line, &o, &err, buf, sizeof(buf)), 0);
	assert_string_equal(o.filter, "udp port 53\n");
	cap_options_fini(&o);
	assert_null(o.filter);
}

/* SKEP_GOLDEN_WRITE=1 writes the file anew after a wanted change. */
static void test_help_is_golden(void **state)
{
	const char *path = SKEP_SOURCE_ROOT "/tests/golden/skep-capture-help.txt";
	char want[16384], got[16384];
	FILE *f, *mem;
	size_t n;

	(void)state;
	if (getenv("SKEP_GOLDEN_WRITE")) {
		f = fopen(path, "w");
		assert_non_null(f);
		cap_options_help(f);
		fclose(f);
	}
	memset(got, 0, sizeof(got));
	mem = fmemopen(got, sizeof(got) - 1, "w");
	assert_non_null(mem);
	cap_options_help(mem);
	fclose(mem);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(want, 1, sizeof(want) - 1, f);
	fclose(f);
	want[n] = '\0';
	assert_string_equal(got, want);
}

static int make_dir(void **state)
{
	(void)state;
	dir = tool_make_dir();
	return dir ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	tool_remove_dir(dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_filter_file),
		cmocka_unit_test(test_help_is_golden),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
