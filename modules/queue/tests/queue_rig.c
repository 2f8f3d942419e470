/*
 * queue_rig.c - see queue_rig.h.
 */
#include <stdlib.h>

#include "queue_rig.h"

extern const struct ga_module queue_LTX_ga_module, spool_memory_LTX_ga_module;
static const struct ga_module *const modules[] = {
	&spool_memory_LTX_ga_module, &queue_LTX_ga_module, NULL
};

/* --- router and throttle of the test --- */

struct rig rig;

static void
free_route(struct ga_route *r)
{
	ga_snapshot_unref(r->snapshot);
	free(r);
}

static bool
route(struct ga_worker *w, struct ga_route_request *req)
{
	struct ga_route *r = ga_xcalloc(1, sizeof *r);

	(void)w;
	rig.routed++;
	r->refs = 1;
	r->free_ = free_route;
	r->kind = rig.kind;
	r->code = 550;
	r->text = "no";
	r->snapshot = ga_snapshot_current();
	r->virtual_mta = GA_STR("ip-1");
	r->domain = req->domain;
	r->settings = ga_snapshot_resolve(r->snapshot, r->virtual_mta, req->domain, NULL, 0);
	req->route = r;
	return true;
}

static void
enqueue(struct ga_worker *w, struct ga_ticket *t)
{
	(void)w;
	t->next = rig.tickets;
	rig.tickets = t;
	rig.ntickets++;
}

static void
end_list(enum ga_result result)
{
	struct ga_ticket *t = rig.tickets, *next;

	rig.tickets = NULL;
	rig.ntickets = 0;
	for (; t != NULL; t = next) {
		next = t->next;
		t->result = result;
		ga_ticket_end(t);
	}
}

static void
recall(struct ga_worker *home, bool (*match)(const struct ga_ticket *, void *), void *arg)
{
	(void)home;
	(void)match;
	(void)arg;
	rig.recalled++;
	if (rig.gives_back)
		end_list(GA_RESULT_RECALLED);
}

static bool
known(struct ga_snapshot *snapshot, struct ga_str name)
{
	(void)snapshot;
	(void)name;
	return true;
}

static const struct ga_router router = { .size = sizeof router, .version = GA_ROUTER_VERSION, .route = route, .known = known };
static uint64_t
limit(const struct ga_settings *settings)
{
	(void)settings;
	return 100;
}

static const struct ga_throttle throttle = { .size = sizeof throttle, .version = GA_THROTTLE_VERSION,
	.enqueue = enqueue, .recall = recall, .limit = limit };

void
rig_end_all(enum ga_result result)
{
	end_list(result);
	bed_turns(20);
}

/* --- fixture --- */

static void
start(const char *conf)
{
	ga_service_provide(NULL, GA_ROUTER_SERVICE, GA_ROUTER_VERSION, &router);
	ga_service_provide(NULL, GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION, &throttle);
	bed_up(&(struct bed){ .conf = conf, .modules = modules });
	bed_turns(20);
}

int
rig_up(void **state)
{
	rig = (struct rig){ .kind = GA_ROUTE_DELIVER };
	spool_memory_forget_all();
	start(*state != NULL ? *state : "");
	return 0;
}

void
rig_restart(const char *conf)
{
	bed_down();
	start(conf);
}

int
rig_down(void **state)
{
	(void)state;
	rig_end_all(GA_RESULT_SUCCESS);
	bed_down();
	return 0;
}

static void
answered(struct ga_worker *w, struct ga_intake_submit *s)
{
	(void)w;
	*(bool *)s->arg = true;
}

/* A message to n recipients, one@dN.example each; same: all of one domain. */
struct ga_intake_submit
rig_submit(unsigned n, bool same)
{
	const struct ga_intake *intake = ga_service_get(GA_INTAKE_SERVICE, GA_INTAKE_VERSION);
	struct ga_worker *w = ga_worker_get(0);
	struct ga_snapshot *snap = ga_snapshot_current();
	struct ga_txn *t = ga_txn_new(w, NULL, ga_snapshot_general(snap));
	bool done = false;
	struct ga_intake_submit s = { .txn = t, .trace = GA_STR("Received: by test\r\n"),
		.cb = answered, .arg = &done };

	t->sender = GA_STR("from@sender.example");
	for (unsigned i = 0; i < n; i++) {
		struct ga_rcpt *r = ga_txn_add_rcpt(t);

		r->to = ga_fmt(t->pool, "one@d%u.example", same ? 0 : i);
	}
	t->body = ga_body_new();
	ga_body_append(t->body, "Subject: x\r\n\r\nhello\r\n", 21);
	t->header_size = 14;
	intake->submit(w, &s);
	assert_false(done);		/* never inside the call */
	for (int i = 0; i < 100 && !done; i++)
		bed_turn();
	assert_true(done);
	ga_txn_free(t, GA_END_DONE);
	ga_snapshot_unref(snap);
	return s;
}

struct ga_queue_stats
rig_stats(void)
{
	struct ga_queue_stats s;

	q_stats(&s);
	return s;
}

/* --- the tables, counted --- */

static void
recount_message(struct q_loop *l, uint32_t i, struct ga_queue_stats *s)
{
	s->messages++;
	for (uint32_t k = q_message(l, i)->envelopes; k != 0; k = q_envelope(l, k)->next) {
		const struct q_envelope *e = q_envelope(l, k);

		s->envelopes++;
		s->waiting += e->state == Q_TIMED || e->state == Q_LANED;
		s->in_flight += e->state == Q_OUT;
		s->paused += e->state == Q_PAUSED || e->state == Q_HELD;
		s->failed += e->state == Q_ENDED;
		if (e->state == Q_ENDED)
			continue;
		if (e->attempts > 0)
			s->disk++;
		else
			s->ram++;
	}
}

void
rig_recount(void)
{
	struct q_loop *l = q_loop(ga_worker_get(0));
	struct ga_queue_stats want = { 0 }, got = rig_stats();

	for (uint32_t b = 0; b <= l->id_mask; b++)
		for (uint32_t i = l->ids[b]; i != 0; i = q_message(l, i)->id_next)
			if (q_message(l, i)->state != Q_COMMITTING)
				recount_message(l, i, &want);
	assert_int_equal(got.messages, want.messages);
	assert_int_equal(got.envelopes, want.envelopes);
	assert_int_equal(got.ram, want.ram);
	assert_int_equal(got.disk, want.disk);
	assert_int_equal(got.failed, want.failed);
	assert_int_equal(got.waiting, want.waiting);
	assert_int_equal(got.in_flight, want.in_flight);
	assert_int_equal(got.paused, want.paused);
}
