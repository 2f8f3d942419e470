/*
 * lane.c - due envelopes, in lanes of VirtualMTA x recipient domain x sender domain x SendID.
 *
 * A lane has at most `window` attempts outstanding, enough for all connections that its
 * group may have; the rest waits here as numbers.
 * So ten million envelopes for a slow destination are not ten million tickets,
 * and what the throttle shares out among senders and their campaigns it has all in
 * sight: each has a window of its own, and none starves another.  A lane
 * lives while it has something waiting or outstanding.
 */
#include <stdlib.h>
#include <string.h>

#include "queue.h"

#define WINDOW_MIN 200
#define WINDOW_MAX 20000
#define SLICE 100	/* attempts started in one go: some end at once */
#define LANES_NOW 64	/* lanes of a new message that run at once; others at the next turn */

struct q_lane *
q_lane_of(struct q_loop *l, uint32_t envelope)
{
	const struct q_envelope *e = q_envelope(l, envelope);
	const struct q_message *m = q_message(l, e->message);
	struct q_lane *lane, key;

	memset(&key, 0, sizeof key);
	key.key.virtual_mta = m->virtual_mta;
	key.key.domain = e->domain;
	key.key.sender = m->sender;
	key.key.send = m->send;
	HASH_FIND(hh, l->lanes, &key.key, sizeof key.key, lane);
	if (lane != NULL)
		return lane;
	lane = ga_xcalloc(1, sizeof *lane);
	lane->window = WINDOW_MIN;
	lane->key = key.key;
	lane->loop = l;
	HASH_ADD(hh, l->lanes, key, sizeof lane->key, lane);
	return lane;
}

/* Twice as many as there are connections, so that none waits for the queue. */
void
q_lane_limit(struct q_lane *lane, uint64_t connections)
{
	if (connections == 0 || connections > WINDOW_MAX / 2)
		lane->window = WINDOW_MAX;
	else if (connections > WINDOW_MIN / 2)
		lane->window = (uint32_t)connections * 2;
	else
		lane->window = WINDOW_MIN;
}

/* Nothing was tried: it keeps its place before those that have come since. */
void
q_lane_put_back(struct q_loop *l, uint32_t envelope)
{
	struct q_lane *lane = q_lane_of(l, envelope);

	q_envelope(l, envelope)->lane_next = lane->first;
	lane->first = envelope;
	if (lane->last == 0)
		lane->last = envelope;
	lane->n++;
	q_state_set(l, envelope, Q_LANED);
}

void
q_lane_put(struct q_loop *l, uint32_t envelope)
{
	struct q_lane *lane = q_lane_of(l, envelope);

	q_envelope(l, envelope)->lane_next = 0;
	if (lane->last != 0)
		q_envelope(l, lane->last)->lane_next = envelope;
	else
		lane->first = envelope;
	lane->last = envelope;
	lane->n++;
	q_state_set(l, envelope, Q_LANED);
}

static uint32_t
take(struct q_loop *l, struct q_lane *lane)
{
	uint32_t envelope = lane->first;

	lane->first = q_envelope(l, envelope)->lane_next;
	if (lane->first == 0)
		lane->last = 0;
	lane->n--;
	return envelope;
}

static void
run_more(struct ga_worker *w, struct ga_post *post)
{
	struct q_lane *lane = GA_CONTAINER(post, struct q_lane, more);

	(void)w;
	lane->posted = false;
	q_lane_run(lane->loop, lane);
}

static void
run_later(struct q_loop *l, struct q_lane *lane)
{
	if (lane->posted)
		return;
	lane->posted = true;
	lane->more.fn = run_more;
	ga_loop_post(l->worker, &lane->more);
}

/* An attempt may end inside q_attempt_start() and come back here: then the loop
 * below, which is still running, goes on.  A lane that is to go on at the loop's next
 * turn waits for it: else each envelope that comes due or home would start SLICE more. */
void
q_lane_run(struct q_loop *l, struct q_lane *lane)
{
	unsigned started = 0;

	if (lane->running || lane->posted)
		return;
	lane->running = true;
	while (!l->draining && lane->n > 0 && lane->out < lane->window && started++ < SLICE) {
		uint32_t envelope = take(l, lane);

		lane->out++;
		q_state_set(l, envelope, Q_OUT);
		q_attempt_start(l, lane, envelope);
	}
	lane->running = false;
	if (!l->draining && lane->n > 0 && lane->out < lane->window)
		run_later(l, lane);
	if (lane->n == 0 && lane->out == 0 && !lane->posted) {
		HASH_DEL(l->lanes, lane);
		free(lane);
	}
}

/* One of its attempts has ended. */
void
q_lane_returned(struct q_loop *l, struct q_lane *lane)
{
	lane->out--;
	q_lane_run(l, lane);
}

/* All envelopes of a new message are laned first, then the lanes run: recipients of
 * one domain become tickets together. */
void
q_lane_run_message(struct q_loop *l, uint32_t message)
{
	struct q_lane *lanes[LANES_NOW], *lane;
	unsigned n = 0, k;

	for (uint32_t i = q_message(l, message)->envelopes; i != 0; i = q_envelope(l, i)->next) {
		if (q_envelope(l, i)->state != Q_LANED)
			continue;
		lane = q_lane_of(l, i);
		for (k = 0; k < n && lanes[k] != lane; k++)
			;
		if (k < n)
			continue;
		if (n < LANES_NOW)
			lanes[n++] = lane;
		else
			run_later(l, lane);
	}
	for (k = 0; k < n; k++)
		q_lane_run(l, lanes[k]);
}

void
q_lanes_end(struct q_loop *l)
{
	struct q_lane *lane, *tmp;

	HASH_ITER(hh, l->lanes, lane, tmp) {
		HASH_DEL(l->lanes, lane);
		free(lane);
	}
}
