/*
 * bed_time.c - the clocks of a test program: they stand still until they are moved.
 *
 * Linked with BED_TIME, which puts these functions in place of clock_gettime() and
 * of the timers of <greenarrow/ga_async.h> (ld --wrap).  A timer fires inside
 * bed_advance(), on the calling thread, at exactly its time; then the loops get
 * turns until nothing is posted any more.  Not for programs with threads.
 */
#include "config.h"

#include <stdlib.h>
#include <time.h>

#include "bed.h"
#include "loop/worker.h"

#define SETTLE_TURNS 8

static uint64_t now_ms = 1000000;		/* monotonic */
static int64_t wall_offset_ms = 1800000000000;	/* wall clock = monotonic + this */

int __wrap_clock_gettime(clockid_t, struct timespec *);
int
__wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	uint64_t ms = id == CLOCK_REALTIME ? now_ms + (uint64_t)wall_offset_ms : now_ms;

	ts->tv_sec = (time_t)(ms / 1000);
	ts->tv_nsec = (long)(ms % 1000) * 1000000;
	return 0;
}

/* --- timers --- */

struct ga_timer {
	struct ga_timer *next;
	struct ga_inst *inst;
	struct ga_worker *worker;
	ga_timer_fn *fn;
	void *arg;
	bool armed;
	uint64_t due_ms, repeat_ms;
	struct loop_item item;
};
static struct ga_timer *timers;

struct ga_timer *__wrap_ga_timer_new(struct ga_inst *, struct ga_worker *, ga_timer_fn *, void *);
void __wrap_ga_timer_arm(struct ga_timer *, uint64_t, uint64_t);
void __wrap_ga_timer_stop(struct ga_timer *);
bool __wrap_ga_timer_armed(const struct ga_timer *);
void __wrap_ga_timer_free(struct ga_timer *);

static void
free_item(struct loop_item *item)
{
	__wrap_ga_timer_free(GA_CONTAINER(item, struct ga_timer, item));
}

struct ga_timer *
__wrap_ga_timer_new(struct ga_inst *inst, struct ga_worker *w, ga_timer_fn *fn, void *arg)
{
	struct ga_timer *t = ga_xcalloc(1, sizeof *t);

	t->inst = inst;
	t->worker = w;
	t->fn = fn;
	t->arg = arg;
	t->next = timers;
	timers = t;
	gac_loop_item_add(w, &t->item, inst, free_item);
	return t;
}

void
__wrap_ga_timer_arm(struct ga_timer *t, uint64_t after_ms, uint64_t repeat_ms)
{
	t->armed = true;
	t->due_ms = now_ms + after_ms;
	t->repeat_ms = repeat_ms;
}

void
__wrap_ga_timer_stop(struct ga_timer *t)
{
	t->armed = false;
}

bool
__wrap_ga_timer_armed(const struct ga_timer *t)
{
	return t->armed;
}

void
__wrap_ga_timer_free(struct ga_timer *t)
{
	if (t == NULL)
		return;
	for (struct ga_timer **at = &timers; *at != NULL; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			break;
		}
	gac_loop_item_del(&t->item);
	free(t);
}

/* --- moving --- */

static struct ga_timer *
first_due(uint64_t until)
{
	struct ga_timer *first = NULL;

	for (struct ga_timer *t = timers; t != NULL; t = t->next)
		if (t->armed && t->due_ms <= until && (first == NULL || t->due_ms < first->due_ms))
			first = t;
	return first;
}

static void
set_now(uint64_t ms)
{
	now_ms = ms;
	for (unsigned i = 0; i <= ga_worker_count(); i++)
		(i < ga_worker_count() ? ga_worker_get(i) : ga_worker_main())->now_ms = ms;
}

static bool
posted(struct ga_worker *w)
{
	return atomic_load(&w->posted) != NULL || w->pending != NULL;
}

/* A timer that fires every second for a week must not cost a week of idle turns. */
static void
settle(void)
{
	for (unsigned turns = 0; turns < SETTLE_TURNS; turns++) {
		bool any = posted(ga_worker_main());

		for (unsigned i = 0; !any && i < ga_worker_count(); i++)
			any = posted(ga_worker_get(i));
		if (!any)
			return;
		bed_turn();
	}
}

void
bed_advance(uint64_t ms)
{
	uint64_t until = now_ms + ms;
	struct ga_timer *t;

	while ((t = first_due(until)) != NULL) {
		set_now(t->due_ms > now_ms ? t->due_ms : now_ms);
		t->armed = t->repeat_ms > 0;
		t->due_ms += t->repeat_ms;
		t->fn(t->inst, t->worker, t->arg);
		settle();
	}
	set_now(until);
	settle();
}

void
bed_wall_step(int64_t ms)
{
	wall_offset_ms += ms;
}
