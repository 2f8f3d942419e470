/*
 * queue_rig.h - the module queue between a spool in memory and a router and throttle
 * of the tests' own, on the test bed.
 *
 * The throttle keeps every ticket until the test ends it.
 */
#ifndef QUEUE_RIG_H
#define QUEUE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../queue.h"
#include "bed.h"
#include "spool_memory.h"

struct rig {
	enum ga_route_kind kind;	/* what the router answers */
	unsigned routed;		/* how often it was asked */
	unsigned recalled;		/* how often the throttle was asked to give back */
	bool gives_back;		/* and whether it does */
	struct ga_ticket *tickets;	/* with the throttle */
	unsigned ntickets;
};
extern struct rig rig;

/* Setup and teardown of cmocka; up with *state as configuration when it is not NULL. */
int rig_up(void **state);
int rig_down(void **state);
/* A stop and a start on the same spool. */
void rig_restart(const char *conf);
/* Every ticket ends so. */
void rig_end_all(enum ga_result result);
/* A message to n recipients, one@dN.example each; same: all of one domain. */
struct ga_intake_submit rig_submit(unsigned n, bool same);
struct ga_queue_stats rig_stats(void);
/* The counters are what the tables say. */
void rig_recount(void);

#endif
