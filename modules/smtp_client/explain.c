/*
 * explain.c - delivery's part of `greenarrow explain`: who uses a group's connections.
 *
 * A group's connections are on its loop, which delivery does not know before it has seen
 * one, so the question goes from loop to loop, SLICE connections a turn, and stops where it
 * found some.  A cursor keeps the place between two turns, as in connections.c.
 */
#include "client.h"

#include <pthread.h>
#include <stdlib.h>

#define SLICE 500	/* connections looked at in one turn of a loop */
#define NAMED 5		/* of these more is said than their number */

struct walk {
	struct ga_post post;
	LIST_ENTRY(walk) link;
	struct ga_group_question *q;
	unsigned at, busy, saved;
	bool begun;
	struct smtpc_cursor cursor;
};

/* All of them, for the stop; a question may come from any loop. */
static LIST_HEAD(, walk) walks = LIST_HEAD_INITIALIZER(walks);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
walk_free(struct walk *k)
{
	pthread_mutex_lock(&lock);
	LIST_REMOVE(k, link);
	pthread_mutex_unlock(&lock);
	free(k);
}

/* All loops have ended. */
void
smtpc_explain_stop(void)
{
	while (!LIST_EMPTY(&walks))
		walk_free(LIST_FIRST(&walks));
}

static void
say_connection(struct json_object *facts, const struct smtpc_conn *c, uint64_t now)
{
	static const struct ga_fact fact = { .what = "connection" };
	const char *command = smtpc_command_name(c->state);
	char remote[GA_SOCKADDR_TEXT];

	ga_explain_say(facts, &fact,
	    "Connection %llu to %s (%s) is %s%s%s for %.1f s, for %.*s; it has done %u of %u deliveries.",
	    (unsigned long long)c->id, c->mx, smtpc_addr(&c->remote, remote).text.p,
	    smtpc_state_name(c->state), *command != '\0' ? ", " : "", command,
	    (double)(now - c->command_ms) / 1000, (int)c->route->domain.n, c->route->domain.p,
	    c->done, c->max);
}

/* The route of the question is one of its own: its group is known by the key alone. */
static bool
of_group(const struct walk *k, const struct smtpc_conn *c)
{
	const struct ga_route *r = k->q->route;

	return c->route->hash == r->hash && ga_str_eq(smtpc.throttle->key(c->group), r->group_key);
}

static void
look_at(struct walk *k, const struct smtpc_conn *c, uint64_t now)
{
	if (!of_group(k, c))
		return;
	if (c->state == SMTPC_SAVED) {
		k->saved++;
		return;
	}
	if (k->busy++ < NAMED && c->id != 0)
		say_connection(k->q->facts, c, now);
}

static void
home(struct ga_worker *w, struct ga_post *post)
{
	struct walk *k = GA_CONTAINER(post, struct walk, post);
	struct ga_group_question *q = k->q;
	const struct ga_fact fact = { .what = "connections" };

	if (k->busy + k->saved > 0)
		ga_explain_say(q->facts, &fact, "The group has %u connections in use and %u saved for reuse.",
		    k->busy, k->saved);
	else
		ga_explain_say(q->facts, &fact, "The group has no connection open.");
	walk_free(k);
	q->cb(w, q);
}

static void
visit(struct ga_worker *w, struct ga_post *post)
{
	struct walk *k = GA_CONTAINER(post, struct walk, post);
	struct smtpc_loop *l = smtpc_loop(w);
	struct smtpc_conn *c = k->begun ? k->cursor.next : TAILQ_FIRST(&l->all);
	uint64_t now = ga_now_ms(w);

	if (k->begun)
		LIST_REMOVE(&k->cursor, link);
	for (unsigned i = 0; i < SLICE && c != NULL; i++, c = TAILQ_NEXT(c, all))
		look_at(k, c, now);
	k->begun = c != NULL;
	if (k->begun) {
		k->cursor.next = c;
		LIST_INSERT_HEAD(&l->cursors, &k->cursor, link);
		ga_loop_post(w, &k->post);
	} else if (k->busy + k->saved == 0 && ++k->at < ga_worker_count()) {
		ga_loop_post(ga_worker_get(k->at), &k->post);
	} else {
		k->post.fn = home;
		ga_loop_post(k->q->asker, &k->post);
	}
}

void
smtpc_explain(struct ga_group_question *q)
{
	struct walk *k = ga_xcalloc(1, sizeof *k);

	k->q = q;
	k->post.fn = visit;
	pthread_mutex_lock(&lock);
	LIST_INSERT_HEAD(&walks, k, link);
	pthread_mutex_unlock(&lock);
	ga_loop_post(ga_worker_get(0), &k->post);
}
