/*
 * queue.c - the module: starts and stops the loops' queues, and turns due times
 * into attempts.
 *
 * Provides "intake" and "queue".  Needs a spool, a router and a throttle; they
 * may be any modules that provide those services.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue.h"

/* In one go, of what may be millions: some 5 ms at most. */
#define DUE_SLICE 200		/* envelopes that become due: each may have its route looked up */
#define FAR_MS 3600000		/* a recorded time this far ahead is held against the lifetime */

struct ga_inst *q_inst;
const struct ga_spool *q_spool;
const struct ga_router *q_router;
const struct ga_throttle *q_throttle;
static _Atomic uint64_t memory_limit;

#define GA_CF_SELF_ struct queue_conf
GA_CONF_SCHEMA(queue_conf, QUEUE_DIRECTIVES);

struct q_loop *
q_loop(struct ga_worker *w)
{
	return ga_worker_state(q_inst, w);
}

bool
q_memory_half_full(void)
{
	return ga_body_memory() > memory_limit / 2;
}

/* --- due --- */

static uint64_t
end_of_life(struct q_loop *l, const struct q_message *m, uint32_t domain)
{
	struct ga_snapshot *snap = ga_snapshot_current();
	const struct ga_settings *s = ga_snapshot_resolve(snap, q_name_text(l, m->virtual_mta),
	    q_name_text(l, domain), NULL, 0);
	uint64_t end = m->accepted_ms + q_lifetime_ms(s);

	ga_snapshot_unref(snap);
	return end;
}

/* Into the heap until the end of its life. */
static void
hold_until_end(struct q_loop *l, uint32_t envelope)
{
	const struct q_envelope *e = q_envelope(l, envelope);
	uint64_t end = end_of_life(l, q_message(l, e->message), e->domain), wall = q_wall_ms(l);

	q_heap_put(l, envelope, ga_now_ms(l->worker) + (end > wall ? end - wall : 0));
}

static void
due(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	struct q_loop *l = arg;
	uint32_t envelope;

	(void)inst;
	for (int i = 0; i < DUE_SLICE && (envelope = q_heap_due(l, ga_now_ms(w))) != 0; i++) {
		const struct q_envelope *e = q_envelope(l, envelope);

		if (e->state == Q_HELD && end_of_life(l, q_message(l, e->message), e->domain) > q_wall_ms(l)) {
			hold_until_end(l, envelope);	/* a reload has made it longer */
			continue;
		}
		q_lane_put(l, envelope);
		q_lane_run(l, q_lane_of(l, envelope));
	}
	q_heap_arm(l);
}

/* It was committed without the mark. */
static void
record_held(struct q_loop *l, uint32_t envelope)
{
	struct q_envelope *e = q_envelope(l, envelope);
	struct ga_spool_update u = { .seq = q_message(l, e->message)->seq, .envelope = e->index,
		.attempts = e->attempts };

	e->flags |= GA_ENV_SUSPENDED;
	u.flags = e->flags & ~(uint32_t)Q_ENV_NOT_RECORDED;
	q_spool->update(l->worker, &u);
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void
tell_of(struct q_loop *l, uint32_t envelope)
{
	bool failed = (q_envelope(l, envelope)->flags & GA_ENV_FAILED) != 0;

	q_notify(l, envelope, failed ? GA_REPORT_FAILED : GA_REPORT_RELAYED);
}

/* Every envelope of a message that has just come into the table gets its state. */
void
q_message_schedule(struct q_loop *l, uint32_t number, const struct ga_message *from, bool hold)
{
	uint64_t wall = q_wall_ms(l), now = ga_now_ms(l->worker), ahead = 0;
	struct q_message *m = q_message(l, number);

	if (m->accepted_ms > wall) {	/* the clock was ahead then: all its times were */
		ahead = m->accepted_ms - wall;
		m->accepted_ms = wall;
	}
	if (hold)
		q_message_unload(l, number);
	for (uint32_t i = m->envelopes; i != 0; i = q_envelope(l, i)->next) {
		struct q_envelope *e = q_envelope(l, i);
		uint64_t next = from->envelopes[e->index].next_ms;

		next = next > ahead ? next - ahead : 0;

		if ((e->flags & (GA_ENV_FAILED | GA_ENV_RELAYED)) != 0) {
			q_state_set(l, i, Q_ENDED);
			tell_of(l, i);
		} else if (hold || (e->flags & GA_ENV_SUSPENDED) != 0) {
			hold_until_end(l, i);
			q_state_set(l, i, Q_HELD);
			if ((e->flags & GA_ENV_SUSPENDED) == 0)
				record_held(l, i);
		} else if (next > wall) {
			if (next - wall > FAR_MS)
				next = earlier(next, end_of_life(l, m, e->domain));
			q_heap_put(l, i, now + (next > wall ? next - wall : 0));
			q_state_set(l, i, Q_TIMED);
		} else {
			q_lane_put(l, i);
		}
	}
	q_heap_arm(l);
	q_lane_run_message(l, number);
}

/* --- services --- */

static void
add(struct ga_worker *w, struct ga_message *message, bool hold)
{
	struct q_loop *l = q_loop(w);
	uint32_t number;

	if (q_nothing_left(message))
		return;
	number = q_message_new(l, message->id);
	q_message_fill(l, number, message);
	if (message->body != NULL && message->body->chunks != NULL && !q_memory_half_full())
		q_message(l, number)->live = ga_message_ref(message);
	Q_ADD(l, accepted_total, 1);
	q_message_schedule(l, number, message, hold);
}

static const struct ga_queue service = { sizeof service, GA_QUEUE_VERSION, add, q_stats, q_pause, q_explain };

/* --- the module --- */

static void
take_limits(const void *conf)
{
	const struct queue_conf *c = conf;
	uint64_t limit = c->queue_memory;

	q_kept_limit(c->connmaxout_after);
	if (limit == 0)
		limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
	memory_limit = limit;
	ga_body_memory_limit(limit);
}

static bool
init(struct ga_inst *inst, const void *conf)
{
	q_inst = inst;
	take_limits(conf);
	ga_service_provide(inst, GA_INTAKE_SERVICE, GA_INTAKE_VERSION, &q_intake);
	ga_service_provide(inst, GA_QUEUE_SERVICE, GA_QUEUE_VERSION, &service);
	q_report_init(inst);
	q_pauses_init(inst);
	q_control_init(inst);
	return true;
}

static bool
find_services(struct ga_inst *inst)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	const struct ga_spool *spool = ga_service_get(GA_SPOOL_SERVICE, GA_SPOOL_VERSION);
	const struct ga_router *router = ga_service_get(GA_ROUTER_SERVICE, GA_ROUTER_VERSION);
	const struct ga_throttle *throttle = ga_service_get(GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION);

	/* written by the first loop that starts; the others may be reading already */
	pthread_mutex_lock(&lock);
	if (q_spool != spool)
		q_spool = spool;
	if (q_router != router)
		q_router = router;
	if (q_throttle != throttle)
		q_throttle = throttle;
	pthread_mutex_unlock(&lock);
	if (q_spool != NULL && q_router != NULL && q_throttle != NULL)
		return true;
	ga_log(inst, GA_ERR, "GA-QUE-0004", "nobody provides the service \"%s\": is its module loaded?",
	    q_spool == NULL ? "spool" : q_router == NULL ? "router" : "throttle");
	return false;
}

static bool
start(struct ga_inst *inst, struct ga_worker *w)
{
	struct q_loop *l = ga_worker_state(inst, w);

	if (!find_services(inst))
		return false;
	l->worker = w;
	q_wall_init(l);
	q_table_init(l);
	l->timer = ga_timer_new(inst, w, due, l);
	q_notices_start(l);
	q_kept_start(l);
	q_recover(l);
	return true;
}

static bool
reload(struct ga_inst *inst, const void *conf)
{
	(void)inst;
	take_limits(conf);
	return true;
}

/* Paused ones are due at once, held ones at the end that they have now; what was kept
 * for want of somebody who tells is told. */
static void
look_at(struct q_loop *l, uint32_t envelope, uint64_t now)
{
	switch ((enum q_state)q_envelope(l, envelope)->state) {
	case Q_PAUSED:
		q_heap_take(l, envelope);
		q_heap_put(l, envelope, now);
		break;
	case Q_HELD:
		q_heap_take(l, envelope);
		hold_until_end(l, envelope);
		break;
	case Q_ENDED:
		tell_of(l, envelope);
		break;
	default:
		break;
	}
}

/* In slices: there may be millions, and other mail goes on. */
static void
look_at_all(struct ga_worker *w, struct ga_post *post)
{
	struct q_loop *l = GA_CONTAINER(post, struct q_loop, look);
	uint64_t now = ga_now_ms(w);

	for (unsigned n = 0; n < Q_LOOK_SLICE && l->look_at < l->envelopes.n; n++, l->look_at++) {
		q_gone_count(l, l->look_at);
		look_at(l, l->look_at, now);
	}
	if (!l->draining)
		q_heap_arm(l);
	l->looking = l->look_at < l->envelopes.n;
	if (l->looking)
		ga_loop_post(w, &l->look);
	else
		q_gone_end(l);
}

void
q_look_again(struct q_loop *l)
{
	l->look_at = 1;
	if (l->named != NULL)
		q_gone_begin(l);	/* from the start again */
	if (l->looking)
		return;
	l->looking = true;
	l->look.fn = look_at_all;
	ga_loop_post(l->worker, &l->look);
}

/* What waits in groups comes back and is routed again; what waits here is looked at. */
static void
reloaded(struct ga_inst *inst, struct ga_worker *w)
{
	struct q_loop *l = ga_worker_state(inst, w);

	q_throttle->recall(w, NULL, NULL);
	l->reporter = ga_service_get(GA_BOUNCE_SERVICE, GA_BOUNCE_VERSION);
	q_kept_reloaded(l);
	q_gone_begin(l);
	q_look_again(l);
}

static void
drain(struct ga_inst *inst, struct ga_worker *w, uint64_t until_ms)
{
	struct q_loop *l = ga_worker_state(inst, w);

	(void)until_ms;
	l->draining = true;
	ga_timer_stop(l->timer);
	ga_timer_stop(l->kept_timer);
	q_notices_drain(l);
	if (l->out == NULL)
		return;
	l->hold = ga_hold(inst, "deliveries in flight");
	q_throttle->recall(w, NULL, NULL);
}

/* Modules are told while their loop is still there. */
static void
stop(struct ga_inst *inst, struct ga_worker *w)
{
	struct q_loop *l = ga_worker_state(inst, w);

	if (l->worker == NULL)
		return;
	l->draining = true;
	q_submits_stop(l);
	q_attempts_stop(l);
	ga_unhold(l->hold);
	ga_unhold(l->reading);
	ga_unhold(l->telling);
	l->hold = l->reading = l->telling = NULL;
}

/* All loops have ended: a ticket may have been with another one until then, and a
 * message with the spool's threads. */
static void
fini(struct ga_inst *inst)
{
	for (unsigned i = 0; i < ga_worker_count(); i++) {
		struct q_loop *l = ga_worker_state(inst, ga_worker_get(i));

		if (l->worker == NULL)
			continue;
		q_submits_end(l);
		q_notices_end(l);
		q_attempts_end(l);
		q_lanes_end(l);
		free(l->named);
		l->named = NULL;
		q_table_end(l);
	}
	q_explains_end();
	q_pauses_end();
}

GA_MODULE(queue, "1.0.0", "", GA_NO_HOOKS, QUEUE_DIRECTIVES,
	.summary = "Keeps what waits, and tries it when it is due",
	.conf = &queue_conf_schema,
	.flags = GA_KEEP_INSTANCE,
	.worker_size = sizeof(struct q_loop),
	.init = init,
	.start = start,
	.drain = drain,
	.stop = stop,
	.fini = fini,
	.reload = reload,
	.reloaded = reloaded);
