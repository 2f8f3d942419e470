/*
 * fs.c - the kernel behind fs.h, and the loops that every caller needs.
 *
 * Called by the committer and the maintenance thread, never on a loop.  Opens
 * nothing through a symbolic link, nothing that another user owns, nothing with
 * a second name: the queue directory is ours alone, and what is not ours in it
 * is a trap or a mistake.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"

static int
result(int r)
{
	return (r == -1 ? -errno : r);
}

/* A regular file of ours with one name? */
static int
refuse_strangers(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return (-errno);
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink > 1)
		return (-EPERM);
	return (0);
}

static int
real_open(void *ctx, int dir, const char *name, int flags)
{
	int error, fd;

	(void)ctx;
	/* O_NONBLOCK: a planted FIFO must not stop us in open() */
	fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd == -1)
		return (-errno);
	error = refuse_strangers(fd);
	if (error != 0) {
		close(fd);
		return (error);
	}
	return (fd);
}

static void
real_close(void *ctx, int fd)
{
	(void)ctx;
	close(fd);
}

static ssize_t
real_pread(void *ctx, int fd, void *buf, size_t n, uint64_t off)
{
	ssize_t r;

	(void)ctx;
	do
		r = pread(fd, buf, n, (off_t)off);
	while (r == -1 && errno == EINTR);
	return (r == -1 ? -errno : r);
}

static ssize_t
real_pwritev(void *ctx, int fd, const struct iovec *iov, int n, uint64_t off)
{
	ssize_t r;

	(void)ctx;
	do
		r = pwritev(fd, iov, n, (off_t)off);
	while (r == -1 && errno == EINTR);
	return (r == -1 ? -errno : r);
}

static int
real_sync(void *ctx, int fd)
{
	(void)ctx;
	return (result(fdatasync(fd)));
}

static int
real_sync_dir(void *ctx, int dir)
{
	(void)ctx;
	return (result(fsync(dir)));
}

static int
real_allocate(void *ctx, int fd, uint64_t size)
{
	int r;

	(void)ctx;
	do
		r = posix_fallocate(fd, 0, (off_t)size);
	while (r == EINTR);
	return (-r);
}

static int
real_truncate(void *ctx, int fd, uint64_t size)
{
	(void)ctx;
	return (result(ftruncate(fd, (off_t)size)));
}

static int
real_punch(void *ctx, int fd, uint64_t off, uint64_t len)
{
	(void)ctx;
	return (result(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
	    (off_t)len)));
}

static int
real_size(void *ctx, int fd, uint64_t *size)
{
	struct stat st;

	(void)ctx;
	if (fstat(fd, &st) == -1)
		return (-errno);
	*size = (uint64_t)st.st_size;
	return (0);
}

static int
real_rename(void *ctx, int dir, const char *from, int todir, const char *to)
{
	(void)ctx;
	return (result(renameat(dir, from, todir, to)));
}

static int
real_unlink(void *ctx, int dir, const char *name)
{
	(void)ctx;
	return (result(unlinkat(dir, name, 0)));
}

static int
real_list(void *ctx, int dir, void (*fn)(void *arg, const char *name), void *arg)
{
	struct dirent *e;
	DIR *d;
	int fd;

	(void)ctx;
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return (-errno);
	d = fdopendir(fd);
	if (d == NULL) {
		close(fd);
		return (-ENOMEM);
	}
	errno = 0;
	while ((e = readdir(d)) != NULL) {
		fn(arg, e->d_name);
		errno = 0;
	}
	fd = -errno;
	closedir(d);
	return (fd);
}

static int
real_free_bytes(void *ctx, int dir, uint64_t *bytes)
{
	struct statvfs st;

	(void)ctx;
	if (fstatvfs(dir, &st) == -1)
		return (-errno);
	*bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return (0);
}

static uint64_t
real_now_us(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return ((uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
}

const struct spool_fs spool_fs_real = {
	.open = real_open,
	.close = real_close,
	.pread = real_pread,
	.pwritev = real_pwritev,
	.sync = real_sync,
	.sync_dir = real_sync_dir,
	.allocate = real_allocate,
	.truncate = real_truncate,
	.punch = real_punch,
	.size = real_size,
	.rename = real_rename,
	.unlink = real_unlink,
	.list = real_list,
	.free_bytes = real_free_bytes,
	.now_us = real_now_us,
};

int
spool_pread_all(const struct spool_fs *fs, int fd, void *buf, size_t n, uint64_t off)
{
	size_t have = 0;
	ssize_t r;

	while (have < n) {
		r = fs->pread(fs->ctx, fd, (char *)buf + have, n - have, off + have);
		if (r < 0)
			return ((int)r);
		if (r == 0)
			return (-ENODATA);
		have += (size_t)r;
	}
	return (0);
}

/* Drops `done` octets from the front of the list. */
static void
advance(struct iovec **iov, size_t *n, size_t done)
{
	while (*n > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (done > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

int
spool_pwritev_all(const struct spool_fs *fs, int fd, struct iovec *iov, size_t n, uint64_t off)
{
	ssize_t r;

	advance(&iov, &n, 0);
	while (n > 0) {
		r = fs->pwritev(fs->ctx, fd, iov, n < IOV_MAX ? (int)n : IOV_MAX, off);
		if (r < 0)
			return ((int)r);
		if (r == 0)
			return (-ENOSPC);
		off += (uint64_t)r;
		advance(&iov, &n, (size_t)r);
	}
	return (0);
}

int
spool_pwrite_all(const struct spool_fs *fs, int fd, const void *buf, size_t n, uint64_t off)
{
	struct iovec iov = { (void *)(uintptr_t)buf, n };

	return (spool_pwritev_all(fs, fd, &iov, 1, off));
}
