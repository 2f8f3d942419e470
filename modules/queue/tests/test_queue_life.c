/*
 * test_queue_life.c - the life of an envelope: when it is tried again, when it is
 * given up, what a reload, a pause and a stop do to it; and what it costs.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue_rig.h"

#define HOUR_MS (3600u * 1000)

/* How long until there is a ticket again, to the step of a second; at most `most`. */
static uint64_t
waited(uint64_t most)
{
	uint64_t ms = 0;

	while (rig.ntickets == 0 && ms < most) {
		bed_advance(1000);
		ms += 1000;
	}
	return ms;
}

static void
test_retry_schedule_is_kept_and_its_last_wait_repeats(void **state)
{
	static const unsigned want[] = { 60, 120, 600, 600, 600 };

	(void)state;
	rig_submit(1, true);
	bed_turns(10);
	for (unsigned i = 0; i < sizeof want / sizeof want[0]; i++) {
		assert_int_equal(rig.ntickets, 1);
		assert_int_equal(rig.tickets->attempts, i);
		rig_end_all(GA_RESULT_DEFERRAL);
		assert_in_range(waited(2 * HOUR_MS), want[i] * 1000, want[i] * 1000 + 1000);
		rig_recount();
	}
}

static void
test_a_domain_may_have_a_schedule_of_its_own(void **state)
{
	(void)state;
	rig_submit(2, false);		/* d0.example and d1.example */
	bed_turns(10);
	rig_end_all(GA_RESULT_DEFERRAL);
	bed_advance(11 * 1000);
	assert_int_equal(rig.ntickets, 1);
	assert_true(ga_str_eq(rig.tickets->route->domain, GA_STR("d1.example")));
}

/* Attempt n is due ((n - 1) * 20)^2 seconds after the message was accepted, give or take 5 %. */
static void
test_without_a_schedule_the_waits_follow_the_curve(void **state)
{
	uint64_t since = 0;

	(void)state;
	rig_submit(1, true);
	bed_turns(10);
	for (unsigned n = 2; n <= 8; n++) {
		uint64_t due = (uint64_t)(n - 1) * 20 * (n - 1) * 20 * 1000;

		rig_end_all(GA_RESULT_DEFERRAL);
		since += waited(48 * (uint64_t)HOUR_MS);
		assert_in_range(since, due - due / 20 - 1000, due + due / 20 + 2000);
	}
}

static void
test_at_the_end_of_its_life_there_is_one_last_attempt(void **state)
{
	uint64_t since = 0;

	(void)state;
	rig_submit(1, true);
	bed_turns(10);
	for (unsigned i = 0; (rig.tickets->flags & GA_TICKET_LAST_CHANCE) == 0; i++) {
		assert_in_range(i, 0, 100);
		rig_end_all(GA_RESULT_DEFERRAL);
		since += waited(48 * (uint64_t)HOUR_MS);
		assert_int_equal(rig_stats().toolong_total, 0);
	}
	assert_in_range(since, HOUR_MS, HOUR_MS + 2000);
	rig_end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(rig_stats().toolong_total, 1);
	assert_int_equal(rig_stats().failed, 1);
	assert_int_equal(waited(10 * (uint64_t)HOUR_MS), 10 * HOUR_MS);
	rig_recount();
	rig_restart("");
	assert_int_equal(rig_stats().failed, 1);
	assert_int_equal(waited(100 * (uint64_t)HOUR_MS), 100 * HOUR_MS);
	assert_int_equal(rig.ntickets, 0);
}

static void
test_the_last_attempt_may_succeed(void **state)
{
	(void)state;
	rig_submit(1, true);
	bed_turns(10);
	rig_end_all(GA_RESULT_DEFERRAL);
	waited(2 * HOUR_MS);
	while ((rig.tickets->flags & GA_TICKET_LAST_CHANCE) == 0) {
		rig_end_all(GA_RESULT_DEFERRAL);
		waited(2 * HOUR_MS);
	}
	rig_end_all(GA_RESULT_SUCCESS);
	assert_int_equal(rig_stats().messages, 0);
	assert_int_equal(rig_stats().success_total, 1);
}

static void
test_a_failure_is_kept_and_stays_failed(void **state)
{
	struct spool_memory_counts c;

	(void)state;
	rig_submit(2, false);
	bed_turns(10);
	rig_end_all(GA_RESULT_FAILURE);
	assert_int_equal(rig_stats().failed, 2);
	assert_int_equal(rig_stats().failure_total, 2);
	spool_memory_counts(&c);
	assert_int_equal(c.dones, 0);
	rig_recount();
	rig_restart("");
	assert_int_equal(rig_stats().failed, 2);
	bed_advance(72 * (uint64_t)HOUR_MS);
	assert_int_equal(rig.ntickets, 0);
}

static void
test_what_was_handed_back_untouched_was_no_attempt(void **state)
{
	struct spool_memory_counts before, after;

	(void)state;
	rig_submit(3, true);
	bed_turns(10);
	spool_memory_counts(&before);
	rig_end_all(GA_RESULT_RECALLED);
	assert_int_equal(rig.ntickets, 3);
	assert_int_equal(rig.tickets->attempts, 0);
	rig_end_all(GA_RESULT_CONNMAXOUT);
	assert_int_equal(rig.ntickets, 3);
	assert_int_equal(rig.tickets->attempts, 0);
	spool_memory_counts(&after);
	assert_int_equal(after.updates, before.updates);
	assert_int_equal(rig_stats().deferral_total, 0);
	rig_recount();
}

/* --- pause, reload, stop --- */

static void
test_paused_mail_is_neither_tried_nor_deferred_and_goes_on(void **state)
{
	(void)state;
	rig.kind = GA_ROUTE_PAUSED;
	rig_submit(5, true);
	bed_turns(20);
	assert_int_equal(rig.ntickets, 0);
	assert_int_equal(rig_stats().paused, 5);
	bed_advance(10 * 60 * 1000);
	assert_int_equal(rig_stats().deferral_total, 0);
	rig_recount();
	rig.kind = GA_ROUTE_DELIVER;
	bed_reload("");			/* looked at at once, not only when the minute is over */
	bed_turns(20);
	bed_advance(10);
	assert_int_equal(rig.ntickets, 5);
	assert_int_equal(rig.tickets->attempts, 0);
	assert_int_equal(rig_stats().paused, 0);
}

static void
test_paused_mail_is_given_up_at_the_end_of_its_life(void **state)
{
	(void)state;
	rig.kind = GA_ROUTE_PAUSED;
	rig_submit(1, true);
	bed_turns(20);
	bed_advance(HOUR_MS - 5000);
	assert_int_equal(rig_stats().toolong_total, 0);
	bed_advance(10000);
	assert_int_equal(rig_stats().toolong_total, 1);
	assert_int_equal(rig_stats().failed, 1);
	rig_recount();
}

static void
test_a_reload_routes_anew_what_waits_for_its_turn(void **state)
{
	unsigned before;

	(void)state;
	rig.gives_back = true;
	rig_submit(4, true);
	bed_turns(10);
	before = rig.routed;
	bed_reload("");
	bed_turns(20);
	assert_int_equal(rig.recalled, 1);
	assert_int_equal(rig.routed, before + 4);
	assert_int_equal(rig.ntickets, 4);
	assert_int_equal(rig.tickets->attempts, 0);
}

static void
test_a_stop_waits_for_what_is_in_flight_and_starts_nothing(void **state)
{
	(void)state;
	rig_submit(3, false);
	bed_turns(10);
	assert_int_equal(rig.ntickets, 3);
	bed_drain();
	bed_turns(5);
	assert_true(bed_held());
	assert_int_equal(rig.recalled, 1);
	bed_advance(2 * HOUR_MS);
	rig_end_all(GA_RESULT_DEFERRAL);
	assert_false(bed_held());
	bed_advance(2 * HOUR_MS);
	assert_int_equal(rig.ntickets, 0);
	assert_int_equal(rig_stats().disk, 3);
}

/* --- fairness --- */

static void
test_one_mail_is_not_behind_a_hundred_thousand_of_another_domain(void **state)
{
	const struct ga_ticket *t;
	bool seen = false;

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		rig_submit(5000, true);		/* all to d0.example */
	bed_turns(50);
	assert_int_equal(rig.ntickets, 200);
	rig_submit(2, false);			/* d0.example and d1.example */
	bed_turns(10);
	for (t = rig.tickets; t != NULL; t = t->next)
		seen |= ga_str_eq(t->route->domain, GA_STR("d1.example"));
	assert_true(seen);
	rig_recount();
	while (rig.ntickets > 0)
		rig_end_all(GA_RESULT_SUCCESS);
	assert_int_equal(rig_stats().messages, 0);
}

/* --- anything in any order --- */

static unsigned
draw(unsigned n)
{
	return (unsigned)rand() % n;
}

static void
end_some(void)
{
	static const enum ga_result results[] = { GA_RESULT_SUCCESS, GA_RESULT_SUCCESS, GA_RESULT_DEFERRAL,
		GA_RESULT_DEFERRAL, GA_RESULT_FAILURE, GA_RESULT_RECALLED, GA_RESULT_CONNMAXOUT };
	struct ga_ticket **at = &rig.tickets, *t;

	while ((t = *at) != NULL) {
		if (draw(3) == 0) {
			at = &t->next;
			continue;
		}
		*at = t->next;
		rig.ntickets--;
		t->result = results[draw(sizeof results / sizeof results[0])];
		ga_ticket_end(t);
	}
	bed_turns(20);
}

static void
test_the_counters_are_right_whatever_happens(void **state)
{
	const char *env = getenv("QUEUE_SEED");
	unsigned seed = env != NULL ? (unsigned)strtoul(env, NULL, 10) : ga_random32();
	static const enum ga_route_kind kinds[] = { GA_ROUTE_DELIVER, GA_ROUTE_DELIVER, GA_ROUTE_DELIVER,
		GA_ROUTE_DEFER, GA_ROUTE_FAIL, GA_ROUTE_PAUSED };
	uint64_t accepted = 0;

	(void)state;
	printf("QUEUE_SEED=%u\n", seed);
	srand(seed);
	for (unsigned i = 0; i < 400; i++) {
		unsigned n = 1 + draw(30);

		switch (draw(6)) {
		case 0:
		case 1:
			rig_submit(n, draw(2) == 0);
			accepted++;
			break;
		case 2:
			end_some();
			break;
		case 3:
			bed_advance((uint64_t)draw(600) * 1000);
			break;
		case 4:
			rig.kind = kinds[draw(sizeof kinds / sizeof kinds[0])];
			break;
		default:
			rig.gives_back = draw(2) == 0;
			bed_reload(draw(2) == 0 ? "" : "general {\n  queue_lifetime 30m\n}\n");
			bed_turns(20);
			break;
		}
		rig_recount();
	}
	assert_int_equal(rig_stats().accepted_total, accepted);
	/* everything comes to an end, and nothing is left over */
	rig.kind = GA_ROUTE_DELIVER;
	for (unsigned i = 0; i < 2000 && rig_stats().envelopes > rig_stats().failed; i++) {
		rig_end_all(GA_RESULT_SUCCESS);
		bed_advance(600 * 1000);
	}
	assert_int_equal(rig_stats().envelopes, rig_stats().failed);
	rig_recount();
}

/* --- cost --- */

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define MANY 20000u		/* their allocators do not tell */
#else
#define MANY 1000000u
#endif

static void
test_an_envelope_in_the_queue_costs_little(void **state)
{
	struct ga_queue_stats s;
	struct mallinfo2 before, after;
	struct q_loop *l = q_loop(ga_worker_get(0));
	uint64_t octets;

	(void)state;
	before = mallinfo2();
	for (unsigned i = 0; i < MANY; i++) {
		uint32_t m = q_message_new(l, q_id_draw(l));
		struct ga_str none = { "", 0 };
		struct ga_envelope e = { .domain = GA_STR("receiver.example"), .attempts = 1, .random = i };
		struct ga_message from = { .seq = i + 1, .sender = GA_STR("a@sender.example"), .virtual_mta = none,
			.nenvelopes = 1, .envelopes = &e };

		q_message_fill(l, m, &from);
		q_heap_put(l, q_message(l, m)->envelopes, (uint64_t)100 * HOUR_MS + i);
		q_state_set(l, q_message(l, m)->envelopes, Q_TIMED);
	}
	after = mallinfo2();
	s = rig_stats();
	octets = (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / MANY;
	printf("octets an envelope that waits, alone in its message: %llu by the tables, %llu by malloc\n",
	    (unsigned long long)(s.memory / s.envelopes), (unsigned long long)octets);
	assert_in_range(s.memory / s.envelopes, 40, 128);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
	assert_in_range(octets, 40, 128);	/* what is allocated, room to grow included */
#endif
}

static const char minutes[] = "general {\n  retry_schedule 1m, 2m, 10m\n}\n";
static const char by_domain[] = "general {\n  retry_schedule 1m\n}\nip_address ip-1 {\n"
    "  domain d1.example {\n    retry_schedule 10s\n  }\n}\n";
static const char an_hour[] = "general {\n  queue_lifetime 1h\n}\n";
static const char an_hour_of_minutes[] = "general {\n  queue_lifetime 1h\n  retry_schedule 7m\n}\n";

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_up, rig_down)
#define WITH(name, conf) { #name, name, rig_up, rig_down, (void *)(uintptr_t)(conf) }
	const struct CMUnitTest tests[] = {
		WITH(test_retry_schedule_is_kept_and_its_last_wait_repeats, minutes),
		WITH(test_a_domain_may_have_a_schedule_of_its_own, by_domain),
		T(test_without_a_schedule_the_waits_follow_the_curve),
		WITH(test_at_the_end_of_its_life_there_is_one_last_attempt, an_hour_of_minutes),
		WITH(test_the_last_attempt_may_succeed, an_hour),
		T(test_a_failure_is_kept_and_stays_failed),
		T(test_what_was_handed_back_untouched_was_no_attempt),
		T(test_paused_mail_is_neither_tried_nor_deferred_and_goes_on),
		WITH(test_paused_mail_is_given_up_at_the_end_of_its_life, an_hour),
		T(test_a_reload_routes_anew_what_waits_for_its_turn),
		T(test_a_stop_waits_for_what_is_in_flight_and_starts_nothing),
		T(test_one_mail_is_not_behind_a_hundred_thousand_of_another_domain),
		T(test_the_counters_are_right_whatever_happens),
		T(test_an_envelope_in_the_queue_costs_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
