/*
 * group.c - the table of throttle groups, and their lives.
 *
 * A group is found by its key in one table with a lock; a route remembers its
 * group, so the table is looked at once a route, not once a mail.  The group
 * lives on the loop that had the fewest when it was made.  Routes hold
 * references; when the last goes and nothing waits, flies or is connected, the
 * group is freed on its loop, but not before its rates would allow what those of a
 * new group do: mail that comes again would else have the rate twice.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "throttle.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ga_group *table;
static unsigned per_loop[256];
static bool ended;		/* all loops have: nothing is posted any more */
static uint32_t numbers;		/* given so far */

static struct ga_worker *
least_loaded(void)
{
	unsigned best = 0;

	for (unsigned i = 1; i < ga_worker_count(); i++)
		if (per_loop[i] < per_loop[best])
			best = i;
	per_loop[best]++;
	return ga_worker_get(best);
}

static struct ga_group *
new_group(const struct ga_route *route)
{
	struct ga_str key = route->group_key, mta = route->virtual_mta;
	struct ga_group *g = ga_xcalloc(1, sizeof *g);

	g->key = ga_xcalloc(1, key.n + mta.n + 2);
	memcpy(g->key, key.p, key.n);
	if (mta.n > 0)
		memcpy(g->key + key.n + 1, mta.p, mta.n);
	g->terms = &thr_no_terms;
	g->mta_id = route->mta_id;
	g->home = least_loaded();
	g->number = ++numbers;
	HASH_ADD_KEYPTR(hh, table, g->key, key.n, g);
	return g;
}

struct ga_group *
thr_group_of(struct ga_route *route)
{
	struct ga_group *g = __atomic_load_n(&route->group, __ATOMIC_ACQUIRE);

	if (g != NULL)
		return g;
	pthread_mutex_lock(&lock);
	g = __atomic_load_n(&route->group, __ATOMIC_ACQUIRE);
	if (g == NULL) {
		HASH_FIND(hh, table, route->group_key.p, route->group_key.n, g);
		if (g == NULL)
			g = new_group(route);
		g->refs++;
		__atomic_store_n(&route->group, g, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&lock);
	return g;
}

struct ga_group *
thr_group_find(struct ga_str key, struct ga_worker **home)
{
	struct ga_group *g;

	pthread_mutex_lock(&lock);
	HASH_FIND(hh, table, key.p, key.n, g);
	if (g != NULL)
		*home = g->home;
	pthread_mutex_unlock(&lock);
	return g;
}

const char *
thr_group_virtual_mta(const struct ga_group *g)
{
	return g->key + strlen(g->key) + 1;
}

unsigned
thr_groups_count(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = HASH_COUNT(table);
	pthread_mutex_unlock(&lock);
	return n;
}

static bool
idle(const struct ga_group *g)
{
	return g->waiting == 0 && g->in_flight == 0 && g->connections == 0 && !g->pumping;
}

/* When a group that is made anew would be allowed no more than this one; 0: now. */
static uint64_t
neutral_at(const struct ga_group *g)
{
	uint64_t at = thr_rate_when(&g->deliveries), dial = thr_rate_when(&g->dials);

	if (dial > at)
		at = dial;
	if (g->hold_us > at)
		at = g->hold_us;
	if (thr_backoff_neutral_at(g) > at)
		at = thr_backoff_neutral_at(g);
	return at > ga_mono_us() ? at : 0;
}

/* loop: NULL when all have ended. */
static void
group_free(struct thr_loop *loop, struct ga_group *g)
{
	thr_terms_unref(loop, g->terms);
	thr_backoff_free(g);
	free(g->key);
	free(g);
}

/* On the home loop: the last reference has gone; is it still so, and is all quiet? */
static void
gone(struct ga_worker *w, struct ga_post *post)
{
	struct ga_group *g = GA_CONTAINER(post, struct ga_group, gone);
	bool free_it;
	uint64_t later = neutral_at(g);

	(void)w;
	pthread_mutex_lock(&lock);
	g->going = false;
	free_it = g->refs == 0 && idle(g) && !thr_backoff_keeps(g);
	if (free_it && later > 0) {
		free_it = false;
		thr_wake_at(g, later);
	}
	if (free_it) {
		HASH_DEL(table, g);
		per_loop[ga_worker_index(g->home)]--;
	}
	pthread_mutex_unlock(&lock);
	if (!free_it)
		return;
	thr_slot_forget(g);
	ga_timer_free(g->timer);
	if (g->prev != NULL) {
		thr_cursors_pass(thr_loop(g->home), g);
		*g->prev = g->next;
		if (g->next != NULL)
			g->next->prev = g->prev;
	}
	group_free(thr_loop(g->home), g);
}

static void
look_soon(struct ga_group *g)
{
	if (g->going)
		return;
	g->going = true;
	g->gone.fn = gone;
	ga_loop_post(g->home, &g->gone);
}

/* No loop runs any more, and its timers are gone. */
static void
bury(struct ga_group *g)
{
	HASH_DEL(table, g);
	group_free(NULL, g);
}

void
thr_group_unref(struct ga_group *g)
{
	pthread_mutex_lock(&lock);
	if (--g->refs == 0 && ended)
		bury(g);
	else if (g->refs == 0)
		look_soon(g);
	pthread_mutex_unlock(&lock);
}

void
thr_groups_begin(void)
{
	ended = false;
	numbers = 0;
	memset(per_loop, 0, sizeof per_loop);
}

/* Groups that routes still hold go with these. */
void
thr_groups_end(void)
{
	struct ga_group *g, *tmp;

	for (unsigned i = 0; i < ga_worker_count(); i++)
		HASH_CLEAR(hh, thr_loop(ga_worker_get(i))->terms);
	pthread_mutex_lock(&lock);
	ended = true;
	HASH_ITER(hh, table, g, tmp)
		if (g->refs == 0)
			bury(g);
	pthread_mutex_unlock(&lock);
}

/* On the home loop: it has just become quiet. */
void
thr_group_quiet(struct ga_group *g)
{
	pthread_mutex_lock(&lock);
	if (g->refs == 0 && idle(g))
		look_soon(g);
	pthread_mutex_unlock(&lock);
}
