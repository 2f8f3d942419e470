/*
 * lane.c - what waits in a group: lanes by recipient domain x sender domain x SendID.
 *
 * The lanes that have tickets form a ring; each batch is taken from the lane
 * whose turn it is and moves the turn on, so a campaign of a million mails to one
 * domain and a single mail to another take turns.  Within a lane the order is
 * that of arrival, and tickets of one message stand together: they make a batch.
 *
 * All on the group's home loop, which has one table of the lanes of all its groups:
 * a hundred thousand groups with a mail each have no tables of their own to pay for.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "throttle.h"

#define LOOK_MAX 16	/* lanes that a connection's next() looks at */

/* No octet of it is padding: it is hashed as it lies in memory. */
static struct thr_lane_key
lane_key(const struct ga_group *g, const struct ga_ticket *t)
{
	return (struct thr_lane_key){ .group = (uintptr_t)g, .sender = t->sender_key,
		.domain_and_send = ga_str_hash(t->route->domain, true) ^ t->send_key * 0x9e3779b1u };
}

/* Last in the ring: just before the one whose turn it is. */
static void
ring_add(struct ga_group *g, struct thr_lane *lane)
{
	if (g->ring == NULL) {
		lane->next = lane->prev = lane;
		g->ring = lane;
		return;
	}
	lane->next = g->ring;
	lane->prev = g->ring->prev;
	lane->prev->next = lane;
	lane->next->prev = lane;
}

static void
lane_free(struct ga_group *g, struct thr_lane *lane)
{
	if (g->ring == lane)
		g->ring = lane->next != lane ? lane->next : NULL;
	lane->prev->next = lane->next;
	lane->next->prev = lane->prev;
	thr_recall_lane_goes(thr_loop(g->home), lane);
	HASH_DEL(thr_loop(g->home)->lanes, lane);
	free(lane);
}

static struct thr_lane *
lane_of(struct ga_group *g, const struct ga_ticket *t)
{
	struct thr_lane_key key = lane_key(g, t);
	struct thr_loop *l = thr_loop(g->home);
	struct thr_lane *lane;

	HASH_FIND(hh, l->lanes, &key, sizeof key, lane);
	if (lane != NULL)
		return lane;
	lane = ga_xcalloc(1, sizeof *lane);
	lane->key = key;
	lane->last = &lane->first;
	HASH_ADD(hh, l->lanes, key, sizeof lane->key, lane);
	ring_add(g, lane);
	return lane;
}

/* by: 1 or -1 */
static void
count_waiting(struct ga_group *g, const struct ga_ticket *t, unsigned by)
{
	struct thr_loop *l = thr_loop(g->home);

	g->waiting += by;
	if ((t->flags & GA_TICKET_BOUNCE) != 0)
		g->bounces += by;
	else if ((t->flags & GA_TICKET_FIRST) != 0)
		g->firsts += by;
	atomic_store_explicit(&l->waiting,
	    atomic_load_explicit(&l->waiting, memory_order_relaxed) + by, memory_order_relaxed);
}

void
thr_lane_put(struct ga_group *g, struct ga_ticket *t)
{
	struct thr_lane *lane = lane_of(g, t);

	t->next = NULL;
	*lane->last = t;
	lane->last = &t->next;
	count_waiting(g, t, 1);
}

/* Tickets of one message on one route, from the head of the lane. */
static struct ga_batch
take_from(struct ga_group *g, struct thr_lane *lane, unsigned limit)
{
	struct ga_batch batch = { lane->first, 0 };
	struct ga_ticket *t = lane->first, *end = NULL;

	while (t != NULL && batch.n < limit && t->seq == batch.first->seq &&
	    t->route == batch.first->route) {
		count_waiting(g, t, -1u);
		thr_recall_ticket_goes(thr_loop(g->home), lane, t);
		end = t;
		t = t->next;
		batch.n++;
	}
	end->next = NULL;
	lane->first = t;
	g->ring = lane->next;
	if (t == NULL)
		lane_free(g, lane);
	return batch;
}

struct ga_batch
thr_lane_take(struct ga_group *g, unsigned limit, ga_batch_fits_fn *fits, void *arg)
{
	struct thr_lane *lane = g->ring;

	for (unsigned i = 0; lane != NULL && i < LOOK_MAX; i++) {
		if (fits == NULL || fits(lane->first->route, arg))
			return take_from(g, lane, limit > 0 ? limit : 1);
		lane = lane->next;
		if (lane == g->ring)
			break;
	}
	return (struct ga_batch){ NULL, 0 };
}

/* A batch that cannot start now returns to the head of its lane, its turn kept. */
void
thr_lane_put_back(struct ga_group *g, struct ga_batch batch)
{
	struct thr_lane *lane = lane_of(g, batch.first);
	struct ga_ticket *end = batch.first;

	count_waiting(g, end, 1);
	for (; end->next != NULL; end = end->next)
		count_waiting(g, end->next, 1);
	end->next = lane->first;
	if (lane->first == NULL)
		lane->last = &end->next;
	lane->first = batch.first;
	g->ring = lane;
}

void
thr_lane_remove(struct thr_lane *lane, struct ga_ticket **at)
{
	struct ga_group *g = thr_lane_group(lane);
	struct ga_ticket *t = *at;

	*at = t->next;
	if (t->next == NULL)
		lane->last = at;
	count_waiting(g, t, -1u);
	if (lane->first == NULL)
		lane_free(g, lane);
}

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

unsigned
thr_lane_senders(const struct ga_group *g, unsigned most, bool *all)
{
	uint32_t *keys = ga_xcalloc(most, sizeof *keys);
	const struct thr_lane *lane = g->ring;
	unsigned n = 0, senders = 0;

	while (lane != NULL && n < most) {
		keys[n++] = lane->key.sender;
		lane = lane->next != g->ring ? lane->next : NULL;
	}
	*all = lane == NULL;
	qsort(keys, n, sizeof *keys, by_value);
	for (unsigned i = 0; i < n; i++)
		senders += i == 0 || keys[i] != keys[i - 1];
	free(keys);
	return senders;
}
