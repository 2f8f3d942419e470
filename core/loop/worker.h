/*
 * worker.h - what a loop is made of; for the files of core/loop only.
 */
#ifndef CORE_LOOP_WORKER_H
#define CORE_LOOP_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "loop/loop.h"

struct loop_item {			/* a timer or a watcher, in its loop's list */
	struct loop_item *next, **prev;
	struct ga_inst *inst;
	void (*free)(struct loop_item *);
};

struct ga_worker {
	unsigned index;
	pthread_t thread;
	struct ev_loop *ev;
	struct ev_async wake;
	struct ev_check clock;		/* first after each poll: takes the time */
	uint64_t now_ms;
	_Atomic(struct ga_post *) posted;	/* newest first */
	struct ga_post *pending;	/* taken, oldest first, not yet run */
	_Atomic unsigned sessions;
	struct loop_item *items;
	/* watchdog; read by the main loop */
	_Atomic(const void *) running;
	_Atomic uint64_t running_since_us;
	bool reported;			/* main loop's: this stall is in the log */
	void (*before)(struct ga_worker *), (*after)(struct ga_worker *);
	struct ga_post end;
};

void gac_loop_item_add(struct ga_worker *, struct loop_item *, struct ga_inst *,
    void (*free)(struct loop_item *));
void gac_loop_item_del(struct loop_item *);

#endif
