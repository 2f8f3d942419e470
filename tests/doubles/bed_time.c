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

/* --- timers: a heap of those that are armed, the first on top; of one time, the one armed first --- */

struct ga_timer {
	struct ga_inst *inst;
	struct ga_worker *worker;
	ga_timer_fn *fn;
	void *arg;
	uint64_t due_ms, repeat_ms, order;
	size_t at;				/* place in the heap + 1; 0: not armed */
	struct loop_item item;
};
static struct ga_timer **heap;
static size_t nheap, heap_room;
static uint64_t armed_total, fired_total;

static bool
before(const struct ga_timer *a, const struct ga_timer *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void
place(struct ga_timer *t, size_t i)
{
	heap[i] = t;
	t->at = i + 1;
}

static void
sift_up(struct ga_timer *t, size_t i)
{
	for (; i > 0 && before(t, heap[(i - 1) / 2]); i = (i - 1) / 2)
		place(heap[(i - 1) / 2], i);
	place(t, i);
}

static void
sift_down(struct ga_timer *t, size_t i)
{
	for (size_t child; (child = 2 * i + 1) < nheap; i = child) {
		if (child + 1 < nheap && before(heap[child + 1], heap[child]))
			child++;
		if (!before(heap[child], t))
			break;
		place(heap[child], i);
	}
	place(t, i);
}

static void
disarm(struct ga_timer *t)
{
	size_t i = t->at - 1;
	struct ga_timer *last;

	if (t->at == 0)
		return;
	t->at = 0;
	last = heap[--nheap];
	if (last == t)
		return;
	if (i > 0 && before(last, heap[(i - 1) / 2]))
		sift_up(last, i);
	else
		sift_down(last, i);
}

static void
arm(struct ga_timer *t, uint64_t due_ms)
{
	disarm(t);
	t->due_ms = due_ms;
	t->order = armed_total++;
	if (nheap == heap_room) {
		heap_room = heap_room > 0 ? 2 * heap_room : 64;
		heap = realloc(heap, heap_room * sizeof *heap);
		if (heap == NULL)
			abort();
	}
	sift_up(t, nheap++);
}

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
	gac_loop_item_add(w, &t->item, inst, free_item);
	return t;
}

void
__wrap_ga_timer_arm(struct ga_timer *t, uint64_t after_ms, uint64_t repeat_ms)
{
	t->repeat_ms = repeat_ms;
	arm(t, now_ms + after_ms);
}

void
__wrap_ga_timer_stop(struct ga_timer *t)
{
	disarm(t);
}

bool
__wrap_ga_timer_armed(const struct ga_timer *t)
{
	return t->at != 0;
}

void
__wrap_ga_timer_free(struct ga_timer *t)
{
	if (t == NULL)
		return;
	disarm(t);
	if (nheap == 0) {
		free(heap);
		heap = NULL;
		heap_room = 0;
	}
	gac_loop_item_del(&t->item);
	free(t);
}

/* --- moving --- */

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

	while (nheap > 0 && heap[0]->due_ms <= until) {
		t = heap[0];
		set_now(t->due_ms > now_ms ? t->due_ms : now_ms);
		disarm(t);
		if (t->repeat_ms > 0)
			arm(t, t->due_ms + t->repeat_ms);
		fired_total++;
		t->fn(t->inst, t->worker, t->arg);
		settle();
	}
	set_now(until);
	settle();
}

uint64_t
bed_fired(void)
{
	return fired_total;
}

void
bed_wall_step(int64_t ms)
{
	wall_offset_ms += ms;
}
