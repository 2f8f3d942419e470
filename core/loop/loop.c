/*
 * loop.c - loops, one a thread, and the mailboxes between them.
 *
 * A mailbox is a stack that any thread pushes on with one compare-and-swap and
 * the owner empties with one exchange, turning it round: posts are run in the
 * order they were made.  Waking a loop is libev's business, which writes to the
 * loop's eventfd only when the loop is about to sleep.  At most DRAIN_MAX posts
 * are run a turn, and none begun after DRAIN_US, then descriptors and timers get
 * their chance: a post that makes the next one does not keep the loop to itself.
 *
 * Everything else here is making the loops, starting and ending their threads.
 * The main loop runs on the thread that called gac_main_run().
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "loop/worker.h"

#define DRAIN_MAX 256
#define DRAIN_US 5000

static struct {
	unsigned count;			/* workers; the main loop is at [count] */
	struct ga_worker *all;
} loops;

static __thread struct ga_worker *self;

uint64_t
ga_mono_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t
ga_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* xorshift64*, seeded from the kernel a thread. */
uint32_t
ga_random32(void)
{
	static __thread uint64_t state;

	while (state == 0)
		if (getrandom(&state, sizeof state, 0) != (ssize_t)sizeof state)
			state = ga_mono_us() ^ (uint64_t)(uintptr_t)&state;
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1dull) >> 32);
}

unsigned
ga_worker_count(void)
{
	return loops.count;
}

struct ga_worker *
ga_worker_get(unsigned i)
{
	return i < loops.count ? &loops.all[i] : NULL;
}

struct ga_worker *
ga_worker_main(void)
{
	return &loops.all[loops.count];
}

unsigned
ga_worker_index(const struct ga_worker *w)
{
	return w->index;
}

struct ga_worker *
ga_worker_self(void)
{
	return self;
}

uint64_t
ga_now_ms(struct ga_worker *w)
{
	return w->now_ms;
}

struct ev_loop *
gac_loop_ev(struct ga_worker *w)
{
	return w->ev;
}

/* --- sessions carried --- */

void
ga_worker_load(struct ga_worker *w, int by)
{
	atomic_fetch_add_explicit(&w->sessions, (unsigned)by, memory_order_relaxed);
}

unsigned
gac_worker_sessions(const struct ga_worker *w)
{
	return atomic_load_explicit(&w->sessions, memory_order_relaxed);
}

struct ga_worker *
gac_worker_least_loaded(void)
{
	static _Atomic unsigned turn;
	unsigned start = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed);
	struct ga_worker *best = NULL;

	for (unsigned i = 0; i < loops.count; i++) {
		struct ga_worker *w = &loops.all[(start + i) % loops.count];

		if (best == NULL || gac_worker_sessions(w) < gac_worker_sessions(best))
			best = w;
	}
	return best;
}

/* --- mailboxes --- */

void
ga_loop_post(struct ga_worker *w, struct ga_post *post)
{
	struct ga_post *head = atomic_load_explicit(&w->posted, memory_order_relaxed);

	do
		post->next = head;
	while (!atomic_compare_exchange_weak_explicit(&w->posted, &head, post,
	    memory_order_release, memory_order_relaxed));
	if (head == NULL)
		ev_async_send(w->ev, &w->wake);
}

/* Appends what was posted since, oldest first. */
static void
take_posted(struct ga_worker *w)
{
	struct ga_post *p = atomic_exchange_explicit(&w->posted, NULL, memory_order_acquire);
	struct ga_post *oldest = NULL, *next, **end = &w->pending;

	for (; p != NULL; p = next) {
		next = p->next;
		p->next = oldest;
		oldest = p;
	}
	while (*end != NULL)
		end = &(*end)->next;
	*end = oldest;
}

static void
drain(struct ev_loop *ev, struct ev_async *wake, int revents)
{
	struct ga_worker *w = wake->data;
	uint64_t began = ga_mono_us();
	struct ga_post *post;

	(void)revents;
	if (w->pending == NULL)
		take_posted(w);
	for (unsigned i = 0; i < DRAIN_MAX && (post = w->pending) != NULL; i++) {
		if (ga_mono_us() - began > DRAIN_US)
			break;
		w->pending = post->next;
		GAC_CALL(w, post->fn, w, post);
		if (w->pending == NULL)
			take_posted(w);
	}
	if (w->pending != NULL)
		ev_async_send(ev, wake);
}

/* --- making and running --- */

static void
take_time(struct ev_loop *ev, struct ev_check *clock, int revents)
{
	struct ga_worker *w = clock->data;

	(void)ev;
	(void)revents;
	w->now_ms = ga_mono_us() / 1000;
}

static void
init_worker(struct ga_worker *w, unsigned index)
{
	w->index = index;
	w->ev = ev_loop_new(EVFLAG_NOENV | EVFLAG_AUTO);
	if (w->ev == NULL) {
		fprintf(stderr, "cannot make an event loop: %s\n", strerror(errno));
		exit(1);
	}
	w->now_ms = ga_mono_us() / 1000;
	ev_async_init(&w->wake, drain);
	w->wake.data = w;
	ev_async_start(w->ev, &w->wake);
	ev_check_init(&w->clock, take_time);
	ev_set_priority(&w->clock, EV_MAXPRI);
	w->clock.data = w;
	ev_check_start(w->ev, &w->clock);
	ev_unref(w->ev);
}

void
gac_loops_init(unsigned n)
{
	loops.count = n;
	loops.all = ga_xcalloc(n + 1, sizeof *loops.all);
	for (unsigned i = 0; i <= n; i++)
		init_worker(&loops.all[i], i);
	self = ga_worker_main();
}

static void *
worker_thread(void *arg)
{
	struct ga_worker *w = arg;
	char name[16];

	snprintf(name, sizeof name, "worker-%u", w->index);
	pthread_setname_np(pthread_self(), name);
	self = w;
	ev_now_update(w->ev);
	w->now_ms = ga_mono_us() / 1000;
	if (w->before != NULL)
		w->before(w);
	ev_run(w->ev, 0);
	if (w->after != NULL)
		w->after(w);
	return NULL;
}

void
gac_loops_start(void (*before)(struct ga_worker *))
{
	sigset_t all, old;

	/* signals are the main loop's business */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < loops.count; i++) {
		int e;

		loops.all[i].before = before;
		e = pthread_create(&loops.all[i].thread, NULL, worker_thread, &loops.all[i]);
		if (e != 0) {
			fprintf(stderr, "cannot start a thread: %s\n", strerror(e));
			exit(1);
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void
gac_main_run(void)
{
	struct ga_worker *w = ga_worker_main();

	pthread_setname_np(pthread_self(), "greenarrowd");
	ev_now_update(w->ev);
	ev_run(w->ev, 0);
}

void
gac_main_break(void)
{
	ev_break(ga_worker_main()->ev, EVBREAK_ALL);
}

static void
end_worker(struct ga_worker *w, struct ga_post *post)
{
	(void)post;
	ev_break(w->ev, EVBREAK_ALL);
}

void
gac_loops_stop(void (*after)(struct ga_worker *))
{
	for (unsigned i = 0; i < loops.count; i++) {
		loops.all[i].after = after;
		loops.all[i].end.fn = end_worker;
		ga_loop_post(&loops.all[i], &loops.all[i].end);
	}
	for (unsigned i = 0; i < loops.count; i++)
		pthread_join(loops.all[i].thread, NULL);
}

void
gac_loops_free(void)
{
	for (unsigned i = 0; loops.all != NULL && i <= loops.count; i++) {
		struct ga_worker *w = &loops.all[i];

		gac_loop_forget(w, NULL);
		ev_ref(w->ev);
		ev_loop_destroy(w->ev);
	}
	free(loops.all);
	loops.all = NULL;
	loops.count = 0;
	self = NULL;
}
