/*
 * cli_options.c - command lines: one table gives parsing and --help
 *
 * Used by every program in cli/.  Parsing is getopt_long(3); help has the
 * shape that the documents of the product print:
 *
 *	ARGV0: Usage:
 *	  NAME ARGUMENTS
 *
 *	About.
 *
 *	Application Options:
 *	      --json                        print the output as a json document
 *
 *	Help Options:
 *	  -h, --help                        Show this help message
 */
#include "config.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "cli_options.h"

#define MAX_OPTIONS 64
#define HELP_COLUMN 36
#define FIRST_LONG 256		/* getopt's value for the first option without a letter */

static const char *config_filename;
static bool without_config;

/* Of every program; the first one unless cli_without_config(). */
static const struct cli_option common[] = {
	{ "config-filename", 0, NULL, &config_filename, "the configuration file to use" },
	{ "version", 0, NULL, NULL, "print the version and exit" },
};
#define NCOMMON (sizeof common / sizeof common[0])

/* All of a program: its own, then the common ones. */
static size_t count(const struct cli_usage *u)
{
	return u->noptions + NCOMMON - without_config;
}

static const struct cli_option *nth(const struct cli_usage *u, size_t i)
{
	return i < u->noptions ? &u->options[i] : &common[i - u->noptions + without_config];
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

static void print_option(const struct cli_option *o)
{
	char text[128];
	int n;

	if (o->name == NULL)
		n = snprintf(text, sizeof text, "  -%c", o->letter);
	else if (o->letter != 0)
		n = snprintf(text, sizeof text, "  -%c, --%s%s", o->letter, o->name, o->value != NULL ? "=" : "");
	else
		n = snprintf(text, sizeof text, "      --%s%s", o->name, o->value != NULL ? "=" : "");
	printf("%-*s%s%s\n", HELP_COLUMN, text, n >= HELP_COLUMN ? " " : "", o->help);
}

static void print_help(const struct cli_usage *u, const char *argv0)
{
	static const struct cli_option help = { "help", 'h', NULL, NULL, "Show this help message" };

	printf("%s: Usage:\n", argv0);
	for (const char *const *line = u->synopsis; *line != NULL; line++)
		printf("  %s %s\n", base_name(argv0), *line);
	printf("\n%s\n\nApplication Options:\n", u->about);
	for (size_t i = 0; i < count(u); i++)
		print_option(nth(u, i));
	printf("\nHelp Options:\n");
	print_option(&help);
}

void cli_without_config(void)
{
	without_config = true;
}

int cli_wrong_usage(const char *argv0, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", argv0);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry `%s --help`.\n", argv0);
	return 2;
}

/* getopt's tables: `longs` (n + --help + end) and `shorts`. */
static void make_tables(const struct cli_usage *u, size_t n, struct option *longs, char *shorts)
{
	for (size_t i = 0; i < n; i++) {
		const struct cli_option *o = nth(u, i);

		if (o->name != NULL)
			*longs++ = (struct option){ o->name, o->value != NULL ? required_argument : no_argument, NULL,
				FIRST_LONG + (int)i };
		if (o->letter == 0)
			continue;
		*shorts++ = o->letter;
		if (o->value != NULL)
			*shorts++ = ':';
	}
	longs[0] = (struct option){ "help", no_argument, NULL, 'h' };
	longs[1] = (struct option){ NULL, 0, NULL, 0 };
	*shorts++ = 'h';
	*shorts = '\0';
}

static size_t index_of(const struct cli_usage *u, int c)
{
	if (c >= FIRST_LONG)
		return (size_t)(c - FIRST_LONG);
	for (size_t i = 0; i < u->noptions; i++)
		if (u->options[i].letter == c)
			return i;
	return u->noptions;
}

int cli_parse(const struct cli_usage *u, int argc, char **argv, int *exit_code)
{
	return cli_parse_each(u, argc, argv, exit_code, NULL, NULL);
}

int cli_parse_each(const struct cli_usage *u, int argc, char **argv, int *exit_code, cli_each_fn *each, void *arg)
{
	const size_t n = count(u);
	struct option longs[MAX_OPTIONS + 2];
	char shorts[2 * MAX_OPTIONS + 2];
	int c;

	if (n > MAX_OPTIONS)
		abort();
	make_tables(u, n, longs, shorts);
	*exit_code = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct cli_option *o;
		size_t i;

		if (c == 'h') {
			print_help(u, argv[0]);
			return -1;
		}
		if (c == '?') {
			fprintf(stderr, "Try `%s --help`.\n", argv[0]);
			*exit_code = 2;
			return -1;
		}
		i = index_of(u, c);
		o = nth(u, i);
		if (o->value == NULL && o->flag == NULL) {
			printf("%s %s\n", base_name(argv[0]), gac_version());
			return -1;
		}
		if (o->value != NULL)
			*o->value = optarg;
		else
			*o->flag = true;
		if (o->value != NULL && each != NULL)
			each(arg, i, optarg);
	}
	return optind;
}

const char *cli_config_filename(void)
{
	const char *env = getenv("GREENARROW_CONFIG");

	if (config_filename != NULL)
		return config_filename;
	return env != NULL && *env != '\0' ? env : GA_CONTROLDIR "/greenarrow.conf";
}
