/*
 * test_queue_notify.c - whom the queue has told, and of what: by a service "bounce" that
 * answers when and as the test says.
 */
#include <errno.h>
#include <stdlib.h>

#include "stage.h"

#define S UINT64_C(1000)
#define DELAY (3600 * S)

static struct {
	struct ga_report *asked[8];
	unsigned n, reports;		/* not answered; in all */
} desk;

static void
report(struct ga_worker *w, struct ga_report *r)
{
	(void)w;
	assert_in_range(r->n, 1, GA_REPORT_MAX);
	assert_true(desk.n < 8);
	desk.asked[desk.n++] = r;
	desk.reports++;
}

static uint64_t
delay_after(const struct ga_settings *s, bool requested)
{
	(void)s;
	(void)requested;
	return DELAY;
}

static bool
success(const struct ga_settings *s)
{
	(void)s;
	return false;
}

static const struct ga_bounce bounce = { sizeof bounce, GA_BOUNCE_VERSION, report, delay_after, success };

static void
answer(int error)
{
	struct ga_report *r = desk.asked[--desk.n];

	r->error = error;
	r->cb(ga_worker_get(0), r);
	bed_turns(12);
}

static int
setup(void **state)
{
	desk.n = desk.reports = 0;
	ga_service_provide(NULL, GA_BOUNCE_SERVICE, GA_BOUNCE_VERSION, &bounce);
	return stage_setup(state);
}
#define NOTIFY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, stage_teardown)

/* It has been tried until it is late, and its sender is about to be told. */
static uint64_t
late(unsigned n)
{
	uint64_t seq = stage_accept((struct stage_mail){ .n = n });

	for (unsigned i = 0; i < 5; i++) {
		stage_end_all(GA_RESULT_DEFERRAL);
		bed_advance(DELAY);
	}
	stage_end_all(GA_RESULT_DEFERRAL);
	return seq;
}

static void
test_a_delay_is_told_once(void **state)
{
	(void)state;
	late(3);
	assert_int_equal(desk.n, 1);
	assert_int_equal(desk.asked[0]->kind, GA_REPORT_DELAYED);
	assert_int_equal(desk.asked[0]->n, 3);
	answer(0);
	bed_advance(20 * DELAY);
	stage_end_all(GA_RESULT_DEFERRAL);
	bed_advance(2 * S);
	assert_int_equal(desk.reports, 1);
}

static void
test_a_delay_that_could_not_be_told_is_told_later(void **state)
{
	(void)state;
	late(3);
	answer(EAGAIN);
	bed_advance(61 * S);
	assert_int_equal(desk.reports, 2);
	assert_int_equal(desk.asked[0]->n, 3);
	answer(ENOSPC);
	bed_advance(11 * S);
	assert_int_equal(desk.reports, 3);
	assert_int_equal(desk.asked[0]->n, 3);
	answer(0);
	bed_advance(120 * S);
	assert_int_equal(desk.reports, 3);
}

static void
test_what_has_ended_meanwhile_is_no_longer_late(void **state)
{
	(void)state;
	late(3);
	bed_advance(20 * DELAY);
	assert_int_equal(stage.ntickets, 3);
	stage_end(stage.first, GA_RESULT_SUCCESS);
	stage_end(stage.first, GA_RESULT_FAILURE);
	bed_turns(12);
	answer(EAGAIN);
	bed_advance(61 * S);
	assert_int_equal(desk.n, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(desk.asked[i]->n, 1);
	assert_int_equal(desk.asked[0]->kind + desk.asked[1]->kind, GA_REPORT_FAILED + GA_REPORT_DELAYED);
	stage_end(stage.first, GA_RESULT_SUCCESS);
	bed_turns(12);
	answer(EAGAIN);
	answer(EAGAIN);
	bed_advance(61 * S);
	assert_int_equal(desk.n, 1);
	assert_int_equal(desk.asked[0]->kind, GA_REPORT_FAILED);
	answer(0);
	assert_int_equal(stage_stats().envelopes, 0);
}

static void
test_a_delay_that_comes_while_it_stops_is_told_after_the_start(void **state)
{
	uint64_t seq = stage_accept((struct stage_mail){ .n = 1 });
	struct ga_envelope e;
	char reply[1001];

	(void)state;
	bed_advance(2 * DELAY);
	stage.keeps_recalled = true;
	bed_drain();
	stage_end_all(GA_RESULT_DEFERRAL);
	assert_true(stage_recorded(seq, 0, &e, reply));
	assert_int_equal(e.attempts, 1);
	assert_int_equal(e.flags & GA_ENV_DELAY_TOLD, 0);
	assert_int_equal(desk.reports, 0);
	stage_restart("");
	stage.keeps_recalled = false;
	bed_advance(DELAY);
	stage_end_all(GA_RESULT_DEFERRAL);
	bed_advance(2 * S);
	assert_int_equal(desk.reports, 1);
	answer(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		NOTIFY_TEST(test_a_delay_is_told_once),
		NOTIFY_TEST(test_a_delay_that_could_not_be_told_is_told_later),
		NOTIFY_TEST(test_what_has_ended_meanwhile_is_no_longer_late),
		NOTIFY_TEST(test_a_delay_that_comes_while_it_stops_is_told_after_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
