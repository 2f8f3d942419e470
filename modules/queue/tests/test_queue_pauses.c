/*
 * test_queue_pauses.c - what a pause holds, defers or throws away, and for how long.
 */
#include "stage.h"

static void
pause_it(enum ga_pause_kind kind, const char *name, struct ga_pause p)
{
	const struct ga_queue *queue = ga_service_get(GA_QUEUE_SERVICE, GA_QUEUE_VERSION);

	p.kind = kind;
	p.name = ga_str_c(name);
	queue->pause(ga_worker_get(0), &p);
	bed_turns(12);
}

static bool
resume_it(enum ga_pause_kind kind, const char *name)
{
	struct ga_pause p = { .kind = kind, .name = ga_str_c(name) };
	bool was = q_resume(ga_worker_get(0), &p);

	bed_turns(12);
	return was;
}

static void
test_a_paused_send_is_held_and_goes_on_when_resumed(void **state)
{
	(void)state;
	pause_it(GA_PAUSE_SEND, "spring", (struct ga_pause){ .percent = 100 });
	stage_accept((struct stage_mail){ .n = 3, .send = "spring" });
	stage_accept((struct stage_mail){ .n = 2, .send = "summer" });
	assert_int_equal(stage.ntickets, 2);
	assert_int_equal(stage_stats().paused, 3);
	assert_int_equal(stage_stats().deferral_total, 0);
	stage_check();
	assert_false(resume_it(GA_PAUSE_SEND, "summer"));
	assert_int_equal(stage.ntickets, 2);
	assert_true(resume_it(GA_PAUSE_SEND, "spring"));
	bed_advance(1);
	bed_turns(12);
	assert_int_equal(stage.ntickets, 5);
	assert_int_equal(stage_stats().paused, 0);
	assert_int_equal(q_pauses(), 0);
}

static void
test_a_pause_calls_back_what_waits_in_groups_and_nothing_else(void **state)
{
	unsigned before;

	(void)state;
	stage_accept((struct stage_mail){ .n = 3, .send = "spring" });
	stage_accept((struct stage_mail){ .n = 2, .send = "summer" });
	before = stage.routed;
	pause_it(GA_PAUSE_SEND, "spring", (struct ga_pause){ .percent = 100 });
	assert_int_equal(stage.ntickets, 2);
	assert_int_equal(stage.routed, before + 3);
	assert_int_equal(stage_stats().paused, 3);
}

static void
test_a_paused_virtual_mta_holds_its_mail_only(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 3, .vmta = "first" });
	stage_accept((struct stage_mail){ .n = 2, .vmta = "second" });
	pause_it(GA_PAUSE_VIRTUAL_MTA, "first", (struct ga_pause){ .percent = 100 });
	assert_int_equal(stage.ntickets, 2);
	stage_accept((struct stage_mail){ .n = 1, .vmta = "first" });
	assert_int_equal(stage.ntickets, 2);
	assert_int_equal(stage_stats().paused, 4);
}

static void
test_what_is_paused_expires(void **state)
{
	(void)state;
	pause_it(GA_PAUSE_SEND, "spring", (struct ga_pause){ .percent = 100 });
	stage_accept((struct stage_mail){ .send = "spring" });
	bed_advance(2 * STAGE_DAY - 1000);
	bed_turns(12);
	assert_int_equal(stage_stats().paused, 1);
	bed_advance(2000);
	bed_turns(12);
	assert_int_equal(stage_stats().toolong_total, 1);
	assert_int_equal(stage_stats().paused, 0);
}

static void
test_a_dumped_send_ends_unsent_and_unreported(void **state)
{
	(void)state;
	stage_accept((struct stage_mail){ .n = 3, .send = "spring" });
	pause_it(GA_PAUSE_DUMP, "spring", (struct ga_pause){ .percent = 100 });
	stage_accept((struct stage_mail){ .n = 2, .send = "spring" });
	assert_int_equal(stage.ntickets, 0);
	assert_int_equal(stage_stats().discarded_total, 5);
	assert_int_equal(stage_stats().envelopes, 0);
	assert_int_equal(stage_stats().failed, 0);
	stage_restart("");
	assert_int_equal(stage_stats().envelopes, 0);
}

static void
test_a_paused_sender_is_deferred_until_the_pause_ends(void **state)
{
	struct ga_pause p = { .domain = GA_STR("big.example"), .percent = 100, .until_ms = stage_wall() + 600000 };
	struct ga_envelope e;
	char reply[1001];
	uint64_t seq;

	(void)state;
	pause_it(GA_PAUSE_SENDER, "sender.example", p);
	seq = stage_accept((struct stage_mail){ .domain = "big.example", .sender = "x@Sender.Example" });
	assert_int_equal(stage_stats().deferral_total, 1);
	assert_true(stage_recorded(seq, 0, &e, reply));
	assert_string_equal(reply, "451 4.7.1 Deliveries to this recipient domain from this"
	    " RFC5321.MailFrom domain are paused.");
	assert_int_equal(e.attempts, 1);
	stage_accept((struct stage_mail){ .domain = "big.example", .sender = "x@other.example" });
	stage_accept((struct stage_mail){ .domain = "small.example" });
	assert_int_equal(stage.ntickets, 2);
	bed_advance(420000);	/* its second attempt is within the pause, the third is not */
	bed_turns(12);
	assert_int_equal(stage.ntickets, 2);
	assert_int_equal(stage_stats().deferral_total, 2);
	bed_advance(1260000);
	bed_turns(12);
	assert_int_equal(stage.ntickets, 3);
	assert_int_equal(stage_stats().deferral_total, 2);
}

static void
test_a_paused_sender_is_deferred_wherever_the_rule_is_the_same(void **state)
{
	(void)state;
	pause_it(GA_PAUSE_SENDER, "sender.example", (struct ga_pause){ .scope = GA_STR("pd7"), .percent = 100 });
	stage.group = "ip2pd7";
	stage_accept((struct stage_mail){ .domain = "a.example" });
	stage.group = "relay5pd7";
	stage_accept((struct stage_mail){ .domain = "b.example" });
	assert_int_equal(stage_stats().deferral_total, 2);
	stage.group = "ip2pd17";
	stage_accept((struct stage_mail){ .domain = "c.example" });
	stage.group = "2,mx.pd7";
	stage_accept((struct stage_mail){ .domain = "mx.pd7" });
	stage.group = "pd7";
	stage_accept((struct stage_mail){ .domain = "d.example" });
	assert_int_equal(stage_stats().deferral_total, 2);
	assert_int_equal(stage.ntickets, 3);
}

static void
test_a_share_of_the_attempts_is_let_through(void **state)
{
	(void)state;
	pause_it(GA_PAUSE_SENDER, "sender.example", (struct ga_pause){ .domain = GA_STR("big.example"), .percent = 25 });
	for (int i = 0; i < 10; i++) {
		stage_accept((struct stage_mail){ .n = 100, .domain = "big.example" });
		stage_end_all(GA_RESULT_SUCCESS);
	}
	assert_in_range(stage_stats().deferral_total, 200, 300);
	assert_int_equal(stage_stats().deferral_total + stage_stats().success_total, 1000);
}

static void
test_a_pause_by_the_from_field_is_one_of_its_own_and_kept(void **state)
{
	struct ga_pause p = { .domain = GA_STR("big.example"), .percent = 100, .from_header = true };
	struct ga_envelope e;
	char reply[1001];
	uint64_t seq;

	(void)state;
	pause_it(GA_PAUSE_SENDER, "brand.example", p);
	p.from_header = false;
	pause_it(GA_PAUSE_SENDER, "brand.example", p);
	p.kind = GA_PAUSE_SENDER;
	p.name = GA_STR("brand.example");
	assert_true(q_resume(ga_worker_get(0), &p));
	bed_turns(12);
	assert_int_equal(q_pauses(), 1);
	stage_restart("");
	assert_int_equal(q_pauses(), 1);
	seq = stage_accept((struct stage_mail){ .domain = "big.example", .from = "brand.example" });
	assert_true(stage_recorded(seq, 0, &e, reply));
	assert_string_equal(reply, "451 4.7.1 Deliveries to this recipient domain from this"
	    " RFC5322.From domain are paused.");
	assert_int_equal(stage_stats().deferral_total, 1);
	stage_accept((struct stage_mail){ .domain = "big.example", .sender = "x@brand.example" });
	stage_accept((struct stage_mail){ .domain = "big.example", .from = "other.example" });
	stage_accept((struct stage_mail){ .domain = "small.example", .from = "brand.example" });
	assert_int_equal(stage.ntickets, 3);
	assert_int_equal(stage_stats().deferral_total, 1);
	stage_check();
}

static void
test_pauses_are_there_after_a_crash_and_resumed_ones_are_not(void **state)
{
	(void)state;
	pause_it(GA_PAUSE_SEND, "spring", (struct ga_pause){ .percent = 100 });
	pause_it(GA_PAUSE_SEND, "summer", (struct ga_pause){ .percent = 100 });
	pause_it(GA_PAUSE_SENDER, "sender.example", (struct ga_pause){ .domain = GA_STR("x.example"),
	    .percent = 100, .until_ms = stage_wall() + 1000 });
	stage_accept((struct stage_mail){ .n = 3, .send = "spring" });
	resume_it(GA_PAUSE_SEND, "summer");
	assert_int_equal(q_pauses(), 2);
	stage_restart("");
	assert_int_equal(q_pauses(), 2);
	assert_int_equal(stage.ntickets, 0);
	assert_int_equal(stage_stats().paused, 3);
	assert_true(resume_it(GA_PAUSE_SEND, "spring"));
	stage_restart("");
	assert_int_equal(stage.ntickets, 3);
}

static void
test_a_pause_that_has_ended_leaves_table_and_spool(void **state)
{
	(void)state;
	pause_it(GA_PAUSE_SENDER, "sender.example", (struct ga_pause){ .domain = GA_STR("x.example"),
	    .percent = 100, .until_ms = stage_wall() + 60000 });
	pause_it(GA_PAUSE_SENDER, "sender.example", (struct ga_pause){ .domain = GA_STR("y.example"),
	    .percent = 100, .until_ms = stage_wall() + 20000 });
	assert_int_equal(q_pauses(), 2);
	bed_advance(21500);
	bed_turns(4);
	assert_int_equal(q_pauses(), 1);
	bed_advance(40000);
	bed_turns(4);
	assert_int_equal(q_pauses(), 0);
	bed_wall_step(-60000);	/* nor is it in the spool: it would last again */
	stage_restart("");
	assert_int_equal(q_pauses(), 0);
}

static void
note_since(const struct ga_pause *p, uint64_t since_ms, void *arg)
{
	(void)p;
	*(uint64_t *)arg = since_ms;
}

static void
test_its_beginning_is_kept(void **state)
{
	const uint64_t began = stage_wall();
	uint64_t since = 0;

	(void)state;
	pause_it(GA_PAUSE_SEND, "spring", (struct ga_pause){ .percent = 100 });
	bed_advance(5000);
	pause_it(GA_PAUSE_SEND, "spring", (struct ga_pause){ .percent = 100, .reason = GA_STR("again") });
	stage_restart("");
	q_pauses_each(note_since, &since);
	assert_in_range(since, began, began + 100);
}

static void
test_what_is_resumed_while_the_spool_is_read_stays_so(void **state)
{
	(void)state;
	pause_it(GA_PAUSE_SEND, "spring", (struct ga_pause){ .percent = 100 });
	pause_it(GA_PAUSE_SEND, "summer", (struct ga_pause){ .percent = 100 });
	stage_kill();
	stage_start("");
	/* one loop has heard of both, another hears of them late */
	q_pauses_end();
	q_pause_kept(q_loop(ga_worker_get(0)), GA_STR("pause/send/spring//"), GA_STR("{\"kind\":2,\"name\":\"spring\"}"));
	assert_true(resume_it(GA_PAUSE_SEND, "spring"));
	pause_it(GA_PAUSE_SEND, "summer", (struct ga_pause){ .percent = 100, .reason = GA_STR("new") });
	q_pause_kept(q_loop(ga_worker_get(0)), GA_STR("pause/send/spring//"), GA_STR("{\"kind\":2,\"name\":\"spring\"}"));
	q_pause_kept(q_loop(ga_worker_get(0)), GA_STR("pause/send/summer//"),
	    GA_STR("{\"kind\":2,\"name\":\"summer\",\"until_ms\":1}"));
	assert_int_equal(q_pauses(), 1);
	stage_accept((struct stage_mail){ .send = "summer" });
	assert_int_equal(stage.ntickets, 0);
	stage_accept((struct stage_mail){ .send = "spring" });
	assert_int_equal(stage.ntickets, 1);
}

static void
test_a_virtual_mta_is_known_in_any_case_and_only_its_mail_moves(void **state)
{
	unsigned before;

	(void)state;
	stage_accept((struct stage_mail){ .n = 3, .vmta = "First" });
	stage_accept((struct stage_mail){ .n = 2, .vmta = "second" });
	before = stage.routed;
	pause_it(GA_PAUSE_VIRTUAL_MTA, "fIRST", (struct ga_pause){ .percent = 100 });
	assert_int_equal(stage.routed, before + 3);
	assert_int_equal(stage.ntickets, 2);
	assert_true(resume_it(GA_PAUSE_VIRTUAL_MTA, "first"));
	bed_advance(1);
	bed_turns(12);
	assert_int_equal(stage.ntickets, 5);
}

static void
test_a_dump_ends_with_its_resume(void **state)
{
	(void)state;
	pause_it(GA_PAUSE_DUMP, "spring", (struct ga_pause){ .percent = 100 });
	stage_accept((struct stage_mail){ .send = "spring" });
	assert_int_equal(stage_stats().discarded_total, 1);
	assert_true(resume_it(GA_PAUSE_DUMP, "spring"));
	stage_accept((struct stage_mail){ .send = "spring" });
	assert_int_equal(stage.ntickets, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGE_TEST(test_a_paused_send_is_held_and_goes_on_when_resumed),
		STAGE_TEST(test_a_pause_calls_back_what_waits_in_groups_and_nothing_else),
		STAGE_TEST(test_a_paused_virtual_mta_holds_its_mail_only),
		STAGE_TEST(test_what_is_paused_expires),
		STAGE_TEST(test_a_dumped_send_ends_unsent_and_unreported),
		STAGE_TEST(test_a_paused_sender_is_deferred_until_the_pause_ends),
		STAGE_TEST(test_a_paused_sender_is_deferred_wherever_the_rule_is_the_same),
		STAGE_TEST(test_a_share_of_the_attempts_is_let_through),
		STAGE_TEST(test_a_pause_by_the_from_field_is_one_of_its_own_and_kept),
		STAGE_TEST(test_pauses_are_there_after_a_crash_and_resumed_ones_are_not),
		STAGE_TEST(test_a_pause_that_has_ended_leaves_table_and_spool),
		STAGE_TEST(test_its_beginning_is_kept),
		STAGE_TEST(test_what_is_resumed_while_the_spool_is_read_stays_so),
		STAGE_TEST(test_a_virtual_mta_is_known_in_any_case_and_only_its_mail_moves),
		STAGE_TEST(test_a_dump_ends_with_its_resume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
