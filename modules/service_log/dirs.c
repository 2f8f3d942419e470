/*
 * dirs.c - the log directories that somebody has asked for, by name, and their limits.
 *
 * The list only grows until the end.  A directory is looked up or added behind a lock, so that all
 * who name it have the same one; the list itself is read without it, by the writer thread and
 * for `greenarrow status`.
 */
#include "service_log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_DEFAULT (10u * 1024 * 1024)
#define FILES_DEFAULT 10u

static struct {
	_Atomic(struct ga_log_dir *) first;
	_Atomic size_t memory;
	pthread_mutex_t lock;		/* adding; all that follows */
	_Atomic(struct ga_log_dir *) *last;
	struct slog_limits general;
	struct slog_limits_table table;
} dirs = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct ga_log_dir *
slog_dirs_first(void)
{
	return atomic_load_explicit(&dirs.first, memory_order_acquire);
}

struct ga_log_dir *
slog_dirs_next(const struct ga_log_dir *d)
{
	return atomic_load_explicit(&d->next, memory_order_acquire);
}

/* --- limits --- */

/* The first that says something. */
static uint32_t
pick(uint32_t single, uint32_t general, uint32_t asked, uint32_t otherwise)
{
	if (single > 0)
		return single;
	if (general > 0)
		return general;
	return asked > 0 ? asked : otherwise;
}

static void
limit(struct ga_log_dir *d)
{
	struct slog_limits single = slog_limits_of(&dirs.table, d->name);

	atomic_store(&d->size, pick(single.size, dirs.general.size, d->defaults.size, SIZE_DEFAULT));
	atomic_store(&d->files, pick(single.files, dirs.general.files, d->defaults.files, FILES_DEFAULT));
}

void
slog_dirs_limit(struct slog_limits general, struct slog_limits_table *table, size_t memory)
{
	atomic_store(&dirs.memory, memory);
	pthread_mutex_lock(&dirs.lock);
	slog_limits_free(&dirs.table);
	dirs.table = *table;
	dirs.general = general;
	for (struct ga_log_dir *d = slog_dirs_first(); d != NULL; d = slog_dirs_next(d))
		limit(d);
	pthread_mutex_unlock(&dirs.lock);
}

/* --- by name --- */

static bool
is_name(struct ga_str name)
{
	if (name.n == 0 || name.n > SLOG_NAME_MAX || name.p[0] == '.')
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (!(name.p[i] >= 'a' && name.p[i] <= 'z') && !(name.p[i] >= '0' && name.p[i] <= '9') &&
		    memchr("._-", name.p[i], 3) == NULL)
			return false;
	return true;
}

static struct ga_log_dir *
find(struct ga_str name)
{
	struct ga_log_dir *d = slog_dirs_first();

	while (d != NULL && !ga_str_eq(ga_str_c(d->name), name))
		d = slog_dirs_next(d);
	return d;
}

static struct ga_log_dir *
add(struct ga_str name, unsigned flags, const char *defaults)
{
	struct ga_log_dir *d = ga_xcalloc(1, sizeof *d);
	struct ga_str bad;

	memcpy(d->name, name.p, name.n);
	d->flags = flags;
	if (defaults != NULL && slog_limits_words(ga_str_c(defaults), &d->defaults, &bad) != NULL)
		d->defaults = (struct slog_limits){ 0, 0 };
	limit(d);
	d->last = &d->first;
	slog_store_init(&d->store, d->name);
	if (dirs.last == NULL)
		dirs.last = &dirs.first;
	atomic_store_explicit(dirs.last, d, memory_order_release);
	dirs.last = &d->next;
	return d;
}

struct ga_log_dir *
slog_dir_open(struct ga_str name, unsigned flags, const char *defaults)
{
	struct ga_log_dir *d;
	bool added;

	if (!is_name(name))
		return NULL;
	pthread_mutex_lock(&dirs.lock);
	d = find(name);
	added = d == NULL;
	if (added)
		d = add(name, flags, defaults);
	pthread_mutex_unlock(&dirs.lock);
	if (added)
		slog_writer_wake();	/* so that it is there before its first line */
	return d;
}

/* --- what files begin with --- */

/* Each text is kept once, so that one that comes back is the same. */
static struct slog_head *
head_of(struct ga_log_dir *d, struct ga_str line)
{
	struct slog_head *head = d->heads;

	while (head != NULL && !ga_str_eq((struct ga_str){ head->text, head->n }, line))
		head = head->older;
	if (head != NULL)
		return head;
	head = ga_xcalloc(1, sizeof *head + line.n);
	head->n = line.n;
	memcpy(head->text, line.p, line.n);
	head->older = d->heads;
	d->heads = head;
	return head;
}

void
slog_dir_begin_with(struct ga_log_dir *d, struct ga_str line)
{
	pthread_mutex_lock(&dirs.lock);
	atomic_store_explicit(&d->head, line.n > 0 ? head_of(d, line) : NULL, memory_order_release);
	pthread_mutex_unlock(&dirs.lock);
}

/* --- lines --- */

bool
slog_dir_write(struct ga_log_dir *d, const struct ga_str *parts, size_t n)
{
	uint32_t size = atomic_load_explicit(&d->size, memory_order_relaxed);
	size_t memory = atomic_load_explicit(&dirs.memory, memory_order_relaxed);

	if (!slog_inbox_put(&d->in, memory, (d->flags & GA_LOG_UNSTAMPED) == 0,
	    size < SLOG_LINE_MAX ? size : SLOG_LINE_MAX, parts, n))
		return false;
	slog_writer_wake();
	return true;
}

void
slog_dirs_free(void)
{
	struct ga_log_dir *d, *next;

	for (d = slog_dirs_first(); d != NULL; d = next) {
		next = slog_dirs_next(d);
		while (d->heads != NULL) {
			struct slog_head *head = d->heads;

			d->heads = head->older;
			free(head);
		}
		free(d);
	}
	atomic_store(&dirs.first, NULL);
	dirs.last = NULL;
	slog_limits_free(&dirs.table);
}
