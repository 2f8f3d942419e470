/*
 * heap.c - which envelope is due next: a heap of four children a node.
 *
 * Every envelope that waits for a time is in it, whatever it waits for: the next
 * attempt, the next look at a paused VirtualMTA, the end of a held one's life.
 * One timer of the loop stands for the first.
 */
#include <stdlib.h>

#include "queue.h"

#define ARMS 4

static uint64_t
due(struct q_loop *l, uint32_t at)
{
	return q_envelope(l, l->heap[at])->due_ms;
}

static void
place(struct q_loop *l, uint32_t at, uint32_t envelope)
{
	l->heap[at] = envelope;
	q_envelope(l, envelope)->heap_at = at + 1;
}

static void
sift_up(struct q_loop *l, uint32_t at)
{
	uint32_t envelope = l->heap[at];
	uint64_t when = q_envelope(l, envelope)->due_ms;

	while (at > 0) {
		uint32_t parent = (at - 1) / ARMS;

		if (due(l, parent) <= when)
			break;
		place(l, at, l->heap[parent]);
		at = parent;
	}
	place(l, at, envelope);
}

static void
sift_down(struct q_loop *l, uint32_t at)
{
	uint32_t envelope = l->heap[at];
	uint64_t when = q_envelope(l, envelope)->due_ms;

	for (;;) {
		uint32_t first = at * ARMS + 1, best = at;
		uint64_t least = when;

		for (uint32_t i = first; i < first + ARMS && i < l->nheap; i++)
			if (due(l, i) < least) {
				least = due(l, i);
				best = i;
			}
		if (best == at)
			break;
		place(l, at, l->heap[best]);
		at = best;
	}
	place(l, at, envelope);
}

void
q_heap_put(struct q_loop *l, uint32_t envelope, uint64_t due_ms)
{
	struct q_envelope *e = q_envelope(l, envelope);

	if (l->nheap == l->heap_room) {
		l->heap_room = l->heap_room > 0 ? l->heap_room + l->heap_room / 2 : 1024;
		l->heap = ga_xrealloc(l->heap, (size_t)l->heap_room * sizeof *l->heap);
	}
	e->due_ms = due_ms;
	place(l, l->nheap++, envelope);
	sift_up(l, l->nheap - 1);
}

void
q_heap_take(struct q_loop *l, uint32_t envelope)
{
	uint32_t at = q_envelope(l, envelope)->heap_at - 1, last;

	q_envelope(l, envelope)->heap_at = 0;
	last = l->heap[--l->nheap];
	if (last == envelope)
		return;
	place(l, at, last);
	sift_up(l, at);
	sift_down(l, q_envelope(l, last)->heap_at - 1);
}

uint32_t
q_heap_due(struct q_loop *l, uint64_t now_ms)
{
	uint32_t envelope;

	if (l->nheap == 0 || due(l, 0) > now_ms)
		return 0;
	envelope = l->heap[0];
	q_heap_take(l, envelope);
	return envelope;
}

void
q_heap_arm(struct q_loop *l)
{
	uint64_t now = ga_now_ms(l->worker);

	if (l->draining)
		return;
	if (l->nheap == 0) {
		ga_timer_stop(l->timer);
		return;
	}
	ga_timer_arm(l->timer, due(l, 0) > now ? due(l, 0) - now : 0, 0);
}
