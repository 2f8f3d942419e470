/*
 * wait.h - the tables of waits, made before the loops run and freed after.
 */
#ifndef CORE_MODULE_WAIT_H
#define CORE_MODULE_WAIT_H

#include <stdint.h>

void gac_waits_init(void);
void gac_waits_free(void);
/* How many calls of one instance may wait at once.  Any thread. */
void gac_waits_limit(unsigned max);
/* Every call of this loop that waits is cancelled (GA_WHY_DRAIN) and answered with its
 * module's on_failure, and none may wait from now on: the daemon ends.  On that loop. */
void gac_waits_give_up(struct ga_worker *);
/* Tokens that came too late, since the start.  Any thread. */
uint64_t gac_waits_stale(void);

struct gac_wait_info {
	unsigned loop;
	uint64_t object_id;		/* of the session, transaction or attempt */
	const char *module, *hook, *label;
	uint64_t age_ms, left_ms;	/* since it waits; until its deadline */
};
/* Every call that waits: each runs on the loops, one after the other, end on the
 * main loop.  What info points to is borrowed.  Main loop. */
void gac_waits_each(void (*each)(const struct gac_wait_info *, void *arg), void (*end)(void *arg),
    void *arg);

#endif
