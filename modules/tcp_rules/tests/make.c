/*
 * make.c - see make.h.
 */
#include <cdb.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "make.h"

static int
begin(const char *path, char *temporary, size_t room)
{
	int fd;

	snprintf(temporary, room, "%s.new", path);
	fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		abort();
	return fd;
}

static void
end(int fd, const char *path, const char *temporary)
{
	if (close(fd) != 0 || rename(temporary, path) != 0)
		abort();
}

void
make_database(const char *path, const struct row *rows)
{
	char temporary[300], data[500];
	int fd = begin(path, temporary, sizeof temporary);
	struct cdb_make cdb;

	cdb_make_start(&cdb, fd);
	for (; rows->key != NULL; rows++) {
		size_t n = strlen(rows->data);

		for (size_t i = 0; i < n; i++)
			data[i] = rows->data[i] == '|' ? '\0' : rows->data[i];
		if (cdb_make_add(&cdb, rows->key, (unsigned)strlen(rows->key), data, (unsigned)n) != 0)
			abort();
	}
	if (cdb_make_finish(&cdb) != 0)
		abort();
	end(fd, path, temporary);
}

void
make_file(const char *path, const void *octets, size_t n)
{
	char temporary[300];
	int fd = begin(path, temporary, sizeof temporary);

	if (write(fd, octets, n) != (ssize_t)n)
		abort();
	end(fd, path, temporary);
}
