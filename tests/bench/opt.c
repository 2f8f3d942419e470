/*
 * opt.c - see opt.h.  Called once by main() of each bench tool, before any
 * loop runs.  Owns nothing that outlives the process but the item arrays of
 * lists.  A wrong value ends the program here, so no caller checks ranges.
 */
#include "opt.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMN 30
#define MAX_OPTIONS 64
#define VAL_HELP 'h'
#define VAL_VERSION 1
#define VAL_FIRST 256

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "", 1 }, { "KiB", 1024 }, { "MiB", 1024 * 1024 }, { "GiB", 1024 * 1024 * 1024 },
	{ NULL, 0 },
};
static const struct unit time_units[] = {
	{ "us", 1 }, { "ms", 1000 }, { "s", 1000000 }, { "", 1000000 },
	{ "m", 60000000 }, { "h", 3600000000ULL }, { NULL, 0 },
};
static const struct unit number_units[] = { { "", 1 }, { NULL, 0 } };

void
opt_wrong(const struct opt_program *p, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", p->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (%s --help lists the options)\n", p->name);
	exit(2);
}

/* A line of the list of options: the name padded to a column, then the help. */
static void
help_line(const char *shortname, const char *name, bool value, const char *help)
{
	int width = printf("%s--%s%s", shortname, name, value ? "=" : "") - 6;

	printf("%*s%s\n", width < HELP_COLUMN ? HELP_COLUMN - width : 1, "", help);
}

static void
print_help(const struct opt_program *p, const char *argv0)
{
	printf("%s: Usage:\n  %s [ARGUMENTS]%s%s\n\n%s\n\nApplication Options:\n",
		argv0, p->name, *p->operands ? " " : "", p->operands, p->about);
	for (size_t i = 0; i < p->count; i++)
		help_line("      ", p->options[i].name, p->options[i].type != OPT_FLAG,
			p->options[i].help);
	help_line("      ", "version", false, "print the version");
	puts("\nHelp Options:");
	help_line("  -h, ", "help", false, "Show this help message");
}

static uint64_t
parse_quantity(const struct opt_program *p, const struct opt *o, const struct unit *units,
	const char *text)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || !isdigit((unsigned char)*text))
		opt_wrong(p, "--%s: '%s' is not a number", o->name, text);
	while (units->name && strcmp(units->name, end))
		units++;
	if (!units->name)
		opt_wrong(p, "--%s: '%s': unknown unit '%s'", o->name, text, end);
	if (n > UINT64_MAX / units->factor)
		opt_wrong(p, "--%s: %s is too large", o->name, text);
	n *= units->factor;
	if (n < o->min || (o->max && n > o->max))
		opt_wrong(p, "--%s: %s is out of range", o->name, text);
	return n;
}

static void
list_add(struct opt_list *list, const char *text)
{
	list->item = realloc(list->item, (list->count + 1) * sizeof *list->item);
	if (!list->item)
		abort();
	list->item[list->count++] = text;
}

static void
store(const struct opt_program *p, const struct opt *o, const char *text)
{
	switch (o->type) {
	case OPT_FLAG:
		*(bool *)o->to = true;
		break;
	case OPT_NUMBER:
		*(uint64_t *)o->to = parse_quantity(p, o, number_units, text);
		break;
	case OPT_SIZE:
		*(uint64_t *)o->to = parse_quantity(p, o, size_units, text);
		break;
	case OPT_TIME:
		*(uint64_t *)o->to = parse_quantity(p, o, time_units, text);
		break;
	case OPT_TEXT:
		*(const char **)o->to = text;
		break;
	case OPT_LIST:
		list_add(o->to, text);
		break;
	}
}

int
opt_parse(const struct opt_program *p, int argc, char **argv)
{
	struct option longopts[MAX_OPTIONS + 3] = { { 0 } };
	int val;

	if (p->count > MAX_OPTIONS)
		abort();
	for (size_t i = 0; i < p->count; i++)
		longopts[i] = (struct option){ p->options[i].name,
			p->options[i].type == OPT_FLAG ? no_argument : required_argument, NULL,
			VAL_FIRST + (int)i };
	longopts[p->count] = (struct option){ "help", no_argument, NULL, VAL_HELP };
	longopts[p->count + 1] = (struct option){ "version", no_argument, NULL, VAL_VERSION };
	while ((val = getopt_long(argc, argv, "h", longopts, NULL)) != -1) {
		if (val == VAL_HELP) {
			print_help(p, argv[0]);
			exit(0);
		}
		if (val == VAL_VERSION) {
			printf("%s %s\n", p->name, GA_VERSION);
			exit(0);
		}
		if (val == '?')
			exit(2);
		store(p, &p->options[val - VAL_FIRST], optarg);
	}
	return optind;
}
