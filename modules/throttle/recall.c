/*
 * recall.c - tickets that wait in groups go back to the queue that made them.
 *
 * A reload has all routed anew, a stop wants all home, a pause what it meets; there may be
 * a hundred thousand, and other mail goes on: on each loop THR_RECALL_SLICE tickets and
 * lanes are looked at a turn.  Recalls of a loop follow each other.  Each has a number, and
 * a ticket knows how many had begun when it arrived: one that has come back since is left.
 *
 * A recall goes through all lanes of its loop, which are in the order they were made.  Its
 * place is a lane and a ticket of it; who takes either away moves it on.  What is put back
 * into the front of a lane may be looked at twice, and none is missed.
 */
#include <stdlib.h>

#include "throttle.h"

struct thr_recall {
	struct ga_post post;
	STAILQ_ENTRY(thr_recall) link;
	const struct ga_worker *home;
	bool (*match)(const struct ga_ticket *, void *);
	void *arg;
	uint32_t number;
	struct thr_lane *lane;		/* where it is; NULL: through */
	struct ga_ticket **at;		/* the next one looked at */
};

static void
enter(struct thr_recall *r, struct thr_lane *lane)
{
	r->lane = lane;
	r->at = lane != NULL ? &lane->first : NULL;
}

void
thr_recall_ticket_goes(struct thr_loop *l, struct thr_lane *lane, const struct ga_ticket *t)
{
	struct thr_recall *r = STAILQ_FIRST(&l->recalls);

	if (r != NULL && r->at == &t->next)
		r->at = &lane->first;
}

void
thr_recall_lane_goes(struct thr_loop *l, const struct thr_lane *lane)
{
	struct thr_recall *r = STAILQ_FIRST(&l->recalls);

	if (r != NULL && r->lane == lane)
		enter(r, lane->hh.next);
}

static void
send_home(struct thr_recall *r)
{
	struct ga_ticket *t = *r->at;
	struct ga_group *g = thr_lane_group(r->lane);

	thr_lane_remove(r->lane, r->at);
	if (g->waiting == 0)
		thr_group_quiet(g);
	t->result = GA_RESULT_RECALLED;
	ga_ticket_end(t);
}

/* Looks at one ticket, or leaves a lane. */
static void
step(struct thr_recall *r)
{
	struct ga_ticket *t = *r->at;

	if (t == NULL || t->arrived >= r->number)
		enter(r, r->lane->hh.next);
	else if (t->home == r->home && (r->match == NULL || r->match(t, r->arg)))
		send_home(r);
	else
		r->at = &t->next;
}

static void
go_on(struct ga_worker *w, struct ga_post *post)
{
	struct thr_recall *r = GA_CONTAINER(post, struct thr_recall, post);
	struct thr_loop *l = thr_loop(w);

	for (unsigned n = 0; n < THR_RECALL_SLICE && r->lane != NULL; n++)
		step(r);
	if (r->lane != NULL) {
		ga_loop_post(w, &r->post);
		return;
	}
	STAILQ_REMOVE_HEAD(&l->recalls, link);
	free(r);
	if ((r = STAILQ_FIRST(&l->recalls)) == NULL)
		return;
	enter(r, l->lanes);
	ga_loop_post(w, &r->post);
}

static void
arrived(struct ga_worker *w, struct ga_post *post)
{
	struct thr_recall *r = GA_CONTAINER(post, struct thr_recall, post);
	struct thr_loop *l = thr_loop(w);
	bool first = STAILQ_EMPTY(&l->recalls);

	r->number = ++l->nrecalls;
	r->post.fn = go_on;
	STAILQ_INSERT_TAIL(&l->recalls, r, link);
	if (!first)
		return;
	enter(r, l->lanes);
	go_on(w, post);
}

/* Once on every loop. */
void
thr_recall(struct ga_worker *home, bool (*match)(const struct ga_ticket *, void *), void *arg)
{
	for (unsigned i = 0; i < ga_worker_count(); i++) {
		struct thr_recall *r = ga_xcalloc(1, sizeof *r);

		r->home = home;
		r->match = match;
		r->arg = arg;
		r->post.fn = arrived;
		ga_loop_post(ga_worker_get(i), &r->post);
	}
}

void
thr_recalls_end(struct thr_loop *l)
{
	struct thr_recall *r;

	while ((r = STAILQ_FIRST(&l->recalls)) != NULL) {
		STAILQ_REMOVE_HEAD(&l->recalls, link);
		free(r);
	}
}
