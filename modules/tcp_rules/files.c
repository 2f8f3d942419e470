/*
 * files.c - see files.h.
 *
 * The thread sleeps until the kernel says that something happened in a folder of the files
 * (inotify), or for LOOK_EVERY_MS, for file systems that are changed from elsewhere and for links.  Then it
 * compares what stat(2) says with what it was.  So no loop touches a file: a session takes a lock for as long as a
 * pointer is copied.  Owns the files and the thread.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

#define LOOK_EVERY_MS 2000
#define HAPPENINGS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE)

/* What tells a file from the one before of the same name; all 0: there is none. */
struct identity {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

struct tcpr_file {
	struct tcpr_file *next;
	char *path;
	pthread_mutex_t lock;		/* of db */
	struct tcpr_db *db;		/* in force; NULL: none yet */
	struct identity seen;		/* when it was read last, with what came of it: */
	const char *why;		/* NULL: it is in force */
};

struct tcpr_files {
	struct ga_inst *inst;
	pthread_mutex_t lock;		/* of looking, and of the list's growth */
	_Atomic(struct tcpr_file *) first;
	pthread_t thread;
	int happened, stop;		/* inotify (-1: none), eventfd */
};

/* --- one file --- */

static struct identity
identify(const char *path)
{
	struct identity now;
	struct stat st;

	memset(&now, 0, sizeof now);
	if (stat(path, &st) != 0)
		return now;
	now.dev = st.st_dev;
	now.ino = st.st_ino;
	now.size = st.st_size;
	now.changed = st.st_ctim;
	return now;
}

static bool
same(const struct identity *a, const struct identity *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	    a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static void
put_in_force(struct tcpr_file *f, struct tcpr_db *db)
{
	struct tcpr_db *before;

	pthread_mutex_lock(&f->lock);
	before = f->db;
	f->db = db;
	pthread_mutex_unlock(&f->lock);
	tcpr_db_unref(before);
}

/* Reads the file if it is another one, or if it could not be read.  With files->lock. */
static void
look(struct tcpr_files *files, struct tcpr_file *f)
{
	struct identity now = identify(f->path);
	const char *why = NULL;
	bool another = !same(&now, &f->seen);
	struct tcpr_db *db;

	if (!another && f->why == NULL)
		return;
	db = tcpr_db_read(f->path, &why);
	f->seen = now;
	f->why = db != NULL ? NULL : why;
	if (db != NULL) {
		ga_log(files->inst, GA_INFO, "GA-TCPR-0001", "%s: %zu rules are in force", f->path, tcpr_db_records(db));
		put_in_force(f, db);
	} else if (another && f->db != NULL) {
		ga_log(files->inst, GA_WARN, "GA-TCPR-0002", "%s: %s; the rules of before stay in force", f->path, why);
	}
}

/* --- all of them --- */

static void
look_at_all(struct tcpr_files *files)
{
	pthread_mutex_lock(&files->lock);
	for (struct tcpr_file *f = atomic_load(&files->first); f != NULL; f = f->next)
		look(files, f);
	pthread_mutex_unlock(&files->lock);
}

static void
forget_happenings(struct tcpr_files *files)
{
	char room[4096];

	while (read(files->happened, room, sizeof room) > 0)
		;
}

static void *
watch(void *arg)
{
	struct tcpr_files *files = arg;
	struct pollfd p[2] = { { .fd = files->stop, .events = POLLIN },
		{ .fd = files->happened, .events = POLLIN } };

	while (poll(p, 2, LOOK_EVERY_MS) >= 0 || errno == EINTR) {
		if (p[0].revents != 0)
			break;
		if (p[1].revents != 0)
			forget_happenings(files);
		look_at_all(files);
	}
	return NULL;
}

/* Signals are for the main thread. */
static int
begin_thread(struct tcpr_files *files)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&files->thread, NULL, watch, files);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static void
free_all(struct tcpr_files *files)
{
	struct tcpr_file *f, *next;

	for (f = atomic_load(&files->first); f != NULL; f = next) {
		next = f->next;
		tcpr_db_unref(f->db);
		pthread_mutex_destroy(&f->lock);
		free(f->path);
		free(f);
	}
	if (files->happened >= 0)
		close(files->happened);
	close(files->stop);
	pthread_mutex_destroy(&files->lock);
	free(files);
}

struct tcpr_files *
tcpr_files_new(struct ga_inst *inst)
{
	struct tcpr_files *files = ga_xcalloc(1, sizeof *files);
	int error;

	files->inst = inst;
	pthread_mutex_init(&files->lock, NULL);
	files->happened = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	files->stop = eventfd(0, EFD_CLOEXEC);
	error = files->stop < 0 ? errno : begin_thread(files);
	if (error == 0)
		return files;
	ga_log(inst, GA_ERR, "GA-TCPR-0003", "cannot watch files of rules: %s", strerror(error));
	free_all(files);
	return NULL;
}

void
tcpr_files_free(struct tcpr_files *files)
{
	uint64_t one = 1;

	if (files == NULL)
		return;
	while (write(files->stop, &one, sizeof one) < 0 && errno == EINTR)
		;
	pthread_join(files->thread, NULL);
	free_all(files);
}

/* --- for services --- */

struct ga_str
tcpr_database_path(struct ga_pool *pool, struct ga_str rules)
{
	bool whole = ga_str_ends(rules, GA_STR(".cdb"));

	return ga_fmt(pool, "%.*s%s", (int)rules.n, rules.p, whole ? "" : ".cdb");
}

static struct tcpr_file *
find(struct tcpr_files *files, struct ga_str path)
{
	struct tcpr_file *f = atomic_load(&files->first);

	while (f != NULL && !ga_str_eq(ga_str_c(f->path), path))
		f = f->next;
	return f;
}

static struct tcpr_file *
add(struct tcpr_files *files, const char *path)
{
	struct tcpr_file *f = ga_xcalloc(1, sizeof *f);
	const char *slash = strrchr(path, '/');
	char *folder = strndup(path, slash != NULL ? (size_t)(slash - path) + 1 : 0);

	f->path = strdup(path);
	if (f->path == NULL || folder == NULL)
		abort();
	pthread_mutex_init(&f->lock, NULL);
	f->why = "not looked at yet";
	/* where it cannot be watched it is looked at now and then */
	if (files->happened >= 0 && inotify_add_watch(files->happened, folder, HAPPENINGS) < 0)
		ga_log(files->inst, GA_DEBUG, "GA-TCPR-0004", "%s: %s", folder, strerror(errno));
	free(folder);
	f->next = atomic_load(&files->first);
	atomic_store(&files->first, f);
	return f;
}

bool
tcpr_files_take(struct tcpr_files *files, const char *database, const char **why)
{
	struct tcpr_file *f;
	bool good;

	pthread_mutex_lock(&files->lock);
	f = find(files, ga_str_c(database));
	if (f == NULL)
		f = add(files, database);
	look(files, f);
	good = f->db != NULL;
	*why = f->why;
	pthread_mutex_unlock(&files->lock);
	return good;
}

struct tcpr_db *
tcpr_files_get(struct tcpr_files *files, struct ga_str database)
{
	struct tcpr_file *f = find(files, database);
	struct tcpr_db *db;

	if (f == NULL)
		return NULL;
	pthread_mutex_lock(&f->lock);
	db = f->db != NULL ? tcpr_db_ref(f->db) : NULL;
	pthread_mutex_unlock(&f->lock);
	return db;
}
