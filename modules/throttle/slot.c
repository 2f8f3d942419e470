/*
 * slot.c - system_max_smtp_connections: one exact counter for all loops.
 *
 * A slot is taken with a compare-and-swap and given back when the connection is
 * closed.  A group that finds none registers on its loop; its loop asks itself
 * and the others to close a saved connection that is idle, and when a slot is
 * given back one waiting loop is posted to and lets its groups try again, in the
 * order in which they came.
 */
#include <stdatomic.h>

#include "throttle.h"

static _Atomic unsigned used, limit;

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

/* One waiting loop is told. */
static void
wake_one(void)
{
	unsigned n = ga_worker_count(), start = ga_random32() % n;

	for (unsigned i = 0; i < n; i++) {
		struct thr_loop *l = thr_loop(ga_worker_get((start + i) % n));

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

static void
unlink_first(struct thr_loop *l)
{
	struct ga_group *g = l->waiters;

	l->waiters = g->slot_next;
	if (l->waiters == NULL)
		l->waiters_end = &l->waiters;
	g->wants_slot = false;
	g->slot_next = NULL;
}

/* As many groups try as there are slots; those that get none register again. */
static void
wake(struct ga_worker *w, struct ga_post *post)
{
	struct thr_loop *l = GA_CONTAINER(post, struct thr_loop, wake);
	unsigned max = atomic_load(&limit), now = atomic_load(&used);
	unsigned slots = max == 0 ? ~0u : max > now ? max - now : 0;

	(void)w;
	atomic_store(&l->waking, false);
	for (; slots > 0 && l->waiters != NULL; slots--) {
		struct ga_group *g = l->waiters;

		unlink_first(l);
		thr_pump_soon(g);
	}
	atomic_store(&l->wants_slot, l->waiters != NULL);
}

static void
close_idle(struct ga_worker *w, struct ga_post *post)
{
	struct thr_loop *l = GA_CONTAINER(post, struct thr_loop, close_idle);

	atomic_store(&l->closing, false);
	if (thr_delivery != NULL)
		thr_delivery->close_idle(NULL, w);
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
		*l->waiters_end = g;
		l->waiters_end = &g->slot_next;
		atomic_store(&l->wants_slot, true);
		ask_for_idle(l);
	}
	/* a slot may have been given back before wants_slot was seen */
	if ((atomic_load(&limit) == 0 || atomic_load(&used) < atomic_load(&limit)) &&
	    !atomic_exchange(&l->waking, true))
		ga_loop_post(l->worker, &l->wake);
}

void
thr_slot_forget(struct ga_group *g)
{
	struct thr_loop *l = thr_loop(g->home);

	if (!g->wants_slot)
		return;
	for (struct ga_group **at = &l->waiters; *at != NULL; at = &(*at)->slot_next)
		if (*at == g) {
			*at = g->slot_next;
			break;
		}
	l->waiters_end = &l->waiters;
	while (*l->waiters_end != NULL)
		l->waiters_end = &(*l->waiters_end)->slot_next;
	g->wants_slot = false;
	atomic_store(&l->wants_slot, l->waiters != NULL);
}

void
thr_slots_start(struct thr_loop *l)
{
	l->waiters_end = &l->waiters;
	l->wake.fn = wake;
	l->close_idle.fn = close_idle;
}
