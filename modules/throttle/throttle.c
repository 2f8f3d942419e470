/*
 * throttle.c - the module: who may open a connection, and whose turn it is.
 *
 * A ticket comes from the queue's loop to the group's (enqueue → arrive), waits
 * in its lane, and goes to delivery in a batch: to a saved connection of the
 * group when one fits, else to a new one while the group has fewer than
 * max_concurrent_connections and the system has a slot.  A connection that has
 * finished a batch pulls the next one itself.  Everything that frees something
 * (a connection closed, an acquire hold over, a new limit) pumps the group again.
 *
 * Tickets travel together: what the queue enqueues in one go (the hundred
 * recipients of a message) leaves its loop in one post, and pumping is posted, not
 * called, so that it is looked at once, when all of it is here.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "backoff.h"

#include <greenarrow/service/control.h>

#define HOLD_DEFAULT_MS 60000
#define MX_MAX 32		/* names of hosts that a pattern of a rule is held against */

struct ga_inst *thr_inst;
const struct ga_delivery *thr_delivery;

#define GA_CF_SELF_ struct throttle_conf
GA_CONF_SCHEMA(throttle_conf, THROTTLE_DIRECTIVES);

struct thr_loop *
thr_loop(struct ga_worker *w)
{
	return ga_worker_state(thr_inst, w);
}

/* --- limits --- */

/* A burst as written is meant for the rate as written: in backoff it is a second's worth. */
void
thr_limits_apply(struct ga_group *g)
{
	bool less = g->backoff != NULL && g->backoff->state != THR_NORMAL;
	const struct thr_limits *l = less ? &g->backoff->in_force : &g->terms->written;

	g->max = l->connections;
	thr_rate_set(&g->deliveries, l->rate, less ? 0 : g->terms->burst, ga_mono_us());
}

static void
take_settings(struct ga_group *g, const struct ga_settings *settings, uint64_t number)
{
	g->snapshot = number;
	thr_terms_take(g, settings);
	thr_backoff_settings(g);
	thr_limits_apply(g);
	thr_rate_set(&g->dials, g->terms->dial_rate, 0, ga_mono_us());
}

static void
take_limit(struct ga_group *g, const struct ga_route *route)
{
	uint64_t number = ga_snapshot_number(route->snapshot);

	if (number > g->snapshot)
		take_settings(g, route->settings, number);
}

/* A newer snapshot is in force, and what waits came with an older one: the limits are
 * those that its mail would find now. */
static void
renew_limit(struct ga_group *g)
{
	const struct ga_route *route = g->ring->first->route;
	struct ga_str mx[MX_MAX];
	struct ga_snapshot *now = ga_snapshot_current();
	size_t n = 0;

	for (; n < route->nhosts && n < MX_MAX; n++)
		mx[n] = route->hosts[n].name;
	take_settings(g, ga_snapshot_resolve(now, route->virtual_mta, route->domain, mx, n),
	    ga_snapshot_number(now));
	ga_snapshot_unref(now);
}

unsigned
thr_saved(const struct ga_group *g)
{
	return thr_delivery != NULL && g->connections > 0 ? thr_delivery->saved(g) : 0;
}

/* --- when to look again --- */

static void
woken(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct ga_group *g = arg;

	(void)inst;
	(void)w;
	g->wake_us = 0;
	thr_backoff_woken(g);
	thr_pump_soon(g);
}

void
thr_wake_at(struct ga_group *g, uint64_t us)
{
	uint64_t now = ga_mono_us();

	if (g->wake_us != 0 && g->wake_us <= us)
		return;
	if (g->timer == NULL)
		g->timer = ga_timer_new(thr_inst, g->home, woken, g);
	g->wake_us = us;
	ga_timer_arm(g->timer, us > now ? (us - now + 999) / 1000 : 0, 0);
}

/* --- hooks --- */

static struct ga_ev_throttle
event_of(const struct ga_group *g, const struct ga_route *route, unsigned n)
{
	return (struct ga_ev_throttle){ .group_key = ga_str_c(g->key),
		.virtual_mta = route->virtual_mta, .domain = route->domain, .recipients = n };
}

static void
run_release(struct ga_group *g, const struct ga_route *route, unsigned n)
{
	struct ga_ev_throttle ev = event_of(g, route, n);
	struct ga_run run = { .worker = g->home, .settings = route->settings };

	if (GA_WANTED(ga_settings_plan(route->settings), release))
		ga_run_hook(&run, GA_HOOK_release, &ev);
}

/* True: every module grants.  Else the group is looked at again when they said. */
static bool
acquire(struct ga_group *g, struct ga_batch batch)
{
	const struct ga_route *route = batch.first->route;
	struct ga_ev_throttle ev = event_of(g, route, batch.n);
	struct ga_run run = { .worker = g->home, .settings = route->settings };

	if (!GA_WANTED(ga_settings_plan(route->settings), acquire) ||
	    ga_run_hook(&run, GA_HOOK_acquire, &ev) == GA_PASS)
		return true;
	g->hold_us = ga_mono_us() +
	    1000ull * (run.retry_after_ms > 0 ? run.retry_after_ms : HOLD_DEFAULT_MS);
	thr_wake_at(g, g->hold_us);
	return false;
}

/* How many recipients, at most most, may go now; 0: the group is woken when one may. */
static unsigned
allowed(struct ga_group *g, unsigned most)
{
	uint64_t now;
	unsigned n;

	if (g->hold_us == 0 && g->deliveries.step_ns == 0)
		return most;
	now = ga_mono_us();
	if (g->hold_us > now) {
		thr_wake_at(g, g->hold_us);
		return 0;
	}
	g->hold_us = 0;
	n = thr_rate_allows(&g->deliveries, most, now);
	if (n == 0) {
		thr_wake_at(g, thr_rate_when(&g->deliveries));
		if (g->backoff != NULL)
			g->backoff->held |= THR_HELD_RATE;
	}
	return n;
}

static void
count(struct ga_group *g, unsigned n)
{
	uint64_t now = ga_mono_us();

	g->in_flight += n;
	thr_rate_take(&g->deliveries, n, now);
	thr_recent_add(&g->recent, n, now);
}

/* They have not begun after all. */
static void
count_back(struct ga_group *g, unsigned n)
{
	g->in_flight -= n;
	thr_rate_give_back(&g->deliveries, n);
	thr_recent_take_back(&g->recent, n);
}

/* --- the pump --- */

static bool
room_for_one(struct ga_group *g)
{
	if (g->max != 0 && g->connections >= g->max) {
		if (g->backoff != NULL)
			g->backoff->held |= THR_HELD_CONNECTIONS;
		return false;
	}
	if (g->dials.step_ns != 0 && thr_rate_allows(&g->dials, 1, ga_mono_us()) == 0) {
		thr_wake_at(g, thr_rate_when(&g->dials));
		return false;
	}
	if ((g->served || !thr_slots_wanted()) && thr_slot_take()) {
		g->served = false;
		thr_rate_take(&g->dials, 1, ga_mono_us());
		return true;
	}
	thr_slot_wait(g);
	return false;
}

/* After a limit was lowered: idle connections go, busy ones when they are idle. */
static void
shed(struct ga_group *g)
{
	while (g->max != 0 && g->connections > g->max && thr_delivery->close_idle(g, g->home))
		;
}

/* Gives one batch to delivery; false: nothing more can start now. */
static bool
start_batch(struct ga_group *g)
{
	unsigned most = allowed(g, GA_BATCH_MAX);
	struct ga_batch batch = { NULL, 0 };

	if (most > 0)
		batch = thr_lane_take(g, most, NULL, NULL);
	if (batch.n == 0)
		return false;
	if (!acquire(g, batch)) {
		thr_lane_put_back(g, batch);
		return false;
	}
	count(g, batch.n);
	if (thr_delivery->offer(g, batch))
		return true;
	if (room_for_one(g)) {
		g->connections++;
		thr_delivery->open(g, g->home, batch);
		return true;
	}
	count_back(g, batch.n);
	run_release(g, batch.first->route, batch.n);
	thr_lane_put_back(g, batch);
	if (g->max != 0 && g->connections >= g->max)
		thr_delivery->close_idle(g, g->home);
	return false;
}

static void
pump(struct ga_worker *w, struct ga_post *post)
{
	struct ga_group *g = GA_CONTAINER(post, struct ga_group, pump);

	g->pumping = false;
	if (g->waiting > 0 && g->snapshot < thr_loop(w)->snapshot)
		renew_limit(g);
	if (thr_delivery != NULL)
		shed(g);
	while (thr_delivery != NULL && g->waiting > 0 && start_batch(g))
		;
	g->served = false;
	thr_slots_pass_on();
	if (g->waiting == 0)
		thr_group_quiet(g);
}

void
thr_pump_soon(struct ga_group *g)
{
	if (g->pumping)
		return;
	g->pumping = true;
	g->pump.fn = pump;
	ga_loop_post(g->home, &g->pump);
}

/* --- the service --- */

static void
arrive(struct thr_loop *l, struct ga_ticket *t)
{
	struct ga_group *g = t->holder;

	if (g->prev == NULL) {
		g->next = l->groups;
		g->prev = &l->groups;
		if (g->next != NULL)
			g->next->prev = &g->next;
		l->groups = g;
	}
	take_limit(g, t->route);
	t->arrived = l->nrecalls;
	thr_lane_put(g, t);
	thr_pump_soon(g);
}

static void
arrive_all(struct ga_worker *w, struct ga_post *post)
{
	struct ga_ticket *t = GA_CONTAINER(post, struct ga_ticket, post), *next;
	struct thr_loop *l = thr_loop(w);

	for (; t != NULL; t = next) {
		next = t->next;
		arrive(l, t);
	}
}

/* The first ticket of each outbox carries the others. */
static void
flush(struct thr_loop *l)
{
	for (unsigned i = 0; i < ga_worker_count(); i++) {
		struct thr_outbox *out = &l->out[i];
		struct ga_ticket *first = out->first;

		if (first == NULL)
			continue;
		out->first = NULL;
		out->last = &out->first;
		first->post.fn = arrive_all;
		ga_loop_post(ga_worker_get(i), &first->post);
	}
}

static void
flush_soon(struct ga_worker *w, struct ga_post *post)
{
	struct thr_loop *l = GA_CONTAINER(post, struct thr_loop, flush);

	(void)w;
	l->flushing = false;
	flush(l);
}

static void
enqueue(struct ga_worker *w, struct ga_ticket *t)
{
	struct thr_loop *l = thr_loop(w);
	struct ga_group *g = thr_group_of(t->route);
	struct thr_outbox *out = &l->out[ga_worker_index(g->home)];

	t->holder = g;
	t->next = NULL;
	*out->last = t;
	out->last = &t->next;
	if (!l->flushing) {
		l->flushing = true;
		ga_loop_post(w, &l->flush);
	}
}

static struct ga_batch
next(struct ga_group *g, unsigned limit, ga_batch_fits_fn *fits, void *arg)
{
	struct ga_batch batch = { NULL, 0 };

	if (g->waiting > 0) {
		limit = allowed(g, limit > 0 ? limit : 1);
		if (limit == 0 && thr_slots_wanted())
			thr_slot_free_idle(thr_loop(g->home));
		if (limit == 0)
			return batch;
	}
	if (g->max == 0 || g->connections <= g->max)
		batch = thr_lane_take(g, limit, fits, arg);
	if (batch.n == 0) {
		/* it will be idle: it may have to go for what waits here, or elsewhere */
		if (g->waiting > 0)
			thr_pump_soon(g);
		else if (thr_slots_wanted())
			thr_slot_free_idle(thr_loop(g->home));
		return batch;
	}
	if (!acquire(g, batch)) {
		thr_lane_put_back(g, batch);
		return (struct ga_batch){ NULL, 0 };
	}
	count(g, batch.n);
	return batch;
}

static void
closed(struct ga_group *g)
{
	g->connections--;
	thr_slot_give();
	if (g->waiting > 0)
		thr_pump_soon(g);
	else
		thr_group_quiet(g);
}

static void
ended(struct ga_group *g, const struct ga_ticket *t, unsigned n)
{
	g->in_flight -= n;
	if (g->terms->has_program)
		thr_backoff_feed(g, t, n);
	run_release(g, t->route, n);
	if (g->waiting == 0)
		thr_group_quiet(g);
}

static unsigned
max_connections(const struct ga_group *g)
{
	return g->max;
}

static struct ga_str
key_of(const struct ga_group *g)
{
	return ga_str_c(g->key);
}

/* What was enqueued before it has to be there before it. */
static void
recall(struct ga_worker *home, bool (*match)(const struct ga_ticket *, void *), void *arg)
{
	flush(thr_loop(home));
	thr_recall(home, match, arg);
}

static uint64_t
limit(const struct ga_settings *settings)
{
	const struct throttle_conf *c = ga_settings_conf(settings, "throttle");

	return (uint64_t)c->max_concurrent_connections;
}

static void
begin_backoff(struct ga_worker *w, struct ga_str key, const char *reason, uint64_t ms)
{
	struct ga_worker *home;
	struct ga_group *g = thr_group_find(key, &home);

	if (g != NULL && home == w)
		thr_backoff_begin(g, reason, ms);
}

static const struct ga_throttle service = {
	sizeof service, GA_THROTTLE_VERSION, enqueue, recall, next, closed, ended,
	thr_group_unref, max_connections, key_of, thr_each_group, limit, begin_backoff, thr_explain
};

/* --- the module --- */

static void
add_status(struct ga_inst *inst, struct json_object *status)
{
	struct json_object *o = json_object_new_object();
	int64_t waiting = 0, backoffs = 0;

	(void)inst;
	for (unsigned i = 0; i < ga_worker_count(); i++) {
		waiting += thr_loop(ga_worker_get(i))->waiting;
		backoffs += thr_loop(ga_worker_get(i))->backoffs;
	}
	json_object_object_add(o, "connections", json_object_new_int((int)thr_slots_used()));
	json_object_object_add(o, "max_connections", json_object_new_int((int)thr_slots_max()));
	json_object_object_add(o, "groups", json_object_new_int((int)thr_groups_count()));
	json_object_object_add(o, "in_backoff", json_object_new_int64(backoffs));
	json_object_object_add(o, "waiting", json_object_new_int64(waiting));
	json_object_object_add(status, "throttle", o);
}

static void
take_system_limit(const void *conf)
{
	const struct throttle_conf *c = conf;

	thr_slots_limit((unsigned)c->system_max_smtp_connections);
}

static bool
check(const void *conf, struct ga_diag *diag)
{
	(void)conf;
	return thr_backoff_check(diag);
}

static bool
init(struct ga_inst *inst, const void *conf)
{
	thr_inst = inst;
	thr_groups_begin();
	take_system_limit(conf);
	ga_service_provide(inst, GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION, &service);
	ga_status_register(inst, add_status);
	thr_report_init(inst);
	return true;
}

/* Every module has been initialised by now. */
static void
find_delivery(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	const struct ga_delivery *d = ga_service_get(GA_DELIVERY_SERVICE, GA_DELIVERY_VERSION);

	/* written by the first loop that starts; the others may be reading already */
	pthread_mutex_lock(&lock);
	if (thr_delivery != d)
		thr_delivery = d;
	pthread_mutex_unlock(&lock);
}

static void
take_number(struct thr_loop *l)
{
	struct ga_snapshot *now = ga_snapshot_current();

	l->snapshot = ga_snapshot_number(now);
	ga_snapshot_unref(now);
}

static bool
start(struct ga_inst *inst, struct ga_worker *w)
{
	struct thr_loop *l = ga_worker_state(inst, w);

	l->worker = w;
	l->out = ga_xcalloc(ga_worker_count(), sizeof *l->out);
	for (unsigned i = 0; i < ga_worker_count(); i++)
		l->out[i].last = &l->out[i].first;
	l->flush.fn = flush_soon;
	STAILQ_INIT(&l->recalls);
	take_number(l);
	thr_slots_start(l);
	find_delivery();
	return true;
}

static void
stop(struct ga_inst *inst, struct ga_worker *w)
{
	struct thr_loop *l = ga_worker_state(inst, w);

	free(l->out);
	l->out = NULL;
}

static void
fini(struct ga_inst *inst)
{
	(void)inst;
	thr_walks_stop();
	for (unsigned i = 0; i < ga_worker_count(); i++)
		thr_recalls_end(thr_loop(ga_worker_get(i)));
	thr_groups_end();
}

static bool
reload(struct ga_inst *inst, const void *conf)
{
	(void)inst;
	take_system_limit(conf);
	return true;
}

/* Limits may have grown: everybody who waits tries again. */
static void
try_again(struct thr_walk *k, struct ga_group *g)
{
	(void)k;
	if (g->waiting > 0)
		thr_pump_soon(g);
}

static void
dropped(struct thr_walk *k)
{
	free(k);
}

static void
all_tried(struct ga_worker *w, struct thr_walk *k)
{
	(void)w;
	free(k);
}

static void
reloaded(struct ga_inst *inst, struct ga_worker *w)
{
	struct thr_walk *k = ga_xcalloc(1, sizeof *k);

	(void)inst;
	take_number(thr_loop(w));
	*k = (struct thr_walk){ .asker = w, .here_only = true, .visit = try_again, .end = all_tried, .drop = dropped };
	thr_walk_begin(k);
}

GA_MODULE(throttle, "1.0.0", "", GA_NO_HOOKS, THROTTLE_DIRECTIVES,
	.summary = "Limits connections, and gives everybody a turn",
	.conf = &throttle_conf_schema,
	.flags = GA_KEEP_INSTANCE,
	.worker_size = sizeof(struct thr_loop),
	.check = check,
	.init = init,
	.start = start,
	.stop = stop,
	.fini = fini,
	.reload = reload,
	.reloaded = reloaded);
