/*
 * log_output.c - the module that takes the daemon's own log, and what is kept for it.
 *
 * Implements log_output.h.  Until the daemon is ready lines are kept here, the newest
 * EARLY_MAX of them: the module that takes them may be loaded last, and the first lines are
 * about those before it.  A lock for readers and writers lets any number of threads log at
 * once and keeps a module that goes away from being called.
 */
#include "config.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <greenarrow/log_output.h>

#include "module/log.h"

#define EARLY_MAX 200

static struct {
	pthread_rwlock_t lock;
	ga_log_output_fn *fn;
	void *arg;
} output = { .lock = PTHREAD_RWLOCK_INITIALIZER };

static struct {
	pthread_mutex_t lock;
	bool over;			/* nothing is kept any more */
	unsigned at, n;			/* a ring: the oldest, and how many */
	struct { enum ga_level level; char *text; } line[EARLY_MAX];
} early = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void
keep(enum ga_level level, struct ga_str line)
{
	unsigned i = (early.at + early.n) % EARLY_MAX;

	if (early.n == EARLY_MAX) {
		free(early.line[i].text);
		early.at = (early.at + 1) % EARLY_MAX;
	} else
		early.n++;
	early.line[i].level = level;
	early.line[i].text = strndup(line.p, line.n);
}

/* The lines go to the module, when there is one, and are forgotten. */
static void
empty(void)
{
	for (; early.n > 0; early.n--, early.at = (early.at + 1) % EARLY_MAX) {
		char *text = early.line[early.at].text;

		if (output.fn != NULL)
			output.fn(output.arg, early.line[early.at].level, ga_str_c(text));
		free(text);
	}
}

bool
gac_log_give(enum ga_level level, struct ga_str line)
{
	bool taken;

	pthread_rwlock_rdlock(&output.lock);
	taken = output.fn != NULL && output.fn(output.arg, level, line);
	if (output.fn == NULL) {
		pthread_mutex_lock(&early.lock);
		if (!early.over)
			keep(level, line);
		pthread_mutex_unlock(&early.lock);
	}
	pthread_rwlock_unlock(&output.lock);
	return taken;
}

void
ga_log_output(ga_log_output_fn *fn, void *arg)
{
	pthread_rwlock_wrlock(&output.lock);
	output.fn = fn;
	output.arg = arg;
	if (fn != NULL)
		empty();
	pthread_rwlock_unlock(&output.lock);
}

void
gac_log_early_end(void)
{
	pthread_rwlock_wrlock(&output.lock);
	early.over = true;
	empty();
	pthread_rwlock_unlock(&output.lock);
}
