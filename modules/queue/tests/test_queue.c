/*
 * test_queue.c - the module queue on the test bed, between a spool in memory and a
 * router and throttle of the test's own.
 *
 * The throttle here keeps every ticket until the test ends it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../queue.h"
#include "bed.h"
#include "spool_memory.h"

extern const struct ga_module queue_LTX_ga_module, spool_memory_LTX_ga_module;
static const struct ga_module *const modules[] = {
	&spool_memory_LTX_ga_module, &queue_LTX_ga_module, NULL
};

/* --- router and throttle of the test --- */

static enum ga_route_kind kind;
static unsigned routed, recalled;
static struct ga_ticket *tickets;
static unsigned ntickets;

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
	routed++;
	r->refs = 1;
	r->free_ = free_route;
	r->kind = kind;
	r->code = 550;
	r->text = "no";
	r->snapshot = ga_snapshot_current();
	r->settings = ga_snapshot_general(r->snapshot);
	req->route = r;
	return true;
}

static void
enqueue(struct ga_worker *w, struct ga_ticket *t)
{
	(void)w;
	t->next = tickets;
	tickets = t;
	ntickets++;
}

static void
recall(struct ga_worker *home, bool (*match)(const struct ga_ticket *, void *), void *arg)
{
	(void)home;
	(void)match;
	(void)arg;
	recalled++;
}

static const struct ga_router router = { sizeof router, GA_ROUTER_VERSION, route };
static const struct ga_throttle throttle = { .size = sizeof throttle, .version = GA_THROTTLE_VERSION,
	.enqueue = enqueue, .recall = recall };

static void
end_all(enum ga_result result)
{
	struct ga_ticket *t = tickets, *next;

	tickets = NULL;
	ntickets = 0;
	for (; t != NULL; t = next) {
		next = t->next;
		t->result = result;
		ga_ticket_end(t);
	}
	bed_turns(20);
}

/* --- fixture --- */

static int
up(void **state)
{
	(void)state;
	kind = GA_ROUTE_DELIVER;
	routed = recalled = ntickets = 0;
	tickets = NULL;
	spool_memory_forget_all();
	ga_service_provide(NULL, GA_ROUTER_SERVICE, GA_ROUTER_VERSION, &router);
	ga_service_provide(NULL, GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION, &throttle);
	bed_up(&(struct bed){ .conf = "", .modules = modules });
	bed_turns(5);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	end_all(GA_RESULT_SUCCESS);
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
static struct ga_intake_submit
submit(unsigned n, bool same)
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

static struct ga_queue_stats
stats(void)
{
	struct ga_queue_stats s;

	q_stats(&s);
	return s;
}

/* --- tests --- */

static void
test_every_recipient_domain_of_a_message_is_tried(void **state)
{
	(void)state;
	assert_int_equal(submit(300, false).verdict, GA_ACCEPT);
	bed_turns(20);
	assert_int_equal(ntickets, 300);
}

static void
test_a_lane_has_a_window_and_goes_on(void **state)
{
	struct spool_memory_counts c;

	(void)state;
	submit(500, true);
	bed_turns(20);
	assert_int_equal(ntickets, 200);
	end_all(GA_RESULT_SUCCESS);
	assert_int_equal(ntickets, 200);
	end_all(GA_RESULT_SUCCESS);
	end_all(GA_RESULT_SUCCESS);
	spool_memory_counts(&c);
	assert_int_equal(c.dones, 500);
	assert_int_equal(c.live, 0);
	assert_int_equal(stats().messages, 0);
	assert_int_equal(stats().envelopes, 0);
}

static void
test_routes_that_fail_at_once_neither_recurse_nor_stall(void **state)
{
	(void)state;
	kind = GA_ROUTE_FAIL;
	submit(20000, true);
	for (int i = 0; i < 2000 && routed < 20000; i++)
		bed_turn();
	assert_int_equal(routed, 20000);
	assert_int_equal(stats().failed, 20000);
}

static void
test_a_full_disk_is_452_and_a_broken_one_451(void **state)
{
	struct ga_intake_submit s;

	(void)state;
	spool_memory_fail(ENOSPC);
	s = submit(1, true);
	assert_int_equal(s.verdict, GA_TEMPFAIL);
	assert_int_equal(s.reply.code, 452);
	assert_string_equal(s.reply.enhanced, "4.3.1");
	spool_memory_fail(EIO);
	s = submit(1, true);
	assert_int_equal(s.reply.code, 451);
	assert_string_equal(s.reply.enhanced, "4.3.0");
	assert_int_equal(stats().messages, 0);
}

static void
test_a_deferral_waits_its_time_and_a_step_of_the_clock_expires_nothing(void **state)
{
	(void)state;
	submit(1, true);
	bed_turns(10);
	end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(stats().disk, 1);
	bed_advance(379 * 1000);
	assert_int_equal(ntickets, 0);
	bed_advance(42 * 1000);
	assert_int_equal(ntickets, 1);
	bed_wall_step((int64_t)10 * 365 * 86400 * 1000);	/* a step of the clock expires nothing */
	assert_int_equal(tickets->flags & GA_TICKET_LAST_CHANCE, 0);
	end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(stats().toolong_total, 0);
	assert_int_equal(stats().failed, 0);
	bed_wall_step(-(int64_t)10 * 365 * 86400 * 1000);
}

static void
test_what_was_queued_comes_back_after_a_restart(void **state)
{
	(void)state;
	submit(3, false);
	bed_turns(10);
	end_all(GA_RESULT_DEFERRAL);
	bed_down();
	ga_service_provide(NULL, GA_ROUTER_SERVICE, GA_ROUTER_VERSION, &router);
	ga_service_provide(NULL, GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION, &throttle);
	bed_up(&(struct bed){ .conf = "", .modules = modules });
	bed_turns(20);
	assert_int_equal(stats().disk, 3);
	assert_int_equal(ntickets, 0);
	bed_advance(421 * 1000);
	assert_int_equal(ntickets, 3);
	assert_int_equal(tickets->attempts, 1);
}

static void
test_the_heap_gives_what_is_due_in_order(void **state)
{
	struct q_loop *l = q_loop(ga_worker_get(0));
	uint64_t last = 0;
	uint32_t e[2000], got = 0, taken = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		e[i] = q_slab_new(&l->envelopes);
		q_heap_put(l, e[i], ga_random32() % 5000);
	}
	for (int i = 0; i < 2000; i += 3, taken++)
		q_heap_take(l, e[i]);
	for (uint32_t x; (x = q_heap_due(l, 5000)) != 0; got++) {
		assert_true(q_envelope(l, x)->due_ms >= last);
		last = q_envelope(l, x)->due_ms;
	}
	assert_int_equal(got + taken, 2000);
	for (int i = 0; i < 2000; i++)
		q_slab_free(&l->envelopes, e[i]);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
	const struct CMUnitTest tests[] = {
		T(test_every_recipient_domain_of_a_message_is_tried),
		T(test_a_lane_has_a_window_and_goes_on),
		T(test_routes_that_fail_at_once_neither_recurse_nor_stall),
		T(test_a_full_disk_is_452_and_a_broken_one_451),
		T(test_a_deferral_waits_its_time_and_a_step_of_the_clock_expires_nothing),
		T(test_what_was_queued_comes_back_after_a_restart),
		T(test_the_heap_gives_what_is_due_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
