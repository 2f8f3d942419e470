/*
 * store.c - one log directory on disk, as multilog of daemontools keeps it.
 *
 *   current     0644 while it is written to, 0744 once it was ended and synced
 *   @STAMP.s    finished, 0744; STAMP is when; @STAMP.u: left by a crash, its last line may be cut
 *   lock        held by whoever writes, multilog or we
 *   previous    a file on its way from `current` to @STAMP.s
 *   state, newstate, processed   of multilog's processors: we run none, but tidy up after one
 *
 * What has to be done before a line can be written is a sequence of steps, each of them a
 * system call or two, and each may be done again.  One that fails leaves the store where it is,
 * and slog_store_ready() goes on from there.  Where multilog would wait for ever for a file that
 * somebody has removed, we begin anew at the first step.
 *
 * Only the writer thread comes here, so these calls may take what time they like.
 */
#include "service_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define DIRECTORY_MODE 0750	/* who may use the control socket may read: the daemon's group */
#define CLEAN S_IXUSR		/* of a file: ended cleanly */
#define TAIL 2000		/* a file this close to its size is ended with the line */
#define STAMPED_MIN 25		/* a finished file's name is no shorter */

static bool
fail(struct slog_store *s, const char *what)
{
	s->error = errno;
	s->failed = what;
	return false;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
slog_store_init(struct slog_store *s, const char *name)
{
	s->name = name;
	s->step = SLOG_OPEN;
	s->dir = s->lock = s->current = -1;
}

/* --- to have a `current` --- */

static bool
open_directory(struct slog_store *s)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/%s", ga_path(GA_PATH_LOG), s->name);
	if (mkdir(path, DIRECTORY_MODE) != 0 && errno != EEXIST)
		return fail(s, "mkdir");
	s->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return fail(s, "open");
	s->step = SLOG_LOCK;
	return true;
}

static bool
take_lock(struct slog_store *s)
{
	if (s->lock < 0)
		s->lock = openat(s->dir, "lock", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock < 0)
		return fail(s, "open lock");
	if (flock(s->lock, LOCK_EX | LOCK_NB) != 0)
		return fail(s, "lock");
	s->step = SLOG_RESUME;
	return true;
}

static bool
open_current(struct slog_store *s, int flags)
{
	struct stat st;

	s->current = openat(s->dir, "current", O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0644);
	if (s->current < 0)
		return fail(s, "open current");
	if (fchmod(s->current, 0644) != 0 || fstat(s->current, &st) != 0) {
		fail(s, "chmod current");
		close_fd(&s->current);
		return false;
	}
	s->octets = (uint64_t)st.st_size;
	return true;
}

/* One that was ended cleanly is written on. */
static bool
resume(struct slog_store *s)
{
	struct stat st;

	if (fstatat(s->dir, "current", &st, AT_SYMLINK_NOFOLLOW) != 0 && errno != ENOENT)
		return fail(s, "stat current");
	else if (errno == ENOENT)
		st.st_mode = 0;
	if ((st.st_mode & CLEAN) == 0) {
		s->step = SLOG_LEFTOVERS;
		return true;
	}
	if (!open_current(s, 0))
		return false;
	s->step = SLOG_WRITE;
	return true;
}

/* --- finished files --- */

/* Under a stamp of now that no other file has. */
static bool
link_finished(struct slog_store *s, const char *file, char kind)
{
	char name[GA_TAI64N_ROOM + 2];
	int tries = 1000;

	do {
		ga_tai64n_format(ga_tai64n_now(), name);
		name[GA_TAI64N_LEN] = '.';
		name[GA_TAI64N_LEN + 1] = kind;
		name[GA_TAI64N_LEN + 2] = '\0';
		if (linkat(s->dir, file, s->dir, name, 0) == 0)
			return true;
	} while (errno == EEXIST && --tries > 0);
	return fail(s, "link a finished file");
}

/* A file with two names was finished by who crashed before the first name was removed. */
static bool
finish(struct slog_store *s, const char *file, char kind)
{
	struct stat st;

	if (fstatat(s->dir, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT || fail(s, "stat a finished file");
	if (st.st_nlink == 1 && !link_finished(s, file, kind))
		return false;
	return unlinkat(s->dir, file, 0) == 0 || fail(s, "remove a finished file's first name");
}

static int
is_finished(const struct dirent *e)
{
	return e->d_name[0] == '@' && strlen(e->d_name) >= STAMPED_MIN;
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The oldest go until there are fewer than the limit. */
static bool
prune(struct slog_store *s)
{
	struct dirent **e;
	int n = scandirat(s->dir, ".", &e, is_finished, by_name);
	int64_t surplus = n - (int64_t)s->limits.files + 1;
	bool good = true;

	if (n < 0)
		return fail(s, "read the directory");
	for (int i = 0; i < n; i++) {
		if (i < surplus && good && unlinkat(s->dir, e[i]->d_name, 0) != 0 && errno != ENOENT)
			good = fail(s, "remove an old file");
		free(e[i]);
	}
	free(e);
	return good;
}

static bool
remove_if_there(struct slog_store *s, const char *file)
{
	return unlinkat(s->dir, file, 0) == 0 || errno == ENOENT || fail(s, "remove");
}

/* What the last writer could not end.  A processor's result that is whole takes the place of
 * what it was made of. */
static bool
end_leftovers(struct slog_store *s)
{
	struct stat st;
	bool processed = fstatat(s->dir, "processed", &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & CLEAN) != 0;

	if (!remove_if_there(s, "state") || !remove_if_there(s, "newstate") ||
	    !remove_if_there(s, processed ? "previous" : "processed") ||
	    !finish(s, processed ? "processed" : "previous", processed ? 's' : 'u') ||
	    !finish(s, "current", 'u') || !prune(s))
		return false;
	s->step = SLOG_NEW;
	return true;
}

static bool
begin_anew(struct slog_store *s)
{
	int state = openat(s->dir, "state", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (state < 0)
		return fail(s, "open state");
	close(state);
	if (!open_current(s, O_CREAT))
		return false;
	s->step = SLOG_WRITE;
	return true;
}

/* --- to have another one --- */

static bool
sync_current(struct slog_store *s)
{
	if (fsync(s->current) != 0)
		return fail(s, "fsync current");
	close_fd(&s->current);
	s->step = SLOG_RENAME;
	return true;
}

static bool
rename_current(struct slog_store *s)
{
	if (renameat(s->dir, "current", s->dir, "previous") != 0)
		return fail(s, "rename current");
	s->step = SLOG_REPLACE;
	return true;
}

static bool
replace_current(struct slog_store *s)
{
	if (s->current < 0 && !open_current(s, O_CREAT))
		return false;
	if (fchmodat(s->dir, "previous", 0744, 0) != 0)
		return fail(s, "chmod previous");
	s->step = SLOG_FINISH;
	return true;
}

static bool
finish_previous(struct slog_store *s)
{
	if (!finish(s, "previous", 's'))
		return false;
	atomic_fetch_add(&s->rotations, 1);
	s->step = SLOG_PRUNE;
	return true;
}

static bool
prune_old(struct slog_store *s)
{
	if (!prune(s))
		return false;
	s->step = SLOG_WRITE;
	return true;
}

/* --- steps --- */

static bool (*const steps[])(struct slog_store *) = {
	[SLOG_OPEN] = open_directory, [SLOG_LOCK] = take_lock, [SLOG_RESUME] = resume,
	[SLOG_LEFTOVERS] = end_leftovers, [SLOG_NEW] = begin_anew,
	[SLOG_SYNC] = sync_current, [SLOG_RENAME] = rename_current, [SLOG_REPLACE] = replace_current,
	[SLOG_FINISH] = finish_previous, [SLOG_PRUNE] = prune_old
};

static void
let_go(struct slog_store *s)
{
	close_fd(&s->current);
	close_fd(&s->lock);
	close_fd(&s->dir);
	s->step = SLOG_OPEN;
	s->octets = 0;
}

/* Somebody has removed the directory, or what we write to. */
static bool
is_gone(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 0;
}

bool
slog_store_ready(struct slog_store *s)
{
	bool anew = false;

	if (is_gone(s->current))
		let_go(s);
	while (s->step != SLOG_WRITE)
		if (!steps[s->step](s)) {
			if (anew || s->step == SLOG_OPEN || (s->error != ENOENT && !is_gone(s->dir)))
				return false;
			let_go(s);
			anew = true;
		}
	return true;
}

/* --- writing --- */

bool
slog_store_fits(const struct slog_store *s, uint64_t before, uint64_t octets)
{
	before += s->octets;
	return before == 0 || before + octets <= s->limits.size;
}

bool
slog_store_full(const struct slog_store *s, uint64_t octets)
{
	return s->octets + octets >= s->limits.size - TAIL;
}

void
slog_store_rotate(struct slog_store *s)
{
	s->step = SLOG_SYNC;
}

size_t
slog_store_write(struct slog_store *s, const struct iovec *v, int n)
{
	ssize_t done;

	do
		done = writev(s->current, v, n);
	while (done < 0 && errno == EINTR);
	if (done <= 0) {
		if (done == 0)
			errno = ENOSPC;
		fail(s, "write current");
		return 0;
	}
	s->octets += (uint64_t)done;
	return (size_t)done;
}

void
slog_store_close(struct slog_store *s, uint64_t torn)
{
	if (s->current >= 0 && (torn == 0 || ftruncate(s->current, (off_t)(s->octets - torn)) == 0) &&
	    fsync(s->current) == 0 && fchmod(s->current, 0744) != 0)
		fail(s, "chmod current");
	let_go(s);
}
