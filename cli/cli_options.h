/*
 * cli_options.h - command lines: one table gives parsing and --help
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct cli_option {
	const char *name;	/* "json"; NULL: it has a letter alone */
	char letter;		/* 'j', or 0 */
	bool *flag;		/* set when given, or ... */
	const char **value;	/* ... where its value goes; the last one wins */
	const char *help;
};

struct cli_usage {
	const char *const *synopsis;	/* lines behind the program's name; ends with NULL */
	const char *about;		/* what it is for, with line breaks */
	const struct cli_option *options;
	size_t noptions;
};

/*
 * Options may stand anywhere before `--`; operands are moved to the end.  Every
 * program has --config-filename=, --version and -h, --help besides its own.
 * Returns the index of the first operand, or -1: the program ends now with
 * *exit_code (0 after help or version, 2 after wrong usage, which was printed).
 */
int cli_parse(const struct cli_usage *, int argc, char **argv, int *exit_code);
/* The same; each option with a value is also told as it comes, so that it may be repeated:
 * option is its index in the table. */
typedef void cli_each_fn(void *arg, size_t option, const char *value);
int cli_parse_each(const struct cli_usage *, int argc, char **argv, int *exit_code, cli_each_fn *, void *arg);
/* For a program that has no use for --config-filename=: called first, it is none of its options. */
void cli_without_config(void);
/* "ARGV0: message" and where help is; returns 2. */
int cli_wrong_usage(const char *argv0, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --config-filename=, else $GREENARROW_CONFIG, else the installed one.  After cli_parse(). */
const char *cli_config_filename(void);

#endif
