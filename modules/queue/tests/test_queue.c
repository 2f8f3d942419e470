/*
 * test_queue.c - lanes, windows, refusals, and what comes back after a restart.
 */
#include <errno.h>

#include "queue_rig.h"

static void
test_every_recipient_domain_of_a_message_is_tried(void **state)
{
	(void)state;
	assert_int_equal(rig_submit(300, false).verdict, GA_ACCEPT);
	bed_turns(20);
	assert_int_equal(rig.ntickets, 300);
}

static void
test_a_lane_has_a_window_and_goes_on(void **state)
{
	struct spool_memory_counts c;

	(void)state;
	rig_submit(500, true);
	bed_turns(20);
	assert_int_equal(rig.ntickets, 200);
	rig_end_all(GA_RESULT_SUCCESS);
	assert_int_equal(rig.ntickets, 200);
	rig_end_all(GA_RESULT_SUCCESS);
	rig_end_all(GA_RESULT_SUCCESS);
	spool_memory_counts(&c);
	assert_int_equal(c.dones, 500);
	assert_int_equal(c.live, 0);
	assert_int_equal(rig_stats().messages, 0);
	assert_int_equal(rig_stats().envelopes, 0);
}

static void
test_routes_that_fail_at_once_neither_recurse_nor_stall(void **state)
{
	(void)state;
	rig.kind = GA_ROUTE_FAIL;
	rig_submit(20000, true);
	for (int i = 0; i < 2000 && rig.routed < 20000; i++)
		bed_turn();
	assert_int_equal(rig.routed, 20000);
	assert_int_equal(rig_stats().failed, 20000);
}

static void
test_a_full_disk_is_452_and_a_broken_one_451(void **state)
{
	struct ga_intake_submit s;

	(void)state;
	spool_memory_fail(ENOSPC);
	s = rig_submit(1, true);
	assert_int_equal(s.verdict, GA_TEMPFAIL);
	assert_int_equal(s.reply.code, 452);
	assert_string_equal(s.reply.enhanced, "4.3.1");
	spool_memory_fail(EIO);
	s = rig_submit(1, true);
	assert_int_equal(s.reply.code, 451);
	assert_string_equal(s.reply.enhanced, "4.3.0");
	assert_int_equal(rig_stats().messages, 0);
}

static void
test_a_deferral_waits_its_time_and_a_step_of_the_clock_expires_nothing(void **state)
{
	(void)state;
	rig_submit(1, true);
	bed_turns(10);
	rig_end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(rig_stats().disk, 1);
	bed_advance(379 * 1000);
	assert_int_equal(rig.ntickets, 0);
	bed_advance(42 * 1000);
	assert_int_equal(rig.ntickets, 1);
	bed_wall_step((int64_t)10 * 365 * 86400 * 1000);	/* a step of the clock expires nothing */
	assert_int_equal(rig.tickets->flags & GA_TICKET_LAST_CHANCE, 0);
	rig_end_all(GA_RESULT_DEFERRAL);
	assert_int_equal(rig_stats().toolong_total, 0);
	assert_int_equal(rig_stats().failed, 0);
	bed_wall_step(-(int64_t)10 * 365 * 86400 * 1000);
}

static void
test_what_was_queued_comes_back_after_a_restart(void **state)
{
	(void)state;
	rig_submit(3, false);
	bed_turns(10);
	rig_end_all(GA_RESULT_DEFERRAL);
	rig_restart("");
	assert_int_equal(rig_stats().disk, 3);
	assert_int_equal(rig.ntickets, 0);
	bed_advance(421 * 1000);
	assert_int_equal(rig.ntickets, 3);
	assert_int_equal(rig.tickets->attempts, 1);
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
#define T(name) cmocka_unit_test_setup_teardown(name, rig_up, rig_down)
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
