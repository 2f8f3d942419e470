/*
 * fs.h - every system call of the spool on disk, and its clock, as a table.
 *
 * The engine sees no other door to a file.  spool_fs_real is the kernel; tests
 * put a file system in memory behind the same table, which fails, writes short
 * and loses power at the step that they choose.
 *
 * Each call returns 0 (or a count, or a descriptor), or a negative errno.
 * Names are relative to a directory descriptor and hold no slash.
 */
#ifndef SPOOL_FS_H
#define SPOOL_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct spool_fs {
	/* flags: O_RDONLY, or O_RDWR with O_CREAT|O_EXCL or O_TRUNC as wanted; only regular files of
	 * our own with one link are opened (-ELOOP, -EPERM otherwise) */
	int (*open)(void *ctx, int dir, const char *name, int flags);
	void (*close)(void *ctx, int fd);
	ssize_t (*pread)(void *ctx, int fd, void *buf, size_t n, uint64_t off);
	ssize_t (*pwritev)(void *ctx, int fd, const struct iovec *iov, int n, uint64_t off);
	int (*sync)(void *ctx, int fd);			/* fdatasync */
	int (*sync_dir)(void *ctx, int dir);		/* fsync of a directory */
	int (*allocate)(void *ctx, int fd, uint64_t size);	/* the file is at least so long */
	int (*truncate)(void *ctx, int fd, uint64_t size);
	int (*punch)(void *ctx, int fd, uint64_t off, uint64_t len);
	int (*size)(void *ctx, int fd, uint64_t *size);
	int (*rename)(void *ctx, int dir, const char *from, int todir, const char *to);
	int (*unlink)(void *ctx, int dir, const char *name);
	/* fn is called for every entry; order is any */
	int (*list)(void *ctx, int dir, void (*fn)(void *arg, const char *name), void *arg);
	int (*free_bytes)(void *ctx, int dir, uint64_t *bytes);
	uint64_t (*now_us)(void *ctx);			/* a clock that only goes forward */
	void *ctx;
};

extern const struct spool_fs spool_fs_real;

/* All of it, or a negative errno; a file that ends early is -ENODATA. */
int spool_pread_all(const struct spool_fs *, int fd, void *buf, size_t n, uint64_t off);
/* All of it: IOV_MAX and short writes respected.  iov is used up. */
int spool_pwritev_all(const struct spool_fs *, int fd, struct iovec *iov, size_t n, uint64_t off);
int spool_pwrite_all(const struct spool_fs *, int fd, const void *buf, size_t n, uint64_t off);

#endif
