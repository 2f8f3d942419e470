/*
 * make.h - databases for the tests, made with tinycdb and not with what is tested.
 */
#ifndef TCPR_TESTS_MAKE_H
#define TCPR_TESTS_MAKE_H

#include <stddef.h>

/* One record; data is text in which `|` stands for NUL. */
struct row {
	const char *key, *data;
};
#define ALLOW ""
#define DENY "D|"

/* Makes path anew, by rename; ends with a row of NULL. */
void make_database(const char *path, const struct row *);
/* Octets in its place. */
void make_file(const char *path, const void *, size_t n);

#endif
