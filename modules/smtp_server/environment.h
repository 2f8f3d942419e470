/*
 * environment.h - `export NAME=value` lines: the environment of a service.
 *
 * The language of the shell's simplest lines, read and never executed.
 */
#ifndef SMTPD_ENVIRONMENT_H
#define SMTPD_ENVIRONMENT_H

#include "file.h"

struct smtpd_variable {
	struct smtpd_variable *next;
	struct ga_str name, value;
	unsigned line, column;		/* of the value */
	bool exported;			/* by this line or one before it */
};

struct smtpd_environment {
	struct smtpd_variable *first;	/* in the order of the file */
};

/*
 * Reads a file into the pool.  Lines: empty, `# comment`, `NAME=value` with or without
 * `export` in front and a comment behind; values bare, in 'quotes' or in "quotes" with \" \\ \$ \`.
 * What a shell would expand or run is an error, and the line is left out.  False: the file could not be
 * read, *error is the errno.
 */
bool smtpd_environment_read(struct ga_pool *, const char *path, struct smtpd_environment *,
    smtpd_fault_fn *, void *arg, int *error);
/* The last of that name; NULL: none. */
const struct smtpd_variable *smtpd_environment_get(const struct smtpd_environment *, const char *name);

#endif
