/*
 * bed.h - a daemon without a process: modules on real loops, for unit tests.
 *
 * Brings modules that are linked into the test up with a configuration in memory,
 * through the core's own loader, generations and snapshots.  By default nothing
 * runs by itself: bed_turn() gives every loop one turn on the calling thread, and
 * time stands still unless bed_advance() moves it (programs linked with BED_TIME).
 * With threads the loops run as in the daemon.
 */
#ifndef TESTS_DOUBLES_BED_H
#define TESTS_DOUBLES_BED_H

#include <greenarrow/loop.h>
#include <greenarrow/run.h>

struct bed {
	const char *conf;			/* without load_module lines */
	const struct ga_module *const *modules;	/* order of loading; ends with NULL */
	unsigned workers;			/* 0: one */
	bool threads;
};

/* Ends the test program when the configuration or a module refuses. */
void bed_up(const struct bed *);
bool bed_refuses(const struct bed *);		/* it has an error; nothing is started */
void bed_turn(void);				/* not with threads */
void bed_turns(unsigned n);
/* Turns until true; fails after 20 s. */
void bed_until(bool (*)(void *), void *arg);
/* The same modules, other settings: init's reload(), swap, reloaded(). */
void bed_reload(const char *conf);
void bed_drain(void);
bool bed_held(void);				/* somebody holds the stop */
void bed_down(void);

/* Runs fn on that worker and waits for it. */
void bed_on(struct ga_worker *, void (*fn)(struct ga_worker *, void *), void *arg);

/* bed_time.c: the clocks of a program linked with BED_TIME. */
void bed_advance(uint64_t ms);			/* timers that come due fire, in order */
void bed_wall_step(int64_t ms);			/* the system's clock is set */
uint64_t bed_fired(void);			/* timers that have fired since the program began */

#endif
