/*
 * walk.c - a command of the control socket that goes from loop to loop.
 *
 * Connections belong to their loops, so a command that is about any of them is
 * posted to one loop after the other and comes back to the main loop for its
 * answer.  Used by connections.c and close.c.  All walks are in one list, which is
 * the main loop's, so that a stop finds those that were under way between loops
 * that have ended: they are answered then, and freed.
 */
#include "client.h"

#include <greenarrow/service/control.h>

static LIST_HEAD(, smtpc_walk) walks = LIST_HEAD_INITIALIZER(walks);

void
smtpc_walk_begin(struct smtpc_walk *walk, struct ga_control_call *call, smtpc_post_fn *visit,
    void (*free_)(struct smtpc_walk *))
{
	walk->call = call;
	walk->free_ = free_;
	walk->post.fn = visit;
	LIST_INSERT_HEAD(&walks, walk, link);
	ga_loop_post(ga_worker_get(0), &walk->post);
}

void
smtpc_walk_next(struct smtpc_walk *walk, smtpc_post_fn *home)
{
	if (++walk->at < ga_worker_count())
		ga_loop_post(ga_worker_get(walk->at), &walk->post);
	else
		smtpc_walk_home(walk, home);
}

void
smtpc_walk_home(struct smtpc_walk *walk, smtpc_post_fn *home)
{
	walk->post.fn = home;
	ga_loop_post(ga_worker_main(), &walk->post);
}

void
smtpc_walk_end(struct smtpc_walk *walk)
{
	LIST_REMOVE(walk, link);
	walk->free_(walk);
}

void
smtpc_walks_stop(void)
{
	struct smtpc_walk *walk;

	while ((walk = LIST_FIRST(&walks)) != NULL) {
		ga_control_error(walk->call, "stopping", "greenarrowd stops");
		smtpc_walk_end(walk);
	}
}
