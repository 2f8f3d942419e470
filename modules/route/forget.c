/*
 * forget.c - the routes that a loop knows, when a reload has made them worthless.
 *
 * They are put aside in one go and freed in slices: fifty thousand would hold the loop
 * up for longer than mail may wait.  Those that are being looked up are left to their
 * answer: nobody finds them any more.
 */
#include <limits.h>
#include <stdlib.h>

#include "route.h"

#define FORGET_SLICE 500

struct rt_old {
	struct ga_post post;
	struct rt_entry *entries;
	LIST_ENTRY(rt_old) link;
};

static void
free_some(struct rt_old *old, unsigned most)
{
	struct rt_entry *e;

	while ((e = old->entries) != NULL && most-- > 0) {
		HASH_DEL(old->entries, e);
		ga_route_unref(e->route);
		free(e);
	}
}

static void
old_free(struct rt_old *old)
{
	LIST_REMOVE(old, link);
	free(old);
}

static void
go_on(struct ga_worker *w, struct ga_post *post)
{
	struct rt_old *old = GA_CONTAINER(post, struct rt_old, post);

	free_some(old, FORGET_SLICE);
	if (old->entries != NULL)
		ga_loop_post(w, &old->post);
	else
		old_free(old);
}

void
rt_forget_all(struct rt_loop *l)
{
	struct rt_old *old;

	for (struct rt_found *f = l->asking; f != NULL; f = f->next)
		if (!f->entry->gone) {
			HASH_DEL(l->entries, f->entry);
			f->entry->gone = true;
		}
	if (l->entries == NULL)
		return;
	old = ga_xcalloc(1, sizeof *old);
	old->entries = l->entries;
	l->entries = NULL;
	old->post.fn = go_on;
	LIST_INSERT_HEAD(&l->olds, old, link);
	ga_loop_post(l->worker, &old->post);
}

void
rt_forget_stop(struct rt_loop *l)
{
	struct rt_old *old;

	while ((old = LIST_FIRST(&l->olds)) != NULL) {
		free_some(old, UINT_MAX);
		old_free(old);
	}
}
