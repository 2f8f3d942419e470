/*
 * logdir_select_time.c - the lines that a log directory has of a time
 *
 *	logdir_select_time --start 1726063500 --end 1726063531 --dir /var/hvmail/log/rspawn-limiter | tai64nlocal
 *
 * Lines are printed as they are, stamps and all; core/base/logdir.c finds them.
 *
 * Exit codes: 0 done, 1 something could not be read (said on stderr; the rest is printed) or
 * standard output not be written, 2 wrong usage.
 */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/logdir.h"
#include "cli_options.h"
#include "when.h"

#define OUTPUT_SIZE (256 * 1024)

struct select {
	const char *argv0;
	bool incomplete;	/* something could not be read */
};

static void
warn(void *arg, const char *path, const char *problem)
{
	struct select *s = arg;

	s->incomplete = true;
	fprintf(stderr, "%s: warning: %s: %s\n", s->argv0, path, problem);
}

static int
print_lines(struct select *s, struct gac_logdir *d)
{
	static char output[OUTPUT_SIZE];
	struct gac_log_line line;

	setvbuf(stdout, output, _IOFBF, sizeof output);
	while (gac_logdir_line(d, &line)) {
		fwrite_unlocked(line.text.p, 1, line.text.n, stdout);
		if (line.ends)
			putc_unlocked('\n', stdout);
		if (ferror_unlocked(stdout))
			break;
	}
	if (fflush(stdout) == 0 && !ferror(stdout))
		return s->incomplete ? 1 : 0;
	fprintf(stderr, "%s: writing: %s\n", s->argv0, strerror(errno));
	return 1;
}

static int
select_time(const char *argv0, const char *dir, const struct gac_log_window *window)
{
	struct select s = { .argv0 = argv0 };
	struct gac_logdir *d = gac_logdir_open(dir, window, warn, &s);
	int code;

	if (d == NULL) {
		fprintf(stderr, "%s: %s: %s\n", argv0, dir, strerror(errno));
		return 1;
	}
	code = print_lines(&s, d);
	gac_logdir_close(d);
	return code;
}

int
main(int argc, char **argv)
{
	struct when_given given = { NULL, NULL, NULL };
	const char *dir = NULL;
	const struct cli_option options[] = {
		{ "start", 's', NULL, &given.start, "from this time on: epoch, @TAI64N or YYYY-MM-DD HH:MM:SS" },
		{ "end", 'e', NULL, &given.end, "up to this time, included" },
		{ "last", 'l', NULL, &given.last, "instead of both: the last `10 minutes`, `2h`, `1 day 3 hours`" },
		{ "dir", 'd', NULL, &dir, "the log directory" },
	};
	const struct cli_usage usage = {
		(const char *const[]){ "--start TIME --end TIME --dir DIR", "--last PERIOD --dir DIR", NULL },
		"This tool prints the lines of a log directory that are of a time, as they are.  It\n"
		"opens only the files that have them, and may run while the directory is written.",
		options, sizeof options / sizeof options[0]
	};
	struct gac_log_window window;
	int code, first;

	cli_without_config();
	first = cli_parse(&usage, argc, argv, &code);
	if (first < 0)
		return code;
	if (first < argc)
		return cli_wrong_usage(argv[0], "unexpected `%s`", argv[first]);
	if (dir == NULL)
		return cli_wrong_usage(argv[0], "--dir is missing");
	if (given.start == NULL && given.end == NULL && given.last == NULL)
		return cli_wrong_usage(argv[0], "a time is missing: --start, --end or --last");
	code = when_window(argv[0], &given, &window);
	return code != 0 ? code : select_time(argv[0], dir, &window);
}
