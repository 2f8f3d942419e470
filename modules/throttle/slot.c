/*
 * slot.c - system_max_smtp_connections: one exact counter for all loops.
 *
 * A slot is taken with a compare-and-swap and given back when the connection is
 * closed.  A group that finds none registers on its loop; its loop asks itself
 * and the others to close a saved connection that is idle, and when a slot is
 * given back one waiting loop is posted to and lets the group that came first
 * have it.  While any group waits nobody takes a slot out of turn: else the group
 * whose connection has just closed would always be the first to open one again.
 */
#include <stdatomic.h>

#include "throttle.h"

static _Atomic unsigned used, limit;
static _Atomic unsigned nwaiting;	/* groups in the lists of all loops */

void
thr_slots_limit(unsigned max)
{
	atomic_store(&limit, max);
}

unsigned
thr_slots_used(void)
{
	return atomic_load(&used);
}

unsigned
thr_slots_max(void)
{
	return atomic_load(&limit);
}

unsigned
thr_slot_place(const struct ga_group *g)
{
	unsigned n = 1;

	if (!g->wants_slot)
		return 0;
	for (const struct ga_group *before = thr_loop(g->home)->waiters; before != g; n++)
		before = before->slot_next;
	return n;
}

bool
thr_slot_take(void)
{
	unsigned max = atomic_load(&limit), now = atomic_load(&used);

	do
		if (max != 0 && now >= max)
			return false;
	while (!atomic_compare_exchange_weak(&used, &now, now + 1));
	return true;
}

/* One waiting loop is told, and passes on what it leaves; another one each time, lest
 * a loop that is quick to open again what it has closed gets all of them. */
static void
wake_one(void)
{
	static _Atomic unsigned turn;
	unsigned n = ga_worker_count(), first;

	for (unsigned i = 0; i < n; i++)
		if (atomic_load(&thr_loop(ga_worker_get(i))->waking))
			return;
	first = atomic_fetch_add(&turn, 1);
	for (unsigned i = 0; i < n; i++) {
		struct thr_loop *l = thr_loop(ga_worker_get((first + i) % n));

		if (!atomic_load(&l->wants_slot))
			continue;
		if (!atomic_exchange(&l->waking, true))
			ga_loop_post(l->worker, &l->wake);
		return;
	}
}

void
thr_slot_give(void)
{
	atomic_fetch_sub(&used, 1);
	wake_one();
}

bool
thr_slots_wanted(void)
{
	return atomic_load(&nwaiting) > 0;
}

static bool
one_is_free(void)
{
	unsigned max = atomic_load(&limit);

	return max == 0 || atomic_load(&used) < max;
}

void
thr_slots_pass_on(void)
{
	if (thr_slots_wanted() && one_is_free())
		wake_one();
}

static void
leave_line(struct thr_loop *l, struct ga_group *g)
{
	*g->slot_prev = g->slot_next;
	if (g->slot_next != NULL)
		g->slot_next->slot_prev = g->slot_prev;
	else
		l->waiters_end = g->slot_prev;
	g->wants_slot = false;
	g->slot_next = NULL;
	atomic_fetch_sub(&nwaiting, 1);
}

/* The first that waits gets its turn: one slot, then it stands in line again.  When
 * it is done, or needs none any more, its pump passes what is free on. */
static void
wake(struct ga_worker *w, struct ga_post *post)
{
	struct thr_loop *l = GA_CONTAINER(post, struct thr_loop, wake);
	struct ga_group *g = l->waiters;

	(void)w;
	atomic_store(&l->waking, false);
	if (g != NULL && one_is_free()) {
		leave_line(l, g);
		g->served = true;
		thr_pump_soon(g);
	}
	atomic_store(&l->wants_slot, l->waiters != NULL);
	if (g == NULL)
		thr_slots_pass_on();	/* who waited here has gone */
}

static void
close_idle(struct ga_worker *w, struct ga_post *post)
{
	struct thr_loop *l = GA_CONTAINER(post, struct thr_loop, close_idle);

	atomic_store(&l->closing, false);
	if (thr_delivery == NULL)
		return;
	/* several may have become idle since it was posted: one for each group that waits */
	for (unsigned max = atomic_load(&limit);
	    max != 0 && atomic_load(&used) + atomic_load(&nwaiting) > max;)
		if (!thr_delivery->close_idle(NULL, w))
			return;
}

/* A connection of this loop is about to be saved while others wait for its slot. */
void
thr_slot_free_idle(struct thr_loop *l)
{
	if (!atomic_exchange(&l->closing, true))
		ga_loop_post(l->worker, &l->close_idle);
}

static void
ask_for_idle(const struct thr_loop *self)
{
	if (thr_delivery->close_idle(NULL, self->worker))
		return;
	for (unsigned i = 0; i < ga_worker_count(); i++) {
		struct thr_loop *l = thr_loop(ga_worker_get(i));

		if (l != self && !atomic_exchange(&l->closing, true))
			ga_loop_post(l->worker, &l->close_idle);
	}
}

void
thr_slot_wait(struct ga_group *g)
{
	struct thr_loop *l = thr_loop(g->home);

	if (!g->wants_slot) {
		g->wants_slot = true;
		g->slot_next = NULL;
		g->slot_prev = l->waiters_end;
		*l->waiters_end = g;
		l->waiters_end = &g->slot_next;
		atomic_fetch_add(&nwaiting, 1);
		atomic_store(&l->wants_slot, true);
		ask_for_idle(l);
	}
	/* a slot may have been given back before wants_slot was seen */
	if (one_is_free())
		wake_one();
}

void
thr_slot_forget(struct ga_group *g)
{
	struct thr_loop *l = thr_loop(g->home);

	if (!g->wants_slot)
		return;
	leave_line(l, g);
	atomic_store(&l->wants_slot, l->waiters != NULL);
}

void
thr_slots_start(struct thr_loop *l)
{
	l->waiters_end = &l->waiters;
	l->wake.fn = wake;
	l->close_idle.fn = close_idle;
}
