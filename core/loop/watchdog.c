/*
 * watchdog.c - says who is slow on a loop.
 *
 * Every call from a loop into a module passes GAC_CALL, which notes the function
 * and the time.  A call that took over SLOW_US is logged when it returns; the
 * main loop looks at the workers every half second and logs one that has been
 * in the same call for STUCK_US.  The module is found from the address of the
 * function, so callers need not say who they are.
 */
#include "config.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "loop/worker.h"
#include "loop/watchdog.h"
#include "module/log.h"

#define SLOW_US 50000
#define STUCK_US 2000000
#define LOOK_S 0.5

static struct ev_timer look;

const char *
gac_where_is(const void *fn, char *buf, size_t room)
{
	Dl_info info;
	const char *file;

	if (fn == NULL || dladdr(fn, &info) == 0 || info.dli_fname == NULL) {
		snprintf(buf, room, "%p", fn);
		return buf;
	}
	file = strrchr(info.dli_fname, '/');
	file = file != NULL ? file + 1 : info.dli_fname;
	snprintf(buf, room, "%s+0x%zx", file,
	    (size_t)((const char *)fn - (const char *)info.dli_fbase));
	return buf;
}

/* A call within one, as a hook is, counts to the outer one's time: no clock is looked at. */
struct gac_entered
gac_loop_enter(struct ga_worker *w, const void *fn)
{
	struct gac_entered outer = { atomic_load_explicit(&w->running, memory_order_relaxed) };

	if (outer.fn == NULL)
		atomic_store_explicit(&w->running_since_us, ga_mono_us(), memory_order_relaxed);
	atomic_store_explicit(&w->running, fn, memory_order_relaxed);
	return outer;
}

static void
tell_if_slow(struct ga_worker *w)
{
	uint64_t took = ga_mono_us() -
	    atomic_load_explicit(&w->running_since_us, memory_order_relaxed);
	char where[128];

	if (took > SLOW_US)
		gac_log(GA_WARN, "core", "GA-LOOP-0001", "loop %u: %s took %llu ms", w->index,
		    gac_where_is(atomic_load_explicit(&w->running, memory_order_relaxed),
		    where, sizeof where), (unsigned long long)(took / 1000));
}

void
gac_loop_leave(struct ga_worker *w, struct gac_entered outer)
{
	if (outer.fn == NULL)
		tell_if_slow(w);
	atomic_store_explicit(&w->running, outer.fn, memory_order_relaxed);
}

static void
look_at(struct ga_worker *w)
{
	const void *fn = atomic_load_explicit(&w->running, memory_order_relaxed);
	uint64_t since = atomic_load_explicit(&w->running_since_us, memory_order_relaxed);
	uint64_t now = ga_mono_us();
	char where[128];

	if (fn == NULL || now < since + STUCK_US) {
		w->reported = false;
		return;
	}
	if (w->reported)
		return;
	w->reported = true;
	gac_log(GA_ERR, "core", "GA-LOOP-0002", "loop %u has been in %s for %llu ms", w->index,
	    gac_where_is(fn, where, sizeof where), (unsigned long long)((now - since) / 1000));
}

static void
look_at_all(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	(void)ev;
	(void)timer;
	(void)revents;
	for (unsigned i = 0; i < ga_worker_count(); i++)
		look_at(ga_worker_get(i));
}

void
gac_watchdog_start(void)
{
	ev_timer_init(&look, look_at_all, LOOK_S, LOOK_S);
	ev_timer_start(ga_worker_main()->ev, &look);
	ev_unref(ga_worker_main()->ev);
}
