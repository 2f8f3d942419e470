/*
 * opt.h - command line options of the bench tools, from one table.
 *
 * The table is parsed by getopt_long(3) and printed by --help in the shape that
 * every program of this project uses.
 */
#ifndef BENCH_OPT_H
#define BENCH_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opt_type {
	OPT_FLAG,	/* bool *: set to true */
	OPT_NUMBER,	/* uint64_t * */
	OPT_SIZE,	/* uint64_t *: bytes; 4096, 64KiB, 10MiB */
	OPT_TIME,	/* uint64_t *: microseconds; 250ms, 10s, 2m */
	OPT_TEXT,	/* const char ** */
	OPT_LIST,	/* struct opt_list *: may be given more than once */
};

struct opt_list {
	const char **item;
	size_t count;
};

struct opt {
	const char *name;
	enum opt_type type;
	void *to;
	const char *help;
	uint64_t min, max;	/* numbers, sizes, times; max 0: no limit */
};

struct opt_program {
	const char *name;
	const char *operands;	/* after the options in the usage line, or "" */
	const char *about;
	const struct opt *options;
	size_t count;
};

/*
 * Fill what the table points to.  Returns the index of the first operand in argv.
 * Ends the process: 0 after --help and --version, 2 after a wrong option.
 */
int opt_parse(const struct opt_program *, int argc, char **argv);

/* Say what is wrong with the command line and end the process with 2. */
void opt_wrong(const struct opt_program *, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

#endif
