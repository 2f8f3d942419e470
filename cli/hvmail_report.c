/*
 * hvmail_report.c - what became of mail: attempts out of the delivery logs, or their sums
 *
 *	hvmail_report -q all --last "10 minutes" --processed-logfile --human -r @example.com
 *	hvmail_report -q all --last 1h --summary domain --summary reply
 *
 * The delivery logs are log directories (core/base/logdir.c), one for each queue; those that are
 * asked for are read side by side, and of the wanted records of each the earliest is printed next.
 * Nothing is kept but one line of each directory, and the sums.
 *
 * Exit codes: 0 done, 1 something could not be read (said on stderr; everything else is reported) or
 * standard output not be written, 2 wrong usage.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logdir.h"
#include "cli_options.h"
#include "conf/conf.h"
#include "report.h"
#include "when.h"

#define OUTPUT_SIZE (256 * 1024)
#define QUEUES 3
#define SUMMARIES 4

static const char *const queue_names[QUEUES] = { "ram", "bounce", "disk" };

/* One delivery log, and its next wanted record. */
struct source {
	const char *path;
	struct gac_logdir *dir;		/* NULL: at its end, or never was */
	struct record record;
	int64_t at_ns;
	size_t bad;			/* lines that are no attempt */
	bool skipping;			/* pieces of a line that is too long for one */
};

struct report {
	const char *argv0;
	struct ga_pool *pool;
	struct gac_log_window window;
	struct report_mtas *mtas;
	struct report_filter *filter;
	report_print_fn *print;
	struct report_summary *summaries[SUMMARIES];
	size_t nsummaries;
	struct source sources[QUEUES];
	bool incomplete;		/* something could not be read */
};

static struct given {
	const char *queue, *dir;
	const char *repeated;		/* the last of those that may be: see keep_repeated() */
	struct when_given when;
	bool processed_logfile, human, json;
} given;

/* --- one directory --- */

static void
warn(void *arg, const char *path, const char *problem)
{
	struct report *r = arg;

	r->incomplete = true;
	fprintf(stderr, "%s: warning: %s: %s\n", r->argv0, path, problem);
}

/* What could not be used is told once a directory, at its end. */
static void
close_source(struct report *r, struct source *s)
{
	size_t bad = s->bad + gac_logdir_untimed(s->dir);
	char text[160];

	snprintf(text, sizeof text, "%zu line%s left out: no attempt in delivery_log_format hvmail or json "
	    "(csv and kumo cannot be read)", bad, bad == 1 ? " is" : "s are");
	if (bad > 0)
		warn(r, s->path, text);
	gac_logdir_close(s->dir);
	s->dir = NULL;
	record_end(&s->record);
}

static bool
usable(struct source *s, const struct gac_log_line *line)
{
	if (line->ends && !s->skipping)
		return line->timed;		/* the others are counted by the reader */
	s->bad += !s->skipping;
	s->skipping = !line->ends;
	return false;
}

/* The next record that is wanted, or the end of the directory. */
static void
advance(struct report *r, struct source *s)
{
	struct gac_log_line line;

	while (gac_logdir_line(s->dir, &line)) {
		if (!usable(s, &line))
			continue;
		s->at_ns = line.at_ns;
		if (!record_read(&s->record, line.text))
			s->bad++;
		else if (!report_filter_match(r->filter, &s->record))
			continue;
		else if (record_complete(&s->record))
			return;
		else
			s->bad++;
	}
	close_source(r, s);
}

static void
open_source(struct report *r, struct source *s, const char *folder, const char *queue)
{
	s->path = ga_fmt(r->pool, "%s/delivery-%s", folder, queue).p;
	s->dir = gac_logdir_open(s->path, &r->window, warn, r);
	if (s->dir == NULL)
		warn(r, s->path, strerror(errno));
	else
		advance(r, s);
}

/* --- all of them --- */

static struct source *
earliest(struct report *r)
{
	struct source *first = NULL;

	for (size_t i = 0; i < QUEUES; i++)
		if (r->sources[i].dir != NULL && (first == NULL || r->sources[i].at_ns < first->at_ns))
			first = &r->sources[i];
	return first;
}

static void
use(struct report *r, struct record *record)
{
	if (r->nsummaries == 0)
		r->print(stdout, record);
	for (size_t i = 0; i < r->nsummaries; i++)
		report_summary_add(r->summaries[i], record);
}

static void
print_summaries(struct report *r)
{
	if (given.json)
		fputs("{", stdout);
	for (size_t i = 0; i < r->nsummaries; i++) {
		if (i > 0)
			fputs(given.json ? ",\n" : "\n", stdout);
		if (given.json)
			report_summary_print_json(stdout, r->summaries[i]);
		else
			report_summary_print(stdout, r->summaries[i]);
	}
	if (given.json)
		fputs("}\n", stdout);
}

static int
run(struct report *r, const char *folder)
{
	static char output[OUTPUT_SIZE];
	struct source *s;

	setvbuf(stdout, output, _IOFBF, sizeof output);
	for (size_t i = 0; i < QUEUES; i++)
		if (strcmp(given.queue, "all") == 0 || strcmp(given.queue, queue_names[i]) == 0)
			open_source(r, &r->sources[i], folder, queue_names[i]);
	while ((s = earliest(r)) != NULL && !ferror(stdout)) {
		use(r, &s->record);
		advance(r, s);
	}
	if (r->nsummaries > 0)
		print_summaries(r);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return r->incomplete ? 1 : 0;
	fprintf(stderr, "%s: writing: %s\n", r->argv0, strerror(errno));
	return 1;
}

/* --- the command line --- */

static const struct cli_option own[] = {
	{ "queue", 'q', NULL, &given.queue, "ram, bounce, disk, or all in the order of time" },
	{ "start", 's', NULL, &given.when.start, "from this time on: epoch, @TAI64N or YYYY-MM-DD HH:MM:SS" },
	{ "end", 'e', NULL, &given.when.end, "up to this time, included" },
	{ "last", 'l', NULL, &given.when.last, "instead of both: the last `10 minutes`, `2h`, `1 day 3 hours`" },
	{ "processed-logfile", 0, &given.processed_logfile, NULL, "print attempts, a line each; so it is without --summary" },
	{ "human", 0, &given.human, NULL, "attempts as name=<value>, not as columns" },
	{ "json", 0, &given.json, NULL, "attempts, or all summaries, as json documents" },
	{ "summary", 0, NULL, &given.repeated, "attempts counted by domain, virtual-mta, status or reply" },
	{ "dir", 0, NULL, &given.dir, "where delivery-ram, delivery-bounce and delivery-disk are" },
};
#define OWN (sizeof own / sizeof own[0])
#define OPTIONS_MAX 64

/* An option that may be repeated, and its value. */
struct occurrence {
	size_t option;
	const char *value;
};

struct repeated {
	size_t n;
	struct occurrence *v;
};

static bool
is_summary(size_t option)
{
	return option < OWN && strcmp(own[option].name, "summary") == 0;
}

static void
keep_repeated(void *arg, size_t option, const char *value)
{
	struct repeated *list = arg;

	if ((option >= OWN && option < OWN + report_nfilters) || is_summary(option))
		list->v[list->n++] = (struct occurrence){ option, value };
}

/* Own options first, then one for each filter. */
static size_t
make_options(struct cli_option *options)
{
	memcpy(options, own, sizeof own);
	for (size_t i = 0; i < report_nfilters; i++)
		options[OWN + i] = (struct cli_option){ report_filters[i].option, report_filters[i].letter, NULL,
			&given.repeated, report_filters[i].help };
	return OWN + report_nfilters;
}

static int
add_summary(struct report *r, const char *by)
{
	struct report_summary *s;

	for (size_t i = 0; i < r->nsummaries; i++)
		if (strcmp(report_summary_by(r->summaries[i]), by) == 0)
			return 0;
	s = report_summary_new(r->pool, by, r->mtas, SUMMARY_KEYS_MAX);
	if (s == NULL)
		return cli_wrong_usage(r->argv0, "--summary: `%s` is none of domain, virtual-mta, status, reply", by);
	r->summaries[r->nsummaries++] = s;
	return 0;
}

static int
add_filter(struct report *r, size_t filter, const char *value)
{
	const struct report_filter_info *info = &report_filters[filter];
	const char *why = report_filter_add(r->filter, filter, value);

	if (why == NULL)
		return 0;
	return info->option != NULL ? cli_wrong_usage(r->argv0, "--%s: `%s` %s", info->option, value, why) :
	    cli_wrong_usage(r->argv0, "-%c: `%s` %s", info->letter, value, why);
}

/* 0, or the exit code after wrong usage; so the next two. */
static int
take_repeated(struct report *r, const struct repeated *list)
{
	int code = 0;

	r->mtas = report_mtas_read(r->pool, cli_config_filename());
	r->filter = report_filter_new(r->pool, r->mtas);
	for (size_t i = 0; i < list->n && code == 0; i++) {
		const struct occurrence *o = &list->v[i];

		code = is_summary(o->option) ? add_summary(r, o->value) : add_filter(r, o->option - OWN, o->value);
	}
	return code;
}

static int
check_queue(const char *argv0)
{
	if (given.queue == NULL)
		return cli_wrong_usage(argv0, "--queue is missing: ram, bounce, disk or all");
	for (size_t i = 0; i < QUEUES; i++)
		if (strcmp(given.queue, queue_names[i]) == 0)
			return 0;
	return strcmp(given.queue, "all") == 0 ? 0 :
	    cli_wrong_usage(argv0, "--queue: `%s` is none of ram, bounce, disk, all", given.queue);
}

static int
check_output(const char *argv0, const struct report *r)
{
	if (given.human && given.json)
		return cli_wrong_usage(argv0, "--human does not go with --json");
	if (given.processed_logfile && r->nsummaries > 0)
		return cli_wrong_usage(argv0, "--processed-logfile does not go with --summary");
	return 0;
}

static int
report(struct report *r, const struct repeated *list)
{
	const char *folder = given.dir;
	int code = check_queue(r->argv0);

	if (code == 0)
		code = when_window(r->argv0, &given.when, &r->window);
	if (code == 0)
		code = take_repeated(r, list);
	if (code == 0)
		code = check_output(r->argv0, r);
	if (code != 0)
		return code;
	if (folder == NULL)
		folder = gac_conf_log_directory(r->pool, cli_config_filename());
	if (folder == NULL) {
		fprintf(stderr, "%s: %s: cannot be read\n", r->argv0, cli_config_filename());
		return 1;
	}
	r->print = given.json ? report_print_json : given.human ? report_print_human : report_print_columns;
	return run(r, folder);
}

int
main(int argc, char **argv)
{
	struct cli_option options[OPTIONS_MAX];
	const struct cli_usage usage = {
		(const char *const[]){ "--queue=QUEUE [FILTERS] [--human|--json]", "--queue=QUEUE [FILTERS] --summary=BY [--json]", NULL },
		"This tool reports attempts to deliver out of the delivery logs, or counts them.\n"
		"Different filters must all match, one that is repeated any of its values; * in a\n"
		"value stands for anything.",
		options, make_options(options)
	};
	struct repeated list = { 0, ga_xcalloc((size_t)argc, sizeof *list.v) };
	struct report r = { .argv0 = argv[0], .pool = ga_pool_new(0) };
	int code, first = cli_parse_each(&usage, argc, argv, &code, keep_repeated, &list);

	if (first >= 0 && first < argc)
		code = cli_wrong_usage(argv[0], "unexpected `%s`", argv[first]);
	else if (first >= 0)
		code = report(&r, &list);
	free(list.v);
	ga_pool_free(r.pool);
	return code;
}
