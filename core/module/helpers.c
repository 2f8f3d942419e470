/*
 * helpers.c - a few threads for what would block a loop (ga_await_work).
 *
 * One list, one lock, HELPERS threads made when the first job comes.  Jobs are
 * run in order; nothing is known here of what they do.
 */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "module/helpers.h"

#define HELPERS 4

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct gac_job *first, **last;
	pthread_t thread[HELPERS];
	unsigned threads;
	bool ending;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static void *
helper(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&pool.lock);
	for (;;) {
		struct gac_job *job = pool.first;

		if (job == NULL) {
			if (pool.ending)
				break;
			pthread_cond_wait(&pool.more, &pool.lock);
			continue;
		}
		pool.first = job->next;
		if (pool.first == NULL)
			pool.last = &pool.first;
		pthread_mutex_unlock(&pool.lock);
		job->run(job);
		pthread_mutex_lock(&pool.lock);
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

static void
start_threads(void)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (pool.threads < HELPERS &&
	    pthread_create(&pool.thread[pool.threads], NULL, helper, NULL) == 0)
		pool.threads++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void
gac_helpers_run(struct gac_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&pool.lock);
	if (pool.last == NULL)
		pool.last = &pool.first;
	*pool.last = job;
	pool.last = &job->next;
	if (pool.threads == 0)
		start_threads();
	pthread_cond_signal(&pool.more);
	pthread_mutex_unlock(&pool.lock);
}

void
gac_helpers_stop(void)
{
	pthread_mutex_lock(&pool.lock);
	pool.ending = true;
	pthread_cond_broadcast(&pool.more);
	pthread_mutex_unlock(&pool.lock);
	for (unsigned i = 0; i < pool.threads; i++)
		pthread_join(pool.thread[i], NULL);
	pool.threads = 0;
	pool.ending = false;
}
