/* memfs.c - see memfs.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "memfs.h"

#define MAX_FILES 512
#define MAX_FDS 1024
#define BLOCK 512

struct bytes {
	unsigned char *p;
	size_t n;
};

struct inode {
	struct bytes seen, disk;
	int users;			/* names in either state, descriptors */
};

struct name {
	int dir;
	char text[32];
	struct inode *inode;
};

struct names {
	struct name list[MAX_FILES];
	int n;
};

struct memfs {
	struct names seen, disk;
	struct inode *fds[MAX_FDS];
	unsigned count, fail_at;
	int fail_error, sync_error, room_error;
	bool dead;
	size_t most;
	uint64_t free_bytes, clock;
	unsigned random;
};

static unsigned
chance(struct memfs *m)
{
	m->random = m->random * 1103515245u + 12345u;
	return (m->random >> 16);
}

static void
drop(struct inode *i)
{
	if (i != NULL && --i->users == 0) {
		free(i->seen.p);
		free(i->disk.p);
		free(i);
	}
}

static void
copy_bytes(struct bytes *to, const struct bytes *from)
{
	to->p = realloc(to->p, from->n + 1);
	if (from->n > 0)
		memcpy(to->p, from->p, from->n);
	to->n = from->n;
}

static void
resize(struct bytes *b, size_t n)
{
	b->p = realloc(b->p, n + 1);
	if (n > b->n)
		memset(b->p + b->n, 0, n - b->n);
	b->n = n;
}

static int
find(const struct names *l, int dir, const char *text)
{
	int i;

	for (i = 0; i < l->n; i++)
		if (l->list[i].dir == dir && strcmp(l->list[i].text, text) == 0)
			return (i);
	return (-1);
}

static void
add_name(struct names *l, int dir, const char *text, struct inode *i)
{
	struct name *n = &l->list[l->n++];

	if (l->n == MAX_FILES)
		abort();
	n->dir = dir;
	strcpy(n->text, text);
	n->inode = i;
	i->users++;
}

static void
remove_name(struct names *l, int at)
{
	drop(l->list[at].inode);
	l->list[at] = l->list[--l->n];
}

/* Before each change: 0, or what it fails with. */
static int
step(struct memfs *m)
{
	if (m->dead)
		return (-EIO);
	m->count++;
	if (m->fail_at == 0 || m->count != m->fail_at)
		return (0);
	m->fail_at = 0;
	if (m->fail_error != 0)
		return (-m->fail_error);
	m->dead = true;
	return (-EIO);
}

static int
mem_open(void *ctx, int dir, const char *text, int flags)
{
	struct memfs *m = ctx;
	struct inode *i;
	int at = find(&m->seen, dir, text), error, fd;

	if (m->dead)
		return (-EIO);
	if (at == -1 && !(flags & O_CREAT))
		return (-ENOENT);
	if (at != -1 && (flags & O_EXCL))
		return (-EEXIST);
	if (at == -1 || (flags & O_TRUNC)) {
		error = step(m);
		if (error != 0)
			return (error);
	}
	if (at == -1) {
		i = calloc(1, sizeof *i);
		add_name(&m->seen, dir, text, i);
	} else
		i = m->seen.list[at].inode;
	if (flags & O_TRUNC)
		i->seen.n = 0;
	for (fd = 10; fd < MAX_FDS && m->fds[fd] != NULL; fd++)
		;
	if (fd == MAX_FDS)
		return (-EMFILE);
	m->fds[fd] = i;
	i->users++;
	return (fd);
}

static void
mem_close(void *ctx, int fd)
{
	struct memfs *m = ctx;

	drop(m->fds[fd]);
	m->fds[fd] = NULL;
}

static ssize_t
mem_pread(void *ctx, int fd, void *buf, size_t n, uint64_t off)
{
	struct memfs *m = ctx;
	struct bytes *b = &m->fds[fd]->seen;

	if (m->dead)
		return (-EIO);
	if (off >= b->n)
		return (0);
	if (n > b->n - off)
		n = b->n - off;
	memcpy(buf, b->p + off, n);
	return ((ssize_t)n);
}

static ssize_t
mem_pwritev(void *ctx, int fd, const struct iovec *iov, int n, uint64_t off)
{
	struct memfs *m = ctx;
	struct bytes *b = &m->fds[fd]->seen;
	bool was_dead = m->dead;
	size_t most = m->most == 0 ? SIZE_MAX : m->most, len, sum = 0;
	int error = step(m), i;

	if (error != 0) {
		if (was_dead || !m->dead)
			return (error);
		most = chance(m) % 4096;	/* the power went in the middle of it */
	}
	for (i = 0; i < n && sum < most; i++) {
		if (iov[i].iov_len == 0)
			continue;
		len = iov[i].iov_len < most - sum ? iov[i].iov_len : most - sum;
		if (off + sum + len > b->n)
			resize(b, off + sum + len);
		memcpy(b->p + off + sum, iov[i].iov_base, len);
		sum += len;
	}
	return (error != 0 ? error : (ssize_t)sum);
}

static int
mem_sync(void *ctx, int fd)
{
	struct memfs *m = ctx;
	int error = step(m);

	if (error == 0 && m->sync_error != 0)
		error = -m->sync_error;
	if (error == 0)
		copy_bytes(&m->fds[fd]->disk, &m->fds[fd]->seen);
	return (error);
}

static void
copy_names(struct names *to, const struct names *from, int dir)
{
	int i;

	for (i = to->n - 1; i >= 0; i--)
		if (to->list[i].dir == dir)
			remove_name(to, i);
	for (i = 0; i < from->n; i++)
		if (from->list[i].dir == dir)
			add_name(to, dir, from->list[i].text, from->list[i].inode);
}

static int
mem_sync_dir(void *ctx, int dir)
{
	struct memfs *m = ctx;
	int error = step(m);

	if (error == 0)
		copy_names(&m->disk, &m->seen, dir);
	return (error);
}

static int
mem_allocate(void *ctx, int fd, uint64_t size)
{
	struct memfs *m = ctx;
	int error = step(m);

	if (error == 0 && m->room_error != 0)
		error = -m->room_error;
	if (error == 0 && m->fds[fd]->seen.n < size)
		resize(&m->fds[fd]->seen, size);
	return (error);
}

static int
mem_truncate(void *ctx, int fd, uint64_t size)
{
	int error = step(ctx);

	if (error == 0)
		resize(&((struct memfs *)ctx)->fds[fd]->seen, size);
	return (error);
}

static int
mem_punch(void *ctx, int fd, uint64_t off, uint64_t len)
{
	struct memfs *m = ctx;
	int error = step(m);

	if (error == 0 && off + len <= m->fds[fd]->seen.n)
		memset(m->fds[fd]->seen.p + off, 0, len);
	return (error);
}

static int
mem_size(void *ctx, int fd, uint64_t *size)
{
	*size = ((struct memfs *)ctx)->fds[fd]->seen.n;
	return (0);
}

static int
mem_rename(void *ctx, int dir, const char *from, int todir, const char *to)
{
	struct memfs *m = ctx;
	int at = find(&m->seen, dir, from), old, error;
	struct inode *i;

	if (at == -1)
		return (m->dead ? -EIO : -ENOENT);
	error = step(m);
	if (error != 0)
		return (error);
	i = m->seen.list[at].inode;
	i->users++;
	remove_name(&m->seen, at);
	old = find(&m->seen, todir, to);
	if (old != -1)
		remove_name(&m->seen, old);
	add_name(&m->seen, todir, to, i);
	i->users--;
	return (0);
}

static int
mem_unlink(void *ctx, int dir, const char *text)
{
	struct memfs *m = ctx;
	int at = find(&m->seen, dir, text), error;

	if (at == -1)
		return (m->dead ? -EIO : -ENOENT);
	error = step(m);
	if (error == 0)
		remove_name(&m->seen, at);
	return (error);
}

static int
mem_list(void *ctx, int dir, void (*fn)(void *arg, const char *name), void *arg)
{
	struct memfs *m = ctx;
	struct names copy = m->seen;
	int i;

	for (i = 0; i < copy.n; i++)
		if (copy.list[i].dir == dir)
			fn(arg, copy.list[i].text);
	return (m->dead ? -EIO : 0);
}

static int
mem_free_bytes(void *ctx, int dir, uint64_t *bytes)
{
	(void)dir;
	*bytes = ((struct memfs *)ctx)->free_bytes;
	return (0);
}

static uint64_t
mem_now_us(void *ctx)
{
	return (((struct memfs *)ctx)->clock++);
}

struct memfs *
memfs_new(void)
{
	struct memfs *m = calloc(1, sizeof *m);

	m->free_bytes = 1u << 30;
	m->clock = 1000000;
	m->random = 1;
	return (m);
}

static void
close_all(struct memfs *m)
{
	int fd;

	for (fd = 0; fd < MAX_FDS; fd++)
		if (m->fds[fd] != NULL)
			mem_close(m, fd);
}

void
memfs_free(struct memfs *m)
{
	close_all(m);
	while (m->seen.n > 0)
		remove_name(&m->seen, 0);
	while (m->disk.n > 0)
		remove_name(&m->disk, 0);
	free(m);
}

void
memfs_ops(struct memfs *m, struct spool_fs *fs)
{
	*fs = (struct spool_fs){
		.open = mem_open, .close = mem_close, .pread = mem_pread, .pwritev = mem_pwritev,
		.sync = mem_sync, .sync_dir = mem_sync_dir, .allocate = mem_allocate,
		.truncate = mem_truncate, .punch = mem_punch, .size = mem_size, .rename = mem_rename,
		.unlink = mem_unlink, .list = mem_list, .free_bytes = mem_free_bytes,
		.now_us = mem_now_us, .ctx = m,
	};
}

unsigned
memfs_count(const struct memfs *m)
{
	return (m->count);
}

void
memfs_fail_at(struct memfs *m, unsigned n, int error)
{
	m->fail_at = n == 0 ? 0 : m->count + n;
	m->fail_error = error;
}

bool
memfs_is_dead(const struct memfs *m)
{
	return (m->dead);
}

void
memfs_fail_syncs(struct memfs *m, int error)
{
	m->sync_error = error;
}

void
memfs_fail_room(struct memfs *m, int error)
{
	m->room_error = error;
}

void
memfs_short_writes(struct memfs *m, size_t most)
{
	m->most = most;
}

void
memfs_set_free(struct memfs *m, uint64_t bytes)
{
	m->free_bytes = bytes;
}

void
memfs_advance(struct memfs *m, uint64_t us)
{
	m->clock += us;
}

/* Each block of the file as it is seen or as it is on the disk. */
static void
mix(struct memfs *m, struct inode *i)
{
	size_t at, n;

	if (chance(m) % 2 && i->seen.n > i->disk.n)
		resize(&i->disk, i->seen.n);
	for (at = 0; at < i->disk.n && at < i->seen.n; at += BLOCK) {
		n = i->disk.n - at < BLOCK ? i->disk.n - at : BLOCK;
		if (n > i->seen.n - at)
			n = i->seen.n - at;
		if (chance(m) % 2)
			memcpy(i->disk.p + at, i->seen.p + at, n);
	}
}

void
memfs_cut_power(struct memfs *m, enum memfs_cut cut, unsigned seed)
{
	int i, dir;

	m->random = seed * 2654435761u + 1;
	close_all(m);
	for (i = 0; i < m->seen.n; i++) {
		if (cut == CUT_ALL)
			copy_bytes(&m->seen.list[i].inode->disk, &m->seen.list[i].inode->seen);
		if (cut == CUT_RANDOM)
			mix(m, m->seen.list[i].inode);
	}
	for (dir = MEMFS_SPOOL; dir <= MEMFS_CORRUPT; dir++)
		if (cut == CUT_ALL || (cut == CUT_RANDOM && chance(m) % 2))
			copy_names(&m->disk, &m->seen, dir);
	for (dir = MEMFS_SPOOL; dir <= MEMFS_CORRUPT; dir++)
		copy_names(&m->seen, &m->disk, dir);
	for (i = 0; i < m->seen.n; i++)
		copy_bytes(&m->seen.list[i].inode->seen, &m->seen.list[i].inode->disk);
	m->dead = false;
	m->fail_at = 0;
	m->sync_error = m->room_error = 0;
	m->most = 0;
}

unsigned
memfs_list(struct memfs *m, int dir, const char *suffix, char names[][32], unsigned max)
{
	unsigned n = 0, k;
	size_t len;
	int i;

	for (i = 0; i < m->seen.n && n < max; i++) {
		len = strlen(m->seen.list[i].text);
		if (m->seen.list[i].dir == dir && len >= strlen(suffix) &&
		    strcmp(m->seen.list[i].text + len - strlen(suffix), suffix) == 0)
			strcpy(names[n++], m->seen.list[i].text);
	}
	for (k = 1; k < n; k++)		/* sorted: runs are the same every time */
		for (unsigned j = k; j > 0 && strcmp(names[j - 1], names[j]) > 0; j--) {
			char t[32];

			strcpy(t, names[j]);
			strcpy(names[j], names[j - 1]);
			strcpy(names[j - 1], t);
		}
	return (n);
}

unsigned char *
memfs_data(struct memfs *m, int dir, const char *name, size_t *n)
{
	int at = find(&m->seen, dir, name);

	if (at == -1)
		return (NULL);
	*n = m->seen.list[at].inode->seen.n;
	return (m->seen.list[at].inode->seen.p);
}

void
memfs_set(struct memfs *m, int dir, const char *name, const void *p, size_t n)
{
	struct bytes b = { (unsigned char *)(uintptr_t)p, n };
	struct inode *i;
	int at;

	at = find(&m->seen, dir, name);
	if (at == -1) {
		i = calloc(1, sizeof *i);
		add_name(&m->seen, dir, name, i);
		add_name(&m->disk, dir, name, i);
	} else
		i = m->seen.list[at].inode;
	copy_bytes(&i->seen, &b);
	copy_bytes(&i->disk, &b);
}

void
memfs_remove(struct memfs *m, int dir, const char *name)
{
	int at = find(&m->seen, dir, name);

	if (at != -1)
		remove_name(&m->seen, at);
	at = find(&m->disk, dir, name);
	if (at != -1)
		remove_name(&m->disk, at);
}

struct memfs *
memfs_clone(const struct memfs *m)
{
	struct memfs *c = memfs_new();
	int i;

	for (i = 0; i < m->seen.n; i++)
		memfs_set(c, m->seen.list[i].dir, m->seen.list[i].text, m->seen.list[i].inode->seen.p,
		    m->seen.list[i].inode->seen.n);
	return (c);
}
