/*
 * file.h - the small files beside greenarrow.conf that a service is made of.
 */
#ifndef SMTPD_FILE_H
#define SMTPD_FILE_H

#include <greenarrow/ga_mem.h>

/* What is wrong in a file; line and column count from 1, line 0: the file as a whole. */
typedef void smtpd_fault_fn(void *arg, unsigned line, unsigned column, bool error,
    const char *message);

struct smtpd_file {
	char *text;			/* size octets and room for a NUL; free() it */
	size_t size;
	unsigned mode;			/* its permissions */
	int error;			/* errno when text is NULL */
};
/* A regular file of up to max octets.  Blocks. */
struct smtpd_file smtpd_file_read(const char *path, size_t max);

#endif
