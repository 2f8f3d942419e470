/*
 * dirs.c - the queue directory, opened without trusting it.
 *
 * Called at start and by queue_check.  The directories must be the daemon's
 * user's, not links, and not writable by others; the lock keeps a second daemon
 * (or a check of a running one's queue) out and names who holds it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "module.h"

static int
open_dir(int at, const char *name, bool make, const char *queue, char *why, size_t n)
{
	struct stat st;
	int fd;

	if (make && mkdirat(at, name, 0700) == -1 && errno != EEXIST) {
		snprintf(why, n, "cannot make %s/%s: %s", queue, name, strerror(errno));
		return (-1);
	}
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		snprintf(why, n, "cannot open %s/%s: %s", queue, name, strerror(errno));
		return (-1);
	}
	if (fstat(fd, &st) == -1 || st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
		snprintf(why, n, "%s/%s must belong to uid %u and be writable by nobody else", queue,
		    name, (unsigned)geteuid());
		close(fd);
		return (-1);
	}
	return (fd);
}

static int
take_lock(int dir, const char *queue, char *why, size_t n)
{
	char pid[32] = "";
	ssize_t r;
	int fd;

	fd = openat(dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd == -1) {
		snprintf(why, n, "cannot open %s/spool/lock: %s", queue, strerror(errno));
		return (-1);
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		r = pread(fd, pid, sizeof pid - 1, 0);
		pid[r > 0 ? strcspn(pid, "\n") : 0] = '\0';
		snprintf(why, n, "the queue %s is in use by another daemon (process %s)", queue,
		    pid[0] != '\0' ? pid : "unknown");
		close(fd);
		return (-1);
	}
	r = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) == -1 || pwrite(fd, pid, (size_t)r, 0) != r) {
		/* it only makes a later message less helpful */
		errno = 0;
	}
	return (fd);
}

bool
spool_dirs_open(struct spool_dirs *d, const char *queue, bool make, char *why, size_t n)
{
	int top;

	*d = (struct spool_dirs)SPOOL_DIRS_CLOSED;
	top = open(queue, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top == -1) {
		snprintf(why, n, "cannot open the queue directory %s: %s", queue, strerror(errno));
		return (false);
	}
	d->spool = open_dir(top, "spool", make, queue, why, n);
	if (d->spool != -1)
		d->corrupt = open_dir(top, "corrupt", make, queue, why, n);
	if (d->corrupt != -1)
		d->lock = take_lock(d->spool, queue, why, n);
	/* the two names must be there after a power cut too */
	if (make && d->lock != -1 && (fsync(top) == -1 || fsync(d->spool) == -1)) {
		snprintf(why, n, "cannot sync %s: %s", queue, strerror(errno));
		close(d->lock);
		d->lock = -1;
	}
	close(top);
	if (d->lock == -1) {
		spool_dirs_close(d);
		return (false);
	}
	return (true);
}

void
spool_dirs_close(struct spool_dirs *d)
{
	if (d->lock != -1)
		close(d->lock);
	if (d->corrupt != -1)
		close(d->corrupt);
	if (d->spool != -1)
		close(d->spool);
	*d = (struct spool_dirs)SPOOL_DIRS_CLOSED;
}
