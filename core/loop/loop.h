/*
 * loop.h - the core's side of the loops: who makes, runs and ends them.
 *
 * The public side is <greenarrow/loop.h>.  Core code that watches descriptors
 * itself (streams, listeners, the resolver) uses gac_loop_ev() and wraps what it
 * calls of modules in GAC_CALL, so that the watchdog can name who was slow.
 */
#ifndef CORE_LOOP_LOOP_H
#define CORE_LOOP_LOOP_H

#include <ev.h>

#include <greenarrow/loop.h>

/* Makes the main loop and n workers, not yet running.  Main thread, once. */
void gac_loops_init(unsigned n);
/* Starts a thread a worker; before() runs first on each, on its loop. */
void gac_loops_start(void (*before)(struct ga_worker *));
/* Runs the main loop until gac_main_break(). */
void gac_main_run(void);
void gac_main_break(void);
/* Ends the worker threads (after() runs last on each) and waits for them. */
void gac_loops_stop(void (*after)(struct ga_worker *));
void gac_loops_free(void);

struct ev_loop *gac_loop_ev(struct ga_worker *);
/* Sessions carried, as told by ga_worker_load(); any thread. */
unsigned gac_worker_sessions(const struct ga_worker *);
/* The worker with the fewest sessions. */
struct ga_worker *gac_worker_least_loaded(void);

/*
 * The watchdog.  enter notes which function runs since when; leave logs one that
 * took over 50 ms with the name of its module.  Calls nest.
 */
struct gac_entered {
	const void *fn;
};
struct gac_entered gac_loop_enter(struct ga_worker *, const void *fn);
void gac_loop_leave(struct ga_worker *, struct gac_entered outer);
#define GAC_CALL(worker, fn, ...) do {						\
	struct ga_worker *worker_ = (worker);	/* what it is read from may be freed by fn */	\
	struct gac_entered outer_ = gac_loop_enter(worker_, (const void *)(fn));	\
	(fn)(__VA_ARGS__);							\
	gac_loop_leave(worker_, outer_);					\
} while (0)

/* Frees every timer and watcher of the instance on this loop. */
void gac_loop_forget(struct ga_worker *, const struct ga_inst *);

/* "smtp_server.so(session_ready)" of an address in code, for logs. */
const char *gac_where_is(const void *fn, char *buf, size_t room);

#endif
