/*
 * logdir.c - read a log directory in the order of time, while a daemon writes it.
 *
 * Implements logdir.h.  The order in which a directory is looked at is what makes a rotation
 * harmless.  The writer renames current to previous, makes a new current, links previous to its
 * final name and unlinks it.  So whoever opens current, then previous, then lists the directory
 * has every line in one of the three, and knows a file that it has twice by its inode.
 *
 * Files are read with read(2), not mapped: a disk that fails is then an error and no signal, the
 * resident memory does not grow with the log, and it was no slower.  Blocks of READ_SIZE stay in the
 * processor's cache between read and memchr.
 *
 * Known limits: where the clock was set back by more than GAC_LOG_DISORDER_S a search by halves
 * may begin too late, and reading ends when END_LINES lines in a row are behind the window.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <greenarrow/tai64.h>

#include "base/logdir.h"
#include "base/logtime.h"

#define NAME_LEN (GA_TAI64N_LEN + 2)	/* "@4000....s" */
#define RECENT 16	/* names that may have been given while the directory was looked at */
#define READ_SIZE (256 * 1024)
#define BUFFER_SIZE (GAC_LOG_LINE_MAX + 1)	/* and the LF that a file lacks at its end */
#define SEARCH_MIN (512 * 1024)		/* of a shorter stretch all is read */
#define PROBE_SIZE (16 * 1024)		/* most lines are shorter; a line that is not costs PROBE_LONG */
#define PROBE_LONG (256 * 1024)
#define DISORDER_NS (GAC_LOG_DISORDER_S * GAC_LOG_NS_S)
#define END_LINES 64			/* one damaged stamp does not end the reading */

struct log_file {
	char name[NAME_LEN + 1];
	int fd;			/* -1: not opened yet */
	ino_t inode;
	dev_t device;
	bool growing;		/* `current`: its last line may not be whole */
};

struct gac_logdir {
	char *path;
	int dir;
	struct gac_log_window window;
	gac_log_warn_fn *warn;
	void *warn_arg;

	struct log_file *files;	/* in the order of time, those before the window left out */
	size_t nfiles, room, next;

	int fd;			/* that is read, of files[next - 1]; -1: none */
	char *buffer;
	size_t from, to;	/* in buffer: not handed out yet */
	bool torn;		/* the octets there are the end of a file, without an LF */
	bool piece;		/* they continue a line that was handed out in part */

	int64_t at_ns;		/* of the last line that had a time */
	bool wanted;		/* that line was in the window */
	bool first;		/* nothing of the window's first file was read yet */
	unsigned behind;	/* lines in a row that are behind the window */
	size_t untimed;
};

/* --- which files --- */

static void
complain(struct gac_logdir *d, const char *name, const char *problem)
{
	struct ga_pool *pool = ga_pool_new(0);

	d->warn(d->warn_arg, ga_fmt(pool, "%s/%s", d->path, name).p, problem);
	ga_pool_free(pool);
}

static struct log_file *
add(struct gac_logdir *d, const char *name, int fd)
{
	struct log_file *f;

	if (d->nfiles == d->room) {
		d->room = d->room > 0 ? 2 * d->room : 64;
		d->files = ga_xrealloc(d->files, d->room * sizeof *d->files);
	}
	f = &d->files[d->nfiles++];
	*f = (struct log_file){ .fd = fd };
	snprintf(f->name, sizeof f->name, "%s", name);
	return f;
}

/* A file of any other kind, a symbolic link for one, is none of a log. */
static int
open_file(struct gac_logdir *d, const char *name)
{
	int fd = openat(d->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	if (fd >= 0) {
		close(fd);
		errno = EINVAL;
	}
	return -1;
}

static const char *
why_not_open(void)
{
	if (errno == ENOENT)
		return "vanished";
	return errno == EINVAL || errno == ELOOP ? "is no regular file" : strerror(errno);
}

/* current or previous, which may both not be there; their lines are the last ones. */
static void
add_open(struct gac_logdir *d, const char *name, bool growing)
{
	int fd = open_file(d, name);
	struct log_file *f;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		if (errno != ENOENT)
			complain(d, name, why_not_open());
		return;
	}
	f = add(d, name, fd);
	f->inode = st.st_ino;
	f->device = st.st_dev;
	f->growing = growing;
}

/* When a finished file was finished, by its name. */
static bool
finished(const char *name, int64_t *at_ns)
{
	const char *suffix = name + GA_TAI64N_LEN;

	return strlen(name) == NAME_LEN && (strcmp(suffix, ".s") == 0 || strcmp(suffix, ".u") == 0) &&
	    gac_log_time((struct ga_str){ name, GA_TAI64N_LEN }, at_ns);
}

/* All lines of a file are older than its name.  Returns false with errno when listing fails. */
static bool
add_finished(struct gac_logdir *d)
{
	DIR *list = fdopendir(dup(d->dir));
	struct dirent *e;
	int64_t at_ns;

	if (list == NULL)
		return false;
	for (errno = 0; (e = readdir(list)) != NULL; errno = 0)
		if (finished(e->d_name, &at_ns) && at_ns >= d->window.start_ns)
			add(d, e->d_name, -1);
	closedir(list);
	return errno == 0;
}

static int
by_time(const void *a, const void *b)
{
	return strcmp(((const struct log_file *)a)->name, ((const struct log_file *)b)->name);
}

static bool
same_file(struct gac_logdir *d, const struct log_file *listed, const struct log_file *held)
{
	struct stat st;

	return fstatat(d->dir, listed->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == held->inode &&
	    st.st_dev == held->device;
}

/*
 * files[0 .. held) are open: current, previous; behind them what was listed.  Puts the listed ones in
 * order and the open ones last.  An open one that got its final name meanwhile is not listed again; what was finished
 * after it is newer than this reading.
 */
static void
arrange(struct gac_logdir *d, size_t held)
{
	struct log_file open[2], *listed = d->files + held;
	size_t n = d->nfiles - held;

	memcpy(open, d->files, held * sizeof *open);
	if (n > 1)
		qsort(listed, n, sizeof *listed, by_time);
	for (size_t h = 0; h < held; h++)
		for (size_t i = n > RECENT ? n - RECENT : 0; i < n; i++)
			if (same_file(d, &listed[i], &open[h]))
				n = i;
	if (n > 0)
		memmove(d->files, listed, n * sizeof *listed);
	for (; held > 0; held--)
		d->files[n++] = open[held - 1];
	d->nfiles = n;
}

/* The same inode, when current became previous between the two. */
static void
drop_double(struct gac_logdir *d)
{
	struct log_file *f = d->files;

	if (d->nfiles == 2 && f[0].inode == f[1].inode && f[0].device == f[1].device) {
		close(f[1].fd);
		d->nfiles = 1;
	}
}

static bool
choose(struct gac_logdir *d)
{
	size_t held;

	add_open(d, "current", true);
	add_open(d, "previous", false);
	drop_double(d);
	held = d->nfiles;
	if (!add_finished(d))
		return false;
	arrange(d, held);
	return true;
}

struct gac_logdir *
gac_logdir_open(const char *path, const struct gac_log_window *window, gac_log_warn_fn *warn, void *arg)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct gac_logdir *d;
	int error;

	if (dir < 0)
		return NULL;
	d = ga_xcalloc(1, sizeof *d);
	*d = (struct gac_logdir){ .dir = dir, .window = *window, .warn = warn, .warn_arg = arg, .fd = -1,
		.first = true, .wanted = window->start_ns == INT64_MIN, .at_ns = INT64_MIN };
	d->path = strdup(path);
	d->buffer = ga_xmalloc(BUFFER_SIZE);
	if (d->path != NULL && choose(d))
		return d;
	error = errno;
	gac_logdir_close(d);
	errno = error;
	return NULL;
}

void
gac_logdir_close(struct gac_logdir *d)
{
	if (d == NULL)
		return;
	for (size_t i = d->next; i < d->nfiles; i++)
		if (d->files[i].fd >= 0)
			close(d->files[i].fd);
	if (d->fd >= 0)
		close(d->fd);
	close(d->dir);
	free(d->files);
	free(d->buffer);
	free(d->path);
	free(d);
}

/* --- where in a file --- */

/* The first line with a time that begins behind an LF in the octets at `at`; its place and time. */
static bool
probe(struct gac_logdir *d, off_t at, size_t size, off_t *line, int64_t *at_ns)
{
	ssize_t n = pread(d->fd, d->buffer, size, at);
	const char *end = d->buffer + (n > 0 ? n : 0), *p = d->buffer;

	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		*line = at + (p - d->buffer);
		if (gac_log_time((struct ga_str){ p, (size_t)(end - p) }, at_ns))
			return true;
	}
	return false;
}

/* A place from which on all lines of the window are, at the beginning of a line. */
static off_t
search(struct gac_logdir *d, off_t size)
{
	off_t low = 0, high = size, line;
	int64_t before, at_ns;

	if (__builtin_sub_overflow(d->window.start_ns, DISORDER_NS, &before))
		return 0;
	while (high - low > SEARCH_MIN) {
		off_t middle = low + (high - low) / 2;

		if ((probe(d, middle, PROBE_SIZE, &line, &at_ns) || probe(d, middle, PROBE_LONG, &line, &at_ns)) &&
		    at_ns < before)
			low = line;
		else
			high = middle;
	}
	return low;
}

/* --- reading --- */

/* Opens the next file that can be; false: there is none. */
static bool
next_file(struct gac_logdir *d)
{
	struct stat st;

	while (d->next < d->nfiles) {
		struct log_file *f = &d->files[d->next++];

		d->fd = f->fd >= 0 ? f->fd : open_file(d, f->name);
		if (d->fd < 0) {
			complain(d, f->name, why_not_open());
			continue;
		}
		if (d->first && fstat(d->fd, &st) == 0)
			lseek(d->fd, search(d, st.st_size), SEEK_SET);
		d->first = false;
		return true;
	}
	return false;
}

static void
end_file(struct gac_logdir *d)
{
	close(d->fd);
	d->fd = -1;
	/* a file that is being written ends in a line that is not whole yet, unless nothing is of this file */
	if (d->files[d->next - 1].growing && !d->torn)
		d->from = d->to = 0;
	d->torn = d->from < d->to;
}

/* The n octets that came now are a file's first, and in front of them is a line without its end: the
 * writer cut it at the size of a file, or it did not come to its end.  A room of one octet is between the two. */
static void
join(struct gac_logdir *d, size_t n)
{
	struct ga_str begin = { d->buffer + d->to + 1, n };
	int64_t at_ns;

	d->torn = false;
	if (n == 0 || gac_log_time(begin, &at_ns))
		d->buffer[d->to++] = '\n';
	else
		memmove(d->buffer + d->to, begin.p, n);
	d->to += n;
}

static void
make_room(struct gac_logdir *d)
{
	memmove(d->buffer, d->buffer + d->from, d->to - d->from);
	d->to -= d->from;
	d->from = 0;
}

/* More octets behind those that are there; false: there are none.  The buffer has room. */
static bool
fill(struct gac_logdir *d)
{
	size_t room;
	ssize_t n;

	make_room(d);
	for (;;) {
		if (d->fd < 0 && !next_file(d)) {
			if (d->torn)
				join(d, 0);
			return d->to > 0;
		}
		room = GAC_LOG_LINE_MAX - d->to;
		n = read(d->fd, d->buffer + d->to + d->torn, room < READ_SIZE ? room : READ_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			complain(d, d->files[d->next - 1].name, strerror(errno));
		if (n <= 0) {
			end_file(d);
			continue;
		}
		if (d->torn)
			join(d, (size_t)n);
		else
			d->to += (size_t)n;
		return true;
	}
}

/* A line, or a piece of one that is longer than the buffer; false: the end. */
static bool
cut(struct gac_logdir *d, struct gac_log_line *line)
{
	const char *lf;

	while ((lf = memchr(d->buffer + d->from, '\n', d->to - d->from)) == NULL) {
		if (d->to - d->from >= GAC_LOG_LINE_MAX - 1) {
			*line = (struct gac_log_line){ .text = { d->buffer + d->from, d->to - d->from } };
			d->from = d->to;
			return true;
		}
		if (!fill(d))
			return false;
	}
	*line = (struct gac_log_line){ .text = { d->buffer + d->from, (size_t)(lf - d->buffer) - d->from }, .ends = true };
	d->from = (size_t)(lf + 1 - d->buffer);
	return true;
}

/* --- the window --- */

/* Keeps in mind whether a line with a time, and all without one behind it, are in the window. */
static void
place(struct gac_logdir *d, int64_t at_ns)
{
	int64_t late;

	d->at_ns = at_ns;
	d->wanted = at_ns >= d->window.start_ns && at_ns <= d->window.end_ns;
	if (__builtin_add_overflow(d->window.end_ns, DISORDER_NS, &late) || at_ns <= late)
		d->behind = 0;
	else
		d->behind++;
}

bool
gac_logdir_line(struct gac_logdir *d, struct gac_log_line *line)
{
	int64_t at_ns;

	while (d->behind < END_LINES && cut(d, line)) {
		line->timed = !d->piece && gac_log_time(line->text, &at_ns);
		if (line->timed)
			place(d, at_ns);
		else if (!d->piece)
			d->untimed++;
		d->piece = !line->ends;
		line->at_ns = d->at_ns;
		if (d->wanted)
			return true;
	}
	return false;
}

size_t
gac_logdir_untimed(const struct gac_logdir *d)
{
	return d->untimed;
}
