/*
 * walk.c - all groups, loop after loop, without stalling one: THR_SLICE of them a turn.
 *
 * Between two turns a cursor keeps the place; a group that leaves the list of its loop
 * moves the cursors that stand on it.  Groups that are made meanwhile stand before the
 * cursors and are not visited.  All walks are in one list, so that a stop finds those that
 * were under way between loops that have ended.
 */
#include <pthread.h>

#include "throttle.h"

static LIST_HEAD(, thr_walk) walks = LIST_HEAD_INITIALIZER(walks);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
leave(struct thr_walk *k)
{
	pthread_mutex_lock(&lock);
	LIST_REMOVE(k, link);
	pthread_mutex_unlock(&lock);
}

static void
over(struct ga_worker *w, struct ga_post *post)
{
	struct thr_walk *k = GA_CONTAINER(post, struct thr_walk, post);

	leave(k);
	k->end(w, k);
}

/* The group is about to leave the list. */
void
thr_cursors_pass(struct thr_loop *l, const struct ga_group *g)
{
	struct thr_walk *k;

	LIST_FOREACH(k, &l->walks, here)
		if (k->at == g)
			k->at = g->next;
}

static void
visit(struct ga_worker *w, struct ga_post *post)
{
	struct thr_walk *k = GA_CONTAINER(post, struct thr_walk, post);
	struct thr_loop *l = thr_loop(w);

	if (k->begun)
		LIST_REMOVE(k, here);
	else
		k->at = l->groups;
	for (unsigned i = 0; i < THR_SLICE && k->at != NULL && !k->enough; i++, k->at = k->at->next)
		k->visit(k, k->at);
	k->begun = k->at != NULL && !k->enough;
	if (k->begun)
		LIST_INSERT_HEAD(&l->walks, k, here);
	else
		k->loop = k->enough || k->here_only ? ga_worker_count() : k->loop + 1;
	if (!k->enough && k->slice != NULL && k->slice(k))
		return;
	thr_walk_on(k);
}

void
thr_walk_on(struct thr_walk *k)
{
	bool more = k->loop < ga_worker_count();

	k->post.fn = more ? visit : over;
	ga_loop_post(more ? ga_worker_get(k->loop) : k->asker, &k->post);
}

void
thr_walk_begin(struct thr_walk *k)
{
	pthread_mutex_lock(&lock);
	LIST_INSERT_HEAD(&walks, k, link);
	pthread_mutex_unlock(&lock);
	if (k->here_only)
		k->loop = ga_worker_index(k->asker);
	thr_walk_on(k);
}

/* All loops have ended. */
void
thr_walks_stop(void)
{
	struct thr_walk *k;

	while ((k = LIST_FIRST(&walks)) != NULL) {
		leave(k);
		k->drop(k);
	}
}
