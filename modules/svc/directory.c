/*
 * directory.c - see directory.h.  Called by svc.c, on helper threads once the daemon runs.
 *
 * Owns nothing but what it returns.  The directory is the daemon's own; what is in it may
 * have been put there by another user of the machine only if that user is root.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <greenarrow/tai64.h>

#include "directory.h"

#define OURS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)

/* --- files --- */

static int
fifo(int dir, const char *name, int how)
{
	struct stat st;
	int fd;

	if (mkfifoat(dir, name, 0600) != 0 && errno != EEXIST)
		return -1;
	fd = openat(dir, name, how | OURS);
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode))) {
		close(fd);
		errno = EEXIST;
		return -1;
	}
	return fd;
}

/* -1 with EWOULDBLOCK: somebody has the directory. */
static int
locked(int dir)
{
	int fd = openat(dir, "supervise/lock", O_WRONLY | O_APPEND | O_CREAT | OURS, 0600);
	int e;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	e = errno;
	close(fd);
	errno = e;
	return -1;
}

static int
directory(const char *path)
{
	int fd;

	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | OURS);
	if (fd >= 0 && mkdirat(fd, "supervise", 0700) != 0 && errno != EEXIST) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static bool
failed(const char *path, const char *file, char *why, size_t room)
{
	snprintf(why, room, "%s%s: %s", path, file, errno == EWOULDBLOCK ? "another process supervises it" :
	    strerror(errno));
	return false;
}

/* NULL: done; else the file that is the trouble, with errno. */
static const char *
open_files(struct svc_directory *d, int dir)
{
	d->lock = locked(dir);
	if (d->lock < 0)
		return "/supervise/lock";
	d->control = fifo(dir, "supervise/control", O_RDWR);
	if (d->control < 0)
		return "/supervise/control";
	d->ok = fifo(dir, "supervise/ok", O_RDONLY);
	return d->ok < 0 ? "/supervise/ok" : NULL;
}

bool
svc_directory_open(struct svc_directory *d, const char *path, char *why, size_t room)
{
	const char *file = "";
	int dir = directory(path), e;

	*d = SVC_DIRECTORY_CLOSED;
	if (dir < 0)
		return failed(path, file, why, room);
	file = open_files(d, dir);
	e = errno;
	close(dir);
	if (file == NULL)
		return true;
	svc_directory_close(d);
	errno = e;
	return failed(path, file, why, room);
}

static void
close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
svc_directory_close(struct svc_directory *d)
{
	close_one(&d->control);
	close_one(&d->ok);
	close_one(&d->lock);
}

bool
svc_directory_marked_down(const char *path)
{
	char file[4096];

	snprintf(file, sizeof file, "%s/down", path);
	return access(file, F_OK) == 0;
}

/* --- status --- */

static void
put_big(unsigned char *out, unsigned octets, uint64_t v)
{
	for (; octets-- > 0; v >>= 8)
		out[octets] = (unsigned char)v;
}

void
svc_record(unsigned char out[SVC_RECORD], struct timespec since, pid_t pid, char want)
{
	put_big(out, 8, (uint64_t)since.tv_sec + GA_TAI64_EPOCH);
	put_big(out + 8, 4, (uint64_t)since.tv_nsec);
	for (unsigned i = 0; i < 4; i++)
		out[12 + i] = (unsigned char)((uint32_t)pid >> 8 * i);
	out[16] = 0;
	out[17] = (unsigned char)want;
}

static int
write_file(const char *path, const unsigned char record[SVC_RECORD])
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | OURS, 0644), e = 0;

	if (fd < 0)
		return errno;
	errno = 0;
	if (write(fd, record, SVC_RECORD) != SVC_RECORD)
		e = errno != 0 ? errno : ENOSPC;
	close(fd);
	return e;
}

int
svc_directory_status(const char *path, const unsigned char record[SVC_RECORD])
{
	char now[4096], next[4096];
	int e;

	snprintf(now, sizeof now, "%s/supervise/status", path);
	snprintf(next, sizeof next, "%s/supervise/status.new", path);
	e = write_file(next, record);
	if (e == 0 && rename(next, now) != 0)
		e = errno;
	return e;
}
