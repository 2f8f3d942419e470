/*
 * timer.c - timers and descriptor watchers of instances, over libev.
 *
 * Implements the last part of ga_async.h.  Each belongs to one loop and is in
 * that loop's list, so that what a module forgot is freed when its instance
 * stops there.  A timer may be freed from inside its own function: libev stops
 * looking at a watcher before it calls it.
 */
#include "config.h"

#include <stdlib.h>

#include "loop/worker.h"

void
gac_loop_item_add(struct ga_worker *w, struct loop_item *item, struct ga_inst *inst,
    void (*fn)(struct loop_item *))
{
	item->inst = inst;
	item->free = fn;
	item->next = w->items;
	item->prev = &w->items;
	if (item->next != NULL)
		item->next->prev = &item->next;
	w->items = item;
}

void
gac_loop_item_del(struct loop_item *item)
{
	*item->prev = item->next;
	if (item->next != NULL)
		item->next->prev = item->prev;
}

void
gac_loop_forget(struct ga_worker *w, const struct ga_inst *inst)
{
	struct loop_item *item, *next;

	for (item = w != NULL ? w->items : NULL; item != NULL; item = next) {
		next = item->next;
		if (inst == NULL || item->inst == inst)
			item->free(item);
	}
}

/* --- timers --- */

struct ga_timer {
	struct loop_item item;
	struct ga_worker *worker;
	struct ev_timer ev;
	ga_timer_fn *fn;
	void *arg;
};

static void
timer_fired(struct ev_loop *loop, struct ev_timer *ev, int revents)
{
	struct ga_timer *t = ev->data;

	(void)loop;
	(void)revents;
	GAC_CALL(t->worker, t->fn, t->item.inst, t->worker, t->arg);
}

static void
free_timer(struct loop_item *item)
{
	ga_timer_free(GA_CONTAINER(item, struct ga_timer, item));
}

struct ga_timer *
ga_timer_new(struct ga_inst *inst, struct ga_worker *w, ga_timer_fn *fn, void *arg)
{
	struct ga_timer *t = ga_xcalloc(1, sizeof *t);

	t->worker = w;
	t->fn = fn;
	t->arg = arg;
	ev_timer_init(&t->ev, timer_fired, 0, 0);
	t->ev.data = t;
	gac_loop_item_add(w, &t->item, inst, free_timer);
	return t;
}

void
ga_timer_arm(struct ga_timer *t, uint64_t after_ms, uint64_t repeat_ms)
{
	double behind = ev_time() - ev_now(t->worker->ev);

	ev_timer_stop(t->worker->ev, &t->ev);
	/* libev counts from the start of the turn; a long turn must not shorten the wait */
	if (behind < 0 || behind > 60)
		behind = 0;
	ev_timer_set(&t->ev, (double)after_ms / 1000.0 + behind, (double)repeat_ms / 1000.0);
	ev_timer_start(t->worker->ev, &t->ev);
}

void
ga_timer_stop(struct ga_timer *t)
{
	ev_timer_stop(t->worker->ev, &t->ev);
}

bool
ga_timer_armed(const struct ga_timer *t)
{
	return ev_is_active(&t->ev);
}

void
ga_timer_free(struct ga_timer *t)
{
	if (t == NULL)
		return;
	ev_timer_stop(t->worker->ev, &t->ev);
	gac_loop_item_del(&t->item);
	free(t);
}

/* --- descriptors --- */

struct ga_io {
	struct loop_item item;
	struct ga_worker *worker;
	struct ev_io ev;
	int fd;
	ga_io_fn *fn;
	void *arg;
};

static void
io_ready(struct ev_loop *loop, struct ev_io *ev, int revents)
{
	struct ga_io *io = ev->data;
	unsigned events = ((revents & EV_READ) ? GA_READ : 0) | ((revents & EV_WRITE) ? GA_WRITE : 0);

	(void)loop;
	GAC_CALL(io->worker, io->fn, io->item.inst, io->worker, io->fd, events, io->arg);
}

static void
free_io(struct loop_item *item)
{
	ga_io_free(GA_CONTAINER(item, struct ga_io, item));
}

struct ga_io *
ga_io_new(struct ga_inst *inst, struct ga_worker *w, int fd, ga_io_fn *fn, void *arg)
{
	struct ga_io *io = ga_xcalloc(1, sizeof *io);

	io->worker = w;
	io->fd = fd;
	io->fn = fn;
	io->arg = arg;
	ev_io_init(&io->ev, io_ready, fd, 0);
	io->ev.data = io;
	gac_loop_item_add(w, &io->item, inst, free_io);
	return io;
}

void
ga_io_want(struct ga_io *io, unsigned events)
{
	int want = ((events & GA_READ) ? EV_READ : 0) | ((events & GA_WRITE) ? EV_WRITE : 0);

	ev_io_stop(io->worker->ev, &io->ev);
	ev_io_set(&io->ev, io->fd, want);
	if (want != 0)
		ev_io_start(io->worker->ev, &io->ev);
}

void
ga_io_free(struct ga_io *io)
{
	if (io == NULL)
		return;
	ev_io_stop(io->worker->ev, &io->ev);
	gac_loop_item_del(&io->item);
	free(io);
}
