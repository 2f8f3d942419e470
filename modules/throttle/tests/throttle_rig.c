/*
 * throttle_rig.c - implements throttle_rig.h
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../throttle.h"
#include "bed.h"
#include "throttle_rig.h"

const struct ga_throttle *thr;
struct conn conns[CONNS_MAX];

void
rig_up(const char *conf, unsigned workers, const struct ga_module *const *modules,
    const struct ga_delivery *delivery)
{
	memset(conns, 0, sizeof conns);
	ga_service_provide(NULL, GA_DELIVERY_SERVICE, GA_DELIVERY_VERSION, delivery);
	bed_up(&(struct bed){ .conf = conf, .modules = modules, .workers = workers });
	thr = ga_service_get(GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION);
	bed_turns(2);
}

/* --- connections --- */

struct conn *
rig_open(struct ga_group *g, struct ga_batch batch)
{
	unsigned i = 0;

	while (conns[i].group != NULL)
		assert_true(++i < CONNS_MAX);
	conns[i] = (struct conn){ .group = g, .batch = batch };
	return &conns[i];
}

void
rig_end_batch(struct conn *c)
{
	struct ga_ticket *next;

	thr->ended(c->group, c->batch.first, c->batch.n);
	for (struct ga_ticket *t = c->batch.first; t != NULL; t = next) {
		next = t->next;
		ga_ticket_end(t);
	}
	c->batch = (struct ga_batch){ NULL, 0 };
}

void
rig_close(struct conn *c)
{
	struct ga_group *g = c->group;

	c->group = NULL;
	thr->closed(g);
}

unsigned
rig_open_now(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CONNS_MAX; i++)
		n += conns[i].group != NULL;
	return n;
}

bool
rig_close_idle(struct ga_group *g, struct ga_worker *w)
{
	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (conns[i].group != NULL && conns[i].batch.n == 0 && conns[i].group->home == w &&
		    (g == NULL || conns[i].group == g)) {
			rig_close(&conns[i]);
			return true;
		}
	return false;
}

/* --- delivery --- */

static void (*run_batch)(struct conn *, struct ga_batch);

static bool
offer(struct ga_group *g, struct ga_batch batch)
{
	for (unsigned i = 0; i < CONNS_MAX; i++)
		if (conns[i].group == g && conns[i].batch.n == 0) {
			run_batch(&conns[i], batch);
			return true;
		}
	return false;
}

static unsigned
saved(const struct ga_group *g)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CONNS_MAX; i++)
		n += conns[i].group == g && conns[i].batch.n == 0;
	return n;
}

const struct ga_delivery *
rig_delivery(void (*open_)(struct ga_group *, struct ga_worker *, struct ga_batch),
    void (*run)(struct conn *, struct ga_batch))
{
	static struct ga_delivery delivery = { .size = sizeof delivery, .version = GA_DELIVERY_VERSION,
		.offer = offer, .close_idle = rig_close_idle, .saved = saved };

	delivery.open = open_;
	run_batch = run;
	return &delivery;
}

/* --- routes and tickets --- */

static void
free_route(struct ga_route *r)
{
	if (r->group != NULL)
		thr->group_unref(r->group);
	ga_snapshot_unref(r->snapshot);
	free(r);
}

struct ga_route *
rig_route(const char *key)
{
	struct ga_route *r = ga_xcalloc(1, sizeof *r);

	r->refs = 1;
	r->free_ = free_route;
	r->snapshot = ga_snapshot_current();
	r->settings = ga_snapshot_general(r->snapshot);
	r->domain = ga_str_c("d.example");
	r->group_key = ga_str_c(key);
	return r;
}

struct ga_ticket *
rig_ticket(struct ga_worker *home, struct ga_route *r, uint64_t seq,
    void (*done)(struct ga_worker *, struct ga_ticket *))
{
	struct ga_ticket *t = ga_xcalloc(1, sizeof *t);

	t->home = home;
	t->route = ga_route_ref(r);
	t->seq = seq;
	t->done = done;
	return t;
}

void
rig_free_ticket(struct ga_worker *home, struct ga_ticket *t)
{
	(void)home;
	ga_route_unref(t->route);
	free(t);
}

/* --- groups --- */

static void
count_group(struct ga_group *g, const struct ga_group_info *info, void *arg)
{
	(void)g;
	(void)info;
	++*(unsigned *)arg;
}

static void
walked(struct ga_worker *w, void *arg)
{
	(void)w;
	(void)arg;
}

unsigned
rig_groups(void)
{
	unsigned n = 0;

	thr->each_group(ga_worker_get(0), count_group, walked, &n);
	bed_turns(20);
	return n;
}
