/*
 * supervised.c - see supervised.h.  Called by svc.c and svstat.c.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "supervised.h"

const char *
cli_djb_error(int e)
{
	static const struct { int e; const char *text; } texts[] = {
		{ ENOENT, "file does not exist" }, { EACCES, "access denied" }, { EPERM, "permission denied" },
		{ ENOTDIR, "not a directory" }, { EISDIR, "is a directory" }, { EEXIST, "file already exists" },
		{ ELOOP, "symbolic link loop" }, { ENAMETOOLONG, "file name too long" },
		{ EMFILE, "process cannot open more files" }, { ENFILE, "system cannot open more files" },
		{ ENOSPC, "out of disk space" }, { EROFS, "read-only file system" }, { EIO, "input/output error" },
		{ EPIPE, "broken pipe" }, { EAGAIN, "temporary failure" }, { ENOMEM, "out of memory" },
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].e == e)
			return texts[i].text;
	return strerror(e);
}

int
cli_supervised_options(int argc, char **argv, const char *letters, const char *usage, void (*taken)(char))
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 1 }, { "version", no_argument, NULL, 2 }, { NULL, 0, NULL, 0 },
	};
	char posix[32];
	int option;

	snprintf(posix, sizeof posix, "+%s", letters != NULL ? letters : "");
	while ((option = getopt_long(argc, argv, posix, longs, NULL)) != -1)
		switch (option) {
		case 1:
			printf("%s: %s", argv[0], usage);
			exit(0);
		case 2:
			printf("%s %s\n", argv[0], gac_version());
			exit(0);
		case '?':
			fprintf(stderr, "%s: %s", argv[0], usage);
			exit(100);
		default:
			taken((char)option);
		}
	return optind;
}

void
cli_each_directory(const char *program, char **dirs, void (*entered)(const char *dir),
    void (*not_entered)(const char *dir, int e))
{
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (; here >= 0 && *dirs != NULL; dirs++) {
		if (chdir(*dirs) == 0)
			entered(*dirs);
		else
			not_entered(*dirs, errno);
		if (fchdir(here) != 0)
			break;
	}
	if (here >= 0 && *dirs == NULL) {
		close(here);
		return;
	}
	fprintf(stderr, "%s: fatal: unable to %s: %s\n", program, here < 0 ? "open current directory" :
	    "set directory", cli_djb_error(errno));
	exit(111);
}
